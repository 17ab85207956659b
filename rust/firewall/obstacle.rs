// SPDX-License-Identifier: GPL-2.0

//! Why statements in the right language cannot be put in force.

use core::fmt;

use ctrfw_core::matcher::Misfit;
use ctrfw_core::memory::NoMemory;
use ctrfw_core::set::SetName;
use kernel::alloc::AllocError;
use kernel::prelude::*;

/// What stands in the way.
#[derive(Clone, Copy)]
pub(crate) enum Obstacle {
    /// There is no memory.
    Memory,
    /// There are more than so many of these.
    TooMany(usize, &'static str),
    /// The set of this name was there when the text was written, and is not any more.
    NoSet(SetName),
    /// Meanwhile somebody else changed the table whose rules are edited.
    Changed,
    /// Meanwhile somebody else added a set of this name.
    SetTwice(SetName),
    /// There is nothing to answer rejected packets with.
    NoReject,
}

impl From<NoMemory> for Obstacle {
    fn from(_: NoMemory) -> Self {
        Self::Memory
    }
}

impl From<Misfit> for Obstacle {
    fn from(misfit: Misfit) -> Self {
        match misfit {
            Misfit::Memory => Self::Memory,
            Misfit::NoSet(name) => Self::NoSet(name),
            Misfit::SetTwice(name) => Self::SetTwice(name),
        }
    }
}

impl From<Error> for Obstacle {
    fn from(_: Error) -> Self {
        Self::Memory
    }
}

impl From<AllocError> for Obstacle {
    fn from(_: AllocError) -> Self {
        Self::Memory
    }
}

impl From<Obstacle> for Error {
    fn from(obstacle: Obstacle) -> Self {
        match obstacle {
            Obstacle::Memory => ENOMEM,
            Obstacle::TooMany(..) => ENOSPC,
            Obstacle::NoSet(_) => ENOENT,
            Obstacle::Changed => EBUSY,
            Obstacle::SetTwice(_) => EEXIST,
            Obstacle::NoReject => EOPNOTSUPP,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("out of memory"),
            Self::TooMany(max, what) => write!(f, "more than {max} {what}"),
            Self::Changed => f.write_str("somebody else changed the table meanwhile"),
            Self::NoSet(name) => write!(f, "there is no set {name} any more"),
            Self::SetTwice(name) => write!(f, "there is a set {name} already"),
            Self::NoReject => f.write_str(
                "reject needs the kernel's modules nf_reject_ipv4 and nf_reject_ipv6, \
                 which cannot be loaded",
            ),
        }
    }
}
