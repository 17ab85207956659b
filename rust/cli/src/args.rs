// SPDX-License-Identifier: GPL-2.0

//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum, ValueHint};
use clap_complete::Shell;

const EXIT_CODES: &str = "Exit codes:
  0  all is well: no errors, the table is in force, no difference
  1  errors in FILE, a table that the module refused, a difference
  2  wrong use, or something cannot be read or written (diff, test: also errors in FILE)";

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
    },

    /// Show the state of the module
    Status,

    /// Tell which statement would decide about a packet, at each hook
    Test(Test),

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
pub struct Load {
    /// The table; - for standard input
    #[arg(value_hint = ValueHint::FilePath)]
    pub file: PathBuf,

    /// Add to the table in force instead of replacing it
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
