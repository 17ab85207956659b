// SPDX-License-Identifier: GPL-2.0

//! Ranges of ports.

use core::fmt;

use crate::value::{decimal, halves, Value};

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
