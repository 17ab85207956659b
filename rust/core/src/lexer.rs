// SPDX-License-Identifier: GPL-2.0

//! A line as words.

use crate::error::{Excerpt, Fault};

/// A word and where in the line it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// Its bytes, never empty.
    pub text: &'a [u8],
    /// Its first byte's place in the line, from 0.
    pub at: usize,
}

/// The words of a line: separated by blanks, up to the end or a word that begins with `#`.
#[derive(Clone, Debug)]
pub struct Words<'a> {
    line: &'a [u8],
    /// Where the next word is looked for.
    at: usize,
}

impl<'a> Words<'a> {
    /// The words of `line`, which holds no newline.
    pub fn new(line: &'a [u8]) -> Self {
        Self { line, at: 0 }
    }

    /// A fault at `word`, or at one before it, when the last word was just taken from here.
    ///
    /// `may_become` tells whether more bytes behind that last word could mend it.
    pub fn fault(&self, word: Word<'_>, expected: &'static str, may_become: bool) -> Fault {
        Fault {
            at: word.at,
            text: Some(Excerpt::new(word.text)),
            expected,
            definite: !may_become || self.at < self.line.len(),
        }
    }

    /// A fault at the end of the line, where a word should have been.
    pub fn missing(&self, expected: &'static str) -> Fault {
        Fault {
            at: self.line.len(),
            text: None,
            expected,
            definite: false,
        }
    }

    /// The next word; a fault that says `expected` if there is none.
    pub fn require(&mut self, expected: &'static str) -> Result<Word<'a>, Fault> {
        self.next().ok_or_else(|| self.missing(expected))
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        let rest = self.line.get(self.at..)?;
        let skip = rest.iter().position(|byte| !blank(byte))?;
        let rest = rest.get(skip..)?;
        if rest.first() == Some(&b'#') {
            self.at = self.line.len();
            return None;
        }
        let len = rest.iter().position(blank).unwrap_or(rest.len());
        let at = self.at.checked_add(skip)?;
        self.at = at.checked_add(len)?;
        Some(Word {
            text: rest.get(..len)?,
            at,
        })
    }
}
