// SPDX-License-Identifier: GPL-2.0

//! Packets that are put together by etherparse from a plan; what must be read from them follows
//! from the plan, never from the bytes.

use std::net::{Ipv4Addr, Ipv6Addr};

use ctrfw_core::family::Family;
use ctrfw_core::fragment::Fragment;
use ctrfw_core::packet::{Headers, Reason, TcpFlags, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::proto::Protocol;
use etherparse::{
    Icmpv4Header, Icmpv4Type, Icmpv6Header, Icmpv6Type, IpAuthHeader, IpFragOffset, IpNumber,
    Ipv4Header, Ipv6FragmentHeader, Ipv6Header, Ipv6RawExtHeader, TcpHeader, UdpHeader,
};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// An IPv6 extension header; the sizes are in units of 8 bytes (4 for `Auth`) above the least.
#[derive(Clone, Copy, Debug)]
pub enum Extension {
    HopByHop(u8),
    Routing(u8),
    Destination(u8),
    Auth(u8),
    Fragment { offset: u16, more: bool },
}

impl Extension {
    fn number(self) -> u8 {
        match self {
            Self::HopByHop(_) => 0,
            Self::Routing(_) => 43,
            Self::Destination(_) => 60,
            Self::Auth(_) => 51,
            Self::Fragment { .. } => 44,
        }
    }

    fn bytes(self, next: u8) -> Vec<u8> {
        let next = IpNumber(next);
        match self {
            Self::HopByHop(size) | Self::Routing(size) | Self::Destination(size) => {
                let payload = vec![0xee; 6 + 8 * usize::from(size)];
                Ipv6RawExtHeader::new_raw(next, &payload)
                    .unwrap()
                    .to_bytes()
                    .to_vec()
            }
            Self::Auth(size) => {
                let icv = vec![0xee; 4 * usize::from(size)];
                IpAuthHeader::new(next, 1, 2, &icv)
                    .unwrap()
                    .to_bytes()
                    .to_vec()
            }
            Self::Fragment { offset, more } => Ipv6FragmentHeader {
                next_header: next,
                fragment_offset: IpFragOffset::try_new(offset).unwrap(),
                more_fragments: more,
                identification: 0xeeee_eeee,
            }
            .to_bytes()
            .to_vec(),
        }
    }
}

/// The transport header.
#[derive(Clone, Copy, Debug)]
pub enum Payload {
    Tcp { source: u16, dest: u16, flags: u8 },
    Udp { source: u16, dest: u16 },
    Ports { proto: u8, source: u16, dest: u16 },
    Icmpv4 { kind: u8, code: u8 },
    Icmpv6 { kind: u8, code: u8 },
    Other { proto: u8 },
}

impl Payload {
    fn number(self) -> u8 {
        match self {
            Self::Tcp { .. } => 6,
            Self::Udp { .. } => 17,
            Self::Icmpv4 { .. } => 1,
            Self::Icmpv6 { .. } => 58,
            Self::Ports { proto, .. } | Self::Other { proto } => proto,
        }
    }

    fn bytes(self) -> Vec<u8> {
        match self {
            Self::Tcp {
                source,
                dest,
                flags,
            } => {
                let mut header = TcpHeader::new(source, dest, 0xeeee_eeee, 0xeeee);
                header.fin = flags & 0x01 != 0;
                header.syn = flags & 0x02 != 0;
                header.rst = flags & 0x04 != 0;
                header.psh = flags & 0x08 != 0;
                header.ack = flags & 0x10 != 0;
                header.urg = flags & 0x20 != 0;
                header.ece = flags & 0x40 != 0;
                header.cwr = flags & 0x80 != 0;
                header.to_bytes().to_vec()
            }
            Self::Udp { source, dest } => UdpHeader {
                source_port: source,
                destination_port: dest,
                length: 8,
                checksum: 0xeeee,
            }
            .to_bytes()
            .to_vec(),
            Self::Ports { source, dest, .. } => [
                source.to_be_bytes(),
                dest.to_be_bytes(),
                [0xee; 2],
                [0xee; 2],
            ]
            .concat(),
            Self::Icmpv4 { kind, code } => Icmpv4Header::new(Icmpv4Type::Unknown {
                type_u8: kind,
                code_u8: code,
                bytes5to8: [0xee; 4],
            })
            .to_bytes()
            .to_vec(),
            Self::Icmpv6 { kind, code } => Icmpv6Header::new(Icmpv6Type::Unknown {
                type_u8: kind,
                code_u8: code,
                bytes5to8: [0xee; 4],
            })
            .to_bytes()
            .to_vec(),
            Self::Other { .. } => vec![],
        }
    }

    /// What is read of it where `len` bytes of it are in the datagram.
    fn expected(self, len: usize) -> Result<Transport, Reason> {
        let (needed, transport) = match self {
            Self::Tcp {
                source,
                dest,
                flags,
            } => {
                // The flags are the 14th byte.
                let flags = (len >= 14).then_some(TcpFlags(flags));
                (
                    4,
                    Transport::Ports {
                        source,
                        dest,
                        flags,
                    },
                )
            }
            Self::Udp { source, dest } | Self::Ports { source, dest, .. } => {
                let flags = None;
                (
                    4,
                    Transport::Ports {
                        source,
                        dest,
                        flags,
                    },
                )
            }
            Self::Icmpv4 { kind, code } | Self::Icmpv6 { kind, code } => {
                (2, Transport::Icmp { kind, code })
            }
            Self::Other { .. } => (0, Transport::Other),
        };
        if len < needed {
            return Err(Reason::ShortTransport);
        }
        Ok(transport)
    }
}

/// The network header.
#[derive(Clone, Debug)]
pub enum Network {
    V4 {
        addrs: (Ipv4Addr, Ipv4Addr),
        /// Of 4 bytes each.
        options: u8,
        /// In units of 8 bytes.
        offset: u16,
        more: bool,
        dont: bool,
    },
    V6 {
        addrs: (Ipv6Addr, Ipv6Addr),
        extensions: Vec<Extension>,
    },
}

/// A packet before it is one.
#[derive(Clone, Debug)]
pub struct Plan {
    pub network: Network,
    pub payload: Payload,
    /// Bytes of data behind the transport header.
    pub data: usize,
}

impl Plan {
    pub fn v4(payload: Payload) -> Self {
        Self {
            network: Network::V4 {
                addrs: (Ipv4Addr::new(10, 1, 0, 2), Ipv4Addr::new(10, 1, 0, 1)),
                options: 0,
                offset: 0,
                more: false,
                dont: true,
            },
            payload,
            data: 4,
        }
    }

    pub fn v4_fragment(payload: Payload, offset: u16, more: bool) -> Self {
        let mut plan = Self::v4(payload);
        if let Network::V4 {
            offset: o,
            more: m,
            dont,
            ..
        } = &mut plan.network
        {
            (*o, *m, *dont) = (offset, more, false);
        }
        plan
    }

    pub fn v6(extensions: &[Extension], payload: Payload) -> Self {
        Self {
            network: Network::V6 {
                addrs: (
                    "2001:db8::2".parse().unwrap(),
                    "2001:db8::1".parse().unwrap(),
                ),
                extensions: extensions.to_vec(),
            },
            payload,
            data: 4,
        }
    }

    pub fn family(&self) -> Family {
        match self.network {
            Network::V4 { .. } => Family::Ipv4,
            Network::V6 { .. } => Family::Ipv6,
        }
    }

    pub fn addrs(&self) -> AddrPair {
        match self.network {
            Network::V4 {
                addrs: (from, to), ..
            } => AddrPair::v4(from, to),
            Network::V6 {
                addrs: (from, to), ..
            } => AddrPair::v6(from, to),
        }
    }

    /// The length of the header that every packet of the family has.
    pub fn fixed_len(&self) -> usize {
        match self.network {
            Network::V4 { .. } => 20,
            Network::V6 { .. } => 40,
        }
    }

    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        let mut payload = self.payload.bytes();
        payload.resize(payload.len() + self.data, 0xdd);
        match &self.network {
            Network::V4 {
                addrs,
                options,
                offset,
                more,
                dont,
            } => {
                let mut header = Ipv4Header::new(
                    payload.len().try_into().unwrap(),
                    64,
                    IpNumber(self.payload.number()),
                    addrs.0.octets(),
                    addrs.1.octets(),
                )
                .unwrap();
                header.options = vec![1; 4 * usize::from(*options)]
                    .as_slice()
                    .try_into()
                    .unwrap();
                header.set_payload_len(payload.len()).unwrap();
                header.fragment_offset = IpFragOffset::try_new(*offset).unwrap();
                header.more_fragments = *more;
                header.dont_fragment = *dont;
                header.write(&mut bytes).unwrap();
            }
            Network::V6 { addrs, extensions } => {
                let mut next = self.payload.number();
                for extension in extensions.iter().rev() {
                    payload = [extension.bytes(next), payload].concat();
                    next = extension.number();
                }
                Ipv6Header {
                    payload_length: payload.len().try_into().unwrap(),
                    next_header: IpNumber(next),
                    hop_limit: 64,
                    source: addrs.0.octets(),
                    destination: addrs.1.octets(),
                    ..Ipv6Header::default()
                }
                .write(&mut bytes)
                .unwrap();
            }
        }
        bytes.extend_from_slice(&payload);
        bytes
    }

    /// What must be read if the datagram has `end` bytes, and its header says so.
    pub fn expected(&self, end: usize) -> Headers {
        let mut headers = Headers {
            addrs: None,
            proto: None,
            transport: Transport::Unreadable,
            fragment: Fragment::No,
            len: end as u32,
            unparsed: None,
        };
        headers.unparsed = self.fill(&mut headers, end).err();
        headers
    }

    fn fill(&self, headers: &mut Headers, end: usize) -> Result<(), Reason> {
        if end < self.fixed_len() {
            return Err(Reason::ShortHeader);
        }
        headers.addrs = Some(self.addrs());
        match &self.network {
            Network::V4 {
                options,
                offset,
                more,
                ..
            } => {
                let header_len = 20 + 4 * usize::from(*options);
                if end < header_len {
                    return Err(Reason::TotalLength);
                }
                headers.proto = Some(Protocol(self.payload.number()));
                if *more {
                    headers.fragment = Fragment::First;
                }
                if *offset > 0 {
                    return self.fill_later(headers, *offset, self.payload.number());
                }
                headers.transport = self.payload.expected(end - header_len)?;
            }
            Network::V6 { extensions, .. } => {
                let mut at = 40;
                for (index, extension) in extensions.iter().enumerate() {
                    if index == 16 {
                        return Err(Reason::ManyExtensions);
                    }
                    let len = extension.bytes(0).len();
                    let readable = match extension {
                        Extension::Fragment { .. } => 8,
                        _ => 2,
                    };
                    if end < at + readable {
                        return Err(Reason::ShortExtension);
                    }
                    if let Extension::Fragment { offset, more } = extension {
                        if *more {
                            headers.fragment = Fragment::First;
                        }
                        if *offset > 0 {
                            let next = extensions
                                .get(index + 1)
                                .map_or(self.payload.number(), |extension| extension.number());
                            return self.fill_later(headers, *offset, next);
                        }
                    }
                    at += len;
                    if end < at {
                        return Err(Reason::ShortExtension);
                    }
                }
                headers.proto = Some(Protocol(self.payload.number()));
                headers.transport = self.payload.expected(end - at)?;
            }
        }
        Ok(())
    }

    /// A later fragment, of a payload that begins with a header of kind `next`.
    fn fill_later(&self, headers: &mut Headers, offset: u16, next: u8) -> Result<(), Reason> {
        headers.fragment = Fragment::Later(u32::from(offset) * 8);
        headers.transport = Transport::LaterFragment;
        let extension = self.family() == Family::Ipv6 && [0, 43, 44, 51, 60].contains(&next);
        headers.proto = (!extension).then_some(Protocol(next));
        if next == 6 && offset == 1 {
            headers.transport = Transport::Unreadable;
            return Err(Reason::TinyOffset);
        }
        Ok(())
    }

    /// Makes the header say that the datagram has `end` bytes.
    pub fn set_len(&self, bytes: &mut [u8], end: usize) {
        match self.network {
            Network::V4 { .. } => bytes[2..4].copy_from_slice(&(end as u16).to_be_bytes()),
            Network::V6 { .. } => bytes[4..6].copy_from_slice(&(end as u16 - 40).to_be_bytes()),
        }
    }
}

