// SPDX-License-Identifier: GPL-2.0

//! `ctrfw load`

use serde_json::json;

use super::check;
use crate::args::Load;
use crate::module::Module;
use crate::output::Output;
use crate::policy::Policy;
use crate::source::Source;
use crate::{shadow, Outcome};

/// Checks a table, and puts it in force in one transaction.
pub(crate) fn run(output: &mut Output, module: &Module, args: &Load) -> anyhow::Result<Outcome> {
    let mut source = Source::read(&args.file)?;
    let (policy, mut problems) = if args.append {
        // Sets may be those of the table in force, and its rules may be edited.
        let (base, _) = Policy::parse(module.read("rules")?.as_bytes());
        (Policy::default(), base.problems_of_addition(&source.text))
    } else {
        Policy::parse(&source.text)
    };
    let mut refused = (!problems.is_empty()).then(|| "errors in the file".to_owned());
    problems.extend(shadow::warnings(&policy).0);
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if !output.json {
        check::print(&mut output.err, &source, &problems)?;
    }
    if refused.is_none() {
        // So that nothing is left for close(2), which cannot tell of a failure.
        if !source.text.is_empty() && !source.text.ends_with(b"\n") {
            source.text.push(b'\n');
        }
        refused = module.load(&source.text, args.append)?.err();
    }
    if output.json {
        output.print_json(&json!({
            "file": source.name,
            "loaded": refused.is_none(),
            "refused": refused,
            "problems": problems,
        }))?;
    } else if let Some(why) = &refused {
        output.remark(format_args!("nothing changed: {}: {why}", source.name));
    }
    Ok(if refused.is_some() {
        Outcome::Negative
    } else {
        Outcome::Fine
    })
}
