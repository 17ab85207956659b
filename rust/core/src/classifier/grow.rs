// SPDX-License-Identifier: GPL-2.0

//! How a forest comes into being. All process context.
//!
//! At each node the rules that are there are told apart by the bits that tell most of them apart best;
//! those of which these bits have too many values go to the next table of the node, those that are left
//! in the end into a list. What stays together in a slot, and is more than a short list, becomes a node
//! of its own. So time and memory are bounded, whatever the rules are: at the worst a list is long.

use crate::memory::{List, Memory, NoMemory};

use super::choice::{most_copies, Choice, Chooser};
use super::forest::{Content, Forest, Place, Root, Slot, Table, DEPTH, LAST, LIMIT, NO_TABLE};
use super::key::{Class, Extra};
use super::mask::{Bits, Mask, Shape};
use super::record::{Record, Role};
use super::spans::ALL_PORTS;
use super::word::Word;
use super::Group;

/// So many rules are as well looked at one after the other; and so many for packets that need not be quick.
const SHORT: usize = 8;
const LONG: usize = 32;
/// Most tables of a node, without its list
const TABLES: usize = 7;
/// When there are so many copies for each record, no more are made: those of one node may have copies in
/// the nodes below it.
const MOST_COPIED: usize = 8;

/// A forest that grows.
pub(super) struct Grower<A: Word, M: Memory> {
    forest: M::Unique<Forest<A, M>>,
    /// For each record
    roles: M::List<Role>,
    /// Numbers of records: those of the nodes that are still to be grown, one behind the other
    work: M::List<u32>,
    /// How many copies there are that are not the first
    copied: usize,
    /// The nodes that are still to be grown, below others
    seedlings: M::List<Seedling>,
    /// The records of a table
    taken: M::List<u32>,
    /// Its slots
    buckets: M::List<Bucket>,
    chooser: Chooser<M>,
}

/// A node that is still to be grown, of the records in `work` from `start` on.
#[derive(Clone, Copy)]
struct Seedling {
    /// The slot that it is in, and the slot's tag
    slot: usize,
    tag: u8,
    start: usize,
    len: usize,
    depth: usize,
}

/// A slot to be.
#[derive(Clone, Copy, Default)]
struct Bucket {
    /// Where in `work` the numbers of its records are
    start: usize,
    /// How many there are
    count: u32,
    /// The tag that all of them have, or 0
    tag: Option<u8>,
}

impl<A: Word, M: Memory> Grower<A, M> {
    pub(super) fn new() -> Result<Self, NoMemory> {
        Ok(Self {
            forest: M::unique(Forest::default())?,
            roles: Default::default(),
            work: Default::default(),
            copied: 0,
            seedlings: Default::default(),
            taken: Default::default(),
            buckets: Default::default(),
            chooser: Chooser::new(),
        })
    }

    /// How many records there are.
    pub(super) fn len(&self) -> usize {
        self.roles.len()
    }

    /// Adds a record, behind all others.
    pub(super) fn add(&mut self, record: Record<A>, role: Role) -> Result<(), NoMemory> {
        number(self.len())?;
        self.forest.records.push(record)?;
        self.roles.push(role)
    }

    /// The forest of all that was added.
    #[inline(never)]
    pub(super) fn grow(mut self) -> Result<M::Unique<Forest<A, M>>, NoMemory> {
        let alike = self.are_alike();
        for class in Class::ALL {
            let roots = match (&self.forest.roots, class) {
                ([first, ..], Class::Portless | Class::Fragment | Class::Garbled) if alike => {
                    first.duplicate()?
                }
                _ => self.grow_class(class)?,
            };
            if let Some(place) = self.forest.roots.get_mut(class as usize) {
                *place = roots;
            }
        }
        let forest = &mut *self.forest;
        fit(&mut forest.records)?;
        fit(&mut forest.slots)?;
        fit(&mut forest.lists)?;
        fit(&mut forest.tables)?;
        Ok(self.forest)
    }

    /// Whether all rules are for packets of all classes, and none asks for what not all of these tell.
    fn are_alike(&self) -> bool {
        let all = Class::ALL.len() as u32;
        let mut both = self.forest.records.iter().zip(self.roles.iter());
        both.all(|(record, role)| {
            role.classes.count_ones() == all
                && record.proto_mask == 0
                && record.ports.sport() == ALL_PORTS
                && record.ports.dport() == ALL_PORTS
        })
    }

