// SPDX-License-Identifier: GPL-2.0

//! Rule sets like those that ClassBench makes, of any size and of either family.
//!
//! Addresses are the leaves of a random binary tree, and their prefixes its inner nodes: at each node
//! a number that only the seed and the node determine says whether the tree forks there, and which
//! way it leans. So rules share prefixes, and short ones contain long ones, as in real networks.

use std::collections::HashSet;

use rand::seq::SliceRandom as _;
use rand::Rng as _;

use crate::profile::{Ports, Profile, SERVICES};
use crate::tuple::{prefix, prefix_len, width, RuleSet, Tuple, ANY_PORT};
use crate::{mix, pick, rng, weighted, Rng};

/// How often a rule is drawn that is there already, before the space is taken for exhausted.
const TRIES: usize = 200;

/// How many port ranges there are in a set.
const RANGES: usize = 24;

/// A random tree of addresses.
struct Tree {
    v6: bool,
    seed: u64,
    /// How likely it forks at a node.
    fork: f64,
}

impl Tree {
    /// A tree with about so many leaves.
    fn new(v6: bool, seed: u64, leaves: f64) -> Self {
        let fork = leaves.max(2.0).powf(1.0 / f64::from(width(v6))) - 1.0;
        Self {
            v6,
            seed,
            fork: fork.min(1.0),
        }
    }

    /// The leading `len` bits of a random leaf.
    fn walk(&self, rng: &mut Rng, len: u8) -> u128 {
        let mut bits = 0u128;
        for depth in 0..len {
            let node =
                mix(self.seed ^ mix(bits as u64 ^ mix((bits >> 64) as u64)) ^ mix(depth.into()));
            // Its low half says whether, its high half which way.
            let forks = f64::from(node as u32) < self.fork * f64::from(u32::MAX);
            let leaning = (node >> 32) as u32;
            let bit = if self.v6 && depth < 3 {
                // Global unicast
                depth == 2
            } else if forks {
                // From one in five to one in two.
                let lean = 0.2 + 0.3 * f64::from(leaning & 0xffff) / 65536.0;
                rng.random_bool(lean) ^ (leaning & (1 << 16) != 0)
            } else {
                leaning & 1 != 0
            };
            bits = (bits << 1) | u128::from(bit);
        }
        if len == 0 {
            return 0;
        }
        bits << (width(self.v6) - len)
    }
}

/// What a prefix of IPv4 is in IPv6: /8 becomes /32, /16 /48, /24 /64, and /32 /128.
fn ipv6_len(len: u8) -> u8 {
    match len {
        0..=8 => 4 * len,
        9..=24 => 32 + 2 * (len - 8),
        _ => 64 + 8 * (len - 24),
    }
}

fn ranges(rng: &mut Rng) -> Vec<(u16, u16)> {
    (0..RANGES)
        .map(|_| {
            let size = 1u16 << rng.random_range(1..12);
            let first = rng.random_range(0..u16::MAX - size);
            (first, first + rng.random_range(1..=size))
        })
        .collect()
}

fn service(rng: &mut Rng) -> u16 {
    if rng.random_bool(0.15) {
        return rng.random();
    }
    let total: f64 = (1..=SERVICES.len()).map(|rank| 1.0 / rank as f64).sum();
    let mut left = rng.random_range(0.0..total);
    for (index, port) in SERVICES.iter().enumerate() {
        left -= 1.0 / (index + 1) as f64;
        if left < 0.0 {
            return *port;
        }
    }
    SERVICES[0]
}

fn ports(rng: &mut Rng, ports: Ports, ranges: &[(u16, u16)]) -> (u16, u16) {
    match ports {
        Ports::Any => ANY_PORT,
        Ports::High => (1024, u16::MAX),
        Ports::Exact => {
            let port = service(rng);
            (port, port)
        }
        Ports::Range => *pick(rng, ranges),
    }
}

/// So many rules as 1000 are `1k`.
pub fn size_name(size: usize) -> String {
    match size {
        size if size % 1_000_000 == 0 => format!("{}M", size / 1_000_000),
        size if size % 1000 == 0 => format!("{}k", size / 1000),
        size => size.to_string(),
    }
}

/// A set of `size` different rules of this kind; fewer if the space has no more. The same for the same
/// arguments. Rules with longer prefixes come first, as exceptions must.
pub fn generate(profile: &Profile, v6: bool, size: usize, seed: u64) -> RuleSet {
    let mut rng = rng(seed, size as u64);
    let froms = Tree::new(v6, rng.random(), profile.froms * size as f64);
    let tos = Tree::new(v6, rng.random(), profile.tos * size as f64);
    let ranges = ranges(&mut rng);
    let mut rules = Vec::with_capacity(size);
    let mut seen = HashSet::with_capacity(size);
    let mut tries = 0;
    while rules.len() < size && tries < TRIES {
        let kind = weighted(&mut rng, profile.kinds);
        let other = match rules.as_slice() {
            [] => None,
            rules => rng
                .random_bool(profile.again)
                .then(|| pick(&mut rng, rules)),
        };
        let other = other.map(|rule: &Tuple| (rule.from, rule.to));
        let &(proto, sport, dport) = weighted(&mut rng, profile.services);
        let mut addrs = |tree: &Tree, lens| {
            let mut len = *weighted(&mut rng, lens);
            if v6 {
                len = ipv6_len(len);
            }
            prefix(v6, tree.walk(&mut rng, len), len)
        };
        let (from, to) = other.unwrap_or((addrs(&froms, kind.from), addrs(&tos, kind.to)));
        let rule = Tuple {
            v6,
            from,
            to,
            sport: ports(&mut rng, sport, &ranges),
            dport: ports(&mut rng, dport, &ranges),
            proto: match proto {
                // ICMPv6
                Some(1) if v6 => Some(58),
                proto => proto,
            },
        };
        if seen.insert(rule) {
            rules.push(rule);
            tries = 0;
        } else {
            tries += 1;
        }
    }
    rules.shuffle(&mut rng);
    rules.sort_by_key(|rule| {
        let len = |addrs| u16::from(prefix_len(v6, addrs).unwrap_or(0));
        std::cmp::Reverse(len(rule.from) + len(rule.to))
    });
    let family = if v6 { "6" } else { "" };
    RuleSet {
        name: format!("{}{family}_{}", profile.name, size_name(size)),
        v6,
        rules,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::profile::PROFILES;

    #[test]
    fn sets_are_what_they_say() {
        for profile in &PROFILES {
            for v6 in [false, true] {
                let set = generate(profile, v6, 1000, 7);
                assert_eq!(set.rules.len(), 1000, "{}", set.name);
                assert!(set
                    .rules
                    .iter()
                    .all(|rule| rule.v6 == v6 && rule.is_sound()));
                assert_eq!(set.rules, generate(profile, v6, 1000, 7).rules);
                assert_ne!(set.rules, generate(profile, v6, 1000, 8).rules);
            }
        }
    }
}
