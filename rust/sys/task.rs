// SPDX-License-Identifier: GPL-2.0

//! Questions about the current task.

use kernel::ffi::c_int;

use super::bindings;

/// Whether the current task has `CAP_NET_ADMIN` in the initial user namespace and is in the initial
/// network namespace. Process context.
pub(crate) fn administers_host_network() -> bool {
    let capability = bindings::CAP_NET_ADMIN as c_int;
    // SAFETY: In process context `current` is valid; the capability's number is.
    unsafe { bindings::capable(capability) && bindings::ctrfw_current_in_init_net() }
}

/// Whether the current task is exiting because a signal killed it. Process context.
pub(crate) fn killed() -> bool {
    // SAFETY: In process context `current` is valid.
    unsafe { bindings::ctrfw_current_killed() }
}
