// SPDX-License-Identifier: GPL-2.0

//! Rules that can never match, as an earlier one matches all that they do.
//!
//! Judged by the canonical text: a word of the earlier rule must accept all that the same word of
//! the later one accepts. A named set, or a value of a kind that is not known here, fits only
//! itself, so that what is not understood leads to no warning.
//!
//! Most rules have nothing in common. So earlier ones are looked up by one value that the later one
//! must have, too, or have a part of; what is found so is then compared word by word.

use std::collections::{BTreeSet, HashMap};

use ctrfw_core::cgroup::CgroupPath;
use ctrfw_core::iface::{IfName, IfPattern, IFNAMSIZ};
use ctrfw_core::value::Value as _;
use ipnet::IpNet;

use crate::clause::{clauses, Clause};
use crate::policy::Policy;
use crate::problem::{Place, Problem, Severity};

/// Most comparisons: a table of 100,000 rules has 5,000 million pairs.
const MAX_COMPARISONS: usize = 20_000_000;

/// What a value stands for.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Meaning {
    Network(IpNet),
    /// The first and the last
    Ports(u16, u16),
    /// An interface or many of them, a cgroup, or nothing that is known here
    Text(String),
}

impl Meaning {
    fn of(key: &str, text: &str) -> Self {
        let known = match key {
            "from" | "to" | "origdst" => network(text).map(Self::Network),
            "sport" | "dport" | "origdport" => {
                ports(text).map(|(first, last)| Self::Ports(first, last))
            }
            _ => None,
        };
        known.unwrap_or_else(|| Self::Text(text.to_owned()))
    }

    /// Whether it has all that `narrow`, of the same `key`, has; in doubt not.
    fn has(&self, key: &str, narrow: &Self) -> bool {
        match (self, narrow) {
            (Self::Network(wide), Self::Network(narrow)) => wide.contains(narrow),
            (Self::Ports(first, last), Self::Ports(from, to)) => first <= from && to <= last,
            (Self::Text(wide), Self::Text(narrow)) => {
                let known = match key {
                    "cgroup" => cgroup(wide, narrow),
                    _ if is_device(key) => interface(wide, narrow),
                    _ => None,
                };
                wide == narrow || known.unwrap_or(false)
            }
            _ => false,
        }
    }
}

/// A match word and its values.
struct Word {
    clause: Clause,
    values: Vec<Meaning>,
}

impl Word {
    fn new(clause: Clause) -> Self {
        let meanings = clause
            .values
            .iter()
            .map(|text| Meaning::of(&clause.key, text));
        Self {
            values: meanings.collect(),
            clause,
        }
    }

    /// Whether it accepts all that `narrow`, of the same key, does; in doubt not.
    fn accepts(&self, narrow: &Self) -> bool {
        if self.clause.text == narrow.clause.text {
            return true;
        }
        let has_all = |wide: &Self, narrow: &Self| {
            narrow.values.iter().all(|narrow| {
                let mut values = wide.values.iter();
                values.any(|value| value.has(&self.clause.key, narrow))
            })
        };
        match (self.clause.negated, narrow.clause.negated) {
            (false, false) => has_all(self, narrow),
            // To be outside of much is to be outside of each part of it.
            (true, true) => has_all(narrow, self),
            _ => false,
        }
    }
}

/// A rule as words.
struct Rule {
    allow: bool,
    /// It leaves the decision to others.
    audit: bool,
    /// It asks for nothing which a packet can hide.
    shown: bool,
    words: Vec<Word>,
}

impl Rule {
    fn new(text: &str) -> Self {
        let verb = text.split(' ').next();
        let clauses = clauses(text);
        Self {
            allow: verb == Some("allow"),
            audit: verb == Some("audit"),
            shown: clauses.iter().all(|clause| is_shown(&clause.key)),
            words: clauses.into_iter().map(Word::new).collect(),
        }
    }

