// SPDX-License-Identifier: GPL-2.0

//! Rings of records that each CPU writes for itself, without a lock, and that are read from all.

use core::cell::UnsafeCell;

use ctrfw_core::record::{Record, WORDS};
use ctrfw_core::ring;
use kernel::cpu::nr_cpu_ids;
use kernel::prelude::*;
use kernel::sync::atomic::{Acquire, Atomic, Relaxed};
use kernel::sync::barrier::{smp_mb, Read, Write};

use super::{bindings, task};

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
/// Only the ring's own CPU writes to `written` and to the slots, with softirqs and preemption off: to the
/// slot of number `written`, before it counts that.
#[repr(align(64))]
pub(crate) struct Ring {
    written: Atomic<u64>,
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
            written: Atomic::new(0),
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
    /// The caller must be on the ring's CPU, with softirqs and preemption off, and not in a hard interrupt.
    #[inline]
    unsafe fn push(&self, record: &Record) {
        let number = self.written.load(Relaxed);
        // Who copies any of the new words must find that the entry before is counted.
        smp_mb(Write);
        if let Some(slot) = self.slot(number) {
            let to = slot.get().cast::<u64>();
            // Word by word: a call of memcpy() takes longer.
            for (place, word) in record.0.into_iter().enumerate() {
                // SAFETY: The slot is valid, and has as many words as the record.
                // INVARIANT: The caller promises that nobody else writes: a softirq would have to interrupt
                // this, a thread (softirqs are threads on PREEMPT_RT) to preempt it. It is counted below.
                unsafe { to.add(place).write_volatile(word) };
            }
        }
        // Who finds it counted must find all of its words.
        smp_mb(Write);
        self.written.store(number.wrapping_add(1), Relaxed);
    }
}

impl ring::Ring for Ring {
    type Entry = Record;

    fn written(&self) -> u64 {
        self.written.load(Acquire)
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

    fn written_after_copy(&self) -> u64 {
        smp_mb(Read);
        self.written.load(Relaxed)
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

    /// Writes a record to this CPU's ring. Softirq or process context, with interrupts on.
    #[inline]
    pub(crate) fn write(&self, record: &Record) {
        // SAFETY: Nothing is required but the call below.
        let cpu = unsafe { bindings::ctrfw_cpu_begin() };
        if let Some(ring) = self.0.get(cpu as usize) {
            // SAFETY: We are on that CPU until the call below, with softirqs and preemption off.
            unsafe { ring.push(record) };
        }
        // SAFETY: Ends what the call above began.
        unsafe { bindings::ctrfw_cpu_end() };
    }
}
