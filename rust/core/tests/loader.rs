// SPDX-License-Identifier: GPL-2.0

//! Text that arrives in pieces: however it is cut, it says the same and fails the same.

mod common;

use common::{line, load, statement, Collector, Full, Language};
use ctrfw_core::error::{Error, Excerpt, Fault};
use ctrfw_core::loader::{LoadError, Loader, Refusal, Sink, MAX_LINE};
use ctrfw_core::parser::{Grammar, OpenSet, Statement, Table, Trace};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

type Outcome = (Vec<String>, Result<(), LoadError<Full>>);

/// What a text says, by the grammar alone: the whole text is there, and is cut into lines.
fn oracle(text: &[u8]) -> Outcome {
    let mut statements = Vec::new();
    let mut state = OpenSet::default();
    let lines = text.split(|byte| *byte == b'\n').count();
    for (index, line) in text.split(|byte| *byte == b'\n').enumerate() {
        let refuse = |fault: Fault| {
            Err(LoadError::Language(Error {
                line: index as u32 + 1,
                column: fault.at as u32 + 1,
                text: fault.text,
                expected: fault.expected,
            }))
        };
        if line.len() > 1023 {
            // A wrong word comes first if it has ended where a right line would have to end.
            let fault = match Table::parse(&line[..1023], &mut { state }) {
                Err(fault) if fault.definite => fault,
                _ => Fault {
                    at: 1023,
                    text: Some(Excerpt::new(&line[..1023])),
                    expected: "a line of at most 1023 bytes",
                    definite: true,
                },
            };
            return (statements, refuse(fault));
        }
        let parsed = match Table::parse(line, &mut state) {
            Ok(statement) => statement.map(Table::print),
            Err(fault) => return (statements, refuse(fault)),
        };
        match parsed {
            Some(Ok(statement)) => statements.push(statement),
            Some(Err(Refusal::Fault(fault))) => return (statements, refuse(fault)),
            Some(Err(refusal)) => panic!("{refusal:?}"),
            None => {}
        }
    }
    if let Some(expected) = Table::unfinished(state) {
        // A last line that is empty has not begun.
        let last = if text.ends_with(b"\n") {
            lines
        } else {
            lines + 1
        };
        let error = Error {
            line: last as u32,
            column: 1,
            text: None,
            expected,
        };
        return (statements, Err(LoadError::Language(error)));
    }
    (statements, Ok(()))
}

/// Whether pieces fared as the whole text did. Where a piece ends within a wrong word, the end of
/// the word may be missing from what is said of it, and with it a better guess of what it should be.
fn as_expected(found: &Outcome, expected: &Outcome) -> bool {
    let same_place = match (&found.1, &expected.1) {
        (Err(LoadError::Language(found)), Err(LoadError::Language(expected))) => {
            let shown = |error: &Error| error.text.map(|text| text.to_string());
            let begins = |text: String| {
                shown(found).is_some_and(|found| text.starts_with(found.trim_end_matches("...")))
            };
            found == expected
                || ((found.line, found.column) == (expected.line, expected.column)
                    && shown(expected).is_some_and(begins))
        }
        (found, expected) => found == expected,
    };
    same_place && found.0 == expected.0
}

/// `text` in pieces of the given sizes, again and again.
fn pieces<'a>(text: &'a [u8], sizes: &[usize]) -> Vec<&'a [u8]> {
    let mut pieces = Vec::new();
    let mut rest = text;
    for size in sizes.iter().cycle() {
        if rest.is_empty() {
            break;
        }
        let (piece, left) = rest.split_at((*size).min(rest.len()));
        pieces.push(piece);
        rest = left;
    }
    pieces
}

fn expected_error(line: u32, column: u32, text: &[u8], expected: &'static str) -> LoadError<Full> {
    LoadError::Language(Error {
        line,
        column,
        text: Some(Excerpt::new(text)),
        expected,
    })
}

