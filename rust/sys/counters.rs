// SPDX-License-Identifier: GPL-2.0

//! Counters of packets and bytes, of which each CPU has its own.
//!
//! Not in the kernel's per-CPU memory: where there are memory cgroups, that takes eight bytes more for each
//! four that it has for a CPU.

use core::cell::UnsafeCell;

use kernel::alloc::Vec;
use kernel::cpu::nr_cpu_ids;
use kernel::prelude::*;
use kernel::sync::Arc;

use super::cpu::Here;
use super::pages::Pages;
use super::task;

/// Packets and their bytes.
#[derive(Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Count {
    /// Number of packets
    pub(crate) packets: u64,
    /// Their lengths together, in bytes
    pub(crate) bytes: u64,
}

impl Count {
    /// The sum of the two.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            packets: self.packets.wrapping_add(other.packets),
            bytes: self.bytes.wrapping_add(other.bytes),
        }
    }

    /// What came since `earlier`.
    pub(crate) fn minus(self, earlier: Self) -> Self {
        Self {
            packets: self.packets.wrapping_sub(earlier.packets),
            bytes: self.bytes.wrapping_sub(earlier.bytes),
        }
    }
}

/// Counters that come together: few enough that those of a CPU are found in one piece, and as many as fill
/// pages.
const CHUNK: usize = 1024;

/// So many the first has: most tables are small.
const FIRST: usize = 32;

/// Some counters, those of one CPU behind those of the other.
struct Chunk {
    counts: Vec<UnsafeCell<Count>, Pages>,
    /// How many a CPU has
    each: usize,
    /// How many of [`CHUNK`] are not there, at its beginning
    missing: usize,
}

// SAFETY: A number is changed by its CPU only, with an instruction each, and read as it is by volatile reads.
unsafe impl Sync for Chunk {}

impl Chunk {
    /// All zero.
    fn new(missing: usize) -> Result<Self> {
        let (cpus, each) = (nr_cpu_ids() as usize, CHUNK.saturating_sub(missing));
        let mut counts = Vec::with_capacity(cpus.saturating_mul(each), GFP_KERNEL)?;
        for _ in 0..cpus {
            for _ in 0..each {
                counts.push(UnsafeCell::default(), GFP_KERNEL)?;
            }
            task::cond_resched();
        }
        Ok(Self {
            counts,
            each,
            missing,
        })
    }

    /// The count of a CPU at the counter that is the `place`th of [`CHUNK`].
    #[inline(always)]
    fn of(&self, cpu: usize, place: usize) -> Option<&UnsafeCell<Count>> {
        let place = place.wrapping_sub(self.missing);
        self.counts
            .get(cpu.wrapping_mul(self.each).wrapping_add(place))
    }
}

/// Process context.
impl Drop for Chunk {
    fn drop(&mut self) {
        // There may be very many of them.
        task::cond_resched();
    }
}

/// A number of counters, each CPU counting for itself.
pub(crate) struct Counters(KVVec<Arc<Chunk>>);

impl Counters {
    /// At least `count` counters, all zero. Process context; may sleep.
    pub(crate) fn new(count: usize) -> Result<Self> {
        Self(KVVec::new()).resized(count)
    }

    /// At least `count` counters: these as far as they go, which may go on counting here and there, and
    /// behind them others that are zero. Process context; may sleep.
    pub(crate) fn resized(&self, count: usize) -> Result<Self> {
        let missing = CHUNK.saturating_sub(FIRST);
        let wanted = match count {
            0 => 0,
            _ => count.saturating_add(missing).div_ceil(CHUNK),
        };
        let mut chunks = KVVec::with_capacity(wanted, GFP_KERNEL)?;
        for chunk in self.0.iter().take(wanted) {
            chunks.push(chunk.clone(), GFP_KERNEL)?;
        }
        while chunks.len() < wanted {
            let missing = if chunks.is_empty() { missing } else { 0 };
            chunks.push(Arc::new(Chunk::new(missing)?, GFP_KERNEL)?, GFP_KERNEL)?;
        }
        Ok(Self(chunks))
    }

