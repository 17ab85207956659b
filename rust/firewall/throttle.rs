// SPDX-License-Identifier: GPL-2.0

//! How many lines of one kind may be printed, and how many were.

use ctrfw_core::limit::RateLimit;
use kernel::prelude::*;
use kernel::sync::atomic::{Atomic, Relaxed};

/// A limit on lines, with its counts. Lock-free.
pub(crate) struct Throttle {
    /// What the lines are called.
    name: &'static str,
    limit: RateLimit,
    /// The state of `limit`.
    due: Atomic<u64>,
    printed: Atomic<u64>,
    left_out: Atomic<u64>,
    /// The part of `left_out` that no line has told of yet.
    untold: Atomic<u64>,
}

impl Throttle {
    /// At most `rate` lines a second, and `burst` at once.
    pub(crate) fn new(name: &'static str, rate: u32, burst: u32) -> Self {
        Self {
            name,
            limit: RateLimit::new(rate, burst),
            due: Atomic::new(0),
            printed: Atomic::new(0),
            left_out: Atomic::new(0),
            untold: Atomic::new(0),
        }
    }

    /// How many lines were printed.
    pub(crate) fn printed(&self) -> u64 {
        self.printed.load(Relaxed)
    }

    /// How many lines were left out.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out.load(Relaxed)
    }

    /// Whether the limit lets a line pass at `now` (nanoseconds); counts it if not. Any context; who
    /// loses a race tries again.
    pub(crate) fn admit(&self, now: u64) -> bool {
        let mut state = self.due.load(Relaxed);
        while let Some(next) = self.limit.admit(state, now) {
            match self.due.cmpxchg(state, next, Relaxed) {
                Ok(_) => return true,
                Err(current) => state = current,
            }
        }
        self.leave_out(1);
        false
    }

    /// Whether the limit would let a line pass at `now`. If not, it would have let none pass since the
    /// last one that it did. Any context.
    pub(crate) fn has_room(&self, now: u64) -> bool {
        self.limit.admit(self.due.load(Relaxed), now).is_some()
    }

    /// Counts lines that are not printed. Any context.
    pub(crate) fn leave_out(&self, count: u64) {
        self.left_out.add(count, Relaxed);
        self.untold.add(count, Relaxed);
    }

    /// Counts a line that is about to be printed, and tells of those that were left out before it.
    pub(crate) fn printing(&self) {
        let untold = self.untold.xchg(0, Relaxed);
        if untold != 0 {
            pr_info!("{}: {} lines left out\n", self.name, untold);
        }
        self.printed.add(1u64, Relaxed);
    }
}