fn payload() -> impl Strategy<Value = Payload> {
    // Everything that is neither followed nor read.
    let other: Vec<u8> = (0..=255)
        .filter(|number| ![0, 1, 6, 17, 33, 43, 44, 51, 58, 60, 132, 136].contains(number))
        .collect();
    prop_oneof![
        4 => any::<(u16, u16, u8)>()
            .prop_map(|(source, dest, flags)| Payload::Tcp { source, dest, flags }),
        2 => any::<(u16, u16)>().prop_map(|(source, dest)| Payload::Udp { source, dest }),
        2 => (select(vec![33, 132, 136]), any::<u16>(), any::<u16>())
            .prop_map(|(proto, source, dest)| Payload::Ports { proto, source, dest }),
        1 => any::<(u8, u8)>().prop_map(|(kind, code)| Payload::Icmpv4 { kind, code }),
        1 => any::<(u8, u8)>().prop_map(|(kind, code)| Payload::Icmpv6 { kind, code }),
        2 => select(other).prop_map(|proto| Payload::Other { proto }),
    ]
}

/// Mostly none, and the ones around the TCP header's end.
fn offset() -> impl Strategy<Value = u16> {
    prop_oneof![6 => Just(0), 1 => 1..=3u16, 1 => 0..=IpFragOffset::MAX_U16]
}

