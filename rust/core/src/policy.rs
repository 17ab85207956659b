// SPDX-License-Identifier: GPL-2.0

//! A policy: named sets, rules and defaults, and which of them decides about a packet.

use core::fmt::{self, Write};

use crate::error::Fault;
use crate::loader::{Refusal, MAX_LINE};
use crate::matcher::{Matches, Misfit};
use crate::memory::{List, Memory, NoMemory, Span};
use crate::packet::Packet;
use crate::parser::{OptionsText, Statement};
use crate::rule::{Decider, Decision, DefaultVerb, Options, Rule, Verb};

/// A line that is at most so long has a canonical form that is not too long.
const SHORT_LINE: usize = 256;

const ONE_DEFAULT: &str = "one default for each scope";
const NEW_NAME: &str = "a name that no other set has";
const SHORTER: &str = "fewer values on the line: its canonical form is too long; use a set";

/// A policy.
pub struct Policy<M: Memory> {
    matches: Matches<M>,
    rules: M::List<Rule>,
    defaults: M::List<DefaultVerb>,
    /// The texts of the rules, UTF-8.
    texts: M::List<u8>,
}

impl<M: Memory> Default for Policy<M> {
    fn default() -> Self {
        Self {
            matches: Default::default(),
            rules: Default::default(),
            defaults: Default::default(),
            texts: Default::default(),
        }
    }
}

impl<M: Memory> Policy<M> {
    // Process context: building.

    /// Adds what a line says. Sets that are not defined here may be those of `base`, which this policy
    /// is to be put behind.
    ///
    /// After an error the policy is of no use any more.
    pub fn add(
        &mut self,
        statement: Statement<'_>,
        base: Option<&Self>,
    ) -> Result<(), Refusal<NoMemory>> {
        match statement {
            Statement::Rule(rule) => {
                let text = rule.matches;
                let matches = self.matches.add(&text, base.map(|base| &base.matches))?;
                let options = self.add_options(&rule.options)?;
                self.rules.push(Rule {
                    verb: rule.verb,
                    matches,
                    options,
                })?;
                let line = self.rule(self.rules.len().saturating_sub(1));
                if text.len() > SHORT_LINE && line.is_some_and(|line| !fits(&line)) {
                    return Err(Refusal::Expected(SHORTER));
                }
                Ok(())
            }
            Statement::Default(default) => {
                if self.default_for(&default).is_some() {
                    return Err(Refusal::Expected(ONE_DEFAULT));
                }
                Ok(self.defaults.push(default)?)
            }
            Statement::Set(name, word, members) => {
                let taken = |policy: &Self| policy.matches.has_set(name);
                if taken(self) || base.is_some_and(taken) {
                    return Err(Refusal::Fault(Fault::at_word(word, NEW_NAME)));
                }
                self.matches.add_set(name)?;
                match members {
                    Some((kind, words)) => Ok(self.matches.add_members(kind, words)?),
                    None => Ok(()),
                }
            }
            Statement::Members(kind, words) => Ok(self.matches.add_members(kind, words)?),
        }
    }

    fn add_options(&mut self, options: &OptionsText<'_>) -> Result<Options, NoMemory> {
        Ok(Options {
            comment: self.add_text(options.comment)?,
        })
    }

    fn add_text(&mut self, text: &[u8]) -> Result<Span, NoMemory> {
        let start = self.texts.len();
        self.texts.extend(text.iter().copied())?;
        Span::since(&self.texts, start)
    }

    /// Puts `other` behind this policy; its defaults take the place of those for the same scope.
    pub fn append(&mut self, other: &Self) -> Result<(), Misfit> {
        let moved = self.matches.append(&other.matches)?;
        let texts = self.texts.len();
        self.texts.extend(other.texts.iter().copied())?;
        for rule in other.rules.iter() {
            self.rules.push(Rule {
                verb: rule.verb,
                matches: moved.to(&rule.matches)?,
                options: rule.options.behind(texts)?,
            })?;
        }
        for default in other.defaults.iter() {
            match self.default_for(default) {
                Some(index) => {
                    if let Some(old) = self.defaults.get_mut(index) {
                        *old = *default;
                    }
                }
                None => self.defaults.push(*default)?,
            }
        }
        Ok(())
    }

