// SPDX-License-Identifier: GPL-2.0

//! IP addresses, prefixes and ranges.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::family::{Family, FamilySet};
use crate::value::{decimal, halves, Value};

/// A network prefix: an address whose host bits are zero, and its length in bits.
///
/// # Invariants
///
/// `len` is at most 32 (IPv4) or 128 (IPv6), and the bits of `net` after the first `len` are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Prefix {
    net: IpAddr,
    len: u8,
}

impl Prefix {
    /// The prefix of `len` bits that `addr` lies in; [`None`] if the family has no such length.
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        let net = match addr {
            IpAddr::V4(addr) => {
                let host = 32u8.checked_sub(len)?;
                let mask = u32::MAX.checked_shl(host.into()).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(addr.to_bits() & mask))
            }
            IpAddr::V6(addr) => {
                let host = 128u8.checked_sub(len)?;
                let mask = u128::MAX.checked_shl(host.into()).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(addr.to_bits() & mask))
            }
        };
        // INVARIANT: the subtraction checked the length, the mask cleared the host bits.
        Some(Self { net, len })
    }

    /// Parses `ADDRESS` or `ADDRESS/LENGTH`; host bits are cleared.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut halves = text.splitn(2, |byte| *byte == b'/');
        let addr = core::str::from_utf8(halves.next()?).ok()?;
        let addr: IpAddr = addr.parse().ok()?;
        let len = match halves.next() {
            Some(len) => decimal(len, 128)?.try_into().ok()?,
            None => Self::full_len(addr),
        };
        Self::new(addr, len)
    }

    /// Whether more bytes behind `text` could make it parse; sometimes yes where it is no.
    pub fn may_become(text: &[u8]) -> bool {
        let mut halves = text.splitn(2, |byte| *byte == b'/');
        let addr = halves.next().unwrap_or(&[]);
        match halves.next() {
            // The address is complete; a length grows by more digits only.
            Some(len) => Self::parse(addr).is_some_and(|prefix| {
                len.is_empty() || decimal(len, Self::full_len(prefix.net).into()).is_some()
            }),
            None if addr.contains(&b'.') && !addr.contains(&b':') => {
                let mut octets = addr.rsplit(|byte| *byte == b'.');
                let last = octets.next().unwrap_or(&[]);
                let octet = |text: &[u8]| decimal(text, u8::MAX.into()).is_some();
                addr.iter().filter(|byte| **byte == b'.').count() <= 3
                    && (last.is_empty() || octet(last))
                    && octets.all(octet)
            }
            None => {
                let legal = |byte: &u8| byte.is_ascii_hexdigit() || matches!(byte, b':' | b'.');
                // `ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255`
                addr.iter().all(legal) && addr.len() <= 45
            }
        }
    }

    /// The last address in it; the first is its own.
    fn last(&self) -> IpAddr {
        match self.net {
            IpAddr::V4(net) => {
                let host = u32::MAX.checked_shr(self.len.into()).unwrap_or(0);
                IpAddr::V4(Ipv4Addr::from_bits(net.to_bits() | host))
            }
            IpAddr::V6(net) => {
                let host = u128::MAX.checked_shr(self.len.into()).unwrap_or(0);
                IpAddr::V6(Ipv6Addr::from_bits(net.to_bits() | host))
            }
        }
    }

    fn full_len(addr: IpAddr) -> u8 {
        if addr.is_ipv4() {
            32
        } else {
            128
        }
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", KernelAddr(self.net))?;
        if self.len != Self::full_len(self.net) {
            write!(f, "/{}", self.len)?;
        }
        Ok(())
    }
}

/// An inclusive range of addresses of one family.
///
/// # Invariants
///
/// Both are of the same family, and `first` is at most `last`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddrRange {
    first: IpAddr,
    last: IpAddr,
}

