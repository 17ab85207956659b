// SPDX-License-Identifier: GPL-2.0

//! Ranges of ports.

use core::fmt;

use crate::addr::decimal;

/// An inclusive range of ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Parses `N` or `N-M` with `N <= M`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let mut halves = text.splitn(2, |byte| *byte == b'-');
        let first = port(halves.next()?)?;
        let last = match halves.next() {
            Some(last) => port(last)?,
            None => first,
        };
        (first <= last).then_some(Self { first, last })
    }

    /// Whether more bytes behind `text` could make it parse.
    pub fn may_become(text: &[u8]) -> bool {
        let mut halves = text.splitn(2, |byte| *byte == b'-');
        let first = halves.next().unwrap_or(&[]);
        port(first).is_some()
            && halves
                .next()
                .is_none_or(|last| last.is_empty() || port(last).is_some())
    }

    /// Whether `port` lies in the range.
    #[inline]
    pub fn contains(&self, port: u16) -> bool {
        self.first <= port && port <= self.last
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
