// SPDX-License-Identifier: GPL-2.0

//! Queues to programs that decide about packets.

use core::fmt;

use crate::value::{decimal, Value};

/// The word behind a queue's number that has packets pass where nobody listens.
pub(crate) const BYPASS: &str = "bypass";

/// The number of an nfqueue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct QueueNumber(pub u16);

impl Value for QueueNumber {
    const EXPECTED: &'static str = "the number of a queue, from 0 to 65535";

    fn parse(text: &[u8]) -> Option<Self> {
        u16::try_from(decimal(text, u16::MAX.into())?)
            .ok()
            .map(Self)
    }

    fn may_become(text: &[u8]) -> bool {
        Self::parse(text).is_some()
    }
}

impl fmt::Display for QueueNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Who is to decide about a packet, outside of the kernel.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Queue {
    /// The nfqueue that the program listens on
    pub number: QueueNumber,
    /// Whether the packet passes where none listens; else it is dropped.
    pub bypass: bool,
}

/// Prints as it stands behind the verb.
impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.number.fmt(f)?;
        if self.bypass {
            write!(f, " {BYPASS}")?;
        }
        Ok(())
    }
}
