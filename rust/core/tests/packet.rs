// SPDX-License-Identifier: GPL-2.0

//! Packets as bytes: what is read from them, and what is not.

mod common;

use std::cell::Cell;
use std::net::Ipv6Addr;

use common::plan::{plan, Extension, Network, Payload, Plan};
use ctrfw_core::family::Family;
use ctrfw_core::fragment::Fragment;
use ctrfw_core::packet::{Headers, Reason, Source, TcpFlags, Transport};
use ctrfw_core::pair::AddrPair;
use ctrfw_core::proto::Protocol;
use etherparse::{IpFragOffset, IpNumber, NetSlice, SlicedPacket, TransportSlice};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;

/// Bytes that know how far they were read.
struct Watched<'a> {
    bytes: &'a [u8],
    reach: Cell<usize>,
}

impl<'a> Watched<'a> {
    fn new(bytes: &'a [u8]) -> Self {
        Self {
            bytes,
            reach: Cell::new(0),
        }
    }
}

impl Source for Watched<'_> {
    fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let end = offset as usize + N;
        self.reach.set(self.reach.get().max(end));
        Some(self.bytes.get(offset as usize..end)?.try_into().unwrap())
    }
}

/// Bytes of which those from `gone` on cannot be read, whatever their number.
struct Broken<'a> {
    bytes: &'a [u8],
    gone: usize,
}

impl Source for Broken<'_> {
    fn len(&self) -> u32 {
        self.bytes.len() as u32
    }

    fn read<const N: usize>(&self, offset: u32) -> Option<[u8; N]> {
        let end = offset as usize + N;
        (end <= self.gone).then(|| self.bytes[offset as usize..end].try_into().unwrap())
    }
}

/// Checks that the whole packet is read as planned.
fn check(plan: &Plan) {
    let bytes = plan.bytes();
    let headers = Headers::parse(plan.family(), bytes.as_slice());
    assert_eq!(headers, plan.expected(bytes.len()), "{plan:?}");
}

/// What holds for whatever was read from `bytes`.
fn check_any(family: Family, bytes: &[u8]) -> Headers {
    let watched = Watched::new(bytes);
    let headers = Headers::parse(family, &watched);
    assert_eq!(
        headers,
        Headers::parse(family, bytes),
        "the same from any source"
    );
    assert!(headers.len as usize <= bytes.len());
    if headers.addrs.is_some() {
        let fixed_len = if family == Family::Ipv4 { 20 } else { 40 };
        assert!(watched.reach.get() <= fixed_len.max(headers.len as usize));
    }
    match headers.unparsed {
        Some(Reason::ShortHeader | Reason::Version | Reason::HeaderLength) => {
            assert_eq!((headers.proto, headers.fragment), (None, Fragment::No));
            assert_eq!(headers.transport, Transport::Unreadable);
        }
        Some(_) => {
            assert!(headers.addrs.is_some());
            assert_eq!(headers.transport, Transport::Unreadable);
        }
        None => {
            assert!(headers.addrs.is_some());
            assert_ne!(headers.transport, Transport::Unreadable);
            let later = matches!(headers.fragment, Fragment::Later(_));
            assert_eq!(headers.transport == Transport::LaterFragment, later);
            assert!(headers.proto.is_some() || (later && family == Family::Ipv6));
        }
    }
    headers
}

