// SPDX-License-Identifier: GPL-2.0

//! Priorities of rules.

use core::fmt;

use crate::value::{decimal, Value};

/// The priority of a rule: those of a higher one are judged first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(i16);

fn number(text: &[u8]) -> Option<i16> {
    let (text, sign) = match text.strip_prefix(b"-") {
        Some(digits) => (digits, -1),
        None => (text, 1),
    };
    let value = i32::try_from(decimal(text, 32768)?).ok()?;
    value.checked_mul(sign)?.try_into().ok()
}

impl Value for Priority {
    const EXPECTED: &'static str = "a priority from -32768 to 32767";

    fn parse(text: &[u8]) -> Option<Self> {
        number(text).map(Self)
    }

    fn may_become(text: &[u8]) -> bool {
        text == b"-" || number(text).is_some()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
