// SPDX-License-Identifier: GPL-2.0

//! Which rule of a policy is the first that is for a packet.
//!
//! There is a classifier of all rules as they once were, which policies share, and one of the few that came
//! later. What goes is crossed out. When that has become much, all is classified anew.

use crate::block::Block;
use crate::classifier::{Classifier, Extras, Found, Key, Word};
use crate::family::Family;
use crate::head::Head;
use crate::key;
use crate::matcher::Probe;
use crate::memory::{List, Memory, NoMemory};
use crate::netns::NetnsId;
use crate::packet::Packet;
use crate::rule::Verb;
use crate::rules::Rules;
use crate::sets::Sets;
use crate::slot::Slot;

/// So many rules may come, and as many go, before all of so many rules are classified anew. An edit costs
/// time by those that came, and now and then by all.
fn most_later(rules: usize) -> usize {
    (rules / 128).clamp(16, 256)
}

/// When so many rules were for a packet and decided nothing, the others are asked one after the other: each
/// search begins at the top.
const PATIENCE: u32 = 8;

/// What comes of a search.
pub(crate) enum Search<R> {
    /// This was decided.
    Decided(R),
    /// No rule decides.
    Nobody,
    /// Rule by rule must be asked, from the one with this index on.
    From(usize),
}

/// What a first look at a packet finds.
pub(crate) enum Look {
    /// The first rule for it does no more than allow it, or deny it, and counts it in this slot.
    // Not a verb: what became of neighbouring packets does not tell this one's, so that it must not take
    // a branch.
    Rule(bool, Slot),
    /// No rule is for it.
    Nobody,
    /// Nothing: it must be judged.
    Unclear,
}

/// The number of no rule.
const NOBODY: u32 = u32::MAX;

/// See above.
pub(crate) struct Index<M: Memory> {
    first: M::Shared<First<M>>,
    /// Which of its rules are gone, by ascending number
    gone: M::List<u32>,
    /// The same, a bit for each; nothing while none is
    crossed: M::List<u64>,
    /// How many bytes its blocks take that the policy has no more
    kept: usize,
    later: Later<M>,
}

/// All rules as they once were. A rule's number is made of its block and its place there.
struct First<M: Memory> {
    blocks: M::List<M::Shared<Block<M>>>,
    /// How many rules there are before each block
    starts: M::List<u32>,
    owners: Owners<M>,
    /// How many bytes the blocks take
    bytes: usize,
    classifier: Classifier<M>,
}

/// Which rules have which slots.
enum Owners<M: Memory> {
    /// The first rule has this one, and each that follows has the next.
    From(u32),
    /// The number of the rule that has a slot
    Numbers(M::List<u32>),
}

/// The rules that came later, in their order, which is also their number.
struct Later<M: Memory> {
    rules: M::List<Newcomer>,
    classifier: Option<Classifier<M>>,
}

/// A rule that came later.
#[derive(Clone, Copy)]
struct Newcomer {
    /// How many rules of the policy stand before it
    index: u32,
    /// Its block, and where it is there
    block: u32,
    place: u32,
    /// The number from which on those of the first rules come behind it
    before: u32,
}

impl<M: Memory> Default for Later<M> {
    fn default() -> Self {
        Self {
            rules: Default::default(),
            classifier: None,
        }
    }
}

/// How many bits of a number tell the place in the block.
#[inline]
fn place_bits<M: Memory>() -> u32 {
    const { M::BLOCK.next_power_of_two().trailing_zeros() }
}

/// The number of the rule at `place` of `block`; none if it is too large.
fn number<M: Memory>(block: usize, place: usize) -> Option<u32> {
    let stride = 1usize.checked_shl(place_bits::<M>())?;
    let number = block.checked_mul(stride)?.checked_add(place)?;
    u32::try_from(number)
        .ok()
        .filter(|number| *number != NOBODY)
}

/// The block and the place there of the rule with a number.
#[inline]
fn place<M: Memory>(number: u32) -> (usize, usize) {
    let number = number as usize;
    let block = number.wrapping_shr(place_bits::<M>());
    (block, number ^ block.wrapping_shl(place_bits::<M>()))
}

