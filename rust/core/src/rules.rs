// SPDX-License-Identifier: GPL-2.0

//! The rules of a policy, in blocks that policies share.

use crate::block::Block;
use crate::cgroup::CgroupId;
use crate::facts::Facts;
use crate::head::Head;
use crate::loader::Refusal;
use crate::memory::{Held, List, Memory, NoMemory};
use crate::parser::RuleText;
use crate::priority::Priority;
use crate::rule::Rule;
use crate::sets::Sets;
use crate::slot::{Slot, Slots};

/// The rules, always in the order in which they are judged: by descending priority.
///
/// No block is empty, none has more than [`Memory::BLOCK`] rules, and two neighbours together have more
/// than half of that: there are few blocks. A change costs no more than one block and the list of them.
pub struct Rules<M: Memory> {
    blocks: M::List<Entry<M>>,
    /// Of so many blocks it is known where they start.
    counted: usize,
    len: usize,
    /// How many values are listed in them.
    values: usize,
    /// How many bytes of memory all blocks take.
    bytes: usize,
    /// The block that a rule was added to last.
    last: usize,
}

struct Entry<M: Memory> {
    /// How many rules stand before this block.
    start: usize,
    /// How many it has.
    len: usize,
    /// How many bytes of memory they take.
    bytes: usize,
    block: Held<M, Block<M>>,
}

/// A place among the rules.
#[derive(Clone, Copy)]
struct Place {
    /// Which block
    block: usize,
    /// Which rule of it; behind the last there is none.
    rule: usize,
}

impl<M: Memory> Default for Rules<M> {
    fn default() -> Self {
        Self {
            blocks: Default::default(),
            counted: 0,
            len: 0,
            values: 0,
            bytes: 0,
            last: 0,
        }
    }
}

impl<M: Memory> Rules<M> {
    // Process context: building.

    /// The same for another policy.
    pub(crate) fn share(&self) -> Result<Self, NoMemory> {
        let mut blocks = M::List::default();
        blocks.reserve(self.blocks.len())?;
        for entry in self.blocks.iter() {
            blocks.push(Entry {
                block: entry.block.share()?,
                ..*entry
            })?;
        }
        Ok(Self { blocks, ..*self })
    }

    /// The same, which do not change any more: each has a slot, and nothing is kept of those that are
    /// gone.
    pub(crate) fn freeze(self, slots: &mut Slots<M>) -> Result<Self, NoMemory> {
        let mut blocks = M::List::default();
        blocks.reserve(self.blocks.len())?;
        let mut bytes = 0usize;
        for mut entry in self.blocks {
            if let Some(own) = entry.block.if_own() {
                own.settle(slots)?;
                own.tidy()?;
                entry.bytes = own.memory();
            }
            M::pause();
            bytes = bytes.saturating_add(entry.bytes);
            blocks.push(Entry {
                block: entry.block.freeze(),
                ..entry
            })?;
        }
        let mut frozen = Self {
            blocks,
            bytes,
            ..self
        };
        frozen.count();
        Ok(frozen)
    }

    /// What the rules ask for.
    pub(crate) fn facts(&self) -> Facts {
        let mut facts = Facts::default();
        for block in self.blocks() {
            facts.join(block.facts());
        }
        facts
    }

    /// Adds a rule behind all of its priority; a set that it names is one of these.
    pub(crate) fn add(
        &mut self,
        text: &RuleText<'_>,
        sets: &Sets<M>,
    ) -> Result<(), Refusal<NoMemory>> {
        let place = self.behind(|priority| priority >= text.options.priority);
        self.put(place, |block, place| block.insert(place, text, sets))
    }

    /// Puts a rule before the one with index `at`, or as near to it as its priority lets it.
    pub(crate) fn insert(
        &mut self,
        at: usize,
        text: &RuleText<'_>,
        sets: &Sets<M>,
    ) -> Result<(), Refusal<NoMemory>> {
        let first = self.behind(|priority| priority > text.options.priority);
        let behind = self.behind(|priority| priority >= text.options.priority);
        self.count();
        let place = if at <= self.index(first) {
            first
        } else if at >= self.index(behind) {
            behind
        } else {
            self.place(at)
        };
        self.put(place, |block, place| block.insert(place, text, sets))
    }

    /// Adds the rules of `other` that have no slot yet, each behind all of its priority; a set that is at
    /// some place there is at that which `set` tells here.
    pub(crate) fn take_new<E: From<NoMemory>>(
        &mut self,
        other: &Self,
        set: impl Fn(u32) -> Result<u32, E>,
    ) -> Result<(), E> {
        // Those that several policies share have slots.
        let own = other.blocks.iter().filter(|entry| entry.block.is_own());
        for Entry { block, .. } in own {
            M::pause();
            for head in block.heads().iter().filter(|head| head.slot.is_none()) {
                let place = self.behind(|priority| priority >= head.priority);
                self.put(place, |to, place| to.copy(place, block, *head, &set))?;
            }
        }
        Ok(())
    }

