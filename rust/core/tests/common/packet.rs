// SPDX-License-Identifier: GPL-2.0

//! Packets that rules are tried on.

use ctrfw_core::family::Family;
use ctrfw_core::fragment::Fragment;
use ctrfw_core::hook::Hook;
use ctrfw_core::iface::{IfName, IFNAMSIZ};
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Headers, Packet, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::proto::Protocol;

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
