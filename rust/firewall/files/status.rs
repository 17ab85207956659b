// SPDX-License-Identifier: GPL-2.0

//! `/proc/ctrfw/status`: what is in force, and how it goes.

use core::pin::Pin;

use ctrfw_core::hook::Hook;
use ctrfw_core::rule;
use kernel::prelude::*;
use kernel::seq_file::SeqFile;
use kernel::sync::atomic::Relaxed;
use kernel::sync::Arc;

use crate::firewall::{Firewall, VERSION};
use crate::sys::procfs::{Mode, OpenFile};

/// The open file.
pub(crate) struct Status {
    firewall: Arc<Firewall>,
}

impl OpenFile for Status {
    fn open(mode: Mode) -> Result<Pin<KBox<Self>>> {
        super::check_access()?;
        if mode.write {
            return Err(EACCES);
        }
        Ok(KBox::pin(
            Self {
                firewall: Firewall::load()?,
            },
            GFP_KERNEL,
        )?)
    }

    fn len(&self) -> usize {
        1
    }

    fn show(&self, _index: usize, to: &SeqFile) {
        let firewall = &*self.firewall;
        // What it counts is then in the kernel's log as well.
        firewall.tracer.print();
        let writers = firewall.writers.lock();
        let (generation, last_error) = (writers.generation, writers.reports.last());
        let ledger = writers.ledger.memory();
        let table = firewall.table.load();
        drop(writers);
        let rules = table.as_ref().map_or(0, |table| table.policy.rules().len());
        let mode = table
            .as_ref()
            .map_or(rule::Mode::Enforce, |table| table.policy.mode());
        let memory = table.as_ref().map_or(0, |table| table.memory());
        let trace = firewall.tracer.stats();

        to.call_printf(format_args!("version {}\n", VERSION));
        to.call_printf(format_args!("mode {}\n", mode));
        if mode == rule::Mode::Audit {
            to.call_printf(format_args!(
                "warning NOTHING IS ENFORCED: refusals are only counted, as would_drop\n"
            ));
        }
        to.call_printf(format_args!("generation {}\n", generation));
        to.call_printf(format_args!("rules {}\n", rules));
        to.call_printf(format_args!("memory {}\n", memory.saturating_add(ledger)));
        to.call_printf(format_args!("flow_cache {}\n", firewall.flows.memory()));
        to.call_printf(format_args!(
            "namespaces {}\n",
            firewall.namespaces.load(Relaxed)
        ));
        to.call_printf(format_args!(
            "trace {} printed {} left_out {}\n",
            trace.expressions, trace.printed, trace.left_out
        ));
        to.call_printf(format_args!(
            "events lost {} memory {}\n",
            trace.lost, trace.memory
        ));
        let log = firewall.logger.stats();
        to.call_printf(format_args!(
            "log printed {} left_out {} untold {}\n",
            log.printed, log.left_out, log.untold
        ));
        for hook in Hook::ALL {
            let stats = firewall.stats.at(hook);
            to.call_printf(format_args!(
                "hook {} seen {} dropped {} unparsed {} would_drop {}\n",
                hook.rule_name(),
                stats.seen,
                stats.dropped,
                stats.unparsed,
                stats.would_drop
            ));
        }
        match last_error {
            Some((subject, failure)) => {
                to.call_printf(format_args!("last_error {} {}\n", subject, failure))
            }
            None => to.call_printf(format_args!("last_error none\n")),
        }
    }
}
