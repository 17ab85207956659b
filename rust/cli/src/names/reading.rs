// SPDX-License-Identifier: GPL-2.0

//! A file as the module would take it, with what its names stand for now.

use super::expansion::{Expansion, Rendered};
use super::lookup::look_up;
use crate::engine::{self, inventory::Inventory};
use crate::policy::Policy;
use crate::problem::{Problem, Severity};
use crate::source::Source;

/// What is done about names of which nothing is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// They are errors.
    Refused,
    /// They are told of.
    Warned,
    /// They are told of, and it may be that no engine can be asked either.
    Offline,
}

impl Unknown {
    fn severity(self) -> Severity {
        match self {
            Self::Refused => Severity::Error,
            Self::Warned | Self::Offline => Severity::Warning,
        }
    }
}

/// A file that was read.
#[derive(Default)]
pub(crate) struct Reading {
    /// What the module is to be given, each line with its newline
    pub(crate) text: Vec<u8>,
    /// What it says; empty if there are errors, or it is to be added to another
    pub(crate) policy: Policy,
    /// What is wrong, where it was written
    pub(crate) problems: Vec<Problem>,
    /// What stands for the names
    pub(crate) expansion: Expansion,
    /// The members of the sets in there
    pub(crate) members: Vec<Vec<String>>,
}

impl Reading {
    /// Reads `source`, and asks the engines that `named` are if it needs them. It may be meant to be added
    /// to `base`.
    pub(crate) fn ask(
        source: &Source,
        base: Option<&Policy>,
        named: &[String],
        unknown: Unknown,
    ) -> anyhow::Result<Self> {
        let expansion = expansion(source, base);
        if expansion.sets.is_empty() {
            return Ok(Self::new(source, expansion, base, &[], unknown));
        }
        let endpoints = engine::endpoints(named)?;
        match engine::read_all(&endpoints) {
            Ok(inventories) => {
                let inventories: Vec<&Inventory> = inventories.iter().collect();
                Ok(Self::new(source, expansion, base, &inventories, unknown))
            }
            Err(error) if unknown == Unknown::Offline => {
                let (line, column) = expansion.sets.first().map_or((1, 1), |set| set.at);
                let mut reading = Self::new(source, expansion, base, &[], unknown);
                // That nothing is known of a name says nothing then.
                reading.problems.retain(is_error);
                reading.problems.push(Problem {
                    severity: Severity::Warning,
                    line,
                    column,
                    message: format!("names were not looked up: {error:#}"),
                    got: None,
                    expected: None,
                    suggestion: None,
                    rule: None,
                    shadowed_by: None,
                });
                Ok(reading)
            }
            Err(error) => Err(error),
        }
    }

    /// Reads `source` by what engines know.
    pub(crate) fn of(source: &Source, inventories: &[&Inventory]) -> Self {
        let expansion = expansion(source, None);
        Self::new(source, expansion, None, inventories, Unknown::Warned)
    }

    fn new(
        source: &Source,
        expansion: Expansion,
        base: Option<&Policy>,
        inventories: &[&Inventory],
        unknown: Unknown,
    ) -> Self {
        let lookup = look_up(&expansion, inventories, unknown.severity());
        let rendered = expansion.render(&lookup.members);
        let (mut policy, mut problems) = match base {
            Some(base) => (Policy::default(), base.problems_of_addition(&rendered.text)),
            None => Policy::parse(&rendered.text),
        };
        for problem in &mut problems {
            (problem.line, problem.column) = rendered.origin(problem.line, problem.column);
        }
        policy.move_up(rendered.offset());
        problems.extend(expansion.problems.iter().cloned());
        problems.extend(lookup.problems);
        if problems.iter().any(is_error) {
            // Half of a table tells nothing about it.
            policy = Policy::default();
        }
        let mut text = rendered.text;
        // So that nothing is left for close(2), which cannot tell of a failure.
        if !source.text.is_empty() && !text.ends_with(b"\n") {
            text.push(b'\n');
        }
        Self {
            text,
            policy,
            problems,
            members: lookup.members,
            expansion,
        }
    }

    /// Whether it is no table.
    pub(crate) fn failed(&self) -> bool {
        self.problems.iter().any(is_error)
    }

    /// What the module says of the text, for who wrote it.
    pub(crate) fn explain(&self, why: &str) -> String {
        let rendered = self.expansion.render(&self.members);
        placed(&rendered, why).unwrap_or_else(|| why.to_owned())
    }
}

fn is_error(problem: &Problem) -> bool {
    problem.severity == Severity::Error
}

fn expansion(source: &Source, base: Option<&Policy>) -> Expansion {
    Expansion::new(&source.text, |name| {
        base.is_some_and(|base| base.has_set(name))
    })
}

/// `why` with the line and column where it was written; [`None`] if it tells none.
fn placed(rendered: &Rendered<'_>, why: &str) -> Option<String> {
    let number = |text: &'_ str| -> Option<(u32, usize)> {
        let end = text.find(|c: char| !c.is_ascii_digit())?;
        Some((text.get(..end)?.parse().ok()?, end))
    };
    let rest = why.strip_prefix("line ")?;
    let (line, end) = number(rest)?;
    let rest = rest.get(end..)?;
    if let Some(rest) = rest.strip_prefix(" column ") {
        let (column, end) = number(rest)?;
        let (line, column) = rendered.origin(line, column);
        return Some(format!("line {line} column {column}{}", rest.get(end..)?));
    }
    let (line, _) = rendered.origin(line, 1);
    Some(format!("line {line}{rest}"))
}
