// SPDX-License-Identifier: GPL-2.0

//! What was decided about packets lately, so that the same need not be decided again.
//!
//! One cache is one CPU's, and no two may use it at a time. It has places in sets of four. A set's
//! places are told apart by 16 bits of the hash of what they hold, in one word of a list of its own: to
//! find that nothing is there takes no look at the places, which are many. What is found by these bits
//! is compared whole, so whoever makes two packets with the same hash gains nothing but a miss.
//!
//! A packet is remembered when its key comes for the second time, soon after the first, or by a small
//! chance. So a flood of packets of which no two are alike pushes little out that is of use. And while
//! little is found the cache rests most of the time, so that a flood costs little.
//!
//! Each place has the generation of the table that decided. No generation has two tables, so what an
//! old table has said is never found again.

use crate::generation::Generation;
use crate::key::{Key, Names};
use crate::memory::{List, Memory, NoMemory};
use crate::outcome::Outcome;

/// How many places a key may be in.
const WAYS: usize = 4;

/// One key in so many is remembered when it comes for the first time.
const CHANCE: usize = 32;

/// The cache rests when twice as many keys as it has places were not found: those of flows that there is
/// room for come for the first time, and for the second, and are found.
const PATIENCE: usize = 2;

/// So many places count for that, of a larger cache.
const MAX_PATIENT: usize = 1 << 14;

/// A key that is found makes up for so many that are not: what is found less often does not pay for being
/// looked for.
const WORTH: u32 = 4;

/// It rests for so many times the keys that it took: of a flood it is asked for one key in sixteen.
const REST: u32 = 15;

/// An odd number without a pattern.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;

/// Most places of a cache.
pub const MAX_PLACES: usize = 1 << 20;

/// What a cache says of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recall {
    /// This was decided.
    Known(Outcome),
    /// It came before, and what is decided is to be remembered.
    Again,
    /// It is new.
    New,
}

/// One place: a line of the processor's cache. All zero while there is nothing.
#[derive(Clone, Copy, Default)]
#[repr(C, align(64))]
struct Place {
    words: [u64; 6],
    /// What was decided, above the mark, which is of the key
    value_mark: u64,
    generation: Generation,
}

impl Place {
    /// Whether the key is this one, but for the names.
    #[inline(always)]
    fn is(&self, generation: Generation, key: &Key<'_>) -> bool {
        let ([a, b, c, d, e, f], [k, l, m, n, o, p]) = (self.words, key.words());
        let mark = u64::from(self.value_mark as u32 ^ key.mark);
        let other = mark | (a ^ k) | (b ^ l) | (c ^ m) | (d ^ n) | (e ^ o) | (f ^ p);
        other == 0 && self.generation == generation
    }

    #[inline(always)]
    fn value(&self) -> Option<Outcome> {
        Outcome::from_word((self.value_mark >> 32) as u32)
    }
}

/// What nobody knows, so that nobody can choose keys that meet.
pub struct Secret([u64; Self::WORDS]);

impl Secret {
    /// How many words it is made of: one for each of the longest key, and one more.
    pub const WORDS: usize = 8 + Names::WORDS;

    /// A secret of such words: each as good as any other, and nothing that somebody else may know.
    pub fn new(words: [u64; Self::WORDS]) -> Self {
        Self(words)
    }
}

/// The hash of a key, and the table's generation.
#[derive(Clone, Copy)]
pub struct Hash(u64);

