// SPDX-License-Identifier: GPL-2.0

//! Edits of a table: what is accepted and refused, and that they do what the same edits of a list do.

mod common;

use common::text::{append as edit, definite, lines, load};
use ctrfw_core::edit::Addition;
use ctrfw_core::error::Error;
use ctrfw_core::loader::LoadError;
use ctrfw_core::memory::Heap;
use ctrfw_core::policy::Policy;
use ctrfw_core::slot::{Slot, Slots};
use proptest::collection::vec;
use proptest::prelude::*;

/// What is to be added to a table.
fn write(base: &Policy<Heap>, text: &str) -> Result<Addition<Heap>, Error> {
    common::text::write(text, Some(base)).map_err(|error| match error {
        LoadError::Language(error) => error,
        LoadError::Sink(..) => unreachable!("the heap is large enough"),
    })
}

/// A table whose statements have slots, and what of all slots they have.
fn begin(text: &str) -> (Policy<Heap>, Slots<Heap>) {
    let mut slots = Slots::default();
    let all = common::text::write(text, None).unwrap();
    (all.finish(None, &mut slots).unwrap().0, slots)
}

/// Where the rules of a table stood in another one.
fn order(base: &Policy<Heap>, edited: &Policy<Heap>) -> Vec<Option<usize>> {
    let slots = |table: &Policy<Heap>| table.slots().take(table.rules().len()).collect::<Vec<_>>();
    let old = slots(base);
    let place = |slot: &Option<Slot>| old.iter().position(|other| other == slot);
    slots(edited).iter().map(place).collect()
}

const BASE: &str =
    "failsafe { tcp 22 }\nset a { 10.0.0.1 }\ndeny dport 1 in eth0 comment \"one\"\n\
                    deny from @a log \"two\"\ndeny dport 3 comment \"same\"\n\
                    deny dport 4 comment \"same\"\ndefault deny log \"rest\"";

#[test]
fn one_by_one() {
    let base = load(BASE).unwrap();
    let before = lines(&base);
    for (text, at, removed, added) in [
        ("delete 2", 3, 1, None),
        ("delete comment \"one\"", 2, 1, None),
        ("insert 1 allow", 2, 0, Some("allow")),
        ("insert 4 allow from @a", 5, 0, Some("allow from @a")),
        ("replace 1 allow log \"x\"", 2, 1, Some("allow log \"x\"")),
        (
            "replace comment \"one\" allow comment \"1\"",
            2,
            1,
            Some("allow comment \"1\""),
        ),
        ("add allow", 6, 0, Some("allow")),
        ("allow", 6, 0, Some("allow")),
        // A rule stays among those of its priority.
        ("insert 3 allow priority 1", 2, 0, Some("allow priority 1")),
        (
            "insert 1 allow priority -1",
            6,
            0,
            Some("allow priority -1"),
        ),
    ] {
        let edited = edit(&base, text).unwrap();
        let mut expected = before.clone();
        let added: Vec<String> = added.into_iter().map(str::to_owned).collect();
        expected.splice(at..at + removed, added);
        assert_eq!(lines(&edited), expected, "{text}");
        assert_eq!(
            lines(&load(&expected.join("\n")).unwrap()),
            expected,
            "{text}"
        );
        let interfaces = expected.iter().any(|line| line.contains(" in eth0"));
        assert_eq!(edited.needs().interfaces, interfaces, "{text}");
    }
}

#[test]
fn nothing_is_kept_of_what_is_gone() {
    let mut table = load(BASE).unwrap();
    let (values, memory) = (table.values(), table.memory());
    for _ in 0..100 {
        let text = "replace comment \"one\" deny dport 1 in eth0 comment \"one\"";
        table = edit(&table, text).unwrap();
    }
    assert_eq!(table.values(), values);
    assert!(table.memory() <= 2 * memory);
    assert_eq!(lines(&table), lines(&load(BASE).unwrap()));
}

