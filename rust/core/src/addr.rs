// SPDX-License-Identifier: GPL-2.0

//! IP addresses, prefixes and ranges.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::family::{Family, FamilySet};
use crate::memory::{List, NoMemory};
use crate::packed::{apart, Packed, Reader};
use crate::value::{decimal, halves, Value};
use crate::writer::Writer;

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
        let (addr, len) = halves(text, b'/');
        let addr: IpAddr = core::str::from_utf8(addr).ok()?.parse().ok()?;
        let len = match len {
            Some(len) => decimal(len, 128)?.try_into().ok()?,
            None => Self::full_len(addr),
        };
        Self::new(addr, len)
    }

    /// Whether more bytes behind `text` could make it parse; sometimes yes where it is no.
    pub fn may_become(text: &[u8]) -> bool {
        let (addr, len) = halves(text, b'/');
        match len {
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

    /// The first and the last one as numbers, if they are of this family.
    pub(crate) fn numbers(&self, family: Family) -> Option<(u128, u128)> {
        match (family, self.first, self.last) {
            (Family::Ipv4, IpAddr::V4(first), IpAddr::V4(last)) => {
                Some((first.to_bits().into(), last.to_bits().into()))
            }
            (Family::Ipv6, IpAddr::V6(first), IpAddr::V6(last)) => {
                Some((first.to_bits(), last.to_bits()))
            }
            _ => None,
        }
    }

    /// Whether a packet's address lies in the range.
    #[inline]
    pub(crate) fn has(&self, side: Side) -> bool {
        match (self.first, self.last, side) {
            (IpAddr::V4(first), IpAddr::V4(last), Side::V4(addr)) => {
                first.to_bits() <= addr && addr <= last.to_bits()
            }
            (IpAddr::V6(first), IpAddr::V6(last), Side::V6(addr)) => {
                first.to_bits() <= addr && addr <= last.to_bits()
            }
            _ => false,
        }
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

/// The IPv4 address that `text` begins with, and what is behind it: as the standard library reads it, many
/// times as fast.
fn read_ipv4(text: &[u8]) -> Option<(Ipv4Addr, &[u8])> {
    let mut addr = 0u32;
    let mut rest = text;
    for dots in 0..4 {
        if dots != 0 {
            rest = rest.strip_prefix(b".")?;
        }
        let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        let (octet, behind) = rest.split_at_checked(digits)?;
        let octet = match octet {
            [a] => value(&[*a]),
            [a, ..] if *a == b'0' => return None,
            [a, b] => value(&[*a, *b]),
            [a, b, c] => value(&[*a, *b, *c]),
            _ => return None,
        };
        addr = addr.wrapping_shl(8) | u32::from(u8::try_from(octet).ok()?);
        rest = behind;
    }
    Some((Ipv4Addr::from_bits(addr), rest))
}

/// The number that a few digits are.
fn value<const N: usize>(digits: &[u8; N]) -> u32 {
    digits.iter().fold(0, |value: u32, digit| {
        let digit = u32::from(digit.wrapping_sub(b'0'));
        value.wrapping_mul(10).wrapping_add(digit)
    })
}

impl Value for AddrRange {
    const EXPECTED: &'static str = "an IPv4 or IPv6 address, ADDRESS/LENGTH, FIRST-LAST or @SET";

    fn parse(text: &[u8]) -> Option<Self> {
        if let Some((first, rest)) = read_ipv4(text) {
            let first = IpAddr::V4(first);
            let prefix = |len| Prefix::new(first, len).map(Self::from);
            return match rest.split_first() {
                None => prefix(32),
                Some((b'/', len)) => prefix(decimal(len, 32)?.try_into().ok()?),
                Some((b'-', last)) => match read_ipv4(last)? {
                    (last, []) => Self::new(first, IpAddr::V4(last)),
                    _ => None,
                },
                Some(_) => None,
            };
        }
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

impl KernelAddr {
    /// Prints it to anything; [`fmt::Display`] does the same.
    pub(crate) fn write(&self, to: &mut impl Writer) -> fmt::Result {
        match self.0 {
            IpAddr::V4(addr) => {
                let [first, rest @ ..] = addr.octets();
                to.number(first.into())?;
                for octet in rest {
                    to.write_str(".")?;
                    to.number(octet.into())?;
                }
                Ok(())
            }
            IpAddr::V6(addr) => fmt_ip6_compressed(&addr, to),
        }
    }
}

impl fmt::Display for KernelAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// C counterpart: `ip6_compressed_string()` in `lib/vsprintf.c`.
fn fmt_ip6_compressed(addr: &Ipv6Addr, f: &mut impl Writer) -> fmt::Result {
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
            f.hex(*word)?;
            colon = true;
        }
    }
    if dotted {
        if colon {
            f.write_str(":")?;
        }
        let tail = Ipv4Addr::from_bits((u32::from(s6) << 16) | u32::from(s7));
        KernelAddr(tail.into()).write(f)?;
    }
    Ok(())
}

/// An address of a packet, to be looked for among ranges.
#[derive(Clone, Copy)]
pub(crate) enum Side {
    /// The packet does not show it.
    Unknown,
    /// Of IPv4
    V4(u32),
    /// Of IPv6
    V6(u128),
}

impl From<Option<IpAddr>> for Side {
    fn from(addr: Option<IpAddr>) -> Self {
        match addr {
            None => Self::Unknown,
            Some(IpAddr::V4(addr)) => Self::V4(addr.to_bits()),
            Some(IpAddr::V6(addr)) => Self::V6(addr.to_bits()),
        }
    }
}

/// Forms: an address; an address, and how many bits behind its prefix are anything; two ends.
const HOST4: u8 = 0;
const PREFIX4: u8 = 1;
const RANGE4: u8 = 2;
const HOST6: u8 = 3;
const PREFIX6: u8 = 4;
const RANGE6: u8 = 5;

impl Packed<'_> for AddrRange {
    type Field = Side;

    fn pack(&self, to: &mut impl List<u8>) -> Result<u8, NoMemory> {
        let prefix = self.as_prefix();
        let free = prefix.map(|prefix| Prefix::full_len(prefix.net).saturating_sub(prefix.len));
        let (host, short, range) = match self.first {
            IpAddr::V4(first) => {
                to.push_all(&first.to_bits().to_le_bytes())?;
                (HOST4, PREFIX4, RANGE4)
            }
            IpAddr::V6(first) => {
                to.push_all(&first.to_bits().to_le_bytes())?;
                (HOST6, PREFIX6, RANGE6)
            }
        };
        match (free, self.last) {
            (Some(0), _) => return Ok(host),
            (Some(free), _) => {
                to.push(free)?;
                return Ok(short);
            }
            (None, IpAddr::V4(last)) => to.push_all(&last.to_bits().to_le_bytes())?,
            (None, IpAddr::V6(last)) => to.push_all(&last.to_bits().to_le_bytes())?,
        }
        Ok(range)
    }

    fn skip(form: u8, from: &mut Reader<'_>) -> Option<()> {
        let len = match form {
            HOST4 => 4,
            PREFIX4 => 5,
            RANGE4 => 8,
            HOST6 => 16,
            PREFIX6 => 17,
            RANGE6 => 32,
            _ => return None,
        };
        from.slice(len).map(drop)
    }

    fn unpack(form: u8, from: &mut Reader<'_>) -> Option<Self> {
        let v4 = |bits| IpAddr::V4(Ipv4Addr::from_bits(bits));
        let v6 = |bits| IpAddr::V6(Ipv6Addr::from_bits(bits));
        let prefix = |addr, free: u8| {
            let len = Prefix::full_len(addr).checked_sub(free)?;
            Prefix::new(addr, len).map(Self::from)
        };
        match form {
            HOST4 => prefix(v4(from.u32()?), 0),
            PREFIX4 => prefix(v4(from.u32()?), from.u8()?),
            RANGE4 => Self::new(v4(from.u32()?), v4(from.u32()?)),
            HOST6 => prefix(v6(from.u128()?), 0),
            PREFIX6 => prefix(v6(from.u128()?), from.u8()?),
            RANGE6 => Self::new(v6(from.u128()?), v6(from.u128()?)),
            _ => None,
        }
    }

    #[inline(always)]
    fn fits(form: u8, from: &mut Reader<'_>, side: &Side) -> Option<bool> {
        let found = |first: u32, last: u32| {
            let inside = |addr: u32| addr.wrapping_sub(first) <= last.wrapping_sub(first);
            matches!(side, Side::V4(addr) if inside(*addr))
        };
        if form > RANGE4 {
            return apart(from, |from| Self::fits6(form, from, side));
        }
        // Without a branch on the form, which no CPU could foresee.
        let Some(both) = from.peek().map(u64::from_le_bytes) else {
            let side = *side;
            return Some(Self::unpack(form, from)?.has(side));
        };
        let (first, second) = (both as u32, both.wrapping_shr(32) as u32);
        let (prefix, range) = (u32::from(form & PREFIX4), u32::from(form / RANGE4));
        let free = u32::from(second as u8) & 0u32.wrapping_sub(prefix);
        let ones = 1u64.wrapping_shl(free).wrapping_sub(1) as u32;
        let last = first | ones;
        let last = last ^ (last ^ second) & 0u32.wrapping_sub(range);
        from.slice(4usize.wrapping_add((prefix | range.wrapping_shl(2)) as usize))?;
        Some(found(first, last))
    }
}

impl AddrRange {
    /// The same for the forms of IPv6.
    #[inline(never)]
    fn fits6(form: u8, from: &mut Reader<'_>, side: &Side) -> Option<bool> {
        let first = from.u128()?;
        let last = match form {
            HOST6 => first,
            PREFIX6 => {
                let fixed = 128u32.saturating_sub(from.u8()?.into());
                first | u128::MAX.checked_shr(fixed).unwrap_or(0)
            }
            _ => from.u128()?,
        };
        Some(matches!(side, Side::V6(addr) if (first..=last).contains(addr)))
    }
}
