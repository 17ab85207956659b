// SPDX-License-Identifier: GPL-2.0

//! The table in force, and how a new one takes its place.

use ctrfw_core::packet::Packet;
use ctrfw_core::rule::{decide, Decider, Decision, DefaultVerb, Mode, Rule, Verb};
use kernel::prelude::*;
use kernel::sync::{Arc, UniqueArc};

use super::draft::Draft;
use super::ledger::Ledger;
use super::obstacle::Obstacle;
use super::Firewall;
use crate::sys::counters::{Count, Counters};
use crate::sys::reject::Rejecter;

/// The rules in order and the defaults; never changed once it is in force.
pub(crate) struct Table {
    /// The rules
    pub(crate) rules: KVVec<Rule>,
    /// The defaults
    pub(crate) defaults: KVVec<DefaultVerb>,
    /// Whether they are carried out
    pub(crate) mode: Mode,
    /// One for each rule, one for each default, and one for the packets that no statement decided.
    counters: Counters,
    /// Whether any rule asks for an interface.
    names_interfaces: bool,
    /// What rejected packets are answered with; there if any statement rejects.
    pub(crate) rejecter: Option<Arc<Rejecter>>,
}

impl Table {
    fn new(draft: Draft) -> Result<Self> {
        let Draft {
            rules,
            defaults,
            mode,
            rejecter,
            ..
        } = draft;
        let names_interfaces = rules
            .iter()
            .any(|rule| rule.matches.input.is_some() || rule.matches.output.is_some());
        let statements = rules.len().saturating_add(defaults.len());
        Ok(Self {
            rules,
            defaults,
            mode: mode.unwrap_or_default(),
            counters: Counters::new(statements.saturating_add(1))?,
            names_interfaces,
            rejecter,
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

    /// Decides about a packet, and counts it; also whether a rule that audits would have it dropped.
    /// Any context.
    pub(crate) fn decide(table: Option<&Self>, packet: &Packet) -> (Decision, bool) {
        let Some(table) = table else {
            let decision = Decision {
                verb: Verb::Allow,
                decider: Decider::Nobody,
            };
            return (decision, false);
        };
        let mut audited = false;
        let decision = decide(&table.rules, &table.defaults, packet, |index| {
            audited = true;
            table.counters.add(
                table.counter_index(Decider::Rule(index)),
                packet.headers.len,
            );
        });
        table
            .counters
            .add(table.counter_index(decision.decider), packet.headers.len);
        (decision, audited)
    }

    fn counter_index(&self, decider: Decider) -> usize {
        match decider {
            Decider::Rule(index) => index,
            Decider::Default(index) => self.rules.len().wrapping_add(index),
            Decider::Nobody => self.rules.len().wrapping_add(self.defaults.len()),
        }
    }

    /// What `decider` has counted since this table is in force.
    pub(super) fn count(&self, decider: Decider) -> Count {
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

impl Firewall {
    /// Puts the draft in force, in place of the table or behind it. Process context; sleeps.
    ///
    /// On an error the old table stays in force. Afterwards no packet is judged by the old one.
    pub(crate) fn commit(&self, mut draft: Draft) -> Result<(), Obstacle> {
        let mut writers = self.writers.lock();
        let mut ledger = Ledger::default();
        let kept = if draft.append {
            self.table.load()
        } else {
            None
        };
        if let Some(old) = &kept {
            draft = draft.put_behind(old)?;
            ledger = Ledger::with_room_for(old)?;
        }
        let table = Arc::new(Table::new(draft)?, GFP_KERNEL)?;
        let mut ledger = UniqueArc::new(ledger, GFP_KERNEL)?;

        // From here on nothing can fail.
        self.table.replace(Some(table.clone()));
        if let Some(old) = &kept {
            // Nobody counts in the old table any more.
            ledger.take_over(&writers.ledger, old, &table);
        }
        writers.ledger = ledger.into();
        writers.generation = writers.generation.wrapping_add(1);
        if table.mode == Mode::Audit {
            pr_warn!("mode audit: NOTHING IS ENFORCED, refusals are only counted\n");
        }
        Ok(())
    }
}
