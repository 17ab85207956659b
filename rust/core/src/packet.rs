// SPDX-License-Identifier: GPL-2.0

//! What a packet says of itself, read without trusting a word of it.
//!
//! Nothing but bytes that are there is read, and lengths are believed only as far as they lie
//! inside the packet. A field that cannot be read is absent from [`Headers`], and
//! [`Headers::unparsed`] tells why.

use core::fmt;
use core::net::{Ipv4Addr, Ipv6Addr};

use crate::cgroup::SocketCgroup;
use crate::family::Family;
use crate::flow::Flow;
use crate::fragment::{Fragment, Place};
use crate::hook::Hook;
use crate::iface::IfName;
use crate::netns::NetnsId;
use crate::pair::AddrPair;
use crate::proto::Protocol;
use crate::writer::Writer;

/// Most extension headers that are followed before a packet counts as unparsed.
///
/// RFC 8200 lets each kind occur once, destination options twice.
pub const MAX_EXTENSION_HEADERS: usize = 16;

/// The bytes of a packet, from its network header on.
pub trait Source {
    /// How many bytes there are.
    fn len(&self) -> u32;

    /// Whether there are none.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The `N` bytes at `offset`; [`None`] if any of them is not there.
    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]>;
}

impl Source for [u8] {
    fn len(&self) -> u32 {
        <[u8]>::len(self).try_into().unwrap_or(u32::MAX)
    }

    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        self.get(usize::try_from(offset).ok()?..)?
            .first_chunk()
            .copied()
    }
}

/// TCP's flags, the byte as it is in the header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpFlags(pub u8);

impl TcpFlags {
    /// Prints them to anything; [`fmt::Display`] does the same.
    pub(crate) fn write(self, to: &mut impl Writer) -> fmt::Result {
        const NAMES: [&str; 8] = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"];
        let mut left = self.0;
        let mut separator = "";
        for name in NAMES {
            if left & 1 != 0 {
                to.write_str(separator)?;
                to.write_str(name)?;
                separator = ",";
            }
            left >>= 1;
        }
        if separator.is_empty() {
            to.write_str("-")?;
        }
        Ok(())
    }
}

impl fmt::Display for TcpFlags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// What follows the network headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A protocol with ports; the flags are TCP's, if they could be read.
    Ports {
        /// Source port
        source: u16,
        /// Destination port
        dest: u16,
        /// TCP's flags
        flags: Option<TcpFlags>,
    },
    /// ICMP or ICMPv6.
    Icmp {
        /// Type
        kind: u8,
        /// Code
        code: u8,
    },
    /// A protocol without ports.
    Other,
    /// Nothing of the transport header: the packet is a later fragment.
    LaterFragment,
    /// Something that cannot be read.
    Unreadable,
}

/// Why a packet could not be parsed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// It ends within the IP header.
    ShortHeader,
    /// The IP header is not of the family that the hook is for.
    Version,
    /// The IPv4 header says that it is shorter than can be.
    HeaderLength,
    /// The IP header says that the packet is longer than it is, or shorter than its header.
    TotalLength,
    /// It ends within an extension header.
    ShortExtension,
    /// More than [`MAX_EXTENSION_HEADERS`].
    ManyExtensions,
    /// It ends within the transport header.
    ShortTransport,
    /// A fragment that would overwrite the TCP header (RFC 1858, RFC 3128).
    TinyOffset,
}

impl Reason {
    const ALL: [Self; 8] = [
        Self::ShortHeader,
        Self::Version,
        Self::HeaderLength,
        Self::TotalLength,
        Self::ShortExtension,
        Self::ManyExtensions,
        Self::ShortTransport,
        Self::TinyOffset,
    ];

    /// A number for it, from 1.
    #[inline]
    pub(crate) fn code(self) -> u8 {
        (self as u8).saturating_add(1)
    }

    /// The reason with that number.
    pub(crate) fn from_code(code: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.code() == code)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::ShortHeader => "short-header",
            Self::Version => "version",
            Self::HeaderLength => "header-length",
            Self::TotalLength => "total-length",
            Self::ShortExtension => "short-extension",
            Self::ManyExtensions => "many-extensions",
            Self::ShortTransport => "short-transport",
            Self::TinyOffset => "tiny-offset",
        })
    }
}

/// The fields of a packet's headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Headers {
    /// Source and destination address.
    pub addrs: Option<AddrPair>,
    /// The protocol of the payload, behind all extension headers.
    pub proto: Option<Protocol>,
    /// The transport header.
    pub transport: Transport,
    /// The packet's place in a fragmented datagram.
    pub fragment: Fragment,
    /// Length in bytes, from the network header to the end of the datagram.
    pub len: u32,
    /// Why not everything could be read.
    pub unparsed: Option<Reason>,
}

