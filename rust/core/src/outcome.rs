// SPDX-License-Identifier: GPL-2.0

//! What comes of most packets.

use crate::slot::Slot;

/// What was decided about a packet, where it takes no more than that: it is counted, and passes or is
/// dropped. Nobody logs it, answers it, or audits it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Where it is counted
    pub slot: Slot,
    /// Whether it is dropped
    pub dropped: bool,
}

impl Outcome {
    /// Both in one word, if they fit there.
    pub(crate) fn word(self) -> Option<u32> {
        let number = self.slot.number();
        (number <= u32::MAX >> 1).then_some((number << 1) | u32::from(self.dropped))
    }

    #[inline(always)]
    pub(crate) fn from_word(word: u32) -> Option<Self> {
        Some(Self {
            slot: Slot::from_number(word >> 1)?,
            dropped: word & 1 != 0,
        })
    }
}