    /// The roots for packets of a class, grown to their leaves.
    fn grow_class(&mut self, class: Class) -> Result<M::List<Root>, NoMemory> {
        let mut roots = M::List::<Root>::default();
        let mut last = None::<Group>;
        for role in self.roles.iter().filter(|role| role.is_for(class)) {
            let known = last == Some(role.group);
            last = Some(role.group);
            if !known && !roots.iter().any(|root| root.group == role.group) {
                let group = role.group;
                roots.push(Root { group, node: 0 })?;
            }
        }
        for root in roots.iter_mut() {
            self.work.truncate(0);
            for (number, role) in (0u32..).zip(self.roles.iter()) {
                if role.group == root.group && role.is_for(class) {
                    self.work.push(number)?;
                }
            }
            root.node = self.grow_node(0, self.work.len(), 1, class)?;
            while let Some(seedling) = self.seedlings.pop() {
                M::pause();
                let Seedling {
                    slot,
                    tag,
                    start,
                    len,
                    depth,
                } = seedling;
                let node = self.grow_node(start, len, depth, class)?;
                if let Some(place) = self.forest.slots.get_mut(slot) {
                    *place = Slot::new(tag, Content::Node(node));
                }
            }
        }
        roots.duplicate()
    }

    /// Grows a node of the records in `work` from `start` on; its number.
    fn grow_node(
        &mut self,
        start: usize,
        len: usize,
        depth: usize,
        class: Class,
    ) -> Result<u32, NoMemory> {
        let first = self.forest.tables.len();
        let node = number(first)?;
        // What was behind these records has become nodes already.
        self.work.truncate(start.saturating_add(len));
        let mut left = len;
        for _ in 0..TABLES {
            if left <= longest(class) {
                break;
            }
            let records = self.work.get(start..start.saturating_add(left));
            let records = records.unwrap_or(&[]);
            let most = if self.copied > self.roles.len().saturating_mul(MOST_COPIED) {
                1
            } else {
                most_copies(left, class)
            };
            let (all, roles) = (&self.forest.records, &self.roles);
            let choice = self.chooser.choose(records, all, roles, class, most)?;
            let Some(choice) = choice else {
                break;
            };
            let bits = Bits::of(choice.shape);
            left = self.take(&bits, most, start, left)?;
            self.grow_table(&bits, &choice, class, depth)?;
        }
        if left > 0 {
            let first = self.work.get(start).copied().unwrap_or(0);
            self.add_table(Shape::NOTHING, first, 1)?;
            let content = self.list(start, left)?;
            self.forest.slots.push(Slot::new(0, content))?;
        }
        let tables = self.forest.tables.get_mut(first..).unwrap_or(&mut []);
        // Few, so that any way of sorting will do.
        for sorted in 1..tables.len() {
            for place in (1..=sorted).rev() {
                if let Some([a, b]) = tables.get_mut(place.saturating_sub(1)..=place) {
                    if a.first > b.first {
                        core::mem::swap(a, b);
                    }
                }
            }
        }
        // The last keeps none.
        let nexts = node.saturating_add(1)..;
        if let Some((_, others)) = tables.split_last_mut() {
            for (table, next) in others.iter_mut().zip(nexts) {
                table.next = next;
            }
        }
        Ok(node)
    }

    /// Takes those of some records in `work` of which the bits have few values; how many are left.
    fn take(
        &mut self,
        bits: &Bits<A>,
        most: u32,
        start: usize,
        len: usize,
    ) -> Result<usize, NoMemory> {
        self.taken.truncate(0);
        let mut left = start;
        for at in start..start.saturating_add(len) {
            let Some(number) = self.work.get(at).copied() else {
                break;
            };
            let index = number as usize;
            let (Some(record), Some(role)) =
                (self.forest.records.get(index), self.roles.get(index))
            else {
                break;
            };
            if bits.copies(record, role, most).is_some() {
                self.taken.push(number)?;
            } else {
                if let Some(place) = self.work.get_mut(left) {
                    *place = number;
                }
                left = left.saturating_add(1);
            }
        }
        Ok(left.saturating_sub(start))
    }

    fn add_table(&mut self, shape: Shape, first: u32, size: u32) -> Result<(), NoMemory> {
        let start = self.forest.slots.len().try_into().map_err(|_| NoMemory)?;
        self.forest.tables.push(Table {
            mask: Mask::of(shape),
            first,
            start,
            size,
            next: NO_TABLE,
        })?;
        if shape.extra != Extra::None {
            self.forest.extras |= 1u8.wrapping_shl(shape.extra as u32);
        }
        Ok(())
    }

