// SPDX-License-Identifier: GPL-2.0

//! How often the same may be logged: against an oracle that knows all keys and the time, and with
//! several threads at a time.

use std::collections::HashMap;
use std::hash::Hasher;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use ctrfw_core::quota::{account, siphash, Entry, Outcome, Secret, Word, ENTRIES, MAX_HELD_BACK};
use proptest::collection::vec;
use proptest::prelude::*;

struct Atomic(AtomicU64);

impl Word for Atomic {
    fn load(&self) -> u64 {
        self.0.load(SeqCst)
    }

    fn swap(&self, new: u64) -> u64 {
        self.0.swap(new, SeqCst)
    }

    fn compare_exchange(&self, old: u64, new: u64) -> Result<(), u64> {
        let exchanged = self.0.compare_exchange(old, new, SeqCst, SeqCst);
        exchanged.map(|_| ())
    }
}

fn entries(count: usize) -> Vec<Entry<Atomic>> {
    let zero = || Atomic(AtomicU64::new(0));
    (0..count).map(|_| Entry::new(zero(), zero())).collect()
}

/// Hashes that are apart in both halves.
fn hash(key: u64) -> u64 {
    siphash(Secret(1, 2), &[key])
}

const LINE: Outcome = Outcome::Line {
    held_back: 0,
    untold: 0,
};

#[test]
fn one_line_in_its_time() {
    let entries = entries(ENTRIES);
    let at = |now| account(&entries, hash(1), now, 100, || true);
    assert_eq!(at(0), LINE);
    assert_eq!(at(0), Outcome::HeldBack);
    assert_eq!(at(99), Outcome::HeldBack);
    let told = Outcome::Line {
        held_back: 2,
        untold: 0,
    };
    assert_eq!(at(100), told);
    assert_eq!(at(199), Outcome::HeldBack);
    // Time that goes back holds back.
    assert_eq!(at(150), Outcome::HeldBack);
    assert_eq!(at(1 << 39), told);
}

#[test]
fn the_count_ends_somewhere() {
    let entries = entries(4);
    assert_eq!(account(&entries, hash(1), 0, 1, || true), LINE);
    for _ in 0..MAX_HELD_BACK + 5 {
        assert_eq!(account(&entries, hash(1), 0, 1, || true), Outcome::HeldBack);
    }
    let told = Outcome::Line {
        held_back: MAX_HELD_BACK,
        untold: 0,
    };
    assert_eq!(account(&entries, hash(1), 1, 1, || true), told);
}

#[test]
fn without_a_permit_nothing_changes() {
    let entries = entries(4);
    let no = || account(&entries, hash(1), 5, 100, || false);
    assert_eq!(no(), Outcome::LeftOut);
    assert_eq!(account(&entries, hash(1), 5, 100, || true), LINE);
    assert_eq!(no(), Outcome::HeldBack);
    assert_eq!(
        account(&entries, hash(1), 105, 100, || false),
        Outcome::LeftOut
    );
    let told = Outcome::Line {
        held_back: 1,
        untold: 0,
    };
    assert_eq!(account(&entries, hash(1), 105, 100, || true), told);
}

#[test]
fn without_entries_all_is_printed() {
    for count in [0, 3] {
        let entries = entries(count);
        assert_eq!(account(&entries, hash(1), 0, 100, || true), LINE);
        assert_eq!(
            account(&entries, hash(1), 0, 100, || false),
            Outcome::LeftOut
        );
    }
}

#[test]
#[allow(deprecated)]
fn the_hash_is_siphash() {
    let words = [0x0706_0504_0302_0100, 0x0f0e_0d0c_0b0a_0908, u64::MAX, 0];
    for len in 0..=words.len() {
        let mut hasher = std::hash::SipHasher::new_with_keys(words[0], words[1]);
        for word in &words[..len] {
            hasher.write(&word.to_le_bytes());
        }
        assert_eq!(
            siphash(Secret(words[0], words[1]), &words[..len]),
            hasher.finish()
        );
    }
    // The reference implementation's vectors
    let secret = Secret(words[0], words[1]);
    assert_eq!(siphash(secret, &[]), 0x726f_db47_dd0e_0e31);
    assert_eq!(siphash(secret, &words[..1]), 0x93f5_f579_9a93_2462);
}

