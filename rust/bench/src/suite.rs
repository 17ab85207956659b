// SPDX-License-Identifier: GPL-2.0

//! All that is measured of the engine, and how much of it.

use std::path::PathBuf;
use std::rc::Rc;
use std::{cell::RefCell, hint::black_box};

use anyhow::{anyhow, ensure, Context as _, Result};
use ctrfw_core::loader::{Loader, Refusal, Sink};
use ctrfw_core::memory::Heap;
use ctrfw_core::parser::{Statement, Table};
use ctrfw_core::policy::Policy;
use ctrfw_core::slot::Slots;

use crate::adversary::Adversary;
use crate::clock::Moment;
use crate::common::text;
use crate::engine::{Ctrfw, Engine, Local, Mode, OneByOne, NOBODY};
use crate::figure::Figure;
use crate::generator::generate;
use crate::linear::Linear;
use crate::measure::{compare, Evictor};
use crate::peer::{Peer, Variant};
use crate::profile::PROFILES;
use crate::sample::Estimate;
use crate::trace::{draw, LONG};
use crate::tuple::{Header, RuleSet};
use crate::{classbench, pick, rng};

/// Rules that are compared with the truth before an engine is measured: no more than this, all headers
/// together.
const CHECKED: usize = 200_000_000;

/// Rules up to which other engines than the plain scan are asked one after the other.
const ONE_BY_ONE: usize = 10_000;

/// Rules up to which peers build a set of IPv4, and one of IPv6, whose prefixes are too many levels.
const PEERS: [usize; 2] = [100_000, 10_000];

/// What is to be measured.
pub struct Plan {
    /// A folder of sets in ClassBench's format
    pub classbench: Option<PathBuf>,
    /// The program that measures rte_acl
    pub rte_acl: Option<PathBuf>,
    /// The program that measures the classifiers published with PextCuts
    pub classifiers: Option<PathBuf>,
    /// The processor that peers are bound to
    pub cpu: usize,
    /// Samples for each figure
    pub rounds: usize,
    /// Only sets in whose name one of these is; all if there are none.
    pub only: Vec<String>,
    /// Sizes of the project's own sets
    pub sizes: Vec<usize>,
    /// Whatever is drawn by chance
    pub seed: u64,
    /// Told what is being done.
    pub say: fn(&str),
}

