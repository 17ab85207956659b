// SPDX-License-Identifier: GPL-2.0

//! Network namespaces, and what a rule says of them.

use core::fmt;

use crate::value::{decimal, Value};

/// A network namespace as packets show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetnsId {
    /// Its inode number, as `stat -L /proc/PID/ns/net` prints it.
    pub inode: u32,
    /// Whether it is the initial one.
    pub host: bool,
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.inode)?;
        if self.host {
            f.write_str("(host)")?;
        }
        Ok(())
    }
}

/// The namespaces that a rule speaks of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum NetnsMatch {
    /// Every namespace.
    #[default]
    Any,
    /// The initial namespace.
    Host,
    /// Every namespace but the initial one.
    Container,
    /// The one with this inode number.
    Inode(u32),
}

impl NetnsMatch {
    /// Whether `netns` is one of them.
    #[inline]
    pub fn matches(self, netns: NetnsId) -> bool {
        match self {
            Self::Any => true,
            Self::Host => netns.host,
            Self::Container => !netns.host,
            Self::Inode(inode) => inode == netns.inode,
        }
    }
}

impl Value for NetnsMatch {
    const EXPECTED: &'static str = "host, container, or a network namespace's inode number";

    fn parse(text: &[u8]) -> Option<Self> {
        match text {
            b"host" => Some(Self::Host),
            b"container" => Some(Self::Container),
            number => decimal(number, u32::MAX).map(Self::Inode),
        }
    }

    fn may_become(text: &[u8]) -> bool {
        b"host".starts_with(text)
            || b"container".starts_with(text)
            || decimal(text, u32::MAX).is_some()
    }
}

impl fmt::Display for NetnsMatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any"),
            Self::Host => f.write_str("host"),
            Self::Container => f.write_str("container"),
            Self::Inode(inode) => write!(f, "{inode}"),
        }
    }
}
