// SPDX-License-Identifier: GPL-2.0

//! A table as the module would take it: the one place where the language's own representation of
//! rules is used.

use ctrfw_core::lexer::Words;
use ctrfw_core::loader::{LoadError, Loader, Refusal, Sink};
use ctrfw_core::packet::Packet;
use ctrfw_core::parser::{Grammar, Statement, Table};
use ctrfw_core::rule::{decide, Decider, DefaultVerb, Rule, Verb};

use crate::problem::{Problem, Severity};

/// Rules and defaults, and where they stood.
#[derive(Debug, Default)]
pub struct Policy {
    rules: Vec<Rule>,
    rule_lines: Vec<u32>,
    defaults: Vec<DefaultVerb>,
    default_lines: Vec<u32>,
}

/// Who decides about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the packet passes.
    pub allow: bool,
    /// The rule's index from 0, if it is a rule.
    pub rule: Option<usize>,
    /// The line of the statement, from 1; [`None`] if none decides.
    pub line: Option<u32>,
    /// The statement in canonical form.
    pub text: String,
}

/// Takes what one line says.
struct Line<'a>(&'a mut Policy, u32);

impl Sink<Statement> for Line<'_> {
    type Error = ();

    fn accept(&mut self, statement: Statement) -> Result<(), Refusal<()>> {
        let Self(policy, number) = self;
        match statement {
            Statement::Rule(rule) => {
                policy.rules.push(rule);
                policy.rule_lines.push(*number);
            }
            Statement::Default(default) => {
                let same = |other: &DefaultVerb| other.scope == default.scope;
                if policy.defaults.iter().any(same) {
                    // As the module says it.
                    return Err(Refusal::Expected("one default for each scope"));
                }
                policy.defaults.push(default);
                policy.default_lines.push(*number);
            }
        }
        Ok(())
    }
}

impl Policy {
    /// Parses a whole text; what is wrong with a line does not keep the others from being read.
    pub fn parse(text: &[u8]) -> (Self, Vec<Problem>) {
        let mut policy = Self::default();
        let mut problems = Vec::new();
        for (number, line) in (1u32..).zip(text.split(|byte| *byte == b'\n')) {
            // By the module's own loader, so that the verdict is the module's.
            let mut loader = Loader::<Table>::new();
            let mut sink = Line(&mut policy, number);
            let taken = loader
                .feed(line, &mut sink)
                .and_then(|()| loader.finish(&mut sink));
            if let Err(LoadError::Language(error)) = taken {
                let got = error.text.map(|text| text.to_string());
                let shown = match &got {
                    Some(text) => format!("\"{text}\""),
                    None => "the end of the line".to_owned(),
                };
                problems.push(Problem {
                    severity: Severity::Error,
                    line: number,
                    column: error.column,
                    message: format!("got {shown}, expected {}", error.expected),
                    got,
                    expected: Some(error.expected.to_owned()),
                    rule: None,
                    shadowed_by: None,
                });
            }
        }
        (policy, problems)
    }

    /// The lines that the module would show: the rules in their order, then the defaults.
    pub fn canonical(&self) -> Vec<String> {
        let defaults = self.defaults.iter().map(ToString::to_string);
        self.rules().into_iter().chain(defaults).collect()
    }

    /// The rules in canonical form.
    pub fn rules(&self) -> Vec<String> {
        self.rules.iter().map(ToString::to_string).collect()
    }

    /// The line (from 1) of the rule with this index (from 0).
    pub fn rule_line(&self, index: usize) -> u32 {
        self.rule_lines.get(index).copied().unwrap_or(0)
    }

    /// Who decides about `packet`.
    pub fn decide(&self, packet: &Packet) -> Verdict {
        let decision = decide(&self.rules, &self.defaults, packet);
        let (rule, line, text) = match decision.decider {
            Decider::Rule(index) => (
                Some(index),
                self.rule_lines.get(index).copied(),
                self.rules.get(index).map(ToString::to_string),
            ),
            Decider::Default(index) => (
                None,
                self.default_lines.get(index).copied(),
                self.defaults.get(index).map(ToString::to_string),
            ),
            Decider::Nobody => (None, None, None),
        };
        Verdict {
            allow: decision.verb == Verb::Allow,
            rule,
            line,
            text: text.unwrap_or_else(|| "default allow".to_owned()),
        }
    }

    /// The first key and value of the rule with this index (from 0) that do not fit `packet`.
    pub fn first_mismatch(&self, index: usize, packet: &Packet) -> Option<(String, String)> {
        let rule = self.rules.get(index)?;
        words(&rule.to_string()).into_iter().find(|(key, value)| {
            // Words do not depend on each other: a rule of one word tells about that word.
            let line = format!("{} {key} {value}", rule.verb);
            match Table::parse(line.as_bytes()) {
                Ok(Some(Statement::Rule(rule))) => !rule.decides(packet),
                _ => false,
            }
        })
    }
}

/// Keys and values of a rule in canonical form.
pub(crate) fn words(rule: &str) -> Vec<(String, String)> {
    let text = |word: &[u8]| String::from_utf8_lossy(word).into_owned();
    let mut words = Words::new(rule.as_bytes()).skip(1);
    let mut pairs = Vec::new();
    while let (Some(key), Some(value)) = (words.next(), words.next()) {
        pairs.push((text(key.text), text(value.text)));
    }
    pairs
}
