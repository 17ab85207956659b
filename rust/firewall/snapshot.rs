// SPDX-License-Identifier: GPL-2.0

//! What all statements had counted at one time.

use ctrfw_core::policy::Policy;
use ctrfw_core::slot::Slot;
use kernel::prelude::*;
use kernel::sync::Arc;

use super::memory::KernelMemory;
use super::table::Table;
use super::{Firewall, Writers};
use crate::sys::counters::Count;
use crate::sys::task;

/// The counts, and the table that the statements were of.
pub(crate) struct Snapshot {
    table: Arc<Table>,
    /// Of the rules, the defaults, and of nobody.
    counts: KVVec<Count>,
    failsafe: Count,
    /// How many times counters had begun anew.
    resets: u64,
}

impl Snapshot {
    /// The table.
    pub(crate) fn policy(&self) -> &Policy<KernelMemory> {
        &self.table.policy
    }

    /// What was counted by the statement with this index: the rules come first, then the defaults, then
    /// nobody.
    pub(crate) fn count(&self, index: usize) -> Count {
        self.counts.get(index).copied().unwrap_or_default()
    }

    /// How many [`Self::count`] knows.
    pub(crate) fn len(&self) -> usize {
        self.counts.len()
    }

    /// The slots, and what was counted in them.
    pub(super) fn counts(&self) -> impl Iterator<Item = (Slot, Count)> + '_ {
        let policy = self.policy();
        let counts = policy.slots().zip(self.counts.iter().copied());
        let failsafe = [(policy.failsafe_slot(), self.failsafe)];
        let all = Iterator::chain(counts, failsafe);
        all.filter_map(|(slot, count)| Some((slot?, count)))
    }

    /// Whether that table is still in force, and its counts have not begun anew since.
    pub(super) fn is_current(&self, writers: &Writers, table: Option<&Arc<Table>>) -> bool {
        self.resets == writers.ledger.resets()
            && table.is_some_and(|table| Arc::ptr_eq(table, &self.table))
    }

    /// What the failsafe has counted.
    pub(crate) fn failsafe(&self) -> Count {
        self.failsafe
    }
}

impl Firewall {
    /// What the statements of the table in force have counted; nothing if there is none. Process context;
    /// sleeps.
    pub(crate) fn counted(&self) -> Result<Option<Snapshot>> {
        self.counted_by(&self.writers.lock())
    }

    /// The same, for a writer. While there is one, no slot gets another statement.
    pub(super) fn counted_by(&self, writers: &Writers) -> Result<Option<Snapshot>> {
        let Some(table) = self.table.load() else {
            return Ok(None);
        };
        let total = |slot: Option<Slot>| {
            slot.map_or(Count::default(), |slot| writers.ledger.total(&table, slot))
        };
        let statements = table.policy.rules().len();
        let statements = statements.saturating_add(table.policy.defaults().len());
        let mut counts = KVVec::with_capacity(statements.saturating_add(1), GFP_KERNEL)?;
        for slot in table.policy.slots() {
            task::cond_resched();
            counts.push(total(slot), GFP_KERNEL)?;
        }
        let failsafe = total(table.policy.failsafe_slot());
        Ok(Some(Snapshot {
            table,
            counts,
            failsafe,
            resets: writers.ledger.resets(),
        }))
    }
}
