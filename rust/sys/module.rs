// SPDX-License-Identifier: GPL-2.0

//! Keeping this module from being unloaded.
//!
//! C header: [`include/linux/module.h`](srctree/include/linux/module.h)

use kernel::sync::atomic::{AtomicFlag, Relaxed};

use super::bindings;

/// A reference on this module, from when it is taken until this is dropped: for so long rmmod(8) says that it
/// is in use. Whoever drops it must be waited for by the module's end, as it returns into the module.
///
/// # Invariants
///
/// If the flag is set, this has a reference.
pub(crate) struct Hold(AtomicFlag);

impl Hold {
    /// One that has not been taken.
    pub(crate) fn none() -> Self {
        // INVARIANT: The flag is clear.
        Self(AtomicFlag::new(false))
    }

    /// Takes it, if that has not been done; whether it is there. It is not if the module is already being
    /// unloaded. Any context.
    pub(crate) fn take(&self) -> bool {
        if self.0.load(Relaxed) {
            return true;
        }
        // SAFETY: Has no requirements.
        if !unsafe { bindings::ctrfw_module_get() } {
            return false;
        }
        // INVARIANT: The reference was just taken.
        if self.0.xchg(true, Relaxed) {
            // SAFETY: That was one too many: somebody else has set the flag, with a reference.
            unsafe { bindings::ctrfw_module_put() };
        }
        true
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.0.load(Relaxed) {
            // SAFETY: By the invariant this has a reference, which nobody else gives back.
            unsafe { bindings::ctrfw_module_put() };
        }
    }
}
