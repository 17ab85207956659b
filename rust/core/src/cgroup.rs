// SPDX-License-Identifier: GPL-2.0

//! Control groups, of the hierarchy of version 2: their paths, and what is known of a packet's.
//!
//! A path is text; which cgroup it leads to only the kernel can tell. What a rule says is compared by
//! the numbers that it gives cgroups, which are not used again.

use core::fmt;

use crate::memory::{List, NoMemory};
use crate::packed::{Packed, Reader};

/// Most levels below the root that are told apart.
pub const MAX_LEVEL: usize = 16;

/// The path of a cgroup from the root: `/`, or names with a `/` before each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupPath<'a>(&'a str);

impl<'a> CgroupPath<'a> {
    /// What is expected where a path stands.
    pub const EXPECTED: &'static str =
        "a cgroup's path from the root, of at most 16 names, such as /system.slice/cron.service";

    /// Parses a path; a `/` at its end is left out.
    pub fn parse(text: &'a [u8]) -> Option<Self> {
        if text == b"/" {
            return Some(Self("/"));
        }
        let text = text.strip_suffix(b"/").unwrap_or(text);
        let path = core::str::from_utf8(text).ok()?;
        let names = || text.strip_prefix(b"/").map(names);
        let fits = names()?.count() <= MAX_LEVEL && names()?.all(is_name);
        (fits && path.chars().all(is_legal)).then_some(Self(path))
    }

    /// Whether more bytes behind `text` could make it parse; never wrongly no.
    pub fn may_become(text: &[u8]) -> bool {
        let valid = match core::str::from_utf8(text) {
            Ok(path) => path,
            // The last character may still be coming.
            Err(error) if error.error_len().is_none() => {
                let valid = text.get(..error.valid_up_to()).unwrap_or(&[]);
                core::str::from_utf8(valid).unwrap_or("")
            }
            Err(_) => return false,
        };
        let Some(text) = text.strip_prefix(b"/") else {
            return text.is_empty();
        };
        let whole = names(text).count().saturating_sub(1);
        valid.chars().all(is_legal) && names(text).take(whole).all(is_name)
    }

    /// The path itself.
    pub fn as_str(self) -> &'a str {
        self.0
    }

    /// The paths of the cgroups on the way there from the root, which is not among them; the last is
    /// this one.
    pub fn way(self) -> impl Iterator<Item = &'a str> {
        let path = self.0;
        let bytes = path.bytes().enumerate().skip(1);
        let ends = bytes.filter_map(|(at, byte)| (byte == b'/').then_some(at));
        let last = (path != "/").then_some(path);
        ends.filter_map(|end| path.get(..end)).chain(last)
    }

    /// Whether `other` is the same, or below it.
    pub fn encloses(self, other: CgroupPath<'_>) -> bool {
        self.0 == "/" || other.way().any(|path| path == self.0)
    }
}

/// The names in a path, whose first `/` is left out.
fn names(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    path.split(|byte| *byte == b'/')
}

/// Whether it can be the name of a cgroup, as far as dots and slashes go.
fn is_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..")
}

fn is_legal(c: char) -> bool {
    // There is no way to write a quote, and lines may also end at the last two.
    !c.is_control() && !matches!(c, '"' | '\u{2028}' | '\u{2029}')
}

/// Between quotes if it would otherwise be no word.
impl fmt::Display for CgroupPath<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let special = self.0.contains([' ', '{', '}', ',']);
        let quote = if special { "\"" } else { "" };
        write!(f, "{quote}{}{quote}", self.0)
    }
}

/// What the kernel knows a cgroup by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupId {
    /// How far below the root it is.
    level: usize,
    number: u64,
}

impl CgroupId {
    /// The cgroup with this number, so many levels below the root; [`None`] if it is too far below.
    pub fn new(level: usize, number: u64) -> Option<Self> {
        (level <= MAX_LEVEL).then_some(Self { level, number })
    }
}

/// A cgroup that a rule speaks of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CgroupMatch<'a> {
    /// Its path as it was written.
    pub(crate) path: CgroupPath<'a>,
    /// Which one that was when it was written; [`None`] while nobody has looked.
    id: Option<CgroupId>,
}

/// The level of one at which nobody has looked.
const UNKNOWN: u8 = u8::MAX;

impl<'a> CgroupMatch<'a> {
    /// Parses a path; which cgroup it leads to nobody knows yet.
    pub(crate) fn parse(text: &'a [u8]) -> Option<Self> {
        let path = CgroupPath::parse(text)?;
        Some(Self { path, id: None })
    }

    /// Notes in the bytes that begin with such a value which cgroup it is.
    pub(crate) fn note(bytes: &mut [u8], id: CgroupId) -> Option<()> {
        let (level, rest) = bytes.split_first_mut()?;
        *level = id.level.try_into().ok()?;
        *rest.first_chunk_mut()? = id.number.to_le_bytes();
        Some(())
    }
}

/// There is one form.
impl<'a> Packed<'a> for CgroupMatch<'a> {
    type Field = Lineage;

    fn pack(&self, to: &mut impl List<u8>) -> Result<u8, NoMemory> {
        let level = self.id.map(|id| u8::try_from(id.level)).transpose();
        let level = level.map_err(|_| NoMemory)?;
        let number = self.id.map_or(0, |id| id.number);
        let path = self.path.as_str().as_bytes();
        let len = u16::try_from(path.len()).map_err(|_| NoMemory)?;
        to.push(level.unwrap_or(UNKNOWN))?;
        to.push_all(&number.to_le_bytes())?;
        to.push_all(&len.to_le_bytes())?;
        to.push_all(path)?;
        Ok(0)
    }

    fn unpack(_form: u8, from: &mut Reader<'a>) -> Option<Self> {
        let (level, number, len) = (from.u8()?, from.u64()?, from.u16()?);
        let path = core::str::from_utf8(from.slice(len.into())?).ok()?;
        Some(Self {
            path: CgroupPath(path),
            id: CgroupId::new(level.into(), number),
        })
    }

    fn fits(_form: u8, from: &mut Reader<'a>, lineage: &Lineage) -> Option<bool> {
        let (level, number, len) = (from.u8()?, from.u64()?, from.u16()?);
        from.slice(len.into())?;
        let id = CgroupId::new(level.into(), number);
        Some(id.is_some_and(|id| lineage.has(id)))
    }
}

/// A cgroup and all that it is in, as numbers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// From the root, which is not among them, downwards; 0 where there is none.
    numbers: [u64; MAX_LEVEL],
}

impl Lineage {
    /// The cgroup with the last of these numbers that is not 0. Each is the number of one in that of the
    /// number before it, the first is in the root. What is further below is left out.
    pub fn new(numbers: [u64; MAX_LEVEL]) -> Self {
        Self { numbers }
    }

    /// Whether the cgroup with this number is it, or has it somewhere below.
    #[inline]
    fn has(&self, id: CgroupId) -> bool {
        match id.level.checked_sub(1) {
            Some(index) => self.numbers.get(index) == Some(&id.number),
            None => true,
        }
    }
}

/// What is known of the cgroup of the socket that a packet comes from or is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SocketCgroup {
    /// Nothing: nobody asked, or the packet cannot be parsed.
    #[default]
    Unknown,
    /// The packet is a later fragment, which does not show what socket it is for.
    Fragment,
    /// There is no such socket.
    NoSocket,
    /// The socket was made in this one.
    In(Lineage),
}
