// SPDX-License-Identifier: GPL-2.0

//! The numbers of tables in force.

use core::fmt;

use crate::value::{digits, Value};

/// How many tables have been put in force since the module was loaded: no two have the same number.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Generation(u64);

impl Generation {
    /// That of the table which takes the place of this one.
    pub fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    pub(crate) fn number(self) -> u64 {
        self.0
    }
}

impl Value for Generation {
    const EXPECTED: &'static str = "the number of a generation";

    fn parse(text: &[u8]) -> Option<Self> {
        digits(text).map(Self)
    }

    fn may_become(text: &[u8]) -> bool {
        Self::parse(text).is_some()
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
