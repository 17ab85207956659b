#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench-load.sh: seconds and memory that it takes to load a table, and seconds
# to change one rule of it, with ctrfw and its peers, in User Mode Linux.
# Writes build/bench/load.json.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

"$TOP/scripts/host-packages.sh"
"$TOP/scripts/build-module.sh" uml
"$TOP/scripts/bench-sets.sh"
results=$BUILD/results/bench-load
"$TOP/qemu/uml.sh" --mem 6G --results "$results" -- env PYTHONPATH=/ctrfw/tests:/ctrfw/tests/bench \
	python3 /ctrfw/tests/bench/load_cost.py /results/figures.json
cp "$results/figures.json" "$BUILD/bench/load.json"
say "figures: $BUILD/bench/load.json"
