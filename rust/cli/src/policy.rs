// SPDX-License-Identifier: GPL-2.0

//! A table as the module would take it, and where its statements stood.

use std::cmp::Reverse;

use ctrfw_core::edit::Addition;
use ctrfw_core::error::{Error, Excerpt, Fault};
use ctrfw_core::lexer::{Form, Word, Words};
use ctrfw_core::loader::{Refusal, MAX_LINE, SHORT_LINE};
use ctrfw_core::memory::{Heap, NoMemory};
use ctrfw_core::packet::Packet;
use ctrfw_core::parser::{Grammar, OpenSet, Statement, Table, STATEMENTS};
use ctrfw_core::policy::{Policy as Whole, NO_EDIT};
use ctrfw_core::priority::Priority;
use ctrfw_core::rule::{Decider, Verb};
use ctrfw_core::set::SetName;
use ctrfw_core::slot::Slots;

use crate::cgroup;
use crate::clause::clauses;
use crate::problem::{Problem, Severity};
use crate::suggestion::suggestion;

/// A policy, and the lines of its statements.
#[derive(Default)]
pub struct Policy {
    whole: Whole<Heap>,
    rule_lines: Vec<u32>,
    default_lines: Vec<u32>,
}

/// Who decides about a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Verdict {
    /// Whether the packet passes; of one that is queued nobody knows.
    pub allow: Option<bool>,
    /// What becomes of it, in one word.
    pub word: &'static str,
    /// The rule's index from 0, if it is a rule.
    pub rule: Option<usize>,
    /// The line of the statement, from 1; [`None`] if none decides.
    pub line: Option<u32>,
    /// The statement in canonical form.
    pub text: String,
    /// The rules (their indices from 0) that audit the packet before.
    pub audited: Vec<usize>,
    /// It is the `failsafe` that lets it pass, before any rule.
    pub failsafe: bool,
    /// The `failsafe` would let it pass if its address is the host's, which only the host knows.
    pub failsafe_if_own: bool,
}

/// Reads a text line by line.
struct Reader<'a> {
    base: Option<&'a Whole<Heap>>,
    addition: Addition<Heap>,
    rule_lines: Vec<(Priority, u32)>,
    default_lines: Vec<u32>,
    problems: Vec<Problem>,
    state: OpenSet,
}

impl Reader<'_> {
    /// Parses a line, and takes what it says.
    fn line(&mut self, number: u32, line: &[u8]) -> Result<(), Fault> {
        if let Some(beginning) = line.get(..MAX_LINE).filter(|_| line.len() > MAX_LINE) {
            // As the module's loader has it: what is wrong with the beginning comes first.
            let mut state = self.state;
            return Err(match Table::parse(beginning, &mut state) {
                Err(fault) if fault.definite => fault,
                _ => Fault {
                    at: MAX_LINE,
                    text: Some(Excerpt::new(beginning)),
                    expected: SHORT_LINE,
                    definite: true,
                },
            });
        }
        match Table::parse(line, &mut self.state)? {
            Some(statement) => self.take(number, line, statement),
            None => Ok(()),
        }
    }

    fn take(&mut self, number: u32, line: &[u8], statement: Statement<'_>) -> Result<(), Fault> {
        let taken = match (statement, self.base) {
            // A new table has no rules yet that could be changed.
            (Statement::Edit(_), None) => Err(Refusal::Expected(NO_EDIT)),
            _ => self.addition.accept(statement, self.base),
        };
        match (statement, &taken) {
            (Statement::Rule(rule), Ok(())) => {
                self.rule_lines.push((rule.options.priority, number));
            }
            (Statement::Default(_), Ok(())) => self.default_lines.push(number),
            _ => {}
        }
        // The parser has seen to it that they are paths.
        let resolved = self
            .addition
            .resolve_cgroups(|path| cgroup::id(path).ok_or(()));
        debug_assert!(resolved.is_ok());
        match taken {
            Ok(()) | Err(Refusal::Sink(_)) => Ok(()),
            Err(Refusal::Fault(fault)) => Err(fault),
            Err(Refusal::Expected(expected)) => Err(Fault {
                at: 0,
                text: Some(Excerpt::new(line)),
                expected,
                definite: true,
            }),
        }
    }

    /// Notes what is wrong with a line, and goes on as the writer may have meant it: without what
    /// is wrong, but with the set that the line begins, goes on with or ends.
    fn fail(&mut self, number: u32, line: &[u8], before: OpenSet, fault: &Fault) {
        self.problems.push(Problem {
            suggestion: suggestion(line, before, fault),
            ..problem(&Error::new(number, fault))
        });
        let mut words = Words::new(line);
        let closes = |mut words: Words<'_>| words.any(|word| word.is_mark(b"}"));
        if Table::unfinished(before).is_some() {
            let first = words.peek().filter(|word| word.form == Form::Plain);
            let begins = |word: Word<'_>| STATEMENTS.iter().any(|s| s.as_bytes() == word.text);
            if first.is_some_and(begins) {
                // The end of the set is missing. That was told; this line may be fine by itself.
                self.state = OpenSet::default();
                if self.line(number, line).is_err() {
                    self.state = OpenSet::default();
                }
            } else {
                self.state = if closes(words) {
                    OpenSet::default()
                } else {
                    before
                };
            }
            return;
        }
        // That a set of this name was begun is enough to understand what uses it.
        let mut begun = OpenSet::default();
        let Some(open) = words.nth(2).filter(|word| word.is_mark(b"{")) else {
            return;
        };
        let members = words;
        let beginning = line.get(..=open.at).unwrap_or(line);
        let set = match Table::parse(beginning, &mut begun) {
            Ok(Some(statement @ Statement::Set(..))) => statement,
            _ => return,
        };
        // It may be the name that is wrong; then nothing is added.
        let _told = self.take(number, beginning, set);
        self.state = if closes(members) {
            OpenSet::default()
        } else {
            begun
        };
    }
}

