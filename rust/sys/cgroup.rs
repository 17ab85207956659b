// SPDX-License-Identifier: GPL-2.0

//! Control groups.
//!
//! C header: [`include/linux/cgroup.h`](srctree/include/linux/cgroup.h)

use kernel::error::to_result;
use kernel::ffi::c_int;
use kernel::prelude::*;

use super::bindings;

/// The level below the root, and the number, of the cgroup at `path`, as the cgroup namespace of the
/// running task has it. Process context; sleeps.
///
/// Fails with `ENOENT` if there is none, and with `EOPNOTSUPP` if the kernel does not know the cgroups
/// of sockets.
pub(crate) fn find(path: &str) -> Result<(usize, u64)> {
    let (mut level, mut number): (c_int, u64) = (0, 0);
    // SAFETY: The path has so many bytes, and the variables are ours; in process context it may be
    // called.
    to_result(unsafe {
        let text = path.as_ptr();
        bindings::ctrfw_cgroup_find(text, path.len(), &raw mut level, &raw mut number)
    })?;
    Ok((usize::try_from(level)?, number))
}
