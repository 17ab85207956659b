// SPDX-License-Identifier: GPL-2.0

//! Safe abstractions over what the kernel crate lacks: netfilter hooks in every namespace,
//! `sk_buff`s, procfs, per-CPU counters and rings, RCU-protected pointers, static keys, whole pages.
//!
//! All of ctrfw's `unsafe` code is in this folder.

pub(crate) mod cgroup;
pub(crate) mod conntrack;
pub(crate) mod counters;
pub(crate) mod cpu;
pub(crate) mod module;
pub(crate) mod net;
pub(crate) mod netfilter;
pub(crate) mod pages;
pub(crate) mod procfs;
pub(crate) mod queue;
pub(crate) mod random;
pub(crate) mod rcu;
pub(crate) mod reject;
pub(crate) mod ring;
pub(crate) mod skbuff;
pub(crate) mod socket;
pub(crate) mod static_key;
pub(crate) mod task;
pub(crate) mod thread;
pub(crate) mod time;

/// Bindings for what [`kernel::bindings`] does not have.
#[allow(
    clippy::all,
    clippy::arithmetic_side_effects,
    clippy::as_underscore,
    clippy::cast_lossless,
    clippy::indexing_slicing,
    clippy::ptr_as_ptr,
    clippy::ref_as_ptr,
    clippy::undocumented_unsafe_blocks,
    dead_code,
    improper_ctypes,
    missing_docs,
    non_camel_case_types,
    non_snake_case,
    non_upper_case_globals,
    unreachable_pub,
    unsafe_op_in_unsafe_fn
)]
mod bindings {
    // Symbols defined here take precedence over the glob import.
    pub use kernel::bindings::*;
    use kernel::ffi;
    use pin_init::{MaybeZeroable, Zeroable};

    // SAFETY: `__BindgenBitfieldUnit<Storage>` is a newtype around `Storage`.
    unsafe impl<Storage> Zeroable for __BindgenBitfieldUnit<Storage> where Storage: Zeroable {}

    include!(env!("CTRFW_BINDINGS"));
}
