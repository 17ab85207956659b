// SPDX-License-Identifier: GPL-2.0

//! A source line with a caret under what is wrong in it.

use std::fmt::Write as _;

use unicode_width::{UnicodeWidthChar as _, UnicodeWidthStr as _};

/// The columns of a terminal between two tab stops.
const TAB: usize = 8;
/// How many bytes of the line are shown before the caret, and from it on: a line may be endless.
const BEFORE: usize = 72;
const AFTER: usize = 72;
/// Before both lines.
const INDENT: &str = "    ";

/// The two lines, without newlines.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Snippet {
    /// The source line, in a form that a terminal takes for text only.
    pub(crate) source: String,
    /// Blanks and carets.
    pub(crate) carets: String,
}

impl Snippet {
    /// `line` with carets under its word at byte `at` (from 0), or one caret behind its end.
    pub(crate) fn new(line: &[u8], at: usize) -> Self {
        let at = at.min(line.len());
        let (before, word_on) = line.split_at(at);
        let blank = |byte: &u8| matches!(byte, b' ' | b'\t' | b'\r');
        let end = word_on.iter().position(blank).unwrap_or(word_on.len());
        let (word, after) = word_on.split_at(end);

        let mut source = INDENT.to_owned();
        let mut column = 0usize;
        let from = before.len().saturating_sub(BEFORE);
        if from > 0 {
            show(b"...", &mut source, &mut column);
        }
        show(before.get(from..).unwrap_or(&[]), &mut source, &mut column);
        let first = column;
        let room = show_some(word, AFTER, &mut source, &mut column);
        let width = column.saturating_sub(first).max(1);
        show_some(after, room, &mut source, &mut column);
        Self {
            source: source.trim_end().to_owned(),
            carets: format!("{INDENT}{}{}", " ".repeat(first), "^".repeat(width)),
        }
    }
}

/// Shows at most `room` bytes; how much room is left.
fn show_some(bytes: &[u8], room: usize, to: &mut String, column: &mut usize) -> usize {
    match bytes.get(..room) {
        Some(beginning) if beginning.len() < bytes.len() && room > 0 => {
            show(beginning, to, column);
            show(b"...", to, column);
            0
        }
        Some(_) if room == 0 => 0,
        _ => {
            show(bytes, to, column);
            room.saturating_sub(bytes.len())
        }
    }
}

/// Shows bytes as they look on a terminal; tabs as blanks, what is no text or takes no room (control
/// characters, marks that turn the direction of writing) by its number.
fn show(bytes: &[u8], to: &mut String, column: &mut usize) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let begin = to.len();
            match c.width() {
                _ if c == '\t' => {
                    let blanks = TAB.saturating_sub(column.checked_rem(TAB).unwrap_or(0));
                    to.push_str(&" ".repeat(blanks));
                }
                // At the end of a line that another system wrote.
                _ if c == '\r' => {}
                Some(1..) => to.push(c),
                _ if c.is_ascii() => write!(to, "\\x{:02x}", u32::from(c)).unwrap_or_default(),
                _ => write!(to, "\\u{{{:x}}}", u32::from(c)).unwrap_or_default(),
            }
            *column = column.saturating_add(to.get(begin..).map_or(0, |text| text.width()));
        }
        for byte in chunk.invalid() {
            write!(to, "\\x{byte:02x}").unwrap_or_default();
            *column = column.saturating_add(4);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(line: &[u8], at: usize) -> (String, String) {
        let snippet = Snippet::new(line, at);
        (
            snippet.source.trim_start().to_owned(),
            snippet.carets.split_at(4).1.to_owned(),
        )
    }

    #[test]
    fn under_the_word() {
        assert_eq!(
            lines(b"deny from 10.0.0.300 # x", 10),
            (
                "deny from 10.0.0.300 # x".into(),
                "          ^^^^^^^^^^".into()
            )
        );
        assert_eq!(
            lines(b"deny from", 9),
            ("deny from".into(), "         ^".into())
        );
        assert_eq!(lines(b"", 0), ("".into(), "^".into()));
        assert_eq!(lines(b"", 7), ("".into(), "^".into()));
    }

    #[test]
    fn tabs_and_bytes_that_are_no_text() {
        assert_eq!(
            lines(b"deny\tfrom\txx\r", 10),
            ("deny    from    xx".into(), "                ^^".into())
        );
        assert_eq!(
            lines(b"deny in \xff\x1b[0m x", 8),
            (
                r"deny in \xff\x1b[0m x".into(),
                "        ^^^^^^^^^^^".into()
            )
        );
        // One letter of two bytes, one sign of two columns, one that turns the direction.
        assert_eq!(
            lines("deny é 漢 \u{202e}x".as_bytes(), 12),
            (r"deny é 漢 \u{202e}x".into(), "          ^^^^^^^^^".into())
        );
    }

    #[test]
    fn endless_lines() {
        let (source, carets) = lines(&[b'a'; 5000], 1023);
        assert_eq!(source, format!("...{}...", "a".repeat(BEFORE + AFTER)));
        assert_eq!(
            carets,
            format!("{}{}", " ".repeat(BEFORE + 3), "^".repeat(AFTER + 3))
        );
    }

    proptest::proptest! {
        #[test]
        fn any_bytes(line in proptest::collection::vec(proptest::num::u8::ANY, 0..300), at in 0..400usize) {
            let snippet = Snippet::new(&line, at);
            assert!(!snippet.source.chars().any(char::is_control));
            assert!(snippet.carets.ends_with('^'));
        }
    }
}
