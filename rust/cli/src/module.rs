// SPDX-License-Identifier: GPL-2.0

//! The module's files.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, bail, Context as _};

use crate::policy::Policy;

/// How often a table is read before it is given up that it stays the same meanwhile.
const SNAPSHOTS: u32 = 100;

/// A table that was in force.
pub(crate) struct Snapshot {
    /// Its number among all that were put in force.
    pub(crate) generation: u64,
    /// Its statements in canonical form.
    pub(crate) rules: Vec<u8>,
}

/// What no table takes.
const NO_STATEMENT: &[u8] = b"rehearsed: the table of before could be put back\n";

/// What the status file tells of writers, all of it of the same moment.
struct Status {
    generation: Option<u64>,
    last_error: Option<LastError>,
}

/// What the last failure was if it was one of the rules file, and with the file's name.
type LastError = (Option<String>, String);

/// What came of writing a table.
enum Written {
    /// No error is known.
    Fine,
    /// Surely nothing.
    Refused(String),
    /// Somebody has failed, and somebody has put a table in force.
    Doubtful(String),
}

/// How often the counters are read again, if others change them.
const RESETS: usize = 100;

/// `/proc/ctrfw`
pub(crate) struct Module(PathBuf);

impl Module {
    pub(crate) fn new(directory: &Path) -> Self {
        Self(directory.to_owned())
    }

    /// The contents of one of its files.
    pub(crate) fn read(&self, name: &str) -> anyhow::Result<String> {
        Ok(String::from_utf8_lossy(&self.read_bytes(name)?).into_owned())
    }

    fn read_bytes(&self, name: &str) -> anyhow::Result<Vec<u8>> {
        let path = self.0.join(name);
        fs::read(&path).map_err(|error| self.explain(&path, &error))
    }

    /// How many tables were put in force so far.
    pub(crate) fn generation(&self) -> anyhow::Result<u64> {
        let status = self.status()?;
        status
            .generation
            .context("the module's status file tells no generation")
    }

    /// The table in force, and which one it is.
    pub(crate) fn snapshot(&self) -> anyhow::Result<Snapshot> {
        let mut generation = self.generation()?;
        for _ in 0..SNAPSHOTS {
            let rules = self.read_bytes("rules")?;
            let now = self.generation()?;
            if now == generation {
                return Ok(Snapshot { generation, rules });
            }
            generation = now;
        }
        bail!("somebody else changes the table all the time")
    }

    /// As [`Self::load`], but only if the table in force is still the one of this generation. If it
    /// is in force then, it is so as the next generation.
    pub(crate) fn load_over(
        &self,
        generation: u64,
        text: &[u8],
        append: bool,
    ) -> anyhow::Result<Result<(), String>> {
        self.load_if(generation, None, text, append)
    }

    /// As [`Self::load_over`], over a table that is known.
    pub(crate) fn load_over_table(
        &self,
        old: &Snapshot,
        text: &[u8],
        append: bool,
    ) -> anyhow::Result<Result<(), String>> {
        self.load_if(old.generation, Some(&old.rules), text, append)
    }

    fn load_if(
        &self,
        generation: u64,
        old: Option<&[u8]>,
        text: &[u8],
        append: bool,
    ) -> anyhow::Result<Result<(), String>> {
        let whole = conditional(generation, text);
        let loaded = match self.write(Some(generation), &whole, append)? {
            Written::Fine => Ok(()),
            Written::Refused(why) => Err(why),
            Written::Doubtful(why) => self.look(why, old, text, append)?,
        };
        Ok(loaded.map_err(|why| one_line_up(&why)))
    }

    /// Writes a table in one transaction; the inner error is why it is not in force. That it is not is
    /// sure then, though the words may be about another writer's table. If it is not known, because
    /// somebody else wrote at the same moment, that is an outer error.
    pub(crate) fn load(&self, text: &[u8], append: bool) -> anyhow::Result<Result<(), String>> {
        if append && text.is_empty() {
            // The module does not take that for a transaction, and an older error would show.
            return Ok(Ok(()));
        }
        let before = self.status()?.generation;
        match self.write(before, text, append)? {
            Written::Fine => Ok(Ok(())),
            Written::Refused(why) => Ok(Err(why)),
            Written::Doubtful(why) => self.look(why, None, text, append),
        }
    }

