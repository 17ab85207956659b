// SPDX-License-Identifier: GPL-2.0

//! Measures the policy engine, checks it against an oracle, and makes rule sets.

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Instant;

use anyhow::{bail, Context as _, Result};
use clap::{Parser, Subcommand};
use ctrfw_bench::adversary::Adversary;
use ctrfw_bench::classbench;
use ctrfw_bench::generator::generate;
use ctrfw_bench::oracle;
use ctrfw_bench::profile::PROFILES;
use ctrfw_bench::shape::Shape;
use ctrfw_bench::suite::Plan;
use ctrfw_bench::tuple::RuleSet;

/// Measures ctrfw's policy engine alone, and checks it against an oracle.
#[derive(Parser)]
#[command(version, max_term_width = 100)]
struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Measures lookups, building and edits, and writes the figures as JSON.
    Engine {
        /// Where the figures go
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// A folder of rule sets in ClassBench's format, to be measured first
        #[arg(long, value_name = "DIR")]
        classbench: Option<PathBuf>,
        /// The program that measures DPDK's rte_acl
        #[arg(long, value_name = "PROGRAM")]
        rte_acl: Option<PathBuf>,
        /// The program that measures the classifiers published with PextCuts
        #[arg(long, value_name = "PROGRAM")]
        classifiers: Option<PathBuf>,
        /// The processor that peers are bound to
        #[arg(long, default_value_t = 0)]
        cpu: usize,
        /// Samples for each figure
        #[arg(long, default_value_t = 31, value_parser = clap::value_parser!(u16).range(1..))]
        rounds: u16,
        /// Only sets in whose name one of these words is
        #[arg(long, value_delimiter = ',')]
        sets: Vec<String>,
        /// Sizes of the project's own sets
        #[arg(
            long,
            value_delimiter = ',',
            default_value = "1000,10000,100000,1000000"
        )]
        sizes: Vec<usize>,
        /// Whatever is drawn by chance
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Compares the policy engine with a linear oracle on random tables and packets.
    Oracle {
        /// How many pairs of a table and a packet
        #[arg(long, default_value_t = 100_000_000)]
        pairs: u64,
        /// Whatever is drawn by chance
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Only this table, as a disagreement calls it
        #[arg(long)]
        table: Option<u64>,
    },
    /// Prints a rule set: acl, fw, ipc, wildcards, ranges, ports, nested or dense.
    Generate {
        /// What it is like
        kind: String,
        /// How many rules
        size: usize,
        /// For IPv6
        #[arg(long)]
        ipv6: bool,
        /// Whatever is drawn by chance
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// In ctrfw's language instead of ClassBench's format
        #[arg(long)]
        rules: bool,
    },
    /// Prints rule sets in ClassBench's format as rules of ctrfw's language.
    Rules {
        /// The file
        file: PathBuf,
    },
    /// Tells what rule sets look like: those of a folder, and the project's own of about the same sizes.
    Shape {
        /// A folder of rule sets in ClassBench's format
        #[arg(long, value_name = "DIR")]
        classbench: Option<PathBuf>,
    },
}

fn main() -> ExitCode {
    match run(Args::parse().what) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("ctrfw-bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(what: What) -> Result<()> {
    match what {
        What::Engine {
            out,
            classbench,
            rte_acl,
            classifiers,
            cpu,
            rounds,
            sets,
            sizes,
            seed,
        } => {
            let plan = Plan {
                classbench,
                rte_acl,
                classifiers,
                cpu,
                rounds: rounds.into(),
                only: sets,
                sizes,
                seed,
                say: |line| eprintln!("{line}"),
            };
            let figures = plan.run()?;
            let json = serde_json::to_string_pretty(&figures)? + "\n";
            fs::write(&out, json).with_context(|| format!("{}", out.display()))?;
        }
        What::Oracle { pairs, seed, table } => check(pairs, seed, table)?,
        What::Generate {
            kind,
            size,
            ipv6,
            seed,
            rules,
        } => {
            let set = make(&kind, ipv6, size, seed)?;
            if rules {
                print!("{}", set.text());
            } else {
                print!("{}", classbench::print(&set)?);
            }
        }
        What::Rules { file } => {
            let text = fs::read_to_string(&file).with_context(|| format!("{}", file.display()))?;
            let set =
                classbench::parse("", &text).with_context(|| format!("{}", file.display()))?;
            print!("{}", set.text());
        }
        What::Shape { classbench } => {
            for set in classbench.map_or(Ok(vec![]), |dir| classbench::folder(&dir))? {
                print!("{}", Shape::of(&set));
            }
            for size in [1000, 10_000] {
                for profile in &PROFILES {
                    print!("{}", Shape::of(&generate(profile, false, size, 1)));
                }
            }
        }
    }
    Ok(())
}

fn make(kind: &str, v6: bool, size: usize, seed: u64) -> Result<RuleSet> {
    if let Some(profile) = PROFILES.iter().find(|profile| profile.name == kind) {
        return Ok(generate(profile, v6, size, seed));
    }
    let adversary = Adversary::ALL
        .into_iter()
        .find(|other| other.name() == kind);
    match adversary {
        Some(adversary) => Ok(adversary.generate(v6, size, seed)),
        None => bail!("no such kind of rule set: {kind}"),
    }
}

fn check(pairs: u64, seed: u64, table: Option<u64>) -> Result<()> {
    let start = Instant::now();
    let result = match table {
        Some(table) => oracle::run(1, seed, 1, table),
        None => {
            let threads = thread::available_parallelism().map_or(1, usize::from);
            oracle::run(pairs, seed, threads, 0)
        }
    };
    let report = match result {
        Ok(report) => report,
        Err(disagreement) => bail!(
            "{disagreement}\nagain: --seed {seed} --table {}",
            disagreement.table
        ),
    };
    let seconds = start.elapsed().as_secs_f64();
    for (name, pairs) in &report.pairs {
        println!("{name:12} {pairs:>12} pairs");
    }
    println!(
        "{} pairs of {} tables, edited {} times, in {seconds:.1} s ({:.2} million a second): policy and oracle agree; \
         a first look told {:.0} % of them",
        report.total(),
        report.tables,
        report.edits,
        report.total() as f64 / seconds / 1e6,
        100.0 * report.looks as f64 / report.total() as f64
    );
    Ok(())
}
