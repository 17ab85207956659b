// SPDX-License-Identifier: GPL-2.0

//! What tells packets apart that a table decides about alike, without the parsing of all headers.

use crate::family::Family;
use crate::flags::Flag;
use crate::flow::State;
use crate::hook::Hook;
use crate::packet::{is_extension, total_len_v4, total_len_v6, Source};
use crate::proto::Protocol;

/// The kernel's field for the name of a device, as it is, in words as [`IfName::from_words`] takes them; all
/// zero where there is no device.
///
/// [`IfName::from_words`]: crate::iface::IfName::from_words
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
    /// Source and destination; of IPv4 both are in the first word.
    pub(crate) addrs: [u64; 4],
    /// Ports, or ICMP type and code; protocol, hook, family, and the state of the connection
    pub(crate) header: u64,
    /// A number that no other namespace ever has
    pub(crate) netns: u64,
    /// The firewall mark
    pub(crate) mark: u32,
    /// The names of devices, if they matter.
    pub(crate) names: Option<&'a Names>,
}

impl<'a> Key<'a> {
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
        let (addrs, proto, len, transport, at, version) = match family {
            Family::Ipv4 => {
                let bytes = source.read::<24>(0)?;
                let (ip, transport) = bytes.split_first_chunk::<20>()?;
                let [ihl, _, t0, t1, _, _, f0, f1, _, proto, _, _, addrs @ ..] = *ip;
                // Of the flags "don't fragment" says nothing.
                if ihl != 0x45 || (f0 & 0x3f) | f1 != 0 {
                    return None;
                }
                let len = total_len_v4(source.len(), [t0, t1], 20)?;
                let addrs = [u64::from_ne_bytes(addrs), 0, 0, 0];
                (addrs, proto, len, *transport.first_chunk()?, 20u32, 0)
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
                    (*addr, rest) = (u64::from_ne_bytes(*word), behind);
                }
                let len = total_len_v6(source.len(), [*p0, *p1])?;
                (addrs, *next, len, *rest.first_chunk()?, 40, 1)
            }
        };
        let protocol = Protocol(proto);
        let (asked, size) = if protocol.has_ports() {
            (u32::MAX, 4)
        } else if protocol.is_icmp() {
            (u32::from_ne_bytes([0xff, 0xff, 0, 0]), 2)
        } else {
            (0, 0)
        };
        if len < at.saturating_add(size) {
            return None;
        }
        let transport = u32::from_ne_bytes(transport) & asked;
        let place = (u64::from(proto) << 24) | ((hook as u64) << 16) | (version << 8);
        let header = (u64::from(transport) << 32) | place;
        let key = Self {
            addrs,
            header,
            netns,
            mark: 0,
            names: None,
        };
        Some((key, len))
    }

    /// Adds the firewall mark.
    #[inline]
    pub fn set_mark(&mut self, mark: u32) {
        self.mark = mark;
    }

    /// Adds what the packet is to its connection.
    #[inline]
    pub fn set_state(&mut self, state: State) {
        self.header = (self.header & !0xff) | u64::from(state.bit());
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

    /// The words but for the mark and the names: all that is in every key.
    #[inline(always)]
    pub(crate) fn words(&self) -> [u64; 6] {
        let [a, b, c, d] = self.addrs;
        [a, b, c, d, self.header, self.netns]
    }
}
