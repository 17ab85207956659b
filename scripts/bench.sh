#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench.sh: measures the parts that PARTS names, each by a script of its own,
# and tells of all figures that are in build/bench: tables, plots, and the bars.
# COMPARE names an older build/bench/all.json to compare with.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

need_root "measuring"
"$TOP/scripts/host-packages.sh"
tools=$("$TOP/scripts/python-tools.sh")
mkdir -p "$BUILD/bench"
# A relative path is one of the folder in which make was called.
compare=()
[ -z "${COMPARE:-}" ] || compare=(--compare "$(realpath -e "$COMPARE")")

# What the parts that measure in a guest call it.
export CTRFW_BENCH_SETS=${CTRFW_BENCH_SETS-${CLASSBENCH:-}}

failed=()
for part in ${PARTS:-engine kernel kernel-stock load iperf iperf-stock trace}; do
	# Behind the name of a part, perhaps, the kernel that it is for.
	script=$TOP/scripts/bench-${part%%-*}.sh kernel=()
	[ "$part" = "${part%%-*}" ] || kernel=("${part#*-}")
	if [ ! -x "$script" ]; then
		say "part $part: there is no $script"
		continue
	fi
	say "=== part $part"
	# What it measured before must not be taken for what it measures now.
	rm -f "$BUILD/bench/$part.json" "$BUILD/bench/$part-uml.json"
	"$script" "${kernel[@]}" || failed+=("$part")
done
MPLCONFIGDIR=$BUILD/bench/.matplotlib "$tools/bin/python" "$TOP/scripts/bench_report.py" "$BUILD/bench" \
	--peers "$TOP/tests/bench/peers.json" "${compare[@]}"
[ ${#failed[@]} = 0 ] || die "parts that failed: ${failed[*]}." "their logs are in $BUILD/log."