    /// Whether the rule decides about each packet that `later` would match.
    fn covers(&self, later: &Self) -> bool {
        // Packets that hide a field divide rules that allow from all others: only a rule that asks
        // for nothing which a packet can hide covers one of the other kind.
        if self.audit || (self.allow != later.allow && !self.shown) {
            return false;
        }
        self.words.iter().all(|wide| {
            let mut words = later.words.iter();
            words.any(|narrow| narrow.clause.key == wide.clause.key && wide.accepts(narrow))
        })
    }
}

fn is_shown(key: &str) -> bool {
    is_device(key) || matches!(key, "mark" | "netns" | "hook" | "family")
}

fn is_device(key: &str) -> bool {
    matches!(key, "in" | "out" | "port-in" | "port-out")
}

/// The rules that the values of one key lead to.
#[derive(Default)]
struct Column {
    /// How many rules have a value.
    users: HashMap<Meaning, usize>,
    /// The rules that are found by a value, in their order.
    buckets: HashMap<Meaning, Vec<usize>>,
    /// Which lengths of prefixes there are in `buckets`, those of IPv6 apart.
    lengths: BTreeSet<(bool, u8)>,
    /// Which ranges of more than one port.
    ranges: BTreeSet<(u16, u16)>,
    /// Whether there is a name with a `*`.
    patterns: bool,
}

impl Column {
    fn note(&mut self, value: &Meaning) {
        let users = self.users.entry(value.clone()).or_default();
        *users = users.saturating_add(1);
    }

    fn add(&mut self, value: &Meaning, place: usize) {
        match value {
            Meaning::Network(net) => {
                self.lengths.insert((is_ipv6(net), net.prefix_len()));
            }
            Meaning::Ports(first, last) if first != last => {
                self.ranges.insert((*first, *last));
            }
            Meaning::Text(text) => self.patterns |= text.ends_with('*'),
            Meaning::Ports(..) => {}
        }
        self.buckets.entry(value.clone()).or_default().push(place);
    }

    fn users(&self, value: &Meaning) -> usize {
        self.users.get(value).copied().unwrap_or(0)
    }

    /// The values that have all that `narrow` has.
    fn having(&self, key: &str, narrow: &Meaning) -> Vec<Meaning> {
        match narrow {
            Meaning::Network(net) => {
                let lengths = self.lengths.iter();
                let fitting = lengths
                    .filter(|(ipv6, length)| *ipv6 == is_ipv6(net) && *length <= net.prefix_len());
                fitting
                    .filter_map(|(_, length)| IpNet::new(net.addr(), *length).ok())
                    .map(|wide| Meaning::Network(wide.trunc()))
                    .collect()
            }
            Meaning::Ports(from, to) => {
                let ranges = self.ranges.range(..=(*from, u16::MAX));
                let fitting = ranges.filter(|(_, last)| to <= last);
                let fitting = fitting.map(|(first, last)| Meaning::Ports(*first, *last));
                fitting.chain([narrow.clone()]).collect()
            }
            Meaning::Text(text) => {
                let mut wide = vec![text.clone()];
                if self.patterns && is_device(key) {
                    let ends = text.char_indices().map(|(at, _)| at).chain([text.len()]);
                    wide.extend(ends.filter_map(|end| Some(text.get(..end)?.to_owned() + "*")));
                }
                if let (true, Some(path)) = (key == "cgroup", CgroupPath::parse(text.as_bytes())) {
                    wide.extend(path.way().chain(["/"]).map(str::to_owned));
                }
                wide.into_iter().map(Meaning::Text).collect()
            }
        }
    }
}

/// Where earlier rules are looked up.
#[derive(Default)]
struct Index {
    columns: HashMap<String, Column>,
    /// Those without a value to find them by.
    others: Vec<usize>,
}