impl<M: Memory> First<M> {
    #[inline(never)]
    fn new(rules: &Rules<M>, sets: &Sets<M>) -> Result<Self, NoMemory> {
        let mut blocks = M::List::default();
        let mut starts = M::List::default();
        let mut start = 0usize;
        for block in rules.shared_blocks() {
            starts.push(u32::try_from(start).map_err(|_| NoMemory)?)?;
            start = start.saturating_add(block.heads().len());
            blocks.push(block.clone())?;
        }
        let known = |number: u32| {
            let (block, place) = place::<M>(number);
            let block: &Block<M> = blocks.get(block)?;
            Some((block, *block.heads().get(place)?))
        };
        let end = number::<M>(blocks.len(), 0).ok_or(NoMemory)?;
        let all = (0..end).filter(|number| known(*number).is_some());
        let classifier = Classifier::new(all, |number, pattern| {
            known(number).is_some_and(|(block, head)| block.fill(pattern, head, sets))
        })?;
        Ok(Self {
            owners: Owners::of(rules)?,
            starts: starts.duplicate()?,
            bytes: blocks
                .iter()
                .map(|block| block.memory())
                .fold(0, usize::saturating_add),
            blocks,
            classifier,
        })
    }

    /// The number of the rule with the slot of `rule`.
    fn number_of(&self, rule: &Head) -> Option<u32> {
        let slot = rule.slot?;
        let number = match &self.owners {
            Owners::From(first) => {
                let index = slot.number().checked_sub(*first)?;
                let behind = self.starts.partition_point(|start| *start <= index);
                let block = behind.checked_sub(1)?;
                let place = index.checked_sub(*self.starts.get(block)?)?;
                number::<M>(block, place as usize).filter(|number| self.rule(*number).is_some())
            }
            Owners::Numbers(numbers) => numbers.get(slot.index()).copied(),
        };
        number.filter(|number| *number != NOBODY)
    }

    /// How many of them stand before the one with this number.
    #[inline]
    fn index(&self, number: u32) -> u32 {
        let (block, place) = place::<M>(number);
        let start = self.starts.get(block).copied().unwrap_or(0);
        start.wrapping_add(place as u32)
    }

    /// What the rule says that was found, and where it is counted.
    #[inline]
    fn told(&self, found: Found) -> Option<(Verb, Option<Slot>)> {
        match found.allows() {
            Some(allows) => Some((Verb::plain(allows), self.slot(found.number()))),
            None => self.ask(found.number()),
        }
    }

    /// The same for a first look.
    #[inline(always)]
    fn look_at(&self, found: Found) -> Look {
        Look::of(found, self.slot(found.number()))
    }

    /// The slot of the rule with this number. Mostly nothing of the rule itself is looked at, which may be
    /// far.
    #[inline(always)]
    fn slot(&self, number: u32) -> Option<Slot> {
        match &self.owners {
            Owners::From(first) => Slot::from_number(first.wrapping_add(self.index(number))),
            Owners::Numbers(_) => self.ask(number)?.1,
        }
    }

    /// The same of one that must be asked.
    #[inline(never)]
    fn ask(&self, number: u32) -> Option<(Verb, Option<Slot>)> {
        let (block, head) = self.rule(number)?;
        Some((block.verb(head), head.slot))
    }

    #[inline]
    fn rule(&self, number: u32) -> Option<(&Block<M>, Head)> {
        let (block, place) = place::<M>(number);
        let block: &Block<M> = self.blocks.get(block)?;
        Some((block, *block.heads().get(place)?))
    }

    /// Whether the rule with this number is for the packet.
    #[cold]
    #[inline(never)]
    fn speaks_of(&self, number: u32, sets: &Sets<M>, packet: &Packet) -> bool {
        let rule = self.rule(number);
        rule.is_some_and(|(block, head)| block.speaks_of(head, sets, &Probe::new(packet)))
    }

    fn memory(&self) -> usize {
        self.blocks
            .memory()
            .saturating_add(self.starts.memory())
            .saturating_add(self.owners.memory())
            .saturating_add(self.classifier.memory())
    }
}

