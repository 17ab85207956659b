// SPDX-License-Identifier: GPL-2.0

//! A table on trial: it is in force until it is confirmed, or until the one before it comes back.
//!
//! See docs/confirm.md for who takes part. They talk in lines of JSON.

use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, BufRead, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use anyhow::{anyhow, Context as _};
use nix::fcntl::{Flock, FlockArg};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// The longest line in bytes that anybody says: an error of the module, and some words.
const MAX_LINE: u64 = 1 << 16;

/// What somebody wants of a trial.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Wish {
    /// The new table is to stay.
    Confirm,
    /// The old one is to come back.
    Revert(Reason),
}

/// Why a table is reverted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reason {
    /// Nobody confirmed it in time.
    TimeOut,
    /// Somebody said so.
    Asked,
    /// SIGINT, SIGTERM or SIGHUP.
    Signal,
    /// The terminal has no more to say.
    InputEnded,
    /// The command that loaded it was killed.
    CommandDied,
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::TimeOut => "not confirmed in time",
            Self::Asked => "as asked for",
            Self::Signal => "interrupted, or the connection was lost",
            Self::InputEnded => "the terminal was closed",
            Self::CommandDied => "the command that loaded it was killed",
        })
    }
}

/// How a trial ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum Ending {
    /// The new table stays.
    Confirmed,
    /// The old one is in force again.
    Reverted {
        /// Why it is.
        reason: Reason,
    },
    /// Neither is in force: somebody else changed the table, and that was left alone.
    Superseded,
    /// The old one should be in force again, and is not.
    Stuck {
        /// Why it should be.
        reason: Reason,
        /// Why it is not.
        error: String,
        /// Where the old one is kept.
        previous: PathBuf,
    },
}

impl fmt::Display for Ending {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Confirmed => write!(f, "confirmed: the new table stays"),
            Self::Reverted { reason } => write!(
                f,
                "reverted ({reason}): the table of before is in force again, its counters begin anew"
            ),
            Self::Superseded => write!(
                f,
                "NOTHING WAS REVERTED: somebody else has changed the table meanwhile, and what is in \
                 force now was left as it is (ctrfw list)"
            ),
            Self::Stuck {
                reason,
                error,
                previous,
            } => write!(
                f,
                "COULD NOT BE REVERTED ({reason}): {error}; the new table may still be in force, the \
                 one of before is kept in {}",
                previous.display()
            ),
        }
    }
}

/// What the keeper of the old table tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Report {
    /// The new table is in force, on trial.
    InForce,
    /// The module refused the new table, and why; nothing changed.
    Refused(String),
    /// There was no trial, and why.
    Failed(String),
    /// It is over.
    Ended(Ending),
}

/// Says something to whoever is at the other end, who may have gone.
pub(crate) fn tell(mut to: &UnixStream, what: &impl Serialize) -> io::Result<()> {
    let mut line = serde_json::to_vec(what)?;
    line.push(b'\n');
    to.write_all(&line)
}

/// What the other end says next; [`None`] if it has gone, or makes no sense.
pub(crate) fn hear<T: DeserializeOwned>(from: &mut impl BufRead) -> Option<T> {
    let mut line = Vec::new();
    from.take(MAX_LINE).read_until(b'\n', &mut line).ok()?;
    serde_json::from_slice(&line).ok()
}

/// `/run/ctrfw`: what is to be known of a trial by those who did not begin it.
pub(crate) struct Directory(PathBuf);