impl Headers {
    /// Parses the headers of a packet that a hook for `family` got.
    pub fn parse<S: Source + ?Sized>(family: Family, source: &S) -> Self {
        let mut headers = Self {
            addrs: None,
            proto: None,
            transport: Transport::Unreadable,
            fragment: Fragment::No,
            len: source.len(),
            unparsed: None,
        };
        let parsed = match family {
            Family::Ipv4 => headers.parse_ipv4(source),
            Family::Ipv6 => headers.parse_ipv6(source),
        };
        headers.unparsed = parsed.err();
        headers
    }

    /// The length of the same packet, as [`Self::parse`] finds it, without anything else.
    #[inline]
    pub fn len_of<S: Source + ?Sized>(family: Family, source: &S) -> u32 {
        let available = source.len();
        let said = match family {
            Family::Ipv4 => source.read::<20>(0).and_then(|header| {
                let [ihl, _, t0, t1, ..] = header;
                let header_len = u32::from(ihl & 0xf) << 2;
                let right = ihl >> 4 == 4 && header_len >= 20;
                right.then(|| total_len_v4(available, [t0, t1], header_len))?
            }),
            Family::Ipv6 => source.read::<40>(0).and_then(|header| {
                let [version, _, _, _, p0, p1, ..] = header;
                (version >> 4 == 6).then(|| total_len_v6(available, [p0, p1]))?
            }),
        };
        said.unwrap_or(available)
    }

    fn parse_ipv4<S: Source + ?Sized>(&mut self, source: &S) -> Result<(), Reason> {
        let header = source.read::<20>(0).ok_or(Reason::ShortHeader)?;
        let [version_ihl, _, t0, t1, _, _, f0, f1, _, proto, _, _, s0, s1, s2, s3, d0, d1, d2, d3] =
            header;
        if version_ihl >> 4 != 4 {
            return Err(Reason::Version);
        }
        self.addrs = Some(AddrPair::v4(
            Ipv4Addr::new(s0, s1, s2, s3),
            Ipv4Addr::new(d0, d1, d2, d3),
        ));
        let header_len = u32::from(version_ihl & 0xf) << 2;
        if header_len < 20 {
            return Err(Reason::HeaderLength);
        }
        self.len = total_len_v4(self.len, [t0, t1], header_len).ok_or(Reason::TotalLength)?;
        if header_len > self.len {
            return Err(Reason::ShortHeader);
        }
        let proto = Protocol(proto);
        self.proto = Some(proto);

        let fragment = u16::from_be_bytes([f0, f1]);
        let offset = u32::from(fragment & 0x1fff) << 3;
        let more = fragment & 0x2000 != 0;
        self.parse_transport(source, proto, header_len, offset, more)
    }

    fn parse_ipv6<S: Source + ?Sized>(&mut self, source: &S) -> Result<(), Reason> {
        let [version, _, _, _, p0, p1, mut next, _] =
            source.read::<8>(0).ok_or(Reason::ShortHeader)?;
        let from = source.read::<16>(8).ok_or(Reason::ShortHeader)?;
        let to = source.read::<16>(24).ok_or(Reason::ShortHeader)?;
        if version >> 4 != 6 {
            return Err(Reason::Version);
        }
        self.addrs = Some(AddrPair::v6(Ipv6Addr::from(from), Ipv6Addr::from(to)));
        self.len = total_len_v6(self.len, [p0, p1]).ok_or(Reason::TotalLength)?;

        let mut at = 40u32;
        for _ in 0..MAX_EXTENSION_HEADERS {
            let size = match next {
                // Hop-by-hop options, routing, destination options
                0 | 43 | 60 => {
                    let [following, len] = self.read(source, at).ok_or(Reason::ShortExtension)?;
                    next = following;
                    u32::from(len).saturating_add(1) << 3
                }
                // Authentication header
                51 => {
                    let [following, len] = self.read(source, at).ok_or(Reason::ShortExtension)?;
                    next = following;
                    u32::from(len).saturating_add(2) << 2
                }
                // Fragment
                44 => {
                    let [following, _, o0, o1, _, _, _, _] =
                        self.read(source, at).ok_or(Reason::ShortExtension)?;
                    next = following;
                    let field = u16::from_be_bytes([o0, o1]);
                    let offset = u32::from(field & 0xfff8);
                    if field & 1 != 0 {
                        self.fragment = Fragment::First;
                    }
                    if offset != 0 {
                        // In what follows no further header can be told from data.
                        self.fragment = Fragment::Later(offset);
                        self.transport = Transport::LaterFragment;
                        if is_extension(next) {
                            return Ok(());
                        }
                        self.proto = Some(Protocol(next));
                        return self.check_offset(Protocol(next), offset);
                    }
                    8
                }
                _ => break,
            };
            at = at.saturating_add(size);
            if at > self.len {
                return Err(Reason::ShortExtension);
            }
        }
        if is_extension(next) {
            return Err(Reason::ManyExtensions);
        }
        let proto = Protocol(next);
        self.proto = Some(proto);
        self.parse_transport(source, proto, at, 0, false)
    }

