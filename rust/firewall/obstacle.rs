// SPDX-License-Identifier: GPL-2.0

//! Why statements in the right language cannot be put in force.

use core::fmt;

use ctrfw_core::cgroup::MAX_LEVEL;
use ctrfw_core::error::Excerpt;
use ctrfw_core::generation::Generation;
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
    /// Meanwhile the counters began anew, or there are others.
    Recounted,
    /// Another table is in force than the one that was named.
    Stale {
        /// The generation that was named
        wanted: Generation,
        /// The generation in force
        current: Generation,
    },
    /// Meanwhile somebody else added a set of this name.
    SetTwice(SetName),
    /// There is nothing to answer rejected packets with.
    NoReject,
    /// There is nothing that packets could be queued by.
    NoQueue,
    /// There is no connection tracking.
    NoConntrack,
    /// Connection tracking cannot begin its work in some namespace.
    NoTracking,
    /// There is nothing to look sockets up with.
    NoSocketLookup,
    /// There is no cgroup at this path.
    NoCgroup(Excerpt),
    /// The cgroup is too far below the root.
    DeepCgroup,
    /// The kernel does not know the cgroups of sockets.
    NoCgroups,
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
            Obstacle::NoSet(_) | Obstacle::NoCgroup(_) => ENOENT,
            Obstacle::Changed | Obstacle::Recounted => EBUSY,
            Obstacle::Stale { .. } => ESTALE,
            Obstacle::SetTwice(_) => EEXIST,
            Obstacle::NoReject
            | Obstacle::NoQueue
            | Obstacle::NoConntrack
            | Obstacle::NoTracking
            | Obstacle::NoSocketLookup
            | Obstacle::DeepCgroup
            | Obstacle::NoCgroups => EOPNOTSUPP,
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => f.write_str("out of memory"),
            Self::TooMany(max, what) => write!(f, "more than {max} {what}"),
            Self::Changed => f.write_str("somebody else changed the table meanwhile"),
            Self::Recounted => f.write_str(
                "somebody else reset the counters or changed the table since they were read",
            ),
            Self::Stale { wanted, current } => {
                write!(
                    f,
                    "the table in force is generation {current}, not {wanted}"
                )
            }
            Self::NoSet(name) => write!(f, "there is no set {name} any more"),
            Self::SetTwice(name) => write!(f, "there is a set {name} already"),
            Self::NoReject => f.write_str(
                "reject needs the kernel's modules nf_reject_ipv4 and nf_reject_ipv6, \
                 which cannot be loaded",
            ),
            Self::NoQueue => f.write_str(
                "queue needs the kernel's module nfnetlink_queue, which cannot be loaded",
            ),
            Self::NoConntrack => f.write_str(
                "state, origdst and origdport need the kernel's module nf_conntrack, \
                 which cannot be loaded",
            ),
            Self::NoSocketLookup => f.write_str(
                "cgroup at pre_routing and local_in needs the kernel's modules nf_socket_ipv4 and \
                 nf_socket_ipv6, which cannot be loaded",
            ),
            Self::NoCgroup(path) => write!(f, "there is no cgroup \"{path}\""),
            Self::DeepCgroup => {
                write!(f, "a cgroup is more than {MAX_LEVEL} levels below the root")
            }
            Self::NoCgroups => {
                f.write_str("cgroup needs a kernel that knows the cgroups of sockets")
            }
            Self::NoTracking => f.write_str(
                "nf_conntrack cannot begin to track connections in some network namespace",
            ),
        }
    }
}
