// SPDX-License-Identifier: GPL-2.0

//! Comments of rules: what is accepted, how it is read back, what is refused.

mod common;

use common::text::{append, definite, lines, load, refused};

#[test]
fn read_back_last() {
    for (written, read) in [
        ("deny comment \"x\"", "deny comment \"x\""),
        (
            "deny comment \"the printer\" from 10.0.0.1",
            "deny from 10.0.0.1 comment \"the printer\"",
        ),
        (
            "allow comment\t\"# { a, b } !\" # c",
            "allow comment \"# { a, b } !\"",
        ),
        (
            "allow comment \" grüße \u{1f433} \\n\"",
            "allow comment \" grüße \u{1f433} \\n\"",
        ),
        ("allow comment \"x\"dport 1", "allow dport 1 comment \"x\""),
    ] {
        assert_eq!(lines(&load(written).unwrap()), [read], "{written}");
        assert_eq!(lines(&load(read).unwrap()), [read], "{read}");
    }
    let longest = format!("deny comment \"{}\"", "é".repeat(64));
    assert_eq!(lines(&load(&longest).unwrap()), [longest]);
}

#[test]
fn each_rule_has_its_own() {
    let written = [
        "deny comment \"a\"",
        "allow",
        "deny dport 1 comment \"bc\"",
        "default deny",
    ];
    let policy = load(&written.join("\n")).unwrap();
    assert_eq!(lines(&policy), written);
    let policy = append(&policy, "allow comment \"d\"").unwrap();
    let mut all = written.to_vec();
    all.insert(3, "allow comment \"d\"");
    assert_eq!(lines(&policy), all);
    assert!(policy.memory() > 0);
}

#[test]
fn wrong_ones_are_refused() {
    for (line, column) in [
        ("deny comment x", 14),
        ("deny comment \"\"", 14),
        ("deny comment \"a\tb\"", 14),
        ("deny comment \"a\u{85}b\"", 14),
        ("deny comment \"a\u{2028}b\"", 14),
        ("deny comment \"\u{1b}[31m\"", 14),
        ("deny comment {", 14),
        ("deny comment \"a\" comment \"b\"", 18),
        ("deny comment \"a\" \"b\"", 18),
        ("default deny comment \"a\"", 14),
        ("comment \"a\"", 1),
    ] {
        assert_eq!(refused(line).column, column, "{line}");
    }
    assert_eq!(
        refused(&format!("deny comment \"{}\"", "x".repeat(129))).column,
        14
    );
    assert_eq!(refused("deny comment").text, None);
    assert_eq!(refused("deny comment \"a b").column, 14);
}

/// What no further byte can mend is told before the quote closes, and nothing else is.
#[test]
fn told_at_once() {
    for line in ["deny comment x", "deny comment \"a\tb", "deny comment \"\""] {
        assert!(definite(line.as_bytes()), "{line}");
    }
    assert!(definite(b"deny comment \"a\xff"));
    assert!(definite(
        format!("deny comment \"{}", "x".repeat(129)).as_bytes()
    ));
    let line = "deny comment \"grüße \u{1f433}\" dport 1".as_bytes();
    for len in 0..line.len() {
        assert!(!definite(&line[..len]), "after {len} bytes");
    }
}