/// A text with lines of every kind; most of the lines are right.
fn text() -> BoxedStrategy<Vec<u8>> {
    let right = statement().prop_map(String::into_bytes);
    let line = prop_oneof![
        24 => right,
        1 => select(vec!["set x { 10.0.0.1", "set x {", "10.0.0.0/8,", "::1 }", "}", "set y { }"])
            .prop_map(|line| line.as_bytes().to_vec()),
        3 => select(vec!["", " ", "# a comment", "deny # all", "\t#"])
            .prop_map(|line| line.as_bytes().to_vec()),
        2 => line(),
        // About as long as a line may be, right and wrong, one word or many.
        1 => (1000..1100usize).prop_map(|len| {
            let mut line = b"allow #".to_vec();
            line.resize(len, b'-');
            line
        }),
        1 => (1000..1100usize, select(vec!["deny x", "deny from x ", "allow in ", "#"]))
            .prop_map(|(len, end)| {
                let mut line = vec![b' '; len];
                line[..5].copy_from_slice(b"allow");
                line.extend_from_slice(end.as_bytes());
                line
            }),
        1 => (1000..1100usize).prop_map(|len| vec![b'x'; len]),
        1 => (line(), 900..1300usize).prop_map(|(mut line, len)| {
            line.resize(len.max(line.len()), b' ');
            line
        }),
        1 => vec(select(b"\0\r x".to_vec()), 1..5),
    ];
    let end = select(vec!["\n", "\n", "\r\n"]);
    (vec((line, end), 0..12), any::<bool>())
        .prop_map(|(lines, ended)| {
            let mut text = Vec::new();
            let last = lines.len().saturating_sub(1);
            for (index, (line, end)) in lines.iter().enumerate() {
                text.extend_from_slice(line);
                if index < last || ended {
                    text.extend_from_slice(end.as_bytes());
                }
            }
            text
        })
        .boxed()
}

proptest! {
    #![proptest_config(common::config(600))]

    #[test]
    fn cuts_change_nothing(text in text(), sizes in vec(1..400usize, 1..8)) {
        let expected = oracle(&text);
        prop_assert_eq!(&load::<Table>([text.as_slice()]), &expected);
        for sizes in [[1].as_slice(), &[1022, 1, 1], &sizes] {
            let found = load::<Table>(pieces(&text, sizes));
            prop_assert!(as_expected(&found, &expected), "{:?}\n{:?}\n{:?}", sizes, found, expected);
        }
    }

    #[test]
    fn random_bytes_change_nothing(
        text in vec(prop_oneof![any::<u8>(), select(b"\n\r\0 #".to_vec())], 0..300),
        sizes in vec(1..40usize, 1..8),
    ) {
        let expected = oracle(&text);
        prop_assert_eq!(&load::<Table>([text.as_slice()]), &expected);
        for sizes in [[1].as_slice(), &sizes] {
            let found = load::<Table>(pieces(&text, sizes));
            prop_assert!(as_expected(&found, &expected), "{:?}\n{:?}\n{:?}", sizes, found, expected);
        }
    }

    #[test]
    fn a_right_text_in_pieces_is_the_table(
        statements in vec(statement(), 0..40),
        end in select(vec!["\n", "\r\n", "\n\n", " # x\n"]),
        sizes in vec(1..100usize, 1..8),
    ) {
        let text: String = statements.iter().map(|s| s.clone() + end).collect();
        let (loaded, result) = load::<Table>(pieces(text.as_bytes(), &sizes));
        prop_assert_eq!(result, Ok(()));
        prop_assert_eq!(loaded, statements);
    }
}

#[test]
fn an_empty_text_says_nothing() {
    assert_eq!(load::<Table>([]), (vec![], Ok(())));
    assert_eq!(load::<Table>([b"".as_slice(), b""]), (vec![], Ok(())));
    assert_eq!(load::<Table>([b"\n\n \n# x".as_slice()]), (vec![], Ok(())));
}

#[test]
fn the_last_line_needs_no_newline() {
    let (with, result) = load::<Table>([b"allow\ndeny in eth0\n".as_slice()]);
    assert_eq!(result, Ok(()));
    assert_eq!(with.len(), 2);
    let (without, result) = load::<Table>([b"allow\ndeny in eth0".as_slice()]);
    assert_eq!(result, Ok(()));
    assert_eq!(without, with);
}

#[test]
fn a_line_takes_effect_when_it_has_ended() {
    let mut sink = Collector::default();
    let mut loader = Loader::<Table>::default();
    loader.feed(b"allow\ndeny", &mut sink).unwrap();
    assert_eq!(sink.items.len(), 1);
    loader.feed(b"\n", &mut sink).unwrap();
    assert_eq!(sink.items.len(), 2);
    loader.finish(&mut sink).unwrap();
    assert_eq!(sink.items.len(), 2);
}

