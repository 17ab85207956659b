// SPDX-License-Identifier: GPL-2.0

//! Samples of several engines, in turn and in random order.

use std::hint::black_box;
use std::time::Duration;

use anyhow::Result;
use rand::seq::SliceRandom as _;

use crate::engine::{Engine, Mode};
use crate::{mix, rng};

/// Gets what was used out of the core's own caches.
pub struct Evictor(Vec<u64>);

impl Evictor {
    /// Bytes that are read; eight times the L2 cache of most cores of today.
    const BYTES: usize = 8 << 20;

    /// What it does.
    pub const HOW: &'static str =
        "8 MiB of other memory are read, so that it is out of L1 and L2, but not of L3";

    /// One with memory of its own.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self((0..(Self::BYTES / 8) as u64).map(mix).collect())
    }

    /// Reads all of it, a word of each line of the cache.
    pub fn evict(&self) {
        let words = self.0.iter().step_by(8);
        black_box(words.fold(0, |sum, word| sum ^ word));
    }
}

/// How long the lookups of a sample are to take.
const SAMPLE: Duration = Duration::from_millis(3);

/// So many times as many lookups, elsewhere in the trace, come before each sample that is not to be cold: the
/// engines before it have left nothing of this one in the caches.
const WARMING: usize = 8;

/// Fewest lookups in a sample: what a header costs depends on the header.
const FEWEST: usize = 16;

/// Lookups in a sample of cold ones: between them more time goes by than in them.
const COLD: usize = 25;

/// Lookups that take longer are told of only as throughput.
const SLOW: Duration = Duration::from_millis(1);

/// The samples of an engine in one mode: ns a lookup.
pub struct Series {
    /// Whose they are.
    pub engine: String,
    /// How they were taken.
    pub mode: Mode,
    /// One of each round; those of one round belong together.
    pub samples: Vec<f64>,
}

/// Warms an engine up, and tells how many lookups make a sample, and how long one takes.
fn warm(engine: &mut dyn Engine, mode: Mode) -> Result<(usize, Duration)> {
    let mut count = if mode == Mode::Cold { COLD } else { 1 };
    loop {
        let spent = engine.sample(mode, 0, count)?;
        let each = spent / count as u32;
        if mode == Mode::Cold {
            return Ok((count, each));
        }
        if spent >= SAMPLE / 4 || count >= 1 << 20 {
            let fitting = SAMPLE.as_secs_f64() / each.as_secs_f64().max(1e-9);
            return Ok(((fitting as usize).clamp(FEWEST, 1 << 20), each));
        }
        count *= 4;
    }
}

/// Measures `engines` in `mode`: in each round each of them, in an order of chance, on the same part of the
/// trace. So whatever slows the machine for a time slows all alike.
pub fn compare(
    engines: &mut [Box<dyn Engine>],
    mode: Mode,
    rounds: usize,
    seed: u64,
) -> Result<Vec<Series>> {
    let mut rng = rng(seed, mode as u64);
    let mut counts = Vec::new();
    for engine in engines.iter_mut() {
        let count = if engine.knows(mode) {
            let (count, each) = warm(engine.as_mut(), mode)?;
            (mode == Mode::Throughput || each < SLOW).then_some(count)
        } else {
            None
        };
        counts.push(count);
    }
    let mut series: Vec<Series> = engines
        .iter()
        .map(|engine| Series {
            engine: engine.name().to_owned(),
            mode,
            samples: Vec::new(),
        })
        .collect();
    let mut order: Vec<usize> = (0..engines.len()).collect();
    for round in 0..rounds {
        order.shuffle(&mut rng);
        for &index in &order {
            let Some(count) = counts[index] else {
                continue;
            };
            let from = mix(seed ^ round as u64) as usize >> 8;
            if mode != Mode::Cold {
                let elsewhere = from.wrapping_add(count * WARMING);
                engines[index].sample(mode, elsewhere, count * WARMING)?;
            }
            let spent = engines[index].sample(mode, from, count)?;
            let ns = spent.as_secs_f64() * 1e9 / count as f64;
            series[index].samples.push(ns);
        }
    }
    series.retain(|series| !series.samples.is_empty());
    Ok(series)
}
