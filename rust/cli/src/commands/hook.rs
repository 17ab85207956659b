// SPDX-License-Identifier: GPL-2.0

//! `ctrfw hook`

use std::io::{self, Read as _};
use std::path::Path;

use anyhow::Context as _;
use serde::Deserialize;

use crate::engine::announce::{addresses_of, announce, Announcement};
use crate::output::Output;
use crate::Outcome;

/// The longest state of a container in bytes.
const MAX_STATE: u64 = 1 << 20;

/// What an OCI runtime tells its hooks.
#[derive(Deserialize)]
struct State {
    id: String,
    pid: u32,
}

/// Tells `ctrfw watch` of a container that is about to start, whose state is on standard input.
///
/// It starts in any case: what the table does not know gets no permission.
pub(crate) fn run(output: &mut Output, socket: &Path) -> anyhow::Result<Outcome> {
    if let Err(error) = tell(socket) {
        output.complain(&error);
    }
    Ok(Outcome::Fine)
}

fn tell(socket: &Path) -> anyhow::Result<()> {
    let state = io::read_to_string(io::stdin().take(MAX_STATE))?;
    let State { id, pid } = serde_json::from_str(&state).context("the container's state")?;
    let addresses = addresses_of(pid).context("the container's network namespace")?;
    if addresses.is_empty() {
        // The engine will tell when it has some.
        return Ok(());
    }
    announce(socket, &Announcement { id, addresses })
}
