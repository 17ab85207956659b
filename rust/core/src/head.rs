// SPDX-License-Identifier: GPL-2.0

//! A rule as it is kept: what all rules have, and where the rest is.

use crate::bounds::Bounds;
use crate::matcher::{Doubt, Match};
use crate::memory::NoMemory;
use crate::priority::Priority;
use crate::queue::Queue;
use crate::reject::Answer;
use crate::rule::Verb;
use crate::slot::Slot;

/// The head of a rule. All else is in the bytes of its block: what few rules have, if it has any of
/// that, and behind that its words.
#[derive(Clone, Copy)]
pub(crate) struct Head {
    /// Where its packets are counted; nowhere yet if it is new.
    pub(crate) slot: Option<Slot>,
    /// From the top: where its bytes start, how many words it has, its verb, and whether it has what few
    /// rules have.
    packed: u32,
    pub(crate) bounds: Bounds,
    /// Whether it is judged before or behind others
    pub(crate) priority: Priority,
}

/// Where the parts of a head begin, and one more than the most that there is room for.
const VERB: u32 = 1;
const COUNT: u32 = 5;
const START: u32 = 9;
const ROOM: u32 = 1 << 4;
const START_ROOM: u32 = 1 << 23;

/// The numbers of verbs; an answer's own is added to the last.
const ALLOW: u32 = 0;
const DENY: u32 = 1;
const AUDIT: u32 = 2;
const QUEUE: u32 = 3;
const REJECT: u32 = 4;

impl Head {
    /// A rule that has these words, whose bytes start at `start`: those of the words, or before them of
    /// what few rules have, if it has `more`.
    pub(crate) fn new(
        verb: Verb,
        priority: Priority,
        m: &Match,
        start: usize,
        more: bool,
    ) -> Result<Self, NoMemory> {
        let verb = match verb {
            Verb::Allow => ALLOW,
            Verb::Deny => DENY,
            Verb::Audit => AUDIT,
            Verb::Queue(_) => QUEUE,
            Verb::Reject(answer) => REJECT.wrapping_add(answer.number().into()),
        };
        let count = u32::from(m.words);
        let start = u32::try_from(start).map_err(|_| NoMemory)?;
        if start >= START_ROOM || count >= ROOM || verb >= ROOM {
            return Err(NoMemory);
        }
        let parts = [
            (u32::from(more), 0),
            (verb, VERB),
            (count, COUNT),
            (start, START),
        ];
        let packed = parts.map(|(part, place)| part.wrapping_shl(place));
        Ok(Self {
            slot: None,
            packed: packed.into_iter().fold(0, |all, part| all | part),
            bounds: m.bounds,
            priority,
        })
    }

    /// The same rule, whose bytes start somewhere else.
    pub(crate) fn at(self, start: usize) -> Result<Self, NoMemory> {
        let start = u32::try_from(start).map_err(|_| NoMemory)?;
        if start >= START_ROOM {
            return Err(NoMemory);
        }
        let rest = self.packed & 1u32.wrapping_shl(START).wrapping_sub(1);
        Ok(Self {
            packed: start.wrapping_shl(START) | rest,
            ..self
        })
    }

    /// Where its bytes start.
    #[inline(always)]
    pub(crate) fn start(self) -> usize {
        self.packed.wrapping_shr(START) as usize
    }

    /// How many words it has.
    #[inline(always)]
    pub(crate) fn words(self) -> u8 {
        (self.packed.wrapping_shr(COUNT) % ROOM) as u8
    }

    /// Whether it has any of what few rules have.
    #[inline(always)]
    pub(crate) fn has_more(self) -> bool {
        self.packed & 1 != 0
    }

    #[inline(always)]
    fn number(self) -> u32 {
        self.packed.wrapping_shr(VERB) % ROOM
    }

    /// How it decides where a packet does not show what it asks for.
    #[inline(always)]
    pub(crate) fn doubt(self) -> Doubt {
        if self.number() == ALLOW {
            Doubt::ALLOW
        } else {
            Doubt::DENY
        }
    }

    /// What becomes of the packets that it matches; `queue` tells by which queue.
    #[inline]
    pub(crate) fn verb(self, queue: impl FnOnce() -> Queue) -> Verb {
        match self.number() {
            ALLOW => Verb::Allow,
            DENY => Verb::Deny,
            AUDIT => Verb::Audit,
            QUEUE => Verb::Queue(queue()),
            other => Verb::Reject(Answer::numbered(other.wrapping_sub(REJECT) as u8)),
        }
    }
}
