// SPDX-License-Identifier: GPL-2.0

//! Things of which each CPU has one of its own.
//!
//! C header: [`include/linux/smp.h`](srctree/include/linux/smp.h)

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{compiler_fence, Ordering};

use kernel::cpu::nr_cpu_ids;
use kernel::prelude::*;
use kernel::types::NotThreadSafe;

use super::bindings;

/// The CPU that this is on, and stays on until it is dropped: preemption is off.
pub(crate) struct Here(u32, NotThreadSafe);

impl Here {
    /// This CPU. Any context; nobody may sleep until what is given is dropped.
    #[inline(always)]
    pub(crate) fn enter() -> Self {
        // SAFETY: Preemption is on again when what is given is dropped.
        Self(unsafe { bindings::ctrfw_get_cpu() }, NotThreadSafe)
    }

    /// Its number.
    #[inline(always)]
    pub(crate) fn number(&self) -> usize {
        self.0 as usize
    }
}

impl Drop for Here {
    #[inline(always)]
    fn drop(&mut self) {
        // SAFETY: Preemption was turned off when this was made.
        unsafe { bindings::ctrfw_put_cpu() };
    }
}

/// What one CPU has, on cache lines of its own.
#[repr(align(64))]
struct Own<T> {
    /// Whether somebody uses it.
    used: UnsafeCell<bool>,
    /// Nothing where there is no such CPU.
    value: UnsafeCell<Option<T>>,
}

/// One `T` for each CPU that the machine may have, used by one at a time.
///
/// # Invariants
///
/// The flag of a CPU is read and written by that CPU only, with preemption off. A reference to its `T`
/// is there only on that CPU, by the [`Owned`] of whoever has found the flag clear and set it, who clears it
/// at its end.
pub(crate) struct CpuLocal<T>(KVVec<Own<T>>);

// SAFETY: By the invariant nobody has a reference to a `T` while somebody else has one.
unsafe impl<T: Send> Sync for CpuLocal<T> {}

impl<T> CpuLocal<T> {
    /// What `make` makes, for each CPU. Process context; may sleep.
    pub(crate) fn new(mut make: impl FnMut() -> Result<T>) -> Result<Self> {
        let mut all = KVVec::with_capacity(nr_cpu_ids() as usize, GFP_KERNEL)?;
        for cpu in 0..nr_cpu_ids() {
            // SAFETY: There may be a CPU with that number.
            let possible = unsafe { bindings::ctrfw_cpu_possible(cpu) };
            let value = possible.then(&mut make).transpose()?;
            let (used, value) = (UnsafeCell::new(false), UnsafeCell::new(value));
            all.push(Own { used, value }, GFP_KERNEL)?;
        }
        // INVARIANT: No flag is set, and there is no reference yet.
        Ok(Self(all))
    }

    /// This CPU's own. [`None`] if what was interrupted by this, by a softirq say, has it. Any context but
    /// NMI.
    ///
    /// Nobody waits, and there is no atomic instruction: who else may use it on this CPU either was
    /// interrupted by this, and is found by the flag; or interrupts this, and has come to its end, and
    /// cleared the flag, before this goes on, even between the reading and the setting of the flag.
    #[inline(always)]
    pub(crate) fn own<'a>(&'a self, here: &'a Here) -> Option<Owned<'a, T>> {
        let own = self.0.get(here.number())?;
        // SAFETY: By the invariant the flag is this CPU's alone, and this stays on it. Volatile, as
        // interrupts come at any time.
        unsafe {
            if own.used.get().read_volatile() {
                return None;
            }
            own.used.get().write_volatile(true);
        }
        compiler_fence(Ordering::SeqCst);
        let flag = Flag(&own.used, NotThreadSafe);
        // SAFETY: By the invariant nobody else has a reference, nor gets one until the flag is clear.
        let value = unsafe { &mut *own.value.get() }.as_mut()?;
        Some(Owned { value, _flag: flag })
    }
}

/// That somebody uses what this CPU has.
///
/// # Invariants
///
/// Who made it has found the flag clear and set it, and preemption is off since.
struct Flag<'a>(&'a UnsafeCell<bool>, NotThreadSafe);

impl Drop for Flag<'_> {
    #[inline(always)]
    fn drop(&mut self) {
        compiler_fence(Ordering::SeqCst);
        // SAFETY: By the invariants the flag is this CPU's, and this is still on it.
        unsafe { self.0.get().write_volatile(false) };
    }
}

/// What this CPU has, for whoever got it alone.
pub(crate) struct Owned<'a, T> {
    value: &'a mut T,
    /// Cleared when the reference is gone.
    _flag: Flag<'a>,
}

impl<T> Deref for Owned<'_, T> {
    type Target = T;

    #[inline(always)]
    fn deref(&self) -> &T {
        self.value
    }
}

impl<T> DerefMut for Owned<'_, T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut T {
        self.value
    }
}
