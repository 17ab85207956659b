// SPDX-License-Identifier: GPL-2.0

//! Questions about tasks.

use kernel::current;
use kernel::ffi::c_int;
use kernel::sync::aref::ARef;
use kernel::task::Task;

use super::bindings;

/// Whether the current task has `CAP_NET_ADMIN` in the initial user namespace and is in the initial
/// network namespace. Process context.
pub(crate) fn administers_host_network() -> bool {
    let capability = bindings::CAP_NET_ADMIN as c_int;
    // SAFETY: `current` is always valid, and so is the capability's number.
    unsafe { bindings::capable(capability) && bindings::ctrfw_current_in_init_net() }
}

/// Whether a signal is killing the current task. Process context.
pub(crate) fn is_killed() -> bool {
    // SAFETY: `current` is always valid.
    unsafe { bindings::ctrfw_current_is_killed() }
}

/// Lets others have the CPU who wait for it. Process context; may sleep.
#[inline]
pub(crate) fn cond_resched() {
    // SAFETY: In process context it may be called.
    unsafe { bindings::ctrfw_cond_resched() };
}

/// The process that wrote something, remembered beyond its end.
pub(crate) struct Writer(ARef<Task>);

impl Writer {
    /// The process that runs now. Process context.
    pub(crate) fn current() -> Self {
        Self(ARef::from(current!().group_leader()))
    }

    /// Whether a signal killed it. Process context.
    pub(crate) fn was_killed(&self) -> bool {
        // SAFETY: The reference keeps the task, and with it its signal structure.
        unsafe { bindings::ctrfw_task_killed(self.0.as_ptr()) }
    }
}
