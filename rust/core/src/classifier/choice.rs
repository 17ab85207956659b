// SPDX-License-Identifier: GPL-2.0

//! Which bits tell the rules of a node apart best. All process context.

use crate::memory::{List, Memory, NoMemory};

use super::key::{Class, Extra};
use super::mask::{Bits, Shape};
use super::record::{Record, Role};
use super::spans::ALL_PORTS;
use super::word::Word;

/// So many rules are looked at.
const SAMPLE: usize = 128;
/// A node with more rules than this has few copies of each, as that takes memory.
const LARGE: usize = 100;
/// Most copies of a rule in a table of a large node, and of another one
const COPIES: (u32, u32) = (4, 16);
/// What a copy costs, in sixteenths of a bit
const COPY_COST: u32 = 2;
/// What a table must gain for each rule of the node, in sixteenths of a bit
const LEAST_GAIN: u32 = 3;
/// How many counters hashes are counted in, as a power of two
const COUNTER_BITS: u32 = 12;
/// How many first bits of ports are tried
const PORT_BITS: [u8; 4] = [0, 6, 10, 16];
/// Most slots of a table
const MOST_SLOTS: usize = 1 << 24;

/// Of so few rules the bits are chosen once only, if they tell them apart well.
const FEW: usize = 100;

/// In how many slots of a table a rule may be, for a node of so many rules. Strange packets need not be quick.
pub(super) fn most_copies(rules: usize, class: Class) -> u32 {
    if !class.is_plain() {
        1
    } else if rules > LARGE {
        COPIES.0
    } else {
        COPIES.1
    }
}

/// Bits that tell rules apart.
#[derive(Clone, Copy)]
pub(super) struct Choice {
    pub(super) shape: Shape,
    /// How many bits of information that gives of the rules that were looked at, in sixteenths
    gain: u32,
    /// How many of those they are good for
    rules: usize,
    /// How many values the bits have there
    values: u32,
}

impl Choice {
    /// How many slots a table of so many rules should have: half as many more as there are values, or for
    /// packets that need not be quick a quarter of them.
    pub(super) fn slots(&self, rules: usize, class: Class) -> u32 {
        let values = (self.values as usize).saturating_mul(rules);
        let values = values.checked_div(self.rules).unwrap_or(rules);
        let slots = if class.is_plain() {
            values.saturating_add(values / 2)
        } else {
            values / 4
        };
        slots.clamp(2, MOST_SLOTS) as u32
    }
}

/// Chooses bits.
pub(super) struct Chooser<M: Memory> {
    sample: M::List<u32>,
    /// How many values have what hash
    counters: M::List<u16>,
    /// The hashes of the values of each rule, behind how many these are
    hashes: M::List<u16>,
    /// What the sample's records were rated by
    rated: M::List<Choice>,
}

impl<M: Memory> Chooser<M> {
    pub(super) fn new() -> Self {
        Self {
            sample: Default::default(),
            counters: Default::default(),
            hashes: Default::default(),
            rated: Default::default(),
        }
    }

