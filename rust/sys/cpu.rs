// SPDX-License-Identifier: GPL-2.0

//! Things of which each CPU has one of its own.
//!
//! C headers: [`include/linux/smp.h`](srctree/include/linux/smp.h),
//! [`include/linux/percpu-defs.h`](srctree/include/linux/percpu-defs.h)

use core::alloc::Layout;
use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{compiler_fence, Ordering};

use kernel::cpu::nr_cpu_ids;
use kernel::prelude::*;
use kernel::types::NotThreadSafe;

use super::bindings;

/// The CPU that this is on, and stays on until it is dropped: preemption is off.
pub(crate) struct Here {
    /// What lies between a per-CPU pointer and this CPU's own.
    distance: usize,
    _not_sent: NotThreadSafe,
}

impl Here {
    /// This CPU. Any context; nobody may sleep until what is given is dropped.
    #[inline(always)]
    pub(crate) fn enter() -> Self {
        Self {
            // SAFETY: Preemption is on again when what is given is dropped.
            distance: unsafe { bindings::ctrfw_cpu_enter() },
            _not_sent: NotThreadSafe,
        }
    }

    /// What a per-CPU pointer is on this CPU.
    #[inline(always)]
    pub(super) fn own<T>(&self, pointer: *mut T) -> *mut T {
        pointer.wrapping_byte_add(self.distance)
    }
}

impl Drop for Here {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: Preemption was turned off when this was made.
        unsafe { bindings::ctrfw_cpu_leave() };
    }
}

/// What one CPU has.
struct Own<T> {
    /// Whether somebody uses it.
    used: UnsafeCell<bool>,
    value: UnsafeCell<T>,
}

/// One `T` for each CPU that the machine may have, used by one at a time.
///
/// # Invariants
///
/// The pointer is a live per-CPU allocation, with an [`Own`] for each possible CPU. The flag of a CPU is
/// read and written by that CPU only, with preemption off. A reference to its `T` is there only on that
/// CPU, by the [`Owned`] of whoever has found the flag clear and set it, who clears it at its end.
pub(crate) struct CpuLocal<T>(*mut Own<T>);

// SAFETY: It owns what is in it.
unsafe impl<T: Send> Send for CpuLocal<T> {}
// SAFETY: By the invariant nobody has a reference to a `T` while somebody else has one.
unsafe impl<T: Send> Sync for CpuLocal<T> {}

impl<T> CpuLocal<T> {
    /// What `make` makes, for each CPU. Process context; may sleep.
    pub(crate) fn new(mut make: impl FnMut() -> Result<T>) -> Result<Self> {
        // All that may fail comes first.
        let mut values = KVVec::new();
        for cpu in possible_cpus() {
            values.push((cpu, make()?), GFP_KERNEL)?;
        }
        let layout = Layout::new::<Own<T>>();
        // SAFETY: May be called in process context.
        let all = unsafe { bindings::ctrfw_percpu_alloc(layout.size(), layout.align()) };
        if all.is_null() {
            return Err(ENOMEM);
        }
        for (cpu, value) in values {
            let (used, value) = (UnsafeCell::new(false), UnsafeCell::new(value));
            // SAFETY: The allocation has room for this on each possible CPU, and nobody knows of it yet.
            unsafe {
                let own = bindings::ctrfw_per_cpu_ptr(all, cpu).cast::<Own<T>>();
                own.write(Own { used, value });
            }
        }
        // INVARIANT: There is one for each, no flag is set, and there is no reference yet.
        Ok(Self(all.cast()))
    }

    /// This CPU's own. [`None`] if what was interrupted by this, by a softirq say, has it. Any context but
    /// NMI.
    ///
    /// Nobody waits, and there is no atomic instruction: who else may use it on this CPU either was
    /// interrupted by this, and is found by the flag; or interrupts this, and has come to its end, and
    /// cleared the flag, before this goes on, even between the reading and the setting of the flag.
    #[inline(always)]
    pub(crate) fn own<'a>(&'a self, here: &'a Here) -> Option<Owned<'a, T>> {
        // SAFETY: By the invariant there is one for this CPU, which lives as long as `self`.
        let own = unsafe { &*here.own(self.0) };
        // SAFETY: By the invariant the flag is this CPU's alone, and this stays on it. Volatile, as
        // interrupts come at any time.
        unsafe {
            if own.used.get().read_volatile() {
                return None;
            }
            own.used.get().write_volatile(true);
        }
        compiler_fence(Ordering::SeqCst);
        // INVARIANT: The flag was clear and is set, and preemption is off as long as `here` is there.
        Some(Owned(own, NotThreadSafe))
    }
}

/// Process context.
impl<T> Drop for CpuLocal<T> {
    fn drop(&mut self) {
        for cpu in possible_cpus() {
            // SAFETY: By the invariant there is one for each possible CPU; nobody else has a reference.
            unsafe {
                bindings::ctrfw_per_cpu_ptr(self.0.cast(), cpu)
                    .cast::<Own<T>>()
                    .drop_in_place()
            };
        }
        // SAFETY: By the invariant this is a per-CPU allocation, and nobody else frees it.
        unsafe { bindings::free_percpu(self.0.cast()) };
    }
}

/// The numbers of all CPUs that the machine may have.
fn possible_cpus() -> impl Iterator<Item = u32> {
    // SAFETY: There may be a CPU with each of these numbers.
    (0..nr_cpu_ids()).filter(|cpu| unsafe { bindings::ctrfw_cpu_possible(*cpu) })
}

/// What this CPU has, for whoever got it alone.
///
/// # Invariants
///
/// Who made it has found the flag clear and set it, and preemption is off since.
pub(crate) struct Owned<'a, T>(&'a Own<T>, NotThreadSafe);

impl<T> Deref for Owned<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        // SAFETY: By the invariants nobody else has a reference, nor gets one until the flag is clear.
        unsafe { &*self.0.value.get() }
    }
}

impl<T> DerefMut for Owned<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: As above; and there is no other one by this, which is borrowed.
        unsafe { &mut *self.0.value.get() }
    }
}

impl<T> Drop for Owned<'_, T> {
    #[inline(always)]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: By the invariants the flag is this CPU's, and this is still on it; the references are
        // gone.
        unsafe { self.0.used.get().write_volatile(false) };
    }
}
