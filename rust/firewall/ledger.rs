// SPDX-License-Identifier: GPL-2.0

//! The slots that statements count in, and where their counts begin.

use ctrfw_core::memory::NoMemory;
use ctrfw_core::slot::{Slot, Slots};
use kernel::prelude::*;

use super::memory::KernelMemory;
use super::snapshot::Snapshot;
use super::table::Table;
use crate::sys::counters::Count;
use crate::sys::task;

/// What writers know of the counters of the table in force. A statement that a new table has of the old
/// one keeps its slot, and goes on counting there.
#[derive(Default)]
pub(crate) struct Ledger {
    slots: Slots<KernelMemory>,
    /// What each slot had counted before its statement had it, or began anew. Behind the end it is
    /// nothing.
    before: KVVec<Count>,
    /// How many times the counters of this table, or of one of those before it, began anew.
    resets: u64,
}

impl Ledger {
    /// The slots as they are. Process context.
    pub(super) fn slots(&self) -> Result<Slots<KernelMemory>, NoMemory> {
        self.slots.duplicate()
    }

    /// Notes where the counts of the statements of `table` begin that have slots which are free here.
    /// Nobody counts in these yet. Process context.
    ///
    /// It may be called in vain, or fail: what is noted of free slots has no meaning.
    pub(super) fn note(&mut self, table: &Table, slots: &Slots<KernelMemory>) -> Result {
        for slot in slots.since(&self.slots) {
            task::cond_resched();
            let count = table.count(slot);
            let index = slot.index();
            if count != Count::default() {
                while self.before.len() <= index {
                    self.before.push(Count::default(), GFP_KERNEL)?;
                }
            }
            if let Some(before) = self.before.get_mut(index) {
                *before = count;
            }
        }
        Ok(())
    }

    /// Has the counts of a table's statements begin at what they were. Process context.
    ///
    /// On an error nothing changes.
    pub(super) fn reset(&mut self, counted: &Snapshot) -> Result {
        while self.before.len() < self.slots.len() {
            self.before.push(Count::default(), GFP_KERNEL)?;
        }
        for (slot, count) in counted.counts() {
            task::cond_resched();
            if let Some(before) = self.before.get_mut(slot.index()) {
                *before = before.plus(count);
            }
        }
        self.resets = self.resets.wrapping_add(1);
        Ok(())
    }

    /// A number that is another one after a reset.
    pub(super) fn resets(&self) -> u64 {
        self.resets
    }

    /// Has `slots` taken, but for those of statements that are gone.
    pub(super) fn turn(&mut self, mut slots: Slots<KernelMemory>, gone: &[Slot]) {
        for slot in gone {
            task::cond_resched();
            slots.give_back(*slot);
        }
        self.slots = slots;
    }

    /// What the statement of `table`, which is in force, has counted that has this slot.
    pub(super) fn total(&self, table: &Table, slot: Slot) -> Count {
        let before = self.before.get(slot.index()).copied().unwrap_or_default();
        table.count(slot).minus(before)
    }

    /// How many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        let before = self.before.capacity().saturating_mul(size_of::<Count>());
        self.slots.memory().saturating_add(before)
    }
}
