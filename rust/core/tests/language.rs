// SPDX-License-Identifier: GPL-2.0

//! The language of the table and of the trace file: what is accepted, how it is read back, what is
//! refused and what is said of it.

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};

use common::{
    byte, canonical, ipv6, line, load, matches, rows, scrap, spaced, statement, unescape,
};
use ctrfw_core::addr::Prefix;
use ctrfw_core::error::{Excerpt, Fault};
use ctrfw_core::hook::HookSet;
use ctrfw_core::iface::IfPattern;
use ctrfw_core::loader::LoadError;
use ctrfw_core::netns::NetnsMatch;
use ctrfw_core::parser::{Grammar, Statement, Table, Trace, TraceStatement};
use ctrfw_core::port::PortRange;
use ctrfw_core::proto::Protocol;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, Index};

/// A trace statement in its canonical form, as the trace file gives it.
fn trace_canonical(statement: &TraceStatement) -> String {
    match statement {
        TraceStatement::Off => "off".to_owned(),
        TraceStatement::Expression(m) => m.as_line().to_string(),
    }
}

/// Checks a table of `input;canonical`.
fn check_canonical<G: Grammar>(table: &str, print: fn(&G::Item) -> String)
where
    G::Item: PartialEq + std::fmt::Debug,
{
    let mut checked = 0;
    for (row, [input, expected]) in rows(table) {
        let input = unescape(input);
        let expected = unescape(expected);
        let parsed = G::parse(&input).unwrap_or_else(|fault| panic!("row {row}: {fault:?}"));
        let printed = parsed.as_ref().map(print).unwrap_or_default();
        assert_eq!(printed.as_bytes(), expected, "row {row}");
        assert_eq!(G::parse(&expected), Ok(parsed), "row {row}: read back");
        // What may yet become a right line must not be refused early.
        for len in 0..input.len() {
            if let Err(fault) = G::parse(&input[..len]) {
                assert!(!fault.definite, "row {row}: refused after {len} bytes");
            }
        }
        checked += 1;
    }
    assert!(checked > 0);
}

/// Checks a table of `input;line column;got;expected`.
fn check_refused<G: Grammar>(table: &str) {
    let mut checked = 0;
    for (row, [input, place, got, expected]) in rows(table) {
        let input = unescape(input);
        let (_, result) = load::<G>([input.as_slice()]);
        let Err(LoadError::Language(error)) = result else {
            panic!("row {row}: {result:?}");
        };
        assert_eq!(
            format!("{} {}", error.line, error.column),
            place,
            "row {row}"
        );
        assert!(error.expected.contains(expected), "row {row}: {error}");
        let got = match got {
            "<end>" => "the end of the line".to_owned(),
            text => format!("\"{text}\""),
        };
        let (line, column) = place.split_once(' ').unwrap();
        assert_eq!(
            error.to_string(),
            format!(
                "line {line} column {column}: got {got}, expected {}",
                error.expected
            ),
            "row {row}"
        );
        // A wrong word is told as soon as it has ended, so that its write fails.
        if !input.contains(&b'\n') && error.text.is_some() {
            let fault = G::parse(&[&input, b" ".as_slice()].concat()).err().unwrap();
            assert!(
                fault.definite,
                "row {row}: not told before the line has ended"
            );
        }
        checked += 1;
    }
    assert!(checked > 0);
}

#[test]
fn canonical_forms() {
    check_canonical::<Table>(include_str!("canonical.txt"), canonical);
}

#[test]
fn refused() {
    check_refused::<Table>(include_str!("refused.txt"));
}

#[test]
fn trace_canonical_forms() {
    check_canonical::<Trace>(include_str!("trace_canonical.txt"), trace_canonical);
}

#[test]
fn trace_refused() {
    check_refused::<Trace>(include_str!("trace_refused.txt"));
}

