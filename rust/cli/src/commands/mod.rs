// SPDX-License-Identifier: GPL-2.0

//! The subcommands.

pub(crate) mod check;
pub(crate) mod confirm;
pub(crate) mod counters;
pub(crate) mod describe;
pub(crate) mod diff;
pub(crate) mod hook;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod status;
pub(crate) mod test;
pub(crate) mod watch;
