// SPDX-License-Identifier: GPL-2.0

//! What a classifier knows of a rule.

use super::key::{Class, Extra, Key};
use super::spans::{Spans, ALL_PORTS};
use super::word::Word;
use super::Group;

/// The packets that a rule, or one of the values listed in it, may be for: no packet that it is for is
/// not such a one.
#[derive(Clone, Copy)]
pub(super) struct Record<A: Word> {
    pub(super) addrs: A::Pair,
    pub(super) ports: Spans,
    /// How many bits of the addresses count
    pub(super) source_len: u8,
    pub(super) dest_len: u8,
    pub(super) proto: u8,
    /// Which bits of the protocol count: all or none
    pub(super) proto_mask: u8,
    rule: Found,
}

/// A rule that was found: its number, what it does, and [`INEXACT`].
#[derive(Clone, Copy)]
pub(crate) struct Found(u32);

/// A rule may be for such packets only: it must be asked itself.
const INEXACT: u32 = 1 << 31;
/// What most rules do; others must be looked up.
const ALLOW: u32 = 1 << 29;
const DENY: u32 = 2 << 29;
const VERBS: u32 = ALLOW | DENY;

/// More than the highest number of a rule.
pub(super) const RULES: u32 = 1 << 29;

impl<A: Word> Record<A> {
    /// For all packets. The rule's number is less than [`RULES`]; if it does no more than allow or deny,
    /// `allows` tells which.
    pub(super) fn any(rule: u32, allows: Option<bool>) -> Self {
        let verb = match allows {
            Some(true) => ALLOW,
            Some(false) => DENY,
            None => 0,
        };
        Self {
            addrs: A::pair(A::ZERO, A::ZERO),
            ports: Spans::new(ALL_PORTS, ALL_PORTS),
            source_len: 0,
            dest_len: 0,
            proto: 0,
            proto_mask: 0,
            rule: Found(rule | verb),
        }
    }

    /// The same of a rule that asks for more than this, perhaps.
    pub(super) fn inexact(mut self, whether: bool) -> Self {
        self.rule.0 &= !INEXACT;
        self.rule.0 |= if whether { INEXACT } else { 0 };
        self
    }

    /// The rule's number.
    #[inline]
    pub(super) fn rule(&self) -> u32 {
        self.rule.number()
    }

    /// The rule, as one that was found.
    #[inline]
    pub(super) fn found(&self) -> Found {
        self.rule
    }

    /// Whether the rule is for a packet of these classes that it [fits](Self::fits), if it is plain.
    #[inline]
    pub(super) fn is_exact(&self) -> bool {
        self.rule.0 & INEXACT == 0
    }

    /// Whether the rule may be for such a packet.
    #[inline(always)]
    pub(super) fn fits(&self, key: &Key<'_, A>) -> bool {
        // Bits, not conditions: there is one branch, at the end, and processors guess well what it does.
        let proto = (self.proto ^ key.rest as u8) & self.proto_mask;
        let ports = self.ports.misses(key.ports);
        let addrs = A::difference(self.addrs, key.addrs, self.source_len, self.dest_len);
        addrs | ((ports | u64::from(proto)) & key.told) == 0
    }
}

impl Found {
    /// Its number.
    #[inline]
    pub(crate) fn number(self) -> u32 {
        self.0 & RULES.wrapping_sub(1)
    }

    /// Whether it allows; [`None`] if it does more than to allow or to deny, or something else, and must be
    /// asked itself.
    #[inline]
    pub(crate) fn allows(self) -> Option<bool> {
        (self.0 & VERBS != 0).then_some(self.0 & ALLOW != 0)
    }
}

/// What a record is needed for while a classifier is built.
#[derive(Clone, Copy)]
pub(super) struct Role {
    /// Rules of other groups are looked for apart.
    pub(super) group: Group,
    /// A bit for each class of packets that the rule may be for
    pub(super) classes: u8,
    /// A field that must have the value
    pub(super) extra: Extra,
    pub(super) value: u32,
}

impl Role {
    /// Whether the rule may be for packets of this class.
    pub(super) fn is_for(&self, class: Class) -> bool {
        self.classes & 1u8.wrapping_shl(class as u32) != 0
    }
}
