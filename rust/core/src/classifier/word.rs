// SPDX-License-Identifier: GPL-2.0

//! Addresses as numbers, of either family.

use crate::memory::Memory;
use crate::pair::AddrPair;

use super::forest::Forest;
use super::Classifier;

/// An address as a number, the first bit of its network the highest.
pub(crate) trait Word: Copy + PartialEq + 'static {
    /// The address 0.
    const ZERO: Self;
    /// How many bits it has.
    const WIDTH: u8;
    /// The lengths of prefixes by which rules are told apart: not all, so that few are tried.
    const LENGTHS: &'static [u8];

    /// A source and a destination.
    type Pair: Copy;

    /// What finds rules for packets of the family.
    fn forest<M: Memory>(classifier: &Classifier<M>) -> &Forest<Self, M>;

    /// The source and the destination of a packet, if it is of this family.
    fn of(addrs: AddrPair) -> Option<Self::Pair>;

    /// The address of a number.
    fn from_wide(number: u128) -> Self;

    /// A number whose first so many bits are set.
    fn mask(len: u8) -> Self;

    /// The first so many bits, of which the last is raised by `more`.
    fn raised(self, len: u8, more: u32) -> Self;

    /// How many bits are the same in both, up to the first that is not.
    fn common(a: Self, b: Self) -> u8;

    /// Both.
    fn pair(source: Self, dest: Self) -> Self::Pair;

    /// The source and the destination of a pair.
    fn apart(pair: Self::Pair) -> (Self, Self);

    /// 0 if the first so many bits of the sources, and of the destinations, are the same.
    fn difference(a: Self::Pair, b: Self::Pair, source: u8, dest: u8) -> u64;

    /// The bits of a pair that `mask` has, as one number; the upper a bit is, the more of them it depends on.
    fn mix(pair: Self::Pair, mask: Self::Pair) -> u64;
}

const FIRST: u64 = 0x9e37_79b9_7f4a_7c15;
const SECOND: u64 = 0xc2b2_ae3d_27d4_eb4f;
const THIRD: u64 = 0x1656_67b1_9e37_79f9;

/// Numbers whose first so many bits are set.
static MASKS: [u64; 64] = {
    let mut masks = [0; 64];
    let mut rest: &mut [u64] = &mut masks;
    let mut mask = 0u64;
    while let Some((place, behind)) = rest.split_first_mut() {
        *place = mask;
        mask = (mask >> 1) | (1 << 63);
        rest = behind;
    }
    masks
};

impl Word for u32 {
    const ZERO: Self = 0;
    const WIDTH: u8 = 32;
    const LENGTHS: &'static [u8] = &[0, 8, 12, 16, 20, 22, 24, 26, 28, 30, 32];

    type Pair = u64;

    #[inline]
    fn forest<M: Memory>(classifier: &Classifier<M>) -> &Forest<Self, M> {
        &classifier.ipv4
    }

    #[inline]
    fn of(addrs: AddrPair) -> Option<u64> {
        match addrs {
            AddrPair::V4(pair) => Some(pair),
            AddrPair::V6(..) => None,
        }
    }

    fn from_wide(number: u128) -> Self {
        number as u32
    }

    fn mask(len: u8) -> Self {
        let host = u32::from(Self::WIDTH.saturating_sub(len));
        u32::MAX.checked_shl(host).unwrap_or(0)
    }

    fn raised(self, len: u8, more: u32) -> Self {
        let host = u32::from(Self::WIDTH.saturating_sub(len));
        (self & Self::mask(len)).wrapping_add(more.checked_shl(host).unwrap_or(0))
    }

    fn common(a: Self, b: Self) -> u8 {
        (a ^ b).leading_zeros() as u8
    }

    #[inline]
    fn pair(source: Self, dest: Self) -> u64 {
        (u64::from(source) << 32) | u64::from(dest)
    }

    fn apart(pair: u64) -> (Self, Self) {
        ((pair >> 32) as u32, pair as u32)
    }

    #[inline]
    fn difference(a: u64, b: u64, source: u8, dest: u8) -> u64 {
        // To look them up takes less than to shift.
        let mask = |len: u8| MASKS.get(usize::from(len & 63)).copied().unwrap_or(0);
        (a ^ b) & (mask(source) | (mask(dest) >> 32))
    }

    #[inline]
    fn mix(pair: u64, mask: u64) -> u64 {
        (pair & mask).wrapping_mul(FIRST)
    }
}

impl Word for u128 {
    const ZERO: Self = 0;
    const WIDTH: u8 = 128;
    const LENGTHS: &'static [u8] = &[0, 16, 32, 40, 48, 56, 64, 80, 96, 112, 120, 128];

    type Pair = (u128, u128);

    #[inline]
    fn forest<M: Memory>(classifier: &Classifier<M>) -> &Forest<Self, M> {
        &classifier.ipv6
    }

    #[inline]
    fn of(addrs: AddrPair) -> Option<(u128, u128)> {
        match addrs {
            AddrPair::V4(..) => None,
            AddrPair::V6([s0, s1, d0, d1]) => {
                let whole = |high: u64, low: u64| (u128::from(high) << 64) | u128::from(low);
                Some((whole(s0, s1), whole(d0, d1)))
            }
        }
    }

    fn from_wide(number: u128) -> Self {
        number
    }

    fn mask(len: u8) -> Self {
        let host = u32::from(Self::WIDTH.saturating_sub(len));
        u128::MAX.checked_shl(host).unwrap_or(0)
    }

    fn raised(self, len: u8, more: u32) -> Self {
        let host = u32::from(Self::WIDTH.saturating_sub(len));
        (self & Self::mask(len)).wrapping_add(u128::from(more).checked_shl(host).unwrap_or(0))
    }

    fn common(a: Self, b: Self) -> u8 {
        (a ^ b).leading_zeros() as u8
    }

    #[inline]
    fn pair(source: Self, dest: Self) -> (u128, u128) {
        (source, dest)
    }

    fn apart(pair: (u128, u128)) -> (Self, Self) {
        pair
    }

    #[inline]
    fn difference(a: (u128, u128), b: (u128, u128), source: u8, dest: u8) -> u64 {
        let differs = |a: u128, b: u128, len: u8| (a ^ b).leading_zeros() < u32::from(len);
        u64::from(differs(a.0, b.0, source) | differs(a.1, b.1, dest))
    }

    #[inline]
    fn mix(pair: (u128, u128), mask: (u128, u128)) -> u64 {
        let half = |number: u128| {
            let (high, low) = ((number >> 64) as u64, number as u64);
            high.wrapping_mul(FIRST) ^ low.wrapping_mul(SECOND)
        };
        half(pair.0 & mask.0).wrapping_mul(THIRD) ^ half(pair.1 & mask.1)
    }
}