    /// The bits that tell some records apart best, each of which may be in `most` slots; [`None`] if nothing
    /// does well enough.
    pub(super) fn choose<A: Word>(
        &mut self,
        numbers: &[u32],
        records: &[Record<A>],
        roles: &[Role],
        class: Class,
        most: u32,
    ) -> Result<Option<Choice>, NoMemory> {
        // Small tables need none.
        if self.counters.is_empty() {
            let all = core::iter::repeat_n(0, 1usize.wrapping_shl(COUNTER_BITS));
            self.counters.extend(all)?;
        }
        self.sample.truncate(0);
        self.rated.truncate(0);
        let step = numbers.len().div_ceil(SAMPLE).max(1);
        for count in 0..numbers.len().div_ceil(step) {
            // One of each part, so that a table that repeats itself shows all of its kinds.
            let chance = (count as u32).wrapping_mul(0x9e37_79b9).wrapping_shr(8);
            let within = (chance as usize).checked_rem(step).unwrap_or(0);
            let place = count.saturating_mul(step).saturating_add(within);
            let number = numbers.get(place).or(numbers.last());
            self.sample.extend(number.copied())?;
        }
        let moves = Moves::of(self.sample.iter().copied(), records, roles, class);

        let count = self.sample.len() as u32;
        let least = LEAST_GAIN.saturating_mul(count);
        // Half of what bits gain that tell each from all others.
        let much = logarithm(count).saturating_mul(count) / 2;
        let mut best = self.climb(Shape::NOTHING, &moves, records, roles, most)?;
        // Where there are few rules that mostly takes longer than it gains.
        if self.sample.len() >= FEW || (best.gain <= much && class.is_plain()) {
            let middle = A::LENGTHS.get(A::LENGTHS.len() / 3).copied().unwrap_or(0);
            let middle = Shape {
                source: middle.min(moves.source.1),
                dest: middle.min(moves.dest.1),
                ..Shape::NOTHING
            };
            let other = self.climb(middle, &moves, records, roles, most)?;
            if other.gain > best.gain {
                best = other;
            }
        }
        // The first field may be good for a single rule, and so leave nothing for the others to be good for.
        if best.gain <= least {
            let mut alone = best;
            for tried in Move::all::<A>().filter(|tried| moves.have(*tried)) {
                let choice = self.rate(tried.of(Shape::NOTHING), records, roles, most)?;
                if choice.gain > alone.gain {
                    alone = choice;
                }
            }
            best = self.climb(alone.shape, &moves, records, roles, most)?;
        }
        Ok((best.gain > least).then_some(best))
    }

    /// Gives each field in turn what is best while the others are as they are.
    fn climb<A: Word>(
        &mut self,
        from: Shape,
        moves: &Moves,
        records: &[Record<A>],
        roles: &[Role],
        most: u32,
    ) -> Result<Choice, NoMemory> {
        let mut current = self.rate(from, records, roles, most)?;
        for _ in 0..2 {
            let before = current.shape;
            for tried in Move::all::<A>().filter(|tried| moves.have(*tried)) {
                let shape = tried.of(current.shape);
                if shape != current.shape {
                    let choice = self.rate(shape, records, roles, most)?;
                    if choice.gain > current.gain {
                        current = choice;
                    }
                }
            }
            if current.shape == before {
                break;
            }
        }
        Ok(current)
    }

    /// How well bits tell the records of the sample apart.
    fn rate<A: Word>(
        &mut self,
        shape: Shape,
        records: &[Record<A>],
        roles: &[Role],
        most: u32,
    ) -> Result<Choice, NoMemory> {
        let Self {
            sample,
            counters,
            hashes,
            rated,
        } = self;
        // Each field is given its turn twice, and mostly little has changed by then.
        if let Some(choice) = rated.iter().find(|choice| choice.shape == shape) {
            return Ok(*choice);
        }
        let bits = Bits::<A>::of(shape);
        hashes.truncate(0);
        let (mut rules, mut values, mut cost) = (0usize, 0u32, 0u32);
        for number in sample.iter() {
            let index = *number as usize;
            let (Some(record), Some(role)) = (records.get(index), roles.get(index)) else {
                continue;
            };
            let Some(copies) = bits.copies(record, role, most) else {
                continue;
            };
            rules = rules.saturating_add(1);
            cost = cost.saturating_add(copies.saturating_sub(1).saturating_mul(COPY_COST));
            hashes.push(copies as u16)?;
            let mut full = Ok(());
            bits.hashes(record, role, copies, |hash| {
                let hash = hash.wrapping_shr(64u32.wrapping_sub(COUNTER_BITS)) as u16;
                full = full.and(hashes.push(hash));
                if let Some(counter) = counters.get_mut(usize::from(hash)) {
                    values = values.saturating_add(u32::from(*counter == 0));
                    *counter = counter.saturating_add(1);
                }
            });
            full?;
        }
        let all = logarithm(sample.len() as u32);
        let mut gain = 0u32;
        let mut rest: &[u16] = hashes;
        while let Some((copies, behind)) = rest.split_first() {
            let (own, next) = behind
                .split_at_checked((*copies).into())
                .unwrap_or((behind, &[]));
            let gains = own.iter().map(|hash| {
                let counter = counters.get(usize::from(*hash)).copied().unwrap_or(1);
                all.saturating_sub(logarithm(counter.into()))
            });
            let sum = gains.fold(0u32, u32::saturating_add);
            gain = gain.saturating_add(sum.checked_div((*copies).into()).unwrap_or(0));
            rest = next;
        }
        // How many copies there are names a counter, too: all of them begin at 0 again.
        for hash in hashes.iter() {
            if let Some(counter) = counters.get_mut(usize::from(*hash)) {
                *counter = 0;
            }
        }
        let choice = Choice {
            shape,
            gain: gain.saturating_sub(cost),
            rules,
            values,
        };
        rated.push(choice)?;
        Ok(choice)
    }
}

