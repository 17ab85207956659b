// SPDX-License-Identifier: GPL-2.0

//! What tells packets apart that a table decides about alike, without the parsing of all headers.

use crate::family::Family;
use crate::flags::Flag;
use crate::flow::{Flow, State};
use crate::fragment::Fragment;
use crate::hook::Hook;
use crate::iface::IfName;
use crate::netns::NetnsId;
use crate::packet::{is_extension, total_len_v4, total_len_v6, Headers, Packet, Source, Transport};
use crate::pair::AddrPair;
use crate::proto::Protocol;

/// The kernel's field for the name of a device, as it is, in words as [`IfName::from_words`] takes them; all
/// zero where there is no device.
pub type NameField = [u64; 2];

/// The names of the devices that a hook has to do with.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Names {
    /// The device that the packet came in by, and the one that it will leave by.
    pub devices: [NameField; 2],
    /// The bridge ports, likewise.
    pub ports: [NameField; 2],
}

impl Names {
    /// How many words they are.
    pub(crate) const WORDS: usize = 8;

    #[inline(always)]
    pub(crate) fn words(&self) -> [u64; Self::WORDS] {
        let ([[a, b], [c, d]], [[e, f], [g, h]]) = (self.devices, self.ports);
        [a, b, c, d, e, f, g, h]
    }
}

/// All that rules may ask of a packet whose headers are plain: no option, no extension header, no
/// fragment, nothing that lies. Where two packets have the same key, one table says the same of both.
///
/// What is not asked for may be left as it is: then it must be left so for all packets that the same
/// table is asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key<'a> {
    /// The hook it is at
    hook: Hook,
    /// The family whose hook it is
    family: Family,
    /// Source and destination, as in an [`AddrPair`]; of IPv4 both are in the first word.
    addrs: [u64; 4],
    /// Source and destination port, or ICMP type and code; from the top
    transport: u32,
    /// The protocol
    proto: Protocol,
    /// What it is to its connection: a bit; 0 if that does not matter
    state: u8,
    /// A number that no other namespace ever has
    pub(crate) netns: u64,
    /// The firewall mark
    pub(crate) mark: u32,
    /// The names of devices, if they matter.
    pub(crate) names: Option<&'a Names>,
}

impl<'a> Key<'a> {
    /// The key of a packet at `hook`: `netns` is a number that no other namespace ever has, `transport` both
    /// ports, or from the top ICMP type and code, or 0.
    #[inline(always)]
    pub fn new(hook: Hook, netns: u64, addrs: AddrPair, proto: Protocol, transport: u32) -> Self {
        Self {
            hook,
            family: addrs.family(),
            addrs: match addrs {
                AddrPair::V4(pair) => [pair, 0, 0, 0],
                AddrPair::V6(addrs) => addrs,
            },
            transport,
            proto,
            state: 0,
            netns,
            mark: 0,
            names: None,
        }
    }

    /// The key of a packet at `hook`, and its length in bytes, from the network header to the end of the
    /// datagram; [`None`] if its headers are not plain, or there is not even a word behind them.
    ///
    /// The length, and all that the key has of the headers, is what [`Headers::parse`] reads.
    ///
    /// [`Headers::parse`]: crate::packet::Headers::parse
    #[inline(always)]
    pub fn of<S: Source + ?Sized>(
        hook: Hook,
        family: Family,
        netns: u64,
        source: &S,
    ) -> Option<(Self, u32)> {
        let (addrs, proto, len, transport, at) = match family {
            Family::Ipv4 => {
                let bytes = source.read::<24>(0)?;
                let (ip, transport) = bytes.split_first_chunk::<20>()?;
                let [ihl, _, t0, t1, _, _, f0, f1, _, proto, _, _, addrs @ ..] = *ip;
                // Of the flags "don't fragment" says nothing.
                if ihl != 0x45 || (f0 & 0x3f) | f1 != 0 {
                    return None;
                }
                let len = total_len_v4(source.len(), [t0, t1], 20)?;
                let addrs = AddrPair::V4(u64::from_be_bytes(addrs));
                (addrs, proto, len, *transport.first_chunk()?, 20u32)
            }
            Family::Ipv6 => {
                let bytes = source.read::<44>(0)?;
                let ([version, _, _, _, p0, p1, next, _], mut rest) = bytes.split_first_chunk()?;
                if version >> 4 != 6 || is_extension(*next) {
                    return None;
                }
                let mut addrs = [0; 4];
                for addr in &mut addrs {
                    let (word, behind) = rest.split_first_chunk()?;
                    (*addr, rest) = (u64::from_be_bytes(*word), behind);
                }
                let len = total_len_v6(source.len(), [*p0, *p1])?;
                (AddrPair::V6(addrs), *next, len, *rest.first_chunk()?, 40)
            }
        };
        let proto = Protocol(proto);
        let (asked, size) = if proto.has_ports() {
            (u32::MAX, 4)
        } else if proto.is_icmp() {
            (0xffff_0000, 2)
        } else {
            (0, 0)
        };
        if len < at.saturating_add(size) {
            return None;
        }
        let transport = u32::from_be_bytes(transport) & asked;
        Some((Self::new(hook, netns, addrs, proto, transport), len))
    }

