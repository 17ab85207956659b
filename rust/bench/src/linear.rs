// SPDX-License-Identifier: GPL-2.0

//! The plain scan over packed rules: what every classifier must beat, and agree with.

use crate::tuple::{Header, RuleSet};

/// A rule as small as it gets: 28 bytes for IPv4.
#[derive(Clone, Copy)]
struct Packed<A> {
    from: (A, A),
    to: (A, A),
    sport: (u16, u16),
    dport: (u16, u16),
    proto: u8,
    /// 0 if any protocol will do.
    mask: u8,
}

/// A rule set to be scanned.
pub struct Linear(Rules);

enum Rules {
    V4(Vec<Packed<u32>>),
    V6(Vec<Packed<u128>>),
}

fn pack<A>(set: &RuleSet, addr: impl Fn(u128) -> A) -> Vec<Packed<A>> {
    let pack = |rule: &crate::tuple::Tuple| Packed {
        from: (addr(rule.from.0), addr(rule.from.1)),
        to: (addr(rule.to.0), addr(rule.to.1)),
        sport: rule.sport,
        dport: rule.dport,
        proto: rule.proto.unwrap_or(0),
        mask: if rule.proto.is_some() { 0xff } else { 0 },
    };
    set.rules.iter().map(pack).collect()
}

fn scan<A: PartialOrd + Copy>(
    rules: &[Packed<A>],
    header: &Header,
    from: A,
    to: A,
) -> Option<usize> {
    rules.iter().position(|rule| {
        from >= rule.from.0
            && from <= rule.from.1
            && to >= rule.to.0
            && to <= rule.to.1
            && header.dport >= rule.dport.0
            && header.dport <= rule.dport.1
            && header.sport >= rule.sport.0
            && header.sport <= rule.sport.1
            && header.proto & rule.mask == rule.proto
    })
}

impl Linear {
    /// Packs a set.
    pub fn new(set: &RuleSet) -> Self {
        Self(if set.v6 {
            Rules::V6(pack(set, |bits| bits))
        } else {
            Rules::V4(pack(set, |bits| bits as u32))
        })
    }

    /// The index of the first rule that fits a header of the set's family.
    #[inline]
    pub fn first(&self, header: &Header) -> Option<usize> {
        match &self.0 {
            Rules::V4(rules) => scan(rules, header, header.from as u32, header.to as u32),
            Rules::V6(rules) => scan(rules, header, header.from, header.to),
        }
    }
}
