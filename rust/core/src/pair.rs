// SPDX-License-Identifier: GPL-2.0

//! Where a packet comes from and where it goes to.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::family::Family;

/// The source and the destination of a packet, which are of one family. Any context.
///
/// They are numbers, as what looks them up compares them: who reads them as they were written, and not a
/// part or several at once, need not wait until they are in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum AddrPair {
    /// Those of an IPv4 packet: the source is the upper half.
    V4(u64),
    /// Those of an IPv6 packet: two halves of the source and two of the destination, the upper ones first.
    V6([u64; 4]),
}

impl AddrPair {
    /// A source and a destination; [`None`] if they are of two families.
    pub fn new(source: IpAddr, dest: IpAddr) -> Option<Self> {
        match (source, dest) {
            (IpAddr::V4(source), IpAddr::V4(dest)) => Some(Self::v4(source, dest)),
            (IpAddr::V6(source), IpAddr::V6(dest)) => Some(Self::v6(source, dest)),
            _ => None,
        }
    }

    /// A source and a destination.
    #[inline]
    pub fn v4(source: Ipv4Addr, dest: Ipv4Addr) -> Self {
        Self::V4((u64::from(source.to_bits()) << 32) | u64::from(dest.to_bits()))
    }

    /// A source and a destination.
    #[inline]
    pub fn v6(source: Ipv6Addr, dest: Ipv6Addr) -> Self {
        let (source, dest) = (source.to_bits(), dest.to_bits());
        Self::V6([
            (source >> 64) as u64,
            source as u64,
            (dest >> 64) as u64,
            dest as u64,
        ])
    }

    /// The family.
    #[inline]
    pub fn family(self) -> Family {
        match self {
            Self::V4(..) => Family::Ipv4,
            Self::V6(..) => Family::Ipv6,
        }
    }

    /// The source.
    #[inline]
    pub fn source(self) -> IpAddr {
        match self {
            Self::V4(pair) => Ipv4Addr::from_bits((pair >> 32) as u32).into(),
            Self::V6([high, low, ..]) => ipv6(high, low).into(),
        }
    }

    /// The destination.
    #[inline]
    pub fn dest(self) -> IpAddr {
        match self {
            Self::V4(pair) => Ipv4Addr::from_bits(pair as u32).into(),
            Self::V6([.., high, low]) => ipv6(high, low).into(),
        }
    }
}

/// As the two addresses.
impl fmt::Debug for AddrPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AddrPair")
            .field(&self.source())
            .field(&self.dest())
            .finish()
    }
}

#[inline]
fn ipv6(high: u64, low: u64) -> Ipv6Addr {
    Ipv6Addr::from_bits((u128::from(high) << 64) | u128::from(low))
}
