// SPDX-License-Identifier: GPL-2.0

//! The user's command of ctrfw: it checks a table, loads it, and tells what is in force.
//!
//! The language is that of the module, from the very same files. What the command adds stands
//! beside it: places in a file, rules that never match.

#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

pub mod args;
pub mod cgroup;
mod clause;
mod commands;
mod counters;
mod engine;
mod keeper;
mod module;
mod names;
mod output;
mod packet;
pub mod policy;
pub mod problem;
mod prompt;
mod ready;
pub mod shadow;
mod signals;
mod snippet;
mod source;
mod suggestion;
mod teller;
mod trial;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;

use crate::args::{Args, Command};
use crate::output::Output;

/// What a command has to say by its exit code, errors of use and of I/O apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// 0: all is well.
    Fine,
    /// 1: errors were found, a table was refused or reverted, two tables differ.
    Negative,
}

/// The exit code for wrong use and for what cannot be read or written.
const TROUBLE: u8 = 2;
/// As if SIGPIPE had ended the command: who read its output has gone.
const BROKEN_PIPE: u8 = 141;

/// Does what the command line asks for.
pub fn run() -> ExitCode {
    let args = Args::parse();
    let mut output = Output::new(args.json, args.color);
    match dispatch(&args, &mut output).and_then(|outcome| {
        output.flush()?;
        Ok(outcome)
    }) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Negative) => ExitCode::from(1),
        Err(error) if is_broken_pipe(&error) => ExitCode::from(BROKEN_PIPE),
        Err(error) => {
            output.complain(&error);
            ExitCode::from(TROUBLE)
        }
    }
}

fn dispatch(args: &Args, output: &mut Output) -> anyhow::Result<Outcome> {
    let module = module::Module::new(&args.proc);
    let directory = trial::Directory::new(&args.run);
    match &args.command {
        Command::Check { file } => commands::check::run(output, file, &args.engine),
        Command::Load(load) => commands::load::run(output, &module, args, load),
        Command::Confirm { revert } => commands::confirm::run(output, &directory, *revert),
        Command::Keep(keep) => keeper::run(&module, &directory, keep),
        Command::List { counters } => commands::list::run(output, &module, *counters),
        Command::Diff { file } => commands::diff::run(output, &module, file, &args.engine),
        Command::Counters { zero_hits, reset } => {
            commands::counters::run(output, &module, *zero_hits, *reset)
        }
        Command::Status => commands::status::run(output, &module),
        Command::Test(test) => commands::test::run(output, &module, test, &args.engine),
        Command::Watch { file, socket } => {
            commands::watch::run(output, &module, &directory, file, socket, &args.engine)
        }
        Command::Hook { socket } => commands::hook::run(output, socket),
        Command::Completions { shell } => commands::describe::completions(output, *shell),
        Command::Man { command } => commands::describe::man(output, command.as_deref()),
    }
}

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    error
        .downcast_ref::<io::Error>()
        .is_some_and(|error| error.kind() == io::ErrorKind::BrokenPipe)
}