impl Hash {
    /// The hash of a key that a table of this generation is asked about. With the same `secret` it is the
    /// same in all caches. Any context.
    ///
    /// It is the sum of the products of two words each, with a word of the secret added to each of them (NH
    /// of UMAC): hardly more than one secret in 2^64 gives two keys the same sum. Then the halves of
    /// that are put together.
    #[inline(always)]
    pub fn of(secret: &Secret, generation: Generation, key: &Key<'_>) -> Self {
        let product = |(a, s): (u64, u64), (b, t): (u64, u64)| {
            u128::from(a.wrapping_add(s)).wrapping_mul(u128::from(b.wrapping_add(t)))
        };
        let [a, b, c, d, e, f] = key.words();
        let table = u64::from(key.mark) ^ generation.number().rotate_left(32);
        let [sa, sb, sc, sd, se, sf, st, odd, names @ ..] = &secret.0;
        let mut sum = product((a, *sa), (e, *se)).wrapping_add(product((f, *sf), (table, *st)));
        // Where the family has so long addresses
        if b | c | d != 0 {
            sum = sum
                .wrapping_add(product((b, *sb), (c, *sc)))
                .wrapping_add(product((d, *sd), (0, *odd)));
        }
        if let Some(there) = key.names {
            let ([a, b, c, d, e, f, g, h], [sa, sb, sc, sd, se, sf, sg, sh]) =
                (there.words(), names);
            sum = sum
                .wrapping_add(product((a, *sa), (b, *sb)))
                .wrapping_add(product((c, *sc), (d, *sd)))
                .wrapping_add(product((e, *se), (f, *sf)))
                .wrapping_add(product((g, *sg), (h, *sh)));
        }
        let fold = |sum: u128| sum as u64 ^ (sum >> 64) as u64;
        // What is far apart in the sum may be near in its halves: once more, so that keys in a row spread.
        Self(fold(u128::from(fold(sum)).wrapping_mul(FACTOR.into())))
    }

    /// The bits by which the places of a set are told apart; never 0.
    #[inline(always)]
    fn print(self) -> u16 {
        (self.0 as u16).max(1)
    }

    /// The set.
    #[inline(always)]
    fn set(self) -> usize {
        (self.0 >> 16) as u32 as usize
    }

    /// Among which keys it is noted that the key came; other bits than those of the set, in part.
    #[inline(always)]
    fn visit(self) -> usize {
        (self.0 >> 32) as usize
    }
}

/// The cache of one CPU.
pub struct Cache<M: Memory> {
    /// For each set the prints of its places, 16 bits each; 0 where nothing is.
    prints: M::List<u64>,
    places: M::List<Place>,
    /// The names in the keys.
    names: M::List<[u64; Names::WORDS]>,
    /// The prints of keys that came and are not remembered, the last four of each word, the last one lowest.
    visits: M::List<u64>,
    /// One less than the number of sets, and of words of visits, which is a power of two.
    mask: usize,
    /// How many keys were noted.
    turn: usize,
    /// How many keys that are not found it takes until the cache rests, and how many it takes at most.
    patience: u32,
    most_patience: u32,
    /// How many more keys it is not asked for.
    rest: u32,
}

impl<M: Memory> Cache<M> {
    /// A cache with so many places, or a few more, but no more than [`MAX_PLACES`]. Process context; may
    /// sleep.
    pub fn new(places: usize) -> Result<Self, NoMemory> {
        let sets = places.min(MAX_PLACES).div_ceil(WAYS).next_power_of_two();
        let places = sets.saturating_mul(WAYS);
        let patience = places.min(MAX_PATIENT).saturating_mul(PATIENCE) as u32;
        Ok(Self {
            prints: zeroes::<M, _>(sets)?,
            places: zeroes::<M, _>(places)?,
            names: zeroes::<M, _>(places)?,
            visits: zeroes::<M, _>(sets)?,
            mask: sets.saturating_sub(1),
            turn: 0,
            patience,
            most_patience: patience,
            rest: 0,
        })
    }

    /// How many bytes of memory it takes.
    pub fn memory(&self) -> usize {
        self.prints
            .memory()
            .saturating_add(self.places.memory())
            .saturating_add(self.names.memory())
            .saturating_add(self.visits.memory())
    }

    /// Whether it rests, and is not asked for this packet.
    #[inline(always)]
    pub fn rests(&mut self) -> bool {
        let rests = self.rest != 0;
        if rests {
            self.rest = self.rest.wrapping_sub(1);
        }
        rests
    }

