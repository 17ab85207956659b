// SPDX-License-Identifier: GPL-2.0

//! The check: policies and the oracle must agree on random tables, before and after random edits.
//!
//! A pair is a table and a packet. Each table has a number, from which with the seed all follows that
//! is tried on it, so that a disagreement can be looked at again.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::Mutex;
use std::thread;

use ctrfw_core::memory::Heap;
use ctrfw_core::packet::Packet;
use ctrfw_core::policy::Policy;
use ctrfw_core::rule::{Decider, Decision, Verb};
use rand::Rng as _;

use crate::adversary::Adversary;
use crate::common::oracle::decide;
use crate::common::packet::first_look;
use crate::common::text;
use crate::generator::generate;
use crate::language::{Flavour, Speaker, FLAVOURS};
use crate::model::{Model, Words};
use crate::profile::{Profile, PROFILES};
use crate::trace::hard;
use crate::tuple::{RuleSet, Tuple};
use crate::{mix, pick, rng, Rng};

/// What a table is made by.
enum Source {
    Profile(&'static Profile, bool),
    Adversary(Adversary, bool),
    Flavour(&'static Flavour),
}

impl Source {
    /// All of them; the whole language several times, as most of what is special is there.
    fn all() -> Vec<Self> {
        let families = [false, true];
        let mut sources = Vec::new();
        for v6 in families {
            sources.extend(PROFILES.iter().map(|profile| Self::Profile(profile, v6)));
            sources.extend(Adversary::ALL.map(|adversary| Self::Adversary(adversary, v6)));
        }
        for flavour in &FLAVOURS {
            sources.push(Self::Flavour(flavour));
        }
        sources.extend((0..4).map(|_| Self::Flavour(&FLAVOURS[0])));
        sources
    }

    fn name(&self) -> &'static str {
        match self {
            Self::Profile(profile, _) => profile.name,
            Self::Adversary(adversary, _) => adversary.name(),
            Self::Flavour(flavour) => flavour.name,
        }
    }
}

/// What was compared.
#[derive(Debug, Default)]
pub struct Report {
    /// Pairs, by what the tables were made by
    pub pairs: BTreeMap<&'static str, u64>,
    /// Tables, edited ones not counted again
    pub tables: u64,
    /// Transactions that edited one
    pub edits: u64,
    /// Packets of which a first look told what becomes of them
    pub looks: u64,
}

impl Report {
    /// All pairs.
    pub fn total(&self) -> u64 {
        self.pairs.values().sum()
    }

    fn add(&mut self, other: Self) {
        for (name, pairs) in other.pairs {
            *self.pairs.entry(name).or_default() += pairs;
        }
        self.tables += other.tables;
        self.looks += other.looks;
        self.edits += other.edits;
    }
}

/// A pair on which policy and oracle disagree, or a text that the policy refuses.
#[derive(Debug)]
pub struct Disagreement {
    /// The number of the table
    pub table: u64,
    /// What was made of it, and what came of it.
    pub what: String,
}

impl fmt::Display for Disagreement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "table {}: {}", self.table, self.what)
    }
}

/// Compares at least so many pairs, on so many threads, from table number `first` on.
pub fn run(pairs: u64, seed: u64, threads: usize, first: u64) -> Result<Report, Disagreement> {
    let (next, done) = (AtomicU64::new(first), AtomicU64::new(0));
    let failed = AtomicBool::new(false);
    let result = Mutex::new(Ok(Report::default()));
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut mine = Report::default();
                let mut error = None;
                while done.load(Ordering::Relaxed) < pairs && !failed.load(Ordering::Relaxed) {
                    let table = next.fetch_add(1, Ordering::Relaxed);
                    let before = mine.total();
                    if let Err(what) = one(table, seed, &mut mine) {
                        failed.store(true, Ordering::Relaxed);
                        error = Some(Disagreement { table, what });
                        break;
                    }
                    done.fetch_add(mine.total() - before, Ordering::Relaxed);
                }
                // A thread that panicked has ended the process's hope of a result anyway.
                let mut result = result.lock().unwrap_or_else(|poison| poison.into_inner());
                match (result.as_mut(), error) {
                    (Ok(_), Some(error)) => *result = Err(error),
                    (Ok(all), None) => all.add(mine),
                    (Err(_), _) => {}
                }
            });
        }
    });
    result
        .into_inner()
        .unwrap_or_else(|poison| poison.into_inner())
}

/// Makes table number `table`, and compares it.
fn one(table: u64, seed: u64, report: &mut Report) -> Result<(), String> {
    let sources = Source::all();
    let source = &sources[(table % sources.len() as u64) as usize];
    let mut rng = rng(seed, table);
    report.tables += 1;
    let (pairs, looks) = match source {
        Source::Flavour(flavour) => language(flavour, &mut rng)?,
        Source::Profile(profile, v6) => {
            let set = generate(profile, *v6, size(&mut rng), mix(seed ^ table));
            tuples(set, &mut rng)?
        }
        Source::Adversary(adversary, v6) => {
            let set = adversary.generate(*v6, size(&mut rng), mix(seed ^ table));
            tuples(set, &mut rng)?
        }
    };
    *report.pairs.entry(source.name()).or_default() += pairs;
    report.looks += looks;
    report.edits += EDITS;
    Ok(())
}

