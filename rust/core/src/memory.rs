// SPDX-License-Identifier: GPL-2.0

//! The memory that a policy is kept in: the kernel's, or a process's.

use core::ops::{Deref, DerefMut};

/// There is no memory left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoMemory;

/// A list. Growing may sleep; reading may be done in any context.
pub trait List<T>: DerefMut<Target = [T]> + IntoIterator<Item = T> + Default {
    /// Adds `value` at the end.
    fn push(&mut self, value: T) -> Result<(), NoMemory>;

    /// Takes away what is at the end.
    fn pop(&mut self) -> Option<T>;

    /// Takes away what is behind the first `len`.
    fn truncate(&mut self, len: usize) {
        while self.len() > len {
            self.pop();
        }
    }

    /// Makes room for so many more, and if the list is empty for no more than these.
    fn reserve(&mut self, more: usize) -> Result<(), NoMemory>;

    /// How many bytes of memory what is in it takes.
    fn memory(&self) -> usize {
        self.len().saturating_mul(size_of::<T>())
    }

    /// Adds all of `values` at the end; without memory perhaps only some of them.
    fn extend(&mut self, values: impl IntoIterator<Item = T>) -> Result<(), NoMemory> {
        values.into_iter().try_for_each(|value| self.push(value))
    }

    /// Adds all of `values` at the end; without memory perhaps only some of them.
    fn push_all(&mut self, values: &[T]) -> Result<(), NoMemory>
    where
        T: Copy,
    {
        self.extend(values.iter().copied())
    }

    /// Adds `value` before what is at `place`, or at the end.
    fn insert(&mut self, place: usize, value: T) -> Result<(), NoMemory> {
        let mut carried = value;
        for slot in self.get_mut(place..).unwrap_or(&mut []) {
            core::mem::swap(slot, &mut carried);
        }
        self.push(carried)
    }

    /// Takes away what is at `place`.
    fn remove(&mut self, place: usize) -> Option<T> {
        if place >= self.len() {
            return None;
        }
        let mut carried = self.pop()?;
        let behind = self.get_mut(place..).unwrap_or(&mut []);
        for slot in behind.iter_mut().rev() {
            core::mem::swap(slot, &mut carried);
        }
        Some(carried)
    }

    /// A list of the same, with room for no more.
    fn duplicate(&self) -> Result<Self, NoMemory>
    where
        T: Copy,
    {
        let mut list = Self::default();
        list.reserve(self.len())?;
        list.push_all(self)?;
        Ok(list)
    }
}

/// A kind of memory.
pub trait Memory {
    /// Its lists.
    type List<T>: List<T>;

    /// What nobody else has yet, so that it may change.
    type Unique<T>: DerefMut<Target = T>;

    /// What several have, so that it stays as it is.
    type Shared<T>: Deref<Target = T> + Clone + From<Self::Unique<T>>;

    /// Most rules in a [`Block`](crate::block::Block): their heads fill half a page, and the words of as
    /// many with five words each a page.
    const BLOCK: usize = 170;

    /// Puts `value` there. May sleep.
    fn unique<T>(value: T) -> Result<Self::Unique<T>, NoMemory>;

    /// Lets others have the CPU who wait for it; called between pieces of long work in process context.
    fn pause() {}
}

/// What can be had a second time.
pub(crate) trait Duplicate: Sized {
    /// The same in memory of its own, which is no more than it needs. May sleep.
    fn duplicate(&self) -> Result<Self, NoMemory>;
}

/// What changes while it is being written, and is shared afterwards.
pub(crate) enum Held<M: Memory, T> {
    /// Nobody else has it.
    Own(M::Unique<T>),
    /// Others may have it, too.
    Shared(M::Shared<T>),
}

impl<M: Memory, T> Deref for Held<M, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        match self {
            Self::Own(value) => value,
            Self::Shared(value) => value,
        }
    }
}

impl<M: Memory, T: Duplicate> Held<M, T> {
    /// Something new.
    pub(crate) fn new(value: T) -> Result<Self, NoMemory> {
        Ok(Self::Own(M::unique(value)?))
    }

    /// What others may have, too, if it is that.
    pub(crate) fn if_shared(&self) -> Option<&M::Shared<T>> {
        match self {
            Self::Own(_) => None,
            Self::Shared(value) => Some(value),
        }
    }

    /// Whether it is new, or was changed.
    pub(crate) fn is_own(&self) -> bool {
        matches!(self, Self::Own(_))
    }

    /// The thing itself, if it is new, or was changed before.
    pub(crate) fn if_own(&mut self) -> Option<&mut T> {
        match self {
            Self::Own(value) => Some(value),
            Self::Shared(_) => None,
        }
    }

    /// The thing itself, to be changed: if others may have it, they keep it as it is.
    pub(crate) fn own(&mut self) -> Result<&mut T, NoMemory> {
        if let Self::Shared(value) = self {
            *self = Self::new(value.duplicate()?)?;
        }
        self.if_own().ok_or(NoMemory)
    }

    /// The same for somebody else.
    pub(crate) fn share(&self) -> Result<Self, NoMemory> {
        Ok(Self::Shared(match self {
            Self::Own(value) => M::unique(value.duplicate()?)?.into(),
            Self::Shared(value) => value.clone(),
        }))
    }

    /// The same, which does not change any more.
    pub(crate) fn freeze(self) -> Self {
        Self::Shared(match self {
            Self::Own(value) => value.into(),
            Self::Shared(value) => value,
        })
    }
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
        Self::new(start, list.len().saturating_sub(start))
    }

    /// So many from `start` on.
    pub(crate) fn new(start: usize, len: usize) -> Result<Self, NoMemory> {
        Ok(Self {
            start: start.try_into().map_err(|_| NoMemory)?,
            len: len.try_into().map_err(|_| NoMemory)?,
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
    type List<T> = alloc::vec::Vec<T>;
    type Unique<T> = alloc::boxed::Box<T>;
    type Shared<T> = alloc::sync::Arc<T>;

    fn unique<T>(value: T) -> Result<alloc::boxed::Box<T>, NoMemory> {
        Ok(alloc::boxed::Box::new(value))
    }
}

#[cfg(not(MODULE))]
impl<T> List<T> for alloc::vec::Vec<T> {
    fn push(&mut self, value: T) -> Result<(), NoMemory> {
        Self::push(self, value);
        Ok(())
    }

    fn pop(&mut self) -> Option<T> {
        Self::pop(self)
    }

    fn truncate(&mut self, len: usize) {
        Self::truncate(self, len);
    }

    fn reserve(&mut self, more: usize) -> Result<(), NoMemory> {
        Self::reserve_exact(self, more);
        Ok(())
    }

    fn push_all(&mut self, values: &[T]) -> Result<(), NoMemory>
    where
        T: Copy,
    {
        self.extend_from_slice(values);
        Ok(())
    }
}
