// SPDX-License-Identifier: GPL-2.0

//! How many packets passed each hook, and what became of them.

use ctrfw_core::hook::Hook;
use kernel::prelude::*;

use crate::sys::counters::Tally;
use crate::sys::cpu::Here;

/// Per hook: packets seen, dropped, not parsed, and not dropped only because of an audit.
pub(crate) struct Stats(Tally<COUNT>);

/// What is counted; the discriminant is the place among a hook's counters.
#[derive(Clone, Copy)]
enum Kind {
    Seen = 0,
    Dropped = 1,
    Unparsed = 2,
    WouldDrop = 3,
}

const KINDS: usize = 4;

const COUNT: usize = Hook::COUNT.wrapping_mul(KINDS);

/// The packets of one hook.
pub(crate) struct HookStats {
    /// All that came
    pub(crate) seen: u64,
    /// Those that were refused
    pub(crate) dropped: u64,
    /// Those that could not be parsed
    pub(crate) unparsed: u64,
    /// Those that would be refused if what audits were in earnest
    pub(crate) would_drop: u64,
}

impl Stats {
    /// All zero. Process context.
    pub(crate) fn new() -> Result<Self> {
        Ok(Self(Tally::new()?))
    }

    #[inline(always)]
    fn index(hook: Hook, kind: Kind) -> usize {
        (hook as usize)
            .wrapping_mul(KINDS)
            .wrapping_add(kind as usize)
    }

    /// Counts a packet that came to `hook`. Any context, as for the others.
    #[inline(always)]
    pub(crate) fn seen(&self, here: &Here, hook: Hook) {
        self.0.increment(here, Self::index(hook, Kind::Seen));
    }

    /// Counts a packet that was refused.
    pub(crate) fn dropped(&self, here: &Here, hook: Hook) {
        self.0.increment(here, Self::index(hook, Kind::Dropped));
    }

    /// Counts a packet that could not be parsed.
    pub(crate) fn unparsed(&self, here: &Here, hook: Hook) {
        self.0.increment(here, Self::index(hook, Kind::Unparsed));
    }

    /// Counts a packet that would be refused if what audits were in earnest.
    pub(crate) fn would_drop(&self, here: &Here, hook: Hook) {
        self.0.increment(here, Self::index(hook, Kind::WouldDrop));
    }

    /// What has been counted at `hook`.
    pub(crate) fn at(&self, hook: Hook) -> HookStats {
        let sum = |kind| self.0.sum(Self::index(hook, kind));
        HookStats {
            seen: sum(Kind::Seen),
            dropped: sum(Kind::Dropped),
            unparsed: sum(Kind::Unparsed),
            would_drop: sum(Kind::WouldDrop),
        }
    }
}
