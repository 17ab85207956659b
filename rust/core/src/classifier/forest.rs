// SPDX-License-Identifier: GPL-2.0

//! The rules that may be for packets of one family, found by hashing.
//!
//! A node is a list of tables, each of which has rules that the same bits tell apart. In a table's
//! slot for a value of these bits there is a rule, or a list of them in their order, or another node.

use crate::hook::Hook;
use crate::memory::{List, Memory};
use crate::netns::NetnsId;

use super::key::Key;
use super::mask::Mask;
use super::record::{Found, Record};
use super::word::Word;
use super::Group;

/// How many nodes are below each other at most.
pub(super) const DEPTH: usize = 6;

/// A table of a node.
#[derive(Clone, Copy)]
pub(super) struct Table<A: Word> {
    pub(super) mask: Mask<A>,
    /// The first record in it
    pub(super) first: u32,
    /// Where its slots begin
    pub(super) start: u32,
    /// How many slots it has
    pub(super) size: u32,
    /// The next of its node, or [`NO_TABLE`]
    pub(super) next: u32,
}

/// The number of no table.
pub(super) const NO_TABLE: u32 = u32::MAX;

/// A node for packets at some hooks, in some namespaces.
#[derive(Clone, Copy)]
pub(super) struct Root {
    pub(super) group: Group,
    /// Its first table
    pub(super) node: u32,
}

/// What is in a slot.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Content {
    /// Nothing
    Nothing,
    /// A record
    Record(u32),
    /// The records of a list from this place on
    List(u32),
    /// The node that begins with this table
    Node(u32),
}

/// A slot: six bits of what is left of the hash of all that is in it (0 if they are not the same), where they
/// are there, and what it is.
#[derive(Clone, Copy)]
pub(super) struct Slot(u32);

/// More than the highest number in a slot.
pub(super) const LIMIT: u32 = 1 << 24;

impl Slot {
    pub(super) const EMPTY: Self = Self(0);

    pub(super) fn new(tag: u8, content: Content) -> Self {
        let (kind, number) = match content {
            Content::Nothing => return Self::EMPTY,
            Content::Record(number) => (RECORD, number),
            Content::List(number) => (LIST, number),
            Content::Node(number) => (NODE, number),
        };
        Self((u32::from(tag) << TAG) | (kind << 24) | (number & LIMIT.wrapping_sub(1)))
    }

    /// Whether nothing is in it for packets with that hash.
    #[inline]
    fn is_empty_for(self, place: Place) -> bool {
        let other = (self.0 ^ place.0 as u32) >> TAG;
        self.0 == 0 || (other != 0 && self.0 >> TAG != 0)
    }

    #[inline]
    fn is_record(self) -> bool {
        (self.0 >> 24) & 3 == RECORD
    }

    #[inline]
    fn is_node(self) -> bool {
        (self.0 >> 24) & 3 == NODE
    }

    /// Which record, list or node it is.
    #[inline]
    fn number(self) -> u32 {
        self.0 & LIMIT.wrapping_sub(1)
    }
}

/// Where these bits begin.
const TAG: u32 = 26;

const RECORD: u32 = 1;
const LIST: u32 = 2;
const NODE: u32 = 3;

/// A hash within a table: which of its slots it is for, and what is left of the hash.
#[derive(Clone, Copy)]
pub(super) struct Place(u64);

impl Place {
    /// That in a table of so many slots.
    #[inline(always)]
    pub(super) fn of(hash: u64, size: u32) -> Self {
        Self((hash >> 32).wrapping_mul(size.into()))
    }

    /// Counted from the table's first slot.
    #[inline(always)]
    pub(super) fn slot(self) -> usize {
        (self.0 >> 32) as usize
    }

    /// What a slot keeps of it.
    #[inline]
    pub(super) fn tag(self) -> u8 {
        (self.0 as u32 >> TAG) as u8
    }
}

/// Set in the last number of a list.
pub(super) const LAST: u32 = 1 << 31;

/// See above. It is only read.
pub(crate) struct Forest<A: Word, M: Memory> {
    /// By ascending number of the rule
    pub(super) records: M::List<Record<A>>,
    pub(super) slots: M::List<Slot>,
    /// Numbers of records, list behind list
    pub(super) lists: M::List<u32>,
    /// Those of each node one behind the other, by ascending first record
    pub(super) tables: M::List<Table<A>>,
    /// For each class of packets
    pub(super) roots: [M::List<Root>; 4],
    /// A bit for each extra field that a table asks for
    pub(super) extras: u8,
}

