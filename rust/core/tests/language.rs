// SPDX-License-Identifier: GPL-2.0

//! The language of the table and of the trace file: what is accepted, how it is read back, what is
//! refused and what is said of it.

mod common;

use std::net::{Ipv4Addr, Ipv6Addr};

use common::{
    byte, clauses, ipv6, line, load, rows, scrap, spaced, statement, unescape, words, Language,
};
use ctrfw_core::addr::{AddrRange, Prefix};
use ctrfw_core::error::{Excerpt, Fault};
use ctrfw_core::family::Family;
use ctrfw_core::fragment::Place;
use ctrfw_core::hook::Hook;
use ctrfw_core::icmp::IcmpType;
use ctrfw_core::iface::IfPattern;
use ctrfw_core::loader::LoadError;
use ctrfw_core::mark::MarkMatch;
use ctrfw_core::netns::NetnsMatch;
use ctrfw_core::parser::{Counters, Table, Trace};
use ctrfw_core::port::PortRange;
use ctrfw_core::proto::Protocol;
use ctrfw_core::value::Value;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{select, Index};

/// Checks a table of `input;canonical`.
fn check_canonical<G: Language>(table: &str) {
    let mut checked = 0;
    for (row, [input, expected]) in rows(table) {
        let input = unescape(input);
        let expected = unescape(expected);
        let parsed = G::parse_line(&input).unwrap_or_else(|fault| panic!("row {row}: {fault:?}"));
        let printed = parsed.clone().unwrap_or_default();
        assert_eq!(printed.as_bytes(), expected, "row {row}");
        assert_eq!(G::parse_line(&expected), Ok(parsed), "row {row}: read back");
        // What may yet become a right line must not be refused early.
        for len in 0..input.len() {
            if let Err(fault) = G::parse_line(&input[..len]) {
                assert!(!fault.definite, "row {row}: refused after {len} bytes");
            }
        }
        checked += 1;
    }
    assert!(checked > 0);
}