impl Index {
    /// Of no rule yet; all that there will be are known.
    fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for word in rules.iter().flat_map(|rule| &rule.words) {
            let column = index.columns.entry(word.clause.key.clone()).or_default();
            word.values.iter().for_each(|value| column.note(value));
        }
        index
    }

    /// Adds a rule under the values of the word whose values are the rarest.
    fn add(&mut self, place: usize, rule: &Rule) {
        let users = |word: &Word| {
            let column = self.columns.get(&word.clause.key)?;
            Some(
                word.values
                    .iter()
                    .map(|value| column.users(value))
                    .fold(0, usize::saturating_add),
            )
        };
        // A rule that such a word would cover need not have any of its values.
        let plain = rule.words.iter().filter(|word| !word.clause.negated);
        let Some(word) = plain.min_by_key(|word| users(word)) else {
            self.others.push(place);
            return;
        };
        let column = self.columns.entry(word.clause.key.clone()).or_default();
        word.values
            .iter()
            .for_each(|value| column.add(value, place));
    }

    /// Lists of rules, among which are all that cover `later`, and what it took to find them, in
    /// comparisons.
    fn candidates(&self, later: &Rule) -> (Vec<&[usize]>, usize) {
        let mut found = vec![self.others.as_slice()];
        let mut cost = 0usize;
        for word in later.words.iter().filter(|word| !word.clause.negated) {
            // Who covers all values covers the first one.
            if let (Some(column), Some(first)) =
                (self.columns.get(&word.clause.key), word.values.first())
            {
                let wide = column.having(&word.clause.key, first);
                let buckets = wide.iter().filter_map(|value| column.buckets.get(value));
                found.extend(buckets.map(Vec::as_slice));
                if matches!(first, Meaning::Ports(..)) {
                    cost = cost.saturating_add(column.ranges.len());
                }
            }
        }
        (found, cost)
    }
}

fn network(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
}

fn is_ipv6(net: &IpNet) -> bool {
    matches!(net, IpNet::V6(_))
}

fn ports(text: &str) -> Option<(u16, u16)> {
    let (first, last) = text.split_once('-').unwrap_or((text, text));
    Some((first.parse().ok()?, last.parse().ok()?))
}

fn interface(wide: &str, narrow: &str) -> Option<bool> {
    let pattern = IfPattern::parse(wide.as_bytes())?;
    IfPattern::parse(narrow.as_bytes())?;
    if let Some(narrow) = narrow.strip_suffix('*') {
        return Some(narrow.starts_with(wide.strip_suffix('*')?));
    }
    let mut field = [0; IFNAMSIZ];
    for (to, from) in field.iter_mut().zip(narrow.as_bytes()) {
        *to = *from;
    }
    Some(pattern.matches(&IfName::from_field(field)))
}

fn cgroup(wide: &str, narrow: &str) -> Option<bool> {
    let narrow = CgroupPath::parse(narrow.as_bytes())?;
    Some(CgroupPath::parse(wide.as_bytes())?.encloses(narrow))
}

/// A warning for each rule that an earlier one covers, and whether all were compared that had to be.
pub fn warnings(policy: &Policy) -> (Vec<Problem>, bool) {
    let rules: Vec<Rule> = policy.rules().iter().map(|text| Rule::new(text)).collect();
    let mut before = Index::new(&rules);
    let mut found = Vec::new();
    let mut left = MAX_COMPARISONS;
    for (index, later) in rules.iter().enumerate() {
        let mut cover = None;
        let (lists, cost) = before.candidates(later);
        left = left.saturating_sub(cost);
        for list in lists {
            for place in list {
                if cover.is_some_and(|cover| cover <= *place) {
                    break;
                }
                let Some(rest) = left.checked_sub(1) else {
                    return (found, false);
                };
                left = rest;
                if rules.get(*place).is_some_and(|rule| rule.covers(later)) {
                    cover = Some(*place);
                    break;
                }
            }
        }
        before.add(index, later);
        let Some(cover) = cover else {
            continue;
        };
        let by = Place {
            rule: cover.saturating_add(1),
            line: policy.rule_line(cover),
        };
        let rule = index.saturating_add(1);
        found.push(Problem {
            severity: Severity::Warning,
            line: policy.rule_line(index),
            column: 1,
            message: format!(
                "rule {rule} can never match: rule {} (line {}) matches all that it would",
                by.rule, by.line
            ),
            got: None,
            expected: None,
            suggestion: None,
            rule: Some(rule),
            shadowed_by: Some(by),
        });
    }
    (found, true)
}
