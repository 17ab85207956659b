// SPDX-License-Identifier: GPL-2.0

//! The lines that statements log.

use ctrfw_core::event::LogEvent;
use ctrfw_core::packet::Packet;
use ctrfw_core::quota::{account, Entry, Outcome, Secret, Word, ENTRIES};
use ctrfw_core::rule::{Decision, Log, Mode};
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Full, Relaxed};

use super::table::Table;
use super::throttle::Throttle;
use crate::sys::net::name_of;
use crate::sys::netfilter::HookState;
use crate::sys::{random, time};

/// A word of a [`Quota`].
struct Cell(Atomic<u64>);

impl Word for Cell {
    #[inline]
    fn load(&self) -> u64 {
        self.0.load(Acquire)
    }

    #[inline]
    fn swap(&self, new: u64) -> u64 {
        self.0.xchg(new, Full)
    }

    #[inline]
    fn compare_exchange(&self, old: u64, new: u64) -> Result<(), u64> {
        self.0.cmpxchg(old, new, Full).map(|_| ())
    }
}

/// What was logged lately by the statements of one table.
pub(crate) struct Quota {
    entries: KVVec<Entry<Cell>>,
    secret: Secret,
}

impl Quota {
    /// Nothing was. Process context; may sleep.
    pub(crate) fn new() -> Result<Self> {
        let mut entries = KVVec::with_capacity(ENTRIES, GFP_KERNEL)?;
        let zero = || Cell(Atomic::new(0));
        for _ in 0..ENTRIES {
            entries.push(Entry::new(zero(), zero()), GFP_KERNEL)?;
        }
        let secret = Secret(random::random_u64(), random::random_u64());
        Ok(Self { entries, secret })
    }

    /// How many lines were held back that no line has told of.
    pub(super) fn held_back(&self) -> u64 {
        let counts = self.entries.iter().map(Entry::held_back);
        counts.fold(0, u64::saturating_add)
    }

    /// How many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        self.entries
            .capacity()
            .saturating_mul(size_of::<Entry<Cell>>())
    }
}

/// The log.
pub(crate) struct Logger {
    throttle: Throttle,
    /// How many lines were held back that no line will tell of any more.
    untold: Atomic<u64>,
}

/// What the status file says of the log.
pub(crate) struct LogStats {
    /// Lines printed
    pub(crate) printed: u64,
    /// Lines that were due, and that the limit for all together left out
    pub(crate) left_out: u64,
    /// Lines held back of which no line will tell any more
    pub(crate) untold: u64,
}

impl Logger {
    /// A log of at most `rate` lines a second and `burst` at once.
    pub(crate) fn new(rate: u32, burst: u32) -> Self {
        Self {
            throttle: Throttle::new("log", rate, burst),
            untold: Atomic::new(0),
        }
    }

    /// What the status file says of the log.
    pub(crate) fn stats(&self) -> LogStats {
        LogStats {
            printed: self.throttle.printed(),
            left_out: self.throttle.left_out(),
            untold: self.untold.load(Relaxed),
        }
    }

    /// Counts what `table`, by which no packet is judged any more, has held back.
    pub(super) fn forget(&self, table: &Table) {
        if let Some(quota) = &table.quota {
            self.untold.add(quota.held_back(), Relaxed);
        }
    }

    /// Prints a line about a packet if it is time for one. Any context; lock-free but for printk().
    pub(super) fn log(
        &self,
        table: &Table,
        log: Log,
        state: &HookState<'_>,
        packet: &Packet,
        decision: Decision,
    ) {
        let Some(quota) = &table.quota else {
            return;
        };
        let hash = quota.secret.hash(packet, decision.decider);
        let now = time::monotonic_ns();
        let permit = || self.throttle.admit(now);
        let millis = now / 1_000_000;
        let outcome = account(&quota.entries, hash, millis, log.every.millis(), permit);
        if let Outcome::Line { held_back, untold } = outcome {
            if untold != 0 {
                self.untold.add(untold, Relaxed);
            }
            let (prefix, mode) = (table.policy.prefix(decision.decider), table.policy.mode());
            self.print(prefix, state, packet, decision, mode, held_back);
        }
    }

    /// Out of line, as formatting needs a large stack frame.
    #[cold]
    #[inline(never)]
    fn print(
        &self,
        prefix: &str,
        state: &HookState<'_>,
        packet: &Packet,
        decision: Decision,
        mode: Mode,
        held_back: u64,
    ) {
        self.throttle.printing();
        let event = LogEvent {
            prefix,
            packet,
            mode,
            input: name_of(state.input()),
            output: name_of(state.output()),
            decision,
            held_back,
        };
        pr_info!("{}\n", format_args!("{event}"));
    }
}
