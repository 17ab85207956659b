// SPDX-License-Identifier: GPL-2.0

//! Interface names, and patterns over them.

use core::fmt;

use crate::memory::{List, NoMemory};
use crate::packed::{Packed, Reader};
use crate::value::Value;
use crate::writer::Writer;

/// `IFNAMSIZ`: the size in bytes of the kernel's field for an interface name, the final NUL
/// included.
pub const IFNAMSIZ: usize = 16;

/// The name of an interface, padded with NUL bytes; all NUL where there is no interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IfName([u8; IFNAMSIZ]);

impl IfName {
    /// The kernel's field: what follows the first NUL is dropped.
    #[inline]
    pub fn from_field(field: [u8; IFNAMSIZ]) -> Self {
        let name = u128::from_le_bytes(field);
        // The highest bit of each byte that is NUL; above the first such byte also of others.
        let ones = u128::MAX / 0xff;
        let nul = name.wrapping_sub(ones) & !name & (ones << 7);
        // What is below the first.
        let kept = match nul {
            0 => u128::MAX,
            _ => (nul & nul.wrapping_neg()).wrapping_sub(1) >> 7,
        };
        Self((name & kept).to_le_bytes())
    }

    /// The field as two words.
    #[inline]
    pub fn words(self) -> [u64; 2] {
        let bits = u128::from_le_bytes(self.0);
        [bits as u64, (bits >> 64) as u64]
    }

    /// The name that has these words.
    #[inline]
    pub fn from_words([low, high]: [u64; 2]) -> Self {
        let bits = (u128::from(high) << 64) | u128::from(low);
        Self::from_field(bits.to_le_bytes())
    }

    /// Whether there is no interface.
    #[inline]
    pub(crate) fn is_none(&self) -> bool {
        self.0.first() == Some(&0)
    }

    /// Its bytes, without the padding; empty where there is no interface.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or(&[])
    }
}

impl IfName {
    /// Prints the name so that nothing in it can be taken for something else: a container chooses the
    /// names of its interfaces, and they may hold control characters.
    pub(crate) fn write(&self, to: &mut impl Writer) -> fmt::Result {
        match self.as_bytes() {
            [] => to.write_str("-"),
            // A real name of one dash must not look like "no interface".
            b"-" => to.write_str("\\x2d"),
            name => {
                let plain = |byte: &u8| byte.is_ascii_graphic() && *byte != b'\\';
                if name.iter().all(plain) {
                    return to.ascii(&self.0, name.len());
                }
                for byte in name {
                    if plain(byte) {
                        to.write_char((*byte).into())?;
                    } else {
                        write!(to, "\\x{byte:02x}")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// What a rule says of an interface: its name, or the beginning of its name and a `*`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IfPattern {
    name: IfName,
    prefix: bool,
}

impl IfPattern {
    /// Whether `name` fits; never so where there is no interface.
    pub fn matches(&self, name: &IfName) -> bool {
        if self.prefix {
            let name = name.as_bytes();
            !name.is_empty() && name.starts_with(self.name.as_bytes())
        } else {
            self.name == *name
        }
    }
}

/// An interface name with an optional trailing `*`; `*` alone means any interface, but there must be
/// one.
impl Value for IfPattern {
    const EXPECTED: &'static str =
        "an interface name of at most 15 characters, the beginning of one \
         and *, or @SET";

    fn parse(text: &[u8]) -> Option<Self> {
        let (text, prefix) = match text.split_last() {
            Some((b'*', front)) => (front, true),
            _ => (text, false),
        };
        let legal = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'*');
        // The kernel's own rules: room for the final NUL, no empty name, no `.` or `..`.
        if !text.iter().all(legal) || text.len() >= IFNAMSIZ {
            return None;
        }
        if !prefix && matches!(text, b"" | b"." | b"..") {
            return None;
        }
        let mut field = [0; IFNAMSIZ];
        for (to, from) in field.iter_mut().zip(text) {
            *to = *from;
        }
        Some(Self {
            name: IfName(field),
            prefix,
        })
    }

    fn may_become(text: &[u8]) -> bool {
        let legal = |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'/' | b':' | b'*');
        text.iter().all(legal) && text.len() < IFNAMSIZ
    }
}

impl IfPattern {
    /// The whole name, if it must be this very one.
    pub fn exact(&self) -> Option<&[u8]> {
        (!self.prefix).then(|| self.name.as_bytes())
    }

    /// Prints it between quotes if `quoted` says so, or if it would otherwise be no word.
    pub fn fmt_quoted(&self, f: &mut fmt::Formatter<'_>, quoted: bool) -> fmt::Result {
        let name = self.name.as_bytes();
        let special = matches!(name.first(), Some(b'"' | b'!' | b'@' | b'#'))
            || name.iter().any(|byte| matches!(byte, b'{' | b'}' | b','));
        let quote = if special || quoted { "\"" } else { "" };
        f.write_str(quote)?;
        for byte in name {
            write!(f, "{}", char::from(*byte))?;
        }
        if self.prefix {
            f.write_str("*")?;
        }
        f.write_str(quote)
    }
}

impl fmt::Display for IfPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.fmt_quoted(f, false)
    }
}

impl Packed<'_> for IfPattern {
    type Field = IfName;

    fn pack(&self, to: &mut impl List<u8>) -> Result<u8, NoMemory> {
        let name = self.name.as_bytes();
        to.push(name.len().try_into().map_err(|_| NoMemory)?)?;
        to.push_all(name)?;
        Ok(self.prefix.into())
    }

    fn unpack(form: u8, from: &mut Reader<'_>) -> Option<Self> {
        let len = from.u8()?;
        let text = from.slice(len.into())?;
        let mut field = [0; IFNAMSIZ];
        field.get_mut(..text.len())?.copy_from_slice(text);
        Some(Self {
            name: IfName(field),
            prefix: form != 0,
        })
    }

    fn fits(form: u8, from: &mut Reader<'_>, name: &IfName) -> Option<bool> {
        Some(Self::unpack(form, from)?.matches(name))
    }
}
