// SPDX-License-Identifier: GPL-2.0

//! The slots that statements count in.

use core::num::NonZeroU32;

use crate::memory::{List, Memory, NoMemory};

/// The number of a counter. A statement has it for as long as it is in the table, wherever it stands
/// there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slot(NonZeroU32);

impl Slot {
    fn at(index: usize) -> Option<Self> {
        let number = u32::try_from(index).ok()?.checked_add(1)?;
        NonZeroU32::new(number).map(Self)
    }

    /// Counted from 1.
    pub(crate) fn number(self) -> u32 {
        self.0.get()
    }

    /// The slot with this number, counted from 1.
    #[inline]
    pub(crate) fn from_number(number: u32) -> Option<Self> {
        NonZeroU32::new(number).map(Self)
    }

    /// Counted from 0.
    #[inline]
    pub fn index(self) -> usize {
        (self.0.get() as usize).wrapping_sub(1)
    }
}

/// Which slots statements have, and which are free. All process context.
pub struct Slots<M: Memory> {
    /// A bit for each, set where a statement has it.
    words: M::List<u64>,
    /// All before this word are taken.
    full: usize,
}

impl<M: Memory> Default for Slots<M> {
    fn default() -> Self {
        Self {
            words: Default::default(),
            full: 0,
        }
    }
}

impl<M: Memory> Slots<M> {
    /// Slots of which these are taken.
    pub(crate) fn of(taken: impl Iterator<Item = Slot>) -> Result<Self, NoMemory> {
        let mut slots = Self::default();
        for slot in taken {
            let (place, bit) = (slot.index() / 64, slot.index() % 64);
            while slots.words.len() <= place {
                slots.words.push(0)?;
            }
            if let Some(word) = slots.words.get_mut(place) {
                *word |= 1u64.wrapping_shl(bit as u32);
            }
        }
        Ok(slots)
    }

    /// The same once more.
    pub fn duplicate(&self) -> Result<Self, NoMemory> {
        Ok(Self {
            words: self.words.duplicate()?,
            full: self.full,
        })
    }

    /// Takes a slot that is free: the first.
    pub fn take(&mut self) -> Result<Slot, NoMemory> {
        let mut words = self.words.iter_mut().enumerate().skip(self.full);
        let free = words.find(|(_, word)| **word != u64::MAX);
        let (place, bit) = match free {
            Some((place, word)) => {
                let bit = word.trailing_ones();
                *word |= 1u64.wrapping_shl(bit);
                (place, bit)
            }
            None => {
                self.words.push(1)?;
                (self.words.len().saturating_sub(1), 0)
            }
        };
        self.full = place;
        Slot::at(place.saturating_mul(64).saturating_add(bit as usize)).ok_or(NoMemory)
    }

    /// Frees a slot.
    pub fn give_back(&mut self, slot: Slot) {
        let (place, bit) = (slot.index() / 64, slot.index() % 64);
        if let Some(word) = self.words.get_mut(place) {
            *word &= !1u64.wrapping_shl(bit as u32);
            self.full = self.full.min(place);
        }
        while self.words.last() == Some(&0) {
            self.words.pop();
        }
    }

    /// One more than the index of the last that is taken.
    pub fn len(&self) -> usize {
        let words = self.words.len().saturating_mul(64);
        let free = self.words.last().map_or(0, |word| word.leading_zeros());
        words.saturating_sub(free as usize)
    }

    /// Whether all are free.
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Those that are taken here and free in `before`.
    pub fn since<'a>(&'a self, before: &'a Self) -> impl Iterator<Item = Slot> + 'a {
        let old = before.words.iter().copied().chain(core::iter::repeat(0));
        let fresh = self.words.iter().zip(old).map(|(new, old)| new & !old);
        fresh.enumerate().flat_map(|(place, word)| {
            let bits = (0..64usize).filter(move |bit| word.wrapping_shr(*bit as u32) & 1 != 0);
            bits.filter_map(move |bit| Slot::at(place.saturating_mul(64).saturating_add(bit)))
        })
    }

    /// How many bytes of memory they take.
    pub fn memory(&self) -> usize {
        self.words.memory()
    }
}