    /// Has `find` tell of the paths in the rule that was added last which cgroups they lead to.
    pub(crate) fn resolve_cgroups<E>(
        &mut self,
        find: impl FnMut(&str) -> Result<CgroupId, E>,
    ) -> Result<(), E> {
        let entry = self.blocks.get_mut(self.last);
        match entry.and_then(|entry| entry.block.if_own()) {
            Some(block) => block.resolve_cgroups(find),
            None => Ok(()),
        }
    }

    /// Takes the rule with index `at` away; where it was counted.
    pub(crate) fn remove(&mut self, at: usize) -> Result<Option<Slot>, NoMemory> {
        self.count();
        let place = self.place(at);
        let entry = self.blocks.get_mut(place.block);
        let Some(entry) = entry.filter(|entry| place.rule < entry.len) else {
            return Ok(None);
        };
        let block = entry.block.own()?;
        let (slot, values) = block.remove(place.rule)?;
        let left = block.heads().len();
        self.len = self.len.saturating_sub(1);
        self.values = self.values.saturating_sub(values);
        self.changed(place.block);
        if left == 0 {
            self.end(place.block);
        } else {
            self.merge(place.block)?;
            if let Some(before) = place.block.checked_sub(1) {
                self.merge(before)?;
            }
        }
        Ok(slot)
    }

    /// The place behind all rules whose priority is `before`, which holds for the first so many.
    fn behind(&self, before: impl Fn(Priority) -> bool) -> Place {
        let whole = |entry: &Entry<M>| entry.block.lowest().is_some_and(&before);
        // Mostly rules are written in their order.
        let block = match self.blocks.last() {
            Some(last) if whole(last) => self.blocks.len(),
            _ => self.blocks.partition_point(whole),
        };
        let rule = self.blocks.get(block).map_or(0, |entry| {
            let heads = entry.block.heads();
            heads.partition_point(|head| before(head.priority))
        });
        Place { block, rule }
    }

    /// How many rules stand before `place`. The blocks were counted.
    fn index(&self, place: Place) -> usize {
        let entry = self.blocks.get(place.block);
        entry.map_or(self.len, |entry| entry.start.saturating_add(place.rule))
    }

    /// Has `insert` put a rule at `place`, or as well at the end of the block before it.
    fn put<E: From<NoMemory>>(
        &mut self,
        place: Place,
        insert: impl FnOnce(&mut Block<M>, usize) -> Result<usize, E>,
    ) -> Result<(), E> {
        let Place { block, rule } = self.room(place)?;
        let entry = self.blocks.get_mut(block).ok_or(NoMemory)?;
        let inserted = insert(entry.block.own()?, rule);
        if inserted.is_err() && entry.len == 0 {
            // It was begun for this rule.
            self.end(block);
        }
        let values = inserted?;
        self.len = self.len.saturating_add(1);
        self.values = self.values.saturating_add(values);
        self.last = block;
        self.changed(block);
        Ok(())
    }

    /// Makes room for a rule at `place`, or as well at the end of the block before it; where that is.
    fn room(&mut self, place: Place) -> Result<Place, NoMemory> {
        let len = |block: usize| self.blocks.get(block).map(|entry| entry.len);
        let full = |len: usize| len >= M::BLOCK;
        let Place { block, rule } = place;
        if let (0, Some(before)) = (rule, block.checked_sub(1)) {
            if let Some(end) = len(before).filter(|len| !full(*len)) {
                return Ok(Place {
                    block: before,
                    rule: end,
                });
            }
        }
        let Some(rules) = len(block).filter(|len| full(*len)) else {
            if block >= self.blocks.len() {
                self.begin(block, Block::default())?;
            }
            return Ok(place);
        };
        if rule == 0 {
            self.begin(block, Block::default())?;
            return Ok(place);
        }
        let next = block.saturating_add(1);
        if rule >= rules {
            if len(next).is_none_or(full) {
                self.begin(next, Block::default())?;
            }
            return Ok(Place {
                block: next,
                rule: 0,
            });
        }
        let half = rules.div_ceil(2);
        self.split(block, half)?;
        Ok(match rule.checked_sub(half) {
            None | Some(0) => place,
            Some(rule) => Place { block: next, rule },
        })
    }

    /// Makes two blocks of one, the first of which has `len` rules.
    fn split(&mut self, block: usize, len: usize) -> Result<(), NoMemory> {
        let Some(entry) = self.blocks.get_mut(block) else {
            return Ok(());
        };
        let from = &*entry.block;
        let (mut front, mut back) = (Block::default(), Block::default());
        let (first, rest) = from.heads().split_at_checked(len).unwrap_or((&[], &[]));
        front.append(from, first)?;
        back.append(from, rest)?;
        entry.block = Held::new(front)?;
        self.changed(block);
        self.begin(block.saturating_add(1), back)
    }

