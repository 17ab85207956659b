// SPDX-License-Identifier: GPL-2.0

//! The signals that would end a command which still has something to put right.

use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

/// Has SIGINT, SIGTERM and SIGHUP (the terminal, or the connection that it came by, has gone) end
/// nothing any more: they can be read from what this returns.
///
/// To be called while there is one thread only: the others would still be ended.
pub(crate) fn hold() -> anyhow::Result<SignalFd> {
    let signals: SigSet = [Signal::SIGINT, Signal::SIGTERM, Signal::SIGHUP]
        .into_iter()
        .collect();
    signals.thread_block()?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    Ok(SignalFd::with_flags(&signals, flags)?)
}
