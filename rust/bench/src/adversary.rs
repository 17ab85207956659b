// SPDX-License-Identifier: GPL-2.0

//! Rule sets that are hard on classifiers.

use rand::Rng as _;

use crate::generator::size_name;
use crate::tuple::{prefix, width, RuleSet, Tuple, ANY_PORT};
use crate::{pick, rng, Rng};

/// What is hard about a set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Adversary {
    /// Each rule asks for one or two short prefixes or wide ranges only, so that all overlap.
    Wildcards,
    /// Addresses and ports from an odd number to an even one: each is many prefixes.
    Ranges,
    /// One source, one destination, and a port for each rule.
    Ports,
    /// Prefixes within prefixes, of all lengths on both sides, around one address.
    Nested,
    /// Few values for each field, so that rules cover each other, and many headers fit many rules.
    Dense,
}

impl Adversary {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Wildcards,
        Self::Ranges,
        Self::Ports,
        Self::Nested,
        Self::Dense,
    ];

    /// The name in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Wildcards => "wildcards",
            Self::Ranges => "ranges",
            Self::Ports => "ports",
            Self::Nested => "nested",
            Self::Dense => "dense",
        }
    }

    /// A set of `size` rules, which need not be different. The same for the same arguments.
    pub fn generate(self, v6: bool, size: usize, seed: u64) -> RuleSet {
        let mut rng = rng(seed, size as u64 ^ (0xad << 40));
        let centre = (address(v6, &mut rng), address(v6, &mut rng));
        let rules = (0..size)
            .map(|index| self.rule(v6, index, centre, &mut rng))
            .collect();
        let family = if v6 { "6" } else { "" };
        RuleSet {
            name: format!("{}{family}_{}", self.name(), size_name(size)),
            v6,
            rules,
        }
    }

    fn rule(self, v6: bool, index: usize, centre: (u128, u128), rng: &mut Rng) -> Tuple {
        let any = Tuple::any(v6);
        let tcp = Tuple {
            proto: Some(*pick(rng, &[6, 17])),
            ..any
        };
        match self {
            Self::Wildcards => {
                let short = |rng: &mut Rng| prefix(v6, address(v6, rng), rng.random_range(1..=8));
                match rng.random_range(0..6) {
                    0 => Tuple {
                        from: short(rng),
                        ..any
                    },
                    1 => Tuple {
                        to: short(rng),
                        ..tcp
                    },
                    2 => Tuple {
                        sport: wide(rng),
                        ..tcp
                    },
                    3 => Tuple {
                        dport: wide(rng),
                        ..tcp
                    },
                    4 => Tuple {
                        from: short(rng),
                        to: short(rng),
                        ..any
                    },
                    _ => Tuple {
                        from: short(rng),
                        dport: wide(rng),
                        ..tcp
                    },
                }
            }
            Self::Ranges => Tuple {
                from: odd(v6, rng),
                to: odd(v6, rng),
                sport: if rng.random() { ANY_PORT } else { wide(rng) },
                dport: wide(rng),
                ..tcp
            },
            Self::Ports => {
                // All of one protocol until there are no more.
                let proto = if index < 1 << 16 { 6 } else { 17 };
                Tuple {
                    from: (centre.0, centre.0),
                    to: (centre.1, centre.1),
                    // Every odd factor leads to all ports once.
                    dport: one((index as u16).wrapping_mul(40503)),
                    sport: if index < 1 << 17 {
                        ANY_PORT
                    } else {
                        one(rng.random())
                    },
                    proto: Some(proto),
                    ..any
                }
            }
            Self::Nested => {
                let len = |rng: &mut Rng| rng.random_range(0..=width(v6));
                let (from, to) = (len(rng), len(rng));
                Tuple {
                    from: prefix(v6, centre.0, from),
                    to: prefix(v6, centre.1, to),
                    dport: if rng.random() { ANY_PORT } else { wide(rng) },
                    ..tcp
                }
            }
            Self::Dense => {
                let few = |rng: &mut Rng| {
                    let bits = u128::from(rng.random_range(0..8u8)) << (width(v6) - 3);
                    prefix(v6, bits, *pick(rng, &[0, 1, 2, 3, width(v6)]))
                };
                let ports = |rng: &mut Rng| match rng.random_range(0..4) {
                    0 => ANY_PORT,
                    1 => one(rng.random_range(0..4)),
                    2 => (rng.random_range(0..4), rng.random_range(4..8)),
                    _ => (0, rng.random_range(0..8)),
                };
                let rule = Tuple {
                    from: few(rng),
                    to: few(rng),
                    ..any
                };
                match rng.random_range(0..4) {
                    0 => rule,
                    1 => Tuple {
                        proto: Some(*pick(rng, &[1, 47, 58])),
                        ..rule
                    },
                    _ => Tuple {
                        proto: tcp.proto,
                        sport: ports(rng),
                        dport: ports(rng),
                        ..rule
                    },
                }
            }
        }
    }
}

fn address(v6: bool, rng: &mut Rng) -> u128 {
    if v6 {
        rng.random()
    } else {
        rng.random::<u32>().into()
    }
}

fn one(port: u16) -> (u16, u16) {
    (port, port)
}

fn wide(rng: &mut Rng) -> (u16, u16) {
    let (a, b): (u16, u16) = (rng.random(), rng.random());
    (a.min(b) | 1, a.max(b) | 1)
}

/// From an odd address to an even one; in half of them the two are near each other.
fn odd(v6: bool, rng: &mut Rng) -> (u128, u128) {
    let a = address(v6, rng) | 1;
    let b = if rng.random() {
        a.saturating_add(rng.random_range(1..1 << 16))
    } else {
        address(v6, rng)
    };
    let last = if v6 { u128::MAX } else { u32::MAX.into() };
    let (first, last) = (a.min(b).min(last), a.max(b).min(last));
    (first | 1, (last & !1).max(first | 1))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::prefix_len;

    #[test]
    fn sets_are_what_they_say() {
        for adversary in Adversary::ALL {
            for v6 in [false, true] {
                let set = adversary.generate(v6, 300, 3);
                assert_eq!(set.rules.len(), 300);
                for rule in &set.rules {
                    assert!(rule.is_sound(), "{rule}");
                    assert!(rule.from.0 <= rule.from.1 && rule.to.0 <= rule.to.1);
                    assert!(rule.sport.0 <= rule.sport.1 && rule.dport.0 <= rule.dport.1);
                    assert!(v6 || rule.from.1 <= u32::MAX.into());
                }
                if adversary == Adversary::Ranges {
                    let none = |rule: &&Tuple| prefix_len(v6, rule.from).is_none();
                    assert!(set.rules.iter().filter(none).count() > 250);
                }
            }
        }
    }
}
