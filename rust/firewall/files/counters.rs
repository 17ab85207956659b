// SPDX-License-Identifier: GPL-2.0

//! `/proc/ctrfw/counters`: packets and bytes of each statement.

use core::pin::Pin;

use ctrfw_core::loader::{Refusal, Sink};
use ctrfw_core::parser;
use ctrfw_core::rule::Decider;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::sync::Arc;

use super::transaction::{self, Transaction};
use crate::firewall::obstacle::Obstacle;
use crate::firewall::report::Subject;
use crate::firewall::snapshot::Snapshot;
use crate::firewall::Firewall;
use crate::sys::procfs::{Mode, OpenFile, Writing};

/// The open file: what had been counted when it was opened, and what is being written. So all that it
/// shows is of one table, which may be another one meanwhile.
#[pin_data]
pub(crate) struct Counters {
    counted: Option<Arc<Snapshot>>,
    #[pin]
    transaction: Transaction<Draft>,
}

/// What is being written.
pub(crate) struct Draft {
    /// What a reader of the same open file was shown, if it has one
    shown: Option<Option<Arc<Snapshot>>>,
    /// Whether the counters are to begin anew, and have not yet
    due: bool,
}

impl Sink<parser::Counters> for Draft {
    type Error = Obstacle;

    fn accept(&mut self, _reset: parser::Reset) -> Result<(), Refusal<Obstacle>> {
        self.due = true;
        Ok(())
    }
}

impl transaction::Draft for Draft {
    type Language = parser::Counters;

    const SUBJECT: Subject = Subject::Counters;

    /// At once, and not on close(2), which could not tell of a failure: who reads the counters and
    /// resets them must know whether he has.
    fn written(&mut self, firewall: &Firewall) -> Result<(), Obstacle> {
        if core::mem::take(&mut self.due) {
            firewall.reset(self.shown.as_ref())?;
        }
        Ok(())
    }

    fn commit(mut self, firewall: &Firewall) -> Result<(), Obstacle> {
        self.written(firewall)
    }
}

impl OpenFile for Counters {
    fn open(mode: Mode) -> Result<Pin<KBox<Self>>> {
        super::check_access()?;
        let firewall = Firewall::load()?;
        let counted = if mode.read { firewall.counted()? } else { None };
        let counted = counted
            .map(|counted| Arc::new(counted, GFP_KERNEL))
            .transpose()?;
        let draft = Draft {
            shown: mode.read.then(|| counted.clone()),
            due: false,
        };
        KBox::try_pin_init(
            try_pin_init!(Self {
                counted,
                transaction <- Transaction::new(firewall, draft, false),
            }),
            GFP_KERNEL,
        )
    }

    fn len(&self) -> usize {
        self.counted.as_ref().map_or(0, |counted| {
            let failsafe = usize::from(!counted.policy().failsafe().is_empty());
            counted.len().saturating_add(failsafe)
        })
    }

    fn show(&self, index: usize, to: &SeqFile) {
        let Some(counted) = &self.counted else {
            return;
        };
        let policy = counted.policy();
        let index = match (policy.failsafe_line(), index.checked_sub(1)) {
            (Some(failsafe), None) => {
                let decider = Decider::Failsafe;
                let total = counted.failsafe();
                to.call_printf(format_args!(
                    "{} packets {} bytes {} {}\n",
                    decider, total.packets, total.bytes, failsafe
                ));
                return;
            }
            (Some(_), Some(index)) => index,
            (None, _) => index,
        };
        let total = counted.count(index);
        if let Some(rule) = policy.rule(index) {
            let decider = Decider::Rule(index);
            to.call_printf(format_args!(
                "{} packets {} bytes {} {}\n",
                decider, total.packets, total.bytes, rule
            ));
            return;
        }
        let index = index.wrapping_sub(policy.rules().len());
        if let Some(default) = policy.fallback(index) {
            to.call_printf(format_args!(
                "default packets {} bytes {} {}\n",
                total.packets, total.bytes, default
            ));
        } else {
            to.call_printf(format_args!(
                "default packets {} bytes {} default allow\n",
                total.packets, total.bytes
            ));
        }
    }

    fn writing(&self) -> Option<&dyn Writing> {
        Some(&self.transaction)
    }
}
