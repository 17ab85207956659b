// SPDX-License-Identifier: GPL-2.0

//! `/proc/ctrfw/counters`: packets and bytes of each statement.

use core::pin::Pin;

use ctrfw_core::rule::Decider;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::sync::Arc;

use crate::firewall::ledger::Ledger;
use crate::firewall::table::Table;
use crate::firewall::Firewall;
use crate::sys::procfs::{Mode, OpenFile};

/// The open file: the table that was in force then.
pub(crate) struct Counters {
    table: Option<(Arc<Table>, Arc<Ledger>)>,
}

impl OpenFile for Counters {
    fn open(mode: Mode) -> Result<Pin<KBox<Self>>> {
        super::check_access()?;
        if mode.write {
            return Err(EACCES);
        }
        let firewall = Firewall::load()?;
        // The ledger belongs to the table as long as nobody writes.
        let writers = firewall.writers.lock();
        let table = firewall
            .table
            .load()
            .map(|table| (table, writers.ledger.clone()));
        drop(writers);
        Ok(KBox::pin(Self { table }, GFP_KERNEL)?)
    }

    fn len(&self) -> usize {
        // One more for the packets that no statement decided.
        self.table.as_ref().map_or(0, |(table, _)| {
            let policy = &table.policy;
            policy
                .rules()
                .len()
                .saturating_add(policy.defaults().len())
                .saturating_add(1)
                .saturating_add(usize::from(!policy.failsafe().is_empty()))
        })
    }

    fn show(&self, index: usize, to: &SeqFile) {
        let Some((table, ledger)) = &self.table else {
            return;
        };
        let index = match (table.policy.failsafe_line(), index.checked_sub(1)) {
            (Some(failsafe), None) => {
                let decider = Decider::Failsafe;
                let total = ledger.total(table, decider);
                to.call_printf(format_args!(
                    "{} packets {} bytes {} {}\n",
                    decider, total.packets, total.bytes, failsafe
                ));
                return;
            }
            (Some(_), Some(index)) => index,
            (None, _) => index,
        };
        if let Some(rule) = table.policy.rule(index) {
            let decider = Decider::Rule(index);
            let total = ledger.total(table, decider);
            to.call_printf(format_args!(
                "{} packets {} bytes {} {}\n",
                decider, total.packets, total.bytes, rule
            ));
            return;
        }
        let index = index.wrapping_sub(table.policy.rules().len());
        if let Some(default) = table.policy.fallback(index) {
            let total = ledger.total(table, Decider::Default(index));
            to.call_printf(format_args!(
                "default packets {} bytes {} {}\n",
                total.packets, total.bytes, default
            ));
        } else {
            let total = ledger.total(table, Decider::Nobody);
            to.call_printf(format_args!(
                "default packets {} bytes {} default allow\n",
                total.packets, total.bytes
            ));
        }
    }
}
