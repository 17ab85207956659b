// SPDX-License-Identifier: GPL-2.0

//! Edits of a table: what is accepted and refused, and that they do what the same edits of a list do.

mod text;

use ctrfw_core::edit::Addition;
use ctrfw_core::error::Error;
use ctrfw_core::loader::{LoadError, Loader, Refusal, Sink};
use ctrfw_core::memory::{Heap, NoMemory};
use ctrfw_core::parser::{Statement, Table};
use ctrfw_core::policy::Policy;
use proptest::collection::vec;
use proptest::prelude::*;
use text::{definite, lines, load};

struct Draft<'a>(Addition<Heap>, &'a Policy<Heap>);

impl Sink<Table> for Draft<'_> {
    type Error = NoMemory;

    fn accept(&mut self, statement: Statement<'_>) -> Result<(), Refusal<NoMemory>> {
        self.0.accept(statement, Some(self.1))
    }
}

/// Edits a table; where its rules were before.
fn edit(base: &Policy<Heap>, text: &str) -> Result<(Policy<Heap>, Option<Vec<u32>>), Error> {
    let mut draft = Draft(Addition::default(), base);
    let mut loader = Loader::new();
    let fed = loader.feed(text.as_bytes(), &mut draft);
    match fed.and_then(|()| loader.finish(&mut draft)) {
        Ok(()) => Ok(draft.0.finish(Some(base)).unwrap()),
        Err(LoadError::Language(error)) => Err(error),
        Err(LoadError::Sink(..)) => unreachable!("the heap is large enough"),
    }
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
        let (edited, _) = edit(&base, text).unwrap();
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
        assert_eq!(edited.matches().needs().interfaces, interfaces, "{text}");
    }
}

#[test]
fn nothing_is_kept_of_what_is_gone() {
    let mut table = load(BASE).unwrap();
    let (values, memory) = (table.matches().len(), table.memory());
    for _ in 0..100 {
        let text = "replace comment \"one\" deny dport 1 in eth0 comment \"one\"";
        (table, _) = edit(&table, text).unwrap();
    }
    assert_eq!(table.matches().len(), values);
    assert!(table.memory() <= 2 * memory);
    assert_eq!(lines(&table), lines(&load(BASE).unwrap()));
}

#[test]
fn line_by_line() {
    let base = load(BASE).unwrap();
    let text = "delete 1\ndelete 1\nallow comment \"new\"\ninsert 1 deny dport 9\n\
                replace comment \"new\" allow dport 8\ndefault allow\nset b { 1 }\n\
                deny dport @b\nfailsafe { }";
    let (edited, order) = edit(&base, text).unwrap();
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
    assert_eq!(order.unwrap(), [5, 2, 3, 6, 7]);
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
    ] {
        assert!(
            (0..line.len()).all(|len| !definite(&line.as_bytes()[..len])),
            "{line}"
        );
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
        let (edited, _) = edit(&base, &text).unwrap();
        let expected: Vec<String> = model.iter().map(|(id, p)| rule(*id, *p)).collect();
        prop_assert_eq!(lines(&edited), lines(&load(&expected.join("\n")).unwrap()));
    }
}
