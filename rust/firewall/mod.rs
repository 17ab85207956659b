// SPDX-License-Identifier: GPL-2.0

//! The firewall: what is in force, what has been counted, and who may change it.

use ctrfw_core::generation::Generation;
use kernel::new_mutex;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, AtomicFlag, Relaxed};
use kernel::sync::rcu::synchronize_rcu;
use kernel::sync::{Arc, Mutex};

use crate::sys::rcu::{RcuCell, ReadSide};
use flows::Flows;
use ledger::Ledger;
use log::Logger;
use obstacle::Obstacle;
use report::Reports;
use stats::Stats;
use table::Table;
use trace::Tracer;
use tracking::Tracked;

mod draft;
mod events;
pub(crate) mod files;
mod flows;
pub(crate) mod hooks;
mod ledger;
mod log;
mod memory;
mod obstacle;
mod report;
mod reset;
mod snapshot;
mod sockets;
mod stats;
mod table;
mod throttle;
mod trace;
mod tracking;

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
    /// Most bytes of memory that it may take, without its counters
    pub(crate) bytes: usize,
    /// Places of each CPU's cache of decisions
    pub(crate) flow_cache: usize,
    /// Most trace lines a second
    pub(crate) trace_rate: u32,
    /// Most trace lines at once
    pub(crate) trace_burst: u32,
    /// Most bytes of memory for traced events
    pub(crate) trace_bytes: usize,
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
    /// What tracks connections for it.
    tracking: Tracked,
    /// Who is traced, and what has been printed of them.
    #[pin]
    tracer: Tracer,
    /// What the statements of the table log.
    logger: Logger,
    /// What it has decided lately.
    flows: Flows,
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
    /// The number of the table in force.
    generation: Generation,
    /// What is known of its counters.
    ledger: Ledger,
    /// What was wrong with what was written last.
    reports: Reports,
}

impl Writers {
    /// Whether the table in force is the one of this generation, if there is a `condition`.
    fn check(&self, condition: Option<Generation>) -> Result<(), Obstacle> {
        match condition {
            Some(wanted) if wanted != self.generation => Err(Obstacle::Stale {
                wanted,
                current: self.generation,
            }),
            _ => Ok(()),
        }
    }
}

/// The firewall of this module. Hooks are called with nothing of ours but the packet.
static FIREWALL: RcuCell<Firewall> = RcuCell::empty();

impl Firewall {
    fn new(limits: Limits) -> Result<Arc<Self>> {
        let flows = Flows::new(limits.flow_cache)?;
        let stats = Stats::new()?;
        let writers = Writers {
            generation: Generation::default(),
            ledger: Ledger::default(),
            reports: Reports::default(),
        };
        Arc::pin_init(
            try_pin_init!(Self {
                limits,
                table: RcuCell::empty(),
                tracking: Tracked::nowhere(),
                tracer <- Tracer::new(limits.trace_rate, limits.trace_burst, limits.trace_bytes),
                logger: Logger::new(limits.log_rate, limits.log_burst),
                flows,
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
        if let Ok(firewall) = Firewall::load() {
            firewall.tracer.end_printing();
        }
        FIREWALL.replace(None);
        trace::disable();
    }
}

/// From when this is dropped, what is still being written does not take effect: closing a file, which
/// unloading the module does to those that are open, is then no sign that its text is whole. Who waits
/// for events gets the end of the file. And no packet is queued.
pub(crate) struct Active;

impl Drop for Active {
    fn drop(&mut self) {
        if let Ok(firewall) = Firewall::load() {
            firewall.retired.store(true, Relaxed);
            // Procfs waits for those who sleep in its files.
            firewall.tracer.tell_readers();
            // Before the hooks go: no packet is being queued any more.
            synchronize_rcu();
        }
    }
}
