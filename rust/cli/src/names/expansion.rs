// SPDX-License-Identifier: GPL-2.0

//! A text with names, as the module would take it: each word's values with a name among them become a
//! named set, which stands before all else, so that what a name stands for can change without its rules.

use std::collections::BTreeSet;

use ctrfw_core::addr::AddrRange;
use ctrfw_core::iface::IfPattern;
use ctrfw_core::lexer::{Form, Word, Words};
use ctrfw_core::value::Value as _;

use super::set::{name_for, statement, Member, NamedSet, Role};
use super::Name;
use crate::problem::{Problem, Severity};

const NO_CGROUP: &str = "the path of a cgroup: names stand for addresses and interfaces only";
const INTERFACE: &str = "an interface name, perhaps with a *, or network:NAME";

/// A text whose names were found.
#[derive(Debug, Default)]
pub(crate) struct Expansion {
    lines: Vec<Line>,
    /// The sets that its names are in
    pub(crate) sets: Vec<NamedSet>,
    /// What is wrong with names
    pub(crate) problems: Vec<Problem>,
}

/// A line without its names.
#[derive(Debug, Default)]
struct Line {
    text: Vec<u8>,
    changes: Vec<Change>,
}

/// So many bytes of a line that became so many others.
#[derive(Debug)]
struct Change {
    start: usize,
    before: usize,
    after: usize,
}

/// A text as the module takes it.
#[derive(Debug)]
pub(crate) struct Rendered<'a> {
    /// The text
    pub(crate) text: Vec<u8>,
    /// For each line that is put before the text, where what it says was written
    origins: Vec<(u32, u32)>,
    expansion: &'a Expansion,
}

/// The values of one word.
struct Values<'a> {
    words: Vec<Word<'a>>,
    start: usize,
    end: usize,
}

impl Expansion {
    /// Finds the names in `text`; sets are there already for which `there` is true.
    pub(crate) fn new(text: &[u8], there: impl Fn(&str) -> bool) -> Self {
        let lines: Vec<&[u8]> = text.split(|byte| *byte == b'\n').collect();
        let mut found = Self::default();
        let mut taken: BTreeSet<String> = lines.iter().filter_map(|line| defined(line)).collect();
        let mut at = 0usize;
        while let Some(line) = lines.get(at) {
            let rest = lines.get(at..).unwrap_or(&[]);
            let number = number(at);
            if let Some((set, span)) = whole_set(rest, number) {
                let literals = set.members.iter().all(|member| match member {
                    Member::Literal(text) => AddrRange::parse(text.as_bytes()).is_some(),
                    Member::Name(..) => true,
                });
                // If something else is wrong with it, the language says so.
                let named = set.members.iter().any(|m| matches!(m, Member::Name(..)));
                if named && literals {
                    found.sets.push(set);
                    found
                        .lines
                        .extend(std::iter::repeat_with(Line::default).take(span));
                    at = at.saturating_add(span);
                    continue;
                }
            }
            let line = found.rule(line, number, &mut taken, &there);
            found.lines.push(line);
            at = at.saturating_add(1);
        }
        found
    }

    /// Takes the names out of a rule.
    fn rule(
        &mut self,
        line: &[u8],
        number: u32,
        taken: &mut BTreeSet<String>,
        there: &impl Fn(&str) -> bool,
    ) -> Line {
        let mut text = Vec::new();
        let mut changes = Vec::new();
        let mut copied = 0usize;
        let mut words = Words::new(line);
        while let Some(key) = words.next() {
            let role = match key.text {
                _ if key.form != Form::Plain => continue,
                b"from" | b"to" | b"origdst" => Role::Addresses,
                b"in" | b"out" => Role::Interfaces,
                b"cgroup" => {
                    let name = words.peek().filter(is_name);
                    let wrong = name.map(|name| *problem(name, number, NO_CGROUP));
                    self.problems.extend(wrong);
                    continue;
                }
                _ => continue,
            };
            let Some(values) = values(&mut words) else {
                continue;
            };
            if !values.words.iter().any(is_name) {
                continue;
            }
            let members: Result<Vec<Member>, Box<Problem>> = values
                .words
                .iter()
                .map(|word| member(*word, role, number))
                .collect();
            let members = match members {
                Ok(members) => members,
                Err(problem) => {
                    self.problems.push(*problem);
                    // What is left is read as if nothing stood there.
                    text.extend_from_slice(line.get(copied..key.at).unwrap_or(&[]));
                    copied = values.end;
                    changes.push(Change {
                        start: key.at,
                        before: values.end.saturating_sub(key.at),
                        after: 0,
                    });
                    continue;
                }
            };
            let name = self.set_of(role, members, (number, column(values.start)), taken, there);
            let named = format!("@{name}");
            text.extend_from_slice(line.get(copied..values.start).unwrap_or(&[]));
            text.extend_from_slice(named.as_bytes());
            copied = values.end;
            changes.push(Change {
                start: values.start,
                before: values.end.saturating_sub(values.start),
                after: named.len(),
            });
        }
        text.extend_from_slice(line.get(copied..).unwrap_or(&[]));
        Line { text, changes }
    }

