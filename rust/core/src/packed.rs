// SPDX-License-Identifier: GPL-2.0

//! Values as bytes: most rules have few of them, and all are read one behind the other.

use crate::memory::{List, NoMemory};

/// The form of a word whose values are the members of a set; its place follows.
pub(crate) const SET: u8 = 6;

/// The form of a word with any number of values but one; their length in bytes follows, and before each
/// its own form.
pub(crate) const LIST: u8 = 7;

/// Bytes that are read from their front.
#[derive(Clone, Copy, Default)]
pub(crate) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    /// Begins with the first of them.
    #[inline(always)]
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// How many are left.
    #[inline(always)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }

    /// The next `N`, which stay the next.
    #[inline(always)]
    pub(crate) fn peek<const N: usize>(&self) -> Option<[u8; N]> {
        self.0.first_chunk().copied()
    }

    /// Takes the next `N`.
    #[inline(always)]
    pub(crate) fn chunk<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (chunk, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*chunk)
    }

    /// Takes the next `len`.
    #[inline(always)]
    pub(crate) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let (slice, rest) = self.0.split_at_checked(len)?;
        self.0 = rest;
        Some(slice)
    }

    /// Takes a number of 8 bits.
    #[inline(always)]
    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.chunk().map(u8::from_le_bytes)
    }

    /// Takes a number of 16 bits.
    #[inline(always)]
    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.chunk().map(u16::from_le_bytes)
    }

    /// Takes a number of 32 bits.
    #[inline(always)]
    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.chunk().map(u32::from_le_bytes)
    }

    /// Takes a number of 64 bits.
    #[inline(always)]
    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.chunk().map(u64::from_le_bytes)
    }

    /// Takes a number of 128 bits.
    #[inline(always)]
    pub(crate) fn u128(&mut self) -> Option<u128> {
        self.chunk().map(u128::from_le_bytes)
    }
}

/// Has `take` take something from a copy, so that in a loop which does so only now and then the bytes can
/// stay in registers.
#[inline(always)]
pub(crate) fn apart<'a, T>(from: &mut Reader<'a>, take: impl FnOnce(&mut Reader<'a>) -> T) -> T {
    let mut copy = *from;
    let taken = take(&mut copy);
    *from = copy;
    taken
}

/// A value of a match word as bytes. Its form tells how many they are, and is kept apart.
pub(crate) trait Packed<'a>: Sized {
    /// The packet's field that it is compared with.
    type Field: ?Sized;

    /// Adds its bytes, and gives its form, less than [`SET`]. Process context.
    fn pack(&self, to: &mut impl List<u8>) -> Result<u8, NoMemory>;

    /// Leaves out a value of this form; [`None`] if there is none.
    fn skip(form: u8, from: &mut Reader<'a>) -> Option<()> {
        Self::unpack(form, from).map(drop)
    }

    /// Takes a value of this form. [`None`] if there is none, which is so for nothing that was packed.
    fn unpack(form: u8, from: &mut Reader<'a>) -> Option<Self>;

    /// Takes a value of this form, and tells whether the packet's field fits it; [`None`] as above.
    fn fits(form: u8, from: &mut Reader<'a>, field: &Self::Field) -> Option<bool>;
}