/// Checks a table of `input;line column;got;expected`.
fn check_refused<G: Language>(table: &str) {
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
        let open_quote = got.starts_with("\"\\\"") && !got.ends_with("\\\"\"");
        if !input.contains(&b'\n') && error.text.is_some() && !open_quote {
            let fault = G::parse_line(&[&input, b" ".as_slice()].concat())
                .err()
                .unwrap();
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
    check_canonical::<Table>(include_str!("canonical.txt"));
}

#[test]
fn refused() {
    check_refused::<Table>(include_str!("refused.txt"));
}

#[test]
fn trace_canonical_forms() {
    check_canonical::<Trace>(include_str!("trace_canonical.txt"));
}

#[test]
fn trace_refused() {
    check_refused::<Trace>(include_str!("trace_refused.txt"));
}

#[test]
fn counters() {
    check_canonical::<Counters>("reset;reset\n  reset\\t\\x23 all;reset\n\\x23 reset;\n\\t;");
    check_refused::<Counters>(
        r#"all;1 1;all;reset
RESET;1 1;RESET;reset
{ reset };1 1;{;reset
reset 1;1 7;1;nothing more
reset\nresets;2 1;resets;reset
"reset";1 1;\"reset\";reset"#,
    );
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
        "deny hook input,ingress",
        "deny from { 10.0.0.1 10.0.0.2",
        "deny from { 10.0.0.1, nowhere",
        "deny from 10.0.0.9-10.0.0.10.0",
        "deny from { 10.0.0.0 } to { ::1 }",
        "deny family !{ ipv4, ipv6 }",
        "deny icmp-type ping",
        "deny mark x",
        "set x y",
        "set 9",
        "set x { 1 } 2",
        "set x { 1, eth0",
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
        "queue 7 netns container",
        "queue 7 netns !host",
        "default queue 7 netns 1",
        "mode x",
        "mode audit x",
    ] {
        let fault = Table::parse_line(line.as_bytes()).unwrap_err();
        assert!(fault.definite, "{line}");
    }
    for line in ["on", "off all", "all x", "from localhost"] {
        let fault = Trace::parse_line(line.as_bytes()).unwrap_err();
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
        ("deny dport 1 proto icmp", ",tcp"),
        ("deny from 10.0.0.0 to ::1", ",10.0.0.1"),
        ("deny from 10.0.0.0-", "10.0.0.1"),
        ("deny from !", "10.0.0.1"),
        ("deny from {", " 10.0.0.1 }"),
        ("deny from { 10.0.0.1,", " }"),
        ("deny from { 10.0.0.1", " }"),
        ("deny in \"a", "\""),
        ("deny icmp-type ech", "o-reply"),
        ("deny icmp-type 8/", "0"),
        ("deny icmp-t", "ype 8"),
        ("deny mark 0x", "1"),
        ("deny mark 1/", "0x1"),
        ("deny port", "-in a"),
        ("deny frag", "ment first"),
        ("deny family ipv", "6"),
        ("deny family !ip6,ip", "6"),
        ("se", "t x { }"),
        ("set", " x { }"),
        ("set x", " { }"),
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
        let fault = Table::parse_line(line.as_bytes()).unwrap_err();
        assert!(!fault.definite, "{line}");
        let whole = format!("{line}{rest}");
        assert!(
            matches!(Table::parse_line(whole.as_bytes()), Ok(Some(_))),
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
            // Values by themselves.
            if pair[1].contains(['{', ',', '!', '"', '@']) {
                continue;
            }
            let may_become: fn(&[u8]) -> bool = match pair[0] {
                "from" | "to" => AddrRange::may_become,
                "proto" => Protocol::may_become,
                "sport" | "dport" => PortRange::may_become,
                "in" | "out" => IfPattern::may_become,
                "hook" => Hook::may_become,
                "icmp-type" => IcmpType::may_become,
                "mark" => MarkMatch::may_become,
                "family" => Family::may_become,
                "fragment" => Place::may_become,
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
    let ends = |byte: &u8| b" \t\r{},".contains(byte);
    let rest = &line[at..];
    match rest[0] {
        b'{' | b'}' | b',' | b'!' => &rest[..1],
        b'"' => {
            let inside = rest[1..].iter().position(|byte| *byte == b'"');
            &rest[..inside.map_or(rest.len(), |inside| inside + 2)]
        }
        _ => rest.split(ends).next().unwrap(),
    }
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

/// What the grammar alone has against a line.
fn fault<G: Language>(line: &[u8]) -> Option<Fault> {
    G::parse(line, &mut G::State::default()).err()
}

/// Checks that `prefix`, if it is refused for good, is refused at the same place whatever follows.
fn check_definite<G: Language>(prefix: &[u8], rest: &[u8]) -> Result<(), TestCaseError> {
    let Some(fault) = fault::<G>(prefix) else {
        return Ok(());
    };
    check_fault(prefix, &fault);
    let whole = [prefix, rest].concat();
    if fault.definite {
        let Some(later) = self::fault::<G>(&whole) else {
            return Err(TestCaseError::fail(format!("right after all: {fault:?}")));
        };
        check_fault(&whole, &later);
        prop_assert!(later.definite);
        prop_assert_eq!(later.at, fault.at);
        prop_assert!(word_at(&whole, later.at).starts_with(word_at(prefix, fault.at)));
    }
    // What stands behind a quote that is open goes on to the end of the line.
    let word = fault.text.map(|_| word_at(prefix, fault.at));
    if word.is_some_and(|word| word[0] == b'"' && (word.len() == 1 || !word.ends_with(b"\""))) {
        return Ok(());
    }
    // Once the words have ended, nothing at all can change.
    let ended = [prefix, b" "].concat();
    let fault_of_ended = self::fault::<G>(&ended);
    if let (Some(_), Some(found)) = (fault.text, fault_of_ended) {
        prop_assert!(found.definite);
        prop_assert_eq!(self::fault::<G>(&[&ended, rest].concat()), Some(found));
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
    fn what_is_printed_is_read_back(text in statement()) {
        prop_assert_eq!(Table::parse_line(text.as_bytes()), Ok(Some(text)));
    }

    #[test]
    fn traces_are_read_back(clauses in clauses()) {
        let text = if clauses.is_empty() { "all".to_owned() } else { clauses.join(" ") };
        prop_assert_eq!(Trace::parse_line(text.as_bytes()), Ok(Some(text)));
    }

    #[test]
    fn blanks_and_comments_change_nothing(
        (text, line) in statement().prop_flat_map(|text| (Just(text.clone()), spaced(text))),
    ) {
        prop_assert_eq!(Table::parse_line(&line), Ok(Some(text)));
        for len in 0..line.len() {
            if let Err(fault) = Table::parse_line(&line[..len]) {
                check_fault(&line[..len], &fault);
                prop_assert!(!fault.definite, "refused after {} bytes: {:?}", len, fault);
            }
        }
    }

    #[test]
    fn words_may_stand_in_any_order(
        (text, front, words) in words().prop_flat_map(|(front, words)| {
            let text = words.iter().fold(front.clone(), |text, word| text + " " + word);
            (Just(text), Just(front), Just(words).prop_shuffle())
        }),
    ) {
        let shuffled = words.iter().fold(front, |text, word| text + " " + word);
        prop_assert_eq!(Table::parse_line(shuffled.as_bytes()), Ok(Some(text)), "{}", shuffled);
    }

    /// Commas without braces do as well, and so do blanks or none around them.
    #[test]
    fn lists_may_be_written_in_several_ways(text in statement()) {
        let bare = text.replace("{ ", "").replace(" }", "").replace(", ", ",");
        prop_assert_eq!(Table::parse_line(bare.as_bytes()), Ok(Some(text.clone())), "{}", bare);
        let tight = text.replace("{ ", "{").replace(" }", ",}").replace(", ", ",");
        prop_assert_eq!(Table::parse_line(tight.as_bytes()), Ok(Some(text.clone())), "{}", tight);
        let wide = text.replace(", ", " , ").replace(" !", " ! ");
        // In the name of an interface a blank is no blank.
        if !text.contains('"') {
            prop_assert_eq!(Table::parse_line(wide.as_bytes()), Ok(Some(text)), "{}", wide);
        }
    }

    #[test]
    fn addresses_may_be_spelt_in_any_way((addr, text) in spelt(), len in 0..=128u8) {
        let expected = Prefix::new(addr.into(), len);
        prop_assert_eq!(Prefix::parse(format!("{text}/{len}").as_bytes()), expected);
        let line = format!("deny to {text}/{len}").into_bytes();
        prop_assert!(matches!(Table::parse_line(&line), Ok(Some(_))));
        for end in 0..line.len() {
            if let Err(fault) = Table::parse_line(&line[..end]) {
                prop_assert!(!fault.definite, "{} refused after {} bytes", text, end);
            }
        }
    }

    #[test]
    fn random_bytes_do_no_harm(
        line in vec(byte(), 0..200),
    ) {
        let faults = [Table::parse_line(&line).err(), Trace::parse_line(&line).err()];
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
