// SPDX-License-Identifier: GPL-2.0

//! `ctrfw check`

use std::io::{self, Write};
use std::path::Path;

use serde_json::json;

use crate::names::reading::{Reading, Unknown};
use crate::output::{paint, Output, BAD, GOOD, STRONG, WARN};
use crate::problem::{Problem, Severity};
use crate::snippet::Snippet;
use crate::source::Source;
use crate::{shadow, Outcome};

/// Tells all that is wrong or odd.
pub(crate) fn run(output: &mut Output, file: &Path, engines: &[String]) -> anyhow::Result<Outcome> {
    let source = Source::read(file)?;
    let reading = Reading::ask(&source, None, engines, Unknown::Offline)?;
    let failed = reading.failed();
    let mut problems = reading.problems;
    let (warnings, complete) = shadow::warnings(&reading.policy);
    problems.extend(warnings);
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if output.json {
        output.print_json(&json!({
            "file": source.name,
            "ok": !failed,
            "problems": problems,
            "all_rules_compared": complete,
        }))?;
    } else {
        print(&mut output.out, &source, &problems)?;
        if !complete {
            output.remark("too many rules to compare them all: there may be more that never match");
        }
    }
    Ok(if failed {
        Outcome::Negative
    } else {
        Outcome::Fine
    })
}

/// Prints problems, each with its line and a caret.
pub(crate) fn print(to: &mut impl Write, source: &Source, problems: &[Problem]) -> io::Result<()> {
    let lines = source.lines();
    for problem in problems {
        let place = format!("{}:{}:{}:", source.name, problem.line, problem.column);
        let style = match problem.severity {
            Severity::Error => BAD,
            Severity::Warning => WARN,
        };
        let index = usize::try_from(problem.line).unwrap_or(0).wrapping_sub(1);
        let at = usize::try_from(problem.column).unwrap_or(0).wrapping_sub(1);
        let snippet = Snippet::new(lines.get(index).copied().unwrap_or(&[]), at);
        writeln!(
            to,
            "{} {}: {}\n{}\n{}{}",
            paint(STRONG, place),
            paint(style, problem.severity),
            problem.message,
            snippet.source,
            paint(GOOD, snippet.carets),
            match &problem.suggestion {
                Some(word) => format!(" {}", paint(GOOD, format!("perhaps {word}"))),
                None => String::new(),
            }
        )?;
    }
    Ok(())
}
