// SPDX-License-Identifier: GPL-2.0

//! The time that this thread has had the CPU: what others do on the machine meanwhile is not in it.

use std::time::Duration;

use anyhow::{Context as _, Result};
use nix::time::{clock_gettime, ClockId};

/// A moment of the thread's time.
pub struct Moment(Duration);

impl Moment {
    /// This one. Reading it takes some hundred nanoseconds.
    pub fn now() -> Result<Self> {
        let time = clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID);
        time.map(|time| Self(time.into()))
            .context("no clock of the thread's time")
    }

    /// The time since then.
    pub fn elapsed(&self) -> Result<Duration> {
        Ok(Self::now()?.0.saturating_sub(self.0))
    }
}
