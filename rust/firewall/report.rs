// SPDX-License-Identifier: GPL-2.0

//! What was wrong with what was written last, for the status file.

use core::fmt;

use ctrfw_core::error;
use ctrfw_core::loader::LoadError;
use kernel::prelude::*;

use super::obstacle::Obstacle;

/// Why a transaction came to nothing.
#[derive(Clone, Copy)]
pub(crate) enum Failure {
    /// A line is not in the language.
    Language(error::Error),
    /// The line with this number could not be taken.
    Line(u32, Obstacle),
    /// The text was fine but could not be put in force.
    Commit(Obstacle),
    /// A signal killed the writer before it had closed the file.
    Killed,
    /// A write came to an end in the middle, with this error.
    Cut(Error),
}

impl Failure {
    /// What write(2) is to return.
    pub(crate) fn errno(&self) -> Error {
        match self {
            Self::Language(_) => EINVAL,
            Self::Line(_, obstacle) | Self::Commit(obstacle) => (*obstacle).into(),
            // Not EINTR, after which libraries write again.
            Self::Killed => ECANCELED,
            Self::Cut(error) => *error,
        }
    }
}

impl From<LoadError<Obstacle>> for Failure {
    fn from(error: LoadError<Obstacle>) -> Self {
        match error {
            LoadError::Language(error) => Self::Language(error),
            LoadError::Sink(line, obstacle) => Self::Line(line, obstacle),
        }
    }
}

impl From<Obstacle> for Failure {
    fn from(obstacle: Obstacle) -> Self {
        Self::Commit(obstacle)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Language(error) => error.fmt(f),
            Self::Line(line, obstacle) => write!(f, "line {line}: {obstacle}"),
            Self::Commit(obstacle) => obstacle.fmt(f),
            Self::Killed => f.write_str("the writer was killed before it had closed the file"),
            Self::Cut(_) => f.write_str("a write came to an end in the middle"),
        }
    }
}

/// The file that was written.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Subject {
    /// `/proc/ctrfw/rules`
    Rules,
    /// `/proc/ctrfw/trace`
    Trace,
    /// `/proc/ctrfw/counters`
    Counters,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Rules => "rules",
            Self::Trace => "trace",
            Self::Counters => "counters",
        })
    }
}

/// The last failure, unless what was written to the same file afterwards was fine.
#[derive(Default)]
pub(crate) struct Reports(Option<(Subject, Failure)>);

impl Reports {
    /// Remembers a failure.
    pub(crate) fn failed(&mut self, subject: Subject, failure: Failure) {
        self.0 = Some((subject, failure));
    }

    /// Forgets a failure of the same file.
    pub(crate) fn succeeded(&mut self, subject: Subject) {
        if self.0.is_some_and(|(failed, _)| failed == subject) {
            self.0 = None;
        }
    }

    /// What is remembered.
    pub(crate) fn last(&self) -> Option<(Subject, Failure)> {
        self.0
    }
}
