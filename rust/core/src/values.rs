// SPDX-License-Identifier: GPL-2.0

//! The values of a match word, as they are kept.

use core::fmt;

use crate::addr::AddrRange;
use crate::cgroup::CgroupMatch;
use crate::icmp::IcmpType;
use crate::iface::IfPattern;
use crate::lexer::Words;
use crate::mark::MarkMatch;
use crate::matcher::Key;
use crate::memory::{List, NoMemory, Span};
use crate::netns::NetnsMatch;
use crate::packed::{Packed, Reader, LIST};
use crate::port::PortRange;
use crate::proto::Protocol;
use crate::value::{list, Value};

/// The values that are listed behind a word.
#[derive(Clone, Copy)]
pub(crate) struct Values<'a> {
    key: Key,
    /// What they are if there is one; else [`LIST`], and each has its form before it.
    form: u8,
    bytes: Reader<'a>,
}

impl<'a> Values<'a> {
    /// Takes the values of a word of this form, which is not that of a set.
    pub(crate) fn take(key: Key, form: u8, from: &mut Reader<'a>) -> Option<Self> {
        if form == LIST {
            let len = from.u16()?;
            let bytes = Reader::new(from.slice(len.into())?);
            return Some(Self { key, form, bytes });
        }
        let bytes = *from;
        skip(key, form, from)?;
        Some(Self { key, form, bytes })
    }

    /// They themselves, of the type that goes with their word.
    pub(crate) fn iter<T: Packed<'a>>(self) -> impl Iterator<Item = T> + use<'a, T> {
        let Self {
            form, mut bytes, ..
        } = self;
        let mut one = Some(form).filter(|form| *form != LIST);
        let listed = one.is_none();
        core::iter::from_fn(move || {
            let form = match one.take() {
                Some(form) => form,
                None if listed => bytes.u8()?,
                None => return None,
            };
            T::unpack(form, &mut bytes)
        })
    }

    /// How many there are.
    pub(crate) fn count(self) -> usize {
        if self.form != LIST {
            return 1;
        }
        let mut bytes = self.bytes;
        let next = || skip(self.key, bytes.u8()?, &mut bytes);
        core::iter::from_fn(next).count()
    }
}

/// Leaves out a value.
fn skip(key: Key, form: u8, from: &mut Reader<'_>) -> Option<()> {
    match key {
        Key::From | Key::To | Key::OrigDst => AddrRange::skip(form, from),
        Key::Proto => Protocol::skip(form, from),
        Key::IcmpType => IcmpType::skip(form, from),
        Key::Sport | Key::Dport | Key::OrigDport => PortRange::skip(form, from),
        Key::In | Key::Out | Key::PortIn | Key::PortOut => IfPattern::skip(form, from),
        Key::Mark => MarkMatch::skip(form, from),
        Key::Cgroup => CgroupMatch::skip(form, from),
        Key::Netns => NetnsMatch::skip(form, from),
    }
}

/// Prints as a rule has them.
impl fmt::Display for Values<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.key {
            Key::From | Key::To | Key::OrigDst => list(f, self.iter::<AddrRange>()),
            Key::Proto => list(f, self.iter::<Protocol>()),
            Key::IcmpType => list(f, self.iter::<IcmpType>()),
            Key::Sport | Key::Dport | Key::OrigDport => list(f, self.iter::<PortRange>()),
            Key::In | Key::Out | Key::PortIn | Key::PortOut => list(f, self.iter::<IfPattern>()),
            Key::Mark => list(f, self.iter::<MarkMatch>()),
            Key::Cgroup => list(f, self.iter::<CgroupMatch<'_>>().map(|cgroup| cgroup.path)),
            Key::Netns => list(f, self.iter::<NetnsMatch>()),
        }
    }
}

/// Adds the values that `words` list behind `key`; their form, and how many they are. `unknown` gets the
/// places of those of which something is to be found out later. Process context.
pub(crate) fn pack(
    to: &mut impl List<u8>,
    unknown: &mut impl List<u32>,
    key: Key,
    words: Words<'_>,
) -> Result<(u8, usize), NoMemory> {
    match key {
        Key::From | Key::To | Key::OrigDst => pack_all(to, parsed::<AddrRange>(words)),
        Key::Proto => pack_all(to, parsed::<Protocol>(words)),
        Key::IcmpType => pack_all(to, parsed::<IcmpType>(words)),
        Key::Sport | Key::Dport | Key::OrigDport => pack_all(to, parsed::<PortRange>(words)),
        Key::In | Key::Out | Key::PortIn | Key::PortOut => pack_all(to, parsed::<IfPattern>(words)),
        Key::Mark => pack_all(to, parsed::<MarkMatch>(words)),
        Key::Netns => pack_all(to, parsed::<NetnsMatch>(words)),
        Key::Cgroup => {
            let start = to.len();
            let paths = words.values();
            let (form, count) =
                pack_all(to, paths.filter_map(|word| CgroupMatch::parse(word.text)))?;
            let added = to.get(start..).unwrap_or(&[]);
            let mut bytes = Reader::new(added);
            if form == LIST {
                bytes.u16();
            }
            let mut place = || {
                if form == LIST {
                    bytes.u8()?;
                }
                let at = start.saturating_add(added.len().saturating_sub(bytes.len()));
                CgroupMatch::unpack(0, &mut bytes)?;
                u32::try_from(at).ok()
            };
            while let Some(at) = place() {
                unknown.push(at)?;
            }
            Ok((form, count))
        }
    }
}

/// What `words` say, which were parsed before, so that none is left out.
fn parsed<'a, T: Value + 'a>(words: Words<'a>) -> impl Iterator<Item = T> + 'a {
    words.values().filter_map(|word| T::parse(word.text))
}

fn pack_all<'a, T: Packed<'a>>(
    to: &mut impl List<u8>,
    mut values: impl Iterator<Item = T>,
) -> Result<(u8, usize), NoMemory> {
    let (first, second) = (values.next(), values.next());
    if let (Some(only), None) = (&first, &second) {
        return Ok((only.pack(to)?, 1));
    }
    let len = to.len();
    to.push_all(&[0; 2])?;
    let start = to.len();
    let mut count = 0usize;
    for value in first.into_iter().chain(second).chain(values) {
        let at = to.len();
        to.push(0)?;
        let form = value.pack(to)?;
        if let Some(byte) = to.get_mut(at) {
            *byte = form;
        }
        count = count.saturating_add(1);
    }
    let bytes = u16::try_from(to.len().saturating_sub(start)).map_err(|_| NoMemory)?;
    let place = to.get_mut(len..).and_then(|rest| rest.first_chunk_mut());
    *place.ok_or(NoMemory)? = bytes.to_le_bytes();
    Ok((LIST, count))
}

/// Adds what `words` say, which were parsed before.
pub(crate) fn push_values<T: Value>(
    to: &mut impl List<T>,
    words: Words<'_>,
) -> Result<Span, NoMemory> {
    let start = to.len();
    to.extend(parsed(words))?;
    Span::since(to, start)
}
