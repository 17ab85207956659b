#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Runs the unit tests on this machine: those of the pure core with the build
# root's cargo, those of ctrfw-paths with its Python. Leaves "N passed, N failed" in build/results/unit/summary.
# Random cases are the same each time, so that a run has no luck, good or bad: PROPTEST_RNG_SEED=N has
# others, and PROPTEST_CASES=N more.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

root=$("$TOP/scripts/build-root.sh")
out=$BUILD/results/unit
mkdir -p "$out"
rm -f "$out/summary"

say "unit tests (cargo test; log: $out/output.log)"
rc=0
"$TOP/scripts/in-root.sh" "$root" env CARGO_TARGET_DIR="$BUILD/cargo" PROPTEST_RNG_SEED="${PROPTEST_RNG_SEED:-1}" \
	cargo test --manifest-path "$TOP/rust/Cargo.toml" --workspace --locked --release --no-fail-fast -- "$@" \
	>"$out/output.log" 2>&1 </dev/null || rc=$?

say "unit tests (ctrfw-paths; log: $out/paths.log)"
prc=0
"$TOP/scripts/in-root.sh" "$root" env PYTHONPATH="$TOP/scripts" PYTHONDONTWRITEBYTECODE=1 \
	python3 -m unittest discover -s "$TOP/tests/demo" >"$out/paths.log" 2>&1 </dev/null || prc=$?

awk '/^test result:/ { for (i = 2; i <= NF; i++) { if ($i ~ /^passed/) p += $(i - 1); if ($i ~ /^failed/) f += $(i - 1) } }
	/^Ran [0-9]+ tests? in/ { ran = $2 }
	/^FAILED \(/ { gsub(/[^0-9]+/, " "); for (i = 1; i <= NF; i++) bad += $i }
	END { printf "%d passed, %d failed\n", p + ran - bad, f + bad }' "$out/output.log" "$out/paths.log" >"$out/summary.new"
if [ $rc != 0 ]; then
	grep -E -A 12 '^(error|failures:|---- )' "$out/output.log" | head -n 60 >&2 || tail -n 20 "$out/output.log" >&2
	# A test that does not compile, or a process that died, has no result line.
	if grep -q ' 0 failed' "$out/summary.new"; then
		sed -i 's/ 0 failed/ 1 failed/' "$out/summary.new"
	fi
fi
if [ $prc != 0 ]; then
	tail -n 40 "$out/paths.log" >&2
	rc=$prc
	if grep -q ' 0 failed' "$out/summary.new"; then
		sed -i 's/ 0 failed/ 1 failed/' "$out/summary.new"
	fi
fi
mv "$out/summary.new" "$out/summary"
say "unit tests: $(cat "$out/summary")"
exit $rc
