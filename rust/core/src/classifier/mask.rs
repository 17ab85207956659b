// SPDX-License-Identifier: GPL-2.0

//! Which bits of a packet's fields a table tells rules apart by.

use super::key::{rest, Extra, Key};
use super::record::{Record, Role};
use super::word::Word;

/// The first so many bits of each field.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) source: u8,
    pub(super) dest: u8,
    pub(super) sport: u8,
    pub(super) dport: u8,
    pub(super) proto: bool,
    pub(super) extra: Extra,
}

impl Shape {
    /// No bit at all.
    pub(super) const NOTHING: Self = Self {
        source: 0,
        dest: 0,
        sport: 0,
        dport: 0,
        proto: false,
        extra: Extra::None,
    };
}

/// A shape, and the same bits as masks.
pub(super) struct Bits<A: Word> {
    shape: Shape,
    pub(super) mask: Mask<A>,
}

impl<A: Word> Bits<A> {
    pub(super) fn of(shape: Shape) -> Self {
        Self {
            shape,
            mask: Mask::of(shape),
        }
    }

    /// How many values the bits have in packets that the rule may be for; [`None`] if they are more than
    /// `most`.
    #[inline]
    pub(super) fn copies(&self, record: &Record<A>, role: &Role, most: u32) -> Option<u32> {
        let shape = &self.shape;
        if (shape.proto && record.proto_mask == 0)
            || (shape.extra != Extra::None && role.extra != shape.extra)
        {
            return None;
        }
        let free = u32::from(shape.source.saturating_sub(record.source_len))
            .saturating_add(shape.dest.saturating_sub(record.dest_len).into());
        let copies = 1u32
            .checked_shl(free)?
            .checked_mul(Ports::of(record.ports.sport(), shape.sport).count)?
            .checked_mul(Ports::of(record.ports.dport(), shape.dport).count)?;
        (copies <= most).then_some(copies)
    }

    /// Calls `visit` with the hash of each of these values, which are so many.
    #[inline]
    pub(super) fn hashes(
        &self,
        record: &Record<A>,
        role: &Role,
        copies: u32,
        mut visit: impl FnMut(u64),
    ) {
        let (shape, mask) = (&self.shape, &self.mask);
        if copies == 1 {
            let rest = rest(record.ports.sport().0, record.ports.dport().0, record.proto);
            return visit(mask.hash_of(record.addrs, rest, role.value));
        }
        let free = |len: u8, bits: u8| 1u32.wrapping_shl(len.saturating_sub(bits).into());
        let (sports, dports) = (
            Ports::of(record.ports.sport(), shape.sport),
            Ports::of(record.ports.dport(), shape.dport),
        );
        let (from, to) = A::apart(record.addrs);
        for source in 0..free(shape.source, record.source_len) {
            let source = from.raised(shape.source, source);
            for dest in 0..free(shape.dest, record.dest_len) {
                let pair = A::pair(source, to.raised(shape.dest, dest));
                for sport in sports.values() {
                    for dport in dports.values() {
                        let rest = rest(sport, dport, record.proto);
                        visit(mask.hash_of(pair, rest, role.value));
                    }
                }
            }
        }
    }
}

/// The values that the first bits of the ports in a range have.
struct Ports {
    first: u32,
    shift: u32,
    count: u32,
}

impl Ports {
    #[inline]
    fn of(range: (u16, u16), len: u8) -> Self {
        let shift = 16u32.saturating_sub(len.into());
        let high = |port: u16| u32::from(port).wrapping_shr(shift);
        let (first, last) = (high(range.0), high(range.0.saturating_add(range.1)));
        Self {
            first,
            shift,
            count: last.saturating_sub(first).saturating_add(1),
        }
    }

    fn values(&self) -> impl Iterator<Item = u16> {
        let (first, shift) = (self.first, self.shift);
        (0..self.count).map(move |more| first.wrapping_add(more).wrapping_shl(shift) as u16)
    }
}

/// The same bits as masks.
#[derive(Clone, Copy)]
pub(super) struct Mask<A: Word> {
    addrs: A::Pair,
    /// Ports and protocol as [`rest`] makes them, and in bits that are 0 there the number of the extra field
    rest: u64,
}

/// Where that number begins in it.
const EXTRA: u32 = 8;

impl<A: Word> Mask<A> {
    pub(super) fn of(shape: Shape) -> Self {
        let port = |len: u8| (u32::mask(len) >> 16) as u16;
        let proto = if shape.proto { u8::MAX } else { 0 };
        let extra = u64::from(shape.extra as u8).wrapping_shl(EXTRA);
        Self {
            addrs: A::pair(A::mask(shape.source), A::mask(shape.dest)),
            rest: rest(port(shape.sport), port(shape.dport), proto) | extra,
        }
    }

    /// The number of the extra field.
    #[inline(always)]
    fn extra(&self) -> u8 {
        self.rest.wrapping_shr(EXTRA) as u8
    }

    /// The hash of a packet's bits. The upper a bit is, the more others it depends on.
    #[inline(always)]
    pub(super) fn hash(&self, key: &Key<'_, A>) -> u64 {
        let mut mixed = self.mix(key.addrs, key.rest);
        let extra = self.extra();
        if extra != 0 {
            mixed ^= spread(key.extra(extra));
        }
        mixed
    }

    /// The hash of these bits.
    #[inline(always)]
    fn hash_of(&self, addrs: A::Pair, rest: u64, extra: u32) -> u64 {
        let mut mixed = self.mix(addrs, rest);
        if self.extra() != 0 {
            mixed ^= spread(extra);
        }
        mixed
    }

    // Nothing is rotated: the upper bits of each product depend on all of what is multiplied.
    #[inline(always)]
    fn mix(&self, addrs: A::Pair, rest: u64) -> u64 {
        let rest = (rest & self.rest).wrapping_mul(0xff51_afd7_ed55_8ccd);
        A::mix(addrs, self.addrs) ^ rest
    }
}

#[inline(always)]
fn spread(extra: u32) -> u64 {
    u64::from(extra).wrapping_mul(0x8ebc_6af0_9c88_c6e3)
}
