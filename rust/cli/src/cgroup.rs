// SPDX-License-Identifier: GPL-2.0

//! Cgroups where there is no kernel to ask: each path stands for one.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};

use ctrfw_core::cgroup::{CgroupId, CgroupPath, Lineage, MAX_LEVEL};

/// A number for the cgroup at `path`, the same each time.
fn number(path: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    path.hash(&mut hasher);
    hasher.finish()
}

/// The cgroup that a path leads to; [`None`] if it is none.
pub fn id(path: &str) -> Option<CgroupId> {
    let path = CgroupPath::parse(path.as_bytes())?;
    CgroupId::new(path.way().count(), number(path.as_str()))
}

/// The same with all that it is in.
pub fn lineage(path: &[u8]) -> Option<Lineage> {
    let path = CgroupPath::parse(path)?;
    let mut numbers = [0; MAX_LEVEL];
    for (slot, path) in numbers.iter_mut().zip(path.way()) {
        *slot = number(path);
    }
    Some(Lineage::new(numbers))
}
