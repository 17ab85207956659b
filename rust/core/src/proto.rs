// SPDX-License-Identifier: GPL-2.0

//! Protocols by name and number, as IANA assigned them.

use core::fmt;

use crate::memory::{List, NoMemory};
use crate::packed::{Packed, Reader};
use crate::value::{decimal, Value};
use crate::writer::Writer;

/// The protocol of the payload of an IP packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Protocol(pub u8);

struct Names {
    number: u8,
    rule: &'static str,
    trace: &'static str,
}

const fn names(number: u8, rule: &'static str, trace: &'static str) -> Names {
    Names {
        number,
        rule,
        trace,
    }
}

const NAMES: [Names; 17] = [
    names(1, "icmp", "ICMP"),
    names(2, "igmp", "IGMP"),
    names(4, "ipip", "IPIP"),
    names(6, "tcp", "TCP"),
    names(17, "udp", "UDP"),
    names(33, "dccp", "DCCP"),
    names(41, "ipv6", "IPV6"),
    names(46, "rsvp", "RSVP"),
    names(47, "gre", "GRE"),
    names(50, "esp", "ESP"),
    names(51, "ah", "AH"),
    names(58, "icmpv6", "ICMPv6"),
    names(89, "ospf", "OSPF"),
    names(103, "pim", "PIM"),
    names(112, "vrrp", "VRRP"),
    names(132, "sctp", "SCTP"),
    names(136, "udplite", "UDPLITE"),
];

/// Another name of ICMPv6, the one in /etc/protocols.
const ALIAS: &[u8] = b"ipv6-icmp";

impl Protocol {
    /// Internet Control Message Protocol
    pub const ICMP: Self = Self(1);
    /// Transmission Control Protocol
    pub const TCP: Self = Self(6);
    /// User Datagram Protocol
    pub const UDP: Self = Self(17);
    /// Datagram Congestion Control Protocol
    pub const DCCP: Self = Self(33);
    /// ICMP for IPv6
    pub const ICMPV6: Self = Self(58);
    /// Stream Control Transmission Protocol
    pub const SCTP: Self = Self(132);
    /// Lightweight UDP
    pub const UDPLITE: Self = Self(136);

    /// Whether its header begins with a source and a destination port of 16 bits each.
    #[inline]
    pub fn has_ports(self) -> bool {
        matches!(
            self,
            Self::TCP | Self::UDP | Self::DCCP | Self::SCTP | Self::UDPLITE
        )
    }

    /// Whether its messages have types.
    #[inline]
    pub fn is_icmp(self) -> bool {
        matches!(self, Self::ICMP | Self::ICMPV6)
    }

    /// Whether its packets are of connections with ports, or may tell an error of one.
    #[inline]
    pub fn tells_of_ports(self) -> bool {
        self.has_ports() || self.is_icmp()
    }

    fn names(self) -> Option<&'static Names> {
        NAMES.iter().find(|names| names.number == self.0)
    }

    /// Its name in trace lines, or its number.
    pub fn trace_name(self) -> NameOr {
        NameOr {
            name: self.names().map(|names| names.trace),
            number: self.0,
        }
    }
}

impl Value for Protocol {
    const EXPECTED: &'static str =
        "a protocol: a name such as tcp, udp, icmp or icmpv6, or a number up to 255";

    fn parse(text: &[u8]) -> Option<Self> {
        let by_name = NAMES.iter().find(|names| names.rule.as_bytes() == text);
        match by_name {
            Some(names) => Some(Self(names.number)),
            None if text == ALIAS => Some(Self::ICMPV6),
            None => Some(Self(decimal(text, u8::MAX.into())?.try_into().ok()?)),
        }
    }

    fn may_become(text: &[u8]) -> bool {
        NAMES
            .iter()
            .any(|names| names.rule.as_bytes().starts_with(text))
            || ALIAS.starts_with(text)
            || decimal(text, u8::MAX.into()).is_some()
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        NameOr {
            name: self.names().map(|names| names.rule),
            number: self.0,
        }
        .fmt(f)
    }
}

/// A protocol's name, or its number if it has none.
pub struct NameOr {
    name: Option<&'static str>,
    number: u8,
}

impl NameOr {
    /// Prints it to anything; [`fmt::Display`] does the same.
    pub(crate) fn write(&self, to: &mut impl Writer) -> fmt::Result {
        match self.name {
            Some(name) => to.write_str(name),
            None => to.number(self.number.into()),
        }
    }
}

impl fmt::Display for NameOr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

impl Packed<'_> for Protocol {
    type Field = Self;

    fn pack(&self, to: &mut impl List<u8>) -> Result<u8, NoMemory> {
        to.push(self.0)?;
        Ok(0)
    }

    #[inline(always)]
    fn unpack(_form: u8, from: &mut Reader<'_>) -> Option<Self> {
        from.u8().map(Self)
    }

    #[inline(always)]
    fn fits(form: u8, from: &mut Reader<'_>, proto: &Self) -> Option<bool> {
        Some(Self::unpack(form, from)? == *proto)
    }
}
