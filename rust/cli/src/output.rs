// SPDX-License-Identifier: GPL-2.0

//! What is printed, and in which form.

use std::fmt;
use std::io::{self, IsTerminal, Write};

use anstream::{AutoStream, ColorChoice};
use anstyle::{AnsiColor, Style};
use serde::Serialize;

use crate::args::Color;
use crate::teller::Teller;

/// An error, a rule that denies, a line that goes.
pub(crate) const BAD: Style = AnsiColor::Red.on_default().bold();
/// A rule that allows, a line that comes, a caret.
pub(crate) const GOOD: Style = AnsiColor::Green.on_default().bold();
/// A warning.
pub(crate) const WARN: Style = AnsiColor::Yellow.on_default().bold();
/// What stands beside the matter: numbers, places.
pub(crate) const DIM: Style = Style::new().dimmed();
/// A place in a file.
pub(crate) const STRONG: Style = Style::new().bold();

/// `text` in `style`.
pub(crate) fn paint(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// What others have chosen, who must not reach the terminal with it.
pub(crate) fn printable(text: &str) -> String {
    text.replace(char::is_control, "?")
}

/// Standard output and standard error, with colours or without.
pub(crate) struct Output {
    /// Whether JSON is asked for.
    pub(crate) json: bool,
    /// The result.
    pub(crate) out: AutoStream<io::Stdout>,
    /// What is said beside it.
    pub(crate) err: AutoStream<io::Stderr>,
}

impl Output {
    /// Both streams of this process.
    pub(crate) fn new(json: bool, color: Color) -> Self {
        let (out, err) = (io::stdout(), io::stderr());
        let choice = |terminal| match color {
            Color::Always => ColorChoice::Always,
            Color::Auto if terminal && !no_color() => ColorChoice::Always,
            Color::Auto | Color::Never => ColorChoice::Never,
        };
        Self {
            json,
            out: AutoStream::new(out, choice(io::stdout().is_terminal())),
            err: AutoStream::new(err, choice(io::stderr().is_terminal())),
        }
    }

    /// Prints the result as JSON.
    pub(crate) fn print_json(&mut self, value: &impl Serialize) -> anyhow::Result<()> {
        // Through a string, so that a pipe which is gone stays an I/O error.
        let text = serde_json::to_string_pretty(value)?;
        writeln!(self.out, "{text}")?;
        Ok(())
    }

    /// Says something beside the result; if nobody can hear it any more, so be it.
    pub(crate) fn remark(&mut self, text: impl fmt::Display) {
        writeln!(self.err, "ctrfw: {text}").unwrap_or_default();
    }

    /// Who says one thing after another, and waits for nobody: the result as JSON, or what is said beside it.
    pub(crate) fn teller(&self) -> Teller {
        if self.json {
            return Teller::new(io::stdout());
        }
        Teller::new(AutoStream::new(io::stderr(), self.err.current_choice()))
    }

    /// Says why nothing came of it.
    pub(crate) fn complain(&mut self, error: &anyhow::Error) {
        let word = paint(BAD, "error");
        writeln!(self.err, "ctrfw: {word}: {error:#}").unwrap_or_default();
    }

    /// Hands on what is still kept.
    pub(crate) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Whether the user wants no colours (<https://no-color.org>).
fn no_color() -> bool {
    std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty())
}