/// The binary logarithm, in sixteenths.
fn logarithm(number: u32) -> u32 {
    let whole = 31u32.saturating_sub(number.leading_zeros().min(31));
    // What is behind the first bit, as if it were a straight line up to the next power.
    let part = u64::from(number).wrapping_shl(4).wrapping_shr(whole) as u32 & 15;
    whole.wrapping_shl(4) | part
}

/// What can be tried.
#[derive(Clone, Copy)]
enum Move {
    Source(u8),
    Dest(u8),
    Proto(bool),
    Dport(u8),
    Sport(u8),
    Extra(Extra),
}

impl Move {
    fn all<A: Word>() -> impl Iterator<Item = Self> {
        let lengths = A::LENGTHS.iter().copied();
        let extras = [Extra::None].into_iter().chain(Extra::ALL);
        lengths
            .clone()
            .map(Self::Source)
            .chain(lengths.map(Self::Dest))
            .chain([false, true].map(Self::Proto))
            .chain(PORT_BITS.map(Self::Dport))
            .chain(PORT_BITS.map(Self::Sport))
            .chain(extras.map(Self::Extra))
    }

    fn of(self, from: Shape) -> Shape {
        match self {
            Self::Source(source) => Shape { source, ..from },
            Self::Dest(dest) => Shape { dest, ..from },
            Self::Proto(proto) => Shape { proto, ..from },
            Self::Dport(dport) => Shape { dport, ..from },
            Self::Sport(sport) => Shape { sport, ..from },
            Self::Extra(extra) => Shape { extra, ..from },
        }
    }
}

/// What is worth a try on some rules.
struct Moves {
    /// The bits that all rules have in common, and those that the longest prefixes have
    source: (u8, u8),
    dest: (u8, u8),
    sport: bool,
    dport: bool,
    proto: bool,
    /// A bit for each field that any of them asks for
    extras: u8,
}

impl Moves {
    fn of<A: Word>(
        numbers: impl Iterator<Item = u32>,
        records: &[Record<A>],
        roles: &[Role],
        class: Class,
    ) -> Self {
        let mut moves = Self {
            source: (A::WIDTH, 0),
            dest: (A::WIDTH, 0),
            sport: false,
            dport: false,
            proto: false,
            extras: 0,
        };
        let mut first = None;
        for index in numbers.map(|number| number as usize) {
            let (Some(record), Some(role)) = (records.get(index), roles.get(index)) else {
                continue;
            };
            let (source, dest) = A::apart(record.addrs);
            let (first_source, first_dest) = *first.get_or_insert((source, dest));
            let widen = |range: (u8, u8), common: u8, len: u8| {
                (range.0.min(common).min(len), range.1.max(len))
            };
            let common = A::common(source, first_source);
            moves.source = widen(moves.source, common, record.source_len);
            let common = A::common(dest, first_dest);
            moves.dest = widen(moves.dest, common, record.dest_len);
            moves.sport |= class == Class::Ports && record.ports.sport() != ALL_PORTS;
            moves.dport |= class == Class::Ports && record.ports.dport() != ALL_PORTS;
            moves.proto |= class.is_plain() && record.proto_mask != 0;
            if role.extra != Extra::None {
                moves.extras |= 1u8.wrapping_shl(role.extra as u32) | 1;
            }
        }
        moves
    }

    fn have(&self, tried: Move) -> bool {
        match tried {
            Move::Source(len) => tells(self.source, len),
            Move::Dest(len) => tells(self.dest, len),
            Move::Proto(_) => self.proto,
            Move::Dport(_) => self.dport,
            Move::Sport(_) => self.sport,
            Move::Extra(extra) => self.extras & 1u8.wrapping_shl(extra as u32) != 0,
        }
    }
}

/// Whether so many bits tell prefixes apart that have so many bits in common, and so many at most.
fn tells((common, longest): (u8, u8), len: u8) -> bool {
    len == 0 || (common < len && len <= longest)
}
