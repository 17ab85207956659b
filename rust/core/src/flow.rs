// SPDX-License-Identifier: GPL-2.0

//! What connection tracking knows of a packet.
//!
//! At the hooks that run behind it, LOCAL_IN, FORWARD and POST_ROUTING, its finding goes with the
//! packet. At PRE_ROUTING and LOCAL_OUT the packet has not come to it yet: the connection is looked
//! up, and where there is none this says what connection tracking is about to find.

use core::fmt;
use core::net::IpAddr;

use crate::family::Family;
use crate::flags::{Flag, Flags};
use crate::packet::{Headers, TcpFlags, Transport};
use crate::proto::Protocol;
use crate::value::Value;

/// What a packet is to its connection, by nft's names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    /// It begins a connection, or nobody has answered yet.
    New,
    /// Packets have gone both ways.
    Established,
    /// It begins a connection that another one announced, or is an ICMP error about one.
    Related,
    /// It is part of no connection, and can begin none.
    Invalid,
    /// It is not tracked: somebody said so, or it is a neighbour discovery message.
    Untracked,
}

/// A set of states.
pub type StateSet = Flags<State>;

impl Flag for State {
    const ALL: &'static [Self] = &[
        Self::New,
        Self::Established,
        Self::Related,
        Self::Invalid,
        Self::Untracked,
    ];

    #[inline]
    fn bit(self) -> u8 {
        match self {
            Self::New => 1 << 0,
            Self::Established => 1 << 1,
            Self::Related => 1 << 2,
            Self::Invalid => 1 << 3,
            Self::Untracked => 1 << 4,
        }
    }
}

const NAMES: [(&str, State); 5] = [
    ("new", State::New),
    ("established", State::Established),
    ("related", State::Related),
    ("invalid", State::Invalid),
    ("untracked", State::Untracked),
];

impl Value for State {
    const EXPECTED: &'static str = "a state: new, established, related, invalid or untracked";

    fn parse(text: &[u8]) -> Option<Self> {
        NAMES
            .iter()
            .find(|(name, _)| name.as_bytes() == text)
            .map(|(_, state)| *state)
    }

    fn may_become(text: &[u8]) -> bool {
        NAMES
            .iter()
            .any(|(name, _)| name.as_bytes().starts_with(text))
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, state)| state == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}

/// The connection that a packet belongs to, or tells an error of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Connection {
    /// What the packet is to it: new, established or related.
    pub state: State,
    /// The packet goes the way of the answers.
    pub reply: bool,
    /// It is a TCP connection that has come to its end; another may take its place.
    pub over: bool,
    /// Where its first packet was sent to, before any translation.
    pub to: IpAddr,
    /// To which port, where connection tracking knows the protocol's ports.
    pub port: Option<u16>,
}

/// What connection tracking has found out about a packet, or knows without having seen it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Finding {
    /// There is no connection.
    Nothing,
    /// It cannot be part of one.
    Invalid,
    /// It is not to be tracked.
    Untracked,
    /// It belongs to this connection, or tells an error of it.
    Connection(Connection),
}

/// What is known of a packet's connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Flow {
    /// Nothing: nobody asked, or nobody could tell.
    #[default]
    Unasked,
    /// The packet is a later fragment, and its datagram has not been put together yet.
    Fragment,
    /// Its state, and the connection if there is one.
    Known(State, Option<Connection>),
}

/// Where the first packet of a packet's connection was sent to, before any translation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// To this address, and to this port, if it has one.
    Known(IpAddr, Option<u16>),
    /// The packet is a later fragment, and its datagram has not been put together yet.
    Fragment,
    /// Nobody can tell.
    Unknown,
}

impl Origin {
    /// What is known of it, for a packet with these headers.
    pub fn of(flow: Flow, headers: &Headers) -> Self {
        let ports = match headers.transport {
            Transport::Ports { source, dest, .. } => Some((source, dest)),
            _ => None,
        };
        match (flow, headers.addrs) {
            (Flow::Known(_, Some(connection)), _) => {
                // Nobody translates ports that connection tracking does not know.
                let own = ports.map(|(source, dest)| if connection.reply { source } else { dest });
                Self::Known(connection.to, connection.port.or(own))
            }
            // The first packet itself, or one that is in no connection, so that nobody translates it.
            (Flow::Known(State::New | State::Untracked, None), Some(addrs)) => {
                Self::Known(addrs.dest(), ports.map(|(_, dest)| dest))
            }
            (Flow::Fragment, _) => Self::Fragment,
            (Flow::Known(..) | Flow::Unasked, _) => Self::Unknown,
        }
    }
}

