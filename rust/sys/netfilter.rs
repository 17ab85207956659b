// SPDX-License-Identifier: GPL-2.0

//! Netfilter hooks, registered in every network namespace.
//!
//! C headers: [`include/linux/netfilter.h`](srctree/include/linux/netfilter.h),
//! [`include/net/net_namespace.h`](srctree/include/net/net_namespace.h)

use core::marker::PhantomData;

use ctrfw_core::family::Family;
use ctrfw_core::hook::Hook;
use ctrfw_core::queue::Queue;
use kernel::error::to_result;
use kernel::ffi::{c_int, c_uint, c_void};
use kernel::prelude::*;
use kernel::types::Opaque;

use super::bindings;
use super::net::{Net, NetDevice};
use super::rcu::ReadSide;
use super::skbuff::SkBuff;

/// `NF_IP_PRI_FIRST`, which is `NF_IP6_PRI_FIRST` as well.
pub(crate) const PRIORITY_FIRST: c_int = bindings::CTRFW_NF_IP_PRI_FIRST;

/// `NFPROTO_IPV4`
pub(crate) const PF_IPV4: u8 = bindings::NFPROTO_IPV4 as u8;

/// `NFPROTO_IPV6`
pub(crate) const PF_IPV6: u8 = bindings::NFPROTO_IPV6 as u8;

/// What a hook says of a packet, as netfilter has it.
pub(crate) struct Verdict(c_uint);

impl Verdict {
    /// `NF_ACCEPT`: on to the next hook.
    pub(crate) const ACCEPT: Self = Self(bindings::NF_ACCEPT);

    /// `NF_DROP`: the end of it.
    pub(crate) const DROP: Self = Self(bindings::NF_DROP);

    /// `NF_QUEUE`: netfilter hands it to a program, and goes on behind this hook if that accepts it.
    pub(crate) fn queue(Queue { number, bypass }: Queue) -> Self {
        let flag = if bypass {
            bindings::NF_VERDICT_FLAG_QUEUE_BYPASS
        } else {
            0
        };
        Self(bindings::NF_QUEUE | flag | c_uint::from(number.0) << bindings::NF_VERDICT_QBITS)
    }
}

/// Where and on what occasion a hook was called (`struct nf_hook_state`).
pub(crate) struct HookState<'a> {
    state: &'a bindings::nf_hook_state,
    hook: Hook,
    family: Family,
}

impl<'a> HookState<'a> {
    /// The hook.
    #[inline]
    pub(crate) fn hook(&self) -> Hook {
        self.hook
    }

    /// The address family.
    #[inline]
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    pub(super) fn as_ptr(&self) -> *const bindings::nf_hook_state {
        self.state
    }

    /// The namespace.
    #[inline]
    pub(crate) fn net(&self) -> &'a Net {
        // SAFETY: The namespace lives while its hook runs.
        unsafe { Net::from_raw(self.state.net) }
    }

    /// The device that the packet came in by.
    #[inline]
    pub(crate) fn input(&self) -> Option<&'a NetDevice> {
        // SAFETY: Under RCU, which hooks are called with, the device lives.
        unsafe { NetDevice::from_raw(self.state.in_) }
    }

    /// The device that it will leave by.
    #[inline]
    pub(crate) fn output(&self) -> Option<&'a NetDevice> {
        // SAFETY: As above.
        unsafe { NetDevice::from_raw(self.state.out) }
    }

    /// The critical section that hooks are called in.
    #[inline]
    pub(crate) fn read_side(&self) -> ReadSide<'a> {
        // SAFETY: `nf_hook()` holds the RCU read lock while it calls a hook, and `'a` is the borrow of
        // the state that it passes, which does not outlive the call.
        unsafe { ReadSide::assume() }
    }
}

/// Something that hooks call, and what becomes of it in each namespace.
pub(crate) trait Handler: 'static {
    /// The hooks: a static, as netfilter knows a hook by its address.
    fn hooks() -> &'static [HookOps];

    /// Judges a packet. Softirq or process context, RCU read lock held.
    fn handle(skb: &SkBuff, state: &HookState<'_>) -> Verdict;

    /// The hooks are now in `net`. Process context.
    fn namespace_added(net: &Net);

    /// The hooks are no longer in `net`. Process context.
    fn namespace_removed(net: &Net);
}

/// One hook (`struct nf_hook_ops`).
#[repr(transparent)]
pub(crate) struct HookOps(bindings::nf_hook_ops);

// SAFETY: Netfilter only reads it.
unsafe impl Sync for HookOps {}

impl HookOps {
    /// The hook with the number `HOOK` of the family `PF`, which has `T` judge packets.
    ///
    /// Each has a function of its own, which need not ask where it is.
    pub(crate) const fn new<T: Handler, const HOOK: u8, const PF: u8>(priority: c_int) -> Self {
        let mut ops: bindings::nf_hook_ops = pin_init::zeroed();
        ops.hook = Some(hook_callback::<T, HOOK, PF>);
        ops.pf = PF;
        ops.hooknum = HOOK as c_uint;
        ops.priority = priority;
        Self(ops)
    }
}