    /// What a table of this generation has decided about packets with this key, if that is remembered;
    /// else whether it should be from now on.
    #[inline(always)]
    pub fn find(&mut self, generation: Generation, hash: Hash, key: &Key<'_>) -> Recall {
        let set = hash.set() & self.mask;
        let prints = self.prints.get(set).copied().unwrap_or(0);
        let mut same = same_print(prints, hash.print());
        while same != 0 {
            let way = (same.trailing_zeros() / 16) as usize;
            if let Some(value) = self.value(set, way, generation, key) {
                let patience = self.patience.wrapping_add(WORTH);
                self.patience = patience.min(self.most_patience);
                return Recall::Known(value);
            }
            same &= same.wrapping_sub(1);
        }
        self.patience = self.patience.wrapping_sub(1);
        if self.patience == 0 {
            self.patience = self.most_patience;
            self.rest = self.most_patience.wrapping_mul(REST);
        }
        if self.visit(hash) {
            Recall::Again
        } else {
            Recall::New
        }
    }

    /// What was decided about packets with this key, if that is in this place.
    #[inline(always)]
    fn value(
        &self,
        set: usize,
        way: usize,
        generation: Generation,
        key: &Key<'_>,
    ) -> Option<Outcome> {
        let index = set.wrapping_mul(WAYS).wrapping_add(way);
        let place = self.places.get(index)?;
        let same = place.is(generation, key) && self.names_are(index, key);
        same.then(|| place.value())?
    }

    /// Notes that a key came, and tells whether it came before, not long ago.
    #[inline(always)]
    fn visit(&mut self, hash: Hash) -> bool {
        let Some(visits) = self.visits.get_mut(hash.visit() & self.mask) else {
            return false;
        };
        // More that are noted in one word in turn than it takes would never be remembered, but for the chance.
        self.turn = self.turn.wrapping_add(1);
        let same = same_print(*visits, hash.print());
        if same == 0 && self.turn % CHANCE != 0 {
            *visits = (*visits << 16) | u64::from(hash.print());
            return false;
        }
        if same != 0 {
            let low = same.trailing_zeros() & !15;
            *visits &= !u64::from(u16::MAX).wrapping_shl(low);
        }
        true
    }

    /// Whether the names in the key at a place are those of `key`, if these matter.
    #[inline(always)]
    fn names_are(&self, index: usize, key: &Key<'_>) -> bool {
        let Some(names) = key.names else {
            return true;
        };
        let there = self.names.get(index);
        there.is_some_and(|there| there.iter().zip(&names.words()).all(|(a, b)| a == b))
    }

    /// Remembers what a table of this generation has decided about packets with this key, in place of
    /// something else if need be.
    pub fn remember(&mut self, generation: Generation, hash: Hash, key: &Key<'_>, value: Outcome) {
        let set = hash.set() & self.mask;
        let (Some(prints), Some(value)) = (self.prints.get_mut(set), value.word()) else {
            return;
        };
        let shift = |way: usize| (way as u32).wrapping_mul(16);
        let free = (0..WAYS).find(|way| prints.wrapping_shr(shift(*way)) as u16 == 0);
        let way = free.unwrap_or(self.turn / CHANCE % WAYS);
        let index = set.wrapping_mul(WAYS).wrapping_add(way);
        let (Some(place), Some(names)) = (self.places.get_mut(index), self.names.get_mut(index))
        else {
            return;
        };
        *place = Place {
            words: key.words(),
            value_mark: (u64::from(value) << 32) | u64::from(key.mark),
            generation,
        };
        if let Some(new) = key.names {
            *names = new.words();
        }
        let print = u64::from(hash.print()).wrapping_shl(shift(way));
        *prints = (*prints & !u64::from(u16::MAX).wrapping_shl(shift(way))) | print;
    }
}

/// A bit for each of four prints that is this one, the highest of its 16; perhaps also for one behind the
/// first of them.
#[inline(always)]
fn same_print(prints: u64, print: u16) -> u64 {
    const ONES: u64 = u64::MAX / u16::MAX as u64;
    let zero_if_same = prints ^ u64::from(print).wrapping_mul(ONES);
    zero_if_same.wrapping_sub(ONES) & !zero_if_same & (ONES << 15)
}

/// A list of so many zeroes.
fn zeroes<M: Memory, T: Default + Copy>(count: usize) -> Result<M::List<T>, NoMemory> {
    let mut list = M::List::default();
    list.reserve(count)?;
    list.extend(core::iter::repeat_n(T::default(), count))?;
    Ok(list)
}