fn network() -> BoxedStrategy<Network> {
    let v4 = (
        any::<(Ipv4Addr, Ipv4Addr)>(),
        0..=10u8,
        offset(),
        any::<bool>(),
        any::<bool>(),
    )
        .prop_map(|(addrs, options, offset, more, dont)| Network::V4 {
            addrs,
            options,
            offset,
            more,
            dont,
        });
    let extension = prop_oneof![
        2 => (0..4u8).prop_map(Extension::HopByHop),
        2 => (0..4u8).prop_map(Extension::Routing),
        2 => (0..4u8).prop_map(Extension::Destination),
        2 => (0..4u8).prop_map(Extension::Auth),
        1 => (offset(), any::<bool>())
            .prop_map(|(offset, more)| Extension::Fragment { offset, more }),
    ];
    let extensions = prop_oneof![
        6 => vec(extension.clone(), 0..5),
        // Around the most that are followed.
        1 => vec(extension, 14..20),
    ];
    let v6 = (any::<(Ipv6Addr, Ipv6Addr)>(), extensions)
        .prop_map(|(addrs, extensions)| Network::V6 { addrs, extensions });
    prop_oneof![v4, v6].boxed()
}

/// Packets of every kind.
pub fn plan() -> BoxedStrategy<Plan> {
    (network(), payload(), 0..40usize)
        .prop_map(|(network, payload, data)| Plan {
            network,
            payload,
            data,
        })
        .boxed()
}
