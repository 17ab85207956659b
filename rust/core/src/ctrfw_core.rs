// SPDX-License-Identifier: GPL-2.0

//! The part of ctrfw that knows no kernel: the rule language, packet parsing, verdicts, the log
//! limit and the text of a trace line.
//!
//! The same files are compiled into the module by Kbuild and under cargo, where they are tested.
//! Nothing here blocks or panics, and nothing allocates but the building of a [`policy::Policy`] in
//! [`memory`] that the user of the core provides; so every function may be called from any context,
//! softirq included, unless its documentation says otherwise.

// Kbuild adds the attribute itself.
#![cfg_attr(not(MODULE), no_std)]
#![forbid(unsafe_code)]
#![deny(missing_docs)]
#![deny(
    clippy::arithmetic_side_effects,
    clippy::expect_used,
    clippy::indexing_slicing,
    clippy::panic,
    clippy::unreachable,
    clippy::unwrap_used
)]

/// The version of ctrfw.
pub const VERSION: &str = "0.1.0";

#[cfg(not(MODULE))]
extern crate alloc;

pub mod addr;
pub mod block;
mod bounds;
pub mod cache;
pub mod cgroup;
mod classifier;
pub mod edit;
pub mod error;
pub mod event;
mod facts;
pub mod failsafe;
pub mod family;
pub mod flags;
pub mod flow;
pub mod fragment;
pub mod generation;
mod head;
pub mod hook;
pub mod icmp;
pub mod iface;
mod index;
pub mod key;
pub mod lexer;
pub mod limit;
pub mod loader;
pub mod mark;
pub mod matcher;
pub mod memory;
mod more;
pub mod netns;
pub mod outcome;
mod packed;
pub mod packet;
pub mod pair;
pub mod parser;
pub mod period;
pub mod policy;
pub mod port;
pub mod priority;
pub mod proto;
pub mod queue;
pub mod quota;
pub mod record;
pub mod reject;
pub mod ring;
pub mod rule;
pub mod rules;
pub mod set;
mod sets;
pub mod slot;
mod sorted;
pub mod text;
mod texts;
pub mod value;
mod values;
pub mod writer;
