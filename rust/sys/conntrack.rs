// SPDX-License-Identifier: GPL-2.0

//! Connection tracking: the module `nf_conntrack`, loaded and held by name, and its work in network
//! namespaces.
//!
//! C header: [`include/net/netfilter/nf_conntrack.h`](srctree/include/net/netfilter/nf_conntrack.h)

use core::cell::UnsafeCell;
use core::net::IpAddr;

use ctrfw_core::family::Family;
use ctrfw_core::flow::{Connection, Finding, Search, State};
use ctrfw_core::netns::NetnsScope;
use kernel::error::to_result;
use kernel::ffi::{c_int, c_uint};
use kernel::prelude::*;
use kernel::sync::atomic::{AtomicFlag, Full, Release};
use kernel::sync::Arc;
use kernel::types::Opaque;

use super::bindings;
use super::net::Net;
use super::netfilter::HookState;
use super::skbuff::SkBuff;

/// The functions of `nf_conntrack`, which stays loaded until this is dropped.
///
/// # Invariants
///
/// The functions were taken by `ctrfw_ct_get()`.
pub(crate) struct Conntrack(bindings::ctrfw_ct);

// SAFETY: The functions belong to no thread.
unsafe impl Send for Conntrack {}
// SAFETY: The pointers do not change.
unsafe impl Sync for Conntrack {}

impl Conntrack {
    /// Takes the functions, loading the module if need be; [`None`] if it is not to be had. Process
    /// context; sleeps.
    pub(crate) fn new() -> Option<Self> {
        let mut functions = bindings::ctrfw_ct::default();
        // SAFETY: The structure is ours; in process context it may be called.
        if !unsafe { bindings::ctrfw_ct_get(&raw mut functions) } {
            return None;
        }
        // INVARIANT: It just gave them.
        Some(Self(functions))
    }
}

impl Drop for Conntrack {
    fn drop(&mut self) {
        // SAFETY: By the invariant the functions were taken, and nobody can use them any more.
        unsafe { bindings::ctrfw_ct_put() };
    }
}

/// What connection tracking has found out about a packet already, if it has seen it in this
/// namespace. Any context.
#[inline]
pub(crate) fn attached(skb: &SkBuff, net: &Net) -> Option<Finding> {
    let mut flow = bindings::ctrfw_flow::default();
    // SAFETY: Buffer and namespace live, and the structure is ours.
    unsafe { bindings::ctrfw_skb_flow(skb.as_ptr(), net.as_ptr(), &raw mut flow) };
    finding(&flow)
}

/// [`None`] if there is no connection.
fn finding(flow: &bindings::ctrfw_flow) -> Option<Finding> {
    let state = match flow.kind.into() {
        bindings::CTRFW_FLOW_NEW => State::New,
        bindings::CTRFW_FLOW_ESTABLISHED => State::Established,
        bindings::CTRFW_FLOW_RELATED => State::Related,
        bindings::CTRFW_FLOW_UNTRACKED => return Some(Finding::Untracked),
        bindings::CTRFW_FLOW_INVALID => return Some(Finding::Invalid),
        _ => return None,
    };
    let [a, b, c, d, ..] = flow.to;
    Some(Finding::Connection(Connection {
        state,
        reply: flow.reply,
        over: flow.over,
        to: if flow.ipv4 {
            IpAddr::from([a, b, c, d])
        } else {
            IpAddr::from(flow.to)
        },
        port: flow.has_port.then_some(flow.port),
    }))
}

/// How many [`Tracking`]s there may be at a time: one for the table and one for the trace, and twice
/// that while they are replaced.
const SLOTS: usize = 4;

/// Connection tracking at work in some namespaces, those of the future included.
///
/// It stops there, unless somebody else wants it, when this is dropped.
///
/// # Invariants
///
/// The slot is taken, its job is set, and its operations are registered.
pub(crate) struct Tracking {
    slot: &'static Slot,
    conntrack: Arc<Conntrack>,
    scope: NetnsScope,
}

/// What the callbacks of a [`Tracking`] know: the kernel passes nothing but the namespace.
struct Slot {
    taken: AtomicFlag,
    job: UnsafeCell<Option<Job>>,
    /// Where namespaces keep whether connection tracking works there for this slot.
    id: UnsafeCell<c_uint>,
    ops: Opaque<bindings::pernet_operations>,
    init: unsafe extern "C" fn(*mut bindings::net) -> c_int,
    exit: unsafe extern "C" fn(*mut bindings::net),
}

#[derive(Clone, Copy)]
struct Job {
    functions: bindings::ctrfw_ct,
    scope: NetnsScope,
}

// SAFETY: Who has set `taken` has the rest for himself but while the operations are registered: then
// nobody writes to it. Registering orders all that against the callbacks.
unsafe impl Sync for Slot {}

static ALL: [Slot; SLOTS] = [
    Slot::new::<0>(),
    Slot::new::<1>(),
    Slot::new::<2>(),
    Slot::new::<3>(),
];

impl Slot {
    const fn new<const INDEX: usize>() -> Self {
        Self {
            taken: AtomicFlag::new(false),
            job: UnsafeCell::new(None),
            id: UnsafeCell::new(0),
            ops: Opaque::uninit(),
            init: init_callback::<INDEX>,
            exit: exit_callback::<INDEX>,
        }
    }

