// SPDX-License-Identifier: GPL-2.0

//! The memory that a policy is kept in: the kernel's, or a process's.

use core::ops::DerefMut;

/// There is no memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// A list that grows at its end. Growing may sleep; reading may be done in any context.
pub trait List<T>: DerefMut<Target = [T]> + Default {
    /// Adds `value` at the end.
    fn push(&mut self, value: T) -> Result<(), NoMemory>;

    /// How many bytes of memory it takes.
    fn memory(&self) -> usize;

    /// Adds all of `values` at the end; without memory perhaps only some of them.
    fn extend(&mut self, values: impl IntoIterator<Item = T>) -> Result<(), NoMemory> {
        values.into_iter().try_for_each(|value| self.push(value))
    }
}

/// A kind of memory.
pub trait Memory {
    /// Its lists.
    type List<T: Copy>: List<T>;
}

/// Some neighbours in a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Span {
    start: u32,
    len: u32,
}

impl Span {
    /// Those of `list` from `start` on.
    pub fn since<T>(list: &[T], start: usize) -> Result<Self, NoMemory> {
        let len = list.len().saturating_sub(start);
        Ok(Self {
            start: start.try_into().map_err(|_| NoMemory)?,
            len: len.try_into().map_err(|_| NoMemory)?,
        })
    }

    /// The same neighbours after `count` others were put in front of the list.
    pub fn behind(self, count: usize) -> Result<Self, NoMemory> {
        let count: u32 = count.try_into().map_err(|_| NoMemory)?;
        Ok(Self {
            start: self.start.checked_add(count).ok_or(NoMemory)?,
            len: self.len,
        })
    }

    /// As many neighbours as `len` says, from the same place on.
    pub fn with_len(self, len: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            start: self.start,
            len: len.try_into().map_err(|_| NoMemory)?,
        })
    }

    /// How many they are.
    pub fn len(self) -> usize {
        self.len as usize
    }

    /// Whether there are none.
    pub fn is_empty(self) -> bool {
        self.len == 0
    }

    /// The neighbours themselves; none where `list` is not the list that they are of.
    #[inline]
    pub fn of<T>(self, list: &[T]) -> &[T] {
        let start = self.start as usize;
        list.get(start..start.saturating_add(self.len as usize))
            .unwrap_or(&[])
    }
}

/// The memory of a process, which ends when there is none left.
#[cfg(not(MODULE))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heap;

#[cfg(not(MODULE))]
impl Memory for Heap {
    type List<T: Copy> = alloc::vec::Vec<T>;
}

#[cfg(not(MODULE))]
impl<T> List<T> for alloc::vec::Vec<T> {
    fn push(&mut self, value: T) -> Result<(), NoMemory> {
        Self::push(self, value);
        Ok(())
    }

    fn memory(&self) -> usize {
        self.capacity().saturating_mul(size_of::<T>())
    }
}