#[test]
fn a_bad_word_fails_its_own_piece() {
    let feed = |pieces: &[&str]| {
        let mut sink = Collector::default();
        let mut loader = Loader::<Table>::new();
        let (last, front) = pieces.split_last().unwrap();
        for piece in front {
            loader.feed(piece.as_bytes(), &mut sink).unwrap();
        }
        loader.feed(last.as_bytes(), &mut sink)
    };
    let address = "an IPv4 or IPv6 address, ADDRESS/LENGTH, FIRST-LAST or @SET";
    let wrong = Err(expected_error(2, 11, b"10.0.0.300", address));
    // When no more bytes can mend it,
    assert_eq!(feed(&["allow\ndeny from 10.0.0.3", "0", "0"]), wrong);
    // though the line goes on,
    assert_eq!(
        feed(&["allow\ndeny from 10.0.0.30", "0 proto tcp\n"]),
        wrong
    );
    // or when it has ended and is still wrong.
    let wrong = Err(expected_error(2, 11, b"10.0.0.", address));
    assert_eq!(feed(&["allow\ndeny from 10.0.0.", " "]), wrong);
    assert_eq!(feed(&["allow\ndeny from 10.0.0.", "\n"]), wrong);
    assert_eq!(feed(&["allow\ndeny from 10.0.0.", " # 1"]), wrong);

    // What might go on is found wrong at the end.
    let mut sink = Collector::default();
    let mut loader = Loader::<Table>::new();
    loader.feed(b"deny from 10.0.0.", &mut sink).unwrap();
    assert_eq!(
        loader.finish(&mut sink),
        Err(expected_error(1, 11, b"10.0.0.", address))
    );
}

#[test]
fn lines_have_a_greatest_length() {
    for cut in [1, 500, 1022, 1023, 1024, 2000] {
        let mut line = b"deny from 10.0.0.1 #".to_vec();
        line.resize(MAX_LINE, b'x');
        for end in ["", "\n", "\nallow\n"] {
            let text = [&line, end.as_bytes()].concat();
            let (loaded, result) = load::<Table>(pieces(&text, &[cut]));
            assert_eq!(result, Ok(()), "pieces of {cut}");
            assert_eq!(loaded.len(), if end.len() > 1 { 2 } else { 1 });
        }
        line.push(b'x');
        let error = expected_error(2, 1024, &line[..MAX_LINE], "a line of at most 1023 bytes");
        for end in ["", "\n", "\nnope\n"] {
            let text = [b"allow\n", line.as_slice(), end.as_bytes()].concat();
            let (loaded, result) = load::<Table>(pieces(&text, &[cut]));
            assert_eq!(result, Err(error), "pieces of {cut}");
            assert_eq!(loaded.len(), 1);
        }
    }
}

#[test]
fn the_sink_may_refuse() {
    /// Takes no statement twice.
    struct Once(Vec<String>);

    impl Sink<Table> for Once {
        type Error = Full;

        fn accept(&mut self, item: Statement<'_>) -> Result<(), Refusal<Full>> {
            let item = Table::print(item).unwrap();
            if self.0.contains(&item) {
                return Err(Refusal::Expected("something new"));
            }
            if self.0.len() == 2 {
                return Err(Refusal::Sink(Full));
            }
            self.0.push(item);
            Ok(())
        }
    }

    let load = |text: &str, size: usize| {
        let mut sink = Once(Vec::new());
        let mut loader = Loader::<Table>::new();
        pieces(text.as_bytes(), &[size])
            .into_iter()
            .try_for_each(|piece| loader.feed(piece, &mut sink))
            .and_then(|()| loader.finish(&mut sink))
    };
    for size in [1, 7, 100] {
        assert_eq!(load("allow\ndeny", size), Ok(()));
        let twice = expected_error(3, 1, b" allow # again", "something new");
        assert_eq!(load("allow\n\n allow # again\nnope\n", size), Err(twice));
        let full = LoadError::Sink(4, Full);
        assert_eq!(load("allow\ndeny\n#\ndeny in a\nnope\n", size), Err(full));
        // Without a newline too.
        assert_eq!(load("allow\ndeny\n#\ndeny in a", size), Err(full));
    }
}

#[test]
fn a_full_sink_stops_the_load() {
    let mut sink = Collector {
        items: Vec::new(),
        room: 3,
    };
    let mut loader = Loader::<Table>::new();
    let text = b"deny\n".repeat(10);
    assert_eq!(loader.feed(&text, &mut sink), Err(LoadError::Sink(4, Full)));
    assert_eq!(sink.items.len(), 3);
}

#[test]
fn traces_load_the_same_way() {
    let text = b"off\nproto tcp dport 80\n\nall";
    for size in [1, 3, 100] {
        let (loaded, result) = load::<Trace>(pieces(text, &[size]));
        assert_eq!(result, Ok(()));
        assert_eq!(loaded, ["off", "proto tcp dport 80", "all"]);
    }
}