    /// The name of the set with these members, which may be there already.
    fn set_of(
        &mut self,
        role: Role,
        members: Vec<Member>,
        at: (u32, u32),
        taken: &mut BTreeSet<String>,
        there: &impl Fn(&str) -> bool,
    ) -> String {
        let same = |set: &&NamedSet| {
            let pairs = set.members.iter().zip(&members);
            set.role == role && set.members.len() == members.len() && pairs.into_iter().all(alike)
        };
        if let Some(set) = self.sets.iter().find(same) {
            return set.name.clone();
        }
        let name = name_for(role, &members, taken);
        taken.insert(name.clone());
        self.sets.push(NamedSet {
            replace: there(&name),
            name: name.clone(),
            role,
            members,
            at,
        });
        name
    }

    /// The text with `members` in the sets, one list for each.
    pub(crate) fn render(&self, members: &[Vec<String>]) -> Rendered<'_> {
        let mut text = Vec::new();
        let mut origins = Vec::new();
        for (set, members) in self.sets.iter().zip(members) {
            for line in statement(&set.name, members, set.replace) {
                text.extend_from_slice(line.as_bytes());
                text.push(b'\n');
                origins.push(set.at);
            }
        }
        let lines: Vec<&[u8]> = self.lines.iter().map(|line| &line.text[..]).collect();
        text.extend_from_slice(&lines.join(&b'\n'));
        Rendered {
            text,
            origins,
            expansion: self,
        }
    }
}

impl Rendered<'_> {
    /// How many lines stand before those of the text that was written.
    pub(crate) fn offset(&self) -> u32 {
        number(self.origins.len()).saturating_sub(1)
    }

    /// Where what stands at this line and column was written; all from 1.
    pub(crate) fn origin(&self, line: u32, column: u32) -> (u32, u32) {
        let index = usize::try_from(line).unwrap_or(0).saturating_sub(1);
        if let Some(origin) = self.origins.get(index) {
            return *origin;
        }
        let index = index.saturating_sub(self.origins.len());
        let changes = self
            .expansion
            .lines
            .get(index)
            .map(|line| &line.changes[..]);
        let mut at = usize::try_from(column).unwrap_or(0).saturating_sub(1);
        for change in changes.unwrap_or(&[]) {
            if at < change.start {
                break;
            }
            if at < change.start.saturating_add(change.after) {
                at = change.start;
                break;
            }
            at = at
                .saturating_sub(change.after)
                .saturating_add(change.before);
        }
        (line.saturating_sub(self.offset()), self::column(at))
    }
}

fn alike((one, other): (&Member, &Member)) -> bool {
    match (one, other) {
        (Member::Name(one, ..), Member::Name(other, ..)) => one == other,
        _ => one == other,
    }
}

/// The name of the set that begins on this line.
fn defined(line: &[u8]) -> Option<String> {
    let mut words = Words::new(line);
    let first = words.next()?;
    let name = words.next()?;
    let begins = first.form == Form::Plain && first.text == b"set" && name.form == Form::Plain;
    begins.then(|| String::from_utf8_lossy(name.text).into_owned())
}

