// SPDX-License-Identifier: GPL-2.0

//! What lines are written to. Of trace lines there may be a million a second, which consist of numbers,
//! names and short words: a buffer takes these without a call, and without a look at whether they are text.

use core::fmt;
use core::ops::DerefMut;

/// What takes text, numbers and short pieces of ASCII.
pub trait Writer: fmt::Write {
    /// Adds a number in decimal.
    fn number(&mut self, number: u64) -> fmt::Result {
        write!(self, "{number}")
    }

    /// Adds the last three digits of a number, leading zeroes among them.
    fn three(&mut self, number: u64) -> fmt::Result {
        write!(self, "{:03}", number % 1000)
    }

    /// Adds a number in hexadecimal.
    fn hex(&mut self, number: u16) -> fmt::Result {
        write!(self, "{number:x}")
    }

    /// Adds the first `len` of these bytes, which are ASCII.
    fn ascii(&mut self, bytes: &[u8; SHORT], len: usize) -> fmt::Result {
        let text = bytes.get(..len).map(core::str::from_utf8);
        self.write_str(text.and_then(Result::ok).unwrap_or("?"))
    }
}

impl Writer for fmt::Formatter<'_> {}

/// So many bytes are written at a time, of which fewer may count.
pub const SHORT: usize = 16;

/// A place in memory that is filled with text. What does not fit is an error, as it may be for pieces of
/// fewer than [`SHORT`] bytes where less room than that is left.
pub struct Buffer<B> {
    room: B,
    len: usize,
}

impl<B: DerefMut<Target = [u8]>> Buffer<B> {
    /// A buffer with nothing in it.
    pub fn new(room: B) -> Self {
        Self { room, len: 0 }
    }

    /// What is in it.
    pub fn text(&self) -> &[u8] {
        self.room.get(..self.len).unwrap_or(&[])
    }

    /// Takes all out.
    pub fn clear(&mut self) {
        self.len = 0;
    }

    /// How much more fits.
    pub fn left(&self) -> usize {
        self.room.len().saturating_sub(self.len)
    }

    /// Adds the first `len` of these bytes.
    #[inline(always)]
    fn put<const N: usize>(&mut self, bytes: &[u8; N], len: usize) -> fmt::Result {
        let free = self.room.get_mut(self.len..);
        let to = free.and_then(|free| free.first_chunk_mut());
        *to.ok_or(fmt::Error)? = *bytes;
        self.len = self.len.wrapping_add(len.min(N));
        Ok(())
    }
}

impl<B: DerefMut<Target = [u8]>> fmt::Write for Buffer<B> {
    #[inline(always)]
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let free = self.room.get_mut(self.len..);
        let to = free.and_then(|free| free.get_mut(..text.len()));
        to.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = self.len.wrapping_add(text.len());
        Ok(())
    }
}

/// The numbers below 1000, without leading zeroes.
static NUMBERS: [[u8; 4]; 1000] = {
    let mut numbers = [[0; 4]; 1000];
    let mut left: &mut [[u8; 4]] = &mut numbers;
    let mut number = 0u16;
    while let [first, rest @ ..] = left {
        let (a, b, c) = (number / 100, number / 10, number);
        let [a, b, c] = [digit(a as u64), digit(b as u64), digit(c as u64)];
        *first = match number {
            0..10 => [c, 0, 0, 0],
            10..100 => [b, c, 0, 0],
            _ => [a, b, c, 0],
        };
        number += 1;
        left = rest;
    }
    numbers
};

/// The last digit of a number.
const fn digit(number: u64) -> u8 {
    b'0' | (number % 10) as u8
}

impl<B: DerefMut<Target = [u8]>> Writer for Buffer<B> {
    #[inline]
    fn number(&mut self, number: u64) -> fmt::Result {
        let small = usize::try_from(number).ok();
        match small.and_then(|small| NUMBERS.get(small)) {
            Some(digits) => {
                let more = usize::from(number >= 10).wrapping_add((number >= 100).into());
                self.put(digits, more.wrapping_add(1))
            }
            None => {
                self.number(number / 1000)?;
                self.three(number)
            }
        }
    }

    #[inline]
    fn three(&mut self, number: u64) -> fmt::Result {
        let digits = [number / 100, number / 10, number].map(digit);
        self.put(&digits, digits.len())
    }

    #[inline]
    fn hex(&mut self, number: u16) -> fmt::Result {
        let digits = (u16::BITS.wrapping_sub(number.leading_zeros()))
            .div_ceil(4)
            .max(1);
        let unused = 4u32.wrapping_sub(digits).wrapping_mul(4);
        let first = number.wrapping_shl(unused);
        let digit = |shift: u32| {
            let value = (first.wrapping_shr(shift) % 16) as u8;
            let letter = if value < 10 { b'0' } else { b'a' - 10 };
            letter.wrapping_add(value)
        };
        self.put(&[12, 8, 4, 0].map(digit), digits as usize)
    }

    #[inline(always)]
    fn ascii(&mut self, bytes: &[u8; SHORT], len: usize) -> fmt::Result {
        self.put(bytes, len)
    }
}
