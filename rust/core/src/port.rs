// SPDX-License-Identifier: GPL-2.0

//! Ranges of ports.

use core::fmt;

use crate::memory::{List, NoMemory};
use crate::packed::{Packed, Reader};
use crate::value::{decimal, halves, Value};

const ONE: u8 = 0;
const RANGE: u8 = 1;

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl Value for PortRange {
    const EXPECTED: &'static str = "a port from 0 to 65535, FIRST-LAST or @SET";

    fn parse(text: &[u8]) -> Option<Self> {
        let (first, last) = halves(text, b'-');
        let first = port(first)?;
        let last = last.map_or(Some(first), port)?;
        (first <= last).then_some(Self { first, last })
    }

    fn may_become(text: &[u8]) -> bool {
        let (first, last) = halves(text, b'-');
        port(first).is_some() && last.is_none_or(|last| last.is_empty() || port(last).is_some())
    }
}

impl PortRange {
    /// Whether `port` lies in the range.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }

    /// The first and the last one.
    pub(crate) fn ends(&self) -> (u16, u16) {
        (self.first, self.last)
    }
}

fn port(text: &[u8]) -> Option<u16> {
    decimal(text, u16::MAX.into())?.try_into().ok()
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.first)?;
        if self.first != self.last {
            write!(f, "-{}", self.last)?;
        }
        Ok(())
    }
}

/// As it is, or by its two ends.
impl Packed<'_> for PortRange {
    type Field = u16;

    fn pack(&self, to: &mut impl List<u8>) -> Result<u8, NoMemory> {
        to.push_all(&self.first.to_le_bytes())?;
        if self.first == self.last {
            return Ok(ONE);
        }
        to.push_all(&self.last.to_le_bytes())?;
        Ok(RANGE)
    }

    #[inline(always)]
    fn unpack(form: u8, from: &mut Reader<'_>) -> Option<Self> {
        let first = from.u16()?;
        let last = match form {
            ONE => first,
            RANGE => from.u16()?,
            _ => return None,
        };
        Some(Self { first, last })
    }

    #[inline(always)]
    fn fits(form: u8, from: &mut Reader<'_>, port: &u16) -> Option<bool> {
        // Without a branch on the form, which no CPU could foresee.
        let Some(both) = from.peek().map(u32::from_le_bytes) else {
            return Some(Self::unpack(form, from)?.contains(*port));
        };
        let (first, second) = (both as u16, both.wrapping_shr(16) as u16);
        let range = u16::from(form & RANGE);
        let last = first ^ (first ^ second) & 0u16.wrapping_sub(range);
        from.slice(usize::from(range.wrapping_add(1).wrapping_mul(2)))?;
        Some(port.wrapping_sub(first) <= last.wrapping_sub(first))
    }
}
