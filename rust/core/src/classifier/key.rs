// SPDX-License-Identifier: GPL-2.0

//! What of a packet a classifier looks at.

use crate::iface::IfName;
use crate::key;
use crate::matcher;
use crate::netns::NetnsId;
use crate::packet::{Packet, Transport};

use super::spans::{PortPair, CARRY};
use super::word::Word;

/// What can be told of a packet, by which it is told which rules may be for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// Everything, ports included.
    Ports,
    /// Everything, and it has no ports.
    Portless,
    /// It is a later fragment: what its transport header has is in another one.
    Fragment,
    /// Its addresses, and not all of the rest.
    Garbled,
}

impl Class {
    /// All of them.
    pub(crate) const ALL: [Self; 4] = [Self::Ports, Self::Portless, Self::Fragment, Self::Garbled];

    /// The class of a packet; [`None`] if it does not even show addresses.
    pub(crate) fn of(packet: &Packet) -> Option<Self> {
        packet.headers.addrs?;
        Some(match packet.headers.transport {
            _ if packet.headers.unparsed.is_some() => Self::Garbled,
            Transport::Ports { .. } => Self::Ports,
            Transport::Icmp { .. } | Transport::Other => Self::Portless,
            Transport::LaterFragment => Self::Fragment,
            Transport::Unreadable => Self::Garbled,
        })
    }

    /// Whether protocol and ports are told.
    #[inline]
    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Self::Ports | Self::Portless)
    }
}

/// A field, besides addresses, ports and protocol, of which a rule may ask for one value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extra {
    /// No field
    None,
    /// The namespace's number
    Netns,
    /// The interface it came in by
    In,
    /// The interface it will leave by
    Out,
    /// The bridge port it came in by
    PortIn,
    /// The bridge port it will leave by
    PortOut,
}

impl Extra {
    /// The interface that a word is about, if it is about one.
    pub(crate) fn of(key: matcher::Key) -> Self {
        match key {
            matcher::Key::In => Self::In,
            matcher::Key::Out => Self::Out,
            matcher::Key::PortIn => Self::PortIn,
            matcher::Key::PortOut => Self::PortOut,
            _ => Self::None,
        }
    }

    /// All there are, but for none.
    pub(crate) const ALL: [Self; 5] = [
        Self::Netns,
        Self::In,
        Self::Out,
        Self::PortIn,
        Self::PortOut,
    ];
}

/// The extra fields of a packet.
pub(crate) struct Extras {
    /// By the number of the [`Extra`]
    values: [u32; 8],
}

/// The fields of a packet.
// It is never written to memory, which its readers would wait for, as long as all that uses it is inlined.
#[derive(Clone, Copy)]
pub(crate) struct Key<'a, A: Word> {
    pub(super) addrs: A::Pair,
    /// As [`rest`] makes it
    pub(super) rest: u64,
    pub(super) ports: PortPair,
    /// [`CARRY`] if the ports are told, and the lowest byte if the protocol is
    pub(super) told: u64,
    pub(super) class: Class,
    extras: &'a Extras,
}

/// Ports and protocol as one number, in which bits 8 to 16 are 0.
// Ports are not its upper bits: what is shifted to these is read together with what is beside it, and waits
// until both are in memory.
#[inline(always)]
pub(super) fn rest(sport: u16, dport: u16, proto: u8) -> u64 {
    (u64::from(sport) << 32) | (u64::from(dport) << 16) | u64::from(proto)
}

/// A number for an interface's name; two names may have the same.
pub(crate) fn digest(name: &[u8]) -> u32 {
    name.iter().fold(name.len() as u32, |digest, byte| {
        (digest ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    })
}

impl Extras {
    /// What is told of nothing.
    pub(crate) const NONE: Self = Self { values: [0; 8] };

    /// Those `wanted` of a packet, a bit for each.
    #[inline(never)]
    pub(crate) fn of(packet: &Packet, wanted: u8) -> Self {
        Self::told(wanted, packet.netns, |extra| match extra {
            Extra::In => packet.input,
            Extra::Out => packet.output,
            Extra::PortIn => packet.phys_input,
            Extra::PortOut => packet.phys_output,
            Extra::None | Extra::Netns => IfName::default(),
        })
    }

    /// The same of a packet with this key, in this namespace.
    #[inline(never)]
    pub(crate) fn plain(packet: &key::Key<'_>, netns: NetnsId, wanted: u8) -> Self {
        let names = packet.names().copied().unwrap_or_default();
        let ([input, output], [phys_input, phys_output]) = (names.devices, names.ports);
        Self::told(wanted, netns, |extra| {
            IfName::from_words(match extra {
                Extra::In => input,
                Extra::Out => output,
                Extra::PortIn => phys_input,
                Extra::PortOut => phys_output,
                Extra::None | Extra::Netns => [0; 2],
            })
        })
    }

    #[inline]
    fn told(wanted: u8, netns: NetnsId, name: impl Fn(Extra) -> IfName) -> Self {
        let mut extras = Self::NONE;
        for extra in Extra::ALL {
            if wanted & 1u8.wrapping_shl(extra as u32) == 0 {
                continue;
            }
            let value = match extra {
                Extra::Netns => netns.inode,
                extra => digest(name(extra).as_bytes()),
            };
            if let Some(place) = extras.values.get_mut(extra as usize) {
                *place = value;
            }
        }
        extras
    }

    /// The value of the field with this number.
    #[inline(always)]
    fn get(&self, extra: u8) -> u32 {
        let place = usize::from(extra & 7);
        self.values.get(place).copied().unwrap_or(0)
    }
}

impl<'a, A: Word> Key<'a, A> {
    /// The fields of a packet with this key, of which everything is told; [`None`] if it is of the other family.
    #[inline(always)]
    pub(crate) fn plain(packet: &key::Key<'_>, extras: &'a Extras) -> Option<Self> {
        let (class, (sport, dport)) = match packet.ports() {
            Some(ports) => (Class::Ports, ports),
            None => (Class::Portless, (0, 0)),
        };
        Some(Self {
            addrs: A::of(packet.addrs())?,
            rest: rest(sport, dport, packet.proto().0),
            ports: PortPair::new(sport, dport),
            // No rule asks for ports that is looked for among those for packets without; and what is known
            // when this is compiled is not compared.
            told: u64::MAX,
            class,
            extras,
        })
    }

    /// The fields of a packet; [`None`] if it does not show addresses of this family.
    #[inline(always)]
    pub(crate) fn of(packet: &Packet, extras: &'a Extras) -> Option<Self> {
        let headers = &packet.headers;
        let addrs = headers.addrs.and_then(A::of)?;
        let class = Class::of(packet)?;
        let (sport, dport, has) = match headers.transport {
            Transport::Ports { source, dest, .. } => (source, dest, CARRY),
            _ => (0, 0, 0),
        };
        let (proto, known) = headers.proto.map_or((0, 0), |proto| (proto.0, 0xff));
        Some(Self {
            addrs,
            rest: rest(sport, dport, proto),
            ports: PortPair::new(sport, dport),
            told: has | known,
            class,
            extras,
        })
    }

    /// The value of the extra field with this number.
    #[inline(always)]
    pub(super) fn extra(&self, extra: u8) -> u32 {
        self.extras.get(extra)
    }
}
