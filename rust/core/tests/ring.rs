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

/// How far somebody is who writes an entry.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// He says that he is at it.
    Entered,
    /// He has taken a number.
    Taken { number: u64, time: u64 },
    /// The first word is in its place.
    Half { number: u64, time: u64 },
    /// All of it.
    Whole,
    /// That is told, and of so many; he does not say any more that he is at it.
    Told(u64),
}

/// A ring whose writer makes steps whenever a reader looks.
struct Model {
    slots: RefCell<Vec<Pair>>,
    begun: Cell<u64>,
    written: Cell<u64>,
    refused: Cell<u64>,
    /// Who writes, and who has interrupted him.
    writer: Cell<Option<Stage>>,
    interrupt: Cell<Option<Stage>>,
    /// The times of the entries to come.
    times: RefCell<Vec<u64>>,
    /// How many steps are made each time, and whether the first of them are those of interrupts; none at the
    /// end.
    steps: RefCell<Vec<(u8, bool)>>,
}

impl Model {
    fn new(places: usize, mut times: Vec<u64>, steps: Vec<(u8, bool)>) -> Self {
        times.reverse();
        Self {
            slots: RefCell::new(vec![Pair(u64::MAX, 0); places]),
            begun: Cell::new(0),
            written: Cell::new(0),
            refused: Cell::new(0),
            writer: Cell::new(None),
            interrupt: Cell::new(None),
            times: RefCell::new(times),
            steps: RefCell::new(steps),
        }
    }

    fn place(&self, number: u64) -> usize {
        number as usize % self.slots.borrow().len()
    }

    /// Whether an interrupt finds that somebody is at it.
    fn is_writing(&self) -> bool {
        !matches!(self.writer.get(), None | Some(Stage::Told(_)))
    }

    /// What one who is so far does next; `alone` if he has interrupted nobody.
    fn next(&self, stage: Stage, alone: bool) -> Option<Stage> {
        match stage {
            Stage::Entered => {
                let Some(time) = self.times.borrow_mut().pop() else {
                    // Interrupts had the last ones.
                    return alone.then_some(Stage::Whole);
                };
                let number = self.begun.replace(self.begun.get() + 1);
                Some(Stage::Taken { number, time })
            }
            Stage::Taken { number, time } => {
                let place = self.place(number);
                self.slots.borrow_mut()[place].0 = time;
                Some(Stage::Half { number, time })
            }
            Stage::Half { number, time } => {
                let place = self.place(number);
                self.slots.borrow_mut()[place].1 = time;
                alone.then_some(Stage::Whole)
            }
            Stage::Whole => {
                self.written.set(self.begun.get());
                Some(Stage::Told(self.begun.get()))
            }
            // Somebody came in between.
            Stage::Told(begun) if begun != self.begun.get() => Some(Stage::Whole),
            Stage::Told(_) => None,
        }
    }

    /// One step of the writer, or of who interrupts him.
    fn step(&self, interrupt: bool) {
        let more = !self.times.borrow().is_empty();
        if let Some(stage) = self.interrupt.take() {
            self.interrupt.set(self.next(stage, !self.is_writing()));
        } else if interrupt && more {
            let unpublished = self.begun.get() - self.written.get();
            if self.is_writing() && unpublished >= self.places() {
                self.times.borrow_mut().pop();
                self.refused.set(self.refused.get() + 1);
            } else {
                self.interrupt.set(Some(Stage::Entered));
            }
        } else if let Some(stage) = self.writer.get() {
            self.writer.set(self.next(stage, true));
        } else if more {
            self.writer.set(Some(Stage::Entered));
        }
    }

    fn meanwhile(&self) {
        let (steps, interrupt) = self.steps.borrow_mut().pop().unwrap_or((0, false));
        for step in 0..steps {
            self.step(interrupt && step < steps / 2);
        }
    }

    fn is_finished(&self) -> bool {
        self.times.borrow().is_empty() && self.writer.get().or(self.interrupt.get()).is_none()
    }

    /// Makes steps until there is nothing more to be done, none of them an interrupt's.
    fn finish(&self) {
        while !self.is_finished() {
            self.step(false);
        }
    }
}

impl Ring for Model {
    type Entry = Pair;

    fn written(&self) -> u64 {
        self.meanwhile();
        self.written.get()
    }

    fn refused(&self) -> u64 {
        self.meanwhile();
        self.refused.get()
    }

    fn places(&self) -> u64 {
        self.slots.borrow().len() as u64
    }