    /// Writes a table, where that of generation `before` was in force.
    fn write(&self, before: Option<u64>, text: &[u8], append: bool) -> anyhow::Result<Written> {
        let mut file = self.open_rules(append)?;
        let written = file.write_all(text);
        // Closing commits, and cannot tell of a failure: the status file does, of the last one of all
        // writers. Each table that is put in force has another generation.
        drop(file);
        let status = self.status()?;
        let same = status.generation == before;
        let last = status.last_error;
        Ok(match (written, last) {
            (Err(error), last) => Written::Refused(reason(&error, last)),
            (Ok(()), Some((Some(why), _))) if same => Written::Refused(why),
            (Ok(()), Some((Some(why), _))) => Written::Doubtful(why),
            (Ok(()), Some((None, other))) if same => {
                Written::Refused(format!("only a later error is known: {other}"))
            }
            (Ok(()), _) => Written::Fine,
        })
    }

    /// Whether a table that is in force would be taken once more; the inner error is why not. Nothing
    /// takes effect.
    pub(crate) fn rehearse(&self, table: &Snapshot) -> anyhow::Result<Result<(), String>> {
        let mut file = self.open_rules(false)?;
        let written = file.write_all(&conditional(table.generation, &table.rules));
        // After an error the module drops it all. If it took that, another generation would be in
        // force, and what is conditional on this one would be refused.
        file.write_all(NO_STATEMENT).unwrap_or_default();
        drop(file);
        match written {
            Ok(()) => Ok(Ok(())),
            Err(error) => Ok(Err(one_line_up(&reason(&error, self.status()?.last_error)))),
        }
    }

    fn open_rules(&self, append: bool) -> anyhow::Result<File> {
        let path = self.0.join("rules");
        let mut options = OpenOptions::new();
        options.write(true).append(append).truncate(!append);
        options
            .open(&path)
            .map_err(|error| self.explain(&path, &error))
    }

    /// Looks whether a table is in force for all that: `why` may be the error of somebody else who
    /// wrote at the same moment. `old` is what it took the place of, if that is known.
    fn look(
        &self,
        why: String,
        old: Option<&[u8]>,
        text: &[u8],
        append: bool,
    ) -> anyhow::Result<Result<(), String>> {
        match is_in_force(&self.snapshot()?.rules, old, text, append) {
            Some(true) => Ok(Ok(())),
            Some(false) => Ok(Err(why)),
            None => bail!(
                "somebody else wrote at the same moment, and it is not known whether this is in force \
                 (ctrfw list): {why}"
            ),
        }
    }

    fn status(&self) -> anyhow::Result<Status> {
        let text = self.read("status")?;
        let find = |key| text.lines().find_map(|line| line.strip_prefix(key));
        let last = find("last_error ").filter(|last| *last != "none");
        Ok(Status {
            generation: find("generation ").and_then(|number| number.parse().ok()),
            last_error: last.map(|last| {
                let why = last.strip_prefix("rules ");
                (why.map(str::to_owned), last.to_owned())
            }),
        })
    }

    /// The counters, which begin anew at what they say.
    pub(crate) fn reset_counters(&self) -> anyhow::Result<String> {
        let path = self.0.join("counters");
        for left in (0..RESETS).rev() {
            let mut file = OpenOptions::new()
                .read(true)
                .write(true)
                .open(&path)
                .map_err(|error| self.explain(&path, &error))?;
            let mut text = Vec::new();
            let reset = file
                .read_to_end(&mut text)
                .and_then(|_| file.write_all(b"reset\n"));
            match reset {
                Ok(()) => return Ok(String::from_utf8_lossy(&text).into_owned()),
                // Somebody else was faster: what was read is no longer what there is.
                Err(error) if error.kind() == io::ErrorKind::ResourceBusy && left > 0 => {}
                Err(error) => return Err(self.explain(&path, &error)),
            }
        }
        bail!("{}: others are faster all the time", path.display())
    }

