// SPDX-License-Identifier: GPL-2.0

//! Priorities of rules: what is accepted, how it is read back, what is refused, and the order.

mod common;

use common::text::{append, definite, lines, load, refused};
use proptest::collection::vec;
use proptest::prelude::*;

#[test]
fn read_back() {
    for (written, read) in [
        ("deny priority 0", "deny"),
        ("deny priority -0", "deny"),
        ("deny priority 007", "deny priority 7"),
        ("deny priority -32768", "deny priority -32768"),
        ("deny priority 32767", "deny priority 32767"),
        (
            "deny comment \"c\" log priority 5 dport 1",
            "deny dport 1 priority 5 log comment \"c\"",
        ),
    ] {
        assert_eq!(lines(&load(written).unwrap()), [read], "{written}");
        assert_eq!(lines(&load(read).unwrap()), [read], "{read}");
    }
}

#[test]
fn wrong_ones_are_refused() {
    for (line, column) in [
        ("deny priority", 14),
        ("deny priority 32768", 15),
        ("deny priority -32769", 15),
        ("deny priority +1", 15),
        ("deny priority --1", 15),
        ("deny priority -", 15),
        ("deny priority high", 15),
        ("deny priority {1}", 15),
        ("deny priority 1 priority 1", 17),
        ("default deny priority 1", 14),
    ] {
        assert_eq!(refused(line).column, column, "{line}");
    }
    assert!(definite(b"deny priority 32768") && definite(b"deny priority x"));
    let line = b"deny priority -32768 dport 1";
    assert!((0..line.len()).all(|len| !definite(&line[..len])));
}

#[test]
fn added_ones_find_their_place() {
    let table = "deny dport 1\ndeny dport 2 priority 5\ndefault deny\ndeny dport 3 priority -1";
    let policy = load(table).unwrap();
    let more = "allow dport 4\nallow dport 5 priority 5\nallow dport 6 priority 9";
    let policy = append(&policy, more).unwrap();
    assert_eq!(
        lines(&policy),
        [
            "allow dport 6 priority 9",
            "deny dport 2 priority 5",
            "allow dport 5 priority 5",
            "deny dport 1",
            "allow dport 4",
            "deny dport 3 priority -1",
            "default deny",
        ]
    );
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// The order is that of a stable sort, and the listing loads back to itself.
    #[test]
    fn the_order_is_a_stable_sort(
        priorities in vec(prop_oneof![any::<i16>(), -3..3i16, Just(i16::MIN), Just(i16::MAX)], 0..300),
    ) {
        let rule = |(at, priority): (usize, &i16)| format!("deny dport {at} priority {priority}");
        let table: Vec<String> = priorities.iter().enumerate().map(rule).collect();
        let policy = load(&table.join("\n")).unwrap();
        let mut expected: Vec<(usize, &i16)> = priorities.iter().enumerate().collect();
        expected.sort_by_key(|(_, priority)| std::cmp::Reverse(**priority));
        let expected: Vec<String> = expected
            .into_iter()
            .map(|rule_of| match rule_of {
                (at, 0) => format!("deny dport {at}"),
                other => rule(other),
            })
            .collect();
        prop_assert_eq!(lines(&policy), expected.clone());
        prop_assert_eq!(lines(&load(&expected.join("\n")).unwrap()), expected);
    }
}