impl AddrRange {
    /// The range from `first` to `last`; [`None`] if there is no such range.
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        // INVARIANT: just checked.
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }

    /// Whether `addr` lies in the range.
    #[inline]
    pub fn contains(&self, addr: IpAddr) -> bool {
        // By the invariant what lies between the two is of their family: all IPv4 addresses come
        // before all IPv6 addresses.
        self.first <= addr && addr <= self.last
    }

    /// The family of its addresses.
    pub fn families(&self) -> FamilySet {
        FamilySet::of(if self.first.is_ipv4() {
            Family::Ipv4
        } else {
            Family::Ipv6
        })
    }

    /// The prefix that holds just the same addresses, if there is one.
    fn as_prefix(&self) -> Option<Prefix> {
        let len = match (self.first, self.last) {
            (IpAddr::V4(first), IpAddr::V4(last)) => {
                (first.to_bits() ^ last.to_bits()).leading_zeros()
            }
            (IpAddr::V6(first), IpAddr::V6(last)) => {
                (first.to_bits() ^ last.to_bits()).leading_zeros()
            }
            _ => return None,
        };
        let prefix = Prefix::new(self.first, len.try_into().ok()?)?;
        (prefix.net == self.first && prefix.last() == self.last).then_some(prefix)
    }
}

impl From<Prefix> for AddrRange {
    fn from(prefix: Prefix) -> Self {
        // INVARIANT: The last address of a prefix is of its family and not before its first.
        Self {
            first: prefix.net,
            last: prefix.last(),
        }
    }
}

impl Value for AddrRange {
    const EXPECTED: &'static str = "an IPv4 or IPv6 address, ADDRESS/LENGTH, FIRST-LAST or @SET";

    fn parse(text: &[u8]) -> Option<Self> {
        match halves(text, b'-') {
            (prefix, None) => Prefix::parse(prefix).map(Self::from),
            (first, Some(last)) => {
                let addr = |text| core::str::from_utf8(text).ok()?.parse().ok();
                Self::new(addr(first)?, addr(last)?)
            }
        }
    }

    fn may_become(text: &[u8]) -> bool {
        match halves(text, b'-') {
            (prefix, None) => Prefix::may_become(prefix),
            (first, Some(last)) => {
                !first.contains(&b'/')
                    && Prefix::parse(first).is_some()
                    && !last.contains(&b'/')
                    && Prefix::may_become(last)
            }
        }
    }
}

impl fmt::Display for AddrRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_prefix() {
            Some(prefix) => prefix.fmt(f),
            None => write!(f, "{}-{}", KernelAddr(self.first), KernelAddr(self.last)),
        }
    }
}

/// Prints an address as the kernel's `%pI4` and `%pI6c` do.
///
/// The standard library prints IPv6 the same way but for ISATAP interface identifiers
/// (`...:0:5efe:a.b.c.d`), which the kernel writes with a dotted tail.
#[derive(Clone, Copy, Debug)]
pub struct KernelAddr(pub IpAddr);

impl fmt::Display for KernelAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            IpAddr::V4(addr) => fmt::Display::fmt(&addr, f),
            IpAddr::V6(addr) => fmt_ip6_compressed(&addr, f),
        }
    }
}

/// C counterpart: `ip6_compressed_string()` in `lib/vsprintf.c`.
fn fmt_ip6_compressed(addr: &Ipv6Addr, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let segments = addr.segments();
    let [_, _, _, _, s4, s5, s6, s7] = segments;
    let v4mapped = addr.to_ipv4_mapped().is_some();
    let isatap = s4 | 0x0200 == 0x0200 && s5 == 0x5efe;
    let dotted = v4mapped || isatap;
    let words = if dotted { 6 } else { 8 };

    // The first of the longest runs of zero words; a single one is not worth `::`.
    let (mut best_at, mut best_len) = (usize::MAX, 1usize);
    let (mut run_at, mut run_len) = (0usize, 0usize);
    for (at, word) in segments.iter().take(words).enumerate() {
        if *word != 0 {
            run_len = 0;
            continue;
        }
        if run_len == 0 {
            run_at = at;
        }
        run_len = run_len.saturating_add(1);
        if run_len > best_len {
            (best_at, best_len) = (run_at, run_len);
        }
    }
    let best_end = best_at.saturating_add(best_len);

    let mut colon = false;
    for (at, word) in segments.iter().take(words).enumerate() {
        if at == best_at {
            f.write_str("::")?;
            colon = false;
        } else if at < best_at || at >= best_end {
            if colon {
                f.write_str(":")?;
            }
            write!(f, "{word:x}")?;
            colon = true;
        }
    }
    if dotted {
        if colon {
            f.write_str(":")?;
        }
        let tail = Ipv4Addr::from_bits((u32::from(s6) << 16) | u32::from(s7));
        fmt::Display::fmt(&tail, f)?;
    }
    Ok(())
}
