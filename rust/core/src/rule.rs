// SPDX-License-Identifier: GPL-2.0

//! Rules, defaults, and which of them decides about a packet.

use core::fmt;

use crate::hook::HookSet;
use crate::matcher::{Doubt, Match};
use crate::netns::NetnsMatch;
use crate::packet::Packet;
use crate::reject::Answer;

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
}

impl Verb {
    fn doubt(self) -> Doubt {
        match self {
            Self::Allow => Doubt::ALLOW,
            Self::Deny | Self::Reject(_) | Self::Audit => Doubt::DENY,
        }
    }

    /// Whether the packet is dropped, where that is carried out.
    #[inline]
    pub fn refuses(self) -> bool {
        match self {
            Self::Deny | Self::Reject(_) => true,
            Self::Allow | Self::Audit => false,
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Allow => "allow",
            Self::Deny => "deny",
            Self::Reject(_) => "reject",
            Self::Audit => "audit",
        }
    }

    /// The name in trace lines, one word, in a table of that mode.
    pub fn trace_name(self, mode: Mode) -> &'static str {
        match (mode, self) {
            (Mode::Audit, Self::Deny) => "would-deny",
            (Mode::Audit, Self::Reject(_)) => "would-reject",
            _ => self.word(),
        }
    }
}

impl fmt::Display for Verb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Reject(answer) => answer.fmt(f),
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

    /// Parses the word behind `mode`.
    pub fn parse(text: &[u8]) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|mode| mode.word().as_bytes() == text)
    }

    /// Whether more bytes behind `text` could make it parse.
    pub fn may_become(text: &[u8]) -> bool {
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
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What becomes of the packets that it matches.
    pub verb: Verb,
    /// Which those are.
    pub matches: Match,
}

impl Rule {
    /// Whether the rule speaks of `packet`: it decides, unless it only audits.
    #[inline]
    pub fn decides(&self, packet: &Packet) -> bool {
        self.matches.matches(packet, self.verb.doubt())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.verb, self.matches)
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
    fn narrowness(self) -> u8 {
        let netns = match self.netns {
            NetnsMatch::Any => 0,
            NetnsMatch::Host | NetnsMatch::Container => 2,
            NetnsMatch::Inode(_) => 4,
        };
        netns | u8::from(self.hooks != HookSet::ALL)
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
    fn holds_for(&self, packet: &Packet) -> bool {
        self.scope.hooks.contains(packet.hook) && self.scope.netns.matches(packet.netns)
    }
}

impl fmt::Display for DefaultVerb {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "default {}", self.verb)?;
        if self.scope.hooks != HookSet::ALL {
            write!(f, " hook {}", self.scope.hooks)?;
        }
        if self.scope.netns != NetnsMatch::Any {
            write!(f, " netns {}", self.scope.netns)?;
        }
        Ok(())
    }
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
}

impl fmt::Display for Decider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rule(index) => write!(f, "{}", index.saturating_add(1)),
            Self::Default(_) | Self::Nobody => f.write_str("default"),
        }
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

/// Decides about `packet`: the first rule that matches, else the narrowest default, else allow.
///
/// Rules that audit decide nothing; `audited` is called with the index of each that matches before a
/// decision is found.
#[inline]
pub fn decide(
    rules: &[Rule],
    defaults: &[DefaultVerb],
    packet: &Packet,
    mut audited: impl FnMut(usize),
) -> Decision {
    for (index, rule) in rules.iter().enumerate() {
        if rule.decides(packet) {
            if rule.verb == Verb::Audit {
                audited(index);
                continue;
            }
            return Decision {
                verb: rule.verb,
                decider: Decider::Rule(index),
            };
        }
    }
    let mut best: Option<(usize, &DefaultVerb)> = None;
    for (index, default) in defaults.iter().enumerate() {
        let narrower =
            |(_, best): (usize, &DefaultVerb)| default.scope.narrowness() > best.scope.narrowness();
        if default.holds_for(packet) && best.is_none_or(narrower) {
            best = Some((index, default));
        }
    }
    match best {
        Some((index, default)) => Decision {
            verb: default.verb,
            decider: Decider::Default(index),
        },
        None => Decision {
            verb: Verb::Allow,
            decider: Decider::Nobody,
        },
    }
}
