// SPDX-License-Identifier: GPL-2.0

//! The table in force, and how a new one takes its place.

use core::fmt;

use ctrfw_core::loader::{Refusal, Sink};
use ctrfw_core::packet::Packet;
use ctrfw_core::parser::Statement;
use ctrfw_core::rule::{decide, Decider, Decision, DefaultVerb, Rule, Verb};
use kernel::prelude::*;
use kernel::sync::Arc;

use super::Firewall;
use crate::sys::counters::{Count, Counters};

/// The rules in order and the defaults; never changed once it is in force.
pub(crate) struct Table {
    /// The rules
    pub(crate) rules: KVVec<Rule>,
    /// The defaults
    pub(crate) defaults: KVVec<DefaultVerb>,
    /// One for each rule, one for each default, and one for the packets that no statement decided.
    counters: Counters,
    /// Whether any rule asks for an interface.
    names_interfaces: bool,
}

impl Table {
    fn new(statements: Statements) -> Result<Self> {
        let Statements { rules, defaults } = statements;
        let names_interfaces = rules
            .iter()
            .any(|rule| rule.matches.input.is_some() || rule.matches.output.is_some());
        let counters = Counters::new(statement_count(&rules, &defaults).saturating_add(1))?;
        Ok(Self {
            rules,
            defaults,
            counters,
            names_interfaces,
        })
    }

    /// Whether there is nothing to decide by.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.rules.is_empty() && self.defaults.is_empty()
    }

    /// Whether any rule asks for an interface.
    #[inline]
    pub(crate) fn names_interfaces(&self) -> bool {
        self.names_interfaces
    }

    /// Decides about a packet, and counts it. Any context.
    pub(crate) fn decide(table: Option<&Self>, packet: &Packet) -> Decision {
        let Some(table) = table else {
            return Decision {
                verb: Verb::Allow,
                decider: Decider::Nobody,
            };
        };
        let decision = decide(&table.rules, &table.defaults, packet);
        table
            .counters
            .add(table.counter_index(decision.decider), packet.headers.len);
        decision
    }

    fn counter_index(&self, decider: Decider) -> usize {
        match decider {
            Decider::Rule(index) => index,
            Decider::Default(index) => self.rules.len().wrapping_add(index),
            Decider::Nobody => self.rules.len().wrapping_add(self.defaults.len()),
        }
    }

    /// What `decider` has counted since this table is in force.
    fn count(&self, decider: Decider) -> Count {
        self.counters.sum(self.counter_index(decider))
    }

    /// How many bytes of memory the table takes.
    pub(crate) fn memory(&self) -> usize {
        let rules = self.rules.capacity().saturating_mul(size_of::<Rule>());
        let defaults = self
            .defaults
            .capacity()
            .saturating_mul(size_of::<DefaultVerb>());
        rules
            .saturating_add(defaults)
            .saturating_add(self.counters.memory())
    }
}

/// What the statements of the table in force had counted in the tables before it, which ended with
/// the same statements: `>>` keeps the counters.
#[derive(Default)]
pub(crate) struct Ledger {
    rules: KVVec<Count>,
    defaults: KVVec<Count>,
    nobody: Count,
}

impl Ledger {
    fn before(&self, decider: Decider) -> Count {
        let before = match decider {
            Decider::Rule(index) => self.rules.get(index),
            Decider::Default(index) => self.defaults.get(index),
            Decider::Nobody => Some(&self.nobody),
        };
        before.copied().unwrap_or_default()
    }

    /// What `decider` of `table` has counted in all.
    pub(crate) fn total(&self, table: &Table, decider: Decider) -> Count {
        self.before(decider).plus(table.count(decider))
    }

    /// Room for all that `table` has counted.
    fn with_room_for(table: &Table) -> Result<Self> {
        Ok(Self {
            rules: KVVec::with_capacity(table.rules.len(), GFP_KERNEL)?,
            defaults: KVVec::with_capacity(table.defaults.len(), GFP_KERNEL)?,
            nobody: Count::default(),
        })
    }

    /// Takes down what `table` has counted, and what `older` knew of it. The room is there.
    fn take_over(&mut self, older: &Ledger, table: &Table) {
        for index in 0..table.rules.len() {
            let total = older.total(table, Decider::Rule(index));
            drop(self.rules.push_within_capacity(total));
        }
        for index in 0..table.defaults.len() {
            let total = older.total(table, Decider::Default(index));
            drop(self.defaults.push_within_capacity(total));
        }
        self.nobody = older.total(table, Decider::Nobody);
    }

    /// How many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        let entries = self
            .rules
            .capacity()
            .saturating_add(self.defaults.capacity());
        entries.saturating_mul(size_of::<Count>())
    }
}