impl<M: Memory> Owners<M> {
    #[inline(never)]
    fn of(rules: &Rules<M>) -> Result<Self, NoMemory> {
        let first = rules.slots().next().flatten().map_or(0, Slot::number);
        let expected = (first..).map(Slot::from_number);
        if rules.slots().zip(expected).all(|(slot, next)| slot == next) {
            return Ok(Self::From(first));
        }
        let mut numbers = M::List::default();
        for (at, block) in rules.shared_blocks().enumerate() {
            for (place, rule) in block.heads().iter().enumerate() {
                let Some(slot) = rule.slot.map(Slot::index) else {
                    continue;
                };
                while numbers.len() <= slot {
                    numbers.push(NOBODY)?;
                }
                if let Some(entry) = numbers.get_mut(slot) {
                    *entry = number::<M>(at, place).ok_or(NoMemory)?;
                }
            }
        }
        Ok(Self::Numbers(numbers.duplicate()?))
    }

    fn memory(&self) -> usize {
        match self {
            Self::From(_) => 0,
            Self::Numbers(numbers) => numbers.memory(),
        }
    }
}

impl<M: Memory> Index<M> {
    // Process context: building.

    /// The index of rules that do not change any more; each has a slot.
    #[inline(never)]
    pub(crate) fn new(rules: &Rules<M>, sets: &Sets<M>) -> Result<Self, NoMemory> {
        Ok(Self {
            first: M::unique(First::new(rules, sets)?)?.into(),
            gone: Default::default(),
            crossed: Default::default(),
            kept: 0,
            later: Later::default(),
        })
    }

    /// The same for another policy, with the same rules.
    pub(crate) fn share(&self) -> Result<Self, NoMemory> {
        // Who changes the policy finds out anew what came later.
        Ok(Self {
            first: self.first.clone(),
            gone: self.gone.duplicate()?,
            crossed: self.crossed.duplicate()?,
            kept: self.kept,
            later: Later::default(),
        })
    }

    /// The index of rules that were made of those that this one is of; none if so many came or went that it
    /// is better to begin anew.
    #[inline(never)]
    pub(crate) fn turn(self, rules: &Rules<M>, sets: &Sets<M>) -> Result<Option<Self>, NoMemory> {
        let first = &*self.first;
        if rules.is_empty() {
            // Of what is gone nothing shall be kept.
            return Ok(None);
        }
        let most = most_later(rules.len());
        let mut gone = M::List::<u32>::default();
        let mut newcomers = M::List::<Newcomer>::default();
        let mut kept = first.bytes;
        // All before this number have been seen, or are gone.
        let mut next = 0u32;
        let mut index = 0u32;
        let mut pass = |next: &mut u32, number: u32, behind: u32| {
            for missing in *next..number {
                if first.rule(missing).is_some() {
                    gone.push(missing)?;
                }
            }
            *next = behind;
            Ok(gone.len() <= most)
        };
        for (at, block) in rules.shared_blocks().enumerate() {
            let known = |rule: &Head| {
                let number = first.number_of(rule)?;
                (!self.is_crossed(number)).then_some(number)
            };
            let begins = block.heads().first().and_then(known);
            let same = begins.filter(|number| {
                let (block_there, place) = place::<M>(*number);
                let there = first.blocks.get(block_there);
                let is =
                    |there: &M::Shared<Block<M>>| core::ptr::eq::<Block<M>>(&**there, &**block);
                place == 0 && there.is_some_and(is)
            });
            let len = u32::try_from(block.heads().len()).map_err(|_| NoMemory)?;
            if let Some(number) = same {
                kept = kept.saturating_sub(block.memory());
                if !pass(&mut next, number, number.saturating_add(len))? {
                    return Ok(None);
                }
            } else {
                for (place, rule) in (0u32..).zip(block.heads()) {
                    match known(rule) {
                        Some(number) => {
                            if !pass(&mut next, number, number.saturating_add(1))? {
                                return Ok(None);
                            }
                        }
                        None => newcomers.push(Newcomer {
                            index: index.saturating_add(place),
                            block: u32::try_from(at).map_err(|_| NoMemory)?,
                            place,
                            before: next,
                        })?,
                    }
                }
                if newcomers.len() > most {
                    return Ok(None);
                }
            }
            index = index.saturating_add(len);
        }
        let end = number::<M>(first.blocks.len(), 0).ok_or(NoMemory)?;
        if !pass(&mut next, end, end)? {
            return Ok(None);
        }
        let mut crossed = M::List::<u64>::default();
        if !gone.is_empty() {
            let words = (end as usize).div_ceil(64);
            crossed.reserve(words)?;
            crossed.extend(core::iter::repeat_n(0, words))?;
            for number in gone.iter() {
                if let Some(word) = crossed.get_mut(*number as usize / 64) {
                    *word |= 1u64.wrapping_shl(*number);
                }
            }
        }
        let classifier = if newcomers.is_empty() {
            None
        } else {
            let all = 0..u32::try_from(newcomers.len()).map_err(|_| NoMemory)?;
            Some(Classifier::new(all, |number, pattern| {
                let newcomer = newcomers.get(number as usize);
                let rule = newcomer.and_then(|newcomer| newcomer.of(rules));
                rule.is_some_and(|(block, head)| block.fill(pattern, head, sets))
            })?)
        };
        Ok(Some(Self {
            first: self.first.clone(),
            gone: gone.duplicate()?,
            crossed,
            kept,
            later: Later {
                rules: newcomers.duplicate()?,
                classifier,
            },
        }))
    }