    /// Reads the transport header at `at`, or notes why there is none.
    fn parse_transport<S: Source + ?Sized>(
        &mut self,
        source: &S,
        proto: Protocol,
        at: u32,
        offset: u32,
        more: bool,
    ) -> Result<(), Reason> {
        if offset != 0 {
            self.fragment = Fragment::Later(offset);
            self.transport = Transport::LaterFragment;
            return self.check_offset(proto, offset);
        }
        if more {
            self.fragment = Fragment::First;
        }
        if proto.has_ports() {
            let [s0, s1, d0, d1] = self.read(source, at).ok_or(Reason::ShortTransport)?;
            let flags = if proto == Protocol::TCP {
                let at = at.saturating_add(13);
                self.read(source, at).map(|[flags]| TcpFlags(flags))
            } else {
                None
            };
            self.transport = Transport::Ports {
                source: u16::from_be_bytes([s0, s1]),
                dest: u16::from_be_bytes([d0, d1]),
                flags,
            };
        } else if matches!(proto, Protocol::ICMP | Protocol::ICMPV6) {
            let [kind, code] = self.read(source, at).ok_or(Reason::ShortTransport)?;
            self.transport = Transport::Icmp { kind, code };
        } else {
            self.transport = Transport::Other;
        }
        Ok(())
    }

    /// Its place in its datagram; [`None`] where the headers could not be read so far.
    #[inline]
    pub fn place(&self) -> Option<Place> {
        match self.fragment {
            // The protocol is read after what tells of fragments, but for an IPv4 header that lies.
            Fragment::No if self.proto.is_none() => None,
            fragment => Some(fragment.place()),
        }
    }

    /// A later fragment must lie behind the TCP header's ports and flags.
    fn check_offset(&mut self, proto: Protocol, offset: u32) -> Result<(), Reason> {
        if proto == Protocol::TCP && offset < 16 {
            self.transport = Transport::Unreadable;
            return Err(Reason::TinyOffset);
        }
        Ok(())
    }

    /// The `N` bytes at `at`, if the datagram has them: what lies behind it is padding.
    fn read<const N: usize>(&self, source: &(impl Source + ?Sized), at: u32) -> Option<[u8; N]> {
        let end = at.checked_add(u32::try_from(N).ok()?)?;
        if end > self.len {
            return None;
        }
        source.read(at)
    }
}

/// How long an IPv4 packet is with this field in its header, of whose data there are `available` bytes;
/// [`None`] if that cannot be.
#[inline]
pub(crate) fn total_len_v4(available: u32, field: [u8; 2], header_len: u32) -> Option<u32> {
    match u32::from(u16::from_be_bytes(field)) {
        // What a GSO packet of more than 64 KiB has.
        0 => Some(available),
        total => (header_len..=available).contains(&total).then_some(total),
    }
}

/// The same for IPv6.
#[inline]
pub(crate) fn total_len_v6(available: u32, field: [u8; 2]) -> Option<u32> {
    match u32::from(u16::from_be_bytes(field)) {
        // What a jumbogram has, and a GSO packet of more than 64 KiB.
        0 => Some(available),
        payload => Some(payload.saturating_add(40)).filter(|total| *total <= available),
    }
}

/// Whether `next` stands for an IPv6 extension header that is followed.
#[inline]
pub(crate) fn is_extension(next: u8) -> bool {
    // Hop-by-hop options, routing, fragment, authentication header, destination options
    matches!(next, 0 | 43 | 44 | 51 | 60)
}

/// A packet at a hook: all that a rule can ask about.
#[derive(Clone, Copy, Debug)]
pub struct Packet {
    /// The hook it is at.
    pub hook: Hook,
    /// The namespace whose hook it is.
    pub netns: NetnsId,
    /// The interface it came in by.
    pub input: IfName,
    /// The interface it will leave by.
    pub output: IfName,
    /// The bridge port that it came in by, where br_netfilter knows it.
    pub phys_input: IfName,
    /// The bridge port that it will leave by, where br_netfilter knows it.
    pub phys_output: IfName,
    /// Its firewall mark.
    pub mark: u32,
    /// The family whose hook it is.
    pub family: Family,
    /// Its headers.
    pub headers: Headers,
    /// What connection tracking knows of it.
    pub flow: Flow,
    /// The cgroup of its socket.
    pub cgroup: SocketCgroup,
}

impl Packet {
    /// A packet of which no more is known than this.
    #[inline]
    pub fn new(hook: Hook, netns: NetnsId, family: Family, headers: Headers) -> Self {
        Self {
            hook,
            netns,
            input: IfName::default(),
            output: IfName::default(),
            phys_input: IfName::default(),
            phys_output: IfName::default(),
            mark: 0,
            family,
            headers,
            flow: Flow::Unasked,
            cgroup: SocketCgroup::Unknown,
        }
    }
}