/// # Safety
///
/// Only netfilter may call it, as the hook of a [`HookOps`].
unsafe extern "C" fn hook_callback<T: Handler, const HOOK: u8, const PF: u8>(
    _priv: *mut c_void,
    skb: *mut bindings::sk_buff,
    state: *const bindings::nf_hook_state,
) -> c_uint {
    // SAFETY: Netfilter gives a valid state, which lives for the call.
    let state = unsafe { &*state };
    let family = match PF {
        PF_IPV4 => Some(Family::Ipv4),
        PF_IPV6 => Some(Family::Ipv6),
        _ => None,
    };
    let (Some(hook), Some(family)) = (const { Hook::from_number(HOOK) }, family) else {
        // There is no such hook.
        return bindings::NF_DROP;
    };
    // SAFETY: Netfilter gives a valid buffer, which is ours for the call.
    let skb = unsafe { SkBuff::from_raw(skb) };
    let state = HookState {
        state,
        hook,
        family,
    };
    T::handle(skb, &state).0
}

/// The hooks of `T` in every network namespace, those of the future included.
///
/// They go when this is dropped; then no hook runs any more.
///
/// # Invariants
///
/// The operations are registered.
pub(crate) struct Registration<T: Handler>(
    KBox<Opaque<bindings::pernet_operations>>,
    PhantomData<T>,
);

// SAFETY: Registering and unregistering may be done by different threads.
unsafe impl<T: Handler> Send for Registration<T> {}
// SAFETY: There is nothing to be done through a shared reference.
unsafe impl<T: Handler> Sync for Registration<T> {}

impl<T: Handler> Registration<T> {
    /// Registers the hooks. Process context; sleeps.
    pub(crate) fn new() -> Result<Self> {
        let ops = bindings::pernet_operations {
            init: Some(Self::init_callback),
            // Not in `pre_exit`: until the namespace's devices are gone, which is after that and
            // before the `exit` of subsystems, packets may still pass through it.
            exit: Some(Self::exit_callback),
            id: &raw mut bindings::ctrfw_net_id,
            size: size_of::<bool>(),
            ..pin_init::zeroed()
        };
        let ops = KBox::new(Opaque::new(ops), GFP_KERNEL)?;
        // SAFETY: The operations stay where they are until they are unregistered in `drop()`.
        to_result(unsafe { bindings::register_pernet_subsys(ops.get()) })?;
        // INVARIANT: They were just registered.
        Ok(Self(ops, PhantomData))
    }

    /// # Safety
    ///
    /// Only the kernel may call it, as `pernet_operations::init`.
    unsafe extern "C" fn init_callback(net: *mut bindings::net) -> c_int {
        let hooks = T::hooks();
        // SAFETY: The hooks are static; they stay registered until `exit_callback()`. The slice of
        // transparent `HookOps` is one of `nf_hook_ops`.
        let error = unsafe {
            let ops = hooks.as_ptr().cast::<bindings::nf_hook_ops>();
            bindings::nf_register_net_hooks(net, ops, hooks.len() as c_uint)
        };
        // SAFETY: The kernel gives a valid namespace, whose generic data is there already.
        let (net, hooked) = unsafe { (Net::from_raw(net), bindings::ctrfw_net_hooked(net)) };
        // SAFETY: This is ours alone.
        unsafe { hooked.write(error == 0) };
        if error == 0 {
            T::namespace_added(net);
        } else if error == E2BIG.to_errno() && !net.id().host {
            // Whoever owns a namespace may fill its hooks. That must not keep the host, and all
            // others, unprotected.
            pr_warn!(
                "netns {}: no room for hooks, is not filtered\n",
                net.id().inode
            );
            return 0;
        }
        error
    }

    /// # Safety
    ///
    /// Only the kernel may call it, as `pernet_operations::exit`.
    unsafe extern "C" fn exit_callback(net: *mut bindings::net) {
        let hooks = T::hooks();
        // SAFETY: The kernel gives a valid namespace, where `init_callback()` was called.
        if !unsafe { bindings::ctrfw_net_hooked(net).read() } {
            return;
        }
        // SAFETY: `init_callback()` registered these hooks in this namespace.
        unsafe {
            let ops = hooks.as_ptr().cast::<bindings::nf_hook_ops>();
            bindings::nf_unregister_net_hooks(net, ops, hooks.len() as c_uint);
        }
        // SAFETY: The kernel gives a valid namespace.
        T::namespace_removed(unsafe { Net::from_raw(net) });
    }
}

impl<T: Handler> Drop for Registration<T> {
    fn drop(&mut self) {
        // SAFETY: By the invariant the operations are registered. Packets that are in the hooks
        // now are waited for: unregistering a hook does not.
        unsafe {
            bindings::unregister_pernet_subsys(self.0.get());
            bindings::synchronize_net();
        }
    }
}
