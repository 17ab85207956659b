// SPDX-License-Identifier: GPL-2.0

//! `ctrfw test`

use std::io::Write as _;

use anyhow::bail;
use serde_json::json;

use super::check;
use crate::args::Test;
use crate::module::Module;
use crate::names::reading::{Reading, Unknown};
use crate::output::{paint, Output, BAD, DIM, GOOD, WARN};
use crate::packet::Described;
use crate::source::Source;
use crate::Outcome;

/// Tells who would decide about a packet, hook by hook.
pub(crate) fn run(
    output: &mut Output,
    module: &Module,
    args: &Test,
    engines: &[String],
) -> anyhow::Result<Outcome> {
    let described = match Described::parse(args.packet.as_bytes()) {
        Ok(described) => described,
        Err(problem) => {
            let source = Source {
                name: "PACKET".to_owned(),
                text: args.packet.clone().into_bytes(),
            };
            check::print(&mut output.err, &source, &[*problem])?;
            bail!("that is no packet");
        }
    };
    let source = match &args.file {
        Some(file) => Source::read(file)?,
        None => Source {
            name: "table in force".to_owned(),
            text: module.read("rules")?.into_bytes(),
        },
    };
    let reading = Reading::ask(&source, None, engines, Unknown::Warned)?;
    check::print(&mut output.err, &source, &reading.problems)?;
    if reading.failed() {
        bail!("{}: errors in the table", source.name);
    }
    let policy = reading.policy;
    let rules = policy.rules();
    let probes = args.explain.then(|| policy.probes());
    let decided: Vec<_> = described
        .at_hooks()
        .map(|packet| (packet, policy.decide(&packet)))
        .collect();
    let words = decided.iter().map(|(_, verdict)| verdict.word.len());
    let width = words.max().unwrap_or(0).max("allow".len());
    let mut results = Vec::new();
    for (packet, verdict) in &decided {
        let hook = packet.hook.rule_name();
        let number = verdict.rule.map(|index| index.saturating_add(1));
        let before = match verdict.failsafe {
            true => 0,
            false => verdict.rule.unwrap_or(rules.len()),
        };
        let mut passed_over = Vec::new();
        if let Some(probes) = &probes {
            for (index, text) in rules.iter().enumerate().take(before) {
                if let Some(word) = probes.first_mismatch(index, packet) {
                    passed_over.push((index.saturating_add(1), text, word));
                }
            }
        }
        let audited: Vec<_> = verdict
            .audited
            .iter()
            .filter_map(|index| {
                let (rule, line) = (index.saturating_add(1), policy.rule_line(*index));
                Some((rule, line, rules.get(*index)?))
            })
            .collect();
        if output.json {
            let passed_over: Vec<_> = passed_over
                .iter()
                .map(|(rule, text, word)| json!({"rule": rule, "text": text, "mismatch": word}))
                .collect();
            let audited: Vec<_> = audited
                .iter()
                .map(|(rule, line, text)| json!({"rule": rule, "line": line, "text": text}))
                .collect();
            results.push(json!({
                "hook": hook,
                "verdict": verdict.word,
                "rule": number,
                "line": verdict.line,
                "text": verdict.text,
                "failsafe": verdict.failsafe,
                "failsafe_if_own": verdict.failsafe_if_own,
                "audited": audited,
                "passed_over": passed_over,
            }));
            continue;
        }
        let style = match verdict.allow {
            Some(true) => GOOD,
            Some(false) => BAD,
            None => WARN,
        };
        let why = match (number, verdict.line) {
            _ if verdict.failsafe => format!("before all rules: {}", verdict.text),
            (Some(rule), Some(line)) => format!("rule {rule} (line {line}): {}", verdict.text),
            (_, Some(line)) => format!("no rule matches; line {line}: {}", verdict.text),
            _ => "no rule matches, and no default holds".to_owned(),
        };
        let word = paint(style, format_args!("{:<width$}", verdict.word));
        writeln!(output.out, "{hook:<12}  {word}  {why}")?;
        if verdict.failsafe_if_own {
            let note = "if the address is the host's own, the failsafe lets it pass";
            writeln!(output.out, "{:14}{note}", "")?;
        }
        for (rule, line, text) in audited {
            writeln!(
                output.out,
                "{:14}audited by rule {rule} (line {line}): {text}",
                ""
            )?;
        }
        for (rule, text, word) in passed_over {
            let note = paint(DIM, format_args!("not rule {rule}, for \"{word}\": {text}"));
            writeln!(output.out, "{:14}{note}", "")?;
        }
    }
    if output.json {
        output.print_json(&json!({ "hooks": results }))?;
    }
    Ok(Outcome::Fine)
}