    /// The count of a CPU at counter `index`.
    #[inline(always)]
    fn of(&self, cpu: usize, index: usize) -> Option<&UnsafeCell<Count>> {
        let place = index.wrapping_add(CHUNK.wrapping_sub(FIRST));
        self.0.get(place / CHUNK)?.of(cpu, place % CHUNK)
    }

    /// Counts one packet of `bytes` bytes at counter `index`. Any context.
    #[inline(always)]
    pub(crate) fn add(&self, here: &Here, index: usize, bytes: u32) {
        if let Some(count) = self.of(here.number(), index) {
            let count = count.get();
            // SAFETY: The count lives, is this CPU's, and this stays here.
            unsafe {
                add(&raw mut (*count).packets, 1);
                add(&raw mut (*count).bytes, bytes.into());
            }
        }
    }

    /// What all CPUs have counted at counter `index`. Any context.
    pub(crate) fn sum(&self, index: usize) -> Count {
        let cpus = 0..nr_cpu_ids() as usize;
        let counts = cpus.filter_map(|cpu| self.of(cpu, index));
        counts.fold(Count::default(), |sum, count| {
            // SAFETY: The count lives. Volatile, as its CPU may change it at any time, which is done with
            // one instruction for each of the two.
            sum.plus(unsafe { count.get().read_volatile() })
        })
    }

    /// How many bytes the counters take on all CPUs together.
    pub(crate) fn memory(&self) -> usize {
        let counts = self.0.iter().map(|chunk| chunk.counts.len());
        let counts = counts.fold(0, usize::saturating_add);
        counts.saturating_mul(size_of::<Count>())
    }
}

/// A few numbers of each CPU, known when this is compiled.
pub(crate) struct Tally<const N: usize>(KVVec<Row<N>>);

/// Those of one CPU, on cache lines of their own.
#[repr(align(64))]
struct Row<const N: usize>([UnsafeCell<u64>; N]);

// SAFETY: A number is changed by its CPU only, with an instruction each, and read as it is by volatile reads.
unsafe impl<const N: usize> Sync for Row<N> {}

impl<const N: usize> Tally<N> {
    /// All zero. Process context; may sleep.
    pub(crate) fn new() -> Result<Self> {
        let cpus = nr_cpu_ids() as usize;
        let mut rows = KVVec::with_capacity(cpus, GFP_KERNEL)?;
        for _ in 0..cpus {
            rows.push(Row([const { UnsafeCell::new(0) }; N]), GFP_KERNEL)?;
        }
        Ok(Self(rows))
    }

    /// Counts one at number `index`. Any context.
    #[inline(always)]
    pub(crate) fn increment(&self, here: &Here, index: usize) {
        let row = self.0.get(here.number());
        if let Some(number) = row.and_then(|row| row.0.get(index)) {
            // SAFETY: The number lives, is this CPU's, and this stays here.
            unsafe { add(number.get(), 1) };
        }
    }

    /// What all CPUs have counted at number `index`. Any context.
    pub(crate) fn sum(&self, index: usize) -> u64 {
        let numbers = self.0.iter().filter_map(|row| row.0.get(index));
        // SAFETY: The number lives. Volatile, as its CPU may change it at any time, with one instruction.
        let counts = numbers.map(|number| unsafe { number.get().read_volatile() });
        counts.fold(0, u64::wrapping_add)
    }
}

/// Adds to a number.
///
/// # Safety
///
/// The pointer must be valid, and the number one that only the CPU changes that this is on, by this function;
/// the caller must stay on that CPU.
#[inline(always)]
unsafe fn add(number: *mut u64, more: u64) {
    // One instruction: what interrupts this, and may count as well, comes before it or behind it.
    //
    // SAFETY: The caller promises that the pointer is valid.
    unsafe {
        core::arch::asm!("add qword ptr [{}], {}", in(reg) number, in(reg) more, options(nostack));
    }
}
