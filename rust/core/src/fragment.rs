// SPDX-License-Identifier: GPL-2.0

//! Fragments of datagrams.

use core::fmt;

use crate::flags::{Flag, Flags};
use crate::value::Value;

/// Whether the packet is a piece of a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fragment {
    /// It is a whole datagram.
    No,
    /// The first piece.
    First,
    /// A later piece, at this offset in bytes.
    Later(u32),
}

impl Fragment {
    /// Its place, whatever the offset.
    #[inline]
    pub fn place(self) -> Place {
        match self {
            Self::No => Place::No,
            Self::First => Place::First,
            Self::Later(_) => Place::Later,
        }
    }
}

/// A packet's place in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It is all of it.
    No,
    /// The first piece.
    First,
    /// A later piece.
    Later,
}

/// A set of places.
pub type PlaceSet = Flags<Place>;

impl Flag for Place {
    const ALL: &'static [Self] = &[Self::No, Self::First, Self::Later];

    #[inline]
    fn bit(self) -> u8 {
        match self {
            Self::No => 1 << 0,
            Self::First => 1 << 1,
            Self::Later => 1 << 2,
        }
    }
}

const NAMES: [(&str, Place); 3] = [
    ("no", Place::No),
    ("first", Place::First),
    ("later", Place::Later),
];

impl Value for Place {
    const EXPECTED: &'static str = "no, first or later";

    fn parse(text: &[u8]) -> Option<Self> {
        NAMES
            .iter()
            .find(|(name, _)| name.as_bytes() == text)
            .map(|(_, place)| *place)
    }

    fn may_become(text: &[u8]) -> bool {
        NAMES
            .iter()
            .any(|(name, _)| name.as_bytes().starts_with(text))
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = NAMES.iter().find(|(_, place)| place == self);
        f.write_str(name.map_or("", |(name, _)| name))
    }
}
