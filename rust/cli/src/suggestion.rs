// SPDX-License-Identifier: GPL-2.0

//! What was probably meant by a word that is none of the language's.

use ctrfw_core::error::Fault;
use ctrfw_core::lexer::{Form, Words};
use ctrfw_core::parser::{Grammar, OpenSet, Table};

/// How alike two words must be, from 0 to 1: two letters of five may be wrong.
const ALIKE: f64 = 0.6;

/// What other firewalls call it.
const FOREIGN: [(&str, &str); 15] = [
    ("accept", "allow"),
    ("permit", "allow"),
    ("pass", "allow"),
    ("drop", "deny"),
    ("block", "deny"),
    ("saddr", "from"),
    ("src", "from"),
    ("source", "from"),
    ("daddr", "to"),
    ("dst", "to"),
    ("destination", "to"),
    ("iifname", "in"),
    ("oifname", "out"),
    ("ctstate", "state"),
    ("protocol", "proto"),
];

/// The word that belongs where `fault` is in `line`, if one is like what stands there and mends it.
/// `state` is what the lines before say of this one.
pub(crate) fn suggestion(line: &[u8], state: OpenSet, fault: &Fault) -> Option<String> {
    let word = Words::new(line).find(|word| word.at == fault.at && word.form == Form::Plain)?;
    let got = std::str::from_utf8(word.text).ok()?.to_ascii_lowercase();
    let foreign = FOREIGN.iter().find(|(theirs, _)| *theirs == got);
    let likeness = |candidate: &str| match foreign {
        Some((_, ours)) if *ours == candidate => 1.0,
        _ => strsim::normalized_damerau_levenshtein(&got, candidate),
    };
    let in_word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let (best, likeness) = fault
        .expected
        .split(|c| !in_word(c))
        .filter(|candidate| candidate.len() > 1)
        .map(|candidate| (candidate, likeness(candidate)))
        .max_by(|(_, a), (_, b)| a.total_cmp(b))?;
    let end = word.at.checked_add(word.raw.len())?;
    let mended = [line.get(..word.at)?, best.as_bytes(), line.get(end..)?].concat();
    // What is expected was written for people: not every word of it is one of the language's.
    let mends = match Table::parse(&mended, &mut state.clone()) {
        Ok(_) => true,
        Err(next) => next.at > fault.at,
    };
    (likeness >= ALIKE && mends).then(|| best.to_owned())
}
