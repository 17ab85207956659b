// SPDX-License-Identifier: GPL-2.0

//! `/proc/ctrfw/rules`: the table.

use core::pin::Pin;

use ctrfw_core::parser;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::sync::Arc;

use super::transaction::{self, Transaction};
use crate::firewall::draft::Draft;
use crate::firewall::obstacle::Obstacle;
use crate::firewall::report::Subject;
use crate::firewall::table::Table;
use crate::firewall::Firewall;
use crate::sys::procfs::{Mode, OpenFile, Writing};

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

impl OpenFile for Rules {
    fn open(mode: Mode) -> Result<Pin<KBox<Self>>> {
        super::check_access()?;
        let firewall = Firewall::load()?;
        let table = firewall.table.load();
        let draft = if mode.append {
            Draft::appending(firewall.clone(), table.clone())
        } else {
            Draft::replacing(firewall.clone())
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
        self.table.as_ref().map_or(0, |table| table.policy.lines())
    }

    fn show(&self, index: usize, to: &SeqFile) {
        let line = self
            .table
            .as_ref()
            .and_then(|table| table.policy.line(index));
        if let Some(line) = line {
            to.call_printf(format_args!("{}\n", line));
        }
    }

    fn writing(&self) -> Option<&dyn Writing> {
        Some(&self.transaction)
    }
}
