// SPDX-License-Identifier: GPL-2.0

//! Time.
//!
//! C header: [`include/linux/timekeeping.h`](srctree/include/linux/timekeeping.h)

use super::bindings;

/// Nanoseconds since boot, without time in suspend; from any context.
pub(crate) fn monotonic_ns() -> u64 {
    // SAFETY: The function has no requirements; it is NMI-safe.
    unsafe { bindings::ktime_get_mono_fast_ns() }
}