#[test]
fn line_by_line() {
    let (base, mut slots) = begin(BASE);
    let text = "delete 1\ndelete 1\nallow comment \"new\"\ninsert 1 deny dport 9\n\
                replace comment \"new\" allow dport 8\ndefault allow\nset b { 1 }\n\
                deny dport @b\nfailsafe { }";
    let more = write(&base, text).unwrap();
    let (edited, _) = more.finish(Some(&base), &mut slots).unwrap();
    assert_eq!(
        lines(&edited),
        [
            "set a { 10.0.0.1 }",
            "set b { 1 }",
            "deny dport 9",
            "deny dport 3 comment \"same\"",
            "deny dport 4 comment \"same\"",
            "allow dport 8",
            "deny dport @b",
            "default allow",
        ]
    );
    assert_eq!(order(&base, &edited), [None, Some(2), Some(3), None, None]);
}

const SETS: &str = "set a { 10.0.0.1 }\nset b { }\nset c { 1 }\ndeny from @a\nallow to !@b";

#[test]
fn a_set_for_another() {
    let (base, slots) = begin(SETS);
    let long: Vec<String> = (0..40).map(|n| format!("\t10.0.1.{n},\n")).collect();
    for (text, place, set) in [
        (
            "replace set a { 10.0.0.2, fe80::/10 }",
            0,
            "set a { 10.0.0.2, fe80::/10 }".to_owned(),
        ),
        ("replace set a { }", 0, "set a { }".to_owned()),
        (
            "replace set b {\n192.0.2.1\n}",
            1,
            "set b { 192.0.2.1 }".to_owned(),
        ),
        // Nobody uses it: it may become something else.
        ("replace set c { eth0 }", 2, "set c { eth0 }".to_owned()),
        (
            &format!("replace set a {{\n{}}}", long.concat()),
            0,
            format!("set a {{\n{}}}", long.concat()),
        ),
    ] {
        let more = write(&base, text).unwrap();
        let mut slots = slots.duplicate().unwrap();
        let (edited, gone) = more.finish(Some(&base), &mut slots).unwrap();
        let mut expected: Vec<String> = SETS.lines().map(str::to_owned).collect();
        expected[place] = set;
        assert_eq!(lines(&edited).join("\n"), expected.join("\n"), "{text}");
        assert_eq!(
            order(&base, &edited),
            [Some(0), Some(1)],
            "the rules keep their counters"
        );
        assert!(gone.is_empty());
        assert_eq!(
            edited.values(),
            load(&expected.join("\n")).unwrap().values()
        );
    }
    // Rules of the same text use what is there in the end, whichever side of it they stand.
    let text = "deny dport 1 from @a\nreplace set a { 10.0.0.9 }\ndeny dport 2 to @a\ndelete 1";
    let edited = edit(&base, text).unwrap();
    let again = edit(&edited, "replace set a { 10.0.0.8 }").unwrap();
    assert_eq!(
        lines(&again),
        [
            "set a { 10.0.0.8 }",
            "set b { }",
            "set c { 1 }",
            "allow to !@b",
            "deny from @a dport 1",
            "deny to @a dport 2",
        ]
    );
}

#[test]
fn a_set_that_does_not_fit() {
    let base = load(SETS).unwrap();
    for (text, line, column) in [
        ("replace set x { 10.0.0.1 }", 1, 13),
        ("replace set a { 10.0.0.2 }\nreplace set a { }", 2, 13),
        ("set d { }\nreplace set d { }", 2, 13),
        ("replace set a { 1 }", 1, 17),
        ("replace set b {\n\t80\n}", 2, 2),
        ("deny dport @b\nreplace set b { 1 }", 2, 17),
        ("deny in @b\nreplace set b { 10.0.0.1 }", 2, 17),
        ("replace set a { 10.0.0.1, 1 }", 1, 27),
        ("replace set a", 1, 14),
        ("replace set a { 10.0.0.1", 2, 1),
        ("replace set a { 10.0.0.1 } x", 1, 28),
        ("replace set { }", 1, 13),
        ("replace set c { 10.0.0.1 }\ndeny dport @c", 2, 12),
    ] {
        let error = edit(&base, text).err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!((error.line, error.column), (line, column), "{text}");
    }
    assert!(load("set a { }\nreplace set a { }").is_err());
    let line = "replace set a { 10.0.0.1, 10.0.0.2 }";
    assert!((0..line.len()).all(|len| !definite(&line.as_bytes()[..len])));
}