    fn explain(&self, path: &Path, error: &io::Error) -> anyhow::Error {
        let path = path.display();
        match error.kind() {
            io::ErrorKind::NotFound => {
                anyhow!("{path}: the module is not loaded (modprobe ctrfw)")
            }
            io::ErrorKind::PermissionDenied => anyhow!(
                "{path}: not permitted; it takes root with CAP_NET_ADMIN in the host's own user and \
                 network namespaces, which no container has"
            ),
            _ => anyhow!("{path}: {error}"),
        }
    }
}

/// A text that takes effect only if the table of this generation is in force.
fn conditional(generation: u64, text: &[u8]) -> Vec<u8> {
    let mut whole = format!("if generation {generation}\n").into_bytes();
    whole.extend_from_slice(text);
    whole
}

/// Why a table was refused whose write(2) has failed.
fn reason(error: &io::Error, last: Option<LastError>) -> String {
    last.and_then(|(why, _)| why)
        .unwrap_or_else(|| error.to_string())
}

/// Whether `text` has taken the place of `old`, if that is known, or was added to it, now that the
/// table in force is `rules`; [`None`] if that cannot be told.
fn is_in_force(rules: &[u8], old: Option<&[u8]>, text: &[u8], append: bool) -> Option<bool> {
    let parsed = |rules| {
        let (policy, problems) = Policy::parse(rules);
        problems.is_empty().then_some(policy)
    };
    let base = match (append, old) {
        (false, _) => Policy::default(),
        (true, Some(old)) => parsed(old)?,
        (true, None) => parsed(rules)?,
    };
    let now = parsed(rules)?.canonical();
    let wanted = base.with(text)?;
    let lines = wanted.canonical();
    if lines == now {
        return Some(true);
    }
    // Not known what it was added to: only a text that changes nothing the second time tells.
    let tells = !append || old.is_some() || wanted.with(text)?.canonical() == lines;
    tells.then_some(false)
}

/// An error of the module, for a text that stood behind one more line.
fn one_line_up(why: &str) -> String {
    let moved = || {
        let text = why.strip_prefix("line ")?;
        let (number, rest) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
        let number = number.parse::<u32>().ok()?.checked_sub(1)?;
        // What is said of the line that was put in front has no place in the user's text.
        Some(match number {
            0 => rest.split_once(": ")?.1.to_owned(),
            _ => format!("line {number}{rest}"),
        })
    };
    moved().unwrap_or_else(|| why.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_table_is_in_force() {
        let set = "set a { 10.0.0.1 }\n";
        let edit = "replace set a { 10.0.0.2 }\n";
        let told = [
            ("allow\n", None, "allow\n", false, Some(true)),
            ("deny\n", None, "allow", false, Some(false)),
            (
                "deny\nallow\n",
                Some("deny\n"),
                "allow # b",
                true,
                Some(true),
            ),
            (
                "deny\nreject\n",
                Some("deny\n"),
                "allow\n",
                true,
                Some(false),
            ),
            // Perhaps it was in force before somebody else added his.
            ("deny\nallow\n", None, "allow\n", true, None),
            (set, None, edit, true, Some(false)),
            ("set a { 10.0.0.2 }\ndeny\n", None, edit, true, Some(true)),
            // Those of a newer module
            ("new word\n", None, "allow\n", false, None),
            ("allow\n", Some("new word\n"), "allow\n", true, None),
        ];
        for (rules, old, text, append, known) in told {
            let old = old.map(str::as_bytes);
            let found = is_in_force(rules.as_bytes(), old, text.as_bytes(), append);
            assert_eq!(found, known, "{rules} {text}");
        }
    }

    #[test]
    fn lines_as_the_user_counts_them() {
        let told = [
            ("line 3 column 11: got x", "line 2 column 11: got x"),
            ("line 1: another table", "another table"),
            ("line 301: more than", "line 300: more than"),
            ("no memory", "no memory"),
        ];
        for (why, moved) in told {
            assert_eq!(one_line_up(why), moved);
        }
    }
}
