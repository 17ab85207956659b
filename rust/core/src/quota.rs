// SPDX-License-Identifier: GPL-2.0

//! How often the same may be logged: one line for each key in a time, in memory that is fixed.
//!
//! A table of entries of two words each, which are only ever read and changed atomically: no CPU waits
//! for another. An entry is the key's tag, and until when the key's lines are held back, with how many
//! were. Where a key finds all entries that it may have taken by others, it takes the one that is due
//! the earliest.
//!
//! No packet is lost count of: each is a line, or is in the count of one that is printed later, or is
//! in the count that an entry gives up when it is taken, or was left out for want of a permit. A count
//! stops at [`MAX_HELD_BACK`].
//!
//! Two CPUs that meet in one entry at the same moment may print a line too many.

use crate::packet::{Packet, Transport};
use crate::pair::AddrPair;
use crate::rule::Decider;

/// How many entries a key may be in.
const WAYS: usize = 4;

/// How many entries there are to be.
pub const ENTRIES: usize = 4096;

/// How often somebody else may take the entry in the moment between finding and taking it.
const ATTEMPTS: usize = 4;

const HELD_BACK_BITS: u32 = 24;

/// Where the count of lines held back ends.
pub const MAX_HELD_BACK: u64 = (1 << HELD_BACK_BITS) - 1;

/// A word that several CPUs change at a time, with full ordering.
pub trait Word {
    /// Reads it.
    fn load(&self) -> u64;

    /// Replaces it; what it was.
    fn swap(&self, new: u64) -> u64;

    /// Replaces it if it is still `old`; else tells what it is.
    fn compare_exchange(&self, old: u64, new: u64) -> Result<(), u64>;
}

/// What becomes of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is to be printed.
    Line {
        /// So many with the same key were held back since the last one.
        held_back: u64,
        /// So many with other keys were, of which no line will tell any more.
        untold: u64,
    },
    /// It is held back, and counted.
    HeldBack,
    /// There was no permit for a line that was due; nothing changed.
    LeftOut,
}

/// Until when lines are held back, in milliseconds, and how many were.
#[derive(Clone, Copy)]
struct State(u64);

impl State {
    /// After a line at `now`.
    fn after_line(now: u64, every: u32) -> Self {
        Self(now.saturating_add(every.into()) << HELD_BACK_BITS)
    }

    fn until(self) -> u64 {
        self.0 >> HELD_BACK_BITS
    }

    fn held_back(self) -> u64 {
        self.0 & MAX_HELD_BACK
    }

    /// With one more line held back.
    fn and_one(self) -> Self {
        match self.held_back() {
            MAX_HELD_BACK => self,
            _ => Self(self.0.saturating_add(1)),
        }
    }
}

/// A place for a key; all zero at first.
pub struct Entry<W> {
    /// The key's; 0 while there is none.
    tag: W,
    state: W,
}

impl<W: Word> Entry<W> {
    /// An entry of two words that are zero.
    pub fn new(tag: W, state: W) -> Self {
        Self { tag, state }
    }

    /// How many lines were held back since the last one.
    pub fn held_back(&self) -> u64 {
        State(self.state.load()).held_back()
    }

    fn until(&self) -> u64 {
        State(self.state.load()).until()
    }

    /// Another line for the key that has the entry; [`None`] if it has it no more.
    fn again(
        &self,
        tag: u64,
        now: u64,
        every: u32,
        permit: &mut impl FnMut() -> bool,
    ) -> Option<Outcome> {
        let mut state = self.state.load();
        loop {
            if self.tag.load() != tag {
                return None;
            }
            let before = State(state);
            let (after, outcome) = if now < before.until() {
                (before.and_one(), Outcome::HeldBack)
            } else if permit() {
                let line = Outcome::Line {
                    held_back: before.held_back(),
                    untold: 0,
                };
                (State::after_line(now, every), line)
            } else {
                return Some(Outcome::LeftOut);
            };
            match self.state.compare_exchange(state, after.0) {
                Ok(()) => return Some(outcome),
                Err(current) => state = current,
            }
        }
    }
}

