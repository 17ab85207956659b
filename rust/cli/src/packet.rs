// SPDX-License-Identifier: GPL-2.0

//! A packet that a user describes in the rules' own words.

use std::fs;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt as _;

use ctrfw_core::cgroup::{CgroupPath, Lineage, SocketCgroup};
use ctrfw_core::family::Family;
use ctrfw_core::flow::{Connection, Flow, State};
use ctrfw_core::fragment::Fragment;
use ctrfw_core::hook::{Hook, HookSet};
use ctrfw_core::icmp::IcmpType;
use ctrfw_core::iface::{IfName, IfPattern, IFNAMSIZ};
use ctrfw_core::lexer::{Word, Words};
use ctrfw_core::netns::NetnsId;
use ctrfw_core::packet::{Headers, Packet, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::proto::Protocol;
use ctrfw_core::value::Value as _;

use crate::cgroup;
use crate::problem::{Problem, Severity};

/// The packet, whole and well-formed.
pub(crate) struct Described {
    headers: Headers,
    netns: NetnsId,
    input: IfName,
    output: IfName,
    port_in: IfName,
    port_out: IfName,
    mark: u32,
    flow: Flow,
    cgroup: Option<Lineage>,
    hooks: HookSet,
}

impl Described {
    /// Parses it; the problem's line is always 1.
    pub(crate) fn parse(text: &[u8]) -> Result<Self, Box<Problem>> {
        let end = |expected| problem(text.len(), None, expected);
        let (mut from, mut to, mut proto) = (None, None, None);
        let (mut sport, mut dport) = (None, None);
        let (mut origdst, mut origdport) = (None, None);
        let (mut input, mut output) = (None, None);
        let (mut port_in, mut port_out) = (None, None);
        let (mut icmp_type, mut mark, mut state) = (None, None, None);
        let (mut cgroup, mut hooks, mut netns) = (None, None, None);
        // A line of rules has no newline either.
        let mut words = Words::new(text);
        while let Some(key) = words.next() {
            const KEY: &str =
                "one of from, to, proto, icmp-type, sport, dport, origdst, origdport, \
                               in, out, port-in, port-out, mark, cgroup, state, hook, netns, each once";
            let missing = "a value";
            let Some(value) = words.next() else {
                return Err(end(missing));
            };
            match key.text {
                b"from" => put(&mut from, key, value, address, "an IPv4 or IPv6 address")?,
                b"to" => put(&mut to, key, value, address, "an IPv4 or IPv6 address")?,
                b"proto" => put(&mut proto, key, value, Protocol::parse, "a protocol")?,
                b"sport" => put(&mut sport, key, value, port, "a port from 0 to 65535")?,
                b"dport" => put(&mut dport, key, value, port, "a port from 0 to 65535")?,
                b"origdst" => put(&mut origdst, key, value, address, "an IPv4 or IPv6 address")?,
                b"origdport" => put(&mut origdport, key, value, port, "a port from 0 to 65535")?,
                b"in" => put(&mut input, key, value, device, "an interface name")?,
                b"out" => put(&mut output, key, value, device, "an interface name")?,
                b"port-in" => put(&mut port_in, key, value, device, "an interface name")?,
                b"port-out" => put(&mut port_out, key, value, device, "an interface name")?,
                b"icmp-type" => {
                    put(
                        &mut icmp_type,
                        key,
                        value,
                        IcmpType::parse,
                        IcmpType::EXPECTED,
                    )?;
                }
                b"mark" => put(&mut mark, key, value, number, "a mark such as 7 or 0x1f")?,
                b"cgroup" => {
                    let parse = cgroup::lineage;
                    put(&mut cgroup, key, value, parse, CgroupPath::EXPECTED)?;
                }
                b"state" => put(&mut state, key, value, State::parse, State::EXPECTED)?,
                b"hook" => {
                    let mut word = Some(value);
                    let mut set = HookSet::EMPTY;
                    if hooks.is_some() {
                        return Err(problem(key.at, Some(key), "each word once"));
                    }
                    while let Some(value) = word.take() {
                        let hook = Hook::parse(value.text)
                            .ok_or_else(|| problem(value.at, Some(value), Hook::EXPECTED))?;
                        set = set.with(hook);
                        if words.comma().is_some() {
                            words.next();
                            word = words.next();
                        }
                    }
                    hooks = Some(set);
                }
                b"netns" => put(
                    &mut netns,
                    key,
                    value,
                    namespace,
                    "host, container, or a network namespace's inode number",
                )?,
                _ => return Err(problem(key.at, Some(key), KEY)),
            }
        }
        let from: IpAddr = from.ok_or_else(|| end("from ADDRESS"))?;
        let to: IpAddr = to.ok_or_else(|| end("to ADDRESS"))?;
        let others = [Some(to), origdst];
        if others
            .iter()
            .flatten()
            .any(|addr| addr.is_ipv4() != from.is_ipv4())
        {
            return Err(end("addresses of one address family"));
        }
        let family = family(from);
        let proto: Protocol = proto.ok_or_else(|| end("proto PROTOCOL"))?;
        let transport = if proto.has_ports() {
            Transport::Ports {
                source: sport.ok_or_else(|| end("sport PORT, as the protocol has ports"))?,
                dest: dport.ok_or_else(|| end("dport PORT, as the protocol has ports"))?,
                flags: None,
            }
        } else if sport.is_some() || dport.is_some() {
            return Err(end("no port, as the protocol has none"));
        } else if proto.is_icmp() {
            let wanted = icmp_type.ok_or_else(|| {
                end("icmp-type TYPE, perhaps with /CODE, as the protocol has types")
            })?;
            message(family, wanted).ok_or_else(|| end("an ICMP type of the packet's family"))?
        } else {
            Transport::Other
        };
        if icmp_type.is_some() && !proto.is_icmp() {
            return Err(end("no icmp-type, as the protocol has none"));
        }
        if origdport.is_some() && !proto.tells_of_ports() {
            return Err(end("no origdport, as the protocol has none"));
        }
        let state = state.unwrap_or(State::New);
        let tracked = !matches!(state, State::Invalid | State::Untracked);
        if !tracked && (origdst.is_some() || origdport.is_some()) {
            return Err(end(
                "a state other than invalid and untracked, as there is a connection",
            ));
        }
        // If nothing else is said, it goes the way of its connection's first packet, and nobody
        // translates that.
        let connection = Connection {
            state,
            reply: false,
            over: false,
            to: origdst.unwrap_or(to),
            port: origdport,
        };
        Ok(Self {
            headers: Headers {
                addrs: AddrPair::new(from, to),
                proto: Some(proto),
                transport,
                fragment: Fragment::No,
                len: 0,
                unparsed: None,
            },
            netns: netns.unwrap_or_else(host),
            input: input.unwrap_or_default(),
            output: output.unwrap_or_default(),
            port_in: port_in.unwrap_or_default(),
            port_out: port_out.unwrap_or_default(),
            mark: mark.unwrap_or(0),
            flow: Flow::Known(state, tracked.then_some(connection)),
            cgroup,
            hooks: hooks.unwrap_or_default(),
        })
    }

    /// The packet at each hook that is asked for, with the interfaces that the hook knows.
    pub(crate) fn at_hooks(&self) -> impl Iterator<Item = Packet> + '_ {
        let asked = |hook: &Hook| self.hooks.contains(*hook);
        Hook::ALL.into_iter().filter(asked).map(|hook| {
            let (input, output) = match hook {
                Hook::PreRouting | Hook::LocalIn => (self.input, IfName::default()),
                Hook::LocalOut => (IfName::default(), self.output),
                Hook::Forward | Hook::PostRouting => (self.input, self.output),
            };
            let family = self.headers.addrs.map_or(Family::Ipv4, AddrPair::family);
            Packet {
                input,
                output,
                phys_input: if input == IfName::default() {
                    input
                } else {
                    self.port_in
                },
                phys_output: if output == IfName::default() {
                    output
                } else {
                    self.port_out
                },
                mark: self.mark,
                flow: self.flow,
                cgroup: match self.cgroup {
                    // What is forwarded passes no socket.
                    Some(lineage) if hook != Hook::Forward => SocketCgroup::In(lineage),
                    _ => SocketCgroup::NoSocket,
                },
                ..Packet::new(hook, self.netns, family, self.headers)
            }
        })
    }
}

