// SPDX-License-Identifier: GPL-2.0

//! How many log lines may be printed.

/// A rate with a burst, by the generic cell rate algorithm.
///
/// The state is one number, the theoretical arrival time of the next line in nanoseconds, so that
/// the caller can keep it in one atomic word and no CPU ever waits for another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// Nanoseconds between two lines in the long run.
    interval: u64,
    /// How many nanoseconds a burst may run ahead of that.
    tolerance: u64,
}

impl RateLimit {
    /// At most `rate` lines a second, after a burst of at most `burst` lines; 0 counts as 1.
    pub const fn new(rate: u32, burst: u32) -> Self {
        let rate = if rate == 0 { 1 } else { rate };
        let burst = if burst == 0 { 1 } else { burst };
        let interval = match 1_000_000_000u64.checked_div(rate as u64) {
            Some(0) | None => 1,
            Some(interval) => interval,
        };
        Self {
            interval,
            tolerance: interval.saturating_mul((burst as u64).saturating_sub(1)),
        }
    }

    /// The state after a line at `now` (nanoseconds); [`None`] if it must be left out.
    ///
    /// The first state is 0.
    #[inline]
    pub fn admit(&self, state: u64, now: u64) -> Option<u64> {
        let due = state.max(now);
        if due.saturating_sub(now) > self.tolerance {
            return None;
        }
        Some(due.saturating_add(self.interval))
    }
}