/// Whether a line with the key that `hash` is of may be printed at `now` (milliseconds, never going
/// back by much), if there is to be one in `every` milliseconds. Any context; lock-free.
///
/// `permit` is asked when a line is due; once it has given a permit it is not asked again.
pub fn account<W: Word>(
    entries: &[Entry<W>],
    hash: u64,
    now: u64,
    every: u32,
    mut permit: impl FnMut() -> bool,
) -> Outcome {
    let mut permitted = false;
    let mut permit = || {
        permitted = permitted || permit();
        permitted
    };
    // 0 means none.
    let tag = hash | 1;
    let sets = entries.len() / WAYS;
    let set = (hash >> 32)
        .checked_rem(sets as u64)
        .and_then(|set| usize::try_from(set).ok()?.checked_mul(WAYS))
        .and_then(|at| entries.get(at..at.checked_add(WAYS)?))
        .unwrap_or(&[]);
    for _ in 0..ATTEMPTS {
        if let Some(entry) = set.iter().find(|entry| entry.tag.load() == tag) {
            match entry.again(tag, now, every, &mut permit) {
                Some(outcome) => return outcome,
                None => continue,
            }
        }
        if !permit() {
            return Outcome::LeftOut;
        }
        let Some(entry) = set.iter().min_by_key(|entry| entry.until()) else {
            break;
        };
        let other = entry.tag.load();
        if other != tag && entry.tag.compare_exchange(other, tag).is_ok() {
            // Whoever counts a line for the other key in this very moment has it counted here.
            let before = State(entry.state.swap(State::after_line(now, every).0));
            return Outcome::Line {
                held_back: 0,
                untold: before.held_back(),
            };
        }
    }
    // Better a line too many.
    if permit() {
        Outcome::Line {
            held_back: 0,
            untold: 0,
        }
    } else {
        Outcome::LeftOut
    }
}

/// A secret, so that nobody can choose packets whose keys are taken for one another's.
#[derive(Clone, Copy)]
pub struct Secret(pub u64, pub u64);

impl Secret {
    /// The hash of a packet's key: its addresses, its destination port (0 where it has none), and the
    /// statement that decided about it.
    pub fn hash(self, packet: &Packet, decider: Decider) -> u64 {
        let (family, [a, b, c, d]) = match packet.headers.addrs {
            Some(AddrPair::V4(addrs)) => (4, [addrs, 0, 0, 0]),
            Some(AddrPair::V6(addrs)) => (6, addrs),
            None => (0, [0; 4]),
        };
        let port = match packet.headers.transport {
            Transport::Ports { dest, .. } => u64::from(dest),
            _ => 0,
        };
        let (kind, index) = match decider {
            Decider::Rule(index) => (0, index),
            Decider::Default(index) => (1, index),
            Decider::Nobody => (2, 0),
            Decider::Failsafe => (3, 0),
        };
        let statement = ((index as u64) << 2) | kind;
        siphash(self, &[a, b, c, d, (family << 16) | port, statement])
    }
}

/// SipHash-2-4 of words of eight bytes, the least significant first.
pub fn siphash(secret: Secret, words: &[u64]) -> u64 {
    let mut v = [
        secret.0 ^ 0x736f_6d65_7073_6575,
        secret.1 ^ 0x646f_7261_6e64_6f6d,
        secret.0 ^ 0x6c79_6765_6e65_7261,
        secret.1 ^ 0x7465_6462_7974_6573,
    ];
    // How many bytes there were, modulo 256
    let last = (words.len() as u64) << 59;
    for word in words.iter().copied().chain([last]) {
        let [v0, v1, v2, v3] = sip_round(sip_round([v[0], v[1], v[2], v[3] ^ word]));
        v = [v0 ^ word, v1, v2, v3];
    }
    v[2] ^= 0xff;
    let [v0, v1, v2, v3] = sip_round(sip_round(sip_round(sip_round(v))));
    v0 ^ v1 ^ v2 ^ v3
}

fn sip_round([mut v0, mut v1, mut v2, mut v3]: [u64; 4]) -> [u64; 4] {
    v0 = v0.wrapping_add(v1);
    v2 = v2.wrapping_add(v3);
    v1 = v1.rotate_left(13) ^ v0;
    v3 = v3.rotate_left(16) ^ v2;
    v0 = v0.rotate_left(32);
    v2 = v2.wrapping_add(v1);
    v0 = v0.wrapping_add(v3);
    v1 = v1.rotate_left(17) ^ v2;
    v3 = v3.rotate_left(21) ^ v0;
    v2 = v2.rotate_left(32);
    [v0, v1, v2, v3]
}