    /// The place of the default for the same scope.
    pub fn default_for(&self, default: &DefaultVerb) -> Option<usize> {
        let same = |other: &DefaultVerb| other.scope == default.scope;
        self.defaults.iter().position(same)
    }

    // Any context: reading.

    /// The match words of the rules, and the sets.
    #[inline]
    pub fn matches(&self) -> &Matches<M> {
        &self.matches
    }

    /// The rules
    #[inline]
    pub fn rules(&self) -> &[Rule] {
        &self.rules
    }

    /// The defaults
    #[inline]
    pub fn defaults(&self) -> &[DefaultVerb] {
        &self.defaults
    }

    /// Whether there is nothing to decide by.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.defaults.is_empty()
    }

    /// How many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.matches
            .memory()
            .saturating_add(self.rules.memory())
            .saturating_add(self.defaults.memory())
            .saturating_add(self.texts.memory())
    }

    /// Decides about `packet`: the first rule that matches, else the narrowest default, else allow.
    #[inline]
    pub fn decide(&self, packet: &Packet) -> Decision {
        for (index, rule) in self.rules.iter().enumerate() {
            let doubt = rule.verb.doubt();
            if self.matches.matches(&rule.matches, packet, doubt) {
                return Decision {
                    verb: rule.verb,
                    decider: Decider::Rule(index),
                };
            }
        }
        let mut best: Option<(usize, &DefaultVerb)> = None;
        for (index, default) in self.defaults.iter().enumerate() {
            let narrower = |(_, best): (usize, &DefaultVerb)| {
                default.scope.narrowness() > best.scope.narrowness()
            };
            if default.holds_for(packet) && best.is_none_or(narrower) {
                best = Some((index, default));
            }
        }
        match best {
            Some((index, default)) => Decision {
                verb: default.verb,
                decider: Decider::Default(index),
            },
            None => Decision {
                verb: Verb::Allow,
                decider: Decider::Nobody,
            },
        }
    }

    /// A text of one of the statements.
    fn text(&self, text: Span) -> &str {
        core::str::from_utf8(text.of(&self.texts)).unwrap_or("")
    }

    /// Rule `index` in canonical form.
    pub fn rule(&self, index: usize) -> Option<impl fmt::Display + '_> {
        let rule = self.rules.get(index)?;
        Some(RuleLine { policy: self, rule })
    }

    /// How many lines the canonical form has.
    pub fn lines(&self) -> usize {
        self.matches
            .lines()
            .saturating_add(self.rules.len())
            .saturating_add(self.defaults.len())
    }

    /// Line `index` of the canonical form, which loads back to the same policy: the sets, the rules, the
    /// defaults.
    pub fn line(&self, index: usize) -> Option<impl fmt::Display + '_> {
        let Some(index) = index.checked_sub(self.matches.lines()) else {
            return self.matches.line(index).map(Line::Set);
        };
        match index.checked_sub(self.rules.len()) {
            None => self.rule(index).map(Line::Rule),
            Some(index) => self.defaults.get(index).map(Line::Default),
        }
    }
}

/// Whether a canonical line can be read back.
fn fits(line: &impl fmt::Display) -> bool {
    struct Room(usize);

    impl fmt::Write for Room {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = self.0.checked_sub(text.len()).ok_or(fmt::Error)?;
            Ok(())
        }
    }

    write!(Room(MAX_LINE), "{line}").is_ok()
}

struct RuleLine<'a, M: Memory> {
    policy: &'a Policy<M>,
    rule: &'a Rule,
}

impl<M: Memory> fmt::Display for RuleLine<'_, M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { policy, rule } = *self;
        write!(f, "{}{}", rule.verb, policy.matches.display(&rule.matches))?;
        if !rule.options.comment.is_empty() {
            write!(f, " comment \"{}\"", policy.text(rule.options.comment))?;
        }
        Ok(())
    }
}

/// A line of one of three kinds.
enum Line<S, R, D> {
    Set(S),
    Rule(R),
    Default(D),
}

impl<S: fmt::Display, R: fmt::Display, D: fmt::Display> fmt::Display for Line<S, R, D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Set(set) => set.fmt(f),
            Self::Rule(rule) => rule.fmt(f),
            Self::Default(default) => default.fmt(f),
        }
    }
}
