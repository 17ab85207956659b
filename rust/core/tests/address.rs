// SPDX-License-Identifier: GPL-2.0

//! Addresses and prefixes: printed as the kernel's `%pI4` and `%pI6c` do, read back, and matched.

mod common;

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use common::ipv6;
use ctrfw_core::addr::{AddrRange, KernelAddr, Prefix};
use ctrfw_core::value::Value;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

/// What `ip6_compressed_string()` of Linux 7.3's `lib/vsprintf.c` makes of addresses.
#[rustfmt::skip]
const KERNEL: [([u16; 8], &str); 62] = [
    // The kernel's own test (lib/tests/printf_kunit.c)
    ([1, 2, 3, 4, 5, 6, 7, 8], "1:2:3:4:5:6:7:8"),
    ([1, 0, 3, 4, 5, 6, 7, 8], "1:0:3:4:5:6:7:8"),
    // Ends, and all of it
    ([0, 0, 0, 0, 0, 0, 0, 0], "::"),
    ([0, 0, 0, 0, 0, 0, 0, 1], "::1"),
    ([1, 0, 0, 0, 0, 0, 0, 0], "1::"),
    ([0, 0, 0, 0, 0, 0, 1, 0], "::1:0"),
    ([0, 1, 0, 0, 0, 0, 0, 0], "0:1::"),
    ([1, 2, 3, 4, 5, 6, 0, 0], "1:2:3:4:5:6::"),
    ([0, 0, 3, 4, 5, 6, 7, 8], "::3:4:5:6:7:8"),
    ([1, 2, 3, 0, 0, 6, 7, 8], "1:2:3::6:7:8"),
    // One zero
    ([0, 2, 3, 4, 5, 6, 7, 8], "0:2:3:4:5:6:7:8"),
    ([1, 2, 3, 4, 5, 6, 7, 0], "1:2:3:4:5:6:7:0"),
    ([0, 2, 0, 4, 0, 6, 0, 8], "0:2:0:4:0:6:0:8"),
    ([1, 0, 3, 0, 5, 0, 7, 0], "1:0:3:0:5:0:7:0"),
    // The longest run
    ([0x2001, 0xdb8, 0, 0, 1, 0, 0, 0], "2001:db8:0:0:1::"),
    ([0x2001, 0xdb8, 0, 0, 0, 1, 0, 0], "2001:db8::1:0:0"),
    ([0, 0, 1, 0, 0, 0, 1, 0], "0:0:1::1:0"),
    ([0, 1, 0, 0, 1, 0, 0, 0], "0:1:0:0:1::"),
    ([0, 1, 0, 0, 0, 1, 0, 0], "0:1::1:0:0"),
    ([1, 0, 0, 1, 0, 0, 0, 1], "1:0:0:1::1"),
    // Of equals the first
    ([1, 0, 0, 1, 0, 0, 1, 1], "1::1:0:0:1:1"),
    ([0, 0, 1, 0, 0, 1, 0, 0], "::1:0:0:1:0:0"),
    ([0, 0, 0, 1, 1, 0, 0, 0], "::1:1:0:0:0"),
    ([0, 0, 0, 1, 0, 0, 0, 1], "::1:0:0:0:1"),
    ([0x2001, 0xdb8, 0, 0, 1, 0, 0, 1], "2001:db8::1:0:0:1"),
    // Words of every length
    ([0x1, 0x10, 0x100, 0x1000, 0xf, 0xff, 0xfff, 0xffff], "1:10:100:1000:f:ff:fff:ffff"),
    ([0xabcd, 0xef01, 0xa, 0xab, 0xabc, 0x0b0c, 0xa0b, 0xf000], "abcd:ef01:a:ab:abc:b0c:a0b:f000"),
    ([0xff02, 0, 0, 0, 0, 1, 0xff00, 0x12], "ff02::1:ff00:12"),
    ([0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff, 0xffff],
        "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff"),
    // IPv4-mapped
    ([0, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201], "::ffff:192.0.2.1"),
    ([0, 0, 0, 0, 0, 0xffff, 0, 0], "::ffff:0.0.0.0"),
    ([0, 0, 0, 0, 0, 0xffff, 0, 1], "::ffff:0.0.0.1"),
    ([0, 0, 0, 0, 0, 0xffff, 0xffff, 0xffff], "::ffff:255.255.255.255"),
    // Almost
    ([0, 0, 0, 0, 0, 0xfffe, 0xc000, 0x0201], "::fffe:c000:201"),
    ([0, 0, 0, 0, 0xffff, 0, 0xc000, 0x0201], "::ffff:0:c000:201"),
    ([0, 0, 0, 0, 1, 0xffff, 0xc000, 0x0201], "::1:ffff:c000:201"),
    ([0, 0, 0, 1, 0, 0xffff, 0xc000, 0x0201], "::1:0:ffff:c000:201"),
    ([1, 0, 0, 0, 0, 0xffff, 0xc000, 0x0201], "1::ffff:c000:201"),
    ([0, 0, 0, 0, 0, 0, 0xc000, 0x0201], "::c000:201"),
    ([0x64, 0xff9b, 0, 0, 0, 0, 0xc000, 0x0201], "64:ff9b::c000:201"),
    // ISATAP
    ([0xfe80, 0, 0, 0, 0, 0x5efe, 0xc000, 0x0201], "fe80::5efe:192.0.2.1"),
    ([0xfe80, 0, 0, 0, 0x0200, 0x5efe, 0xc000, 0x0201], "fe80::200:5efe:192.0.2.1"),
    ([0, 0, 0, 0, 0, 0x5efe, 0, 0], "::5efe:0.0.0.0"),
    ([0, 0, 0, 0, 0x0200, 0x5efe, 0, 0], "::200:5efe:0.0.0.0"),
    ([1, 2, 3, 4, 0, 0x5efe, 0x7f00, 1], "1:2:3:4:0:5efe:127.0.0.1"),
    ([1, 2, 3, 4, 0x0200, 0x5efe, 0x7f00, 1], "1:2:3:4:200:5efe:127.0.0.1"),
    ([1, 2, 3, 0, 0, 0x5efe, 0x7f00, 1], "1:2:3::5efe:127.0.0.1"),
    ([1, 0, 3, 4, 0, 0x5efe, 0x7f00, 1], "1:0:3:4:0:5efe:127.0.0.1"),
    ([0, 0, 3, 0, 0, 0x5efe, 0x7f00, 1], "::3:0:0:5efe:127.0.0.1"),
    ([0, 0, 3, 4, 0x0200, 0x5efe, 0x7f00, 1], "::3:4:200:5efe:127.0.0.1"),
    ([1, 0, 0, 4, 0, 0x5efe, 0, 0], "1::4:0:5efe:0.0.0.0"),
    ([0x2001, 0xdb8, 0, 1, 0, 0x5efe, 0x0a00, 1], "2001:db8:0:1:0:5efe:10.0.0.1"),
    // Almost: only the bit that says "universal" may be set.
    ([0xfe80, 0, 0, 0, 0x0100, 0x5efe, 0xc000, 0x0201], "fe80::100:5efe:c000:201"),
    ([0xfe80, 0, 0, 0, 0x0201, 0x5efe, 0xc000, 0x0201], "fe80::201:5efe:c000:201"),
    ([0xfe80, 0, 0, 0, 0x0300, 0x5efe, 0xc000, 0x0201], "fe80::300:5efe:c000:201"),
    ([0xfe80, 0, 0, 0, 0x0600, 0x5efe, 0xc000, 0x0201], "fe80::600:5efe:c000:201"),
    ([0xfe80, 0, 0, 0, 0x0002, 0x5efe, 0xc000, 0x0201], "fe80::2:5efe:c000:201"),
    ([0xfe80, 0, 0, 0, 0, 0x5eff, 0xc000, 0x0201], "fe80::5eff:c000:201"),
    ([0xfe80, 0, 0, 0, 0, 0xfe5e, 0xc000, 0x0201], "fe80::fe5e:c000:201"),
    ([0xfe80, 0, 0, 0, 0x5efe, 0, 0xc000, 0x0201], "fe80::5efe:0:c000:201"),
    ([0xfe80, 0, 0, 0, 0x5efe, 0, 0, 0], "fe80::5efe:0:0:0"),
    ([0xfe80, 0, 0, 0, 0x0200, 0x5efe, 0, 0x1], "fe80::200:5efe:0.0.0.1"),
];

