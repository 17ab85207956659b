// SPDX-License-Identifier: GPL-2.0

//! Firewall marks.

use core::fmt;

use crate::memory::{List, NoMemory};
use crate::packed::{Packed, Reader};
use crate::value::{decimal, halves, Value};

/// Forms: all bits count, or those of a mask.
const WHOLE: u8 = 0;
const MASKED: u8 = 1;

/// What the mark of a packet must be, in the bits that count.
///
/// # Invariants
///
/// `value` has no bit that `mask` has not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkMatch {
    value: u32,
    mask: u32,
}

impl MarkMatch {
    /// Whether `mark` is such a mark.
    #[inline]
    pub fn matches(self, mark: u32) -> bool {
        mark & self.mask == self.value
    }
}

/// Decimal, or hexadecimal behind `0x`.
fn number(text: &[u8]) -> Option<u32> {
    let Some(digits) = text.strip_prefix(b"0x") else {
        return decimal(text, u32::MAX);
    };
    let hex = !digits.is_empty() && digits.iter().all(u8::is_ascii_hexdigit);
    let digits = core::str::from_utf8(digits).ok().filter(|_| hex)?;
    u32::from_str_radix(digits, 16).ok()
}

impl Value for MarkMatch {
    const EXPECTED: &'static str = "a mark such as 7 or 0x1f, perhaps with /MASK";

    /// Bits of the value that the mask has not are cleared.
    fn parse(text: &[u8]) -> Option<Self> {
        let (value, mask) = halves(text, b'/');
        let mask = mask.map_or(Some(u32::MAX), number)?;
        // INVARIANT: the bits were just cleared.
        Some(Self {
            value: number(value)? & mask,
            mask,
        })
    }

    fn may_become(text: &[u8]) -> bool {
        let begins = |text: &[u8]| text.is_empty() || text == b"0x" || number(text).is_some();
        match halves(text, b'/') {
            (value, None) => begins(value),
            (value, Some(mask)) => number(value).is_some() && begins(mask),
        }
    }
}

impl fmt::Display for MarkMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.value)?;
        if self.mask != u32::MAX {
            write!(f, "/{:#x}", self.mask)?;
        }
        Ok(())
    }
}

impl Packed<'_> for MarkMatch {
    type Field = u32;

    fn pack(&self, to: &mut impl List<u8>) -> Result<u8, NoMemory> {
        to.push_all(&self.value.to_le_bytes())?;
        if self.mask == u32::MAX {
            return Ok(WHOLE);
        }
        to.push_all(&self.mask.to_le_bytes())?;
        Ok(MASKED)
    }

    fn unpack(form: u8, from: &mut Reader<'_>) -> Option<Self> {
        let value = from.u32()?;
        let mask = match form {
            WHOLE => u32::MAX,
            MASKED => from.u32()?,
            _ => return None,
        };
        Some(Self { value, mask })
    }

    fn fits(form: u8, from: &mut Reader<'_>, mark: &u32) -> Option<bool> {
        Some(Self::unpack(form, from)?.matches(*mark))
    }
}
