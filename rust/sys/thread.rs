// SPDX-License-Identifier: GPL-2.0

//! A kernel thread that does something over and over.
//!
//! C header: [`include/linux/kthread.h`](srctree/include/linux/kthread.h)

use kernel::error::from_err_ptr;
use kernel::ffi::c_char;
use kernel::prelude::*;

use super::bindings;

/// Something that a thread does over and over. Process context; may sleep.
pub(crate) trait Chore: 'static {
    /// Does it once.
    fn run();
}

/// A thread; it ends when this is dropped, which waits for it. Whoever drops it must hold nothing that
/// the thread waits for.
///
/// # Invariants
///
/// The thread lives: it ends only when it is told to.
pub(crate) struct Thread(*mut bindings::task_struct);

// SAFETY: A thread may be stopped from any other.
unsafe impl Send for Thread {}
// SAFETY: Nothing can be done with a reference.
unsafe impl Sync for Thread {}

impl Thread {
    /// A thread that does the chore each clock tick. Process context; sleeps.
    pub(crate) fn each_tick<C: Chore>(name: &CStr) -> Result<Self> {
        // SAFETY: The name is a C string, and the function may be called in process context at any
        // time until the thread is stopped, which dropping the result does: the module is still there.
        let task = from_err_ptr(unsafe {
            let name = name.as_ptr().cast::<c_char>();
            bindings::ctrfw_thread_start(Some(run_callback::<C>), name)
        })?;
        // INVARIANT: It was just started, and waits to be stopped.
        Ok(Self(task))
    }
}

impl Drop for Thread {
    fn drop(&mut self) {
        // SAFETY: By the invariant the thread lives, and nobody else stops it.
        unsafe { bindings::ctrfw_thread_stop(self.0) };
    }
}

/// # Safety
///
/// Only a thread of [`Thread`] may call it.
unsafe extern "C" fn run_callback<C: Chore>() {
    C::run();
}