/// The set that begins on the first of `lines`, of which that is number `first_line`, and how many
/// lines it takes; [`None`] if there is none, or something is wrong with it.
fn whole_set(lines: &[&[u8]], first_line: u32) -> Option<(NamedSet, usize)> {
    let mut words = Words::new(lines.first()?);
    let plain = |word: &Word<'_>, text: &[u8]| word.form == Form::Plain && word.text == text;
    let first = words.next()?;
    let replace = plain(&first, b"replace");
    let set = if replace { words.next()? } else { first };
    if !plain(&set, b"set") {
        return None;
    }
    let name = words.next()?;
    if !words.next()?.is_mark(b"{") {
        return None;
    }
    let mut members = Vec::new();
    let mut behind_value = false;
    for (index, line) in lines.iter().enumerate() {
        let number = first_line.saturating_add(u32::try_from(index).ok()?);
        let mut words = if index == 0 { words } else { Words::new(line) };
        while let Some(word) = words.next() {
            if word.is_mark(b"}") {
                if words.next().is_some() {
                    return None;
                }
                let set = NamedSet {
                    name: String::from_utf8_lossy(name.text).into_owned(),
                    replace,
                    role: Role::Addresses,
                    members,
                    at: (first_line, column(name.at)),
                };
                return Some((set, index.saturating_add(1)));
            }
            if word.is_mark(b",") && behind_value {
                behind_value = false;
                continue;
            }
            if behind_value || word.form == Form::Mark {
                return None;
            }
            members.push(match Name::parse(word.text) {
                Some(name) => Member::Name(name.ok()?, number, column(word.at)),
                None => Member::Literal(String::from_utf8_lossy(word.raw).into_owned()),
            });
            behind_value = true;
        }
    }
    None
}

/// Takes `[!] VALUES`; [`None`] if that is not what stands there.
fn values<'a>(words: &mut Words<'a>) -> Option<Values<'a>> {
    let mut ahead = *words;
    let mut word = ahead.next()?;
    if word.is_mark(b"!") {
        word = ahead.next()?;
    }
    let mut values = Values {
        words: Vec::new(),
        start: word.at,
        end: word.at,
    };
    let braced = word.is_mark(b"{");
    if braced {
        word = ahead.next()?;
    }
    loop {
        if word.form == Form::Mark || word.form == Form::Unclosed {
            return None;
        }
        values.words.push(word);
        values.end = word.at.saturating_add(word.raw.len());
        if !braced {
            if ahead.comma().is_none() {
                break;
            }
            ahead.next();
            word = ahead.next()?;
            continue;
        }
        let mark = ahead.next()?;
        let last = mark.is_mark(b"}");
        if !last && !mark.is_mark(b",") {
            return None;
        }
        word = if last { mark } else { ahead.next()? };
        if word.is_mark(b"}") {
            values.end = word.at.saturating_add(1);
            break;
        }
    }
    *words = ahead;
    Some(values)
}

fn is_name(word: &Word<'_>) -> bool {
    Name::parse(word.text).is_some()
}

fn member(word: Word<'_>, role: Role, number: u32) -> Result<Member, Box<Problem>> {
    let wrong = |expected| problem(word, number, expected);
    match (Name::parse(word.text), role) {
        (Some(Err(())), _) => Err(wrong(Name::EXPECTED)),
        (Some(Ok(name)), Role::Addresses) => Ok(Member::Name(name, number, column(word.at))),
        (Some(Ok(name)), Role::Interfaces) => match name.kind {
            super::Kind::Network => Ok(Member::Name(name, number, column(word.at))),
            _ => Err(wrong(INTERFACE)),
        },
        (None, Role::Addresses) => match AddrRange::parse(word.text) {
            Some(_) if word.form == Form::Plain => Ok(Member::Literal(
                String::from_utf8_lossy(word.text).into_owned(),
            )),
            _ => Err(wrong(AddrRange::EXPECTED)),
        },
        (None, Role::Interfaces) => match IfPattern::parse(word.text) {
            // In a set what looks like something else wants quotes.
            Some(_) => Ok(Member::Literal(format!(
                "\"{}\"",
                String::from_utf8_lossy(word.text)
            ))),
            None => Err(wrong(INTERFACE)),
        },
    }
}

fn problem(word: Word<'_>, line: u32, expected: &str) -> Box<Problem> {
    let got = word.raw.escape_ascii().to_string();
    Box::new(Problem {
        severity: Severity::Error,
        line,
        column: column(word.at),
        message: format!("got \"{got}\", expected {expected}"),
        got: Some(got),
        expected: Some(expected.to_owned()),
        suggestion: None,
        rule: None,
        shadowed_by: None,
    })
}

/// The number of the line with this index.
fn number(index: usize) -> u32 {
    column(index)
}

/// The column of the byte with this index.
fn column(index: usize) -> u32 {
    u32::try_from(index).unwrap_or(u32::MAX).saturating_add(1)
}
