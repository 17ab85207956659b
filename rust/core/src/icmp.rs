// SPDX-License-Identifier: GPL-2.0

//! Types of ICMP and ICMPv6 messages, by nft's names.

use core::fmt;

use crate::family::Family;
use crate::memory::{List, NoMemory};
use crate::packed::{Packed, Reader};
use crate::value::{decimal, halves, Value};

/// Bits of the form: it has a name, it has a code.
const NAMED: u8 = 1 << 0;
const CODED: u8 = 1 << 1;

/// What one kind of message is called and which type it has, where a family has it.
struct Names {
    name: &'static str,
    v4: Option<u8>,
    v6: Option<u8>,
}

const fn both(name: &'static str, v4: u8, v6: u8) -> Names {
    Names {
        name,
        v4: Some(v4),
        v6: Some(v6),
    }
}

const fn only_v4(name: &'static str, number: u8) -> Names {
    Names {
        name,
        v4: Some(number),
        v6: None,
    }
}

const fn only_v6(name: &'static str, number: u8) -> Names {
    Names {
        name,
        v4: None,
        v6: Some(number),
    }
}

const NAMES: [Names; 23] = [
    both("echo-request", 8, 128),
    both("echo-reply", 0, 129),
    both("destination-unreachable", 3, 1),
    both("time-exceeded", 11, 3),
    both("parameter-problem", 12, 4),
    only_v6("packet-too-big", 2),
    only_v4("source-quench", 4),
    only_v4("redirect", 5),
    only_v4("router-advertisement", 9),
    only_v4("router-solicitation", 10),
    only_v4("timestamp-request", 13),
    only_v4("timestamp-reply", 14),
    only_v4("address-mask-request", 17),
    only_v4("address-mask-reply", 18),
    only_v6("mld-listener-query", 130),
    only_v6("mld-listener-report", 131),
    only_v6("mld-listener-done", 132),
    only_v6("nd-router-solicit", 133),
    only_v6("nd-router-advert", 134),
    only_v6("nd-neighbor-solicit", 135),
    only_v6("nd-neighbor-advert", 136),
    only_v6("nd-redirect", 137),
    only_v6("mld2-listener-report", 143),
];

/// A kind of message: of one name, whose number depends on the family, or of one number in both; and
/// perhaps of one code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpType {
    kind: Kind,
    code: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// An index into [`NAMES`]
    Named(u8),
    Number(u8),
}

impl IcmpType {
    /// Whether it is that of a message of type `number` and code `code` in `family`.
    #[inline]
    pub fn matches(self, family: Family, number: u8, code: u8) -> bool {
        let wanted = match (self.kind, family) {
            (Kind::Number(number), _) => Some(number),
            (Kind::Named(index), Family::Ipv4) => {
                NAMES.get(usize::from(index)).and_then(|names| names.v4)
            }
            (Kind::Named(index), Family::Ipv6) => {
                NAMES.get(usize::from(index)).and_then(|names| names.v6)
            }
        };
        wanted == Some(number) && self.code.is_none_or(|wanted| wanted == code)
    }
}

impl Value for IcmpType {
    const EXPECTED: &'static str =
        "an ICMP type: a name such as echo-request, or a number, perhaps with /CODE";

    fn parse(text: &[u8]) -> Option<Self> {
        let byte = |text: &[u8]| decimal(text, u8::MAX.into())?.try_into().ok();
        let (kind, code) = halves(text, b'/');
        let named = NAMES.iter().position(|names| names.name.as_bytes() == kind);
        Some(Self {
            kind: match named {
                Some(index) => Kind::Named(index.try_into().ok()?),
                None => Kind::Number(byte(kind)?),
            },
            code: match code {
                Some(code) => Some(byte(code)?),
                None => None,
            },
        })
    }

    fn may_become(text: &[u8]) -> bool {
        let (kind, code) = halves(text, b'/');
        match code {
            Some(code) => {
                Self::parse(kind).is_some()
                    && (code.is_empty() || decimal(code, u8::MAX.into()).is_some())
            }
            None => {
                decimal(kind, u8::MAX.into()).is_some()
                    || NAMES
                        .iter()
                        .any(|names| names.name.as_bytes().starts_with(kind))
            }
        }
    }
}

impl fmt::Display for IcmpType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.kind {
            Kind::Named(index) => {
                let names = NAMES.get(usize::from(index));
                f.write_str(names.map_or("", |names| names.name))?;
            }
            Kind::Number(number) => write!(f, "{number}")?,
        }
        match self.code {
            Some(code) => write!(f, "/{code}"),
            None => Ok(()),
        }
    }
}

impl Packed<'_> for IcmpType {
    /// Family, type and code
    type Field = (Family, u8, u8);

    fn pack(&self, to: &mut impl List<u8>) -> Result<u8, NoMemory> {
        let (number, mut form) = match self.kind {
            Kind::Number(number) => (number, 0),
            Kind::Named(index) => (index, NAMED),
        };
        to.push(number)?;
        if let Some(code) = self.code {
            to.push(code)?;
            form |= CODED;
        }
        Ok(form)
    }

    fn unpack(form: u8, from: &mut Reader<'_>) -> Option<Self> {
        let number = from.u8()?;
        Some(Self {
            kind: if form & NAMED == 0 {
                Kind::Number(number)
            } else {
                Kind::Named(number)
            },
            code: if form & CODED == 0 {
                None
            } else {
                Some(from.u8()?)
            },
        })
    }

    fn fits(form: u8, from: &mut Reader<'_>, field: &Self::Field) -> Option<bool> {
        let (family, number, code) = *field;
        Some(Self::unpack(form, from)?.matches(family, number, code))
    }
}
