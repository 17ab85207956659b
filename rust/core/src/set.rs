// SPDX-License-Identifier: GPL-2.0

//! Named sets of addresses, ports or interfaces.

use core::fmt;

use crate::addr::AddrRange;
use crate::iface::IfPattern;
use crate::lexer::{Form, Word};
use crate::memory::Span;
use crate::port::PortRange;
use crate::value::Value;

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

/// A named set; its members are values of a policy.
#[derive(Clone, Copy, Debug)]
pub struct Set {
    /// Its name
    pub name: SetName,
    /// What it holds; [`None`] while it holds nothing.
    pub kind: Option<SetKind>,
    /// Its members
    pub members: Span,
    /// It is another policy's, and its members will be known when this one is put behind that.
    pub foreign: bool,
}
