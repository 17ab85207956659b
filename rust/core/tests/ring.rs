// SPDX-License-Identifier: GPL-2.0

//! Rings, with everything that the writer may do between any two steps of a reader.

mod common;

use std::cell::{Cell, RefCell};

use ctrfw_core::ring::{next, Next, Place, Ring, Timed};
use proptest::collection::vec;
use proptest::prelude::*;

/// An entry of two words, which an entry that was written whole has the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pair(u64, u64);

impl Timed for Pair {
    fn time(&self) -> u64 {
        self.0
    }
}

/// A ring whose writer makes steps whenever a reader looks.
struct Model {
    slots: RefCell<Vec<Pair>>,
    written: Cell<u64>,
    /// Whether the first word of the next entry is in its place already.
    begun: Cell<bool>,
    /// The times of the entries to come.
    times: RefCell<Vec<u64>>,
    /// How many steps the writer makes each time; none at the end.
    steps: RefCell<Vec<u8>>,
}

impl Model {
    fn new(places: usize, mut times: Vec<u64>, steps: Vec<u8>) -> Self {
        times.reverse();
        Self {
            slots: RefCell::new(vec![Pair(u64::MAX, 0); places]),
            written: Cell::new(0),
            begun: Cell::new(false),
            times: RefCell::new(times),
            steps: RefCell::new(steps),
        }
    }

    /// One step of the writer: the first word, or the second and the count.
    fn step(&self) {
        let mut times = self.times.borrow_mut();
        let Some(time) = times.last().copied() else {
            return;
        };
        let mut slots = self.slots.borrow_mut();
        let place = self.written.get() as usize % slots.len();
        if self.begun.get() {
            slots[place].1 = time;
            self.written.set(self.written.get() + 1);
            times.pop();
        } else {
            slots[place].0 = time;
        }
        self.begun.set(!self.begun.get());
    }

    fn meanwhile(&self) {
        for _ in 0..self.steps.borrow_mut().pop().unwrap_or(0) {
            self.step();
        }
    }
}

impl Ring for Model {
    type Entry = Pair;

    fn written(&self) -> u64 {
        self.meanwhile();
        self.written.get()
    }

    fn places(&self) -> u64 {
        self.slots.borrow().len() as u64
    }

    fn copy(&self, number: u64) -> Option<Pair> {
        self.meanwhile();
        let place = number as usize % self.slots.borrow().len();
        let first = self.slots.borrow()[place].0;
        self.meanwhile();
        Some(Pair(first, self.slots.borrow()[place].1))
    }

    fn written_after_copy(&self) -> u64 {
        self.meanwhile();
        self.written.get()
    }
}

/// Rising times, as a CPU's clock gives them.
fn times(gaps: Vec<u64>, ring: u64) -> Vec<u64> {
    let mut now = ring;
    gaps.into_iter()
        .map(|gap| {
            // No two of several rings are the same.
            now += gap * 8 + 8;
            now
        })
        .collect()
}

fn model() -> impl Strategy<Value = (Vec<Vec<u64>>, Vec<Vec<u8>>, u32)> {
    let ring = (vec(0..50u64, 0..60), vec(0..9u8, 0..120));
    (vec(ring, 1..4), 1..5u32).prop_map(|(rings, log)| {
        let (gaps, steps): (Vec<_>, Vec<_>) = rings.into_iter().unzip();
        let gaps = gaps.into_iter().zip(0..);
        let times = gaps.map(|(gaps, ring)| times(gaps, ring)).collect();
        (times, steps, log)
    })
}

proptest! {
    #![proptest_config(common::config(3000))]

    /// Each entry is told whole and once, or counted, in the ring's order.
    #[test]
    fn told_or_counted((times, steps, log) in model()) {
        let rings: Vec<Model> = times
            .iter()
            .zip(steps)
            .map(|(times, steps)| Model::new(1 << log, times.clone(), steps))
            .collect();
        let mut places: Vec<_> = rings.iter().map(Place::oldest).collect();
        let before: Vec<u64> = rings.iter().map(|ring| ring.written.get()).collect();
        let mut told = vec![Vec::new(); rings.len()];
        let mut lost = vec![0; rings.len()];
        loop {
            match next(&mut places, &rings) {
                Some(Next::Entry(&Pair(first, second))) => {
                    prop_assert_eq!(first, second, "half of one and half of another");
                    told[(first % 8) as usize].push(first);
                }
                Some(Next::Lost { ring, count }) => {
                    prop_assert!(count > 0);
                    lost[ring] += count;
                }
                None if rings.iter().all(|ring| ring.times.borrow().is_empty()) => break,
                None => rings.iter().for_each(Model::step),
            }
        }
        for (ring, times) in times.iter().enumerate() {
            prop_assert!(told[ring].is_sorted_by(|a, b| a < b));
            prop_assert!(told[ring].iter().all(|time| times.contains(time)));
            let skipped = times.len() as u64 - told[ring].len() as u64 - lost[ring];
            // Only what was gone before the reader came is neither.
            prop_assert!(skipped <= before[ring].saturating_sub((1 << log) - 1));
        }
    }
}

/// A ring of four places whose writer has finished.
fn finished(times: &[u64]) -> Model {
    let ring = Model::new(4, times.to_vec(), Vec::new());
    while !ring.times.borrow().is_empty() {
        ring.step();
    }
    ring
}

fn all(places: &mut [Place<Pair>], rings: &[Model]) -> Vec<Next<Pair>> {
    std::iter::from_fn(|| {
        Some(match next(places, rings)? {
            Next::Entry(entry) => Next::Entry(*entry),
            Next::Lost { ring, count } => Next::Lost { ring, count },
        })
    })
    .collect()
}

fn entry(time: u64) -> Next<Pair> {
    Next::Entry(Pair(time, time))
}

#[test]
fn the_exact_number_is_lost() {
    let ring = Model::new(4, (1..=10).collect(), Vec::new());
    let mut places = [Place::oldest(&ring)];
    let rings = [ring];
    (0..20).for_each(|_| rings[0].step());
    assert_eq!(places[0].waiting(&rings[0]), 10);
    // One place is always the writer's.
    let lost = Next::Lost { ring: 0, count: 7 };
    assert_eq!(
        all(&mut places, &rings),
        [lost, entry(8), entry(9), entry(10)]
    );
    assert_eq!(places[0].waiting(&rings[0]), 0);
}

#[test]
fn who_comes_late_has_lost_nothing() {
    let rings = [finished(&[1, 2, 3, 4, 5])];
    let mut places = [Place::oldest(&rings[0])];
    assert_eq!(places[0].waiting(&rings[0]), 3);
    assert_eq!(all(&mut places, &rings), [entry(3), entry(4), entry(5)]);
    let mut places = [Place::oldest(&rings[0])];
    assert_eq!(next(&mut places, &rings), Some(Next::Entry(&Pair(3, 3))));
    assert_eq!(places[0].skip(&rings[0]), 2);
    assert_eq!(places[0].skip(&rings[0]), 0);
    assert_eq!(all(&mut places, &rings), []);
}

#[test]
fn rings_are_merged_by_time() {
    let rings = [finished(&[3, 9]), finished(&[]), finished(&[1, 4, 5])];
    let mut places: Vec<_> = rings.iter().map(Place::oldest).collect();
    assert_eq!(
        all(&mut places, &rings),
        [entry(1), entry(3), entry(4), entry(5), entry(9)]
    );
}