    fn copy(&self, number: u64) -> Option<Pair> {
        self.meanwhile();
        let place = self.place(number);
        let first = self.slots.borrow()[place].0;
        self.meanwhile();
        Some(Pair(first, self.slots.borrow()[place].1))
    }

    fn begun_after_copy(&self) -> u64 {
        self.meanwhile();
        self.begun.get()
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

type Steps = Vec<(u8, bool)>;

fn model() -> impl Strategy<Value = (Vec<Vec<u64>>, Vec<Steps>, u32)> {
    let ring = (vec(0..50u64, 0..60), vec((0..20u8, any::<bool>()), 0..160));
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
    fn told_or_counted((times, steps, log) in model(), skips in vec(prop::bool::weighted(0.05), 0..200)) {
        let rings: Vec<Model> = times
            .iter()
            .zip(steps)
            .map(|(times, steps)| Model::new(1 << log, times.clone(), steps))
            .collect();
        let mut places: Vec<_> = rings.iter().map(Place::oldest).collect();
        let before = rings.iter().map(|ring| {
            ring.begun.get().saturating_sub(ring.places()) + ring.refused.get()
        });
        let before: Vec<u64> = before.collect();
        let mut told = vec![Vec::new(); rings.len()];
        let mut skips = skips.into_iter();
        let mut lost = vec![0; rings.len()];
        loop {
            if skips.next() == Some(true) {
                let all = places.iter_mut().zip(&rings).zip(&mut lost);
                all.for_each(|((place, ring), lost)| *lost += place.skip(ring));
            }
            let finished = rings.iter().all(Model::is_finished);
            match next(&mut places, &rings) {
                Some(Next::Entry(&Pair(first, second))) => {
                    prop_assert_eq!(first, second, "half of one and half of another");
                    told[(first % 8) as usize].push(first);
                }
                Some(Next::Lost { ring, count }) => {
                    prop_assert!(count > 0);
                    lost[ring] += count;
                }
                None if finished => break,
                None => rings.iter().for_each(|ring| ring.step(false)),
            }
        }
        for (ring, times) in times.iter().enumerate() {
            prop_assert!(told[ring].is_sorted_by(|a, b| a < b));
            prop_assert!(told[ring].iter().all(|time| times.contains(time)));
            let skipped = times.len() as u64 - told[ring].len() as u64 - lost[ring];
            prop_assert_eq!(places[ring].waiting(&rings[ring]), 0);
            // Only what was gone before the reader came is neither.
            prop_assert!(skipped <= before[ring]);
        }
    }
}

/// A ring of four places whose writer has finished.
fn finished(times: &[u64]) -> Model {
    let ring = Model::new(4, times.to_vec(), Vec::new());
    ring.finish();
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
    rings[0].finish();
    assert_eq!(places[0].waiting(&rings[0]), 10);
    let lost = Next::Lost { ring: 0, count: 6 };
    assert_eq!(
        all(&mut places, &rings),
        [lost, entry(7), entry(8), entry(9), entry(10)]
    );
    assert_eq!(places[0].waiting(&rings[0]), 0);
}

#[test]
fn who_comes_late_has_lost_nothing() {
    let rings = [finished(&[1, 2, 3, 4, 5])];
    let mut places = [Place::oldest(&rings[0])];
    assert_eq!(places[0].waiting(&rings[0]), 4);
    assert_eq!(
        all(&mut places, &rings),
        [entry(2), entry(3), entry(4), entry(5)]
    );
    let mut places = [Place::oldest(&rings[0])];
    assert_eq!(next(&mut places, &rings), Some(Next::Entry(&Pair(2, 2))));
    assert_eq!(places[0].skip(&rings[0]), 3);
    assert_eq!(places[0].skip(&rings[0]), 0);
    assert_eq!(all(&mut places, &rings), []);
}

/// Who interrupts somebody writes no more than there is room for until that one goes on.
#[test]
fn interrupted_for_long() {
    let rings = [Model::new(4, (1..=9).collect(), Vec::new())];
    let mut places = [Place::oldest(&rings[0])];
    // He has a number.
    (0..2).for_each(|_| rings[0].step(false));
    // Three have places, at four steps each, and four have none.
    (0..16).for_each(|_| rings[0].step(true));
    assert_eq!(all(&mut places, &rings), []);
    assert_eq!(places[0].waiting(&rings[0]), 4);
    rings[0].finish();
    let lost = Next::Lost { ring: 0, count: 5 };
    assert_eq!(
        all(&mut places, &rings),
        [lost, entry(2), entry(3), entry(4), entry(9)]
    );
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
