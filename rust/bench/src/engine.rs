// SPDX-License-Identifier: GPL-2.0

//! What is measured: something that finds the first rule which fits a header.

use std::hint::black_box;
use std::rc::Rc;
use std::time::{Duration, Instant};

use anyhow::{ensure, Result};
use ctrfw_core::memory::Heap;
use ctrfw_core::packet::Packet;
use ctrfw_core::policy::Policy;

use crate::clock::Moment;
use crate::common::packet::CONTAINER;
use crate::linear::Linear;
use crate::measure::Evictor;
use crate::trace::SHORT;
use crate::tuple::Header;

/// How lookups follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// One header of a long trace after the other; the CPU may begin the next before it has this one's.
    Throughput,
    /// The same, but which header comes next is known only with the answer.
    Dependent,
    /// As throughput, with few headers again and again: all that they touch is in the first caches.
    Hot,
    /// Before each lookup what was looked up before is out of the core's own caches.
    Cold,
}

impl Mode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Throughput, Self::Dependent, Self::Hot, Self::Cold];

    /// The name in tables and for peers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Dependent => "dependent",
            Self::Hot => "hot",
            Self::Cold => "cold",
        }
    }

    /// What is told with each figure of it.
    pub fn how(self) -> String {
        match self {
            Self::Throughput => "independent lookups along a long shuffled trace".to_owned(),
            Self::Dependent => "each lookup waits for the one before it".to_owned(),
            Self::Hot => format!("independent lookups of the same {SHORT} headers"),
            Self::Cold => format!("median of lookups before each of which {}", Evictor::HOW),
        }
    }
}

/// Something to be measured.
pub trait Engine {
    /// The name in tables.
    fn name(&self) -> &str;

    /// Whether it can be measured so.
    fn knows(&self, _mode: Mode) -> bool {
        true
    }

    /// Does `count` lookups, and tells how much time of the CPU they took; if they are cold, so many times
    /// the median of each. `from` is where in its trace they begin.
    fn sample(&mut self, mode: Mode, from: usize, count: usize) -> Result<Duration>;
}

/// Finds the first rule that fits.
pub trait Lookup {
    /// What stands for it, or for no rule. Not to be inlined into what measures it, as it is not in a hook.
    fn lookup(&mut self, header: &Header) -> usize;

    /// The index of the rule that this stands for.
    fn index(&self, found: usize) -> usize {
        found
    }
}

/// What is found where no rule fits.
pub const NOBODY: usize = usize::MAX;

/// What is found where more than a first look would be needed.
const UNCLEAR: usize = usize::MAX - 1;

/// The policy engine, as hooks ask it.
pub struct Ctrfw {
    policy: Rc<Policy<Heap>>,
}

impl Ctrfw {
    /// To look up in a `policy` that was just loaded.
    pub fn new(policy: Rc<Policy<Heap>>) -> Self {
        Self { policy }
    }
}

impl Lookup for Ctrfw {
    #[inline(never)]
    fn lookup(&mut self, header: &Header) -> usize {
        let Some(outcome) = self.policy.first_look(&header.key(), CONTAINER) else {
            return UNCLEAR;
        };
        black_box(outcome.dropped);
        // Rules have slots in their order, and those of nobody are behind them.
        outcome.slot.index()
    }

    fn index(&self, found: usize) -> usize {
        match found {
            UNCLEAR => UNCLEAR,
            slot if slot < self.policy.rules().len() => slot,
            _ => NOBODY,
        }
    }
}

/// The policy's rules, asked one after the other.
pub struct OneByOne {
    policy: Rc<Policy<Heap>>,
    /// All but the headers stays the same.
    packet: Packet,
}

impl OneByOne {
    /// To look up in `policy` headers like this one.
    pub fn new(policy: Rc<Policy<Heap>>, header: &Header) -> Self {
        Self {
            policy,
            packet: header.packet(),
        }
    }
}

impl Lookup for OneByOne {
    #[inline(never)]
    fn lookup(&mut self, header: &Header) -> usize {
        header.fill(&mut self.packet);
        let mut rules = 0..self.policy.rules().len();
        let speaks = |index: &usize| self.policy.speaks_of(*index, &self.packet);
        rules.find(speaks).unwrap_or(NOBODY)
    }
}

impl Lookup for Linear {
    #[inline(never)]
    fn lookup(&mut self, header: &Header) -> usize {
        self.first(header).unwrap_or(NOBODY)
    }
}

/// An engine of this process.
pub struct Local<L> {
    name: &'static str,
    lookup: L,
    trace: Rc<[Header]>,
    evictor: Rc<Evictor>,
}

impl<L: Lookup> Local<L> {
    /// To be measured on this trace.
    pub fn new(name: &'static str, lookup: L, trace: Rc<[Header]>, evictor: Rc<Evictor>) -> Self {
        Self {
            name,
            lookup,
            trace,
            evictor,
        }
    }

    /// Whether it finds these rules for the first headers of the trace; what is measured must be right.
    pub fn check(&mut self, truth: &[usize]) -> Result<()> {
        for (header, truth) in self.trace.iter().zip(truth) {
            let found = self.lookup.lookup(header);
            let found = self.lookup.index(found);
            ensure!(
                found == *truth,
                "{} finds {found}, not {truth}, for {header:?}",
                self.name
            );
        }
        Ok(())
    }
}

impl<L: Lookup> Engine for Local<L> {
    fn name(&self) -> &str {
        self.name
    }

    fn sample(&mut self, mode: Mode, from: usize, count: usize) -> Result<Duration> {
        let lookup = &mut self.lookup;
        let len = match mode {
            Mode::Hot => SHORT.min(self.trace.len()),
            _ => self.trace.len(),
        };
        let trace = &self.trace[..len];
        let mut at = from % len;
        let zero = black_box(0usize);
        match mode {
            Mode::Throughput | Mode::Hot => {
                let start = Moment::now()?;
                for _ in 0..count {
                    black_box(lookup.lookup(&trace[at]));
                    at += 1;
                    if at == len {
                        at = 0;
                    }
                }
                start.elapsed()
            }
            Mode::Dependent => {
                let start = Moment::now()?;
                for _ in 0..count {
                    let found = lookup.lookup(&trace[at]);
                    // Adds one, but only the answer tells.
                    at += 1 + (found & zero);
                    if at >= len {
                        at = 0;
                    }
                }
                black_box(at);
                start.elapsed()
            }
            Mode::Cold => {
                // The thread's own time is too coarse for one lookup, and in the real time's median is
                // nothing of what interrupts a few.
                let mut times = Vec::with_capacity(count);
                for _ in 0..count {
                    self.evictor.evict();
                    let start = Instant::now();
                    let clock = start.elapsed();
                    let header = black_box(trace[at]);
                    let start = Instant::now();
                    black_box(lookup.lookup(&header));
                    times.push(start.elapsed().saturating_sub(clock));
                    at = (at + 1) % len;
                }
                times.sort();
                let median = times.get(count / 2).copied().unwrap_or_default();
                Ok(median * count as u32)
            }
        }
    }
}
