// SPDX-License-Identifier: GPL-2.0

//! `ctrfw load`

use anyhow::bail;
use serde_json::json;

use super::check;
use crate::args::{Args, Load};
use crate::module::Module;
use crate::names::reading::{Reading, Unknown};
use crate::output::{paint, Output, BAD, GOOD};
use crate::policy::{is_conditional, Policy};
use crate::source::Source;
use crate::trial::{Ending, Report};
use crate::{prompt, shadow, Outcome};

/// Checks a table, and puts it in force in one transaction; for good, or on trial.
pub(crate) fn run(
    output: &mut Output,
    module: &Module,
    args: &Args,
    load: &Load,
) -> anyhow::Result<Outcome> {
    let source = Source::read(&load.file)?;
    let base = match load.append {
        // Sets may be those of the table in force, and its rules may be edited.
        true => Some(Policy::parse(module.read("rules")?.as_bytes()).0),
        false => None,
    };
    let unknown = match load.allow_missing {
        true => Unknown::Warned,
        false => Unknown::Refused,
    };
    let reading = Reading::ask(&source, base.as_ref(), &args.engine, unknown)?;
    let mut refused = reading.failed().then(|| "errors in the file".to_owned());
    if load.confirm.is_some() && is_conditional(&source.text) {
        let why = "what is loaded on trial must have no condition of its own (if generation)";
        refused.get_or_insert_with(|| why.to_owned());
    }
    let mut ending = None;
    let mut problems = reading.problems.clone();
    problems.extend(shadow::warnings(&reading.policy).0);
    problems.sort_by_key(|problem| (problem.line, problem.column));
    if !output.json {
        check::print(&mut output.err, &source, &problems)?;
    }
    if refused.is_none() {
        let explain = |why: String| reading.explain(&why);
        match load.confirm {
            None => refused = module.load(&reading.text, load.append)?.err().map(explain),
            // That changes nothing: there is nothing to confirm.
            Some(_) if load.append && reading.text.is_empty() => {}
            Some(seconds) => match prompt::run(output, args, load, seconds, &reading.text)? {
                Report::InForce => {}
                Report::Refused(why) => refused = Some(explain(why)),
                Report::Failed(why) => bail!(why),
                Report::Ended(told) => ending = Some(told),
            },
        }
    }
    if output.json {
        let mut told = json!({
            "file": source.name,
            "loaded": refused.is_none(),
            "refused": refused,
            "problems": problems,
        });
        if let (Some(told), Some(_)) = (told.as_object_mut(), load.confirm) {
            told.insert("ending".to_owned(), json!(ending));
        }
        output.print_json(&told)?;
    } else if let Some(why) = &refused {
        output.remark(format_args!("nothing changed: {}: {why}", source.name));
    } else if let Some(ending) = &ending {
        let style = match ending {
            Ending::Confirmed => GOOD,
            _ => BAD,
        };
        output.remark(paint(style, ending));
    }
    if !output.json && refused.is_none() {
        // A table that enforces nothing says so to who loads it, too.
        let status = module.read("status")?;
        let warning = status
            .lines()
            .find_map(|line| line.strip_prefix("warning "));
        if let Some(warning) = warning {
            output.remark(paint(BAD, warning));
        }
    }
    match ending {
        None if refused.is_none() => Ok(Outcome::Fine),
        Some(Ending::Confirmed) => Ok(Outcome::Fine),
        Some(Ending::Stuck { .. }) => bail!("the table could not be reverted"),
        _ => Ok(Outcome::Negative),
    }
}
