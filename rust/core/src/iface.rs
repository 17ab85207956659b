// SPDX-License-Identifier: GPL-2.0

//! Interface names, and patterns over them.

use core::fmt;

use crate::value::Value;

/// `IFNAMSIZ`: the size in bytes of the kernel's field for an interface name, the final NUL
/// included.
pub const IFNAMSIZ: usize = 16;

/// The name of an interface, padded with NUL bytes; all NUL where there is no interface.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IfName([u8; IFNAMSIZ]);

impl IfName {
    /// The kernel's field: what follows the first NUL is dropped.
    pub fn from_field(field: [u8; IFNAMSIZ]) -> Self {
        let mut name = Self::default();
        for (to, from) in name.0.iter_mut().zip(field) {
            if from == 0 {
                break;
            }
            *to = from;
        }
        name
    }

    /// Its bytes, without the padding; empty where there is no interface.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.split(|byte| *byte == 0).next().unwrap_or(&[])
    }
}

/// Prints the name so that nothing in it can be taken for something else: a container chooses the
/// names of its interfaces, and they may hold control characters.
impl fmt::Display for IfName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.as_bytes() {
            [] => f.write_str("-"),
            // A real name of one dash must not look like "no interface".
            b"-" => f.write_str("\\x2d"),
            name => {
                for byte in name {
                    if byte.is_ascii_graphic() && *byte != b'\\' {
                        write!(f, "{}", char::from(*byte))?;
                    } else {
                        write!(f, "\\x{byte:02x}")?;
                    }
                }
                Ok(())
            }
        }
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
