// SPDX-License-Identifier: GPL-2.0

//! A range of source ports and one of destination ports, which are compared at once.

/// A range, as its first port and how many more it has.
pub(super) type Span = (u16, u16);

/// A range of ports that has all of them.
pub(super) const ALL_PORTS: Span = (0, u16::MAX);

/// The lower half of each half: the upper one is about source ports, the lower one about destination ports.
const LOW: u64 = 0x0000_ffff_0000_ffff;
/// What is above that: where a carry shows.
pub(super) const CARRY: u64 = 0x0001_0000_0001_0000;

/// Both ranges: in each half the first port, and above it how many more the range could have.
#[derive(Clone, Copy)]
pub(super) struct Spans(u64);

impl Spans {
    pub(super) fn new(sport: Span, dport: Span) -> Self {
        let half = |(first, more): Span| u64::from(first) | (u64::from(u16::MAX ^ more) << 16);
        Self((half(sport) << 32) | half(dport))
    }

    /// That of source ports.
    #[inline]
    pub(super) fn sport(self) -> Span {
        Self(self.0 >> 32).dport()
    }

    /// That of destination ports.
    #[inline]
    pub(super) fn dport(self) -> Span {
        (self.0 as u16, u16::MAX ^ (self.0 >> 16) as u16)
    }

    /// Whether these ports are not in the ranges: a bit of [`CARRY`] for each.
    #[inline(always)]
    pub(super) fn misses(self, ports: PortPair) -> u64 {
        // How far the port is behind the first of the range; nothing is borrowed from the other half.
        let far = ports.0.wrapping_sub(self.0 & LOW) & LOW;
        far.wrapping_add((self.0 >> 16) & LOW) & CARRY
    }
}

/// A source and a destination port, as they are compared.
#[derive(Clone, Copy)]
pub(super) struct PortPair(u64);

impl PortPair {
    #[inline(always)]
    pub(super) fn new(sport: u16, dport: u16) -> Self {
        Self(CARRY | (u64::from(sport) << 32) | u64::from(dport))
    }
}