/// Wrong last words that are told before anything follows them, so that `echo -n` fails too.
#[test]
fn told_at_once() {
    for line in [
        "permit",
        "deny fro10",
        "deny from 10.0.0.300",
        "deny from 10.0.0.0/33",
        "deny from 10.0.0.0/x",
        "deny from 10.0.0.0.0",
        "deny from 10.0.0.0 to ::1",
        "deny from host",
        "deny from ::1/129",
        "deny from 10.0.0.0 from",
        "deny proto tcpx",
        "deny proto 256",
        "deny dport 65536",
        "deny dport -1",
        "deny dport 1-65536",
        "deny in a/b",
        "deny in abcdefghijklmnop",
        "deny hook ingress",
        "deny hook input,,",
        "deny netns any",
        "deny netns 4294967296",
        "default drop",
        "default deny from",
        "reject with x",
        "reject from ::1 x",
        "default reject with tcp-reset",
        "default reject x",
        "audit with",
        "default audit",
        "mode x",
        "mode audit x",
    ] {
        let fault = Table::parse(line.as_bytes()).unwrap_err();
        assert!(fault.definite, "{line}");
    }
    for line in ["on", "off all", "all x", "from localhost"] {
        let fault = Trace::parse(line.as_bytes()).unwrap_err();
        assert!(fault.definite, "{line}");
    }
    // What may become right is not.
    for (line, rest) in [
        ("d", "eny"),
        ("default de", "ny"),
        ("deny fro", "m ::1"),
        ("deny from", " ::1"),
        ("deny from 1", ".2.3.4"),
        ("deny from 1.2.3.", "4"),
        ("deny from 1.2.3.4/", "0"),
        ("deny from a", "::"),
        ("deny from 1:", ":"),
        ("deny from ::1.", "2.3.4"),
        ("deny proto ud", "p"),
        ("deny proto ipv6-", "icmp"),
        ("deny dport 9-", "10"),
        ("deny dport 9-1", "0"),
        ("deny in .", "x"),
        ("deny in ..", "."),
        ("deny hook input,", "output"),
        ("deny hook post", "routing"),
        ("deny netns con", "tainer"),
        ("deny dport 1 proto 1", "7"),
        ("rej", "ect"),
        ("a", "udit"),
        ("m", "ode enforce"),
        ("mode ", " audit"),
        ("mode enf", "orce"),
        ("reject w", "ith icmp-net-prohibited"),
        ("reject with tcp-", "reset proto tcp"),
        ("reject with tcp-reset", " proto tcp"),
        ("reject with tcp-reset from ::1 ", " proto tcp"),
        ("reject with tcp-reset proto 0", "6"),
        ("reject with icmp-host-", "unreachable"),
        ("default rej", "ect"),
        ("default reject wi", "th icmp-port-unreachable"),
        ("default reject ho", "ok input"),
    ] {
        let fault = Table::parse(line.as_bytes()).unwrap_err();
        assert!(!fault.definite, "{line}");
        let whole = format!("{line}{rest}");
        assert!(
            matches!(Table::parse(whole.as_bytes()), Ok(Some(_))),
            "{whole}"
        );
    }
}

/// No beginning of a value is hopeless.
#[test]
fn beginnings_may_become_values() {
    let mut checked = 0;
    for (row, [input, _]) in rows(include_str!("canonical.txt")) {
        let words: Vec<&str> = input.split(' ').collect();
        for pair in words.windows(2) {
            let may_become: fn(&[u8]) -> bool = match pair[0] {
                "from" | "to" => Prefix::may_become,
                "proto" => Protocol::may_become,
                "sport" | "dport" => PortRange::may_become,
                "in" | "out" => IfPattern::may_become,
                "hook" => HookSet::may_become,
                "netns" => NetnsMatch::may_become,
                _ => continue,
            };
            let value = unescape(pair[1]);
            for len in 1..value.len() {
                assert!(
                    may_become(&value[..len]),
                    "row {row}: {len} bytes of {}",
                    pair[1]
                );
                checked += 1;
            }
        }
    }
    assert!(checked > 0);
}

#[test]
fn excerpts_are_cut_and_made_visible() {
    let show = |text: &[u8]| Excerpt::new(text).to_string();
    assert_eq!(show(b"a\"b\\c\n\x7f\x80 ~"), "a\\\"b\\\\c\\x0a\\x7f\\x80 ~");
    assert_eq!(show(&[b'x'; 48]), "x".repeat(48));
    assert_eq!(show(&[b'x'; 49]), "x".repeat(48) + "...");
}

/// The word of `line` that begins at `at`.
fn word_at(line: &[u8], at: usize) -> &[u8] {
    let blank = |byte: &u8| b" \t\r".contains(byte);
    assert!(at == 0 || blank(&line[at - 1]));
    line[at..].split(blank).next().unwrap()
}

/// What holds for every fault, whatever the line.
fn check_fault(line: &[u8], fault: &Fault) {
    assert!(!fault.expected.is_empty());
    match fault.text {
        Some(text) => {
            let word = word_at(line, fault.at);
            assert!(!word.is_empty() && !word.starts_with(b"#"));
            assert_eq!(text, Excerpt::new(word));
        }
        None => {
            assert_eq!(fault.at, line.len());
            assert!(!fault.definite);
        }
    }
}

/// Checks that `prefix`, if it is refused for good, is refused at the same place whatever follows.
fn check_definite<G: Grammar>(prefix: &[u8], rest: &[u8]) -> Result<(), TestCaseError>
where
    G::Item: std::fmt::Debug,
{
    let Err(fault) = G::parse(prefix) else {
        return Ok(());
    };
    check_fault(prefix, &fault);
    let whole = [prefix, rest].concat();
    if fault.definite {
        let Err(later) = G::parse(&whole) else {
            return Err(TestCaseError::fail(format!("right after all: {fault:?}")));
        };
        check_fault(&whole, &later);
        prop_assert!(later.definite);
        prop_assert_eq!(later.at, fault.at);
        prop_assert!(word_at(&whole, later.at).starts_with(word_at(prefix, fault.at)));
    }
    // Once the words have ended, nothing at all can change.
    let ended = [prefix, b" "].concat();
    if let (Some(_), Err(fault)) = (fault.text, G::parse(&ended)) {
        prop_assert!(fault.definite);
        prop_assert_eq!(G::parse(&[&ended, rest].concat()).err(), Some(fault));
    } else {
        prop_assert!(fault.text.is_none());
    }
    Ok(())
}

