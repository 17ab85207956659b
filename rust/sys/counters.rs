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
/// The pointer is a live per-CPU allocation of `len` counters.
struct Chunk {
    ptr: *mut bindings::ctrfw_counter,
    len: usize,
}

// SAFETY: Per-CPU memory belongs to no thread.
unsafe impl Send for Chunk {}
// SAFETY: It is accessed by per-CPU operations and `READ_ONCE()` only.
unsafe impl Sync for Chunk {}

impl Chunk {
    fn new(len: usize) -> Result<Self> {
        // SAFETY: May be called in process context.
        let ptr = unsafe { bindings::ctrfw_counters_alloc(len) };
        if ptr.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: The allocation just succeeded.
        Ok(Self { ptr, len })
    }
}

impl Drop for Chunk {
    fn drop(&mut self) {
        // SAFETY: By the invariant this is a per-CPU allocation, and nobody else frees it.
        unsafe { bindings::free_percpu(self.ptr.cast()) };
    }
}

/// A number of counters, each CPU counting for itself.
pub(crate) struct Counters(KVVec<Chunk>);

impl Counters {
    /// `count` counters, all zero. Process context; may sleep.
    pub(crate) fn new(count: usize) -> Result<Self> {
        let mut chunks = KVVec::with_capacity(count.div_ceil(CHUNK), GFP_KERNEL)?;
        let mut left = count;
        while left != 0 {
            let len = left.min(CHUNK);
            chunks.push(Chunk::new(len)?, GFP_KERNEL)?;
            left = left.saturating_sub(len);
        }
        Ok(Self(chunks))
    }

    #[inline(always)]
    fn counter(&self, index: usize) -> Option<*mut bindings::ctrfw_counter> {
        let chunk = self.0.get(index / CHUNK)?;
        let index = index % CHUNK;
        (index < chunk.len).then(|| chunk.ptr.wrapping_add(index))
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
        let counters = self
            .0
            .iter()
            .fold(0usize, |sum, chunk| sum.saturating_add(chunk.len));
        counters
            .saturating_mul(size_of::<bindings::ctrfw_counter>())
            .saturating_mul(cpus)
    }
}
