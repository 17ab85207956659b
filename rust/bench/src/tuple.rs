// SPDX-License-Identifier: GPL-2.0

//! Rules of five fields, and headers that they are for.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use ctrfw_core::addr::KernelAddr;
use ctrfw_core::family::Family;
use ctrfw_core::fragment::Fragment;
use ctrfw_core::hook::Hook;
use ctrfw_core::key::Key;
use ctrfw_core::packet::{Headers, Packet, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::proto::Protocol;
use rand::Rng as _;

use crate::common::packet::CONTAINER;
use crate::Rng;

/// The ports that any port is one of.
pub const ANY_PORT: (u16, u16) = (0, u16::MAX);

/// How many bits an address has.
pub fn width(v6: bool) -> u8 {
    if v6 {
        128
    } else {
        32
    }
}

/// The first and the last address of the prefix with these leading bits.
pub fn prefix(v6: bool, bits: u128, len: u8) -> (u128, u128) {
    let rest = width(v6) - len;
    let host = match rest {
        128 => u128::MAX,
        rest => (1 << rest) - 1,
    };
    (bits & !host, bits | host)
}

/// The length of the prefix that these addresses are; [`None`] if they are none.
pub fn prefix_len(v6: bool, (first, last): (u128, u128)) -> Option<u8> {
    let host = first ^ last;
    let bits = (128 - host.leading_zeros()) as u8;
    (prefix(v6, first, width(v6) - bits) == (first, last)).then_some(width(v6) - bits)
}

fn ip(v6: bool, bits: u128) -> IpAddr {
    if v6 {
        Ipv6Addr::from(bits).into()
    } else {
        Ipv4Addr::from(bits as u32).into()
    }
}

/// A rule: a first and a last value for each field.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Tuple {
    /// Whether it is for IPv6.
    pub v6: bool,
    /// Source addresses
    pub from: (u128, u128),
    /// Destination addresses
    pub to: (u128, u128),
    /// Source ports; any for a protocol that has none.
    pub sport: (u16, u16),
    /// Destination ports; likewise
    pub dport: (u16, u16),
    /// The protocol; [`None`] is any, and then any ports.
    pub proto: Option<u8>,
}

impl Tuple {
    /// The rule that every header of a family fits.
    pub fn any(v6: bool) -> Self {
        Self {
            v6,
            from: prefix(v6, 0, 0),
            to: prefix(v6, 0, 0),
            sport: ANY_PORT,
            dport: ANY_PORT,
            proto: None,
        }
    }

    /// Whether it asks for ports only where the language lets it: what ports a packet has whose
    /// protocol has none, engines would answer differently.
    pub fn is_sound(&self) -> bool {
        let ported = self.proto.is_some_and(|proto| Protocol(proto).has_ports());
        ported || (self.sport, self.dport) == (ANY_PORT, ANY_PORT)
    }

    /// Whether `header` fits it.
    pub fn holds(&self, header: &Header) -> bool {
        let within = |(first, last), value| first <= value && value <= last;
        self.v6 == header.v6
            && (self.from.0..=self.from.1).contains(&header.from)
            && (self.to.0..=self.to.1).contains(&header.to)
            && within(self.sport, header.sport)
            && within(self.dport, header.dport)
            && self.proto.is_none_or(|proto| proto == header.proto)
    }

    /// A header that fits it, each as likely as any other.
    pub fn point(&self, rng: &mut Rng) -> Header {
        Header {
            v6: self.v6,
            from: rng.random_range(self.from.0..=self.from.1),
            to: rng.random_range(self.to.0..=self.to.1),
            sport: rng.random_range(self.sport.0..=self.sport.1),
            dport: rng.random_range(self.dport.0..=self.dport.1),
            proto: self.proto.unwrap_or_else(|| rng.random()),
        }
        .sound()
    }
}

