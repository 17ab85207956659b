// SPDX-License-Identifier: GPL-2.0

//! `ctrfw completions` and `ctrfw man`

use std::io::Write as _;

use anyhow::Context as _;
use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::args::Args;
use crate::output::Output;
use crate::Outcome;

/// Prints the completions for `shell`.
pub(crate) fn completions(output: &mut Output, shell: Shell) -> anyhow::Result<Outcome> {
    let mut text = Vec::new();
    clap_complete::generate(shell, &mut Args::command(), "ctrfw", &mut text);
    output.out.write_all(&text)?;
    Ok(Outcome::Fine)
}

/// Prints the man page of the whole, or of one subcommand.
pub(crate) fn man(output: &mut Output, name: Option<&str>) -> anyhow::Result<Outcome> {
    let mut command = Args::command();
    command.build();
    if let Some(name) = name {
        let found = command.find_subcommand(name).cloned();
        command = found.with_context(|| format!("there is no subcommand {name}"))?;
    }
    let mut text = Vec::new();
    clap_mangen::Man::new(command)
        .section("8")
        .render(&mut text)?;
    output.out.write_all(&text)?;
    Ok(Outcome::Fine)
}