    /// Puts the block that is behind `block` into it, if both are small.
    fn merge(&mut self, block: usize) -> Result<(), NoMemory> {
        let next = block.saturating_add(1);
        let (Some(first), Some(second)) = (self.blocks.get(block), self.blocks.get(next)) else {
            return Ok(());
        };
        let (first, second) = (&*first.block, &*second.block);
        let len = first.heads().len().saturating_add(second.heads().len());
        if len > M::BLOCK / 2 {
            return Ok(());
        }
        let mut both = Block::default();
        both.append(first, first.heads())?;
        both.append(second, second.heads())?;
        let both = Held::new(both)?;
        if let Some(entry) = self.blocks.get_mut(block) {
            entry.block = both;
        }
        self.end(next);
        self.changed(block);
        Ok(())
    }

    /// Puts a block before the one at `at`.
    fn begin(&mut self, at: usize, block: Block<M>) -> Result<(), NoMemory> {
        let entry = Entry {
            start: self.len,
            len: block.heads().len(),
            bytes: block.memory(),
            block: Held::new(block)?,
        };
        self.bytes = self.bytes.saturating_add(entry.bytes);
        // Behind all others it starts where they end.
        let known = at == self.blocks.len() && entry.len == 0 && self.counted == at;
        self.counted = if known {
            at.saturating_add(1)
        } else {
            self.counted.min(at)
        };
        self.blocks.insert(at, entry)
    }

    /// Takes a block away.
    fn end(&mut self, at: usize) {
        if let Some(entry) = self.blocks.remove(at) {
            self.bytes = self.bytes.saturating_sub(entry.bytes);
            self.counted = self.counted.min(at);
        }
    }

    /// Notes that a block has other rules.
    fn changed(&mut self, block: usize) {
        if let Some(entry) = self.blocks.get_mut(block) {
            entry.len = entry.block.heads().len();
            self.bytes = self.bytes.saturating_sub(entry.bytes);
            entry.bytes = entry.block.memory();
            self.bytes = self.bytes.saturating_add(entry.bytes);
        }
        self.counted = self.counted.min(block.saturating_add(1));
    }

    /// Finds out where each block starts.
    fn count(&mut self) {
        let known = self.counted.checked_sub(1);
        let known = known.and_then(|last| self.blocks.get(last));
        let mut start = known.map_or(0, |last| last.start.saturating_add(last.len));
        for entry in self.blocks.iter_mut().skip(self.counted) {
            entry.start = start;
            start = start.saturating_add(entry.len);
        }
        self.counted = self.blocks.len();
    }

    // Any context: reading.

    /// How many there are.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether there are none.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// How many values are listed in them.
    pub(crate) fn values(&self) -> usize {
        self.values
    }

    /// The place of the rule with index `at`; behind all if there is none.
    fn place(&self, at: usize) -> Place {
        let mut start = 0usize;
        let block = if self.counted == self.blocks.len() {
            let behind = self.blocks.partition_point(|entry| entry.start <= at);
            let block = behind.saturating_sub(1);
            start = self.blocks.get(block).map_or(0, |entry| entry.start);
            block
        } else {
            // It is being written.
            let mut blocks = self.blocks.iter();
            let block = blocks.position(|entry| {
                let end = start.saturating_add(entry.len);
                at < end || {
                    start = end;
                    false
                }
            });
            block.unwrap_or(self.blocks.len())
        };
        Place {
            block,
            rule: at.saturating_sub(start),
        }
    }

    /// The rule with index `at`, and its block.
    pub(crate) fn find(&self, at: usize) -> Option<(&Block<M>, Head)> {
        let Place { block, rule } = self.place(at);
        self.at(block, rule)
    }

    /// The rule with index `at`.
    pub fn get(&self, at: usize) -> Option<Rule> {
        self.find(at).map(|(block, head)| block.rule(head))
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = Rule> + '_ {
        self.blocks()
            .flat_map(|block| block.heads().iter().map(|head| block.rule(*head)))
    }

    /// The slots of all of them.
    pub(crate) fn slots(&self) -> impl Iterator<Item = Option<Slot>> + '_ {
        self.blocks()
            .flat_map(|block| block.heads().iter().map(|head| head.slot))
    }

    /// The blocks that they are in.
    #[inline]
    pub(crate) fn blocks(&self) -> impl Iterator<Item = &Block<M>> {
        self.blocks.iter().map(|entry| &*entry.block)
    }

    /// The same, of rules that do not change any more.
    pub(crate) fn shared_blocks(&self) -> impl Iterator<Item = &M::Shared<Block<M>>> {
        self.blocks
            .iter()
            .filter_map(|entry| entry.block.if_shared())
    }

    /// The rule at `place` of a block.
    #[inline]
    pub(crate) fn at(&self, block: usize, place: usize) -> Option<(&Block<M>, Head)> {
        let block = &*self.blocks.get(block)?.block;
        Some((block, *block.heads().get(place)?))
    }

    /// How many bytes of memory they take.
    pub(crate) fn memory(&self) -> usize {
        self.blocks.memory().saturating_add(self.bytes)
    }
}
