// SPDX-License-Identifier: GPL-2.0

//! Rules, defaults, and which of them decides about a packet.

use core::fmt;

use crate::hook::{Hook, HookSet};
use crate::matcher::Match;
use crate::memory::Span;
use crate::netns::{NetnsId, NetnsMatch};
use crate::period::Period;
use crate::priority::Priority;
use crate::queue::Queue;
use crate::reject::Answer;
use crate::slot::Slot;
use crate::value::Value;
use crate::writer::Writer;

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verb {
    /// No objection: it goes on through everything else on the host.
    Allow,
    /// It is dropped.
    Deny,
    /// It is dropped, and its sender gets an answer.
    Reject(Answer),
    /// It would be dropped: that is counted, and the next rule is asked.
    Audit,
    /// A program decides about it.
    Queue(Queue),
}

impl Verb {
    /// That which allows, or denies.
    #[inline]
    pub(crate) fn plain(allows: bool) -> Self {
        if allows {
            Self::Allow
        } else {
            Self::Deny
        }
    }

    /// Whether the packet is dropped, where that is carried out. Of one that is queued nobody knows.
    #[inline]
    pub fn refuses(self) -> bool {
        match self {
            Self::Deny | Self::Reject(_) => true,
            Self::Allow | Self::Audit | Self::Queue(_) => false,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reject(_) => "reject",
            Self::Audit => "audit",
            Self::Queue(_) => "queue",
        }
    }

    /// The name in trace lines, one word, in a table of that mode.
    pub fn trace_name(self, mode: Mode) -> &'static str {
        match (mode, self) {
            (Mode::Audit, Self::Deny) => "would-deny",
            (Mode::Audit, Self::Reject(_)) => "would-reject",
            (Mode::Audit, Self::Queue(_)) => "would-queue",
            _ => self.word(),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Reject(answer) => answer.fmt(f),
            Self::Queue(queue) => write!(f, " {queue}"),
            Self::Allow | Self::Deny | Self::Audit => Ok(()),
        }
    }
}

/// Whether what a table refuses is refused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// It is.
    #[default]
    Enforce,
    /// It is only counted, and everything passes.
    Audit,
}

impl Mode {
    /// Both, in the order in which they are listed.
    const ALL: [Self; 2] = [Self::Enforce, Self::Audit];

    fn word(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Audit => "audit",
        }
    }
}

impl Value for Mode {
    const EXPECTED: &'static str = "enforce or audit";

    fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.word().as_bytes() == text)
    }

    fn may_become(text: &[u8]) -> bool {
        Self::ALL
            .into_iter()
            .any(|mode| mode.word().as_bytes().starts_with(text))
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())
    }
}

/// A rule of the table.
#[derive(Clone, Copy, Debug)]
pub struct Rule {
    /// What becomes of the packets that it matches.
    pub verb: Verb,
    /// Which those are.
    pub matches: Match,
    /// What else it says
    pub options: Options,
}

/// What a rule says beyond its match words; its texts are those of its block.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether it is judged before or behind others
    pub priority: Priority,
    /// Its comment; empty if it has none.
    pub(crate) comment: Span,
    /// Whether its packets are logged, and how
    pub(crate) log: Option<Log>,
}

/// How packets are logged; its text is with the statement's.
#[derive(Clone, Copy, Debug, Default)]
pub struct Log {
    /// What the lines begin with; empty if nothing was said.
    pub(crate) prefix: Span,
    /// In which time there may be a line for each source, destination and destination port
    pub every: Period,
}

impl Log {
    /// Prints it with its prefix as it stands in a statement, behind a blank.
    pub(crate) fn fmt(&self, f: &mut fmt::Formatter<'_>, prefix: &str) -> fmt::Result {
        f.write_str(" log")?;
        if !prefix.is_empty() {
            write!(f, " \"{prefix}\"")?;
        }
        if self.every != Period::DEFAULT {
            write!(f, " every {}", self.every)?;
        }
        Ok(())
    }
}

/// Where a default holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scope {
    /// At these hooks
    pub hooks: HookSet,
    /// In these namespaces
    pub netns: NetnsMatch,
}

impl Scope {
    /// How narrow the scope is: of two defaults that fit a packet the narrower one decides.
    pub(crate) fn narrowness(self) -> u8 {
        let netns = match self.netns {
            NetnsMatch::Any => 0,
            NetnsMatch::Host | NetnsMatch::Container => 2,
            NetnsMatch::Inode(_) => 4,
        };
        netns | u8::from(self.hooks != HookSet::all())
    }
}

/// What becomes of the packets that no rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DefaultVerb {
    /// What becomes of them
    pub verb: Verb,
    /// Where that holds
    pub scope: Scope,
}

impl DefaultVerb {
    pub(crate) fn holds_at(&self, hook: Hook, netns: NetnsId) -> bool {
        self.scope.hooks.contains(hook) && self.scope.netns.matches(netns)
    }
}

impl fmt::Display for DefaultVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "default {}", self.verb)?;
        if self.scope.hooks != HookSet::all() {
            write!(f, " hook {}", self.scope.hooks)?;
        }
        if self.scope.netns != NetnsMatch::Any {
            write!(f, " netns {}", self.scope.netns)?;
        }
        Ok(())
    }
}

/// A default statement.
#[derive(Clone, Copy, Debug)]
pub struct Fallback {
    /// What becomes of which packets
    pub default: DefaultVerb,
    /// Whether they are logged, and how
    pub log: Option<Log>,
    /// Where such packets are counted; nowhere yet if it is new.
    pub(crate) slot: Option<Slot>,
    /// Whether it was said in what is being written.
    pub(crate) said: bool,
}

/// Who decided about a packet; the numbers are indices from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Decider {
    /// A rule
    Rule(usize),
    /// A default statement
    Default(usize),
    /// Nobody: what no statement speaks of is allowed.
    Nobody,
    /// The `failsafe` statement, which comes before all rules
    Failsafe,
}

impl Decider {
    /// Prints it to anything; [`fmt::Display`] does the same.
    pub(crate) fn write(self, to: &mut impl Writer) -> fmt::Result {
        match self {
            Self::Rule(index) => to.number(index.saturating_add(1) as u64),
            Self::Default(_) | Self::Nobody => to.write_str("default"),
            Self::Failsafe => to.write_str("failsafe"),
        }
    }
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// A verdict and who gave it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Decision {
    /// What becomes of the packet
    pub verb: Verb,
    /// Who says so
    pub decider: Decider,
}
