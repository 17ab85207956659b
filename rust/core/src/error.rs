// SPDX-License-Identifier: GPL-2.0

//! What is said of text that is refused.

use core::fmt;

use crate::lexer::Word;

/// Where and why a line was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fault {
    /// The byte of the line at which the trouble begins, from 0.
    pub at: usize,
    /// The offending text; [`None`] where the line ended too early.
    pub text: Option<Excerpt>,
    /// What should have stood there.
    pub expected: &'static str,
    /// Whether no continuation of the line could mend it.
    ///
    /// A word that ends where the text so far ends may be the beginning of a right one.
    pub definite: bool,
}

impl Fault {
    /// A fault at a word that is no beginning of another one.
    pub fn at_word(word: Word<'_>, expected: &'static str) -> Self {
        Self {
            at: word.at,
            text: Some(Excerpt::new(word.raw)),
            expected,
            definite: true,
        }
    }
}

/// A fault and its place in what was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Error {
    /// The line, from 1.
    pub line: u32,
    /// The byte in the line, from 1.
    pub column: u32,
    /// The offending text; [`None`] where the line ended too early.
    pub text: Option<Excerpt>,
    /// What should have stood there.
    pub expected: &'static str,
}

impl Error {
    /// The error that `fault` is in line `line` (from 1).
    pub fn new(line: u32, fault: &Fault) -> Self {
        Self {
            line,
            column: u32::try_from(fault.at)
                .unwrap_or(u32::MAX)
                .saturating_add(1),
            text: fault.text,
            expected: fault.expected,
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {} column {}: got ", self.line, self.column)?;
        match &self.text {
            Some(text) => write!(f, "\"{text}\"")?,
            None => f.write_str("the end of the line")?,
        }
        write!(f, ", expected {}", self.expected)
    }
}

/// The beginning of some text, kept to be shown later.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excerpt {
    bytes: [u8; Excerpt::MAX],
    /// The length of the text itself, which may be more than is kept.
    len: usize,
}

impl Excerpt {
    /// How many bytes are kept.
    pub const MAX: usize = 48;

    /// Keeps the beginning of `text`.
    pub fn new(text: &[u8]) -> Self {
        let mut bytes = [0; Self::MAX];
        for (to, from) in bytes.iter_mut().zip(text) {
            *to = *from;
        }
        Self {
            bytes,
            len: text.len(),
        }
    }
}

/// Control characters and the like are shown as `\xNN`: the text came from anywhere.
impl fmt::Display for Excerpt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in self.bytes.iter().take(self.len) {
            match byte {
                b'"' | b'\\' => write!(f, "\\{}", char::from(*byte))?,
                b' ' | b'!'..=b'~' => write!(f, "{}", char::from(*byte))?,
                other => write!(f, "\\x{other:02x}")?,
            }
        }
        if self.len > Self::MAX {
            f.write_str("...")?;
        }
        Ok(())
    }
}
