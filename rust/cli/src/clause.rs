// SPDX-License-Identifier: GPL-2.0

//! The match words of a rule in canonical form, each with its values.

use ctrfw_core::lexer::{Form, Words};

/// One match word and what stands behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Clause {
    /// The word.
    pub(crate) key: String,
    /// Whether a `!` stands behind it.
    pub(crate) negated: bool,
    /// The values without marks and quotes; a named set with its `@`.
    pub(crate) values: Vec<String>,
    /// All of it as it stands in the line.
    pub(crate) text: String,
}

/// The match words of a rule in canonical form; what else the rule says is left out.
pub(crate) fn clauses(rule: &str) -> Vec<Clause> {
    let mut words = Words::new(rule.as_bytes());
    let mut found = Vec::new();
    if words.next().is_some_and(|verb| verb.text == b"queue") {
        // Its number
        words.next();
    }
    while let Some(key) = words.next() {
        let name = String::from_utf8_lossy(key.text).into_owned();
        match name.as_str() {
            // The answer of a rule that rejects
            "with" => {
                words.next();
                continue;
            }
            // Where nobody listens on a queue
            "bypass" => continue,
            // These stand behind all match words.
            "priority" | "log" | "comment" => break,
            _ => {}
        }
        let mut clause = Clause {
            key: name,
            negated: false,
            values: Vec::new(),
            text: String::new(),
        };
        let mut in_braces = false;
        let mut end = key.at.saturating_add(key.raw.len());
        for word in words.by_ref() {
            end = word.at.saturating_add(word.raw.len());
            if word.is_mark(b"!") {
                clause.negated = true;
            } else if word.is_mark(b"{") {
                in_braces = true;
            } else if word.is_mark(b"}") {
                break;
            } else if word.form != Form::Mark {
                clause
                    .values
                    .push(String::from_utf8_lossy(word.text).into_owned());
                if !in_braces {
                    break;
                }
            }
        }
        clause.text = rule.get(key.at..end).unwrap_or(rule).to_owned();
        found.push(clause);
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_queue() {
        for rule in [
            "queue 80 bypass dport 80 netns host",
            "queue 80 dport 80 netns host",
        ] {
            let texts: Vec<_> = clauses(rule).into_iter().map(|c| c.text).collect();
            assert_eq!(texts, ["dport 80", "netns host"]);
        }
    }

    #[test]
    fn of_a_rule() {
        let rule = "reject with tcp-reset from !{ 10.0.0.0/8, 192.0.2.1 } proto tcp in \"a,b\" \
                    out @wan hook { forward, local_in } priority 5 log \"x\" comment \"to y\"";
        let clauses = clauses(rule);
        let texts: Vec<_> = clauses.iter().map(|clause| clause.text.as_str()).collect();
        assert_eq!(
            texts,
            [
                "from !{ 10.0.0.0/8, 192.0.2.1 }",
                "proto tcp",
                "in \"a,b\"",
                "out @wan",
                "hook { forward, local_in }"
            ]
        );
        let negated: Vec<_> = clauses.iter().map(|clause| clause.negated).collect();
        assert_eq!(negated, [true, false, false, false, false]);
        let values: Vec<_> = clauses
            .iter()
            .map(|clause| clause.values.join("|"))
            .collect();
        assert_eq!(
            values,
            [
                "10.0.0.0/8|192.0.2.1",
                "tcp",
                "a,b",
                "@wan",
                "forward|local_in"
            ]
        );
    }
}
