// SPDX-License-Identifier: GPL-2.0

//! Numbers as text: what lines of which there may be a million a second consist of.

use core::fmt;

/// Prints a number in decimal, as [`fmt::Display`] does, but with no [`fmt::Formatter`] in between.
#[inline]
pub(crate) fn write(to: &mut impl fmt::Write, number: u64) -> fmt::Result {
    // The longest there is.
    let mut digits = [0; 20];
    let mut unused = digits.len();
    let mut left = number;
    for digit in digits.iter_mut().rev() {
        *digit = b'0' | (left % 10) as u8;
        left /= 10;
        unused = unused.saturating_sub(1);
        if left == 0 {
            break;
        }
    }
    let digits = digits.get(unused..).unwrap_or(&[]);
    to.write_str(core::str::from_utf8(digits).unwrap_or("?"))
}
