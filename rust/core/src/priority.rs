// SPDX-License-Identifier: GPL-2.0

//! Priorities of rules, and the order that they make.

use core::fmt;

use crate::memory::{List, Memory, NoMemory};
use crate::value::{decimal, Value};

/// The priority of a rule: those of a higher one are judged first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(i16);

impl Priority {
    /// 0 for the highest priority, and so on.
    fn rank(self) -> u16 {
        (self.0 as u16) ^ 0x7fff
    }
}

fn number(text: &[u8]) -> Option<i16> {
    let (text, sign) = match text.strip_prefix(b"-") {
        Some(digits) => (digits, -1),
        None => (text, 1),
    };
    let value = i32::try_from(decimal(text, 32768)?).ok()?;
    value.checked_mul(sign)?.try_into().ok()
}

impl Value for Priority {
    const EXPECTED: &'static str = "a priority from -32768 to 32767";

    fn parse(text: &[u8]) -> Option<Self> {
        number(text).map(Self)
    }

    fn may_become(text: &[u8]) -> bool {
        text == b"-" || number(text).is_some()
    }
}

impl fmt::Display for Priority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

/// The order of those with `priorities` by descending priority, those of the same staying in theirs: for
/// each place, which of them comes there. Time and memory are linear in their number.
pub(crate) fn order<M: Memory>(priorities: &[Priority]) -> Result<M::List<u32>, NoMemory> {
    let len = u32::try_from(priorities.len()).map_err(|_| NoMemory)?;
    let mut order = M::List::<u32>::default();
    order.extend(0..len)?;
    // By the less significant half of the rank first: each pass keeps the order of equals.
    for shift in [0, 8] {
        let digit = |index: u32| {
            let priority = priorities.get(index as usize).copied().unwrap_or_default();
            usize::from((priority.rank() >> shift) & 0xff)
        };
        let mut counts = [0usize; 256];
        for index in order.iter() {
            if let Some(count) = counts.get_mut(digit(*index)) {
                *count = count.saturating_add(1);
            }
        }
        let mut start = 0usize;
        for count in &mut counts {
            let next = start.saturating_add(*count);
            *count = core::mem::replace(&mut start, next);
        }
        let mut sorted = M::List::<u32>::default();
        sorted.extend(order.iter().map(|_| 0))?;
        for index in order.iter() {
            if let Some(place) = counts.get_mut(digit(*index)) {
                if let Some(slot) = sorted.get_mut(*place) {
                    *slot = *index;
                }
                *place = place.saturating_add(1);
            }
        }
        order = sorted;
    }
    Ok(order)
}
