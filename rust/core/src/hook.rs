// SPDX-License-Identifier: GPL-2.0

//! The five netfilter hooks and sets of them.
//!
//! C header: `include/uapi/linux/netfilter.h` (`enum nf_inet_hooks`).

use core::fmt;

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
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|hook| *hook as u8 == number)
    }

    /// The hook that a rule calls `name`, by ctrfw's or nft's name.
    pub fn from_name(name: &[u8]) -> Option<Self> {
        NAMES
            .iter()
            .find(|names| names.rule.as_bytes() == name || names.nft.as_bytes() == name)
            .map(|names| names.hook)
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

/// A set of hooks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HookSet(u8);

impl HookSet {
    /// No hook.
    pub const EMPTY: Self = Self(0);
    /// All five hooks.
    pub const ALL: Self = Self(0b1_1111);

    /// Parses names, separated by commas.
    pub fn parse(text: &[u8]) -> Option<Self> {
        text.split(|byte| *byte == b',')
            .try_fold(Self::EMPTY, |set, name| {
                Some(set.with(Hook::from_name(name)?))
            })
    }

    /// Whether more bytes behind `text` could make it parse.
    pub fn may_become(text: &[u8]) -> bool {
        let mut names = text.rsplit(|byte| *byte == b',');
        let last = names.next().unwrap_or(&[]);
        let begins = |name: &str| name.as_bytes().starts_with(last);
        names.all(|name| Hook::from_name(name).is_some())
            && NAMES
                .iter()
                .any(|names| begins(names.rule) || begins(names.nft))
    }

    /// Whether `hook` is in the set.
    #[inline]
    pub fn contains(self, hook: Hook) -> bool {
        self.0 & Self::bit(hook) != 0
    }

    /// The set with `hook` in it as well.
    pub fn with(self, hook: Hook) -> Self {
        Self(self.0 | Self::bit(hook))
    }

    #[inline]
    fn bit(hook: Hook) -> u8 {
        match hook {
            Hook::PreRouting => 1 << 0,
            Hook::LocalIn => 1 << 1,
            Hook::Forward => 1 << 2,
            Hook::LocalOut => 1 << 3,
            Hook::PostRouting => 1 << 4,
        }
    }
}

impl Default for HookSet {
    fn default() -> Self {
        Self::ALL
    }
}

impl fmt::Display for HookSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut separator = "";
        for hook in Hook::ALL {
            if self.contains(hook) {
                f.write_str(separator)?;
                f.write_str(hook.rule_name())?;
                separator = ",";
            }
        }
        Ok(())
    }
}
