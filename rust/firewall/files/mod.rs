// SPDX-License-Identifier: GPL-2.0

//! The files in `/proc/ctrfw`.

use kernel::prelude::*;

use crate::sys::procfs::Directory;
use crate::sys::task;

mod counters;
mod events;
mod rules;
mod status;
mod trace;
mod transaction;

/// Makes `/proc/ctrfw` and its files. Process context.
pub(crate) fn create() -> Result<Directory> {
    let directory = Directory::new(c"ctrfw")?;
    directory.add::<rules::Rules>(c"rules", 0o600)?;
    directory.add::<status::Status>(c"status", 0o600)?;
    directory.add::<counters::Counters>(c"counters", 0o600)?;
    directory.add::<trace::Trace>(c"trace", 0o600)?;
    // The last, as those who poll it hold the module: nothing can fail any more, and undo them.
    directory.add_stream::<events::Events>(c"events", 0o600)?;
    Ok(directory)
}

/// Refuses everybody who does not administer the host's own network.
///
/// The permission bits do not do that: root in a container is root to them.
fn check_access() -> Result {
    if task::administers_host_network() {
        Ok(())
    } else {
        Err(EPERM)
    }
}
