// SPDX-License-Identifier: GPL-2.0

//! Names of containers and networks, with engines in the place of Docker and Podman.

mod engine;
mod files;
mod module;
mod watch;
