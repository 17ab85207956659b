// SPDX-License-Identifier: GPL-2.0

//! Packets that rules are tried on.

use ctrfw_core::family::Family;
use ctrfw_core::flow::Flow;
use ctrfw_core::fragment::Fragment;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::{IfName, IFNAMSIZ};
use ctrfw_core::key::{Key, Names};
use ctrfw_core::memory::Heap;
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Headers, Packet, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::policy::Policy;
use ctrfw_core::proto::Protocol;
use ctrfw_core::rule::{Mode, Verb};

/// The host's namespace.
pub const HOST: NetnsId = NetnsId {
    inode: 4026531840,
    host: true,
};

/// A container's.
pub const CONTAINER: NetnsId = NetnsId {
    inode: 4026532183,
    host: false,
};

/// The name of an interface.
pub fn name(text: &str) -> IfName {
    let mut field = [0; IFNAMSIZ];
    field[..text.len()].copy_from_slice(text.as_bytes());
    IfName::from_field(field)
}

/// The headers of a whole datagram with ports.
pub fn ported(proto: Protocol, from: (&str, u16), to: (&str, u16)) -> Headers {
    Headers {
        addrs: AddrPair::new(from.0.parse().unwrap(), to.0.parse().unwrap()),
        proto: Some(proto),
        transport: Transport::Ports {
            source: from.1,
            dest: to.1,
            flags: None,
        },
        fragment: Fragment::No,
        len: 60,
        unparsed: None,
    }
}

/// A packet in the host's namespace, of the family of its addresses; of IPv4 if it shows none.
pub fn on_host(hook: Hook, headers: Headers) -> Packet {
    let family = headers.addrs.map_or(Family::Ipv4, AddrPair::family);
    Packet::new(hook, HOST, family, headers)
}

/// What a packet is remembered by, with what is put into `names`; [`None`] if its headers are not plain.
pub fn key<'a>(packet: &Packet, names: &'a mut Names) -> Option<Key<'a>> {
    let headers = &packet.headers;
    if headers.unparsed.is_some() || headers.fragment != Fragment::No {
        return None;
    }
    let transport = match headers.transport {
        Transport::Ports { source, dest, .. } => (u32::from(source) << 16) | u32::from(dest),
        Transport::Icmp { kind, code } => (u32::from(kind) << 24) | (u32::from(code) << 16),
        Transport::Other => 0,
        Transport::LaterFragment | Transport::Unreadable => return None,
    };
    *names = Names {
        devices: [packet.input, packet.output].map(IfName::words),
        ports: [packet.phys_input, packet.phys_output].map(IfName::words),
    };
    let mut key = Key::new(packet.hook, 1, headers.addrs?, headers.proto?, transport);
    key.set_names(names);
    Some(key)
}

/// Whether a first look tells what becomes of a packet; an error if it tells something else than judging does.
pub fn first_look(policy: &Policy<Heap>, packet: &Packet) -> Result<bool, String> {
    let mut names = Names::default();
    let needs = policy.needs();
    let Some(mut key) = key(packet, &mut names) else {
        return Ok(false);
    };
    key.set_mark(packet.mark);
    match packet.flow {
        _ if needs.origins || needs.cgroups.contains(packet.hook) => return Ok(false),
        Flow::Known(state, _) => key.set_state(state),
        _ if needs.flows.contains(packet.hook) => return Ok(false),
        _ => {}
    }
    let Some(told) = policy.first_look(&key, packet.netns) else {
        return Ok(false);
    };
    let mut audited = false;
    let (decision, slot) = policy.judge(packet, |_, _| audited = true);
    let dropped = match decision.verb {
        Verb::Allow => Some(false),
        Verb::Deny => Some(true),
        _ => None,
    };
    let quiet = !audited && policy.log(decision).is_none() && policy.mode() == Mode::Enforce;
    let ways = policy.is_failsafe(packet, |_| true);
    if Some(told.dropped) != dropped || Some(told.slot) != slot || !quiet || ways {
        return Err(format!(
            "a first look tells {told:?} of {packet:?}, judging {decision:?} in {slot:?}"
        ));
    }
    Ok(true)
}
