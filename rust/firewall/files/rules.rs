// SPDX-License-Identifier: GPL-2.0

//! `/proc/ctrfw/rules`: the table.

use core::pin::Pin;

use ctrfw_core::parser;
use ctrfw_core::rule;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::sync::Arc;

use super::transaction::{self, Transaction};
use crate::firewall::draft::Draft;
use crate::firewall::obstacle::Obstacle;
use crate::firewall::report::Subject;
use crate::firewall::table::Table;
use crate::firewall::Firewall;
use crate::sys::procfs::{Mode, OpenFile};

/// The open file: what was in force then, and what is being written.
#[pin_data]
pub(crate) struct Rules {
    table: Option<Arc<Table>>,
    #[pin]
    transaction: Transaction<Draft>,
}

impl transaction::Draft for Draft {
    type Language = parser::Table;

    const SUBJECT: Subject = Subject::Rules;

    fn commit(self, firewall: &Firewall) -> Result<(), Obstacle> {
        firewall.commit(self)
    }
}

/// How many lines tell of the mode: none of the usual one.
fn mode_lines(table: &Table) -> usize {
    usize::from(table.mode != rule::Mode::Enforce)
}

impl OpenFile for Rules {
    fn open(mode: Mode) -> Result<Pin<KBox<Self>>> {
        super::check_access()?;
        let firewall = Firewall::load()?;
        let table = firewall.table.load();
        let max = firewall.limits.rules;
        let draft = if mode.append {
            Draft::appending(max, table.clone())
        } else {
            Draft::replacing(max)
        };
        KBox::try_pin_init(
            try_pin_init!(Self {
                table,
                transaction <- Transaction::new(firewall, draft, mode.truncate && mode.write),
            }),
            GFP_KERNEL,
        )
    }

    fn len(&self) -> usize {
        let len = |table: &Arc<Table>| {
            let statements = table.rules.len().saturating_add(table.defaults.len());
            statements.saturating_add(mode_lines(table))
        };
        self.table.as_ref().map_or(0, len)
    }

    fn show(&self, index: usize, to: &SeqFile) {
        let Some(table) = &self.table else {
            return;
        };
        let Some(index) = index.checked_sub(mode_lines(table)) else {
            to.call_printf(format_args!("mode {}\n", table.mode));
            return;
        };
        if let Some(rule) = table.rules.get(index) {
            to.call_printf(format_args!("{}\n", rule));
        } else if let Some(default) = table.defaults.get(index.wrapping_sub(table.rules.len())) {
            to.call_printf(format_args!("{}\n", default));
        }
    }

    fn write(&self, piece: &[u8]) -> Result {
        self.transaction.write(piece)
    }

    fn abort(&self, error: Error) {
        self.transaction.abort(error);
    }

    fn close(&self) {
        self.transaction.close();
    }
}