    /// Adds the firewall mark.
    #[inline]
    pub fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }

    /// Adds what the packet is to its connection.
    #[inline]
    pub fn set_state(&mut self, state: State) {
        self.state = state.bit();
    }

    /// Adds the names of devices.
    #[inline]
    pub fn set_names(&mut self, names: &'a Names) {
        self.names = Some(names);
    }

    /// The names of devices, if they matter.
    #[inline]
    pub fn names(&self) -> Option<&'a Names> {
        self.names
    }

    /// The hook that the packet is at.
    #[inline]
    pub(crate) fn hook(&self) -> Hook {
        self.hook
    }

    /// The family of the packet.
    #[inline]
    pub(crate) fn family(&self) -> Family {
        self.family
    }

    /// The packet's addresses.
    #[inline(always)]
    pub(crate) fn addrs(&self) -> AddrPair {
        let [pair, ..] = self.addrs;
        match self.family {
            Family::Ipv4 => AddrPair::V4(pair),
            Family::Ipv6 => AddrPair::V6(self.addrs),
        }
    }

    /// The packet's protocol.
    #[inline]
    pub(crate) fn proto(&self) -> Protocol {
        self.proto
    }

    /// The source and the destination port of a protocol that has them.
    #[inline(always)]
    pub(crate) fn ports(&self) -> Option<(u16, u16)> {
        let ports = ((self.transport >> 16) as u16, self.transport as u16);
        self.proto.has_ports().then_some(ports)
    }

    /// The packet, in this namespace, as far as the key tells.
    pub(crate) fn packet(&self, netns: NetnsId) -> Packet {
        let [high, low, ..] = self.transport.to_be_bytes();
        let transport = match self.ports() {
            Some((source, dest)) => Transport::Ports {
                source,
                dest,
                flags: None,
            },
            None if self.proto.is_icmp() => Transport::Icmp {
                kind: high,
                code: low,
            },
            None => Transport::Other,
        };
        let headers = Headers {
            addrs: Some(self.addrs()),
            proto: Some(self.proto),
            transport,
            fragment: Fragment::No,
            len: 0,
            unparsed: None,
        };
        let mut packet = Packet::new(self.hook, netns, self.family, headers);
        if let Some(names) = self.names {
            [packet.input, packet.output] = names.devices.map(IfName::from_words);
            [packet.phys_input, packet.phys_output] = names.ports.map(IfName::from_words);
        }
        packet.mark = self.mark;
        let state = State::ALL.iter().find(|state| state.bit() == self.state);
        if let Some(state) = state {
            packet.flow = Flow::Known(*state, None);
        }
        packet
    }

    /// The words but for the mark and the names: all that is in every key.
    #[inline(always)]
    pub(crate) fn words(&self) -> [u64; 6] {
        let [a, b, c, d] = self.addrs;
        let place = (u64::from(self.proto.0) << 24)
            | ((self.hook as u64) << 16)
            | ((self.family as u64) << 8)
            | u64::from(self.state);
        let header = (u64::from(self.transport) << 32) | place;
        [a, b, c, d, header, self.netns]
    }
}