    // Any context: reading.

    /// Whether the rule with this number is gone.
    #[inline]
    fn is_crossed(&self, number: u32) -> bool {
        let word = self.crossed.get(number as usize / 64);
        word.is_some_and(|word| word.wrapping_shr(number) & 1 != 0)
    }

    /// How many rules of the policy stand before the one with this number.
    #[inline]
    fn index(&self, number: u32) -> usize {
        let mut index = self.first.index(number) as usize;
        if !self.gone.is_empty() {
            let gone = self.gone.partition_point(|gone| *gone < number);
            index = index.saturating_sub(gone);
        }
        if !self.later.rules.is_empty() {
            let more = self
                .later
                .rules
                .partition_point(|rule| rule.before <= number);
            index = index.saturating_add(more);
        }
        index
    }

    /// What a first look finds at a packet with this key, in this namespace.
    #[inline(always)]
    pub(crate) fn look(
        &self,
        rules: &Rules<M>,
        sets: &Sets<M>,
        packet: &key::Key<'_>,
        netns: NetnsId,
    ) -> Look {
        let asking = Asking {
            index: self,
            rules,
            sets,
            packet,
            netns,
            whole: None,
        };
        match packet.family() {
            Family::Ipv4 => self.look_by::<u32>(asking),
            Family::Ipv6 => self.look_by::<u128>(asking),
        }
    }

    #[inline(always)]
    fn look_by<A: Word>(&self, mut asking: Asking<'_, M>) -> Look {
        let (packet, netns) = (asking.packet, asking.netns);
        let found = first_of::<A, M>(&self.first.classifier, packet, netns, |number, known| {
            !self.is_crossed(number) && (known || asking.is_for(number))
        });
        match (&self.later.classifier, found) {
            (_, None) => Look::Unclear,
            (Some(later), Some(found)) => self.look_later::<A>(later, &mut asking, found),
            (None, Some(Some(found))) => self.first.look_at(found),
            (None, Some(None)) => Look::Nobody,
        }
    }

    /// The same where rules came, and of the first rules this one was found.
    #[inline(never)]
    fn look_later<A: Word>(
        &self,
        later: &Classifier<M>,
        asking: &mut Asking<'_, M>,
        found: Option<Found>,
    ) -> Look {
        let (rules, packet, netns) = (asking.rules, asking.packet, asking.netns);
        let came = first_of::<A, M>(later, packet, netns, |number, known| {
            known || asking.newcomer_is_for(number)
        });
        let Some(came) = came else {
            return Look::Unclear;
        };
        let came = came.and_then(|came| Some((came, self.newcomer(rules, came.number())?)));
        match (found, came) {
            (Some(found), came)
                if came.is_none_or(|(_, (newcomer, _))| found.number() < newcomer.before) =>
            {
                self.first.look_at(found)
            }
            (_, Some((came, (_, (_, head))))) => Look::of(came, head.slot),
            (_, None) => Look::Nobody,
        }
    }

