// SPDX-License-Identifier: GPL-2.0

//! The static key that guards the trace.
//!
//! C header: [`include/linux/jump_label.h`](srctree/include/linux/jump_label.h)

use super::bindings;

/// Whether the trace is on: a no-op in the instruction stream while it is off. Any context.
#[inline(always)]
pub(crate) fn trace_enabled() -> bool {
    // SAFETY: `ctrfw_trace_key` is a static key that `helpers.c` defines.
    unsafe {
        kernel::jump_label::static_branch_unlikely!(
            bindings::ctrfw_trace_key,
            bindings::ctrfw_static_key,
            key
        )
    }
}

/// Turns the trace on or off. Process context; may sleep.
pub(crate) fn set_trace_enabled(on: bool) {
    // SAFETY: The callers are in process context.
    unsafe { bindings::ctrfw_trace_key_set(on) };
}
