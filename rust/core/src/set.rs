// SPDX-License-Identifier: GPL-2.0

//! A named set of addresses, ports or interfaces.

use core::fmt;

use crate::addr::AddrRange;
use crate::iface::IfPattern;
use crate::lexer::{Form, Word, Words};
use crate::memory::{Duplicate, List, Memory, NoMemory};
use crate::port::PortRange;
use crate::value::Value;
use crate::values::push_values;

/// The longest name of a set, in bytes.
pub const MAX_NAME: usize = 31;

/// The name of a set: letters, digits, `_`, `-` and `.`, a letter or `_` first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SetName {
    bytes: [u8; MAX_NAME],
    len: u8,
}

impl SetName {
    /// What is expected where the name of a set stands.
    pub const EXPECTED: &'static str =
        "the name of a set: at most 31 letters, digits, _, - and ., a letter or _ first";

    /// Parses a name.
    pub fn parse(text: &[u8]) -> Option<Self> {
        let first = text.first()?;
        if !(first.is_ascii_alphabetic() || *first == b'_') || !Self::may_become(text) {
            return None;
        }
        let mut bytes = [0; MAX_NAME];
        bytes.get_mut(..text.len())?.copy_from_slice(text);
        let len = text.len().try_into().ok()?;
        Some(Self { bytes, len })
    }

    /// Whether more bytes behind `text` could make it parse.
    pub fn may_become(text: &[u8]) -> bool {
        let legal = |byte: &u8| byte.is_ascii_alphanumeric() || b"_-.".contains(byte);
        text.first()
            .is_none_or(|first| first.is_ascii_alphabetic() || *first == b'_')
            && text.len() <= MAX_NAME
            && text.iter().all(legal)
    }
}

impl fmt::Display for SetName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.bytes.get(..self.len.into()).unwrap_or(&[]);
        f.write_str(core::str::from_utf8(name).unwrap_or(""))
    }
}

/// What a set holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SetKind {
    /// Addresses
    Addrs,
    /// Ports
    Ports,
    /// Interfaces
    Interfaces,
}

impl SetKind {
    /// The kind of the set whose first member is `word`: an interface only if nothing else.
    pub fn of_member(word: Word<'_>) -> Option<Self> {
        if word.form == Form::Plain {
            if AddrRange::parse(word.text).is_some() {
                return Some(Self::Addrs);
            }
            if PortRange::parse(word.text).is_some() {
                return Some(Self::Ports);
            }
        }
        IfPattern::parse(word.text).map(|_| Self::Interfaces)
    }

    /// Whether `word` may be in such a set.
    pub fn takes(self, word: Word<'_>) -> bool {
        match self {
            Self::Addrs => word.form == Form::Plain && AddrRange::parse(word.text).is_some(),
            Self::Ports => word.form == Form::Plain && PortRange::parse(word.text).is_some(),
            // What looks like something else wants quotes.
            Self::Interfaces => Self::of_member(word) == Some(self),
        }
    }

    /// Whether more bytes behind `text` could make it a member.
    pub fn may_become(self, text: &[u8]) -> bool {
        match self {
            Self::Addrs => AddrRange::may_become(text),
            Self::Ports => PortRange::may_become(text),
            Self::Interfaces => IfPattern::may_become(text),
        }
    }

    /// What is expected of the first member of a set that a rule names where such a set must stand.
    pub fn expected_by_rules(self) -> &'static str {
        match self {
            Self::Addrs => {
                "an address, ADDRESS/LENGTH or FIRST-LAST, as a rule uses the set for addresses"
            }
            Self::Ports => "a port or a range of ports, as a rule uses the set for ports",
            Self::Interfaces => {
                "an interface name, perhaps with a *, as a rule uses the set for interfaces"
            }
        }
    }

    /// What is expected where another member of such a set stands.
    pub fn expected(self) -> &'static str {
        match self {
            Self::Addrs => {
                "an address, ADDRESS/LENGTH or FIRST-LAST, as the set's first member is one"
            }
            Self::Ports => "a port or a range of ports, as the set's first member is one",
            Self::Interfaces => {
                "an interface name, perhaps with a *, as the set's first member is one"
            }
        }
    }
}

/// An interface as a member of a set, where it must not be taken for an address or a port.
pub(crate) struct InterfaceMember(pub(crate) IfPattern);

impl fmt::Display for InterfaceMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let other = |name| AddrRange::parse(name).is_some() || PortRange::parse(name).is_some();
        self.0.fmt_quoted(f, self.0.exact().is_some_and(other))
    }
}

/// The members of a set.
pub(crate) enum Members<M: Memory> {
    /// Nobody, and it is not known of which kind.
    Nobody,
    /// Addresses
    Addrs(M::List<AddrRange>),
    /// Ports
    Ports(M::List<PortRange>),
    /// Interfaces
    Interfaces(M::List<IfPattern>),
}

impl<M: Memory> Members<M> {
    /// What they are; [`None`] if there was none yet.
    pub(crate) fn kind(&self) -> Option<SetKind> {
        match self {
            Self::Nobody => None,
            Self::Addrs(_) => Some(SetKind::Addrs),
            Self::Ports(_) => Some(SetKind::Ports),
            Self::Interfaces(_) => Some(SetKind::Interfaces),
        }
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::Addrs(list) => list.len(),
            Self::Ports(list) => list.len(),
            Self::Interfaces(list) => list.len(),
        }
    }

    /// How many bytes of memory they take.
    pub(crate) fn memory(&self) -> usize {
        match self {
            Self::Nobody => 0,
            Self::Addrs(list) => list.memory(),
            Self::Ports(list) => list.memory(),
            Self::Interfaces(list) => list.memory(),
        }
    }

    /// Adds members that are of the kind of those that are there. Process context.
    pub(crate) fn add(&mut self, kind: SetKind, words: Words<'_>) -> Result<(), NoMemory> {
        if let Self::Nobody = self {
            *self = match kind {
                SetKind::Addrs => Self::Addrs(Default::default()),
                SetKind::Ports => Self::Ports(Default::default()),
                SetKind::Interfaces => Self::Interfaces(Default::default()),
            };
        }
        match self {
            Self::Nobody => {}
            Self::Addrs(list) => drop(push_values(list, words)?),
            Self::Ports(list) => drop(push_values(list, words)?),
            Self::Interfaces(list) => drop(push_values(list, words)?),
        }
        Ok(())
    }
}

impl<M: Memory> Duplicate for Members<M> {
    fn duplicate(&self) -> Result<Self, NoMemory> {
        Ok(match self {
            Self::Nobody => Self::Nobody,
            Self::Addrs(list) => Self::Addrs(list.duplicate()?),
            Self::Ports(list) => Self::Ports(list.duplicate()?),
            Self::Interfaces(list) => Self::Interfaces(list.duplicate()?),
        })
    }
}
