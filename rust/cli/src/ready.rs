// SPDX-License-Identifier: GPL-2.0

//! Waiting for several things at once.

use std::os::fd::BorrowedFd;
use std::time::Duration;

use nix::poll::{poll, PollFd, PollFlags, PollTimeout};

/// Which of these have something to read, or an end. Waits at most `time`, if there is one, but may
/// wait less.
pub(crate) fn ready<const N: usize>(
    from: [BorrowedFd<'_>; N],
    time: Option<Duration>,
) -> [bool; N] {
    let mut polled = from.map(|fd| PollFd::new(fd, PollFlags::POLLIN));
    // Rounded up, so that the last wait is no busy one.
    let time = time.map(|time| time.saturating_add(Duration::from_millis(1)));
    let timeout = time.and_then(|time| PollTimeout::try_from(time).ok());
    // If it fails nothing is ready; what is there is found the next time.
    poll(&mut polled, timeout.unwrap_or(PollTimeout::NONE)).unwrap_or_default();
    polled.map(|fd| fd.any().unwrap_or(false))
}
