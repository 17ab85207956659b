// SPDX-License-Identifier: GPL-2.0

//! `ctrfw diff`

use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use anyhow::bail;
use serde_json::json;
use similar::{ChangeTag, TextDiff};

use super::check;
use crate::module::Module;
use crate::names::reading::{Reading, Unknown};
use crate::output::{paint, Output, BAD, GOOD};
use crate::source::Source;
use crate::Outcome;

/// Shows what loading `file` would change.
pub(crate) fn run(
    output: &mut Output,
    module: &Module,
    file: &Path,
    engines: &[String],
) -> anyhow::Result<Outcome> {
    let source = Source::read(file)?;
    let reading = Reading::ask(&source, None, engines, Unknown::Warned)?;
    check::print(&mut output.err, &source, &reading.problems)?;
    if reading.failed() {
        bail!("{}: errors in the file", source.name);
    }
    let old = module.read("rules")?;
    let lines = reading.policy.canonical().into_iter();
    let new: String = lines.map(|line| line + "\n").collect();
    let diff = TextDiff::configure()
        .timeout(Duration::from_secs(5))
        .diff_lines(&old, &new);
    if output.json {
        let changes: Vec<_> = diff
            .iter_all_changes()
            .filter(|change| change.tag() != ChangeTag::Equal)
            .map(|change| {
                let removed = change.tag() == ChangeTag::Delete;
                json!({
                    "change": if removed { "remove" } else { "add" },
                    "text": change.value().trim_end(),
                })
            })
            .collect();
        output.print_json(&json!({ "same": old == new, "changes": changes }))?;
    } else {
        let text = diff
            .unified_diff()
            .header("table in force", &source.name)
            .to_string();
        for line in text.lines() {
            match line.as_bytes().first() {
                Some(b'-') => writeln!(output.out, "{}", paint(BAD, line))?,
                Some(b'+') => writeln!(output.out, "{}", paint(GOOD, line))?,
                _ => writeln!(output.out, "{line}")?,
            }
        }
    }
    Ok(if old == new {
        Outcome::Fine
    } else {
        Outcome::Negative
    })
}
