// SPDX-License-Identifier: GPL-2.0

//! The two address families.

use core::fmt;

use crate::flags::{Flag, Flags};
use crate::value::Value;

/// The address family that a hook was called for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    /// `NFPROTO_IPV4`
    Ipv4,
    /// `NFPROTO_IPV6`
    Ipv6,
}

/// A set of families.
pub type FamilySet = Flags<Family>;

impl Flag for Family {
    const ALL: &'static [Self] = &[Self::Ipv4, Self::Ipv6];

    #[inline]
    fn bit(self) -> u8 {
        match self {
            Self::Ipv4 => 1 << 0,
            Self::Ipv6 => 1 << 1,
        }
    }
}

/// Also by nft's names.
impl Value for Family {
    const EXPECTED: &'static str = "ipv4 or ipv6";

    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"ipv4" | b"ip" => Some(Self::Ipv4),
            b"ipv6" | b"ip6" => Some(Self::Ipv6),
            _ => None,
        }
    }

    fn may_become(text: &[u8]) -> bool {
        [b"ipv4".as_slice(), b"ipv6", b"ip6"]
            .iter()
            .any(|name| name.starts_with(text))
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Ipv4 => "ipv4",
            Self::Ipv6 => "ipv6",
        })
    }
}
