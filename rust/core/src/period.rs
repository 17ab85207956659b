// SPDX-License-Identifier: GPL-2.0

//! Lengths of time.

use core::fmt;

use crate::value::{decimal, Value};

/// A length of time, of a millisecond to a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Period(u32);

/// The units and what they are in milliseconds, the largest first.
const UNITS: [(&str, u32); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

const DAY: u32 = 86_400_000;

impl Period {
    /// How often a line is logged if nobody says so.
    pub const DEFAULT: Self = Self(10_000);

    /// So many milliseconds, which were those of another one.
    pub(crate) fn from_millis(millis: u32) -> Self {
        Self(millis)
    }

    /// How many milliseconds it is.
    pub fn millis(self) -> u32 {
        self.0
    }
}

impl Default for Period {
    fn default() -> Self {
        Self::DEFAULT
    }
}

/// A number and what is behind it.
fn split(text: &[u8]) -> Option<(u32, &[u8])> {
    let digits = text.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = text.split_at_checked(digits)?;
    Some((decimal(number, DAY)?, unit))
}

fn checked(number: u32, length: u32) -> Option<Period> {
    let millis = number.checked_mul(length)?;
    (1..=DAY).contains(&millis).then_some(Period(millis))
}

impl Value for Period {
    const EXPECTED: &'static str = "a time such as 500ms, 10s, 5m or 1h, at most 24h";

    fn parse(text: &[u8]) -> Option<Self> {
        let (number, unit) = split(text)?;
        let (_, length) = UNITS.iter().find(|(name, _)| name.as_bytes() == unit)?;
        checked(number, *length)
    }

    fn may_become(text: &[u8]) -> bool {
        let Some((number, unit)) = split(text) else {
            return false;
        };
        // Another digit may follow a 0.
        unit.is_empty()
            || UNITS.iter().any(|(name, length)| {
                name.as_bytes().starts_with(unit) && checked(number, *length).is_some()
            })
    }
}

impl fmt::Display for Period {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let whole = |length: u32| self.0.checked_rem(length) == Some(0);
        match UNITS.iter().find(|(_, length)| whole(*length)) {
            Some((name, length)) => {
                write!(f, "{}{name}", self.0.checked_div(*length).unwrap_or(0))
            }
            None => write!(f, "{}ms", self.0),
        }
    }
}
