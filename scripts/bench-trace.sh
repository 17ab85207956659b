#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench-trace.sh: what an event of the trace costs a hook, and how many a second
# readers get without losing any, in User Mode Linux; and what is left of the
# trace in a hook of the stock kernel's module while it is off. Writes
# build/bench/trace.json.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

"$TOP/scripts/host-packages.sh"
"$TOP/scripts/build-module.sh" uml
"$TOP/scripts/build-bench.sh" uml

results=$BUILD/results/bench-trace
mkdir -p "$BUILD/bench"
"$TOP/qemu/uml.sh" --results "$results" -- env PYTHONPATH=/ctrfw/tests:/ctrfw/tests/bench \
	python3 /ctrfw/tests/bench/trace_cost.py /results/figures.json
cp "$results/figures.json" "$BUILD/bench/trace.json"

# User Mode Linux patches no code: there the branch is a load and a jump.
"$TOP/scripts/build-module.sh" stock
root=$("$TOP/scripts/build-root.sh")
ko=$BUILD/stock/ctrfw.ko
"$TOP/scripts/in-root.sh" "$root" readelf -Wr "$ko" >"$results/relocations"
"$TOP/scripts/in-root.sh" "$root" objdump -dw --no-show-raw-insn "$ko" >"$results/instructions"
python3 "$TOP/scripts/static_branches.py" "$results/relocations" "$results/instructions" "$BUILD/bench/trace.json"
say "figures: $BUILD/bench/trace.json"