    /// The rule that came later with this number.
    #[inline]
    fn newcomer<'a>(
        &'a self,
        rules: &'a Rules<M>,
        number: u32,
    ) -> Option<(&'a Newcomer, (&'a Block<M>, Head))> {
        let newcomer = self.later.rules.get(number as usize)?;
        Some((newcomer, newcomer.of(rules)?))
    }

    /// Calls `decide` for each rule that is for the packet, in their order, with its index, its verb and its
    /// slot, until it returns something.
    #[inline]
    pub(crate) fn find<R>(
        &self,
        rules: &Rules<M>,
        sets: &Sets<M>,
        packet: &Packet,
        decide: impl FnMut(usize, Verb, Option<Slot>) -> Option<R>,
    ) -> Search<R> {
        match packet.family {
            Family::Ipv4 => self.find_by::<u32, R>(rules, sets, packet, decide),
            Family::Ipv6 => self.find_by::<u128, R>(rules, sets, packet, decide),
        }
    }

    #[inline]
    fn find_by<A: Word, R>(
        &self,
        rules: &Rules<M>,
        sets: &Sets<M>,
        packet: &Packet,
        mut decide: impl FnMut(usize, Verb, Option<Slot>) -> Option<R>,
    ) -> Search<R> {
        let first = &*self.first;
        let later = self.later.classifier.as_ref();
        let wanted = later.map_or(0, Classifier::extras::<A>) | first.classifier.extras::<A>();
        let extras = Extras::of(packet, wanted);
        let Some(key) = Key::<A>::of(packet, &extras) else {
            return Search::From(0);
        };
        if later.is_some() || !self.gone.is_empty() {
            return self.find_edited(rules, sets, packet, &key, decide);
        }
        let hook = (packet.hook, packet.netns);
        let (mut from, mut undecided) = (0, 0u32);
        loop {
            let found = first.classifier.first(&key, hook, from, |number, known| {
                known || first.speaks_of(number, sets, packet)
            });
            let Some(found) = found else {
                return Search::Nobody;
            };
            let index = first.index(found.number()) as usize;
            let told = first.told(found);
            if let Some(decided) = told.and_then(|(verb, slot)| decide(index, verb, slot)) {
                return Search::Decided(decided);
            }
            undecided = undecided.wrapping_add(1);
            if undecided == PATIENCE {
                return Search::From(index.saturating_add(1));
            }
            from = found.number().saturating_add(1);
        }
    }

    /// The same where rules came or went.
    #[inline(never)]
    fn find_edited<A: Word, R>(
        &self,
        rules: &Rules<M>,
        sets: &Sets<M>,
        packet: &Packet,
        key: &Key<'_, A>,
        mut decide: impl FnMut(usize, Verb, Option<Slot>) -> Option<R>,
    ) -> Search<R> {
        let first = &*self.first;
        let hook = (packet.hook, packet.netns);
        let old = |from: u32| {
            first.classifier.first(key, hook, from, |number, known| {
                !self.is_crossed(number) && (known || first.speaks_of(number, sets, packet))
            })
        };
        let newcomer = |number: u32| self.newcomer(rules, number);
        let new = |from: u32| {
            let classifier = self.later.classifier.as_ref()?;
            let found = classifier.first(key, hook, from, |number, known| {
                known
                    || newcomer(number).is_some_and(|(_, (block, head))| {
                        block.speaks_of(head, sets, &Probe::new(packet))
                    })
            });
            found.map(|found| found.number())
        };
        let (mut next_old, mut next_new) = (old(0), new(0));
        let mut undecided = 0u32;
        loop {
            let came = next_new.and_then(newcomer);
            let is_first =
                |found: &Found| came.is_none_or(|(came, _)| found.number() < came.before);
            let next = next_old.filter(is_first);
            let (index, decided) = match (next, came) {
                (Some(found), _) => {
                    let index = self.index(found.number());
                    let told = first.told(found);
                    let decided = told.and_then(|(verb, slot)| decide(index, verb, slot));
                    (index, decided)
                }
                (None, Some((came, (block, head)))) => {
                    let index = came.index as usize;
                    (index, decide(index, block.verb(head), head.slot))
                }
                (None, None) => return Search::Nobody,
            };
            if let Some(decided) = decided {
                return Search::Decided(decided);
            }
            undecided = undecided.wrapping_add(1);
            if undecided == PATIENCE {
                return Search::From(index.saturating_add(1));
            }
            match next {
                Some(found) => next_old = old(found.number().saturating_add(1)),
                None => next_new = next_new.and_then(|number| new(number.saturating_add(1))),
            }
        }
    }

    /// How many bytes of memory it takes.
    pub(crate) fn memory(&self) -> usize {
        let later = self.later.classifier.as_ref().map_or(0, Classifier::memory);
        self.first
            .memory()
            .saturating_add(self.kept)
            .saturating_add(self.gone.memory())
            .saturating_add(self.crossed.memory())
            .saturating_add(self.later.rules.memory())
            .saturating_add(later)
    }
}

