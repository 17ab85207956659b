// SPDX-License-Identifier: GPL-2.0

//! The match words, which rules and trace expressions share.

use core::fmt::{self, Write as _};
use core::net::IpAddr;

use crate::addr::Prefix;
use crate::hook::HookSet;
use crate::iface::IfPattern;
use crate::netns::NetnsMatch;
use crate::packet::{Fragment, Packet, Transport};
use crate::port::PortRange;
use crate::proto::Protocol;

/// What a packet must be like. A word that was not given accepts everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Source address
    pub from: Option<Prefix>,
    /// Destination address
    pub to: Option<Prefix>,
    /// Protocol
    pub proto: Option<Protocol>,
    /// Source port
    pub sport: Option<PortRange>,
    /// Destination port
    pub dport: Option<PortRange>,
    /// Interface it came in by
    pub input: Option<IfPattern>,
    /// Interface it will leave by
    pub output: Option<IfPattern>,
    /// Hooks
    pub hooks: HookSet,
    /// Namespaces
    pub netns: NetnsMatch,
}

/// How a word is decided that asks for a field which the packet does not show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Doubt {
    /// The field lies in another fragment of the datagram.
    pub fragment: bool,
    /// The packet could not be parsed.
    pub unparsed: bool,
}

impl Doubt {
    /// For rules that allow.
    ///
    /// The fragment that holds the ports is judged by them; without it the others are never put
    /// together, so they may pass. What cannot be parsed gets no permission.
    pub const ALLOW: Self = Self {
        fragment: true,
        unparsed: false,
    };
    /// For rules that deny: what cannot be parsed might be what they forbid.
    pub const DENY: Self = Self {
        fragment: false,
        unparsed: true,
    };
    /// For trace expressions: better a line too many.
    pub const TRACE: Self = Self {
        fragment: true,
        unparsed: true,
    };
}

impl Match {
    /// Whether `packet` is such a packet, `doubt` deciding about fields that it does not show.
    #[inline]
    pub fn matches(&self, packet: &Packet, doubt: Doubt) -> bool {
        self.hooks.contains(packet.hook)
            && self.netns.matches(packet.netns)
            && self.addrs_match(packet, doubt)
            && self.proto_matches(packet, doubt)
            && self.ports_match(packet, doubt)
            && self
                .input
                .is_none_or(|pattern| pattern.matches(&packet.input))
            && self
                .output
                .is_none_or(|pattern| pattern.matches(&packet.output))
    }

    #[inline]
    fn addrs_match(&self, packet: &Packet, doubt: Doubt) -> bool {
        let fits = |prefix: Option<Prefix>, addr: IpAddr| {
            prefix.is_none_or(|prefix| prefix.contains(addr))
        };
        match packet.headers.addrs {
            Some((from, to)) => fits(self.from, from) && fits(self.to, to),
            None => (self.from.is_none() && self.to.is_none()) || doubt.unparsed,
        }
    }

    #[inline]
    fn proto_matches(&self, packet: &Packet, doubt: Doubt) -> bool {
        match (self.proto, packet.headers.proto) {
            (None, _) => true,
            (Some(wanted), Some(proto)) => wanted == proto,
            (Some(_), None) => match packet.headers.fragment {
                Fragment::Later(_) => doubt.fragment,
                _ => doubt.unparsed,
            },
        }
    }

    #[inline]
    fn ports_match(&self, packet: &Packet, doubt: Doubt) -> bool {
        if self.sport.is_none() && self.dport.is_none() {
            return true;
        }
        match packet.headers.transport {
            Transport::Ports { source, dest, .. } => {
                self.sport.is_none_or(|ports| ports.contains(source))
                    && self.dport.is_none_or(|ports| ports.contains(dest))
            }
            Transport::Icmp { .. } | Transport::Other => false,
            // Only where the protocol has ports, if it is known.
            Transport::LaterFragment => {
                doubt.fragment && packet.headers.proto.is_none_or(Protocol::has_ports)
            }
            Transport::Unreadable => {
                doubt.unparsed && packet.headers.proto.is_none_or(Protocol::has_ports)
            }
        }
    }

    /// Prints as a line of the trace file.
    pub fn as_line(&self) -> impl fmt::Display + '_ {
        Line(self)
    }
}

struct Line<'a>(&'a Match);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if *self.0 == Match::default() {
            return f.write_str("all");
        }
        write!(SkipBlank(f, true), "{}", self.0)
    }
}

/// Leaves out the first character, a blank, of what is written.
struct SkipBlank<'a, 'b>(&'a mut fmt::Formatter<'b>, bool);

impl fmt::Write for SkipBlank<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let first = core::mem::replace(&mut self.1, false);
        self.0.write_str(if first {
            text.strip_prefix(' ').unwrap_or(text)
        } else {
            text
        })
    }
}

/// The canonical form: each word after a blank, in a fixed order.
impl fmt::Display for Match {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fn word<T: fmt::Display>(
            f: &mut fmt::Formatter<'_>,
            name: &str,
            value: Option<T>,
        ) -> fmt::Result {
            match value {
                Some(value) => write!(f, " {name} {value}"),
                None => Ok(()),
            }
        }
        word(f, "from", self.from)?;
        word(f, "to", self.to)?;
        word(f, "proto", self.proto)?;
        word(f, "sport", self.sport)?;
        word(f, "dport", self.dport)?;
        word(f, "in", self.input)?;
        word(f, "out", self.output)?;
        word(
            f,
            "hook",
            (self.hooks != HookSet::ALL).then_some(self.hooks),
        )?;
        word(
            f,
            "netns",
            (self.netns != NetnsMatch::Any).then_some(self.netns),
        )
    }
}
