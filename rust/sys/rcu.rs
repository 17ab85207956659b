// SPDX-License-Identifier: GPL-2.0

//! Pointers that are read under RCU.
//!
//! C header: [`include/linux/rcupdate.h`](srctree/include/linux/rcupdate.h)

use core::cell::UnsafeCell;
use core::marker::PhantomData;

use kernel::sync::{rcu, Arc, ArcBorrow};

use super::bindings;

/// Evidence that an RCU read-side critical section lasts at least for `'a`.
#[derive(Clone, Copy)]
pub(crate) struct ReadSide<'a>(PhantomData<(&'a (), *mut ())>);

impl ReadSide<'_> {
    /// # Safety
    ///
    /// The caller must be in an RCU read-side critical section that lasts for `'a`.
    pub(crate) unsafe fn assume() -> Self {
        Self(PhantomData)
    }
}

/// A place for an [`Arc`] that is read under RCU and replaced as a whole.
///
/// # Invariants
///
/// The pointer is null or came from [`Arc::into_raw`], and the cell owns that reference. It gives
/// the reference up only after a grace period that began when the pointer was no longer there.
pub(crate) struct RcuCell<T>(UnsafeCell<*mut T>, PhantomData<Arc<T>>);

// SAFETY: All access to the pointer is atomic; what it points to is shared like an `Arc`.
unsafe impl<T: Send + Sync> Sync for RcuCell<T> {}
// SAFETY: As above.
unsafe impl<T: Send + Sync> Send for RcuCell<T> {}

impl<T> RcuCell<T> {
    /// A cell that holds nothing.
    pub(crate) const fn empty() -> Self {
        // INVARIANT: The pointer is null.
        Self(UnsafeCell::new(core::ptr::null_mut()), PhantomData)
    }

    /// What the cell holds now. Any context.
    #[inline(always)]
    pub(crate) fn read<'a>(&'a self, _read_side: ReadSide<'a>) -> Option<&'a T> {
        // SAFETY: The pointer to the cell's content is valid and aligned. The volatile read is
        // `READ_ONCE()`, and the dependency orders it before reads through it: this is
        // `rcu_dereference()`. By the invariant the reference lives until after `'a`.
        unsafe { self.0.get().read_volatile().as_ref() }
    }

    /// A reference of one's own to what the cell holds now. Any context.
    pub(crate) fn load(&self) -> Option<Arc<T>> {
        let _guard = rcu::read_lock();
        // SAFETY: The slot is valid and aligned; the volatile read is `READ_ONCE()`.
        let ptr = unsafe { self.0.get().read_volatile() };
        if ptr.is_null() {
            return None;
        }
        // SAFETY: By the invariant the pointer came from `Arc::into_raw()`, and the cell's own
        // reference lives at least as long as the guard.
        Some(unsafe { ArcBorrow::from_raw(ptr) }.into())
    }

    /// Replaces what the cell holds, waits until nobody reads the old value through the cell any
    /// more, and gives it back. Process context; sleeps.
    pub(crate) fn replace(&self, new: Option<Arc<T>>) -> Option<Arc<T>> {
        let new = new.map_or(core::ptr::null_mut(), |new| Arc::into_raw(new).cast_mut());
        // SAFETY: The slot is valid and only ever accessed atomically; the exchange is a full
        // barrier, so that whoever finds the pointer finds what it points to.
        // INVARIANT: The new pointer is null or came from `Arc::into_raw()`.
        let old = unsafe { bindings::ctrfw_rcu_xchg(self.0.get().cast(), new.cast()) };
        if old.is_null() {
            return None;
        }
        // Expedited, as somebody's shell waits for it.
        //
        // SAFETY: In process context it may be called.
        unsafe { bindings::ctrfw_synchronize_rcu_expedited() };
        // SAFETY: By the invariant the pointer came from `Arc::into_raw()`; the exchange made its
        // reference ours, and the grace period is over.
        Some(unsafe { Arc::from_raw(old.cast::<T>().cast_const()) })
    }
}

impl<T> Drop for RcuCell<T> {
    fn drop(&mut self) {
        self.replace(None);
    }
}
