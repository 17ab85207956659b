// SPDX-License-Identifier: GPL-2.0

//! The texts of many statements, one behind the other.

use core::fmt;

use crate::memory::{Duplicate, List, Memory, NoMemory, Span};
use crate::parser::LogText;
use crate::rule::Log;

/// The texts, all of them UTF-8.
pub(crate) struct Texts<M: Memory>(M::List<u8>);

impl<M: Memory> Default for Texts<M> {
    fn default() -> Self {
        Self(Default::default())
    }
}

impl<M: Memory> Duplicate for Texts<M> {
    fn duplicate(&self) -> Result<Self, NoMemory> {
        Ok(Self(self.0.duplicate()?))
    }
}

impl<M: Memory> Texts<M> {
    /// Adds a text. Process context.
    pub(crate) fn add(&mut self, text: &[u8]) -> Result<Span, NoMemory> {
        let start = self.0.len();
        self.0.extend(text.iter().copied())?;
        Span::since(&self.0, start)
    }

    /// Adds the text of how packets are logged. Process context.
    pub(crate) fn add_log(&mut self, log: Option<LogText<'_>>) -> Result<Option<Log>, NoMemory> {
        let Some(LogText { prefix, every }) = log else {
            return Ok(None);
        };
        let prefix = self.add(prefix)?;
        Ok(Some(Log { prefix, every }))
    }

    /// Adds a text of `from`. Process context.
    pub(crate) fn copy(&mut self, from: &Self, text: Span) -> Result<Span, NoMemory> {
        self.add(text.of(&from.0))
    }

    /// Adds the text of how packets are logged, which is in `from`. Process context.
    pub(crate) fn copy_log(
        &mut self,
        from: &Self,
        log: Option<Log>,
    ) -> Result<Option<Log>, NoMemory> {
        let Some(Log { prefix, every }) = log else {
            return Ok(None);
        };
        let prefix = self.copy(from, prefix)?;
        Ok(Some(Log { prefix, every }))
    }

    /// One of them.
    pub(crate) fn get(&self, text: Span) -> &str {
        core::str::from_utf8(self.bytes(text)).unwrap_or("")
    }

    /// The bytes of one of them.
    pub(crate) fn bytes(&self, text: Span) -> &[u8] {
        text.of(&self.0)
    }

    /// Prints how packets are logged, behind a blank.
    pub(crate) fn fmt_log(&self, f: &mut fmt::Formatter<'_>, log: Option<Log>) -> fmt::Result {
        match log {
            Some(log) => log.fmt(f, self.get(log.prefix)),
            None => Ok(()),
        }
    }

    /// How many bytes of memory they take.
    pub(crate) fn memory(&self) -> usize {
        self.0.memory()
    }
}
