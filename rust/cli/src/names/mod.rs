// SPDX-License-Identifier: GPL-2.0

//! Names that stand for what container engines know: `container:web`, `network:backend`,
//! `label:com.example.tier=front`.

pub(crate) mod expansion;
pub(crate) mod lookup;
pub(crate) mod reading;
pub(crate) mod set;

use std::fmt;

/// What a name is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    /// A container, by its name
    Container,
    /// A network, by its name
    Network,
    /// All containers with a label: its key, or its key and value with `=` between them
    Label,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Container, Self::Network, Self::Label];

    /// What it is called.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Container => "container",
            Self::Network => "network",
            Self::Label => "label",
        }
    }
}

/// A name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Name {
    /// What it is of
    pub(crate) kind: Kind,
    /// What stands behind the colon
    pub(crate) value: String,
}

impl Name {
    /// What is expected where a name stands that is none.
    pub(crate) const EXPECTED: &'static str =
        "container:NAME, network:NAME, label:KEY or label:KEY=VALUE";

    /// Parses a name; [`None`] if it does not begin as one, an error if it does not go on as one.
    pub(crate) fn parse(text: &[u8]) -> Option<Result<Self, ()>> {
        Kind::ALL.into_iter().find_map(|kind| {
            let rest = text.strip_prefix(kind.word().as_bytes())?;
            let value = rest.strip_prefix(b":")?;
            Some(Self::with(kind, value).ok_or(()))
        })
    }

    fn with(kind: Kind, value: &[u8]) -> Option<Self> {
        let value = std::str::from_utf8(value).ok()?;
        let key = match kind {
            Kind::Label => value.split('=').next()?,
            _ => value,
        };
        // Docker's own names are of these; what else is in a label's value is the label's affair.
        let legal = |byte: &u8| byte.is_ascii_graphic() && !b"\"'/=".contains(byte);
        let legal_in_key = |byte: &u8| legal(byte) || *byte == b'/';
        let fits = match kind {
            Kind::Label => key.as_bytes().iter().all(legal_in_key),
            _ => key.as_bytes().iter().all(legal),
        };
        let told = !key.is_empty() && fits && !value.contains(char::is_control);
        told.then(|| Self {
            kind,
            value: value.to_owned(),
        })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.kind.word(), self.value)
    }
}
