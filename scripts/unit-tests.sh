#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the unit tests of the pure core on this machine, with the build root's
# cargo. Leaves "N passed, N failed" in build/results/unit/summary.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

root=$("$TOP/scripts/build-root.sh")
out=$BUILD/results/unit
mkdir -p "$out"
rm -f "$out/summary"

say "unit tests (cargo test; log: $out/output.log)"
rc=0
"$TOP/scripts/in-root.sh" "$root" env CARGO_TARGET_DIR="$BUILD/cargo" \
	cargo test --manifest-path "$TOP/rust/Cargo.toml" --workspace --locked --release --no-fail-fast -- "$@" \
	>"$out/output.log" 2>&1 </dev/null || rc=$?

awk '/^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1) } }
	END { printf "%d passed, %d failed\n", p, f }' "$out/output.log" >"$out/summary.new"
if [ $rc != 0 ]; then
	grep -E -A 12 '^(error|failures:|---- )' "$out/output.log" | head -n 60 >&2 || tail -n 20 "$out/output.log" >&2
	# A test that does not compile, or a process that died, has no result line.
	if grep -q ' 0 failed' "$out/summary.new"; then
		sed -i 's/ 0 failed/ 1 failed/' "$out/summary.new"
	fi
fi
mv "$out/summary.new" "$out/summary"
say "unit tests: $(cat "$out/summary")"
exit $rc
