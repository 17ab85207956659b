// SPDX-License-Identifier: GPL-2.0

//! Tables that share what they have in common: whatever is done to one, it is what the same would have
//! made of a list, the others stay as they are, and each rule keeps the slot that it is counted in.

mod common;

use std::collections::HashSet;

use common::text::write;
use ctrfw_core::memory::{Memory, NoMemory};
use ctrfw_core::policy::Policy;
use ctrfw_core::slot::{Slot, Slots};
use proptest::collection::vec;
use proptest::prelude::*;

/// A heap where blocks are so small that there are many.
struct Small;

impl Memory for Small {
    type List<T> = Vec<T>;
    type Unique<T> = Box<T>;
    type Shared<T> = std::sync::Arc<T>;

    const BLOCK: usize = 4;

    fn unique<T>(value: T) -> Result<Box<T>, NoMemory> {
        Ok(Box::new(value))
    }
}

/// A rule as a list would have it.
#[derive(Clone, Debug, PartialEq)]
struct Model {
    id: usize,
    priority: i16,
    /// Whom it is for: an address or a set.
    whom: String,
    slot: Option<Slot>,
}

impl Model {
    fn new(id: usize, priority: i16, set: bool) -> Self {
        let whom = match set {
            true => format!("@s{}", id % 3),
            false => format!("10.0.0.{}", id % 250),
        };
        Self {
            id,
            priority,
            whom,
            slot: None,
        }
    }

    /// As it is written, with what else each third or so has.
    fn text(&self) -> String {
        let Self {
            id, priority, whom, ..
        } = self;
        let (word, log) = match id % 3 {
            0 => (" in eth0", " log \"x\""),
            1 => (" state new netns 7", ""),
            _ => ("", ""),
        };
        let verb = if id % 5 == 0 { "reject" } else { "deny" };
        let port = id % 60000;
        format!("{verb} from {whom} dport {port}{word} priority {priority}{log} comment \"{id}\"")
    }
}

const SETS: &str = "set s0 { 10.1.0.0/16 }\nset s1 { }\nset s2 { 10.2.0.1, 10.2.0.2 }\n";

/// A table, the list that it should be, and the slots that are taken.
struct Pair {
    table: Policy<Small>,
    list: Vec<Model>,
    slots: Slots<Small>,
}

fn listing(table: &Policy<Small>) -> Vec<String> {
    (0..table.lines())
        .map(|at| table.line(at).unwrap().to_string())
        .collect()
}

/// What a table is that was written at once.
fn at_once(list: &[Model]) -> Policy<Small> {
    let rules: Vec<String> = list.iter().map(Model::text).collect();
    let all = write::<Small>(&(SETS.to_owned() + &rules.join("\n")), None).unwrap();
    all.finish(None, &mut Slots::default()).unwrap().0
}

impl Pair {
    fn new() -> Self {
        let mut slots = Slots::default();
        let table = write::<Small>(SETS, None).unwrap();
        let (table, _) = table.finish(None, &mut slots).unwrap();
        Self {
            table,
            list: Vec::new(),
            slots,
        }
    }

    /// Edits both.
    fn change(&mut self, edits: &[(u8, usize, i16, bool)], id: &mut usize) {
        let mut text = String::new();
        for (kind, at, priority, set) in edits {
            *id += 1;
            let rule = Model::new(*id, *priority, *set);
            let len = self.list.len();
            let at = at % len.max(1);
            match kind {
                0..=3 => {
                    text += &format!("{}\n", rule.text());
                    self.list.push(rule);
                }
                _ if len == 0 => continue,
                4 | 5 => {
                    text += &format!("delete {}\n", at + 1);
                    self.list.remove(at);
                }
                6 => {
                    text += &format!("delete comment \"{}\"\n", self.list[at].id);
                    self.list.remove(at);
                }
                7 | 8 => {
                    text += &format!("insert {} {}\n", at + 1, rule.text());
                    self.list.insert(at, rule);
                }
                _ => {
                    text += &format!("replace {} {}\n", at + 1, rule.text());
                    self.list[at] = rule;
                }
            }
            self.list
                .sort_by_key(|rule| std::cmp::Reverse(rule.priority));
        }
        let more = write(&text, Some(&self.table)).unwrap();
        let mut slots = self.slots.duplicate().unwrap();
        let (table, gone) = more.finish(Some(&self.table), &mut slots).unwrap();
        // What is gone is just what the old table has and the new one has not.
        let all = |table: &Policy<Small>| {
            table
                .slots()
                .map(|slot| slot.unwrap().index())
                .collect::<HashSet<_>>()
        };
        let lost: HashSet<usize> = gone.iter().map(|slot| slot.index()).collect();
        assert_eq!(&all(&self.table) - &all(&table), lost);
        assert_eq!(gone.len(), lost.len());
        gone.iter().for_each(|slot| slots.give_back(*slot));
        (self.table, self.slots) = (table, slots);
    }

    /// They are the same, down to what is kept and cached.
    fn check(&mut self) {
        let (table, list) = (&self.table, &mut self.list);
        let fresh = at_once(list);
        assert_eq!(listing(table), listing(&fresh));
        assert_eq!(table.rules().len(), list.len());
        assert_eq!(table.rules().iter().count(), list.len());
        assert_eq!(table.values(), fresh.values());
        assert_eq!(table.needs(), fresh.needs());
        assert_eq!(table.flow_scope(), fresh.flow_scope());
        assert_eq!(table.logs(), fresh.logs());
        assert_eq!(table.rejects(), fresh.rejects());
        // Blocks that are small are put together, and what is gone is gone, but for what the index of all
        // rules knows of the last few.
        let room = 8192 + 3 * fresh.memory();
        assert!(table.memory() < room, "{} of {room}", table.memory());
        // Each has a slot of its own, and keeps it.
        let slots: Vec<Slot> = table.slots().map(Option::unwrap).collect();
        assert_eq!(
            slots
                .iter()
                .map(|slot| slot.index())
                .collect::<HashSet<_>>()
                .len(),
            slots.len()
        );
        for (rule, slot) in list.iter_mut().zip(slots) {
            assert_eq!(rule.slot.unwrap_or(slot), slot, "{}", rule.text());
            rule.slot = Some(slot);
        }
        assert_eq!(self.slots.since(&Slots::default()).count(), list.len() + 1);
    }
}