fn problem(error: &Error) -> Problem {
    let got = error.text.map(|text| text.to_string());
    let shown = match &got {
        Some(text) => format!("\"{text}\""),
        None => "the end of the line".to_owned(),
    };
    Problem {
        severity: Severity::Error,
        line: error.line,
        column: error.column,
        message: format!("got {shown}, expected {}", error.expected),
        got,
        expected: Some(error.expected.to_owned()),
        suggestion: None,
        rule: None,
        shadowed_by: None,
    }
}

impl Policy {
    /// Parses a whole text; what is wrong with a line does not keep the others from being read.
    ///
    /// If there are problems the policy is empty: half of a table tells nothing about it.
    pub fn parse(text: &[u8]) -> (Self, Vec<Problem>) {
        Self::read(text, None)
    }

    /// Has all statements stand so many lines further up: others were put before them.
    pub(crate) fn move_up(&mut self, lines: u32) {
        for line in self.rule_lines.iter_mut().chain(&mut self.default_lines) {
            *line = line.saturating_sub(lines);
        }
    }

    /// Whether there is a set of this name.
    pub(crate) fn has_set(&self, name: &str) -> bool {
        let name = SetName::parse(name.as_bytes());
        name.is_some_and(|name| self.whole.has_set(name))
    }

    /// What is wrong with a text that is to be added to this table.
    pub fn problems_of_addition(&self, text: &[u8]) -> Vec<Problem> {
        Self::read(text, Some(&self.whole)).1
    }

    /// The table that comes of adding `text` to this one, without lines; [`None`] if something is
    /// wrong with it.
    pub(crate) fn with(&self, text: &[u8]) -> Option<Self> {
        let reader = Self::feed(text, Some(&self.whole));
        if !reader.problems.is_empty() {
            return None;
        }
        let mut slots = self.whole.taken_slots().ok()?;
        let finished = reader.addition.finish(Some(&self.whole), &mut slots);
        finished.ok().map(|(whole, _)| Self {
            whole,
            ..Self::default()
        })
    }

    fn read(text: &[u8], base: Option<&Whole<Heap>>) -> (Self, Vec<Problem>) {
        let Reader {
            addition,
            mut rule_lines,
            default_lines,
            problems,
            ..
        } = Self::feed(text, base);
        if base.is_some() || !problems.is_empty() {
            return (Self::default(), problems);
        }
        // As the rules are: those of the same priority stay in their order.
        rule_lines.sort_by_key(|(priority, _)| Reverse(*priority));
        match addition.finish(None, &mut Slots::default()) {
            Ok((whole, _)) => {
                let policy = Self {
                    whole,
                    rule_lines: rule_lines.into_iter().map(|(_, line)| line).collect(),
                    default_lines,
                };
                (policy, problems)
            }
            Err(NoMemory) => (Self::default(), problems),
        }
    }

