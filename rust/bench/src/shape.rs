// SPDX-License-Identifier: GPL-2.0

//! What a rule set looks like, in numbers: to compare sets of different origin.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use crate::trace::draw;
use crate::tuple::{prefix_len, Header, RuleSet, Tuple, ANY_PORT};

/// How many headers are asked which rules they fit.
const HEADERS: usize = 500;

/// How often a thing occurs among all, the more frequent ones first.
struct Shares(Vec<(String, f64)>);

impl Shares {
    fn of(things: impl Iterator<Item = String>) -> Self {
        let mut counts: BTreeMap<String, f64> = BTreeMap::new();
        let mut all = 0.0;
        for thing in things {
            *counts.entry(thing).or_default() += 1.0;
            all += 1.0;
        }
        let mut shares: Vec<_> = counts.into_iter().collect();
        shares.sort_by(|(_, a), (_, b)| b.total_cmp(a));
        Self(
            shares
                .into_iter()
                .map(|(k, n)| (k, n * 100.0 / all))
                .collect(),
        )
    }
}

impl fmt::Display for Shares {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (thing, share) in self.0.iter().take(8) {
            write!(f, " {thing} {share:.0}%")?;
        }
        Ok(())
    }
}

/// The shape of a set.
pub struct Shape {
    name: String,
    rules: usize,
    froms: usize,
    tos: usize,
    pairs: usize,
    lens: Shares,
    services: Shares,
    /// How many rules a header fits that is drawn as traces are, and at which place the first stands.
    fitting: f64,
    first: f64,
}

fn service(rule: &Tuple) -> String {
    let proto = match rule.proto {
        None => "any".to_owned(),
        Some(proto) => ctrfw_core::proto::Protocol(proto).to_string(),
    };
    let class = |ports| match ports {
        ANY_PORT => "*",
        (1024, u16::MAX) => "high",
        (first, last) if first == last => "one",
        _ => "range",
    };
    format!("{proto}:{}:{}", class(rule.sport), class(rule.dport))
}

impl Shape {
    /// Of this set.
    pub fn of(set: &RuleSet) -> Self {
        let distinct = |addrs: fn(&Tuple) -> (u128, u128)| {
            let addrs: HashSet<_> = set.rules.iter().map(addrs).collect();
            addrs.len()
        };
        let pairs: HashSet<_> = set.rules.iter().map(|rule| (rule.from, rule.to)).collect();
        let len = |addrs| prefix_len(set.v6, addrs).map_or("-".to_owned(), |len| len.to_string());
        let lens = set.rules.iter();
        let lens = lens.map(|rule| format!("{}/{}", len(rule.from), len(rule.to)));
        let headers = draw(set, HEADERS, 1);
        let average = |count: &dyn Fn(&Header) -> usize| {
            headers.iter().map(count).sum::<usize>() as f64 / HEADERS as f64
        };
        Self {
            name: set.name.clone(),
            rules: set.rules.len(),
            froms: distinct(|rule| rule.from),
            tos: distinct(|rule| rule.to),
            pairs: pairs.len(),
            lens: Shares::of(lens),
            services: Shares::of(set.rules.iter().map(service)),
            fitting: average(&|header| {
                let fitting = set.rules.iter().filter(|rule| rule.holds(header));
                fitting.count()
            }),
            first: average(&|header| set.first(header).unwrap_or(set.rules.len())),
        }
    }
}

impl fmt::Display for Shape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            rules,
            froms,
            tos,
            pairs,
            ..
        } = self;
        writeln!(
            f,
            "{name}: {rules} rules, {froms} sources, {tos} destinations, {pairs} pairs; a header fits {:.1} rules, the first at {:.0}",
            self.fitting, self.first
        )?;
        writeln!(f, "  lengths{}", self.lens)?;
        writeln!(f, "  services{}", self.services)
    }
}
