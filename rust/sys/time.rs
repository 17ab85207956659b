// SPDX-License-Identifier: GPL-2.0

//! Time.
//!
//! C headers: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h),
//! [`include/linux/sched/clock.h`](srctree/include/linux/sched/clock.h)

use super::bindings;

/// Nanoseconds since boot, without time in suspend; from any context.
pub(crate) fn monotonic_ns() -> u64 {
    // SAFETY: The function has no requirements; it is NMI-safe.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}

/// Nanoseconds by the clock of the kernel's log, which is the fastest; from any context. On machines
/// whose processors' counters are no clock it may differ a little between CPUs.
#[inline]
pub(crate) fn log_ns() -> u64 {
    // SAFETY: The function has no requirements.
    unsafe { bindings::ctrfw_local_clock() }
}
