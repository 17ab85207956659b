// SPDX-License-Identifier: GPL-2.0

//! A table as a plain list of rules, and what edits do to it.

use rand::Rng as _;

use crate::Rng;

/// A rule that can be told in the language.
pub trait Words {
    /// It on a line, without a priority.
    fn words(&self) -> String;
}

/// Rules in the order in which they are judged.
pub struct Model<R> {
    /// The rules
    pub rules: Vec<R>,
    /// The priority of each
    priorities: Vec<i16>,
}

impl<R> Default for Model<R> {
    fn default() -> Self {
        Self {
            rules: Vec::new(),
            priorities: Vec::new(),
        }
    }
}

impl<R: Words> Model<R> {
    /// Adds a rule behind all of its priority, and says so in the language.
    pub fn add(&mut self, priority: i16, rule: R) -> String {
        let line = line(priority, &rule);
        let at = self.places(priority).1;
        self.put(at, priority, rule);
        line
    }

    /// Where the first rule of a priority stands or would stand, and where the next one would.
    fn places(&self, priority: i16) -> (usize, usize) {
        let before = |holds: fn(i16, i16) -> bool| {
            let priorities = self.priorities.iter();
            priorities.filter(|other| holds(**other, priority)).count()
        };
        (before(|a, b| a > b), before(|a, b| a >= b))
    }

    fn put(&mut self, at: usize, priority: i16, rule: R) {
        self.rules.insert(at, rule);
        self.priorities.insert(at, priority);
    }

    /// Puts a rule as near to a place as its priority lets it.
    fn insert(&mut self, at: usize, priority: i16, rule: R) {
        let (first, last) = self.places(priority);
        self.put(at.clamp(first, last), priority, rule);
    }

    fn remove(&mut self, at: usize) {
        self.rules.remove(at);
        self.priorities.remove(at);
    }

    /// Makes a change of chance, and says so in the language.
    pub fn edit(&mut self, priority: i16, rule: R, rng: &mut Rng) -> String {
        let words = line(priority, &rule);
        if self.rules.is_empty() {
            return self.add(priority, rule);
        }
        let at = rng.random_range(0..self.rules.len());
        let number = at + 1;
        match rng.random_range(0..5) {
            0 => self.add(priority, rule),
            1 => {
                self.insert(at, priority, rule);
                format!("insert {number} {words}")
            }
            2 | 3 => {
                self.remove(at);
                format!("delete {number}\n")
            }
            _ => {
                self.remove(at);
                self.insert(at, priority, rule);
                format!("replace {number} {words}")
            }
        }
    }
}

fn line(priority: i16, rule: &impl Words) -> String {
    match priority {
        0 => format!("{}\n", rule.words()),
        priority => format!("{} priority {priority}\n", rule.words()),
    }
}
