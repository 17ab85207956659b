// SPDX-License-Identifier: GPL-2.0

//! Things of which each CPU has one of its own.
//!
//! C headers: [`include/linux/smp.h`](srctree/include/linux/smp.h),
//! [`include/linux/percpu-defs.h`](srctree/include/linux/percpu-defs.h)

use core::cell::UnsafeCell;
use core::ops::{Deref, DerefMut};
use core::sync::atomic::{compiler_fence, Ordering};

use kernel::prelude::*;
use kernel::types::NotThreadSafe;

use super::bindings;

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
/// The flag of a CPU is read and written by that CPU only, with preemption off. A reference to its `T`
/// is there only on that CPU, by the [`Owned`] of whoever has found the flag clear and set it, who clears it
/// at its end.
pub(crate) struct CpuLocal<T>(KVVec<Option<KBox<Own<T>>>>);

// SAFETY: It owns what is in it.
unsafe impl<T: Send> Send for CpuLocal<T> {}
// SAFETY: By the invariant nobody has a reference to a `T` while somebody else has one.
unsafe impl<T: Send> Sync for CpuLocal<T> {}

impl<T> CpuLocal<T> {
    /// What `make` makes, for each CPU. Process context; may sleep.
    pub(crate) fn new(mut make: impl FnMut() -> Result<T>) -> Result<Self> {
        let mut all = KVVec::new();
        // SAFETY: Has no requirements.
        for cpu in 0..unsafe { bindings::ctrfw_nr_cpu_ids() } {
            // SAFETY: There may be a CPU with that number.
            let possible = unsafe { bindings::ctrfw_cpu_possible(cpu) };
            let own = if possible {
                let (used, value) = (UnsafeCell::new(false), UnsafeCell::new(make()?));
                Some(KBox::new(Own { used, value }, GFP_KERNEL)?)
            } else {
                None
            };
            all.push(own, GFP_KERNEL)?;
        }
        // INVARIANT: There is no reference yet.
        Ok(Self(all))
    }

    /// This CPU's own, until what is given is dropped: nobody may sleep before. [`None`] if what was
    /// interrupted by this, by a softirq say, has it. Any context but NMI.
    ///
    /// Nobody waits, and there is no atomic instruction: who else may use it on this CPU either was
    /// interrupted by this, and is found by the flag; or interrupts this, and has come to its end, and
    /// cleared the flag, before this goes on, even between the reading and the setting of the flag.
    #[inline(always)]
    pub(crate) fn own(&self) -> Option<Owned<'_, T>> {
        // SAFETY: Preemption is on again below, or when what is given is dropped, and nothing sleeps before.
        let cpu = unsafe { bindings::ctrfw_get_cpu() };
        if let Some(own) = self.0.get(cpu as usize).and_then(Option::as_deref) {
            // SAFETY: By the invariant the flag is this CPU's alone, and this stays on it. Volatile, as
            // interrupts come at any time.
            if !unsafe { own.used.get().read_volatile() } {
                // SAFETY: As above.
                unsafe { own.used.get().write_volatile(true) };
                compiler_fence(Ordering::SeqCst);
                // INVARIANT: The flag was clear and is set, and preemption is off.
                return Some(Owned(own, NotThreadSafe));
            }
        }
        // SAFETY: Preemption was turned off above.
        unsafe { bindings::ctrfw_put_cpu() };
        None
    }
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
        // gone. Preemption was turned off when this was made.
        unsafe {
            self.0.used.get().write_volatile(false);
            bindings::ctrfw_put_cpu();
        }
    }
}
