// SPDX-License-Identifier: GPL-2.0

//! Network namespaces, and what a rule says of them.

use core::fmt;

use crate::memory::{List, NoMemory};
use crate::packed::{Packed, Reader};
use crate::value::{decimal, Value};
use crate::writer::Writer;

/// A network namespace as packets show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetnsId {
    /// Its inode number, as `stat -L /proc/PID/ns/net` prints it.
    pub inode: u32,
    /// Whether it is the initial one.
    pub host: bool,
}

impl NetnsId {
    /// Prints it for traces and logs.
    pub(crate) fn write(&self, to: &mut impl Writer) -> fmt::Result {
        to.number(self.inode.into())?;
        if self.host {
            to.write_str("(host)")?;
        }
        Ok(())
    }
}

impl fmt::Display for NetnsId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
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

/// Most numbers that a [`NetnsScope`] tells apart.
const MAX_INODES: usize = 8;

/// Some namespaces: those that any of several rules may speak of, or a few more.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NetnsScope {
    host: bool,
    containers: bool,
    inodes: [u32; MAX_INODES],
    len: u8,
}

impl NetnsScope {
    /// Adds the namespaces of a rule. Of very many numbers it is not remembered which.
    pub fn add(&mut self, netns: NetnsMatch) {
        match netns {
            NetnsMatch::Any => (self.host, self.containers) = (true, true),
            NetnsMatch::Host => self.host = true,
            NetnsMatch::Container => self.containers = true,
            NetnsMatch::Inode(inode) => {
                if self
                    .inodes
                    .iter()
                    .take(self.len.into())
                    .any(|known| *known == inode)
                {
                    return;
                }
                if usize::from(self.len) == MAX_INODES {
                    return self.add(NetnsMatch::Any);
                }
                self.len = self.len.saturating_add(1);
                // In order, so that the same namespaces make the same scope.
                let mut carried = inode;
                for (place, slot) in self.inodes.iter_mut().take(self.len.into()).enumerate() {
                    if carried < *slot || place.saturating_add(1) == self.len.into() {
                        core::mem::swap(&mut carried, slot);
                    }
                }
            }
        }
    }

    /// Adds the namespaces of another scope.
    pub(crate) fn join(&mut self, other: &Self) {
        for (whether, side) in [
            (other.host, NetnsMatch::Host),
            (other.containers, NetnsMatch::Container),
        ] {
            if whether {
                self.add(side);
            }
        }
        for inode in other.inodes.iter().take(other.len.into()) {
            self.add(NetnsMatch::Inode(*inode));
        }
    }

    /// Whether the initial one may be one of them, and whether any other.
    pub(crate) fn sides(&self) -> [bool; 2] {
        let numbered = self.len != 0;
        [self.host || numbered, self.containers || numbered]
    }

    /// Whether `netns` is one of them.
    #[inline]
    pub fn contains(&self, netns: NetnsId) -> bool {
        let side = if netns.host {
            self.host
        } else {
            self.containers
        };
        let mut inodes = self.inodes.iter().take(self.len.into());
        side || inodes.any(|inode| *inode == netns.inode)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
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

impl Packed<'_> for NetnsMatch {
    type Field = NetnsId;

    fn pack(&self, to: &mut impl List<u8>) -> Result<u8, NoMemory> {
        Ok(match self {
            Self::Any => 0,
            Self::Host => 1,
            Self::Container => 2,
            Self::Inode(inode) => {
                to.push_all(&inode.to_le_bytes())?;
                3
            }
        })
    }

    fn unpack(form: u8, from: &mut Reader<'_>) -> Option<Self> {
        Some(match form {
            0 => Self::Any,
            1 => Self::Host,
            2 => Self::Container,
            3 => Self::Inode(from.u32()?),
            _ => return None,
        })
    }

    fn fits(form: u8, from: &mut Reader<'_>, netns: &NetnsId) -> Option<bool> {
        Some(Self::unpack(form, from)?.matches(*netns))
    }
}
