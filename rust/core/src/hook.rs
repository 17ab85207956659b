// SPDX-License-Identifier: GPL-2.0

//! The five netfilter hooks and sets of them.
//!
//! C header: `include/uapi/linux/netfilter.h` (`enum nf_inet_hooks`).

use core::fmt;

use crate::flags::{Flag, Flags};
use crate::value::Value;

/// A netfilter hook; the discriminants are those of `enum nf_inet_hooks`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Hook {
    /// `NF_INET_PRE_ROUTING`
    PreRouting = 0,
    /// `NF_INET_LOCAL_IN`
    LocalIn = 1,
    /// `NF_INET_FORWARD`
    Forward = 2,
    /// `NF_INET_LOCAL_OUT`
    LocalOut = 3,
    /// `NF_INET_POST_ROUTING`
    PostRouting = 4,
}

/// What one hook is called, in the order in which hooks are listed everywhere.
struct Names {
    hook: Hook,
    rule: &'static str,
    nft: &'static str,
    trace: &'static str,
}

const NAMES: [Names; 5] = [
    Names {
        hook: Hook::PreRouting,
        rule: "pre_routing",
        nft: "prerouting",
        trace: "PRE_ROUTING",
    },
    Names {
        hook: Hook::LocalIn,
        rule: "local_in",
        nft: "input",
        trace: "LOCAL_IN",
    },
    Names {
        hook: Hook::Forward,
        rule: "forward",
        nft: "forward",
        trace: "FORWARD",
    },
    Names {
        hook: Hook::PostRouting,
        rule: "post_routing",
        nft: "postrouting",
        trace: "POST_ROUTING",
    },
    Names {
        hook: Hook::LocalOut,
        rule: "local_out",
        nft: "output",
        trace: "LOCAL_OUT",
    },
];

impl Hook {
    /// How many hooks there are.
    pub const COUNT: usize = 5;

    /// All hooks, in the order in which they are listed.
    pub const ALL: [Hook; Hook::COUNT] = [
        Hook::PreRouting,
        Hook::LocalIn,
        Hook::Forward,
        Hook::PostRouting,
        Hook::LocalOut,
    ];

    /// The hook with the kernel's number `number`.
    pub const fn from_number(number: u8) -> Option<Self> {
        match number {
            0 => Some(Self::PreRouting),
            1 => Some(Self::LocalIn),
            2 => Some(Self::Forward),
            3 => Some(Self::LocalOut),
            4 => Some(Self::PostRouting),
            _ => None,
        }
    }

    fn names(self) -> Option<&'static Names> {
        NAMES.iter().find(|names| names.hook == self)
    }

    /// The name in rules and in the status file.
    pub fn rule_name(self) -> &'static str {
        self.names().map_or("", |names| names.rule)
    }

    /// The name in trace lines, as the kernel's enum has it.
    pub fn trace_name(self) -> &'static str {
        self.names().map_or("", |names| names.trace)
    }
}

/// By ctrfw's names or nft's.
impl Value for Hook {
    const EXPECTED: &'static str =
        "a hook: pre_routing, local_in, forward, post_routing or local_out";

    fn parse(text: &[u8]) -> Option<Self> {
        NAMES
            .iter()
            .find(|names| names.rule.as_bytes() == text || names.nft.as_bytes() == text)
            .map(|names| names.hook)
    }

    fn may_become(text: &[u8]) -> bool {
        let begins = |name: &str| name.as_bytes().starts_with(text);
        NAMES
            .iter()
            .any(|names| begins(names.rule) || begins(names.nft))
    }
}

impl fmt::Display for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.rule_name())
    }
}

/// A set of hooks.
pub type HookSet = Flags<Hook>;

impl Flag for Hook {
    const ALL: &'static [Self] = &Self::ALL;

    #[inline]
    fn bit(self) -> u8 {
        1u8.wrapping_shl(self as u32)
    }
}