impl<A: Word, M: Memory> Default for Forest<A, M> {
    fn default() -> Self {
        Self {
            records: Default::default(),
            slots: Default::default(),
            lists: Default::default(),
            tables: Default::default(),
            roots: Default::default(),
            extras: 0,
        }
    }
}

impl<A: Word, M: Memory> Forest<A, M> {
    /// The first rule, of those from number `from` on, that is for the packet with this key, at this hook.
    /// `is_for` is asked about rules that may be, and told whether it is known that they are. Any context.
    #[inline(always)]
    pub(super) fn first(
        &self,
        key: &Key<'_, A>,
        (hook, netns): (Hook, NetnsId),
        from: u32,
        is_for: impl FnMut(u32, bool) -> bool,
    ) -> Option<Found> {
        let mut search = Search {
            forest: self,
            key,
            from,
            is_for,
            best: u32::MAX,
            found: None,
        };
        for root in self.roots.get(key.class as usize)?.iter() {
            if root.group.has(hook, netns) {
                search.go(root.node);
            }
        }
        search.found
    }

    /// How many bytes of memory it takes.
    pub(super) fn memory(&self) -> usize {
        let lists = [
            self.records.memory(),
            self.slots.memory(),
            self.lists.memory(),
            self.tables.memory(),
        ];
        let roots = self.roots.iter().map(|roots| roots.memory());
        roots.chain(lists).fold(0, usize::saturating_add)
    }
}

/// A search for the first record that fits.
struct Search<'a, A: Word, M: Memory, F> {
    forest: &'a Forest<A, M>,
    key: &'a Key<'a, A>,
    /// Rules before this number are not looked for.
    from: u32,
    is_for: F,
    /// The first one that was found so far
    best: u32,
    /// Its rule
    found: Option<Found>,
}

impl<A: Word, M: Memory, F: FnMut(u32, bool) -> bool> Search<'_, A, M, F> {
    /// Whether there is such a record, and its rule is to be looked for and is for the packet.
    #[inline(always)]
    fn fits(&mut self, number: u32) -> bool {
        let Some(record) = self.forest.records.get(number as usize) else {
            return false;
        };
        let known = self.key.class.is_plain() & record.is_exact();
        let fits = record.fits(self.key)
            && record.rule() >= self.from
            && (self.is_for)(record.rule(), known);
        if fits {
            self.best = number;
            self.found = Some(record.found());
        }
        fits
    }

    /// Looks at the record in a slot, or at those of the list.
    // By itself, so that it has registers enough.
    #[inline(never)]
    fn look_through(&mut self, slot: Slot) {
        let forest = self.forest;
        // A record is a list of one.
        let mut at = slot.number() as usize;
        let mut entry = slot.number() | LAST;
        if !slot.is_record() {
            entry = forest.lists.get(at).copied().unwrap_or(LAST);
        }
        loop {
            let number = entry & !LAST;
            if number >= self.best || self.fits(number) || entry & LAST != 0 {
                break;
            }
            at = at.wrapping_add(1);
            entry = forest.lists.get(at).copied().unwrap_or(LAST);
        }
    }

    /// Looks below a node.
    #[inline(always)]
    fn go(&mut self, node: u32) {
        let forest = self.forest;
        let mut next = node;
        let mut above = [NO_TABLE; DEPTH];
        let mut depth = 0usize;
        loop {
            let table = forest.tables.get(next as usize);
            // Those behind one that begins later begin even later.
            let Some(table) = table.filter(|table| table.first < self.best) else {
                depth = depth.wrapping_sub(1);
                match above.get(depth) {
                    Some(rest) => next = *rest,
                    None => break,
                }
                continue;
            };
            next = table.next;
            let place = Place::of(table.mask.hash(self.key), table.size);
            let slot = (table.start as usize).wrapping_add(place.slot());
            let slot = forest.slots.get(slot).copied().unwrap_or(Slot::EMPTY);
            if slot.is_empty_for(place) {
                continue;
            }
            if !slot.is_node() {
                self.look_through(slot);
                continue;
            }
            if let Some(place) = above.get_mut(depth) {
                *place = next;
                depth = depth.wrapping_add(1);
                next = slot.number();
            }
        }
    }
}