    fn feed<'a>(text: &[u8], base: Option<&'a Whole<Heap>>) -> Reader<'a> {
        let mut reader = Reader {
            base,
            addition: Addition::default(),
            rule_lines: Vec::new(),
            default_lines: Vec::new(),
            problems: Vec::new(),
            state: OpenSet::default(),
        };
        let mut lines = 0u32;
        // A newline ends a line: behind the last one there is none.
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        for line in text.split(|byte| *byte == b'\n') {
            lines = lines.saturating_add(1);
            let before = reader.state;
            if let Err(fault) = reader.line(lines, line) {
                reader.fail(lines, line, before, &fault);
            }
        }
        if let Some(expected) = Table::unfinished(reader.state) {
            let fault = Fault {
                at: 0,
                text: None,
                expected,
                definite: true,
            };
            let end = Error::new(lines.saturating_add(1), &fault);
            reader.problems.push(problem(&end));
        }
        reader
    }

    /// The lines that the module would show.
    pub fn canonical(&self) -> Vec<String> {
        let lines = (0..self.whole.lines()).filter_map(|index| self.whole.line(index));
        lines.map(|line| line.to_string()).collect()
    }

    /// The rules in canonical form.
    pub fn rules(&self) -> Vec<String> {
        let rules = (0..self.whole.rules().len()).filter_map(|index| self.whole.rule(index));
        rules.map(|rule| rule.to_string()).collect()
    }

    /// The line (from 1) of the rule with this index (from 0).
    pub fn rule_line(&self, index: usize) -> u32 {
        self.rule_lines.get(index).copied().unwrap_or(0)
    }

    /// Who decides about `packet`.
    pub fn decide(&self, packet: &Packet) -> Verdict {
        let whole = &self.whole;
        let mut verdict = Verdict {
            allow: Some(true),
            word: "allow",
            rule: None,
            line: None,
            text: "default allow".to_owned(),
            audited: Vec::new(),
            failsafe: false,
            failsafe_if_own: false,
        };
        if whole.is_failsafe(packet, |_| false) {
            verdict.failsafe = true;
            verdict.text = whole
                .failsafe_line()
                .map_or(String::new(), |line| line.to_string());
            return verdict;
        }
        verdict.failsafe_if_own = whole.is_failsafe(packet, |_| true);
        let decision = whole.decide(packet, |index| verdict.audited.push(index));
        verdict.allow = match decision.verb {
            Verb::Queue(_) => None,
            verb => Some(verb == Verb::Allow),
        };
        verdict.word = decision.verb.trace_name(whole.mode());
        match decision.decider {
            Decider::Rule(index) => {
                verdict.rule = Some(index);
                verdict.line = self.rule_lines.get(index).copied();
                verdict.text = whole
                    .rule(index)
                    .map_or(String::new(), |rule| rule.to_string());
            }
            Decider::Default(index) => {
                verdict.line = self.default_lines.get(index).copied();
                verdict.text = whole
                    .fallback(index)
                    .map_or(String::new(), |default| default.to_string());
            }
            Decider::Nobody | Decider::Failsafe => {}
        }
        verdict
    }

    /// What tells of each rule which of its words does not match.
    pub(crate) fn probes(&self) -> Probes {
        let mut text = String::new();
        let sets = (0..self.whole.set_lines()).filter_map(|index| self.whole.set_line(index));
        for line in sets {
            text.push_str(&format!("{line}\n"));
        }
        let mut of_rules = Vec::new();
        let mut count = 0usize;
        for (rule, line) in self.whole.rules().iter().zip(self.rules()) {
            // Words do not depend on each other: a rule of one word tells about that word. Rules
            // that do not allow decide alike about what a packet does not show.
            let verb = if rule.verb == Verb::Allow {
                "allow"
            } else {
                "deny"
            };
            let first = count;
            let texts: Vec<String> = clauses(&line).into_iter().map(|c| c.text).collect();
            for clause in &texts {
                text.push_str(&format!("{verb} {clause}\n"));
                count = count.saturating_add(1);
            }
            of_rules.push((first, texts));
        }
        let (words, problems) = Self::parse(text.as_bytes());
        Probes {
            // Better say nothing than something wrong.
            of_rules: if problems.is_empty() && words.whole.rules().len() == count {
                of_rules
            } else {
                Vec::new()
            },
            words: words.whole,
        }
    }
}

/// Whether what is written depends on the table in force (`if generation N`).
pub(crate) fn is_conditional(text: &[u8]) -> bool {
    let mut lines = text.split(|byte| *byte == b'\n');
    // The condition stands before all other statements.
    let first = lines.find_map(|line| Table::parse(line, &mut OpenSet::default()).transpose());
    matches!(first, Some(Ok(Statement::If(..))))
}

/// A rule for each word of each rule of a table.
pub(crate) struct Probes {
    words: Whole<Heap>,
    /// For each rule of the table the place of its first word, and all of them as text.
    of_rules: Vec<(usize, Vec<String>)>,
}

impl Probes {
    /// The first word, with its values, of the rule with this index (from 0) that does not fit
    /// `packet`.
    pub(crate) fn first_mismatch(&self, index: usize, packet: &Packet) -> Option<&str> {
        let (first, texts) = self.of_rules.get(index)?;
        let mut misfits = (*first..)
            .zip(texts)
            .filter(|(word, _)| !self.words.speaks_of(*word, packet));
        misfits.next().map(|(_, text)| text.as_str())
    }
}