proptest! {
    #![proptest_config(common::config(150))]

    #[test]
    fn as_a_list(
        series in vec(vec((0..10u8, 0..1000usize, -2..3i16, any::<bool>()), 0..40), 1..6),
    ) {
        let (mut pair, mut id) = (Pair::new(), 0);
        let mut older: Vec<(Policy<Small>, Vec<String>)> = vec![];
        for edits in series {
            pair.change(&edits, &mut id);
            pair.check();
            let (copy, _) = write("", Some(&pair.table))
                .unwrap()
                .finish(Some(&pair.table), &mut pair.slots)
                .unwrap();
            older.push((copy, listing(&pair.table)));
        }
        // Whoever still has an older table has it as it was.
        for (table, lines) in older {
            prop_assert_eq!(listing(&table), lines);
        }
        // All of the memory that was counted is given back.
        let rules = pair.list.len();
        pair.change(&vec![(4, 0, 0, false); rules], &mut id);
        prop_assert_eq!(pair.table.memory(), Pair::new().table.memory());
    }

    /// However a table has become small, it does not stay in many pieces.
    #[test]
    fn little_is_left_of_much(deletions in vec(0..1000usize, 0..200)) {
        let (mut pair, mut id) = (Pair::new(), 0);
        pair.change(&[(0, 0, 0, false); 200], &mut id);
        for part in deletions.chunks(7) {
            let edits: Vec<_> = part.iter().map(|at| (4, *at, 0, false)).collect();
            pair.change(&edits, &mut id);
        }
        pair.check();
    }

    /// What was written for one table is put behind another as if it had been written for that.
    #[test]
    fn behind_another(
        old in vec((0..1u8, 0..1usize, -2..3i16, any::<bool>()), 0..20),
        meanwhile in vec((0..10u8, 0..1000usize, -2..3i16, any::<bool>()), 0..20),
        added in vec((-2..3i16, any::<bool>()), 0..20),
    ) {
        let (mut pair, mut id) = (Pair::new(), 0);
        pair.change(&old, &mut id);
        let rules: Vec<String> = added
            .iter()
            .enumerate()
            .map(|(at, (priority, set))| Model::new(1000 + at, *priority, *set).text())
            .collect();
        let text = rules.join("\n") + "\nset new { 1 }\ndeny dport @new\ndefault deny\nmode audit\n";
        let mut more = write(&text, Some(&pair.table)).unwrap();
        pair.change(&meanwhile, &mut id);
        more.rebase(&pair.table).unwrap();
        let taken = || pair.table.taken_slots().unwrap();
        let (moved, _) = more.finish(Some(&pair.table), &mut taken()).unwrap();
        let written = write(&text, Some(&pair.table)).unwrap();
        let (written, _) = written.finish(Some(&pair.table), &mut taken()).unwrap();
        prop_assert_eq!(listing(&moved), listing(&written));
        prop_assert_eq!(moved.values(), written.values());
        prop_assert_eq!(moved.needs(), written.needs());
    }

    /// The slots are those that a set would have, the first that is free next.
    #[test]
    fn slots_as_a_set(steps in vec((any::<bool>(), 0..300usize), 0..400)) {
        let (mut slots, mut taken) = (Slots::<Small>::default(), std::collections::BTreeMap::new());
        for (give_back, at) in steps {
            let victim = taken.keys().nth(at % taken.len().max(1)).copied();
            match victim.filter(|_| give_back) {
                Some(index) => slots.give_back(taken.remove(&index).unwrap()),
                None => {
                    let slot: Slot = slots.take().unwrap();
                    prop_assert_eq!(Some(slot.index()), (0..).find(|index| !taken.contains_key(index)));
                    taken.insert(slot.index(), slot);
                }
            }
            let last = taken.keys().next_back().map_or(0, |last| last + 1);
            prop_assert_eq!(slots.len(), last);
            prop_assert_eq!(slots.is_empty(), taken.is_empty());
        }
        let found: Vec<usize> = slots.since(&Slots::default()).map(Slot::index).collect();
        prop_assert_eq!(found, taken.into_keys().collect::<Vec<_>>());
        prop_assert_eq!(slots.since(&slots).count(), 0);
    }
}

/// What a table has of an older one costs nothing once more.
#[test]
fn a_default_keeps_its_slot_if_it_says_the_same() {
    let text = "failsafe { tcp 22 }\ndeny\ndefault deny\ndefault allow hook forward";
    let mut slots = Slots::<Small>::default();
    let (base, _) = write(text, None).unwrap().finish(None, &mut slots).unwrap();
    for (more, lost) in [
        ("default deny log \"x\"", 0),
        ("default allow", 1),
        ("default deny hook forward", 1),
        ("failsafe { tcp 22 }", 0),
        ("failsafe { tcp 23 }", 1),
        ("failsafe { }", 1),
        ("mode audit", 0),
        ("", 0),
    ] {
        let addition = write(more, Some(&base)).unwrap();
        let (_, gone) = addition.finish(Some(&base), &mut slots).unwrap();
        assert_eq!(gone.len(), lost, "{more}");
    }
}
