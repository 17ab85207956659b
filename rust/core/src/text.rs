// SPDX-License-Identifier: GPL-2.0

//! Text between quotes: comments, and the prefixes of log lines.

use crate::error::Fault;
use crate::lexer::{Form, Words};

/// Most bytes of a comment.
pub const MAX_COMMENT: usize = 128;

/// Most bytes of the prefix of log lines.
pub const MAX_PREFIX: usize = 63;

/// What tells most texts apart without a look at them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tag(u16);

impl Tag {
    /// That of a text.
    pub(crate) fn of(text: &[u8]) -> Self {
        let mix = |sum: u16, byte: &u8| sum.wrapping_mul(31).wrapping_add(u16::from(*byte));
        Self(text.iter().fold(0, mix))
    }

    /// As a number
    pub(crate) fn number(self) -> u16 {
        self.0
    }

    /// The one with this number.
    pub(crate) fn numbered(number: u16) -> Self {
        Self(number)
    }
}

/// A kind of quoted text.
#[derive(Clone, Copy)]
pub(crate) struct Kind {
    max: usize,
    expected: &'static str,
}

/// The comment of a rule.
pub(crate) const COMMENT: Kind = Kind {
    max: MAX_COMMENT,
    expected: "a comment between quotes: 1 to 128 bytes of UTF-8 that can be printed",
};

/// What log lines begin with.
pub(crate) const PREFIX: Kind = Kind {
    max: MAX_PREFIX,
    expected: "a prefix between quotes: 1 to 63 bytes of UTF-8 that can be printed",
};

impl Kind {
    /// Whether `text`, which holds no quote, is such a text.
    fn fits(self, text: &str) -> bool {
        // Lines may also end at these.
        let breaks = |c: char| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}');
        text.len() <= self.max && !text.contains(breaks)
    }

    /// Whether more bytes behind `text` could make it fit.
    fn may_become(self, text: &[u8]) -> bool {
        match core::str::from_utf8(text) {
            Ok(text) => self.fits(text),
            Err(error) => {
                // The last character may still be coming.
                let valid = text.get(..error.valid_up_to()).unwrap_or(&[]);
                error.error_len().is_none()
                    && text.len() <= self.max
                    && core::str::from_utf8(valid).is_ok_and(|text| self.fits(text))
            }
        }
    }

    /// Parses such a text.
    pub(crate) fn parse<'a>(self, words: &mut Words<'a>) -> Result<&'a [u8], Fault> {
        let word = words.require(self.expected)?;
        let fits = |text| core::str::from_utf8(text).is_ok_and(|text| self.fits(text));
        match word.form {
            Form::Quoted if !word.text.is_empty() && fits(word.text) => Ok(word.text),
            Form::Unclosed => {
                let inside = word.text.get(1..).unwrap_or(&[]);
                Err(words.fault(word, self.expected, self.may_become(inside)))
            }
            _ => Err(words.fault(word, self.expected, false)),
        }
    }
}
