// SPDX-License-Identifier: GPL-2.0

//! Answers to packets that are refused, by netfilter's own functions.
//!
//! C headers: [`include/net/netfilter/ipv4/nf_reject.h`](srctree/include/net/netfilter/ipv4/nf_reject.h),
//! [`include/net/netfilter/ipv6/nf_reject.h`](srctree/include/net/netfilter/ipv6/nf_reject.h)

use ctrfw_core::reject::Reply;

use super::bindings;
use super::netfilter::HookState;
use super::skbuff::SkBuff;

/// The functions of `nf_reject_ipv4` and `nf_reject_ipv6`.
///
/// The two modules stay loaded until this is dropped.
///
/// # Invariants
///
/// The functions were taken by `ctrfw_reject_get()`.
pub(crate) struct Rejecter(bindings::ctrfw_reject);

impl Rejecter {
    /// Takes the functions, loading their modules if need be; [`None`] if they are not to be had.
    /// Process context; sleeps.
    pub(crate) fn new() -> Option<Self> {
        let mut reject = bindings::ctrfw_reject::default();
        // SAFETY: The structure is ours; in process context it may be called.
        if !unsafe { bindings::ctrfw_reject_get(&raw mut reject) } {
            return None;
        }
        // INVARIANT: It just gave them.
        Some(Self(reject))
    }

    /// Answers the sender of a packet, if that can be done. The packet can then only be dropped.
    /// Softirq or process context, under RCU.
    ///
    /// What is sent passes the hooks of this CPU before this returns. While it does nothing else is
    /// answered there, so that answers to answers cannot fill the stack.
    pub(crate) fn send(&self, skb: &SkBuff, state: &HookState<'_>, reply: Reply) {
        let (skb, state) = (skb.as_ptr(), state.as_ptr());
        // SAFETY: By the invariant the functions are there. Buffer and state are those of the hook
        // that is running, and whose packet has an IP header that could be parsed.
        unsafe {
            match reply {
                Reply::Reset => bindings::ctrfw_reject_reset(&raw const self.0, skb, state),
                Reply::Unreachable(code) => {
                    bindings::ctrfw_reject_unreach(&raw const self.0, skb, state, code)
                }
            }
        }
    }
}

impl Drop for Rejecter {
    fn drop(&mut self) {
        // SAFETY: By the invariant the functions were taken, and nobody can use them any more.
        unsafe { bindings::ctrfw_reject_put() };
    }
}
