// SPDX-License-Identifier: GPL-2.0

//! The sockets that packets come from, and are for.
//!
//! C header: [`include/net/netfilter/nf_socket.h`](srctree/include/net/netfilter/nf_socket.h)

use ctrfw_core::cgroup::{Lineage, SocketCgroup, MAX_LEVEL};
use kernel::ffi::c_int;

use super::bindings;
use super::net::Net;
use super::netfilter::HookState;
use super::skbuff::SkBuff;

/// How many numbers of cgroups the functions may fill.
const MAX: c_int = MAX_LEVEL as c_int;

/// The cgroup of the socket of `net` that a packet comes from, at LOCAL_OUT or POST_ROUTING. Any
/// context, under RCU.
pub(crate) fn sender_cgroup(skb: &SkBuff, net: &Net) -> SocketCgroup {
    let mut numbers = [0; MAX_LEVEL];
    // SAFETY: Buffer and namespace live, and there is room for so many numbers.
    let found = unsafe {
        let to = numbers.as_mut_ptr();
        bindings::ctrfw_sender_cgroups(skb.as_ptr(), net.as_ptr(), to, MAX)
    };
    if found {
        SocketCgroup::In(Lineage::new(numbers))
    } else {
        SocketCgroup::NoSocket
    }
}

/// The functions of `nf_socket_ipv4` and `nf_socket_ipv6`.
///
/// The two modules stay loaded until this is dropped.
///
/// # Invariants
///
/// The functions were taken by `ctrfw_sk_lookup_get()`.
pub(crate) struct SocketLookup(bindings::ctrfw_sk_lookup);

impl SocketLookup {
    /// Takes the functions, loading their modules if need be; [`None`] if they are not to be had.
    /// Process context; sleeps.
    pub(crate) fn new() -> Option<Self> {
        let mut lookup = bindings::ctrfw_sk_lookup::default();
        // SAFETY: The structure is ours; in process context it may be called.
        if !unsafe { bindings::ctrfw_sk_lookup_get(&raw mut lookup) } {
            return None;
        }
        // INVARIANT: It just gave them.
        Some(Self(lookup))
    }

    /// The cgroup of the socket that a packet is for, whose IP header could be parsed, at PRE_ROUTING or
    /// LOCAL_IN; of the hook's namespace. Any context, under RCU.
    pub(crate) fn receiver_cgroup(&self, skb: &SkBuff, state: &HookState<'_>) -> SocketCgroup {
        let mut numbers = [0; MAX_LEVEL];
        // SAFETY: By the invariant the functions are there. Buffer and state are those of the hook that
        // is running, and there is room for so many numbers.
        let found = unsafe {
            let (skb, state) = (skb.as_ptr(), state.as_ptr());
            let to = numbers.as_mut_ptr();
            bindings::ctrfw_receiver_cgroups(&raw const self.0, skb, state, to, MAX)
        };
        match found {
            0 => SocketCgroup::NoSocket,
            1.. => SocketCgroup::In(Lineage::new(numbers)),
            _ => SocketCgroup::Unknown,
        }
    }
}

impl Drop for SocketLookup {
    fn drop(&mut self) {
        // SAFETY: By the invariant the functions were taken, and nobody can use them any more.
        unsafe { bindings::ctrfw_sk_lookup_put() };
    }
}
