// SPDX-License-Identifier: GPL-2.0

//! Per-CPU counters of packets and bytes.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use kernel::prelude::*;

use super::bindings;

/// Packets and their bytes.
#[derive(Clone, Copy, Default)]
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
}

/// Counters per allocation: the per-CPU allocator gives at most `PCPU_MIN_UNIT_SIZE` (32 KiB).
const CHUNK: usize = 1024;

/// One per-CPU allocation.
///
/// # Invariants
///
/// The pointer is a live per-CPU allocation of [`CHUNK`] counters.
struct Chunk(*mut bindings::ctrfw_counter);

// SAFETY: Per-CPU memory belongs to no thread.
unsafe impl Send for Chunk {}
// SAFETY: It is accessed by per-CPU operations and `READ_ONCE()` only.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new() -> Result<Self> {
        // SAFETY: May be called in process context.
        let ptr = unsafe { bindings::ctrfw_counters_alloc(CHUNK) };
        if ptr.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: The allocation just succeeded.
        Ok(Self(ptr))
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is a per-CPU allocation, and nobody else frees it.
        unsafe { bindings::free_percpu(self.0.cast()) };
    }
}

/// A number of counters, each CPU counting for itself.
pub(crate) struct Counters(KVVec<Chunk>);

impl Counters {
    /// At least `count` counters, all zero. Process context; may sleep.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let chunks = count.div_ceil(CHUNK);
        let mut counters = KVVec::with_capacity(chunks, GFP_KERNEL)?;
        for _ in 0..chunks {
            counters.push(Chunk::new()?, GFP_KERNEL)?;
        }
        Ok(Self(counters))
    }

    #[inline(always)]
    fn counter(&self, index: usize) -> Option<*mut bindings::ctrfw_counter> {
        let chunk = self.0.get(index / CHUNK)?;
        Some(chunk.0.wrapping_add(index % CHUNK))
    }

    /// Counts one packet of `bytes` bytes at counter `index`. Any context.
    #[inline(always)]
    pub(crate) fn add(&self, index: usize, bytes: u32) {
        if let Some(counter) = self.counter(index) {
            // SAFETY: By the invariant of `Chunk` the counter is live per-CPU memory.
            unsafe { bindings::ctrfw_counter_add(counter, bytes.into()) };
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
        let chunk = CHUNK.saturating_mul(size_of::<bindings::ctrfw_counter>());
        self.0.len().saturating_mul(chunk).saturating_mul(cpus)
    }
}
