// SPDX-License-Identifier: GPL-2.0

//! `/proc/ctrfw/trace`: which packets are traced.

use core::pin::Pin;

use ctrfw_core::parser;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::sync::Arc;

use super::transaction::{self, Transaction};
use crate::firewall::obstacle::Obstacle;
use crate::firewall::report::Subject;
use crate::firewall::trace::{Draft, Expressions};
use crate::firewall::Firewall;
use crate::sys::procfs::{Mode, OpenFile, Writing};

/// The open file: what was in force then, and what is being written.
#[pin_data]
pub(crate) struct Trace {
    expressions: Option<Arc<Expressions>>,
    #[pin]
    transaction: Transaction<Draft>,
}

impl transaction::Draft for Draft {
    type Language = parser::Trace;

    const SUBJECT: Subject = Subject::Trace;

    fn commit(self, firewall: &Firewall) -> Result<(), Obstacle> {
        firewall.commit_trace(self)
    }
}

impl OpenFile for Trace {
    fn open(mode: Mode) -> Result<Pin<KBox<Self>>> {
        super::check_access()?;
        let firewall = Firewall::load()?;
        let expressions = firewall.tracer.expressions();
        let in_force = expressions
            .as_ref()
            .map_or(0, |expressions| expressions.len());
        let draft = Draft::new(&firewall.tracer, mode.append.then_some(in_force));
        KBox::try_pin_init(
            try_pin_init!(Self {
                expressions,
                transaction <- Transaction::new(firewall, draft, mode.truncate && mode.write),
            }),
            GFP_KERNEL,
        )
    }

    fn len(&self) -> usize {
        // Where there are none, one record says so.
        self.expressions
            .as_ref()
            .map_or(1, |expressions| expressions.len().max(1))
    }

    fn show(&self, index: usize, to: &SeqFile) {
        let line = self.expressions.as_ref().and_then(|all| all.line(index));
        match line {
            Some(line) => to.call_printf(format_args!("{}\n", line)),
            None => to.call_printf(format_args!("off\n")),
        }
    }

    fn writing(&self) -> Option<&dyn Writing> {
        Some(&self.transaction)
    }
}
