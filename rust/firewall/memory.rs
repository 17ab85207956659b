// SPDX-License-Identifier: GPL-2.0

//! The kernel's memory, for a policy.

use core::ops::{Deref, DerefMut};

use ctrfw_core::memory::{List, Memory, NoMemory};
use kernel::alloc::{IntoIter, Vec};
use kernel::prelude::*;
use kernel::sync::{Arc, UniqueArc};

use crate::sys::pages::Pages;
use crate::sys::task;

/// The kernel's memory: what is large need not be in one piece.
pub(crate) struct KernelMemory;

impl Memory for KernelMemory {
    type List<T> = KernelList<T>;
    type Unique<T> = UniqueArc<T>;
    type Shared<T> = Arc<T>;

    fn unique<T>(value: T) -> Result<UniqueArc<T>, NoMemory> {
        UniqueArc::new(value, GFP_KERNEL).map_err(|_| NoMemory)
    }

    fn pause() {
        task::cond_resched();
    }
}

/// A list in the kernel's memory.
pub(crate) struct KernelList<T>(Vec<T, Pages>);

impl<T> Default for KernelList<T> {
    fn default() -> Self {
        Self(Vec::new())
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

impl<T> IntoIterator for KernelList<T> {
    type Item = T;
    type IntoIter = IntoIter<T, Pages>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

/// Growing is for process context; it may sleep.
impl<T> List<T> for KernelList<T> {
    fn push(&mut self, value: T) -> Result<(), NoMemory> {
        self.0.push(value, GFP_KERNEL).map_err(|_| NoMemory)
    }

    fn pop(&mut self) -> Option<T> {
        self.0.pop()
    }

    fn truncate(&mut self, len: usize) {
        self.0.truncate(len);
    }

    fn reserve(&mut self, more: usize) -> Result<(), NoMemory> {
        self.0.reserve(more, GFP_KERNEL).map_err(|_| NoMemory)
    }

    fn push_all(&mut self, values: &[T]) -> Result<(), NoMemory>
    where
        T: Copy,
    {
        let added = self.0.extend_from_slice(values, GFP_KERNEL);
        added.map_err(|_| NoMemory)
    }
}
