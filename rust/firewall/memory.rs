// SPDX-License-Identifier: GPL-2.0

//! The kernel's memory, for a policy.

use core::ops::{Deref, DerefMut};

use ctrfw_core::memory::{List, Memory, NoMemory};
use kernel::prelude::*;

/// The kernel's memory: what is large need not be in one piece.
pub(crate) struct KernelMemory;

impl Memory for KernelMemory {
    type List<T: Copy> = KernelList<T>;
}

/// A list in the kernel's memory.
pub(crate) struct KernelList<T>(KVVec<T>);

impl<T> Default for KernelList<T> {
    fn default() -> Self {
        Self(KVVec::new())
    }
}

impl<T> Deref for KernelList<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        &self.0
    }
}

impl<T> DerefMut for KernelList<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

/// Growing is for process context; it may sleep.
impl<T> List<T> for KernelList<T> {
    fn push(&mut self, value: T) -> Result<(), NoMemory> {
        self.0.push(value, GFP_KERNEL).map_err(|_| NoMemory)
    }

    fn memory(&self) -> usize {
        self.0.capacity().saturating_mul(size_of::<T>())
    }
}
