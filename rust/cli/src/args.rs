// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{value_parser, Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

const EXIT_CODES: &str = "Exit codes:
  0  all is well: no errors, the table is in force, no difference
  1  errors in FILE, a table that the module refused, a difference, a table that was not
     confirmed and is not in force any more, none that waits to be confirmed, or for watch, that
     somebody else has loaded another table
  2  wrong use, something cannot be read or written (diff, test: also errors in FILE), or a table
     that should have been reverted and could not be
  141  who read the output has gone";

const HOOK_SOCKET: &str = "/run/ctrfw/watch.sock";

const WATCH: &str = "Follows the engines' events, and tells of each change on standard error, or with --json in a line
of JSON on standard output. Rules keep their counters, and what others add to the table stays.
SIGHUP has FILE read and loaded again. SIGTERM and SIGINT end it; the table stays in force. It ends
with exit code 1 if FILE has errors at first, or if somebody else puts another table in force.";

/// Checks, loads and explains the table of ctrfw, which filters the traffic of container hosts.
#[derive(Debug, Parser)]
#[command(name = "ctrfw", version, after_help = EXIT_CODES, max_term_width = 100)]
pub struct Args {
    /// Print JSON instead of text
    #[arg(long, global = true)]
    pub json: bool,

    /// When to print in colours; auto: on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: Color,

    /// Where the module's files are
    #[arg(long, global = true, hide = true, default_value = "/proc/ctrfw")]
    pub proc: PathBuf,

    /// Where it is kept what is to be known of a table on trial
    #[arg(long, global = true, hide = true, default_value = "/run/ctrfw")]
    pub run: PathBuf,
    /// Where a container engine listens, to look up names in FILE; more than one can be given. If
    /// none is: unix:///var/run/docker.sock, or what DOCKER_HOST says, and
    /// unix:///run/podman/podman.sock
    #[arg(long, global = true, value_name = "unix:///PATH")]
    pub engine: Vec<String>,

    /// What to do
    #[command(subcommand)]
    pub command: Command,
}

/// When to print in colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Color {
    /// If it goes to a terminal, and NO_COLOR is not set
    Auto,
    /// Even into a file
    Always,
    /// Not at all
    Never,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Look for errors in a table, and for rules that can never match; needs no module
    Check {
        /// The table; - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },

    /// Check a table, then put it in force
    Load(Load),

    /// Keep the table that load --confirm put in force, or go back to the one before it
    Confirm {
        /// Go back to the table of before, at once
        #[arg(long)]
        revert: bool,
    },

    /// Show the table in force, numbered
    List {
        /// With the packets and bytes of each statement
        #[arg(long)]
        counters: bool,
    },

    /// Show what loading a table would change
    Diff {
        /// The table; - for standard input
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,
    },

    /// Show how many packets and bytes each statement has decided about
    Counters {
        /// Only statements that have not decided about any packet
        #[arg(long)]
        zero_hits: bool,

        /// Have all counters begin anew, at what is shown: no packet is counted twice or not at all
        #[arg(long, conflicts_with = "zero_hits")]
        reset: bool,
    },

    /// Show the state of the module
    Status,

    /// Tell which statement would decide about a packet, at each hook
    Test(Test),

    /// Keep the old table while a new one, read from standard input, is on trial
    #[command(hide = true)]
    Keep(Keep),
    /// Load a table, and keep what its names of containers stand for right
    #[command(after_help = WATCH)]
    Watch {
        /// The table
        #[arg(value_hint = ValueHint::FilePath)]
        file: PathBuf,

        /// Where ctrfw hook tells of containers
        #[arg(long, value_name = "PATH", default_value = HOOK_SOCKET)]
        socket: PathBuf,
    },

    /// Tell ctrfw watch of a container before it starts: a createRuntime hook for Podman
    Hook {
        /// Where it listens
        #[arg(long, value_name = "PATH", default_value = HOOK_SOCKET)]
        socket: PathBuf,
    },

    /// Print the completions for a shell
    #[command(hide = true)]
    Completions {
        /// The shell
        shell: Shell,
    },

    /// Print the man page, of the whole or of one subcommand
    #[command(hide = true)]
    Man {
        /// The subcommand
        command: Option<String>,
    },
}

/// `load`
#[derive(Debug, clap::Args)]
#[command(
    after_help = "With --confirm, FILE is in force on trial, so that nobody locks himself out. It stays if yes is
typed, where FILE is not - and standard input is a terminal, or if ctrfw confirm is run anywhere.
The table of before comes back, its counters from zero, after SECONDS, if no is typed or ctrfw
confirm --revert is run, and if this command is interrupted or killed or loses its terminal, as
when the connection breaks down. If somebody else has changed the table by then, that is left alone."
)]
pub struct Load {
    /// The table; - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// Add to the table in force instead of replacing it
    #[arg(long)]
    pub append: bool,

    /// Accept names of which no engine knows anything: nothing matches them
    #[arg(long)]
    pub allow_missing: bool,

    /// Go back to the table of before unless the new one is confirmed within SECONDS
    #[arg(long, value_name = "SECONDS", value_parser = value_parser!(u32).range(1..=86400))]
    pub confirm: Option<u32>,
}

/// `keep`
#[derive(Debug, clap::Args)]
pub struct Keep {
    /// How long the trial is
    pub seconds: u32,

    /// How many bytes the new table has
    pub length: usize,

    /// It is to be added to the old one
    #[arg(long)]
    pub append: bool,
}

/// `test`
#[derive(Debug, clap::Args)]
#[command(after_help = "PACKET is written in the rules' own words:

  ctrfw test \"from 172.17.0.2 to 10.0.0.5 proto tcp sport 40000 dport 443 in docker0 out eth0\"

from, to and proto are needed, sport and dport where the protocol has ports, icmp-type where it
has types. Without in or out the packet has no such interface, and no bridge port port-in or
port-out; a hook does not know both: there is no in at local_out, and no out at pre_routing and
local_in. mark is 0 and netns is host unless given; hook asks for some of the hooks only.
Addresses are those that each hook sees: NAT changes them on the way.")]
pub struct Test {
    /// The packet, in one argument
    pub packet: String,

    /// The table; - for standard input; the table in force if not given
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: Option<PathBuf>,

    /// Also tell, for each rule before the one that decides, the first word that does not match
    #[arg(long)]
    pub explain: bool,
}
