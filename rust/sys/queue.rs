// SPDX-License-Identifier: GPL-2.0

//! Queues of packets that programs decide about: the module `nfnetlink_queue`, loaded by name.

use super::bindings;

/// Whether the module is there, after loading it if need be. It exports nothing that it could be held
/// by: without it packets are as without a listener. Process context; sleeps.
pub(crate) fn load() -> bool {
    // SAFETY: In process context it may be called.
    unsafe { bindings::ctrfw_queue_load() }
}