proptest! {
    #![proptest_config(common::config(4000))]

    #[test]
    fn whole_packets(plan in plan()) {
        check(&plan);
    }

    #[test]
    fn packets_cut_short(plan in plan()) {
        let bytes = plan.bytes();
        for cut in 0..bytes.len() {
            let headers = check_any(plan.family(), &bytes[..cut]);
            let told = cut >= plan.fixed_len();
            prop_assert_eq!(headers.addrs, told.then(|| plan.addrs()));
            let reason = if told { Reason::TotalLength } else { Reason::ShortHeader };
            prop_assert_eq!(headers.unparsed, Some(reason), "{} bytes", cut);
            prop_assert_eq!(headers.len as usize, cut);
        }
    }

    #[test]
    fn datagrams_cut_short_and_padded(plan in plan()) {
        let mut bytes = plan.bytes();
        for end in plan.fixed_len()..=bytes.len() {
            plan.set_len(&mut bytes, end);
            // The IPv6 header's 0 means that the length is not told there.
            if let (Network::V6 { .. }, 40) = (&plan.network, end) {
                prop_assert_eq!(check_any(plan.family(), &bytes[..40]), plan.expected(40));
                continue;
            }
            let padded = check_any(plan.family(), &bytes);
            let mut expected = plan.expected(end);
            prop_assert_eq!(check_any(plan.family(), &bytes[..end]), expected, "{} bytes", end);
            if expected.unparsed == Some(Reason::TotalLength) {
                // The header contradicts itself: its length is not believed.
                expected.len = bytes.len() as u32;
            }
            prop_assert_eq!(padded, expected, "{} bytes, padded", end);
        }
    }

    #[test]
    fn padding_is_not_read(plan in plan(), padding in vec(any::<u8>(), 1..64)) {
        let mut bytes = plan.bytes();
        let len = bytes.len();
        // An IPv6 packet of nothing but its header does not tell its length.
        prop_assume!(plan.family() == Family::Ipv4 || len > 40);
        bytes.extend_from_slice(&padding);
        let watched = Watched::new(&bytes);
        prop_assert_eq!(Headers::parse(plan.family(), &watched), plan.expected(len));
        prop_assert!(watched.reach.get() <= len);
    }

    #[test]
    fn lengths_that_lie(plan in plan(), len in prop_oneof![0..200u16, any::<u16>()]) {
        let mut bytes = plan.bytes();
        let total = match plan.network {
            Network::V4 { .. } => {
                bytes[2..4].copy_from_slice(&len.to_be_bytes());
                usize::from(len)
            }
            Network::V6 { .. } => {
                bytes[4..6].copy_from_slice(&len.to_be_bytes());
                usize::from(len) + 40
            }
        };
        let headers = check_any(plan.family(), &bytes);
        let reason = (total > bytes.len()).then_some(Reason::TotalLength);
        if len == 0 {
            prop_assert_eq!(headers, plan.expected(bytes.len()));
        } else if reason.is_some() {
            prop_assert_eq!(headers.unparsed, reason);
            prop_assert_eq!(headers.addrs, Some(plan.addrs()));
        } else if total >= plan.fixed_len() {
            let mut expected = plan.expected(total);
            if expected.unparsed == Some(Reason::TotalLength) {
                expected.len = bytes.len() as u32;
            }
            prop_assert_eq!(headers, expected);
        } else {
            prop_assert_eq!(headers.unparsed, Some(Reason::TotalLength));
        }
    }

    #[test]
    fn sources_that_fail(plan in plan(), gone: Index) {
        let bytes = plan.bytes();
        let whole = plan.expected(bytes.len());
        let gone = gone.index(bytes.len() + 1);
        let headers = Headers::parse(plan.family(), &Broken { bytes: &bytes, gone });
        // Nothing is made up.
        prop_assert!(headers.addrs.is_none() || headers.addrs == whole.addrs);
        prop_assert!(headers.proto.is_none() || headers.proto == whole.proto);
        match (headers.transport, whole.transport) {
            (Transport::Unreadable, _) => prop_assert!(headers.unparsed.is_some()),
            (
                Transport::Ports { source, dest, flags: None },
                Transport::Ports { source: from, dest: to, .. },
            ) => prop_assert_eq!((source, dest), (from, to)),
            (transport, whole) => prop_assert_eq!(transport, whole),
        }
        if whole.unparsed.is_none() && headers.unparsed.is_none() {
            prop_assert_eq!(headers.fragment, whole.fragment);
        }
    }

    #[test]
    fn random_bytes(mut bytes in vec(any::<u8>(), 0..120), versioned: bool) {
        for (family, version) in [(Family::Ipv4, 0x40), (Family::Ipv6, 0x60)] {
            if let (true, Some(first)) = (versioned, bytes.first_mut()) {
                *first = version | (*first & 0xf);
            }
            check_any(family, &bytes);
        }
    }

    #[test]
    fn damaged_packets(
        plan in plan(),
        damage in vec((any::<Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = plan.bytes();
        for (at, byte) in damage {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        check_any(Family::Ipv4, &bytes);
        check_any(Family::Ipv6, &bytes);
        check_by_etherparse(&bytes);
    }
}

/// Compares what is read with what etherparse reads, where that understands the packet.
fn check_by_etherparse(bytes: &[u8]) {
    let Ok(packet) = SlicedPacket::from_ip(bytes) else {
        return;
    };
    let (family, addrs, payload) = match packet.net.as_ref().unwrap() {
        NetSlice::Ipv4(slice) => {
            let header = slice.header();
            // It follows the authentication header in IPv4 too.
            if header.protocol() == IpNumber(51) {
                return;
            }
            let addrs = AddrPair::v4(header.source_addr(), header.destination_addr());
            (Family::Ipv4, addrs, slice.payload())
        }
        NetSlice::Ipv6(slice) => {
            let header = slice.header();
            let addrs = AddrPair::v6(header.source_addr(), header.destination_addr());
            (Family::Ipv6, addrs, slice.payload())
        }
        NetSlice::Arp(_) => unreachable!(),
    };
    let headers = Headers::parse(family, bytes);
    assert_eq!(headers.addrs, Some(addrs));
    if headers.unparsed == Some(Reason::ManyExtensions) {
        return;
    }
    assert_eq!(headers.fragment != Fragment::No, payload.fragmented);
    if matches!(headers.fragment, Fragment::Later(_)) {
        return;
    }
    assert_eq!(headers.proto, Some(Protocol(payload.ip_number.0)));
    let transport = match &packet.transport {
        Some(TransportSlice::Tcp(slice)) => {
            let flags = [
                slice.fin(),
                slice.syn(),
                slice.rst(),
                slice.psh(),
                slice.ack(),
                slice.urg(),
                slice.ece(),
                slice.cwr(),
            ];
            let flags = flags
                .iter()
                .rev()
                .fold(0, |byte, flag| (byte << 1) | u8::from(*flag));
            Transport::Ports {
                source: slice.source_port(),
                dest: slice.destination_port(),
                flags: Some(TcpFlags(flags)),
            }
        }
        Some(TransportSlice::Udp(slice)) => Transport::Ports {
            source: slice.source_port(),
            dest: slice.destination_port(),
            flags: None,
        },
        Some(TransportSlice::Icmpv4(slice)) => Transport::Icmp {
            kind: slice.type_u8(),
            code: slice.code_u8(),
        },
        Some(TransportSlice::Icmpv6(slice)) => Transport::Icmp {
            kind: slice.type_u8(),
            code: slice.code_u8(),
        },
        _ => return,
    };
    assert_eq!(headers.transport, transport);
    assert_eq!(headers.unparsed, None);
}

const TCP: Payload = Payload::Tcp {
    source: 40000,
    dest: 8080,
    flags: 0x12,
};
const UDP: Payload = Payload::Udp {
    source: 53,
    dest: 40000,
};

fn parse(family: Family, bytes: &[u8]) -> Headers {
    Headers::parse(family, bytes)
}

/// A packet by the book, byte by byte: nothing here comes from a library.
#[test]
fn known_packets() {
    let syn = [
        0x45, 0x00, 0x00, 0x2c, 0x12, 0x34, 0x40, 0x00, 0x40, 0x06, 0x00, 0x00, 192, 0, 2, 1, 198,
        51, 100, 7, 0x9c, 0x40, 0x1f, 0x91, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 0x02, 0xfa, 0xf0, 0, 0,
        0, 0, 0x02, 0x04, 0x05, 0xb4,
    ];
    assert_eq!(
        parse(Family::Ipv4, &syn),
        Headers {
            addrs: Some(AddrPair::v4(
                [192, 0, 2, 1].into(),
                [198, 51, 100, 7].into()
            )),
            proto: Some(Protocol::TCP),
            transport: Transport::Ports {
                source: 40000,
                dest: 8081,
                flags: Some(TcpFlags(2))
            },
            fragment: Fragment::No,
            len: 44,
            unparsed: None,
        }
    );
    let echo = [
        0x60, 0, 0, 0, 0, 8, 58, 64, 0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0x20,
        1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 128, 0, 0, 0, 0, 7, 0, 1,
    ];
    let addr = |last| Ipv6Addr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, last]);
    assert_eq!(
        parse(Family::Ipv6, &echo),
        Headers {
            addrs: Some(AddrPair::v6(addr(1), addr(2))),
            proto: Some(Protocol::ICMPV6),
            transport: Transport::Icmp { kind: 128, code: 0 },
            fragment: Fragment::No,
            len: 48,
            unparsed: None,
        }
    );
}

#[test]
fn bytes_are_a_source() {
    let bytes = [1, 2, 3, 4].as_slice();
    assert_eq!(Source::len(bytes), 4);
    assert!(!Source::is_empty(bytes) && Source::is_empty([].as_slice()));
    assert_eq!(bytes.read(0), Some([1, 2, 3, 4]));
    assert_eq!(bytes.read(2), Some([3, 4]));
    assert_eq!(bytes.read::<0>(4), Some([]));
    assert_eq!(bytes.read::<2>(3), None);
    assert_eq!(bytes.read::<1>(4), None);
    assert_eq!(bytes.read::<1>(u32::MAX), None);
}

#[test]
fn the_version_must_be_the_hook_s() {
    let (v4, v6) = (Plan::v4(TCP).bytes(), Plan::v6(&[], TCP).bytes());
    for (family, bytes) in [(Family::Ipv6, &v4), (Family::Ipv4, &v6)] {
        let headers = parse(family, bytes);
        assert_eq!(headers.unparsed, Some(Reason::Version));
        assert_eq!(headers.addrs, None);
    }
    let mut odd = v4.clone();
    odd[0] = 0x55;
    assert_eq!(parse(Family::Ipv4, &odd).unparsed, Some(Reason::Version));
    assert_eq!(parse(Family::Ipv4, &[]).unparsed, Some(Reason::ShortHeader));
    assert_eq!(
        parse(Family::Ipv6, &v6[..39]).unparsed,
        Some(Reason::ShortHeader)
    );
}

#[test]
fn the_ipv4_header_s_length() {
    let mut bytes = Plan::v4(TCP).bytes();
    for words in 0..5 {
        bytes[0] = 0x40 | words;
        let headers = parse(Family::Ipv4, &bytes);
        assert_eq!(headers.unparsed, Some(Reason::HeaderLength));
        assert_eq!(headers.proto, None);
    }
    // Longer than the packet, which has 44 bytes.
    bytes[0] = 0x4c;
    assert_eq!(
        parse(Family::Ipv4, &bytes).unparsed,
        Some(Reason::TotalLength)
    );
    // Exactly as long: no byte is left for the ports.
    bytes[0] = 0x4b;
    let headers = parse(Family::Ipv4, &bytes);
    assert_eq!(headers.unparsed, Some(Reason::ShortTransport));
    assert_eq!(headers.proto, Some(Protocol::TCP));
}

#[test]
fn a_length_of_zero_is_the_packet_s() {
    for plan in [Plan::v4(TCP), Plan::v6(&[Extension::HopByHop(0)], TCP)] {
        let mut bytes = plan.bytes();
        bytes.resize(70_000, 0xdd);
        let at = if plan.family() == Family::Ipv4 { 2 } else { 4 };
        bytes[at..at + 2].fill(0);
        assert_eq!(parse(plan.family(), &bytes), plan.expected(70_000));
    }
    // But a header that is longer than that is not there.
    let mut bytes = Plan::v4(TCP).bytes();
    bytes[2..4].fill(0);
    bytes[0] = 0x46;
    let headers = parse(Family::Ipv4, &bytes[..23]);
    assert_eq!(headers.unparsed, Some(Reason::ShortHeader));
    assert_eq!(headers.proto, None);
    assert_eq!(headers.len, 23);
}

#[test]
fn ipv4_fragments() {
    for payload in [TCP, UDP, Payload::Other { proto: 47 }] {
        for offset in [0, 1, 2, 3, IpFragOffset::MAX_U16] {
            for more in [false, true] {
                check(&Plan::v4_fragment(payload, offset, more));
            }
        }
    }
    let tiny = Plan::v4_fragment(TCP, 1, false).bytes();
    let headers = parse(Family::Ipv4, &tiny);
    assert_eq!(headers.unparsed, Some(Reason::TinyOffset));
    assert_eq!(headers.fragment, Fragment::Later(8));
    assert_eq!(headers.proto, Some(Protocol::TCP));
    assert_eq!(headers.transport, Transport::Unreadable);

    // Neither the reserved flag nor "don't fragment" makes a fragment.
    for flags in [0x80, 0x40, 0xc0] {
        let mut bytes = Plan::v4(TCP).bytes();
        bytes[6] = flags;
        let headers = parse(Family::Ipv4, &bytes);
        assert_eq!(headers, Plan::v4(TCP).expected(bytes.len()));
    }
}

#[test]
fn ipv6_fragments() {
    let fragment = |offset, more| Extension::Fragment { offset, more };
    for payload in [TCP, UDP, Payload::Other { proto: 47 }] {
        for offset in [0, 1, 2, 3, IpFragOffset::MAX_U16] {
            for more in [false, true] {
                check(&Plan::v6(&[fragment(offset, more)], payload));
            }
        }
    }
    // The reserved bits are no part of the offset.
    let mut bytes = Plan::v6(&[fragment(0, false)], TCP).bytes();
    bytes[40 + 3] |= 0b110;
    let headers = parse(Family::Ipv6, &bytes);
    assert_eq!(headers.fragment, Fragment::No);
    assert!(matches!(
        headers.transport,
        Transport::Ports { dest: 8080, .. }
    ));

    // What a later fragment's payload begins with may be told, but not what comes behind that.
    for extension in [
        Extension::HopByHop(0),
        Extension::Routing(0),
        Extension::Destination(0),
        Extension::Auth(0),
        fragment(0, false),
    ] {
        let bytes = Plan::v6(&[fragment(8, true), extension], TCP).bytes();
        let headers = parse(Family::Ipv6, &bytes);
        assert_eq!(headers.proto, None);
        assert_eq!(headers.fragment, Fragment::Later(64));
        assert_eq!(headers.transport, Transport::LaterFragment);
        assert_eq!(headers.unparsed, None);
    }
    // A first fragment that does not hold the whole chain of headers is still told as one.
    let plan = Plan::v6(&[fragment(0, true), Extension::Destination(2)], TCP);
    let mut bytes = plan.bytes();
    bytes.truncate(60);
    plan.set_len(&mut bytes, 60);
    let headers = parse(Family::Ipv6, &bytes);
    assert_eq!(headers.fragment, Fragment::First);
    assert_eq!(headers.unparsed, Some(Reason::ShortExtension));
}

#[test]
fn the_number_of_extension_headers_has_a_limit() {
    for count in [15, 16] {
        let plan = Plan::v6(&vec![Extension::Destination(0); count], TCP);
        check(&plan);
        assert_eq!(plan.expected(plan.bytes().len()).unparsed, None);
    }
    let last = [
        Extension::Destination(0),
        Extension::Auth(0),
        Extension::Fragment {
            offset: 9,
            more: true,
        },
    ];
    for last in last {
        let mut extensions = vec![Extension::Destination(0); 16];
        extensions.push(last);
        let bytes = Plan::v6(&extensions, TCP).bytes();
        let headers = parse(Family::Ipv6, &bytes);
        assert_eq!(headers.unparsed, Some(Reason::ManyExtensions));
        assert_eq!(headers.proto, None);
        assert_eq!(headers.transport, Transport::Unreadable);
    }
}

#[test]
fn the_longest_extension_headers() {
    let longest = [Extension::Destination(255), Extension::Auth(254)];
    check(&Plan::v6(&longest, TCP));
    check(&Plan::v6(&[Extension::Routing(255); 16], UDP));
    // Claims more than there is.
    let mut bytes = Plan::v6(&[Extension::Destination(0)], TCP).bytes();
    bytes[41] = 255;
    let headers = parse(Family::Ipv6, &bytes);
    assert_eq!(headers.unparsed, Some(Reason::ShortExtension));
    assert_eq!(headers.proto, None);
}

#[test]
fn payloads_that_are_no_headers() {
    // No next header, ESP, and what is no extension header to the kernel's filters either.
    for proto in [59, 50, 135, 139, 140, 253, 255] {
        let mut plan = Plan::v6(&[], Payload::Other { proto });
        check(&plan);
        plan.data = 0;
        check(&plan);
    }
    // In IPv4 nothing is followed.
    for proto in [0, 43, 44, 51, 60] {
        check(&Plan::v4(Payload::Other { proto }));
    }
}

#[test]
fn parts_of_a_transport_header() {
    for (payload, whole) in [
        (TCP, 14),
        (UDP, 4),
        (
            Payload::Ports {
                proto: 132,
                source: 1,
                dest: 2,
            },
            4,
        ),
        (Payload::Icmpv4 { kind: 8, code: 0 }, 2),
        (Payload::Icmpv6 { kind: 128, code: 0 }, 2),
    ] {
        let plan = Plan::v4(payload);
        for len in 0..=whole + 1 {
            let mut bytes = plan.bytes();
            bytes.truncate(20 + len);
            plan.set_len(&mut bytes, 20 + len);
            let headers = parse(Family::Ipv4, &bytes);
            let short = len < whole.min(4);
            assert_eq!(headers.unparsed, short.then_some(Reason::ShortTransport));
            assert_eq!(headers.transport == Transport::Unreadable, short);
            if let Transport::Ports { flags, .. } = headers.transport {
                assert_eq!(flags.is_some(), whole == 14 && len >= 14);
            }
        }
    }
}
