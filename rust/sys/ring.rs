// SPDX-License-Identifier: GPL-2.0

//! Rings of records that each CPU writes for itself, without a lock, and that are read from all.

use core::cell::UnsafeCell;
use core::sync::atomic::{compiler_fence, Ordering};

use ctrfw_core::record::{Record, WORDS};
use ctrfw_core::ring;
use kernel::cpu::nr_cpu_ids;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, AtomicType, Relaxed};
use kernel::sync::barrier::{smp_mb, Read};

use super::cpu::Here;
use super::task;

/// Fewest places of a ring.
const MIN_PLACES: usize = 64;

/// Most places of a ring: a second of a million events.
const MAX_PLACES: usize = 1 << 20;

/// So many places are made without a pause.
const PAUSE: usize = 1024;

/// A CPU's ring, on cache lines of its own.
///
/// # Invariants
///
/// Only the ring's own CPU writes, with preemption off. It may be interrupted by a softirq that does so, which
/// leaves `depth` as it was, and comes to its end before the other goes on. Whoever has taken a number from
/// `begun` has its slot to himself until he has written it: who interrupts him takes no number as long as so
/// many as there are slots are begun and not `written`.
#[repr(align(64))]
pub(crate) struct Ring {
    /// How many entries were begun.
    begun: Atomic<u64>,
    /// How many are there, and whole.
    written: Atomic<u64>,
    /// How many more there would have been, but for those that somebody was still writing.
    refused: Atomic<u64>,
    /// How many writers have begun and not come to an end.
    depth: Atomic<u32>,
    /// A power of two of them.
    slots: KVVec<UnsafeCell<[u64; WORDS]>>,
}

// SAFETY: The slots are written as the invariant says. They are read by volatile copies, which are not
// relied on before it is known that nobody wrote meanwhile; and any words are valid.
unsafe impl Sync for Ring {}

impl Ring {
    /// A ring of so many places, a power of two. Process context; may sleep.
    fn new(places: usize) -> Result<Self> {
        let mut slots = KVVec::with_capacity(places, GFP_KERNEL)?;
        for made in 0..places {
            slots.push(UnsafeCell::new([0; WORDS]), GFP_KERNEL)?;
            if made % PAUSE == 0 {
                task::cond_resched();
            }
        }
        // INVARIANT: Nobody writes yet.
        Ok(Self {
            begun: Atomic::new(0),
            written: Atomic::new(0),
            refused: Atomic::new(0),
            depth: Atomic::new(0),
            slots,
        })
    }

    /// The slot of entry `number`.
    #[inline]
    fn slot(&self, number: u64) -> Option<&UnsafeCell<[u64; WORDS]>> {
        let mask = self.slots.len().wrapping_sub(1);
        self.slots.get(number as usize & mask)
    }

    /// # Safety
    ///
    /// The caller must be on the ring's CPU, with preemption off, and not in a hard interrupt.
    #[inline]
    unsafe fn push(&self, record: &Record) {
        // SAFETY: Only this CPU writes the numbers, by the invariant: whoever else does interrupts this, comes to
        // his end before it goes on, and leaves the depth as it was. The slot is valid, and has as many words as
        // the record. Nobody is interrupted who writes where the depth was 0.
        unsafe {
            let depth = once::read(&self.depth);
            // Whoever is interrupted has his slot to himself.
            if depth != 0 && self.unpublished() >= self.slots.len() as u64 {
                let refused = once::read(&self.refused);
                once::write(&self.refused, refused.wrapping_add(1));
                return;
            }
            once::write(&self.depth, depth.wrapping_add(1));
            let number = once::take(&self.begun);
            // Who copies any of the new words must find that this has begun.
            smp_wmb();
            if let Some(slot) = self.slot(number) {
                let to = slot.get().cast::<u64>();
                // Word by word: a call of memcpy() takes longer.
                for (place, word) in record.0.into_iter().enumerate() {
                    // INVARIANT: The number is nobody else's.
                    to.add(place).write_volatile(word);
                }
            }
            // Who has interrupted somebody leaves it to him, whose entry comes before.
            if depth == 0 {
                self.publish();
            } else {
                once::write(&self.depth, depth);
            }
        }
    }

    /// How many were begun that others do not know of.
    ///
    /// # Safety
    ///
    /// As for [`Self::push`].
    #[inline(always)]
    unsafe fn unpublished(&self) -> u64 {
        // SAFETY: As there.
        let (begun, written) = unsafe { (once::read(&self.begun), once::read(&self.written)) };
        begun.wrapping_sub(written)
    }

