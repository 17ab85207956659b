// SPDX-License-Identifier: GPL-2.0

//! The file that a table is read from.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use anyhow::{bail, Context as _};

use crate::output::printable;

/// The longest text in bytes that is read: many times what a table of a million rules takes.
const MAX: u64 = 1 << 28;

/// A text, and what to call it.
#[derive(Debug)]
pub(crate) struct Source {
    /// Its name in messages.
    pub(crate) name: String,
    /// Its bytes, which may be anything.
    pub(crate) text: Vec<u8>,
}

impl Source {
    /// Reads `path`, or standard input if it is `-`.
    pub(crate) fn read(path: &Path) -> anyhow::Result<Self> {
        let (name, from): (String, Box<dyn Read>) = if path == Path::new("-") {
            ("<stdin>".to_owned(), Box::new(io::stdin()))
        } else {
            let name = printable(&path.to_string_lossy());
            let file = File::open(path).with_context(|| name.clone())?;
            (name, Box::new(file))
        };
        let mut text = Vec::new();
        from.take(MAX.saturating_add(1))
            .read_to_end(&mut text)
            .with_context(|| name.clone())?;
        if u64::try_from(text.len()).unwrap_or(u64::MAX) > MAX {
            bail!("{name}: more than {MAX} bytes are no table");
        }
        Ok(Self { name, text })
    }

    /// Its lines without their newlines.
    pub(crate) fn lines(&self) -> Vec<&[u8]> {
        self.text.split(|byte| *byte == b'\n').collect()
    }
}
