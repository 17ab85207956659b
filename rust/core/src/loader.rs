// SPDX-License-Identifier: GPL-2.0

//! Text that arrives in pieces of any size, as statements.

use crate::error::{Error, Excerpt, Fault};
use crate::memory::NoMemory;
use crate::parser::Grammar;

/// The longest line in bytes, without its newline.
pub const MAX_LINE: usize = 1023;

/// What is expected in place of a longer line.
pub const SHORT_LINE: &str = "a line of at most 1023 bytes";

/// Takes what is parsed.
pub trait Sink<G: Grammar> {
    /// Why it can take no more, apart from the language.
    type Error;

    /// Takes what one line says.
    fn accept(&mut self, item: G::Item<'_>) -> Result<(), Refusal<Self::Error>>;
}

/// Why a sink does not take a statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal<E> {
    /// It does not fit what came before; what would have.
    Expected(&'static str),
    /// A word of it does not fit what came before.
    Fault(Fault),
    /// The sink can take nothing at all.
    Sink(E),
}

impl From<NoMemory> for Refusal<NoMemory> {
    fn from(error: NoMemory) -> Self {
        Self::Sink(error)
    }
}

impl<E> Refusal<E> {
    /// The same, with another kind of error of the sink.
    pub fn map<F>(self, op: impl FnOnce(E) -> F) -> Refusal<F> {
        match self {
            Self::Expected(expected) => Refusal::Expected(expected),
            Self::Fault(fault) => Refusal::Fault(fault),
            Self::Sink(error) => Refusal::Sink(op(error)),
        }
    }
}

/// Why a text was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LoadError<E> {
    /// It is not in the language.
    Language(Error),
    /// The sink could not take it; the line (from 1) at which that was.
    Sink(u32, E),
}

/// Where the first newline is, looked for in eight bytes at a time.
fn line_len(piece: &[u8]) -> Option<usize> {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const TOPS: u64 = u64::from_ne_bytes([0x80; 8]);

    let (mut at, mut rest) = (0usize, piece);
    while let Some((chunk, behind)) = rest.split_first_chunk::<8>() {
        // A byte is 0 where it was a newline, and only such a one sets its top bit below.
        let bytes = u64::from_le_bytes(*chunk) ^ ONES.wrapping_mul(b'\n'.into());
        let found = bytes.wrapping_sub(ONES) & !bytes & TOPS;
        if found != 0 {
            return at.checked_add(found.trailing_zeros() as usize / 8);
        }
        at = at.checked_add(8)?;
        rest = behind;
    }
    let last = rest.iter().position(|byte| *byte == b'\n')?;
    at.checked_add(last)
}

/// Puts pieces together to lines, and hands what they say to a [`Sink`].
///
/// Once an error was returned the text is refused as a whole; feeding it further makes no sense.
pub struct Loader<G: Grammar> {
    /// The line that has begun but not ended.
    partial: [u8; MAX_LINE],
    /// How much of `partial` is used.
    used: usize,
    /// How many lines have ended.
    lines: u32,
    /// What the lines so far say of the next one.
    state: G::State,
}

impl<G: Grammar> Default for Loader<G> {
    fn default() -> Self {
        Self::new()
    }
}

impl<G: Grammar> Loader<G> {
    /// A loader that has seen nothing.
    pub fn new() -> Self {
        Self {
            partial: [0; MAX_LINE],
            used: 0,
            lines: 0,
            state: G::State::default(),
        }
    }

    /// Takes the next piece.
    ///
    /// A line that has not ended yet is checked as far as it goes: what no continuation could mend
    /// is refused at once, so that the writer hears of it.
    pub fn feed<S: Sink<G>>(
        &mut self,
        mut piece: &[u8],
        sink: &mut S,
    ) -> Result<(), LoadError<S::Error>> {
        while let Some(len) = line_len(piece) {
            let (line, rest) = piece.split_at_checked(len).unwrap_or((piece, &[]));
            piece = rest.get(1..).unwrap_or(&[]);
            if self.used == 0 && line.len() <= MAX_LINE {
                Self::line(self.lines, line, &mut self.state, sink)?;
                self.lines = self.lines.saturating_add(1);
            } else {
                self.append(line)?;
                self.flush(sink)?;
            }
        }
        self.append(piece)?;
        self.check()
    }

    /// Ends the text: a last line needs no newline.
    pub fn finish<S: Sink<G>>(&mut self, sink: &mut S) -> Result<(), LoadError<S::Error>> {
        if self.used != 0 {
            self.flush(sink)?;
        }
        match G::unfinished(self.state) {
            Some(expected) => {
                let fault = Fault {
                    at: 0,
                    text: None,
                    expected,
                    definite: true,
                };
                Err(Self::error(self.lines, &fault))
            }
            None => Ok(()),
        }
    }

    fn pending(&self) -> &[u8] {
        self.partial.get(..self.used).unwrap_or(&[])
    }

    /// Checks the line that has begun, as far as it goes.
    fn check<E>(&self) -> Result<(), LoadError<E>> {
        let mut state = self.state;
        match G::parse(self.pending(), &mut state) {
            Err(fault) if fault.definite => Err(Self::error(self.lines, &fault)),
            _ => Ok(()),
        }
    }

    fn append<E>(&mut self, piece: &[u8]) -> Result<(), LoadError<E>> {
        let room = self.partial.get_mut(self.used..).unwrap_or(&mut []);
        let fits = piece.len().min(room.len());
        for (to, from) in room.iter_mut().zip(piece) {
            *to = *from;
        }
        self.used = self.used.saturating_add(fits);
        if fits == piece.len() {
            return Ok(());
        }
        // What is wrong with the line's beginning is told first, however the text was cut.
        self.check()?;
        let fault = Fault {
            at: MAX_LINE,
            text: Some(Excerpt::new(self.pending())),
            expected: SHORT_LINE,
            definite: true,
        };
        Err(Self::error(self.lines, &fault))
    }

    /// Ends the line that has begun.
    fn flush<S: Sink<G>>(&mut self, sink: &mut S) -> Result<(), LoadError<S::Error>> {
        let line = self.partial.get(..self.used).unwrap_or(&[]);
        let taken = Self::line(self.lines, line, &mut self.state, sink);
        self.used = 0;
        self.lines = self.lines.saturating_add(1);
        taken
    }

    /// Hands on what `line` says; `lines` have ended before it.
    fn line<S: Sink<G>>(
        lines: u32,
        line: &[u8],
        state: &mut G::State,
        sink: &mut S,
    ) -> Result<(), LoadError<S::Error>> {
        let item = G::parse(line, state).map_err(|fault| Self::error(lines, &fault))?;
        let Some(item) = item else {
            return Ok(());
        };
        sink.accept(item).map_err(|refusal| match refusal {
            Refusal::Expected(expected) => {
                let fault = Fault {
                    at: 0,
                    text: Some(Excerpt::new(line)),
                    expected,
                    definite: true,
                };
                Self::error(lines, &fault)
            }
            Refusal::Fault(fault) => Self::error(lines, &fault),
            Refusal::Sink(error) => LoadError::Sink(lines.saturating_add(1), error),
        })
    }

    fn error<E>(lines: u32, fault: &Fault) -> LoadError<E> {
        LoadError::Language(Error::new(lines.saturating_add(1), fault))
    }
}
