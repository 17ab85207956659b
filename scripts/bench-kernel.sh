#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench-kernel.sh [uml|stock] [quick]: what one hook costs, with ctrfw and its
# peers: nanoseconds in User Mode Linux, or instructions in the stock kernel.
# Writes build/bench/kernel-uml.json or kernel-stock.json. CTRFW_BENCH_SETS
# names a folder of rule sets of ClassBench to take instead of generated ones.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

flavour=${1:-uml}
case $flavour in
uml) runner=("$TOP/qemu/uml.sh" --mem 4G) plan=${2:-time} ;;
stock) runner=("$TOP/qemu/run.sh" --mem 4G --cpus 1 --icount --timeout 7200) plan=instructions ;;
*) die "usage: bench-kernel.sh [uml|stock] [quick]" ;;
esac
"$TOP/scripts/host-packages.sh"
"$TOP/scripts/build-module.sh" "$flavour"
"$TOP/scripts/build-bench.sh" "$flavour"
"$TOP/scripts/bench-sets.sh"

results=$BUILD/results/bench-kernel-$flavour
"${runner[@]}" --results "$results" -- env PYTHONPATH=/ctrfw/tests:/ctrfw/tests/bench \
	python3 /ctrfw/tests/bench/hook_cost.py "$plan" /results/figures.json
cp "$results/figures.json" "$BUILD/bench/kernel-$flavour.json"
say "figures: $BUILD/bench/kernel-$flavour.json"