    /// Says that all that was begun is written.
    ///
    /// # Safety
    ///
    /// As for [`Self::push`], and nobody is interrupted who writes.
    #[inline(always)]
    unsafe fn publish(&self) {
        // SAFETY: As above.
        unsafe {
            loop {
                let begun = once::read(&self.begun);
                // Who finds it counted must find all of its words.
                smp_wmb();
                once::write(&self.written, begun);
                once::write(&self.depth, 0);
                // Who came in between has left it to this.
                if once::read(&self.begun) == begun {
                    break;
                }
                once::write(&self.depth, 1);
            }
        }
    }
}

/// `smp_wmb()`: what is written before is seen before what is written behind it.
#[inline(always)]
fn smp_wmb() {
    // An x86 processor sees to it. The kernel crate's is a call.
    compiler_fence(Ordering::SeqCst);
}

/// `READ_ONCE()` and the like of numbers that only this CPU writes. The kernel crate's functions are calls.
mod once {
    use super::*;

    /// `READ_ONCE()`
    ///
    /// # Safety
    ///
    /// Only this CPU writes the number.
    #[inline(always)]
    pub(super) unsafe fn read<T: AtomicType>(number: &Atomic<T>) -> T {
        // SAFETY: The pointer is valid, and the caller promises that nobody else writes.
        unsafe { number.as_ptr().read_volatile() }
    }

    /// `WRITE_ONCE()`
    ///
    /// # Safety
    ///
    /// Only this CPU writes the number.
    #[inline(always)]
    pub(super) unsafe fn write<T: AtomicType>(number: &Atomic<T>, value: T) {
        // SAFETY: The pointer is valid. Others read it by atomic functions, to which this is one.
        unsafe { number.as_ptr().write_volatile(value) };
    }

    /// Adds one; what it was before.
    ///
    /// # Safety
    ///
    /// Only this CPU writes the number.
    #[inline(always)]
    pub(super) unsafe fn take(number: &Atomic<u64>) -> u64 {
        let mut taken = 1u64;
        // SAFETY: The pointer is valid. One instruction: what interrupts this comes before it or behind it.
        unsafe {
            core::arch::asm!(
                "xadd qword ptr [{}], {}",
                in(reg) number.as_ptr(),
                inout(reg) taken,
                options(nostack),
            );
        }
        taken
    }
}

impl ring::Ring for Ring {
    type Entry = Record;

    fn written(&self) -> u64 {
        self.written.load(Acquire)
    }

    fn refused(&self) -> u64 {
        self.refused.load(Relaxed)
    }

    fn places(&self) -> u64 {
        self.slots.len() as u64
    }

    fn copy(&self, number: u64) -> Option<Record> {
        let slot = self.slot(number)?;
        // SAFETY: The slot is valid. Its CPU may be writing to it: the read is volatile, and any words
        // will do.
        Some(Record(unsafe { slot.get().read_volatile() }))
    }

    fn begun_after_copy(&self) -> u64 {
        smp_mb(Read);
        self.begun.load(Relaxed)
    }
}

/// A ring for each CPU.
pub(crate) struct Rings(KVVec<Ring>);

impl Rings {
    /// Rings that take no more than so many bytes together, nor less than 64 places each. Process
    /// context; may sleep.
    pub(crate) fn new(bytes: usize) -> Result<Self> {
        let cpus = nr_cpu_ids() as usize;
        let fit = bytes
            .checked_div(cpus.saturating_mul(size_of::<Record>()))
            .unwrap_or(0)
            .clamp(MIN_PLACES, MAX_PLACES);
        // The power of two at or below it.
        let places = 1 << fit.checked_ilog2().unwrap_or(0);
        let mut rings = KVVec::with_capacity(cpus, GFP_KERNEL)?;
        for _ in 0..cpus {
            rings.push(Ring::new(places)?, GFP_KERNEL)?;
        }
        Ok(Self(rings))
    }

    /// All of them, by the number of the CPU.
    pub(crate) fn all(&self) -> &[Ring] {
        &self.0
    }

    /// How many bytes they take together.
    pub(crate) fn memory(&self) -> usize {
        let slots = self.0.iter().map(|ring| ring.slots.len());
        let places = slots.fold(0, usize::saturating_add);
        places.saturating_mul(size_of::<Record>())
    }

    /// Writes a record to this CPU's ring. Softirq or process context.
    #[inline]
    pub(crate) fn write(&self, record: &Record) {
        let here = Here::enter();
        if let Some(ring) = self.0.get(here.number()) {
            // SAFETY: We are on that CPU as long as `here` is there, with preemption off.
            unsafe { ring.push(record) };
        }
    }
}