impl Plan {
    fn wants(&self, name: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| name.contains(only))
    }

    /// Measures all of it.
    pub fn run(&self) -> Result<Vec<Figure>> {
        let evictor = Rc::new(Evictor::new());
        let mut figures = Vec::new();
        if let Some(folder) = &self.classbench {
            for set in classbench::folder(folder)? {
                if self.wants(&set.name) {
                    self.measure(&set, &evictor, &mut figures)?;
                }
            }
        }
        for &size in &self.sizes {
            for v6 in [false, true] {
                for profile in &PROFILES {
                    let family = if v6 { "6" } else { "" };
                    let size_name = crate::generator::size_name(size);
                    if self.wants(&format!("{}{family}_{size_name}", profile.name)) {
                        let set = generate(profile, v6, size, self.seed);
                        self.measure(&set, &evictor, &mut figures)?;
                    }
                }
            }
        }
        for adversary in Adversary::ALL {
            for size in self.sizes.iter().copied().filter(|size| *size <= 10_000) {
                let set = adversary.generate(false, size, self.seed);
                if self.wants(&set.name) {
                    self.measure(&set, &evictor, &mut figures)?;
                }
            }
        }
        ensure!(!figures.is_empty(), "no such set");
        Ok(figures)
    }

    fn measure(
        &self,
        set: &RuleSet,
        evictor: &Rc<Evictor>,
        figures: &mut Vec<Figure>,
    ) -> Result<()> {
        (self.say)(&format!("{}: {} rules", set.name, set.rules.len()));
        let policy = Rc::new(self.build(set, figures)?);
        if set.rules.len() >= 10_000 {
            self.edit(set, &policy, figures)?;
        }
        let trace: Rc<[Header]> = draw(set, LONG, self.seed).into();
        let linear = Linear::new(set);
        let checked = (CHECKED / set.rules.len()).clamp(64, 20_000);
        let truth: Vec<usize> = trace
            .iter()
            .take(checked)
            .map(|header| linear.first(header).unwrap_or(NOBODY))
            .collect();

        let mut engines: Vec<Box<dyn Engine>> = Vec::new();
        let ctrfw = Ctrfw::new(policy.clone());
        let mut local = Local::new("ctrfw", ctrfw, trace.clone(), evictor.clone());
        local.check(&truth)?;
        engines.push(Box::new(local));
        let nothing = Rc::new(table(&RuleSet {
            rules: vec![],
            ..set.clone()
        })?);
        engines.push(Box::new(Local::new(
            "ctrfw, no rules",
            Ctrfw::new(nothing),
            trace.clone(),
            evictor.clone(),
        )));
        let scan = Local::new("linear scan", linear, trace.clone(), evictor.clone());
        engines.push(Box::new(scan));
        if set.rules.len() <= ONE_BY_ONE {
            let lookup = OneByOne::new(policy.clone(), &trace[0]);
            let mut local = Local::new(
                "ctrfw, rule by rule",
                lookup,
                trace.clone(),
                evictor.clone(),
            );
            local.check(&truth[..truth.len().min(1000)])?;
            engines.push(Box::new(local));
        }
        self.peers(set, &trace, &truth, &mut engines, figures);

        for mode in Mode::ALL {
            let series = compare(&mut engines, mode, self.rounds, self.seed)?;
            let ours = series.iter().find(|series| series.engine == "ctrfw");
            for series in &series {
                let group = format!("{} {}", mode.name(), set.name);
                let estimate = Estimate::of(&series.samples);
                figures.push(Figure::new(
                    group,
                    &series.engine,
                    "ns",
                    estimate,
                    mode.how(),
                ));
                let Some(ours) = ours.filter(|ours| ours.engine != series.engine) else {
                    continue;
                };
                let ratios = ours.samples.iter().zip(&series.samples);
                let ratios: Vec<f64> = ratios.map(|(ours, other)| ours / other).collect();
                figures.push(Figure::new(
                    format!("ratio {} {}", mode.name(), set.name),
                    format!("ctrfw / {}", series.engine),
                    "x",
                    Estimate::of(&ratios),
                    "of the samples of each round, which were taken one after the other",
                ));
            }
        }
        Ok(())
    }

    /// Loads a set several times, and tells how long each step took.
    fn build(&self, set: &RuleSet, figures: &mut Vec<Figure>) -> Result<Policy<Heap>> {
        let text = set.text();
        let rounds = match set.rules.len() {
            ..=10_000 => self.rounds,
            10_001..=100_000 => self.rounds.min(9),
            _ => self.rounds.min(3),
        };
        let (mut parsing, mut writing, mut freezing, mut whole) = (vec![], vec![], vec![], vec![]);
        let mut built = None;
        for _ in 0..rounds.max(1) {
            let start = Moment::now()?;
            parse(&text)?;
            parsing.push(start.elapsed()?.as_secs_f64());
            drop(built.take());
            let start = Moment::now()?;
            let addition =
                text::write::<Heap>(&text, None).map_err(|error| anyhow!("{error:?}"))?;
            let written = start.elapsed()?;
            let policy = addition.finish(None, &mut Slots::default());
            let all = start.elapsed()?;
            writing.push(written.as_secs_f64());
            freezing.push((all - written).as_secs_f64());
            whole.push(all.as_secs_f64());
            built = Some(policy.map_err(|error| anyhow!("{error:?}"))?.0);
        }
        let policy = built.context("no rounds")?;
        let group = format!("build {}", set.name);
        let mut add = |name: &str, samples: &[f64], how: &str| {
            let estimate = Estimate::of(samples);
            figures.push(Figure::new(&group, name, "s", estimate, how));
        };
        add("ctrfw, whole", &whole, "text to a policy that can judge");
        add(
            "ctrfw, parse alone",
            &parsing,
            "text to statements, which are thrown away",
        );
        add("ctrfw, write", &writing, "text to rules");
        add(
            "ctrfw, freeze",
            &freezing,
            "rules to a policy that can judge",
        );
        let bytes = policy.memory() as f64 / set.rules.len().max(1) as f64;
        let how = "Policy::memory(), without counters";
        figures.push(Figure::exact(
            format!("memory {}", set.name),
            "ctrfw",
            "B/rule",
            bytes,
            how,
        ));
        Ok(policy)
    }

    /// Changes one rule at a time, in the middle and at the end.
    fn edit(&self, set: &RuleSet, policy: &Policy<Heap>, figures: &mut Vec<Figure>) -> Result<()> {
        let mut rng = rng(self.seed, 0xed17);
        let middle = set.rules.len() / 2;
        let group = format!("edit {}", set.name);
        for name in ["add", "insert", "delete", "replace"] {
            let mut samples = Vec::new();
            for _ in 0..self.rounds {
                // A rule that fits the others, but may well be new.
                let rule = pick(&mut rng, &set.rules);
                let at = middle + rand::Rng::random_range(&mut rng, 0..middle / 2) + 1;
                let line = RuleSet::line(at, rule);
                let line = match name {
                    "add" => line,
                    "delete" => format!("delete {at}\n"),
                    name => format!("{name} {at} {line}"),
                };
                let start = Moment::now()?;
                let changed = text::append(policy, &line);
                samples.push(start.elapsed()?.as_secs_f64() * 1e6);
                black_box(changed.map_err(|error| anyhow!("{line}: {error}"))?);
            }
            figures.push(Figure::new(
                &group,
                name,
                "us",
                Estimate::of(&samples),
                "text to a policy that can judge; without a grace period and freeing",
            ));
        }
        Ok(())
    }

    /// Has peers build the set. What one cannot build it is not measured on.
    fn peers(
        &self,
        set: &RuleSet,
        trace: &[Header],
        truth: &[usize],
        engines: &mut Vec<Box<dyn Engine>>,
        figures: &mut Vec<Figure>,
    ) {
        if set.rules.len() > PEERS[usize::from(set.v6)] {
            return;
        }
        let mut start =
            |program: &Option<PathBuf>, name: &str, arguments: &[&str], how: [&str; 2]| {
                let program = program.as_ref()?;
                let peer = match Peer::start(program, self.cpu, arguments, set, trace, truth) {
                    Ok(peer) => peer,
                    Err(error) => {
                        (self.say)(&format!("{}: {name}: {error:#}", set.name));
                        return None;
                    }
                };
                let group = format!("build {}", set.name);
                figures.push(Figure::exact(group, name, "s", peer.seconds, how[0]));
                let group = format!("memory {}", set.name);
                let bytes = peer.bytes / set.rules.len() as f64;
                figures.push(Figure::exact(group, name, "B/rule", bytes, how[1]));
                Some(Rc::new(RefCell::new(peer)))
            };
        let how = ["rte_acl_build()", "DPDK's heap, rules included"];
        if let Some(peer) = start(&self.rte_acl, "rte_acl", &[], how) {
            for (name, word, single) in [
                ("rte_acl scalar x1", "scalar 1", true),
                ("rte_acl scalar x16", "scalar 16", false),
                ("rte_acl AVX2 x1", "avx2 1", true),
                ("rte_acl AVX2 x16", "avx2 16", false),
            ] {
                engines.push(Box::new(Variant {
                    name,
                    word,
                    single,
                    peer: peer.clone(),
                }));
            }
        }
        if set.v6 {
            return;
        }
        let how = [
            "Classifier::Create()",
            "Classifier::MemorySize(), and the rules",
        ];
        for name in ["PextCuts", "DynamicTuple"] {
            if let Some(peer) = start(&self.classifiers, name, &[name], how) {
                engines.push(Box::new(Variant {
                    name,
                    word: "1",
                    single: true,
                    peer,
                }));
            }
        }
    }
}

/// The policy that a set is.
fn table(set: &RuleSet) -> Result<Policy<Heap>> {
    text::load(&set.text()).map_err(|error| anyhow!("{error}"))
}

/// Takes statements, and does nothing with them.
struct Nowhere;

impl Sink<Table> for Nowhere {
    type Error = ();

    fn accept(&mut self, item: Statement<'_>) -> Result<(), Refusal<()>> {
        black_box(item);
        Ok(())
    }
}

fn parse(text: &str) -> Result<()> {
    let mut loader = Loader::<Table>::new();
    let fed = loader.feed(text.as_bytes(), &mut Nowhere);
    fed.and_then(|()| loader.finish(&mut Nowhere))
        .map_err(|error| anyhow!("{error:?}"))
}
