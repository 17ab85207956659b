#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the user's command, to build/ctrfw: one file without libraries, which
# runs on any Linux of this machine's kind, in the guests and on the host.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

root=$("$TOP/scripts/build-root.sh")
mkdir -p "$BUILD"
exec {lock}>"$BUILD/.lock-command"
flock "$lock"
target=$("$TOP/scripts/in-root.sh" "$root" rustc -vV | sed -n 's/^host: //p')
# With a target named, the flags are not for the compiler's own plug-ins.
logged command "building the command" "the compiler's message says where." \
	"$TOP/scripts/in-root.sh" "$root" env CARGO_TARGET_DIR="$BUILD/cargo" RUSTFLAGS="-Ctarget-feature=+crt-static" \
	CARGO_PROFILE_RELEASE_STRIP=true \
	cargo build --manifest-path "$TOP/rust/Cargo.toml" --package ctrfw --release --locked --target "$target"
cp "$BUILD/cargo/$target/release/ctrfw" "$BUILD/ctrfw.new"
mv "$BUILD/ctrfw.new" "$BUILD/ctrfw"
