// SPDX-License-Identifier: GPL-2.0

//! `ctrfw status`

use std::io::Write as _;

use serde_json::{Map, Value};

use crate::module::Module;
use crate::output::Output;
use crate::Outcome;

/// Shows the status file.
pub(crate) fn run(output: &mut Output, module: &Module) -> anyhow::Result<Outcome> {
    let text = module.read("status")?;
    if output.json {
        output.print_json(&parse(&text))?;
    } else {
        write!(output.out, "{text}")?;
    }
    Ok(Outcome::Fine)
}

/// Lines of `NAME VALUE`, and of `hook NAME [KEY NUMBER]...`.
fn parse(text: &str) -> Value {
    let mut all = Map::new();
    let mut hooks = Map::new();
    for line in text.lines() {
        let (name, rest) = line.split_once(' ').unwrap_or((line, ""));
        match (name, rest.split_once(' ')) {
            ("hook", Some((hook, figures))) => {
                hooks.insert(hook.to_owned(), figures_of(figures));
            }
            ("trace", Some((expressions, figures))) => {
                let figures = format!("expressions {expressions} {figures}");
                all.insert(name.to_owned(), figures_of(&figures));
            }
            ("log" | "events", Some(_)) => {
                all.insert(name.to_owned(), figures_of(rest));
            }
            ("last_error", _) if rest == "none" => {
                all.insert(name.to_owned(), Value::Null);
            }
            _ => {
                all.insert(name.to_owned(), value(rest));
            }
        }
    }
    all.insert("hooks".to_owned(), Value::Object(hooks));
    Value::Object(all)
}

fn figures_of(text: &str) -> Value {
    let mut words = text.split(' ');
    let mut figures = Map::new();
    while let (Some(key), Some(figure)) = (words.next(), words.next()) {
        figures.insert(key.to_owned(), value(figure));
    }
    Value::Object(figures)
}

fn value(text: &str) -> Value {
    text.parse::<u64>().map_or(Value::from(text), Value::from)
}
