// SPDX-License-Identifier: GPL-2.0

//! What the sender of a rejected packet is told.

use core::fmt;

use crate::family::Family;
use crate::fragment::Fragment;
use crate::packet::{Headers, Transport};
use crate::proto::Protocol;
use crate::value::Value;

/// An ICMP error that says why a packet did not get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unreachable {
    /// There is no such network.
    Net,
    /// There is no such host.
    Host,
    /// The host does not have the protocol.
    Proto,
    /// Nobody listens there.
    Port,
    /// Somebody forbids the network.
    NetProhibited,
    /// Somebody forbids the host.
    HostProhibited,
    /// Somebody forbids the packet.
    AdminProhibited,
}

/// What an error is called, and its code in each family.
struct Names {
    error: Unreachable,
    rule: &'static str,
    /// Of ICMP's type 3
    ipv4: u8,
    /// Of ICMPv6's type 1: the nearest there is.
    ipv6: u8,
}

const fn names(error: Unreachable, rule: &'static str, ipv4: u8, ipv6: u8) -> Names {
    Names {
        error,
        rule,
        ipv4,
        ipv6,
    }
}

const NAMES: [Names; 7] = [
    names(Unreachable::Net, "icmp-net-unreachable", 0, 0),
    names(Unreachable::Host, "icmp-host-unreachable", 1, 3),
    // ICMPv6 tells that by a "parameter problem", which is no such error.
    names(Unreachable::Proto, "icmp-proto-unreachable", 2, 4),
    names(Unreachable::Port, "icmp-port-unreachable", 3, 4),
    names(Unreachable::NetProhibited, "icmp-net-prohibited", 9, 1),
    names(Unreachable::HostProhibited, "icmp-host-prohibited", 10, 1),
    names(Unreachable::AdminProhibited, "icmp-admin-prohibited", 13, 1),
];

const TCP_RESET: &str = "tcp-reset";

impl Unreachable {
    fn names(self) -> Option<&'static Names> {
        NAMES.iter().find(|names| names.error == self)
    }

    /// The code that tells it, of ICMP's type 3 or of ICMPv6's type 1.
    pub fn code(self, family: Family) -> u8 {
        self.names().map_or(0, |names| match family {
            Family::Ipv4 => names.ipv4,
            Family::Ipv6 => names.ipv6,
        })
    }
}

/// The answer that a rule names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Answer {
    /// A reset for TCP, "port unreachable" for everything else.
    #[default]
    ByProtocol,
    /// A TCP reset.
    TcpReset,
    /// An ICMP error.
    Icmp(Unreachable),
}

/// What is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A TCP reset
    Reset,
    /// "Destination unreachable" with this code
    Unreachable(u8),
}

impl Answer {
    /// Its number.
    pub(crate) fn number(self) -> u8 {
        match self {
            Self::ByProtocol => 0,
            Self::TcpReset => 1,
            Self::Icmp(Unreachable::Net) => 2,
            Self::Icmp(Unreachable::Host) => 3,
            Self::Icmp(Unreachable::Proto) => 4,
            Self::Icmp(Unreachable::Port) => 5,
            Self::Icmp(Unreachable::NetProhibited) => 6,
            Self::Icmp(Unreachable::HostProhibited) => 7,
            Self::Icmp(Unreachable::AdminProhibited) => 8,
        }
    }

    /// The one with this number.
    pub(crate) fn numbered(number: u8) -> Self {
        match number {
            1 => Self::TcpReset,
            2 => Self::Icmp(Unreachable::Net),
            3 => Self::Icmp(Unreachable::Host),
            4 => Self::Icmp(Unreachable::Proto),
            5 => Self::Icmp(Unreachable::Port),
            6 => Self::Icmp(Unreachable::NetProhibited),
            7 => Self::Icmp(Unreachable::HostProhibited),
            8 => Self::Icmp(Unreachable::AdminProhibited),
            _ => Self::ByProtocol,
        }
    }

    /// What is sent for a packet with these headers; [`None`] if nothing may be.
    ///
    /// A later fragment's sender cannot tell what the answer is about, nobody answers a reset, and
    /// what cannot be parsed does not reliably name its sender. The rest that gets no answer, such as
    /// ICMP errors and bad checksums, the kernel's own functions know.
    pub fn reply(self, family: Family, headers: &Headers) -> Option<Reply> {
        const RST: u8 = 4;

        if headers.unparsed.is_some() || matches!(headers.fragment, Fragment::Later(_)) {
            return None;
        }
        let tcp = headers.proto == Some(Protocol::TCP);
        if tcp {
            // Without its flags it cannot be told from a reset.
            let Transport::Ports {
                flags: Some(flags), ..
            } = headers.transport
            else {
                return None;
            };
            if flags.0 & RST != 0 {
                return None;
            }
        }
        let unreachable = |error: Unreachable| Reply::Unreachable(error.code(family));
        match self {
            Self::ByProtocol if tcp => Some(Reply::Reset),
            Self::ByProtocol => Some(unreachable(Unreachable::Port)),
            Self::TcpReset => tcp.then_some(Reply::Reset),
            Self::Icmp(error) => Some(unreachable(error)),
        }
    }
}

/// The word behind `with`.
impl Value for Answer {
    const EXPECTED: &'static str =
        "tcp-reset, icmp-net-unreachable, icmp-host-unreachable, icmp-proto-unreachable, \
         icmp-port-unreachable, icmp-net-prohibited, icmp-host-prohibited or \
         icmp-admin-prohibited";

    fn parse(text: &[u8]) -> Option<Self> {
        if text == TCP_RESET.as_bytes() {
            return Some(Self::TcpReset);
        }
        NAMES
            .iter()
            .find(|names| names.rule.as_bytes() == text)
            .map(|names| Self::Icmp(names.error))
    }

    fn may_become(text: &[u8]) -> bool {
        let begins = |name: &str| name.as_bytes().starts_with(text);
        begins(TCP_RESET) || NAMES.iter().any(|names| begins(names.rule))
    }
}

/// Prints as it stands behind the verb: a blank, `with` and the word, or nothing.
impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self {
            Self::ByProtocol => return Ok(()),
            Self::TcpReset => TCP_RESET,
            Self::Icmp(error) => error.names().map_or("", |names| names.rule),
        };
        write!(f, " with {word}")
    }
}
