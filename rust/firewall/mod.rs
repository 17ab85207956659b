// SPDX-License-Identifier: GPL-2.0

//! The firewall: what is in force, what has been counted, and who may change it.

use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, AtomicFlag, Relaxed};
use kernel::sync::{Arc, Mutex};

use crate::sys::rcu::{RcuCell, ReadSide};
use ledger::Ledger;
use log::Logger;
use report::Reports;
use stats::Stats;
use table::Table;
use trace::Tracer;

mod draft;
pub(crate) mod files;
pub(crate) mod hooks;
mod ledger;
mod log;
mod memory;
mod obstacle;
mod report;
mod stats;
mod table;
mod throttle;
mod trace;

pub(crate) use ctrfw_core::VERSION;

/// Bounds that the administrator may set when the module is loaded.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// Most rules and defaults in the table
    pub(crate) rules: usize,
    /// Most values of match words in it, members of sets included
    pub(crate) values: usize,
    /// Most named sets in it
    pub(crate) sets: usize,
    /// Most trace lines a second
    pub(crate) trace_rate: u32,
    /// Most trace lines at once
    pub(crate) trace_burst: u32,
    /// Most log lines a second
    pub(crate) log_rate: u32,
    /// Most log lines at once
    pub(crate) log_burst: u32,
}

/// All that the hooks and the files share.
#[pin_data]
pub(crate) struct Firewall {
    /// Bounds for what is loaded.
    limits: Limits,
    /// The table in force; nothing before the first was loaded.
    table: RcuCell<Table>,
    /// Who is traced, and what has been printed of them.
    tracer: Tracer,
    /// What the statements of the table log.
    logger: Logger,
    /// Packets per hook.
    stats: Stats,
    /// How many namespaces the hooks are in.
    namespaces: Atomic<u64>,
    /// The module is being unloaded: nothing takes effect any more.
    retired: AtomicFlag,
    /// What writers need to agree on.
    #[pin]
    writers: Mutex<Writers>,
}

/// What changes only when somebody writes a file.
struct Writers {
    /// How many tables have been in force.
    generation: u64,
    /// What the rules of the table in force had counted when they were in older tables.
    ledger: Arc<Ledger>,
    /// What was wrong with what was written last.
    reports: Reports,
}

/// The firewall of this module. Hooks are called with nothing of ours but the packet.
static FIREWALL: RcuCell<Firewall> = RcuCell::empty();

impl Firewall {
    fn new(limits: Limits) -> Result<Arc<Self>> {
        let stats = Stats::new()?;
        let ledger = Arc::new(Ledger::default(), GFP_KERNEL)?;
        let writers = Writers {
            generation: 0,
            ledger,
            reports: Reports::default(),
        };
        Arc::pin_init(
            pin_init!(Self {
                limits,
                table: RcuCell::empty(),
                tracer: Tracer::new(limits.trace_rate, limits.trace_burst),
                logger: Logger::new(limits.log_rate, limits.log_burst),
                stats,
                namespaces: Atomic::new(0),
                retired: AtomicFlag::new(false),
                writers <- new_mutex!(writers),
            }),
            GFP_KERNEL,
        )
    }

    /// The firewall, for hooks.
    #[inline(always)]
    fn get<'a>(read_side: ReadSide<'a>) -> Option<&'a Self> {
        FIREWALL.read(read_side)
    }

    /// The firewall, for process context.
    fn load() -> Result<Arc<Self>> {
        FIREWALL.load().ok_or(ENODEV)
    }
}

/// Keeps the firewall where the hooks find it.
pub(crate) struct Global(());

impl Global {
    /// Sets up the one firewall. Process context.
    pub(crate) fn new(limits: Limits) -> Result<Self> {
        FIREWALL.replace(Some(Firewall::new(limits)?));
        Ok(Self(()))
    }

    /// How many namespaces the hooks are in.
    pub(crate) fn namespaces(&self) -> u64 {
        FIREWALL
            .load()
            .map_or(0, |firewall| firewall.namespaces.load(Relaxed))
    }
}

impl Drop for Global {
    fn drop(&mut self) {
        FIREWALL.replace(None);
        trace::disable();
    }
}

/// From when this is dropped, what is still being written does not take effect: closing a file, which
/// unloading the module does to those that are open, is then no sign that its text is whole.
pub(crate) struct Active;

impl Drop for Active {
    fn drop(&mut self) {
        if let Ok(firewall) = Firewall::load() {
            firewall.retired.store(true, Relaxed);
        }
    }
}
