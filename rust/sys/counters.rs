// SPDX-License-Identifier: GPL-2.0

//! Per-CPU counters of packets and bytes.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use kernel::prelude::*;
use kernel::sync::Arc;

use super::{bindings, task};

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

/// Counters per allocation: the per-CPU allocator gives at most `PCPU_MIN_UNIT_SIZE` (32 KiB).
const CHUNK: usize = 1024;

/// So many the first has: most tables are small.
const FIRST: usize = 32;

/// One per-CPU allocation.
///
/// # Invariants
///
/// The pointer is a live per-CPU allocation of [`CHUNK`] counters, but for so many at its beginning that
/// are not there.
struct Chunk {
    ptr: *mut bindings::ctrfw_counter,
    missing: usize,
}

// SAFETY: Per-CPU memory belongs to no thread.
unsafe impl Send for Chunk {}
// SAFETY: It is accessed by per-CPU operations and `READ_ONCE()` only.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(missing: usize) -> Result<Self> {
        // SAFETY: May be called in process context.
        let ptr = unsafe { bindings::ctrfw_counters_alloc(CHUNK.saturating_sub(missing)) };
        if ptr.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: The allocation just succeeded.
        Ok(Self { ptr, missing })
    }
}

/// Process context.
impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is a per-CPU allocation, and nobody else frees it.
        unsafe { bindings::free_percpu(self.ptr.cast()) };
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

    #[inline(always)]
    fn counter(&self, index: usize) -> Option<*mut bindings::ctrfw_counter> {
        let place = index.wrapping_add(CHUNK.wrapping_sub(FIRST));
        let chunk = self.0.get(place / CHUNK)?;
        let index = (place % CHUNK).wrapping_sub(chunk.missing);
        Some(chunk.ptr.wrapping_add(index))
    }

    /// Counts one packet of `bytes` bytes at counter `index`. Any context.
    #[inline(always)]
    pub(crate) fn add(&self, index: usize, bytes: u32) {
        if let Some(counter) = self.counter(index) {
            // SAFETY: By the invariant of `Chunk` the counter is live per-CPU memory.
            unsafe { bindings::ctrfw_counter_add(counter, bytes.into()) };
        }
    }

    /// Counts one packet at counter `index`, and not its bytes. Any context.
    #[inline(always)]
    pub(crate) fn increment(&self, index: usize) {
        if let Some(counter) = self.counter(index) {
            // SAFETY: By the invariant of `Chunk` the counter is live per-CPU memory.
            unsafe { bindings::ctrfw_counter_inc(counter) };
        }
    }

    /// What all CPUs have counted at counter `index`. Any context.
    pub(crate) fn sum(&self, index: usize) -> Count {
        let Some(counter) = self.counter(index) else {
            return Count::default();
        };
        // SAFETY: By the invariant of `Chunk` the counter is live per-CPU memory.
        let sum = unsafe { bindings::ctrfw_counter_sum(counter) };
        Count {
            packets: sum.packets,
            bytes: sum.bytes,
        }
    }

    /// How many bytes the counters take on all CPUs together.
    pub(crate) fn memory(&self) -> usize {
        // SAFETY: Has no requirements.
        let cpus = unsafe { bindings::ctrfw_num_possible_cpus() } as usize;
        let all = self.0.len().saturating_mul(CHUNK);
        let missing = self.0.first().map_or(0, |first| first.missing);
        let counters = all.saturating_sub(missing);
        counters
            .saturating_mul(size_of::<bindings::ctrfw_counter>())
            .saturating_mul(cpus)
    }
}
