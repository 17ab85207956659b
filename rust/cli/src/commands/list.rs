// SPDX-License-Identifier: GPL-2.0

//! `ctrfw list`

use std::io::Write as _;

use serde_json::json;

use super::counters;
use crate::module::Module;
use crate::output::{paint, Output, DIM};
use crate::Outcome;

/// Shows the table in force.
pub(crate) fn run(
    output: &mut Output,
    module: &Module,
    with_counters: bool,
) -> anyhow::Result<Outcome> {
    if with_counters {
        return counters::run(output, module, false, false);
    }
    let text = module.read("rules")?;
    let mut rules = 0usize;
    let numbered: Vec<(Option<usize>, &str)> = text
        .lines()
        .map(|line| {
            let verb = line.split(' ').next().unwrap_or("");
            // The members of a set stand behind a tab.
            let number =
                matches!(verb, "allow" | "deny" | "reject" | "audit" | "queue").then(|| {
                    rules = rules.saturating_add(1);
                    rules
                });
            (number, line)
        })
        .collect();
    if output.json {
        let statements: Vec<_> = numbered
            .iter()
            .map(|(rule, text)| json!({ "rule": rule, "text": text }))
            .collect();
        output.print_json(&json!({ "statements": statements }))?;
        return Ok(Outcome::Fine);
    }
    for (rule, text) in numbered {
        let number = rule.map_or(String::new(), |rule| rule.to_string());
        writeln!(
            output.out,
            "{} {text}",
            paint(DIM, format_args!("{number:>5}"))
        )?;
    }
    Ok(Outcome::Fine)
}
