// SPDX-License-Identifier: GPL-2.0

//! A line as words.

use crate::error::{Excerpt, Fault};

/// What stands behind a value in braces.
pub(crate) const MORE: &str = "a comma or }";
const END: &str = "nothing more on this line";

/// How a word was written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// As it is.
    Plain,
    /// Between double quotes.
    Quoted,
    /// A quote that opens and does not close before the line ends.
    Unclosed,
    /// One of `{`, `}`, `,` and, where a word begins, `!`.
    Mark,
}

/// A word and where in the line it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<'a> {
    /// What it says: without its quotes. Empty only between quotes.
    pub text: &'a [u8],
    /// Its bytes as they stand in the line, never empty.
    pub raw: &'a [u8],
    /// Its first byte's place in the line, from 0.
    pub at: usize,
    /// How it was written.
    pub form: Form,
}

impl Word<'_> {
    /// Whether it is this mark.
    pub fn is_mark(&self, mark: &[u8]) -> bool {
        self.form == Form::Mark && self.text == mark
    }
}

/// The words of a line: separated by blanks and marks, up to the end or a word that begins with `#`.
#[derive(Clone, Copy, Debug, Default)]
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
            text: Some(Excerpt::new(word.raw)),
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

    /// Takes the comma or the `}` behind a value in braces, and tells whether it was a comma.
    pub fn list_goes_on(&mut self) -> Result<bool, Fault> {
        let mark = self.require(MORE)?;
        if mark.is_mark(b",") || mark.is_mark(b"}") {
            return Ok(mark.is_mark(b","));
        }
        Err(self.fault(mark, MORE, false))
    }

    /// A fault if there is another word.
    pub fn end(&mut self) -> Result<(), Fault> {
        match self.next() {
            Some(extra) => Err(self.fault(extra, END, false)),
            None => Ok(()),
        }
    }

    /// The next word, if it is a comma right behind what was taken last.
    pub fn comma(&self) -> Option<Word<'a>> {
        let next = self.line.get(self.at).filter(|byte| **byte == b',');
        next.and_then(|_| self.peek())
    }

    /// The first byte of the next word.
    pub(crate) fn first_byte(&self) -> Option<u8> {
        let rest = self.line.get(self.at..)?;
        let first = rest.iter().find(|byte| !is_blank(**byte)).copied();
        first.filter(|byte| *byte != b'#')
    }

    /// Length of the line in bytes.
    pub fn len(&self) -> usize {
        self.line.len()
    }

    /// Whether the line is empty.
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// The next word, which stays the next.
    pub fn peek(&self) -> Option<Word<'a>> {
        let mut ahead = *self;
        ahead.next()
    }

    /// Whether more bytes behind the line could add to what was taken last: it reaches to the end of
    /// the line, and no brace closes it.
    pub fn may_go_on(&self) -> bool {
        self.at >= self.line.len() && self.line.last() != Some(&b'}')
    }

    /// The words that are no marks.
    pub fn values(self) -> impl Iterator<Item = Word<'a>> {
        self.filter(|word| word.form != Form::Mark)
    }

    /// Where the next word is looked for, in bytes from the beginning of the line.
    pub(crate) fn cursor(&self) -> u16 {
        // No line is as long as that.
        u16::try_from(self.at).unwrap_or(u16::MAX)
    }

    /// The words of the line from one position up to another.
    pub(crate) fn between(&self, start: u16, end: u16) -> Self {
        Self {
            line: self.line.get(..end.into()).unwrap_or(self.line),
            at: start.into(),
        }
    }

    /// The words from here up to where `end` will look for its next one.
    pub fn up_to(&self, end: &Self) -> Self {
        Self {
            line: self.line.get(..end.at).unwrap_or(self.line),
            at: self.at,
        }
    }
}

#[inline]
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\r')
}

impl<'a> Iterator for Words<'a> {
    type Item = Word<'a>;

    fn next(&mut self) -> Option<Word<'a>> {
        let ends = |byte: &u8| is_blank(*byte) || matches!(byte, b'{' | b'}' | b',');
        let rest = self.line.get(self.at..)?;
        let skip = rest.iter().position(|byte| !is_blank(*byte))?;
        let rest = rest.get(skip..)?;
        let (len, form) = match rest.first()? {
            b'#' => {
                self.at = self.line.len();
                return None;
            }
            b'{' | b'}' | b',' | b'!' => (1, Form::Mark),
            b'"' => match rest.iter().skip(1).position(|byte| *byte == b'"') {
                Some(inside) => (inside.checked_add(2)?, Form::Quoted),
                None => (rest.len(), Form::Unclosed),
            },
            _ => (
                rest.iter().position(ends).unwrap_or(rest.len()),
                Form::Plain,
            ),
        };
        let raw = rest.get(..len)?;
        let at = self.at.checked_add(skip)?;
        self.at = at.checked_add(len)?;
        let text = match form {
            Form::Quoted => raw.get(1..len.checked_sub(1)?)?,
            _ => raw,
        };
        Some(Word {
            text,
            raw,
            at,
            form,
        })
    }
}