/// Why statements cannot become the table, apart from the language.
#[derive(Clone, Copy)]
pub(crate) enum Obstacle {
    /// There is no memory.
    Memory,
    /// They are more than this bound.
    TooMany(usize),
}

impl From<Error> for Obstacle {
    fn from(_: Error) -> Self {
        Self::Memory
    }
}

impl From<kernel::alloc::AllocError> for Obstacle {
    fn from(_: kernel::alloc::AllocError) -> Self {
        Self::Memory
    }
}

impl From<Obstacle> for Error {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Memory => ENOMEM,
            Obstacle::TooMany(_) => ENOSPC,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("out of memory"),
            Self::TooMany(max) => write!(f, "more than {max} statements"),
        }
    }
}

fn statement_count(rules: &KVVec<Rule>, defaults: &KVVec<DefaultVerb>) -> usize {
    rules.len().saturating_add(defaults.len())
}

/// Statements on their way to become a table.
pub(crate) struct Statements {
    rules: KVVec<Rule>,
    defaults: KVVec<DefaultVerb>,
}

impl Statements {
    fn new() -> Self {
        Self {
            rules: KVVec::new(),
            defaults: KVVec::new(),
        }
    }

    /// Adds what `newer` says; its defaults take the place of those for the same scope.
    fn extend(&mut self, newer: &Self, max: usize) -> Result<(), Obstacle> {
        let count = |s: &Self| statement_count(&s.rules, &s.defaults);
        self.rules.extend_from_slice(&newer.rules, GFP_KERNEL)?;
        for default in &newer.defaults {
            match self
                .defaults
                .iter_mut()
                .find(|old| old.scope == default.scope)
            {
                Some(old) => *old = *default,
                None => self.defaults.push(*default, GFP_KERNEL)?,
            }
        }
        if count(self) > max {
            return Err(Obstacle::TooMany(max));
        }
        Ok(())
    }
}

/// A table that somebody is writing.
pub(crate) struct Draft {
    statements: Statements,
    /// Most statements that it may have.
    max: usize,
}

impl Draft {
    /// A draft that says nothing yet.
    pub(crate) fn new(max: usize) -> Self {
        Self {
            statements: Statements::new(),
            max,
        }
    }
}

impl Sink<Statement> for Draft {
    type Error = Obstacle;

    fn accept(&mut self, statement: Statement) -> Result<(), Refusal<Obstacle>> {
        let Statements { rules, defaults } = &mut self.statements;
        if statement_count(rules, defaults) >= self.max {
            return Err(Refusal::Sink(Obstacle::TooMany(self.max)));
        }
        let pushed = match statement {
            Statement::Rule(rule) => rules.push(rule, GFP_KERNEL),
            Statement::Default(default) => {
                if defaults.iter().any(|other| other.scope == default.scope) {
                    return Err(Refusal::Expected("one default for each scope"));
                }
                defaults.push(default, GFP_KERNEL)
            }
        };
        pushed.map_err(|error| Refusal::Sink(error.into()))
    }
}

impl Firewall {
    /// Puts the draft in force, in place of the table or, if `append`, behind it. Process context.
    ///
    /// On an error the old table stays in force. Afterwards no packet is judged by the old one.
    pub(crate) fn commit(&self, draft: Draft, append: bool) -> Result<(), Obstacle> {
        let mut writers = self.writers.lock();
        let old = self.table.load();
        let mut statements = draft.statements;
        let mut ledger = Ledger::default();
        if let (Some(old), true) = (&old, append) {
            let mut all = Statements::new();
            all.rules.extend_from_slice(&old.rules, GFP_KERNEL)?;
            all.defaults.extend_from_slice(&old.defaults, GFP_KERNEL)?;
            all.extend(&statements, self.limits.rules)?;
            statements = all;
            ledger = Ledger::with_room_for(old)?;
        }
        let table = Arc::new(Table::new(statements)?, GFP_KERNEL)?;
        let mut ledger = UniqueLedger::new(ledger)?;

        // From here on nothing can fail.
        self.table.replace(Some(table));
        if let (Some(old), true) = (&old, append) {
            // Nobody counts in the old table any more.
            ledger.0.take_over(&writers.ledger, old);
        }
        writers.ledger = ledger.0.into();
        writers.generation = writers.generation.wrapping_add(1);
        Ok(())
    }
}

/// A ledger whose place in memory is already there.
struct UniqueLedger(kernel::sync::UniqueArc<Ledger>);

impl UniqueLedger {
    fn new(ledger: Ledger) -> Result<Self, Obstacle> {
        Ok(Self(kernel::sync::UniqueArc::new(ledger, GFP_KERNEL)?))
    }
}