#[test]
fn ipv6_is_printed_as_the_kernel_does() {
    for (words, expected) in KERNEL {
        let addr = IpAddr::from(words);
        assert_eq!(KernelAddr(addr).to_string(), expected);
        assert_eq!(expected.parse(), Ok(addr), "{expected}");
        let prefix = Prefix::parse(expected.as_bytes());
        assert_eq!(prefix, Prefix::new(addr, 128), "{expected}");
        assert_eq!(prefix.unwrap().to_string(), expected);
    }
}

/// The same by the standard library, which knows no ISATAP addresses.
fn by_std(addr: Ipv6Addr) -> String {
    let mut words = addr.segments();
    let isatap = matches!(words, [_, _, _, _, 0 | 0x200, 0x5efe, _, _]);
    if !isatap {
        return addr.to_string();
    }
    let tail = Ipv4Addr::from_bits(addr.to_bits() as u32);
    // The tail is no part of any run of zeros.
    (words[6], words[7]) = (0xaaaa, 0xbbbb);
    Ipv6Addr::from(words)
        .to_string()
        .replace("aaaa:bbbb", &tail.to_string())
}

/// Every placement of zeros, in each kind of address.
#[test]
fn every_run_of_zeros() {
    for zeros in 0..=0xffu8 {
        for last in [0, 0x200, 1] {
            for dotted in [false, true] {
                let mut words = [0u16; 8];
                for (at, word) in words.iter_mut().enumerate() {
                    *word = u16::from(zeros & (1 << at) == 0) * (at as u16 + 1);
                }
                if dotted {
                    (words[4], words[5]) = (last, 0x5efe);
                }
                let addr = Ipv6Addr::from(words);
                assert_eq!(KernelAddr(addr.into()).to_string(), by_std(addr));
            }
        }
    }
}

