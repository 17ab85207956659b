// SPDX-License-Identifier: GPL-2.0

//! Ways in to the host that no rule can close.

use core::fmt;
use core::net::IpAddr;

use crate::error::Fault;
use crate::facts::Reach;
use crate::family::FamilySet;
use crate::hook::{Hook, HookSet};
use crate::key::Key;
use crate::lexer::{Form, Words};
use crate::netns::{NetnsId, NetnsMatch, NetnsScope};
use crate::packet::{Packet, Transport};
use crate::port::PortRange;
use crate::proto::Protocol;
use crate::value::Value;

/// Most ways of a table: so many fit on a line.
pub const MAX_WAYS: usize = 32;

const OPEN: &str = "{ and ways in such as tcp 22";
const PROTOCOL: &str = "a protocol with ports (tcp, udp, dccp, sctp or udplite), or }";
const PORTS: &str = "a port from 0 to 65535 or a range FIRST-LAST";
const FEWER: &str = "at most 32 ways in";

/// A protocol, and ports of the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Way {
    proto: Protocol,
    ports: PortRange,
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.proto, self.ports)
    }
}

fn protocol(text: &[u8]) -> Option<Protocol> {
    Protocol::parse(text).filter(|proto| proto.has_ports())
}

/// Checks `{ PROTOCOL PORTS, ... }` up to the end of the line; what is inside.
pub(crate) fn parse<'a>(words: &mut Words<'a>) -> Result<Words<'a>, Fault> {
    let open = words.require(OPEN)?;
    if !open.is_mark(b"{") {
        return Err(words.fault(open, OPEN, false));
    }
    let from = *words;
    let mut count = 0usize;
    loop {
        let proto = words.require(PROTOCOL)?;
        if proto.is_mark(b"}") {
            break;
        }
        if proto.form != Form::Plain || protocol(proto.text).is_none() {
            let may_become = proto.form == Form::Plain && Protocol::may_become(proto.text);
            return Err(words.fault(proto, PROTOCOL, may_become));
        }
        count = count.saturating_add(1);
        if count > MAX_WAYS {
            return Err(words.fault(proto, FEWER, false));
        }
        let ports = words.require(PORTS)?;
        if ports.form != Form::Plain || PortRange::parse(ports.text).is_none() {
            let may_become = ports.form == Form::Plain && PortRange::may_become(ports.text);
            return Err(words.fault(ports, PORTS, may_become));
        }
        if !words.list_goes_on()? {
            break;
        }
    }
    let inside = from.up_to(words);
    words.end()?;
    Ok(inside)
}

/// The ways in what [`parse`] has checked.
pub(crate) fn ways(inside: Words<'_>) -> impl Iterator<Item = Way> + '_ {
    let mut words = inside.values();
    core::iter::from_fn(move || {
        let proto = protocol(words.next()?.text)?;
        let ports = PortRange::parse(words.next()?.text)?;
        Some(Way { proto, ports })
    })
}

/// Adds to `reach` where ways in may let packets pass.
pub(crate) fn add_reach(reach: &mut Reach) {
    let mut scope = NetnsScope::default();
    scope.add(NetnsMatch::Host);
    let hooks = HookSet::of(Hook::Forward).complement();
    reach.add(hooks, FamilySet::all(), &scope);
}

/// Of packets at a hook: whether it is the destination's port that ways are about, and not the source's; and
/// whether it is known that that is the host. [`None`] where ways let nothing pass.
fn direction(hook: Hook, netns: NetnsId) -> Option<(bool, bool)> {
    let direction = match hook {
        Hook::PreRouting => (true, false),
        Hook::LocalIn => (true, true),
        Hook::LocalOut => (false, true),
        Hook::PostRouting => (false, false),
        Hook::Forward => return None,
    };
    netns.host.then_some(direction)
}

/// Whether one of `ways` may let a packet with this key pass, in this namespace; else [`passes`] says so, too.
#[inline(never)]
pub(crate) fn may_pass(ways: &[Way], packet: &Key<'_>, netns: NetnsId) -> bool {
    let (Some((request, _)), Some((source, dest))) =
        (direction(packet.hook(), netns), packet.ports())
    else {
        return false;
    };
    let port = if request { dest } else { source };
    ways.iter()
        .any(|way| way.proto == packet.proto() && way.ports.contains(port))
}

/// Whether one of `ways` lets a packet pass. `own` tells of its destination at PRE_ROUTING whether
/// packets for it are for the host, of its source at POST_ROUTING whether it is the host's; the other
/// hooks tell that by themselves.
pub(crate) fn passes(ways: &[Way], packet: &Packet, own: impl FnOnce(IpAddr) -> bool) -> bool {
    let Some((request, known)) = direction(packet.hook, packet.netns) else {
        return false;
    };
    let Some(proto) = packet.headers.proto else {
        return false;
    };
    let mut mine = ways.iter().filter(|way| way.proto == proto);
    let meant = match packet.headers.transport {
        Transport::Ports { source, dest, .. } => {
            let port = if request { dest } else { source };
            mine.any(|way| way.ports.contains(port))
        }
        // The fragment that has the ports is judged by them; without it the others come to nothing.
        Transport::LaterFragment => mine.next().is_some(),
        _ => false,
    };
    meant
        && (known
            || packet.headers.addrs.is_some_and(|addrs| {
                own(if request {
                    addrs.dest()
                } else {
                    addrs.source()
                })
            }))
}