/// The rule's words in the language; after a verb they are a rule.
impl fmt::Display for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (key, addrs) in [("from", self.from), ("to", self.to)] {
            let addr = |bits| KernelAddr(ip(self.v6, bits));
            match prefix_len(self.v6, addrs) {
                Some(0) => {}
                Some(len) => write!(f, " {key} {}/{len}", addr(addrs.0))?,
                None => write!(f, " {key} {}-{}", addr(addrs.0), addr(addrs.1))?,
            }
        }
        if let Some(proto) = self.proto {
            write!(f, " proto {}", Protocol(proto))?;
        }
        for (key, (first, last)) in [("sport", self.sport), ("dport", self.dport)] {
            match (first, last) {
                ANY_PORT => {}
                (first, last) if first == last => write!(f, " {key} {first}")?,
                (first, last) => write!(f, " {key} {first}-{last}")?,
            }
        }
        // Without addresses it would be for the other family, too.
        if (self.from, self.to) == (prefix(self.v6, 0, 0), prefix(self.v6, 0, 0)) {
            f.write_str(if self.v6 {
                " family ipv6"
            } else {
                " family ipv4"
            })?;
        }
        Ok(())
    }
}

/// What five-field rules ask of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Whether it is an IPv6 packet's.
    pub v6: bool,
    /// Source address
    pub from: u128,
    /// Destination address
    pub to: u128,
    /// Source port; 0 where there is none.
    pub sport: u16,
    /// Destination port; likewise
    pub dport: u16,
    /// Protocol
    pub proto: u8,
}

impl Header {
    /// The same without ports if its protocol has none.
    pub fn sound(self) -> Self {
        if Protocol(self.proto).has_ports() {
            return self;
        }
        Self {
            sport: 0,
            dport: 0,
            ..self
        }
    }

    #[inline]
    fn addrs(&self) -> AddrPair {
        let (from, to) = (self.from, self.to);
        if self.v6 {
            AddrPair::v6(from.into(), to.into())
        } else {
            AddrPair::v4((from as u32).into(), (to as u32).into())
        }
    }

    fn headers(&self) -> Headers {
        let proto = Protocol(self.proto);
        Headers {
            addrs: Some(self.addrs()),
            proto: Some(proto),
            transport: if proto.has_ports() {
                Transport::Ports {
                    source: self.sport,
                    dest: self.dport,
                    flags: None,
                }
            } else if matches!(proto, Protocol::ICMP | Protocol::ICMPV6) {
                Transport::Icmp { kind: 8, code: 0 }
            } else {
                Transport::Other
            },
            fragment: Fragment::No,
            len: 60,
            unparsed: None,
        }
    }

    /// What a packet with this header, forwarded for a container, is remembered by.
    #[inline]
    pub fn key(&self) -> Key<'static> {
        let transport = (u32::from(self.sport) << 16) | u32::from(self.dport);
        let proto = Protocol(self.proto);
        Key::new(Hook::Forward, 1, self.addrs(), proto, transport)
    }

    /// A packet with this header, forwarded for a container.
    pub fn packet(&self) -> Packet {
        Packet::new(Hook::Forward, CONTAINER, self.family(), self.headers())
    }

    /// Puts this header into a packet of its family, in the place of the one that was there.
    #[inline]
    pub fn fill(&self, packet: &mut Packet) {
        packet.headers = self.headers();
    }

    /// The family that it is of.
    pub fn family(&self) -> Family {
        if self.v6 {
            Family::Ipv6
        } else {
            Family::Ipv4
        }
    }
}

/// Rules of one family, of which the first that fits decides.
#[derive(Clone, Debug)]
pub struct RuleSet {
    /// What it is called in tables.
    pub name: String,
    /// Whether they are for IPv6.
    pub v6: bool,
    /// The rules
    pub rules: Vec<Tuple>,
}

impl RuleSet {
    /// The rule with this index as a line of the language: every other one denies.
    pub fn line(index: usize, rule: &Tuple) -> String {
        let verb = if index % 2 == 0 { "allow" } else { "deny" };
        format!("{verb}{rule}\n")
    }

    /// All of it in the language.
    pub fn text(&self) -> String {
        let lines = self.rules.iter().enumerate();
        lines.map(|(index, rule)| Self::line(index, rule)).collect()
    }

    /// The index of the first rule that fits: the truth, by asking one after the other.
    pub fn first(&self, header: &Header) -> Option<usize> {
        self.rules.iter().position(|rule| rule.holds(header))
    }
}