#[test]
fn wrong_ones_are_refused() {
    let base = load(BASE).unwrap();
    for (line, column) in [
        ("delete 5", 8),
        ("delete 0", 8),
        ("delete -1", 8),
        ("delete", 7),
        ("delete all", 8),
        ("delete 1 2", 10),
        ("delete comment", 15),
        ("delete comment one", 16),
        ("delete comment \"none\"", 16),
        ("delete comment \"same\"", 16),
        ("insert allow", 8),
        ("insert 5 allow", 8),
        ("insert 1", 9),
        ("insert 1 permit", 10),
        ("insert 1 default deny", 10),
        ("insert comment \"one\" allow", 8),
        ("replace 1", 10),
        ("replace comment \"same\" allow", 17),
        ("add", 4),
        ("add set x { }", 5),
    ] {
        let error = edit(&base, line).err().unwrap_or_else(|| panic!("{line}"));
        assert_eq!(error.column, column, "{line}");
        // A table that is new has nothing to be edited.
        if line.starts_with("delete") {
            assert!(load(line).is_err());
        }
    }
    assert!(load("delete 1").is_err() && load("deny\ninsert 1 deny").is_err());
    assert!(load("add deny").is_ok());
    for line in [
        "replace comment \"a b\" allow dport 1",
        "insert 0012 deny",
        "delete 3",
        "if generation 012",
    ] {
        assert!(
            (0..line.len()).all(|len| !definite(&line.as_bytes()[..len])),
            "{line}"
        );
    }
}

#[test]
fn on_a_condition() {
    let base = load(BASE).unwrap();
    for (text, wanted) in [
        ("", None),
        ("allow", None),
        ("if generation 0", Some("0")),
        ("# x\n\nif generation 007 # y\ndelete 1\nallow", Some("7")),
        (
            "if generation 18446744073709551615\nmode audit",
            Some("18446744073709551615"),
        ),
    ] {
        let condition = write(&base, text).unwrap().condition();
        assert_eq!(
            condition.map(|it| it.to_string()).as_deref(),
            wanted,
            "{text}"
        );
    }
    // It changes nothing itself.
    let same = edit(&base, "if generation 5").unwrap();
    assert_eq!(lines(&same), lines(&base));
    for text in [
        "allow\nif generation 5",
        "delete 1\nif generation 5",
        "mode audit\nif generation 5",
        "set x { }\nif generation 5",
        "if generation 5\nif generation 5",
    ] {
        let error = write(&base, text).err().unwrap_or_else(|| panic!("{text}"));
        assert_eq!((error.line, error.column), (2, 1), "{text}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(300) })]

    /// Many edits do what a list does whose elements are put in and then sorted stably.
    #[test]
    fn as_a_list(
        old in vec(-2..3i16, 0..12),
        edits in vec((0..4u8, 0..14usize, -2..3i16), 0..20),
    ) {
        let rule = |id: usize, priority: i16| format!("deny dport {id} priority {priority}");
        let written: Vec<String> = old.iter().enumerate().map(|(id, p)| rule(id, *p)).collect();
        let base = load(&written.join("\n")).unwrap();
        let mut model: Vec<(usize, i16)> = old.iter().copied().enumerate().collect();
        model.sort_by_key(|(_, priority)| -priority);
        let (mut id, mut text) = (100, String::new());
        for (kind, at, priority) in edits {
            let number = at + 1;
            match kind {
                0 => {
                    text += &format!("{}\n", rule(id, priority));
                    model.push((id, priority));
                }
                _ if at >= model.len() => continue,
                1 => {
                    text += &format!("delete {number}\n");
                    model.remove(at);
                }
                2 => {
                    text += &format!("insert {number} {}\n", rule(id, priority));
                    model.insert(at, (id, priority));
                }
                _ => {
                    text += &format!("replace {number} {}\n", rule(id, priority));
                    model[at] = (id, priority);
                }
            }
            id += 1;
            model.sort_by_key(|(_, priority)| -priority);
        }
        let edited = edit(&base, &text).unwrap();
        let expected: Vec<String> = model.iter().map(|(id, p)| rule(*id, *p)).collect();
        prop_assert_eq!(lines(&edited), lines(&load(&expected.join("\n")).unwrap()));
    }
}
