// SPDX-License-Identifier: GPL-2.0

//! Small sets of things of which there are few.

use core::fmt;
use core::marker::PhantomData;

use crate::value::list;

/// Something of which there are at most eight.
pub trait Flag: Copy + 'static {
    /// All there are, in the order in which they are listed.
    const ALL: &'static [Self];

    /// A bit that is its alone.
    fn bit(self) -> u8;
}

/// A set of flags.
pub struct Flags<T>(u8, PhantomData<T>);

impl<T: Flag> Flags<T> {
    /// The empty set.
    pub const EMPTY: Self = Self(0, PhantomData);

    /// The set of all.
    pub fn all() -> Self {
        T::ALL.iter().copied().collect()
    }

    /// The set with nothing but `flag`.
    pub fn of(flag: T) -> Self {
        Self::EMPTY.with(flag)
    }

    /// Whether `flag` is in the set.
    #[inline]
    pub fn contains(self, flag: T) -> bool {
        self.0 & flag.bit() != 0
    }

    /// The set with `flag` in it as well.
    #[must_use]
    pub fn with(self, flag: T) -> Self {
        Self(self.0 | flag.bit(), PhantomData)
    }

    /// The bits of those in the set.
    #[inline]
    pub(crate) fn bits(self) -> u8 {
        self.0
    }

    /// The set of those with these bits; others are left out.
    #[inline]
    pub(crate) fn from_bits(bits: u8) -> Self {
        Self(bits & Self::all().0, PhantomData)
    }

    /// All that is not in the set.
    #[must_use]
    pub fn complement(self) -> Self {
        Self(Self::all().0 & !self.0, PhantomData)
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0, PhantomData)
    }

    /// What is in either.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        Self(self.0 | other.0, PhantomData)
    }

    /// Whether nothing is in it.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// What is in it, in the order of [`Flag::ALL`].
    pub fn iter(self) -> impl Iterator<Item = T> {
        T::ALL
            .iter()
            .copied()
            .filter(move |flag| self.contains(*flag))
    }
}

impl<T: Flag> FromIterator<T> for Flags<T> {
    fn from_iter<I: IntoIterator<Item = T>>(flags: I) -> Self {
        flags.into_iter().fold(Self::EMPTY, Self::with)
    }
}

/// All: a word that is not given asks for nothing.
impl<T: Flag> Default for Flags<T> {
    fn default() -> Self {
        Self::all()
    }
}

impl<T> Clone for Flags<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Flags<T> {}

impl<T> PartialEq for Flags<T> {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl<T> Eq for Flags<T> {}

impl<T: Flag + fmt::Debug> fmt::Debug for Flags<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

impl<T: Flag + fmt::Display> fmt::Display for Flags<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        list(f, self.iter())
    }
}
