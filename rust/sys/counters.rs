// SPDX-License-Identifier: GPL-2.0

//! Per-CPU counters of packets and bytes.
//!
//! C header: [`include/linux/percpu.h`](srctree/include/linux/percpu.h)

use core::alloc::Layout;

use kernel::prelude::*;
use kernel::sync::Arc;

#[cfg(not(target_arch = "x86_64"))]
use kernel::sync::atomic::{Atomic, Relaxed};

use super::cpu::Here;
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
        let layout = Layout::array::<bindings::ctrfw_counter>(CHUNK.saturating_sub(missing));
        let layout = layout.map_err(|_| ENOMEM)?;
        // SAFETY: May be called in process context.
        let ptr = unsafe { bindings::ctrfw_percpu_alloc(layout.size(), layout.align()) };
        if ptr.is_null() {
            return Err(ENOMEM);
        }
        // INVARIANT: The allocation just succeeded.
        Ok(Self {
            ptr: ptr.cast(),
            missing,
        })
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
    pub(crate) fn add(&self, here: &Here, index: usize, bytes: u32) {
        if let Some(counter) = self.counter(index) {
            let counter = here.own(counter);
            // SAFETY: By the invariant of `Chunk` the counter is live per-CPU memory.
            unsafe {
                add(&raw mut (*counter).packets, 1);
                add(&raw mut (*counter).bytes, bytes.into());
            }
        }
    }

    /// Counts one packet at counter `index`, and not its bytes. Any context.
    #[inline(always)]
    pub(crate) fn increment(&self, here: &Here, index: usize) {
        if let Some(counter) = self.counter(index) {
            // SAFETY: By the invariant of `Chunk` the counter is live per-CPU memory.
            unsafe { add(&raw mut (*here.own(counter)).packets, 1) };
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

/// Adds to a number of this CPU's, which only this CPU changes.
///
/// # Safety
///
/// The pointer must be valid for the CPU that this is on, which it must stay on.
#[inline(always)]
unsafe fn add(number: *mut u64, more: u64) {
    // One instruction: what interrupts this, and may count as well, comes before it or behind it.
    #[cfg(target_arch = "x86_64")]
    // SAFETY: The caller promises that the pointer is valid.
    unsafe {
        core::arch::asm!("add qword ptr [{}], {}", in(reg) number, in(reg) more, options(nostack));
    }
    #[cfg(not(target_arch = "x86_64"))]
    // SAFETY: The caller promises that the pointer is valid; all that write to it do so by this.
    unsafe {
        Atomic::from_ptr(number).add(more, Relaxed);
    }
}
