// SPDX-License-Identifier: GPL-2.0

//! `ctrfw confirm`

use std::io::{BufReader, Write as _};

use anyhow::bail;
use serde_json::json;

use crate::output::Output;
use crate::trial::{hear, tell, Directory, Ending, Reason, Report, Wish};
use crate::Outcome;

/// Ends the trial of the table that `load --confirm` put in force.
pub(crate) fn run(
    output: &mut Output,
    directory: &Directory,
    revert: bool,
) -> anyhow::Result<Outcome> {
    let wish = match revert {
        true => Wish::Revert(Reason::Asked),
        false => Wish::Confirm,
    };
    let mut ending = None;
    if let Some(stream) = directory.connect()? {
        // If it ends right now, that is told below.
        tell(&stream, &wish).unwrap_or_default();
        match hear(&mut BufReader::new(stream)) {
            Some(Report::Ended(told)) => ending = Some(told),
            Some(_) => bail!("the keeper of the old table makes no sense"),
            None => {}
        }
    }
    let Some(ending) = ending else {
        return nothing(output, directory);
    };
    print(output, &ending)?;
    match (&ending, revert) {
        (Ending::Confirmed, false) | (Ending::Reverted { .. }, true) => Ok(Outcome::Fine),
        (Ending::Stuck { .. }, _) => bail!("the table could not be reverted"),
        _ => Ok(Outcome::Negative),
    }
}

fn print(output: &mut Output, ending: &Ending) -> anyhow::Result<()> {
    if output.json {
        return output.print_json(&json!({ "waiting": true, "ending": ending }));
    }
    writeln!(output.out, "{ending}")?;
    Ok(())
}

/// Says that there was nothing to confirm, and what became of it if it is known.
fn nothing(output: &mut Output, directory: &Directory) -> anyhow::Result<Outcome> {
    let last = directory.last();
    if output.json {
        output.print_json(&json!({ "waiting": false, "ending": last }))?;
        return Ok(Outcome::Negative);
    }
    output.remark("no table waits to be confirmed");
    let previous = directory.previous();
    match last {
        Some(ending @ Ending::Stuck { .. }) => {
            output.remark(format_args!("the last one {ending}"));
        }
        _ if previous.exists() => output.remark(format_args!(
            "one was on trial, and who should have reverted it was killed: the table of before is in {}",
            previous.display()
        )),
        Some(ending) => output.remark(format_args!("the last one was {ending}")),
        None => {}
    }
    Ok(Outcome::Negative)
}
