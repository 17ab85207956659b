// SPDX-License-Identifier: GPL-2.0

//! The cgroups of packets' sockets, for statements that ask for them.

use ctrfw_core::cgroup::{CgroupId, SocketCgroup};
use ctrfw_core::error::Excerpt;
use ctrfw_core::hook::Hook;
use ctrfw_core::packet::{Packet, Transport};
use ctrfw_core::parser::MatchText;
use ctrfw_core::proto::Protocol;
use kernel::prelude::*;
use kernel::sync::Arc;

use super::obstacle::Obstacle;
use crate::sys::cgroup::find;
use crate::sys::netfilter::HookState;
use crate::sys::skbuff::SkBuff;
use crate::sys::socket::{sender_cgroup, SocketLookup};

/// Takes what looks up the sockets that packets are for, if a statement with these words asks for it
/// and it was not taken yet. Process context; sleeps.
pub(super) fn provide(
    text: &MatchText<'_>,
    lookup: &mut Option<Arc<SocketLookup>>,
) -> Result<(), Obstacle> {
    if text.asks_for_receiver() && lookup.is_none() {
        let taken = SocketLookup::new().ok_or(Obstacle::NoSocketLookup)?;
        *lookup = Some(Arc::new(taken, GFP_KERNEL)?);
    }
    Ok(())
}

/// The cgroup at `path`, as the writer's cgroup namespace has it. Process context; sleeps.
pub(super) fn cgroup(path: &str) -> Result<CgroupId, Obstacle> {
    let (level, number) = find(path).map_err(|error| {
        if error == ENOMEM {
            Obstacle::Memory
        } else if error == EOPNOTSUPP {
            Obstacle::NoCgroups
        } else {
            Obstacle::NoCgroup(Excerpt::new(path.as_bytes()))
        }
    })?;
    CgroupId::new(level, number).ok_or(Obstacle::DeepCgroup)
}

/// Tells `packet` the cgroup of the socket that it comes from or is for. Softirq or process context,
/// under RCU.
///
/// Out of line, as few tables need it, and others shall not have its stack frame.
#[inline(never)]
pub(super) fn tell_cgroup(
    packet: &mut Packet,
    lookup: Option<&SocketLookup>,
    skb: &SkBuff,
    state: &HookState<'_>,
) {
    packet.cgroup = cgroup_of(packet, lookup, skb, state);
}

#[inline]
fn cgroup_of(
    packet: &Packet,
    lookup: Option<&SocketLookup>,
    skb: &SkBuff,
    state: &HookState<'_>,
) -> SocketCgroup {
    match packet.hook {
        Hook::LocalOut | Hook::PostRouting => return sender_cgroup(skb, state.net()),
        // What is forwarded has passed no socket here, nor will it.
        Hook::Forward => return SocketCgroup::NoSocket,
        Hook::PreRouting | Hook::LocalIn => {}
    }
    let headers = &packet.headers;
    let Some(addrs) = headers.addrs else {
        return SocketCgroup::Unknown;
    };
    // A socket that listens at all addresses is not for those of others.
    if packet.hook == Hook::PreRouting && !state.net().takes(addrs.dest(), state.input()) {
        return SocketCgroup::NoSocket;
    }
    match (headers.transport, lookup) {
        _ if !headers.proto.is_none_or(Protocol::tells_of_ports) => SocketCgroup::NoSocket,
        (Transport::LaterFragment, _) => SocketCgroup::Fragment,
        (_, Some(lookup)) if headers.unparsed.is_none() => lookup.receiver_cgroup(skb, state),
        _ => SocketCgroup::Unknown,
    }
}