/// As many small ones as large ones, on a scale of powers.
fn size(rng: &mut Rng) -> usize {
    let power = 1usize << rng.random_range(0..=10);
    rng.random_range(power..2 * power)
}

/// How many transactions edit a table.
const EDITS: u64 = 3;

fn load(text: &str) -> Result<Policy<Heap>, String> {
    text::load(text).map_err(|error| format!("{error}, in\n{text}"))
}

/// The table that `lines` make of another one.
fn append(policy: &Policy<Heap>, lines: &str) -> Result<Policy<Heap>, String> {
    text::append(policy, lines)
        .map_err(|error| format!("{error}, in\n{lines}added to\n{}", text::listing(policy)))
}

fn same<T: PartialEq + fmt::Debug>(
    policy: &Policy<Heap>,
    packet: &Packet,
    got: T,
    want: T,
) -> Result<(), String> {
    if got == want {
        return Ok(());
    }
    Err(format!(
        "the policy says {got:?}, the oracle {want:?}, of\n{packet:?}\nand\n{}",
        text::listing(policy)
    ))
}

/// A rule of five fields with its verb.
struct Ruled(bool, Tuple);

impl Words for Ruled {
    fn words(&self) -> String {
        format!("{}{}", if self.0 { "allow" } else { "deny" }, self.1)
    }
}

/// How many pairs were compared, and of how many packets a first look told what becomes of them.
fn tuples(set: RuleSet, rng: &mut Rng) -> Result<(u64, u64), String> {
    let v6 = set.v6;
    // Large tables take longer to look through; what is new about them is in few headers.
    let headers = (1 << 17) / set.rules.len();
    let headers = headers.clamp(256, 2048);
    let mut model = Model::default();
    // For rules that come later there must be ones that are not there.
    let (here, later) = set.rules.split_at(set.rules.len().div_ceil(2).max(1));
    let mut text = String::new();
    for rule in here {
        text += &model.add(0, Ruled(rng.random(), *rule));
    }
    let mut policy = load(&text)?;
    let (mut pairs, mut looks) = (0, 0);
    let mut plain: Vec<Tuple> = here.to_vec();
    for edit in 0..=EDITS {
        let mut packet = Tuple::any(v6).point(rng).packet();
        for _ in 0..headers {
            let header = hard(&plain, v6, rng);
            header.fill(&mut packet);
            let first = plain.iter().position(|rule| rule.holds(&header));
            let want = match first {
                Some(index) => Decision {
                    verb: if model.rules[index].0 {
                        Verb::Allow
                    } else {
                        Verb::Deny
                    },
                    decider: Decider::Rule(index),
                },
                None => Decision {
                    verb: Verb::Allow,
                    decider: Decider::Nobody,
                },
            };
            let got = policy.decide(&packet, |_| ());
            same(&policy, &packet, got, want)?;
            looks += u64::from(first_look(&policy, &packet)?);
        }
        pairs += headers as u64;
        if edit == EDITS {
            break;
        }
        let mut lines = String::new();
        for _ in 0..rng.random_range(1..=8) {
            let rule = match later {
                [] => *pick(rng, here),
                later => *pick(rng, later),
            };
            let rule = Ruled(rng.random(), rule);
            lines += &model.edit(priority(rng), rule, rng);
        }
        policy = append(&policy, &lines)?;
        plain = model.rules.iter().map(|rule| rule.1).collect();
    }
    Ok((pairs, looks))
}

/// Mostly that of all others.
fn priority(rng: &mut Rng) -> i16 {
    match rng.random_range(0..8) {
        0 => -1,
        1 => 5,
        _ => 0,
    }
}

/// The same.
fn language(flavour: &'static Flavour, rng: &mut Rng) -> Result<(u64, u64), String> {
    const PACKETS: u64 = 512;
    let mut speaker = Speaker::new(flavour, rng);
    let defaults = speaker.defaults(rng);
    let mut model = Model::default();
    let mut text = speaker.sets();
    // Some are so long that even packets which need not be quick are not compared with all of it.
    let rules = 1usize << rng.random_range(0..=8);
    for _ in 0..rng.random_range(rules / 2..=rules) {
        text += &model.add(priority(rng), speaker.want(rng));
    }
    for default in &defaults {
        text += &default.text();
        text.push('\n');
    }
    let mut policy = load(&text)?;
    let mut audited = Vec::new();
    let mut looks = 0;
    for edit in 0..=EDITS {
        for _ in 0..PACKETS {
            let seen = speaker.seen(rng);
            let packet = seen.packet();
            audited.clear();
            let decision = policy.decide(&packet, |index| audited.push(index));
            let (wanted, would) = decide(&model.rules, &defaults, &seen);
            same(&policy, &packet, (decision, &audited), (wanted, &would))?;
            looks += u64::from(first_look(&policy, &packet)?);
        }
        if edit == EDITS {
            break;
        }
        let mut lines = String::new();
        // A set may be replaced once.
        if rng.random() {
            lines += &speaker.replace_set(&mut model.rules, rng);
        }
        for _ in 0..rng.random_range(1..=8) {
            lines += &model.edit(priority(rng), speaker.want(rng), rng);
        }
        policy = append(&policy, &lines)?;
    }
    Ok((PACKETS * (EDITS + 1), looks))
}