    /// Makes a table of the records that were taken.
    fn grow_table(
        &mut self,
        bits: &Bits<A>,
        choice: &Choice,
        class: Class,
        depth: usize,
    ) -> Result<(), NoMemory> {
        let width = choice.slots(self.taken.len(), class);
        self.buckets.truncate(0);
        let size = width as usize;
        self.buckets
            .extend(core::iter::repeat_n(Bucket::default(), size))?;
        self.visit_taken(bits, width, |bucket, _, tag| {
            bucket.count = bucket.count.saturating_add(1);
            bucket.tag = match bucket.tag {
                Some(other) if other != tag => Some(0),
                _ => Some(tag),
            };
        });
        let base = self.work.len();
        let mut end = base;
        for bucket in self.buckets.iter_mut() {
            bucket.start = end;
            end = end.saturating_add(core::mem::take(&mut bucket.count) as usize);
        }
        let copies = end.saturating_sub(base);
        let copied = copies.saturating_sub(self.taken.len());
        self.copied = self.copied.saturating_add(copied);
        let room = core::iter::repeat_n(0, copies);
        self.work.extend(room)?;
        let mut work = core::mem::take(&mut self.work);
        self.visit_taken(bits, width, |bucket, number, _| {
            let next = bucket.start.saturating_add(bucket.count as usize);
            // Several copies in a slot are one.
            let last = next.checked_sub(1).filter(|_| bucket.count > 0);
            if last.and_then(|last| work.get(last)) == Some(&number) {
                return;
            }
            if let Some(place) = work.get_mut(next) {
                *place = number;
            }
            bucket.count = bucket.count.saturating_add(1);
        });
        self.work = work;

        let first = self.taken.first().copied().unwrap_or(0);
        self.add_table(choice.shape, first, width)?;
        let mut end = base;
        for at in 0..size {
            let Some(bucket) = self.buckets.get(at).copied() else {
                break;
            };
            let Bucket { start, count, tag } = bucket;
            let count = count as usize;
            let content = if count == 0 {
                Content::Nothing
            } else if count == 1 {
                Content::Record(self.work.get(start).copied().unwrap_or(0))
            } else if count <= longest(class) || count >= self.taken.len() || depth >= DEPTH {
                self.list(start, count)?
            } else {
                for more in 0..count {
                    let moved = self.work.get(start.saturating_add(more)).copied();
                    let place = self.work.get_mut(end.saturating_add(more));
                    if let (Some(place), Some(moved)) = (place, moved) {
                        *place = moved;
                    }
                }
                self.seedlings.push(Seedling {
                    slot: self.forest.slots.len(),
                    tag: tag.unwrap_or(0),
                    start: end,
                    len: count,
                    depth: depth.saturating_add(1),
                })?;
                end = end.saturating_add(count);
                // Until it has grown.
                Content::Nothing
            };
            self.forest
                .slots
                .push(Slot::new(tag.unwrap_or(0), content))?;
        }
        self.work.truncate(end);
        Ok(())
    }

    /// Calls `visit` for each copy of the records that were taken, with its bucket, its number and its tag.
    fn visit_taken(
        &mut self,
        bits: &Bits<A>,
        width: u32,
        mut visit: impl FnMut(&mut Bucket, u32, u8),
    ) {
        for number in self.taken.iter().copied() {
            let index = number as usize;
            let record = self.forest.records.get(index);
            let (Some(record), Some(role)) = (record, self.roles.get(index)) else {
                continue;
            };
            let copies = bits.copies(record, role, u32::MAX).unwrap_or(0);
            bits.hashes(record, role, copies, |hash| {
                let place = Place::of(hash, width);
                if let Some(bucket) = self.buckets.get_mut(place.slot()) {
                    visit(bucket, number, place.tag());
                }
            });
        }
    }

    /// Makes a list of some records in `work`.
    fn list(&mut self, start: usize, len: usize) -> Result<Content, NoMemory> {
        let list = number(self.forest.lists.len())?;
        for at in start..start.saturating_add(len) {
            self.forest
                .lists
                .push(self.work.get(at).copied().unwrap_or(0))?;
        }
        if let Some(last) = self.forest.lists.last_mut() {
            *last |= LAST;
        }
        Ok(Content::List(list))
    }
}

/// How many rules are looked at one after the other rather than told apart.
fn longest(class: Class) -> usize {
    if class.is_plain() {
        SHORT
    } else {
        LONG
    }
}

/// Has a list take no more memory than it needs.
fn fit<T: Copy, L: List<T>>(list: &mut L) -> Result<(), NoMemory> {
    *list = list.duplicate()?;
    Ok(())
}

fn number(len: usize) -> Result<u32, NoMemory> {
    let number = u32::try_from(len).ok();
    number.filter(|number| *number < LIMIT).ok_or(NoMemory)
}