/// Behind connection tracking.
impl From<Finding> for Flow {
    fn from(finding: Finding) -> Self {
        match finding {
            // It could make nothing of the packet.
            Finding::Nothing | Finding::Invalid => Self::Known(State::Invalid, None),
            Finding::Untracked => Self::Known(State::Untracked, None),
            Finding::Connection(connection) => Self::Known(connection.state, Some(connection)),
        }
    }
}

/// How to find out where connection tracking has not been yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// The packet's own connection.
    Own,
    /// The connection of the packet that an ICMP error quotes, so many bytes behind the beginning of
    /// the ICMP header.
    Quoted(u32),
    /// There is nothing to look for.
    Nothing(Flow),
}

impl Search {
    /// What to look for, for a packet with these headers.
    pub fn of(family: Family, headers: &Headers) -> Self {
        if headers.unparsed.is_some() {
            return Self::Nothing(Flow::Known(State::Invalid, None));
        }
        match headers.transport {
            Transport::LaterFragment => Self::Nothing(Flow::Fragment),
            Transport::Unreadable => Self::Nothing(Flow::Known(State::Invalid, None)),
            Transport::Icmp { kind, .. } => Self::of_icmp(family, headers.proto, kind),
            Transport::Ports { flags, .. } => {
                let tcp = headers.proto == Some(Protocol::TCP);
                if tcp && !flags.is_some_and(is_sensible) {
                    return Self::Nothing(Flow::Known(State::Invalid, None));
                }
                Self::Own
            }
            Transport::Other => Self::Own,
        }
    }

    fn of_icmp(family: Family, proto: Option<Protocol>, kind: u8) -> Self {
        match (family, proto) {
            (Family::Ipv4, Some(Protocol::ICMP)) => match kind {
                // Unreachable, source quench, redirect, time exceeded, parameter problem
                3 | 4 | 5 | 11 | 12 => Self::Quoted(8),
                0..=18 => Self::Own,
                _ => Self::Nothing(Flow::Known(State::Invalid, None)),
            },
            (Family::Ipv6, Some(Protocol::ICMPV6)) => match kind {
                0..=127 => Self::Quoted(8),
                // Redirect: target, destination, and the head of the option
                137 => Self::Quoted(48),
                // Multicast listeners and routers, neighbour discovery
                130..=136 | 143 | 151 | 152 => Self::Nothing(Flow::Known(State::Untracked, None)),
                _ => Self::Own,
            },
            // The other family's ICMP
            _ => Self::Nothing(Flow::Known(State::Invalid, None)),
        }
    }

    /// What comes of it where that was found.
    pub fn found(self, family: Family, headers: &Headers, finding: Finding) -> Flow {
        match (self, finding) {
            (Self::Nothing(flow), _) => flow,
            (Self::Own, Finding::Nothing) => Flow::Known(begins(family, headers), None),
            (Self::Own, Finding::Connection(connection)) if connection.over && is_syn(headers) => {
                Flow::Known(State::New, None)
            }
            // An error about nothing that is known
            (Self::Quoted(_), Finding::Nothing) => Flow::Known(State::Invalid, None),
            (Self::Own | Self::Quoted(_), finding) => finding.into(),
        }
    }
}

/// What a packet of no known connection is: new, unless it cannot begin one.
fn begins(family: Family, headers: &Headers) -> State {
    let may = match headers.transport {
        Transport::Icmp { kind, .. } => match family {
            // Echo, timestamp, information and address mask requests
            Family::Ipv4 => matches!(kind, 8 | 13 | 15 | 17),
            // Echo requests, node information queries
            Family::Ipv6 => matches!(kind, 128 | 139),
        },
        // An ACK may be one of a connection that is older than its tracking.
        Transport::Ports {
            flags: Some(flags), ..
        } => [SYN, ACK].contains(&(flags.0 & (FIN | SYN | RST | ACK))),
        _ => true,
    };
    if may {
        State::New
    } else {
        State::Invalid
    }
}

const FIN: u8 = 0x01;
const SYN: u8 = 0x02;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const URG: u8 = 0x20;

/// What TCP segments may have of these flags, as connection tracking sees it.
const SENSIBLE: [u8; 9] = [
    SYN,
    SYN | URG,
    SYN | ACK,
    RST,
    RST | ACK,
    FIN | ACK,
    FIN | ACK | URG,
    ACK,
    ACK | URG,
];

/// Whether a TCP segment may have these flags; those about pushing and congestion say nothing.
fn is_sensible(flags: TcpFlags) -> bool {
    SENSIBLE.contains(&(flags.0 & (FIN | SYN | RST | ACK | URG)))
}

/// Whether it is the first segment of a TCP connection.
fn is_syn(headers: &Headers) -> bool {
    match headers.transport {
        Transport::Ports {
            flags: Some(flags), ..
        } => flags.0 & (SYN | ACK | RST) == SYN,
        _ => false,
    }
}
