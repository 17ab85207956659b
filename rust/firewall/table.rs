// SPDX-License-Identifier: GPL-2.0

//! The table in force, and how a new one takes its place.

use core::net::IpAddr;

use ctrfw_core::matcher::Needs;
use ctrfw_core::packet::Packet;
use ctrfw_core::policy::Policy;
use ctrfw_core::rule::{Decider, Decision, Log, Mode, Verb};
use kernel::prelude::*;
use kernel::sync::{Arc, UniqueArc};

use super::draft::{Draft, Finished};
use super::ledger::Ledger;
use super::log::Quota;
use super::memory::KernelMemory;
use super::obstacle::Obstacle;
use super::Firewall;
use crate::sys::counters::{Count, Counters};
use crate::sys::reject::Rejecter;

/// The policy and what its statements have counted; never changed once it is in force.
pub(crate) struct Table {
    /// The policy
    pub(crate) policy: Policy<KernelMemory>,
    /// One for each rule, one for each default, one for the packets that no statement decided, and one
    /// for the `failsafe`.
    counters: Counters,
    /// What rejected packets are answered with; there if any statement rejects.
    pub(crate) rejecter: Option<Arc<Rejecter>>,
    /// What was logged lately, if anything may be logged.
    pub(super) quota: Option<Quota>,
}

impl Table {
    fn new(policy: Policy<KernelMemory>, rejecter: Option<Arc<Rejecter>>) -> Result<Self> {
        let statements = policy.rules().len().saturating_add(policy.defaults().len());
        Ok(Self {
            counters: Counters::new(statements.saturating_add(2))?,
            rejecter,
            quota: policy.logs().then(Quota::new).transpose()?,
            policy,
        })
    }

    /// Whether there is nothing to decide by.
    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.policy.is_empty()
    }

    /// Which fields of a packet its rules ask for.
    #[inline]
    pub(crate) fn needs(&self) -> Needs {
        self.policy.matches().needs()
    }

    /// Whether and how a packet is logged about which that was decided.
    #[inline]
    pub(crate) fn log(&self, decision: Decision) -> Option<Log> {
        self.quota.as_ref()?;
        self.policy.log(decision)
    }

    /// Decides about a packet, and counts it; `own` tells whose an address is, for the `failsafe`, and
    /// `audited` is called for each rule that audits the packet. Any
    /// context.
    pub(crate) fn decide(
        table: Option<&Self>,
        packet: &Packet,
        own: impl FnOnce(IpAddr) -> bool,
        mut audited: impl FnMut(&Self, Decision),
    ) -> Decision {
        let Some(table) = table else {
            return Decision {
                verb: Verb::Allow,
                decider: Decider::Nobody,
            };
        };
        let count = |decider| {
            let index = table.counter_index(decider);
            table.counters.add(index, packet.headers.len);
        };
        let decision = if table.policy.is_failsafe(packet, own) {
            Decision {
                verb: Verb::Allow,
                decider: Decider::Failsafe,
            }
        } else {
            table.policy.decide(packet, |index| {
                let decider = Decider::Rule(index);
                count(decider);
                let verb = Verb::Audit;
                audited(table, Decision { verb, decider });
            })
        };
        count(decision.decider);
        decision
    }

    fn counter_index(&self, decider: Decider) -> usize {
        let (rules, defaults) = (self.policy.rules().len(), self.policy.defaults().len());
        match decider {
            Decider::Rule(index) => index,
            Decider::Default(index) => rules.wrapping_add(index),
            Decider::Nobody => rules.wrapping_add(defaults),
            Decider::Failsafe => rules.wrapping_add(defaults).wrapping_add(1),
        }
    }

    /// What `decider` has counted since this table is in force.
    pub(super) fn count(&self, decider: Decider) -> Count {
        self.counters.sum(self.counter_index(decider))
    }

    /// How many bytes of memory the table takes.
    pub(crate) fn memory(&self) -> usize {
        self.policy
            .memory()
            .saturating_add(self.counters.memory())
            .saturating_add(self.quota.as_ref().map_or(0, Quota::memory))
    }
}

impl Firewall {
    /// Puts the draft in force, in place of the table or behind it. Process context; sleeps.
    ///
    /// On an error the old table stays in force. Afterwards no packet is judged by the old one.
    pub(crate) fn commit(&self, draft: Draft) -> Result<(), Obstacle> {
        let mut writers = self.writers.lock();
        let kept = if draft.append {
            self.table.load()
        } else {
            None
        };
        let Finished {
            policy,
            order,
            rejecter,
        } = draft.finish(kept.as_deref())?;
        let ledger = match (&kept, &order) {
            (None, _) => Ledger::default(),
            (Some(old), None) => Ledger::with_room_for(old, old.policy.rules().len())?,
            (Some(old), Some(order)) => Ledger::with_room_for(old, order.len())?,
        };
        let table = Arc::new(Table::new(policy, rejecter)?, GFP_KERNEL)?;
        let mut ledger = UniqueArc::new(ledger, GFP_KERNEL)?;

        // From here on nothing can fail.
        if let Some(old) = self.table.replace(Some(table.clone())) {
            self.logger.forget(&old);
        }
        if let Some(old) = &kept {
            // Nobody counts in the old table any more.
            ledger.take_over(&writers.ledger, old, &table, order.as_deref());
        }
        writers.ledger = ledger.into();
        writers.generation = writers.generation.wrapping_add(1);
        if table.policy.mode() == Mode::Audit {
            pr_warn!("mode audit: NOTHING IS ENFORCED, refusals are only counted\n");
        }
        Ok(())
    }
}