/// An IPv6 address and a way to write it.
fn spelt() -> BoxedStrategy<(Ipv6Addr, String)> {
    let group = select(vec![0, 1, 2, 3]);
    (ipv6(), vec(group, 8), any::<bool>(), any::<Index>())
        .prop_map(|(addr, ways, dotted, run)| {
            let mut groups: Vec<String> = addr
                .segments()
                .iter()
                .zip(&ways)
                .map(|(word, way)| match way {
                    0 => format!("{word:04x}"),
                    1 => format!("{word:04X}"),
                    2 => format!("{word:X}"),
                    _ => format!("{word:x}"),
                })
                .collect();
            if dotted {
                let tail = Ipv4Addr::from_bits(addr.to_bits() as u32);
                groups.splice(6.., [tail.to_string()]);
            }
            // Any run of zeros may be left out, a single one too.
            let zero = |group: &String| group.bytes().all(|byte| byte == b'0');
            let at = run.index(groups.len());
            let len = groups[at..].iter().take_while(|group| zero(group)).count();
            if len == 0 {
                return (addr, groups.join(":"));
            }
            let (front, back) = (groups[..at].join(":"), groups[at + len..].join(":"));
            (addr, format!("{front}::{back}"))
        })
        .boxed()
}

proptest! {
    #![proptest_config(common::config(2000))]

    #[test]
    fn what_is_printed_is_read_back(statement in statement()) {
        let text = canonical(&statement);
        prop_assert!(text.len() <= ctrfw_core::loader::MAX_LINE);
        prop_assert_eq!(Table::parse(text.as_bytes()), Ok(Some(statement)), "{}", text);
    }

    #[test]
    fn traces_are_read_back(m in matches()) {
        let statement = TraceStatement::Expression(m);
        let text = trace_canonical(&statement);
        prop_assert_eq!(Trace::parse(text.as_bytes()), Ok(Some(statement)), "{}", text);
    }

    #[test]
    fn blanks_and_comments_change_nothing(
        (statement, line) in statement().prop_flat_map(|statement| {
            (Just(statement), spaced(canonical(&statement)))
        }),
    ) {
        prop_assert_eq!(Table::parse(&line), Ok(Some(statement)));
        for len in 0..line.len() {
            if let Err(fault) = Table::parse(&line[..len]) {
                check_fault(&line[..len], &fault);
                prop_assert!(!fault.definite, "refused after {} bytes", len);
            }
        }
    }

    #[test]
    fn words_may_stand_in_any_order(
        (statement, pairs) in statement().prop_flat_map(|statement| {
            let text = canonical(&statement);
            let words: Vec<&str> = text.split(' ').collect();
            let mut verbs = if matches!(statement, Statement::Rule(_)) { 1 } else { 2 };
            // An answer belongs to its verb.
            if words.get(verbs) == Some(&"with") {
                verbs += 2;
            }
            let pairs: Vec<String> = words[verbs..].chunks(2).map(|pair| pair.join(" ")).collect();
            (Just((statement, words[..verbs].join(" "))), Just(pairs).prop_shuffle())
        }),
    ) {
        let (statement, mut text) = statement;
        for pair in pairs {
            text = text + " " + &pair;
        }
        prop_assert_eq!(Table::parse(text.as_bytes()), Ok(Some(statement)), "{}", text);
    }

    #[test]
    fn addresses_may_be_spelt_in_any_way((addr, text) in spelt(), len in 0..=128u8) {
        let expected = Prefix::new(addr.into(), len);
        prop_assert_eq!(Prefix::parse(format!("{text}/{len}").as_bytes()), expected);
        let line = format!("deny to {text}/{len}").into_bytes();
        prop_assert!(matches!(Table::parse(&line), Ok(Some(_))));
        for end in 0..line.len() {
            if let Err(fault) = Table::parse(&line[..end]) {
                prop_assert!(!fault.definite, "{} refused after {} bytes", text, end);
            }
        }
    }

    #[test]
    fn random_bytes_do_no_harm(
        line in vec(byte(), 0..200),
    ) {
        let faults = [Table::parse(&line).err(), Trace::parse(&line).err()];
        for fault in faults.into_iter().flatten() {
            check_fault(&line, &fault);
        }
    }

    #[test]
    fn a_definite_fault_stays(line in line(), cut: Index, other in scrap()) {
        let (prefix, rest) = line.split_at(cut.index(line.len() + 1));
        check_definite::<Table>(prefix, rest)?;
        check_definite::<Table>(prefix, &other)?;
        check_definite::<Table>(&line, &other)?;
    }

    #[test]
    fn a_definite_fault_stays_in_traces(line in scrap(), cut: Index, other in scrap()) {
        let (prefix, rest) = line.split_at(cut.index(line.len() + 1));
        check_definite::<Trace>(prefix, rest)?;
        check_definite::<Trace>(prefix, &other)?;
        check_definite::<Trace>(&line, &other)?;
    }
}
