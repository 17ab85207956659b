// SPDX-License-Identifier: GPL-2.0

//! What statements had counted before the table in force took their table's place.

use ctrfw_core::rule::Decider;
use kernel::prelude::*;

use super::table::Table;
use crate::sys::counters::Count;

/// What the statements of the table in force had counted in the tables before it, which had the same
/// statements among theirs: `>>` keeps the counters.
#[derive(Default)]
pub(crate) struct Ledger {
    rules: KVVec<Count>,
    defaults: KVVec<Count>,
    nobody: Count,
    failsafe: Count,
}

impl Ledger {
    fn before(&self, decider: Decider) -> Count {
        let before = match decider {
            Decider::Rule(index) => self.rules.get(index),
            Decider::Default(index) => self.defaults.get(index),
            Decider::Nobody => Some(&self.nobody),
            Decider::Failsafe => Some(&self.failsafe),
        };
        before.copied().unwrap_or_default()
    }

    /// What `decider` of `table` has counted in all.
    pub(crate) fn total(&self, table: &Table, decider: Decider) -> Count {
        self.before(decider).plus(table.count(decider))
    }

    /// Room for all that `table` has counted, and for `rules` rules. Process context.
    pub(crate) fn with_room_for(table: &Table, rules: usize) -> Result<Self> {
        Ok(Self {
            rules: KVVec::with_capacity(rules, GFP_KERNEL)?,
            defaults: KVVec::with_capacity(table.policy.defaults().len(), GFP_KERNEL)?,
            nobody: Count::default(),
            failsafe: Count::default(),
        })
    }

    /// Takes down what the statements of `new` counted in `old`, and what `older` knew of them. Its
    /// rules are those of `old` and others behind them, in this `order` if there is one. The room is
    /// there.
    pub(crate) fn take_over(
        &mut self,
        older: &Ledger,
        old: &Table,
        new: &Table,
        order: Option<&[u32]>,
    ) {
        let known = old.policy.rules().len();
        let total = |index: usize| match index < known {
            true => older.total(old, Decider::Rule(index)),
            false => Count::default(),
        };
        let mut push = |index| drop(self.rules.push_within_capacity(total(index)));
        match order {
            Some(order) => order.iter().for_each(|index| push(*index as usize)),
            None => (0..known).for_each(push),
        }
        for (index, (was, is)) in old
            .policy
            .defaults()
            .iter()
            .zip(new.policy.defaults())
            .enumerate()
        {
            // A default that says something else now begins anew.
            let total = if was.default == is.default {
                older.total(old, Decider::Default(index))
            } else {
                Count::default()
            };
            drop(self.defaults.push_within_capacity(total));
        }
        self.nobody = older.total(old, Decider::Nobody);
        if old.policy.failsafe() == new.policy.failsafe() {
            self.failsafe = older.total(old, Decider::Failsafe);
        }
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
