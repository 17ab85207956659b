// SPDX-License-Identifier: GPL-2.0

//! Headers to look up.

use rand::Rng as _;

use crate::tuple::{Header, RuleSet, Tuple};
use crate::{pick, rng, Rng};

/// How many headers are looked up in a trace that no cache near the core holds.
pub const LONG: usize = 1 << 18;

/// How many in one that all of them hold.
pub const SHORT: usize = 64;

/// A trace: rules drawn uniformly, and for each a uniform point inside.
pub fn draw(set: &RuleSet, count: usize, seed: u64) -> Vec<Header> {
    let mut rng = rng(seed, 0x7ace);
    (0..count)
        .map(|_| pick(&mut rng, &set.rules).point(&mut rng))
        .collect()
}

/// A header that shows where a classifier is off by one: a point in a rule, one just beside it, a mixture
/// of two rules' fields, or anything.
pub fn hard(rules: &[Tuple], v6: bool, rng: &mut Rng) -> Header {
    let any = Tuple::any(v6);
    let rule = match rules {
        [] => any,
        rules => *pick(rng, rules),
    };
    let header = rule.point(rng);
    match rng.random_range(0..16) {
        0..8 => header,
        8..13 => beside(&rule, header, rng),
        13..15 => {
            let other = match rules {
                [] => any,
                rules => *pick(rng, rules),
            };
            let (a, b) = (header, other.point(rng));
            Header {
                v6,
                from: a.from,
                to: if rng.random() { a.to } else { b.to },
                sport: if rng.random() { a.sport } else { b.sport },
                dport: b.dport,
                proto: if rng.random() { a.proto } else { b.proto },
            }
            .sound()
        }
        _ => any.point(rng),
    }
}

/// `header` with one field at an end of the rule's values, or one beyond it.
fn beside(rule: &Tuple, mut header: Header, rng: &mut Rng) -> Header {
    let addr = |ends: (u128, u128), rng: &mut Rng| {
        let mask = if header.v6 {
            u128::MAX
        } else {
            u32::MAX.into()
        };
        let out = match rng.random_range(0..4) {
            0 => ends.0,
            1 => ends.1,
            2 => ends.0.wrapping_sub(1),
            _ => ends.1.wrapping_add(1),
        };
        out & mask
    };
    let port = |ends: (u16, u16), rng: &mut Rng| match rng.random_range(0..4) {
        0 => ends.0,
        1 => ends.1,
        2 => ends.0.wrapping_sub(1),
        _ => ends.1.wrapping_add(1),
    };
    match rng.random_range(0..5) {
        0 => header.from = addr(rule.from, rng),
        1 => header.to = addr(rule.to, rng),
        2 => header.sport = port(rule.sport, rng),
        3 => header.dport = port(rule.dport, rng),
        _ => header.proto = *pick(rng, &[1, 6, 17, 47, 58, 132]),
    }
    header.sound()
}
