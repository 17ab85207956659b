// SPDX-License-Identifier: GPL-2.0

//! Rules that can never match, as an earlier one matches all that they do.
//!
//! Judged by the canonical text: a word of the earlier rule must accept all that the same word of
//! the later one accepts. A named set, or a value of a kind that is not known here, fits only
//! itself, so that what is not understood leads to no warning.

use ctrfw_core::iface::{IfName, IfPattern, IFNAMSIZ};
use ctrfw_core::port::PortRange;
use ctrfw_core::value::Value as _;
use ipnet::IpNet;

use crate::clause::{clauses, Clause};
use crate::policy::Policy;
use crate::problem::{Place, Problem, Severity};

/// Most pairs of rules that are compared: a table of 100,000 rules has 5,000 million.
const MAX_PAIRS: usize = 20_000_000;

/// A rule as words.
struct Rule {
    allow: bool,
    /// It leaves the decision to others.
    audit: bool,
    clauses: Vec<Clause>,
}

impl Rule {
    fn new(text: &str) -> Self {
        let verb = text.split(' ').next();
        Self {
            allow: verb == Some("allow"),
            audit: verb == Some("audit"),
            clauses: clauses(text),
        }
    }

    /// Whether the rule decides about each packet that `later` would match.
    fn covers(&self, later: &Self) -> bool {
        if self.audit {
            return false;
        }
        // Packets that hide a field divide rules that allow from all others: only a rule that asks
        // for nothing which a packet can hide covers one of the other kind.
        let shown = |key: &str| {
            matches!(
                key,
                "in" | "out" | "port-in" | "port-out" | "mark" | "netns" | "hook" | "family"
            )
        };
        if self.allow != later.allow && !self.clauses.iter().all(|clause| shown(&clause.key)) {
            return false;
        }
        self.clauses.iter().all(|wide| {
            later
                .clauses
                .iter()
                .any(|narrow| narrow.key == wide.key && accepts(wide, narrow))
        })
    }
}

/// Whether `wide` accepts all that `narrow`, of the same word, does; in doubt not.
fn accepts(wide: &Clause, narrow: &Clause) -> bool {
    if wide.text == narrow.text {
        return true;
    }
    let has_all = |wide: &Clause, narrow: &Clause| {
        narrow.values.iter().all(|narrow| {
            let mut values = wide.values.iter();
            values.any(|value| has(&wide.key, value, narrow))
        })
    };
    match (wide.negated, narrow.negated) {
        (false, false) => has_all(wide, narrow),
        // To be outside of much is to be outside of each part of it.
        (true, true) => has_all(narrow, wide),
        _ => false,
    }
}

/// Whether the value `wide` of `key` has all that `narrow` has; in doubt not.
fn has(key: &str, wide: &str, narrow: &str) -> bool {
    let known = || match key {
        "from" | "to" => Some(network(wide)?.contains(&network(narrow)?)),
        "sport" | "dport" => {
            let wide = PortRange::parse(wide.as_bytes())?;
            let (first, last) = narrow.split_once('-').unwrap_or((narrow, narrow));
            Some(wide.contains(first.parse().ok()?) && wide.contains(last.parse().ok()?))
        }
        "in" | "out" | "port-in" | "port-out" => interface(wide, narrow),
        _ => None,
    };
    wide == narrow || known().unwrap_or(false)
}

fn network(text: &str) -> Option<IpNet> {
    text.parse()
        .ok()
        .or_else(|| Some(IpNet::from(text.parse::<std::net::IpAddr>().ok()?)))
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

/// A warning for each rule that an earlier one covers, and whether all pairs were compared.
pub fn warnings(policy: &Policy) -> (Vec<Problem>, bool) {
    let rules: Vec<Rule> = policy.rules().iter().map(|text| Rule::new(text)).collect();
    let mut found = Vec::new();
    let mut left = MAX_PAIRS;
    for (index, later) in rules.iter().enumerate() {
        let Some(rest) = left.checked_sub(index) else {
            return (found, false);
        };
        left = rest;
        let mut earlier = rules.iter().take(index);
        let Some(cover) = earlier.position(|rule| rule.covers(later)) else {
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
            rule: Some(rule),
            shadowed_by: Some(by),
        });
    }
    (found, true)
}