fn put<T>(
    slot: &mut Option<T>,
    key: Word<'_>,
    value: Word<'_>,
    parse: fn(&[u8]) -> Option<T>,
    expected: &str,
) -> Result<(), Box<Problem>> {
    if slot.is_some() {
        return Err(problem(key.at, Some(key), "each word once"));
    }
    *slot = Some(parse(value.text).ok_or_else(|| problem(value.at, Some(value), expected))?);
    Ok(())
}

fn problem(at: usize, word: Option<Word<'_>>, expected: &str) -> Box<Problem> {
    let got = word.map(|word| word.text.escape_ascii().to_string());
    let shown = match &got {
        Some(text) => format!("\"{text}\""),
        None => "the end of the packet".to_owned(),
    };
    Box::new(Problem {
        severity: Severity::Error,
        line: 1,
        column: u32::try_from(at).unwrap_or(u32::MAX).saturating_add(1),
        message: format!("got {shown}, expected {expected}"),
        got,
        expected: Some(expected.to_owned()),
        suggestion: None,
        rule: None,
        shadowed_by: None,
    })
}

fn family(addr: IpAddr) -> Family {
    match addr {
        IpAddr::V4(_) => Family::Ipv4,
        IpAddr::V6(_) => Family::Ipv6,
    }
}

/// The first message that is of such a type in `family`.
fn message(family: Family, wanted: IcmpType) -> Option<Transport> {
    (0..=u8::MAX)
        .flat_map(|kind| (0..=u8::MAX).map(move |code| (kind, code)))
        .find(|(kind, code)| wanted.matches(family, *kind, *code))
        .map(|(kind, code)| Transport::Icmp { kind, code })
}

/// Decimal, or hexadecimal behind `0x`.
fn number(text: &[u8]) -> Option<u32> {
    let text = std::str::from_utf8(text).ok()?;
    match text.strip_prefix("0x") {
        Some(digits) => u32::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    }
}

fn address(text: &[u8]) -> Option<IpAddr> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn port(text: &[u8]) -> Option<u16> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

fn device(text: &[u8]) -> Option<IfName> {
    if text.ends_with(b"*") {
        return None;
    }
    IfPattern::parse(text)?;
    let mut field = [0; IFNAMSIZ];
    for (to, from) in field.iter_mut().zip(text) {
        *to = *from;
    }
    Some(IfName::from_field(field))
}

/// The initial namespace; its number is 0 where one may not look.
fn host() -> NetnsId {
    let inode = fs::metadata("/proc/1/ns/net").map_or(0, |metadata| metadata.ino());
    NetnsId {
        inode: u32::try_from(inode).unwrap_or(0),
        host: true,
    }
}

fn namespace(text: &[u8]) -> Option<NetnsId> {
    match text {
        b"host" => Some(host()),
        b"container" => Some(NetnsId {
            inode: 0,
            host: false,
        }),
        number => {
            let inode = std::str::from_utf8(number).ok()?.parse().ok()?;
            Some(NetnsId {
                inode,
                host: inode == host().inode,
            })
        }
    }
}
