// SPDX-License-Identifier: GPL-2.0

//! `ctrfw test`

use std::io::Write as _;

use anyhow::bail;
use serde_json::json;

use super::check;
use crate::args::Test;
use crate::module::Module;
use crate::output::{paint, Output, BAD, DIM, GOOD};
use crate::packet::Described;
use crate::policy::Policy;
use crate::source::Source;
use crate::Outcome;

/// Tells who would decide about a packet, hook by hook.
pub(crate) fn run(output: &mut Output, module: &Module, args: &Test) -> anyhow::Result<Outcome> {
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
    let (policy, problems) = Policy::parse(&source.text);
    if !problems.is_empty() {
        check::print(&mut output.err, &source, &problems)?;
        bail!("{}: errors in the table", source.name);
    }
    let rules = policy.rules();
    let mut results = Vec::new();
    for packet in described.at_hooks() {
        let verdict = policy.decide(&packet);
        let hook = packet.hook.rule_name();
        let number = verdict.rule.map(|index| index.saturating_add(1));
        let before = verdict.rule.unwrap_or(rules.len());
        let mut passed_over = Vec::new();
        if args.explain {
            for (index, text) in rules.iter().enumerate().take(before) {
                if let Some((key, value)) = policy.first_mismatch(index, &packet) {
                    passed_over.push((index.saturating_add(1), text, format!("{key} {value}")));
                }
            }
        }
        let word = if verdict.allow { "allow" } else { "deny" };
        if output.json {
            let passed_over: Vec<_> = passed_over
                .iter()
                .map(|(rule, text, word)| json!({"rule": rule, "text": text, "mismatch": word}))
                .collect();
            results.push(json!({
                "hook": hook,
                "verdict": word,
                "rule": number,
                "line": verdict.line,
                "text": verdict.text,
                "passed_over": passed_over,
            }));
            continue;
        }
        let style = if verdict.allow { GOOD } else { BAD };
        let why = match (number, verdict.line) {
            (Some(rule), Some(line)) => format!("rule {rule} (line {line}): {}", verdict.text),
            (_, Some(line)) => format!("no rule matches; line {line}: {}", verdict.text),
            _ => "no rule matches, and no default holds".to_owned(),
        };
        let word = paint(style, format_args!("{word:<5}"));
        writeln!(output.out, "{hook:<12}  {word}  {why}")?;
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
