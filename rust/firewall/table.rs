// SPDX-License-Identifier: GPL-2.0

//! The table in force, and how a new one takes its place.

use core::net::IpAddr;

use ctrfw_core::generation::Generation;
use ctrfw_core::hook::Hook;
use ctrfw_core::key::Key;
use ctrfw_core::matcher::Needs;
use ctrfw_core::netns::NetnsId;
use ctrfw_core::outcome::Outcome;
use ctrfw_core::packet::Packet;
use ctrfw_core::policy::Policy;
use ctrfw_core::rule::{Decider, Decision, Log, Mode, Verb};
use ctrfw_core::slot::{Slot, Slots};
use kernel::prelude::*;
use kernel::sync::Arc;

use super::draft::{Draft, Finished};
use super::ledger::Ledger;
use super::log::Quota;
use super::memory::KernelMemory;
use super::obstacle::Obstacle;
use super::Firewall;
use crate::sys::counters::{Count, Counters};
use crate::sys::cpu::Here;
use crate::sys::reject::Rejecter;
use crate::sys::socket::SocketLookup;

/// The policy and what its statements have counted; never changed once it is in force.
pub(crate) struct Table {
    /// The policy
    pub(crate) policy: Policy<KernelMemory>,
    /// Its number, which no other table in force has had.
    pub(super) generation: Generation,
    /// Whether its rules ask for anything that no header tells.
    pub(super) looks_around: bool,
    /// One for each slot of its statements, shared with the tables before it and behind it that had or
    /// will have the same statements.
    counters: Counters,
    /// What rejected packets are answered with; there if any statement rejects.
    pub(crate) rejecter: Option<Arc<Rejecter>>,
    /// What finds the sockets that packets are for; there if any statement asks for their cgroups.
    pub(super) lookup: Option<Arc<SocketLookup>>,
    /// What was logged lately, if anything may be logged.
    pub(super) quota: Option<Quota>,
}

impl Table {
    fn new(
        policy: Policy<KernelMemory>,
        generation: Generation,
        counters: Counters,
        rejecter: Option<Arc<Rejecter>>,
        lookup: Option<Arc<SocketLookup>>,
    ) -> Result<Self> {
        Ok(Self {
            generation,
            looks_around: policy.needs() != Needs::default(),
            counters,
            rejecter,
            lookup,
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
        self.policy.needs()
    }

    /// Whether its rules ask for what connection tracking knows of packets at a hook. Any context.
    #[inline]
    pub(super) fn asks_for_flow(&self, hook: Hook, netns: NetnsId) -> bool {
        self.needs().flows.contains(hook) && self.policy.flow_scope().contains(netns)
    }

    /// Whether its rules ask for the cgroups of packets' sockets at a hook. Any context.
    #[inline]
    pub(super) fn asks_for_cgroup(&self, hook: Hook, netns: NetnsId) -> bool {
        self.needs().cgroups.contains(hook) && self.policy.cgroup_scope().contains(netns)
    }

    /// Whether and how a packet is logged about which that was decided.
    #[inline]
    pub(crate) fn log(&self, decision: Decision) -> Option<Log> {
        self.quota.as_ref()?;
        self.policy.log(decision)
    }

    /// What comes of a packet with this key, in this namespace, if a first look tells. Any context.
    ///
    /// Out of line, once for all hooks.
    #[inline(never)]
    pub(super) fn first_look(&self, packet: &Key<'_>, netns: NetnsId) -> Option<Outcome> {
        self.policy.first_look(packet, netns)
    }

    /// Counts a packet of `bytes` bytes in a slot. Any context.
    #[inline(always)]
    pub(super) fn add(&self, here: &Here, slot: Slot, bytes: u32) {
        self.counters.add(here, slot.index(), bytes);
    }

    /// Decides about a packet, and counts it, in the slot that is told as well; `own` tells whose an address is, for the `failsafe`, and
    /// `audited` is called for each rule that audits the packet. Any
    /// context.
    pub(crate) fn decide(
        table: Option<&Self>,
        packet: &Packet,
        own: impl FnOnce(IpAddr) -> bool,
        mut audited: impl FnMut(&Self, Decision),
    ) -> (Decision, Option<Slot>) {
        let Some(table) = table else {
            let decision = Decision {
                verb: Verb::Allow,
                decider: Decider::Nobody,
            };
            return (decision, None);
        };
        let count = |slot: Option<Slot>| {
            if let Some(slot) = slot {
                table.add(&Here::enter(), slot, packet.headers.len);
            }
        };
        let (decision, slot) = if table.policy.is_failsafe(packet, own) {
            let decision = Decision {
                verb: Verb::Allow,
                decider: Decider::Failsafe,
            };
            (decision, table.policy.failsafe_slot())
        } else {
            table.policy.judge(packet, |index, slot| {
                let decider = Decider::Rule(index);
                count(slot);
                let verb = Verb::Audit;
                audited(table, Decision { verb, decider });
            })
        };
        count(slot);
        (decision, slot)
    }

    /// What was counted in a slot, whatever statements had it.
    pub(super) fn count(&self, slot: Slot) -> Count {
        self.counters.sum(slot.index())
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
        writers.check(draft.condition())?;
        let kept = if draft.append {
            self.table.load()
        } else {
            None
        };
        let mut slots = match &kept {
            Some(_) => writers.ledger.slots()?,
            None => Slots::default(),
        };
        let Finished {
            policy,
            gone,
            rejecter,
            conntrack,
            lookup,
        } = draft.finish(kept.as_deref(), &mut slots)?;
        let counters = match &kept {
            Some(old) => old.counters.resized(slots.len())?,
            None => Counters::new(slots.len())?,
        };
        let generation = writers.generation.next();
        let table = Table::new(policy, generation, counters, rejecter, lookup)?;
        let table = Arc::new(table, GFP_KERNEL)?;
        if kept.is_some() {
            writers.ledger.note(&table, &slots)?;
        }
        let scope = *table.policy.flow_scope();
        let replaced = self
            .tracking
            .change(scope, conntrack, || self.table.replace(Some(table.clone())))?;

        // From here on nothing can fail.
        if let Some(old) = replaced {
            self.logger.forget(&old);
        }
        if kept.is_none() {
            writers.ledger = Ledger::default();
        }
        // Nobody counts by the old table any more.
        writers.ledger.turn(slots, &gone);
        writers.generation = generation;
        if table.policy.mode() == Mode::Audit {
            pr_warn!("mode audit: NOTHING IS ENFORCED, refusals are only counted\n");
        }
        Ok(())
    }
}
