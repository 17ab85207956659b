// SPDX-License-Identifier: GPL-2.0

//! `ctrfw`, the command.

use std::process::ExitCode;

fn main() -> ExitCode {
    ctrfw_command::run()
}
