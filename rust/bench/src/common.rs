// SPDX-License-Identifier: GPL-2.0

//! What the core's own tests have, too: the oracle of verdicts, and tables as text.

// Each user of these files uses a part of them.
#![allow(dead_code)]

#[path = "../../cli/src/cgroup.rs"]
pub mod cgroups;
#[path = "../../core/tests/common/oracle.rs"]
pub mod oracle;
#[path = "../../core/tests/common/packet.rs"]
pub mod packet;
#[path = "../../core/tests/common/text.rs"]
pub mod text;
