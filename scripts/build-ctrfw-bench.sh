#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Builds the program that measures the policy engine, and prints its path: one
# file without libraries, compiled as the module is, without checks.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

root=$("$TOP/scripts/build-root.sh")
mkdir -p "$BUILD"
exec {lock}>"$BUILD/.lock-bench"
flock "$lock"
target=$("$TOP/scripts/in-root.sh" "$root" rustc -vV | sed -n 's/^host: //p')
logged bench "building ctrfw-bench" "the compiler's message says where." \
	"$TOP/scripts/in-root.sh" "$root" env CARGO_TARGET_DIR="$BUILD/cargo" RUSTFLAGS="-Ctarget-feature=+crt-static" \
	cargo build --manifest-path "$TOP/rust/Cargo.toml" --package ctrfw-bench --profile measured --locked --target "$target"
echo "$BUILD/cargo/$target/measured/ctrfw-bench"