/// The addresses of a prefix by arithmetic on 128 bits, whatever the family.
fn contains(net: IpAddr, len: u8, addr: IpAddr) -> bool {
    let bits = |addr: IpAddr| match addr {
        IpAddr::V4(addr) => (u128::from(addr.to_bits()), 32),
        IpAddr::V6(addr) => (addr.to_bits(), 128),
    };
    let ((net, width), (addr, other)) = (bits(net), bits(addr));
    let size = if len == 0 && width == 128 {
        0
    } else {
        1u128 << (width - u32::from(len))
    };
    // A size of 0 stands for 2^128.
    width == other && (size == 0 || net / size == addr / size)
}

proptest! {
    #![proptest_config(common::config(20_000))]

    #[test]
    fn what_is_printed_is_read_back(addr in ipv6()) {
        let text = KernelAddr(addr.into()).to_string();
        prop_assert_eq!(&text, &by_std(addr));
        prop_assert_eq!(text.parse(), Ok(addr));
    }

    #[test]
    fn ipv4_is_read_as_the_standard_library_does(
        octets in vec(select(vec!["0", "1", "7", "10", "31", "99", "200", "255", "256", "07", "1000", ""]), 3..6),
        behind in select(vec!["", "/0", "/24", "/032", "/33", "/", "-", "-255.1.2.3", "-255.1.2", "x"]),
    ) {
        let addr = octets.join(".");
        let first = addr.parse::<Ipv4Addr>().ok().map(IpAddr::V4);
        let wanted = first.and_then(|first| match behind.split_at(behind.len().min(1)) {
            ("", _) => AddrRange::new(first, first),
            ("/", len) => {
                let len = len.parse().ok().filter(|len| *len <= 32);
                len.and_then(|len| Prefix::new(first, len)).map(AddrRange::from)
            }
            ("-", last) => AddrRange::new(first, last.parse().ok()?),
            _ => None,
        });
        prop_assert_eq!(AddrRange::parse((addr + behind).as_bytes()), wanted);
    }

    #[test]
    fn ipv4_is_dotted(a: u8, b: u8, c: u8, d: u8) {
        let addr = IpAddr::from([a, b, c, d]);
        prop_assert_eq!(KernelAddr(addr).to_string(), format!("{a}.{b}.{c}.{d}"));
    }

    #[test]
    fn prefixes_hold_their_addresses(
        net: IpAddr,
        other: IpAddr,
        len in 0..=129u8,
        flipped in 0..128u32,
    ) {
        let width = if net.is_ipv4() { 32 } else { 128 };
        let Some(prefix) = Prefix::new(net, len) else {
            prop_assert!(len > width);
            return Ok(());
        };
        prop_assert!(len <= width);
        prop_assert!(AddrRange::from(prefix).contains(net));
        prop_assert_eq!(AddrRange::from(prefix).contains(other), contains(net, len, other));
        // An address that differs in one bit: the interesting ones lie about the prefix's end.
        for bit in [flipped, u32::from(len), u32::from(len).saturating_sub(1)] {
            let near = match net {
                IpAddr::V4(addr) => IpAddr::from(Ipv4Addr::from_bits(
                    addr.to_bits() ^ 1u32.checked_shl(31u32.wrapping_sub(bit)).unwrap_or(0),
                )),
                IpAddr::V6(addr) => IpAddr::from(Ipv6Addr::from_bits(
                    addr.to_bits() ^ 1u128.checked_shl(127u32.wrapping_sub(bit)).unwrap_or(0),
                )),
            };
            prop_assert_eq!(AddrRange::from(prefix).contains(near), contains(net, len, near), "bit {}", bit);
        }
        // Host bits do not matter, nor does the way it is written.
        let text = prefix.to_string();
        prop_assert_eq!(Prefix::parse(text.as_bytes()), Some(prefix));
        let printed = text.split('/').next().unwrap().parse::<IpAddr>().unwrap();
        prop_assert_eq!(Prefix::new(printed, len), Some(prefix));
        prop_assert!(contains(net, len, printed));
        let long = format!("{net}/{len}");
        prop_assert_eq!(Prefix::parse(long.as_bytes()), Some(prefix));
        // A range that is a prefix is printed as one.
        let range = AddrRange::from(prefix);
        prop_assert_eq!(range.to_string(), text);
        let families = |addr| AddrRange::from(Prefix::new(addr, 0).unwrap()).families();
        prop_assert_eq!(range.families() == families(other), net.is_ipv4() == other.is_ipv4());
    }

    #[test]
    fn ranges_hold_what_lies_between(first: IpAddr, last: IpAddr, addr: IpAddr) {
        let bits = |addr: IpAddr| match addr {
            IpAddr::V4(addr) => (4, u128::from(addr.to_bits())),
            IpAddr::V6(addr) => (6, addr.to_bits()),
        };
        let ((family, low), (other, high)) = (bits(first), bits(last));
        let range = AddrRange::new(first, last);
        prop_assert_eq!(range.is_some(), family == other && low <= high);
        if let Some(range) = range {
            let (kind, value) = bits(addr);
            prop_assert_eq!(range.contains(addr), kind == family && (low..=high).contains(&value));
            prop_assert!(range.contains(first) && range.contains(last));
            prop_assert_eq!(AddrRange::parse(range.to_string().as_bytes()), Some(range));
            let written = format!("{first}-{last}");
            prop_assert_eq!(AddrRange::parse(written.as_bytes()), Some(range));
            for len in 0..written.len() {
                prop_assert!(AddrRange::may_become(&written.as_bytes()[..len]));
            }
        }
    }
}

#[test]
fn the_ends_of_a_prefix() {
    let prefix = Prefix::parse(b"10.128.0.0/9").unwrap();
    for (addr, inside) in [
        ("10.127.255.255", false),
        ("10.128.0.0", true),
        ("10.255.255.255", true),
        ("11.0.0.0", false),
        ("::ffff:10.128.0.0", false),
        ("::a80:0", false),
    ] {
        assert_eq!(
            AddrRange::from(prefix).contains(addr.parse().unwrap()),
            inside,
            "{addr}"
        );
    }
    let all = |text: &str| Prefix::parse(text.as_bytes()).unwrap();
    assert!(AddrRange::from(all("0.0.0.0/0")).contains(Ipv4Addr::BROADCAST.into()));
    assert!(!AddrRange::from(all("0.0.0.0/0")).contains(Ipv6Addr::UNSPECIFIED.into()));
    assert!(AddrRange::from(all("::/0")).contains(Ipv6Addr::from_bits(u128::MAX).into()));
    assert!(!AddrRange::from(all("::/0")).contains(Ipv4Addr::UNSPECIFIED.into()));
}