impl Directory {
    pub(crate) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    /// Sees to it that nobody else begins a trial while the result is kept.
    pub(crate) fn lock(&self) -> anyhow::Result<Flock<File>> {
        let told = || self.0.display().to_string();
        let mut builder = DirBuilder::new();
        builder
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(told)?;
        fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700)).with_context(told)?;
        let file = File::create(self.0.join("lock")).with_context(told)?;
        Flock::lock(file, FlockArg::LockExclusiveNonblock).map_err(|_| {
            anyhow!(
                "a table is on trial already: end that with ctrfw confirm or ctrfw confirm --revert, \
                 or wait for it to end by itself"
            )
        })
    }

    /// Where wishes come in; to be called under the lock.
    pub(crate) fn listen(&self) -> anyhow::Result<UnixListener> {
        let path = self.socket();
        // What a keeper left that was killed.
        self.forget(&path);
        UnixListener::bind(&path).with_context(|| path.display().to_string())
    }

    /// Tells a wish to the keeper; [`None`] if nothing is on trial.
    pub(crate) fn connect(&self) -> anyhow::Result<Option<UnixStream>> {
        let path = self.socket();
        match UnixStream::connect(&path) {
            Ok(stream) => Ok(Some(stream)),
            Err(error) => match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                _ => Err(error).with_context(|| path.display().to_string()),
            },
        }
    }

    fn socket(&self) -> PathBuf {
        self.0.join("socket")
    }

    /// Where the old table is kept while the new one is on trial.
    pub(crate) fn previous(&self) -> PathBuf {
        self.0.join("previous.rules")
    }

    /// Keeps the old table where the administrator finds it, should the keeper be killed. How an
    /// earlier trial ended is not told any more.
    pub(crate) fn keep(&self, rules: &[u8]) -> anyhow::Result<()> {
        self.forget(&self.ending());
        let path = self.previous();
        fs::write(&path, rules).with_context(|| path.display().to_string())
    }

    /// Notes that the trial is over; nobody can reach the keeper from here on.
    pub(crate) fn end(&self, ending: &Ending) {
        let text = serde_json::to_vec(ending).unwrap_or_default();
        // Who asks later is told less; the trial has ended all the same.
        fs::write(self.ending(), text).unwrap_or_default();
        self.forget(&self.socket());
        if !matches!(ending, Ending::Stuck { .. }) {
            self.forget(&self.previous());
        }
    }

    /// How the last trial ended; [`None`] if there was none since the machine was started.
    pub(crate) fn last(&self) -> Option<Ending> {
        serde_json::from_slice(&fs::read(self.ending()).ok()?).ok()
    }

    /// Takes a trial that never began out of sight.
    pub(crate) fn withdraw(&self) {
        self.forget(&self.socket());
        self.forget(&self.previous());
    }

    fn ending(&self) -> PathBuf {
        self.0.join("last")
    }

    fn forget(&self, path: &Path) {
        // It need not be there.
        fs::remove_file(path).unwrap_or_default();
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_is_heard() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let stuck = Ending::Stuck {
            reason: Reason::TimeOut,
            error: "a\nb".to_owned(),
            previous: PathBuf::from("/x"),
        };
        let reports = [
            Report::InForce,
            Report::Refused("line 1".to_owned()),
            Report::Ended(Ending::Reverted {
                reason: Reason::Asked,
            }),
            Report::Ended(stuck),
        ];
        for report in &reports {
            tell(&ours, report).unwrap();
        }
        ours.shutdown(std::net::Shutdown::Write).unwrap();
        let mut theirs = io::BufReader::new(theirs);
        for report in reports {
            assert_eq!(hear(&mut theirs), Some(report));
        }
        assert_eq!(hear::<Report>(&mut theirs), None);
    }

    #[test]
    fn one_trial_at_a_time() {
        let place = tempfile::TempDir::new().unwrap();
        let directory = Directory::new(&place.path().join("a/b"));
        let lock = directory.lock().unwrap();
        assert!(directory
            .lock()
            .unwrap_err()
            .to_string()
            .contains("ctrfw confirm"));
        assert!(directory.connect().unwrap().is_none());
        let listener = directory.listen().unwrap();
        assert!(directory.connect().unwrap().is_some());
        // A keeper that was killed leaves its socket.
        drop((lock, listener));
        assert!(directory.connect().unwrap().is_none());
        directory.lock().unwrap();
        directory.listen().unwrap();
    }
}