    /// The job of slot `INDEX`, and where `net` keeps whether it is being done there.
    ///
    /// # Safety
    ///
    /// Its operations must be registered, and `net` must be a namespace that they are called for.
    unsafe fn at<const INDEX: usize>(net: *mut bindings::net) -> Option<(Job, *mut bool)> {
        let slot = ALL.get(INDEX)?;
        // SAFETY: While the operations are registered nobody writes to these, and the namespace has
        // generic data for them.
        unsafe {
            let job = (*slot.job.get())?;
            Some((job, bindings::ctrfw_net_flag(net, *slot.id.get())))
        }
    }
}

/// # Safety
///
/// Only the kernel may call it, as `pernet_operations::init` of slot `INDEX`.
unsafe extern "C" fn init_callback<const INDEX: usize>(net: *mut bindings::net) -> c_int {
    // SAFETY: The kernel gives a valid namespace.
    let (found, id) = unsafe { (Slot::at::<INDEX>(net), Net::from_raw(net).id()) };
    let Some((job, flag)) = found else {
        return 0;
    };
    if !job.scope.contains(id) {
        return 0;
    }
    // SAFETY: The functions are held by the `Tracking` whose slot this is. As these operations were
    // registered after the module was loaded, they are called after its own: it knows the namespace.
    let error = unsafe { bindings::ctrfw_ct_netns_get(&raw const job.functions, net) };
    if error == E2BIG.to_errno() && !id.host {
        // Whoever owns a namespace may fill its hooks. That must not keep all others without.
        pr_warn!(
            "netns {}: no room for hooks, connections are not tracked\n",
            id.inode
        );
        return 0;
    }
    // SAFETY: This is ours alone.
    unsafe { flag.write(error == 0) };
    error
}

/// # Safety
///
/// Only the kernel may call it, as `pernet_operations::exit` of slot `INDEX`.
unsafe extern "C" fn exit_callback<const INDEX: usize>(net: *mut bindings::net) {
    // SAFETY: The kernel gives a valid namespace, where `init_callback()` was called.
    let Some((job, flag)) = (unsafe { Slot::at::<INDEX>(net) }) else {
        return;
    };
    // SAFETY: As above; what was got is given back once. The module's own operations, registered
    // earlier, are called later.
    unsafe {
        if flag.read() {
            bindings::ctrfw_ct_netns_put(&raw const job.functions, net);
        }
    }
}

impl Tracking {
    /// Has connections tracked in the namespaces of `scope`. Process context; sleeps.
    pub(crate) fn new(conntrack: Arc<Conntrack>, scope: NetnsScope) -> Result<Self> {
        let free = |slot: &&Slot| slot.taken.cmpxchg(false, true, Full).is_ok();
        let slot = ALL.iter().find(free).ok_or(EBUSY)?;
        // SAFETY: The slot was free and is ours now; its operations are not registered.
        let registered = unsafe {
            *slot.job.get() = Some(Job {
                functions: conntrack.0,
                scope,
            });
            slot.ops.get().write(bindings::pernet_operations {
                init: Some(slot.init),
                exit: Some(slot.exit),
                id: slot.id.get(),
                size: size_of::<bool>(),
                ..pin_init::zeroed()
            });
            bindings::register_pernet_subsys(slot.ops.get())
        };
        if let Err(error) = to_result(registered) {
            slot.taken.store(false, Release);
            return Err(error);
        }
        // INVARIANT: All that was just done.
        Ok(Self {
            slot,
            conntrack,
            scope,
        })
    }

    /// The functions that it works with.
    pub(crate) fn conntrack(&self) -> &Arc<Conntrack> {
        &self.conntrack
    }

    /// The namespaces that it works in.
    pub(crate) fn scope(&self) -> &NetnsScope {
        &self.scope
    }

    /// Looks for a connection that connection tracking has not found yet for this packet. Softirq or
    /// process context, under RCU.
    pub(crate) fn find(&self, skb: &SkBuff, state: &HookState<'_>, search: Search) -> Finding {
        let quoted = match search {
            Search::Own => 0,
            Search::Quoted(at) => at,
            Search::Nothing(_) => return Finding::Nothing,
        };
        let family = match state.family() {
            Family::Ipv4 => bindings::NFPROTO_IPV4,
            Family::Ipv6 => bindings::NFPROTO_IPV6,
        };
        let mut flow = bindings::ctrfw_flow::default();
        // SAFETY: The functions are held; the buffer is ours and has an IP header that could be
        // parsed, the namespace lives, and the structure is ours.
        unsafe {
            let functions = &raw const self.conntrack.0;
            let (skb, net) = (skb.as_ptr(), state.net().as_ptr());
            bindings::ctrfw_ct_find(functions, skb, net, family as u8, quoted, &raw mut flow);
        }
        finding(&flow).unwrap_or(Finding::Nothing)
    }
}

impl Drop for Tracking {
    fn drop(&mut self) {
        // SAFETY: By the invariant the operations are registered; afterwards the slot is anybody's.
        unsafe {
            bindings::unregister_pernet_subsys(self.slot.ops.get());
            *self.slot.job.get() = None;
        }
        self.slot.taken.store(false, Release);
    }
}
