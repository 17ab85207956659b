#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench-iperf.sh [uml|stock]: throughput between two containers on a bridge,
# with and without ctrfw, in User Mode Linux or in the stock kernel under
# QEMU. Writes build/bench/iperf-uml.json or iperf-stock.json.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

flavour=${1:-uml}
case $flavour in
# One CPU: those of User Mode Linux are slow to wake each other on a busy host.
uml) runner=("$TOP/qemu/uml.sh" --cpus 1) rounds=7 seconds=2 ;;
# Time that instructions are counted as: the host's other work does not show.
stock) runner=("$TOP/qemu/run.sh" --cpus 1 --icount) rounds=3 seconds=1 ;;
*) die "usage: bench-iperf.sh [uml|stock]" ;;
esac
"$TOP/scripts/host-packages.sh"
"$TOP/scripts/build-module.sh" "$flavour"
"$TOP/scripts/bench-sets.sh"
results=$BUILD/results/bench-iperf-$flavour
"${runner[@]}" --results "$results" -- env PYTHONPATH=/ctrfw/tests:/ctrfw/tests/bench \
	python3 /ctrfw/tests/bench/iperf_cost.py "$rounds" "$seconds" /results/figures.json
cp "$results/figures.json" "$BUILD/bench/iperf-$flavour.json"
say "figures: $BUILD/bench/iperf-$flavour.json"
