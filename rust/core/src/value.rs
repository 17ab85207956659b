// SPDX-License-Identifier: GPL-2.0

//! The values that match words take.

use core::fmt;

/// A value of a match word, as text.
pub trait Value: Copy + PartialEq + fmt::Display {
    /// What is expected where a value stands.
    const EXPECTED: &'static str;

    /// Parses a value; host bits and the like are cleared, other spellings accepted.
    fn parse(text: &[u8]) -> Option<Self>;

    /// Whether more bytes behind `text` could make it parse; never wrongly no.
    fn may_become(text: &[u8]) -> bool;
}

/// Parses a decimal number of digits only.
pub(crate) fn digits(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    let mut value = 0u64;
    for byte in text {
        let digit = char::from(*byte).to_digit(10)?;
        value = value.checked_mul(10)?.checked_add(digit.into())?;
    }
    Some(value)
}

/// Parses a decimal number of digits only that is at most `max`.
pub(crate) fn decimal(text: &[u8], max: u32) -> Option<u32> {
    let value = u32::try_from(digits(text)?).ok()?;
    (value <= max).then_some(value)
}

/// The two sides of the first `separator` in `text`; the second is [`None`] where there is none.
pub(crate) fn halves(text: &[u8], separator: u8) -> (&[u8], Option<&[u8]>) {
    let mut halves = text.splitn(2, |byte| *byte == separator);
    (halves.next().unwrap_or(&[]), halves.next())
}

/// Prints values as a rule has them: one as it is, several as `{ A, B }`.
pub(crate) fn list<T: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    mut values: impl Iterator<Item = T>,
) -> fmt::Result {
    let Some(first) = values.next() else {
        return f.write_str("{ }");
    };
    let Some(second) = values.next() else {
        return first.fmt(f);
    };
    write!(f, "{{ {first}, {second}")?;
    for value in values {
        write!(f, ", {value}")?;
    }
    f.write_str(" }")
}