#[derive(Default)]
struct Known {
    until: u64,
    held_back: u64,
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(500) })]

    /// With room for all keys the table is as good as one that remembers everything.
    #[test]
    fn as_an_oracle_says(
        packets in vec((0..64u64, prop_oneof![Just(0), 0..50u64, 0..5000u64], 1..1000u32, 0..8u8), 1..400),
    ) {
        let entries = entries(ENTRIES);
        let mut oracle: HashMap<u64, Known> = HashMap::new();
        let mut now = 0;
        for (key, gap, every, permit) in packets {
            now += gap;
            let permit = permit != 0;
            let known = oracle.entry(key).or_default();
            let expected = if now < known.until {
                known.held_back += 1;
                Outcome::HeldBack
            } else if permit {
                let held_back = std::mem::take(&mut known.held_back);
                known.until = now + u64::from(every);
                Outcome::Line { held_back, untold: 0 }
            } else {
                Outcome::LeftOut
            };
            prop_assert_eq!(account(&entries, hash(key), now, every, || permit), expected);
        }
        let held: u64 = entries.iter().map(Entry::held_back).sum();
        prop_assert_eq!(held, oracle.values().map(|known| known.held_back).sum::<u64>());
    }

    /// With more keys than room: no packet is lost count of, a key that has its entry has no second
    /// line before its time, and one line less than there are packets of a key is the most held back.
    #[test]
    fn every_packet_is_accounted_for(
        count in prop_oneof![Just(4usize), Just(8), Just(16)],
        packets in vec((0..40u64, 0..20u64), 1..600),
    ) {
        let entries = entries(count);
        let (mut now, mut lines, mut told, mut untold, mut evicted) = (0, 0, 0, 0, 0);
        let mut last: HashMap<u64, u64> = HashMap::new();
        for (key, gap) in &packets {
            now += gap;
            match account(&entries, hash(*key), now, 100, || true) {
                Outcome::Line { held_back, untold: others } => {
                    lines += 1;
                    told += held_back;
                    untold += others;
                    // Too early only if somebody else took its entry meanwhile.
                    if last.insert(*key, now).is_some_and(|last| now < last + 100) {
                        evicted += 1;
                        prop_assert_eq!(held_back, 0);
                    }
                }
                Outcome::HeldBack => prop_assert!(now < last[key] + 100),
                Outcome::LeftOut => prop_assert!(false),
            }
        }
        let pending: u64 = entries.iter().map(Entry::held_back).sum();
        prop_assert_eq!(lines + told + untold + pending, packets.len() as u64);
        prop_assert!(evicted <= lines);
    }
}

/// Threads that share few entries: all packets are accounted for all the same.
#[test]
fn threads() {
    const PACKETS: u64 = 200_000;
    let entries = entries(8);
    let clock = AtomicU64::new(0);
    let sums: Vec<[u64; 3]> = std::thread::scope(|scope| {
        let run = |seed: u64| {
            let (entries, clock) = (&entries, &clock);
            move || {
                let (mut sums, mut random) = ([0; 3], seed);
                for _ in 0..PACKETS {
                    random = hash(random);
                    let now = clock.fetch_add(1, SeqCst) / 16;
                    match account(entries, hash(random % 24), now, 50, || true) {
                        Outcome::Line { held_back, untold } => {
                            sums[0] += 1;
                            sums[1] += held_back + untold;
                        }
                        Outcome::HeldBack => sums[2] += 1,
                        Outcome::LeftOut => unreachable!(),
                    }
                }
                sums
            }
        };
        let threads: Vec<_> = (0..4).map(|seed| scope.spawn(run(seed))).collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .collect()
    });
    let sum = |at: usize| sums.iter().map(|sums| sums[at]).sum::<u64>();
    let pending: u64 = entries.iter().map(Entry::held_back).sum();
    assert_eq!(sum(0) + sum(2), 4 * PACKETS);
    assert_eq!(sum(1) + pending, sum(2));
}
