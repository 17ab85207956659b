// SPDX-License-Identifier: GPL-2.0

//! `ctrfw counters`

use std::io::Write as _;

use serde_json::json;

use crate::counters::{parse, Counter};
use crate::module::Module;
use crate::output::Output;
use crate::Outcome;

/// Shows what each statement has counted, and has them begin anew if `reset`.
pub(crate) fn run(
    output: &mut Output,
    module: &Module,
    zero_hits: bool,
    reset: bool,
) -> anyhow::Result<Outcome> {
    let text = if reset {
        module.reset_counters()?
    } else {
        module.read("counters")?
    };
    let mut counters: Vec<Counter> = text.lines().filter_map(parse).collect();
    if zero_hits {
        counters.retain(|counter| counter.packets == 0);
    }
    print(output, &counters)
}

/// Prints counters, numbers in columns.
pub(crate) fn print(output: &mut Output, counters: &[Counter]) -> anyhow::Result<Outcome> {
    if output.json {
        output.print_json(&json!({ "counters": counters }))?;
        return Ok(Outcome::Fine);
    }
    if !counters.is_empty() {
        writeln!(
            output.out,
            "{:>8} {:>12} {:>15}  statement",
            "rule", "packets", "bytes"
        )?;
    }
    for counter in counters {
        let Counter {
            name,
            packets,
            bytes,
            text,
            ..
        } = counter;
        writeln!(output.out, "{name:>8} {packets:>12} {bytes:>15}  {text}")?;
    }
    Ok(Outcome::Fine)
}
