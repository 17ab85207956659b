#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Everything that is checked without running: formatting, clippy (outside the
# kernel and inside its build), the project's own rules, C, shell, Python.
# Goes through all of them and says at the end what failed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$TOP"

root=$("$TOP/scripts/build-root.sh")
source=$("$TOP/scripts/kernel-source.sh")
tools=$("$TOP/scripts/python-tools.sh")
in_root() { "$TOP/scripts/in-root.sh" "$root" "$@"; }
tracked() {
	git ls-files -co --exclude-standard -- "$@" | while read -r f; do [ ! -f "$f" ] || printf '%s\n' "$f"; done
}
mkdir -p "$BUILD/log"

passed=0 failed=()
# check NAME CMD...: runs it; shows its output only if it fails.
check() {
	local name=$1 t0=$EPOCHSECONDS log=$BUILD/log/check-$1.log
	shift
	if "$@" >"$log" 2>&1 </dev/null; then
		say "ok      $name ($((EPOCHSECONDS - t0)) s)"
		passed=$((passed + 1))
	else
		say "FAILED  $name ($((EPOCHSECONDS - t0)) s; $log)"
		head -n 60 "$log" | sed 's/^/    /' >&2
		failed+=("$name")
	fi
}

rust_format() {
	local config=()
	[ -e rust/.rustfmt.toml ] || config=(--config-path "$source/.rustfmt.toml")
	tracked 'rust/*.rs' | in_root xargs rustfmt --edition 2021 --check "${config[@]}"
}
rust_clippy() {
	in_root env CARGO_TARGET_DIR="$BUILD/cargo" cargo clippy --quiet --manifest-path rust/Cargo.toml \
		--workspace --all-targets --locked -- -D warnings
}
rust_kernel_clippy() { "$TOP/scripts/build-module.sh" stock --clippy; }
c_style() {
	tracked '*.c' '*.h' | grep . | in_root xargs -r perl "$source/scripts/checkpatch.pl" --no-tree --file --terse --quiet --show-types \
		--max-line-length=100 --ignore FILE_PATH_CHANGES,SPDX_LICENSE_TAG
}
shell_lint() {
	{
		tracked '*.sh'
		tracked '*' | grep -v '\.[a-z0-9]*$' | while read -r f; do head -n 1 "$f" | grep -qaE '^#!.*\b(ba)?sh\b' && echo "$f"; done || true
	} | sort -u | in_root xargs shellcheck -x
}
python_lint() { "$tools/bin/ruff" check --no-cache . && "$tools/bin/ruff" format --no-cache --check .; }

check rustfmt rust_format
check lints "$TOP/scripts/lints.sh"
check shellcheck shell_lint
check ruff python_lint
check checkpatch c_style
check clippy rust_clippy
check clippy-kernel rust_kernel_clippy

if [ ${#failed[@]} -gt 0 ]; then
	say "failed: ${failed[*]}"
fi
mkdir -p "$BUILD/results/check"
printf '%d passed, %d failed\n' "$passed" "${#failed[@]}" | tee "$BUILD/results/check/summary"
[ ${#failed[@]} = 0 ]