/// The first rule for a packet with this key, in this namespace, if there is any; [`None`] if the key is not one
/// of this family. `is_for` is asked as by [`Classifier::first`].
#[inline(always)]
fn first_of<A: Word, M: Memory>(
    classifier: &Classifier<M>,
    packet: &key::Key<'_>,
    netns: NetnsId,
    is_for: impl FnMut(u32, bool) -> bool,
) -> Option<Option<Found>> {
    let read;
    let extras = match classifier.extras::<A>() {
        0 => &Extras::NONE,
        wanted => {
            read = Extras::plain(packet, netns, wanted);
            &read
        }
    };
    let key = Key::<A>::plain(packet, extras)?;
    Some(classifier.first(&key, (packet.hook(), netns), 0, is_for))
}

/// Who asks rules of which is not known whether they are for the packet with this key, in this namespace.
struct Asking<'a, M: Memory> {
    index: &'a Index<M>,
    rules: &'a Rules<M>,
    sets: &'a Sets<M>,
    packet: &'a key::Key<'a>,
    netns: NetnsId,
    /// The packet as rules are asked about it: from the first of them on.
    whole: Option<Packet>,
}

impl<M: Memory> Asking<'_, M> {
    /// Whether the rule with this number is, of the first ones.
    #[cold]
    #[inline(never)]
    fn is_for(&mut self, number: u32) -> bool {
        let rule = self.index.first.rule(number);
        rule.is_some_and(|(block, head)| {
            block.speaks_of(head, self.sets, &Probe::new(self.whole()))
        })
    }

    /// Whether the rule with this number is, of those that came later.
    #[cold]
    #[inline(never)]
    fn newcomer_is_for(&mut self, number: u32) -> bool {
        let rule = self.index.newcomer(self.rules, number);
        rule.is_some_and(|(_, (block, head))| {
            block.speaks_of(head, self.sets, &Probe::new(self.whole()))
        })
    }

    fn whole(&mut self) -> &Packet {
        let (packet, netns) = (self.packet, self.netns);
        self.whole.get_or_insert_with(|| packet.packet(netns))
    }
}

impl Look {
    /// What is found if this is the first rule, and has this slot.
    #[inline(always)]
    fn of(found: Found, slot: Option<Slot>) -> Self {
        match (found.allows(), slot) {
            (Some(allows), Some(slot)) => Self::Rule(allows, slot),
            _ => Self::Unclear,
        }
    }
}

impl Newcomer {
    /// The rule itself, among those of its policy, and its block.
    #[inline]
    fn of<'a, M: Memory>(&self, rules: &'a Rules<M>) -> Option<(&'a Block<M>, Head)> {
        rules.at(self.block as usize, self.place as usize)
    }
}
