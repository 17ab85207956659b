// SPDX-License-Identifier: GPL-2.0

//! Ranges in order, so that it is soon found out whether one of them has a number.

use crate::memory::{List, Memory, NoMemory};

/// Ranges of numbers, of which no two have a number in common, by ascending numbers.
pub(crate) struct Sorted<N, M: Memory>(M::List<(N, N)>);

impl<N: Copy + Ord, M: Memory> Sorted<N, M> {
    /// These ranges, each by its first and its last number. Process context; may sleep.
    pub(crate) fn of(ranges: impl Iterator<Item = (N, N)>) -> Result<Self, NoMemory> {
        let mut list = M::List::default();
        list.extend(ranges)?;
        let list = sort::<N, M>(list)?;
        let mut merged = M::List::<(N, N)>::default();
        for (first, last) in list.iter().copied() {
            match merged.last_mut() {
                Some(before) if first <= before.1 => before.1 = before.1.max(last),
                _ => merged.push((first, last))?,
            }
        }
        Ok(Self(merged.duplicate()?))
    }

    /// Whether any of the ranges has a number. Any context.
    #[inline]
    pub(crate) fn has(&self, number: N) -> bool {
        let behind = self.0.partition_point(|(first, _)| *first <= number);
        let range = behind.checked_sub(1).and_then(|place| self.0.get(place));
        range.is_some_and(|(_, last)| number <= *last)
    }

    /// How many bytes of memory they take.
    pub(crate) fn memory(&self) -> usize {
        self.0.memory()
    }
}

/// By ascending numbers: runs of 1, 2, 4, ... are merged. The standard library's sorting needs an allocator,
/// or may panic.
fn sort<N: Copy + Ord, M: Memory>(mut list: M::List<(N, N)>) -> Result<M::List<(N, N)>, NoMemory> {
    let mut run = 1usize;
    while run < list.len() {
        M::pause();
        let mut merged = M::List::default();
        merged.reserve(list.len())?;
        let mut rest: &[(N, N)] = &list;
        while !rest.is_empty() {
            let (mut left, behind) = rest.split_at_checked(run).unwrap_or((rest, &[]));
            let (mut right, behind) = behind.split_at_checked(run).unwrap_or((behind, &[]));
            rest = behind;
            loop {
                let from = match (left.first(), right.first()) {
                    (Some(a), Some(b)) if b < a => &mut right,
                    (Some(_), _) => &mut left,
                    (None, Some(_)) => &mut right,
                    (None, None) => break,
                };
                if let Some((next, rest)) = from.split_first() {
                    merged.push(*next)?;
                    *from = rest;
                }
            }
        }
        list = merged;
        run = run.saturating_mul(2);
    }
    Ok(list)
}
