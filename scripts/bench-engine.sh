#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench-engine.sh: what the policy engine costs by itself, in user space on
# this machine's processor, beside a plain scan and DPDK's rte_acl. Writes
# build/bench/engine.json. CLASSBENCH names a folder of rule sets in
# ClassBench's format, PEERS=none leaves DPDK out, ENGINE has further arguments
# for ctrfw-bench engine (--rounds 11 --sets acl).
set -euo pipefail
. "$(dirname "$0")/lib.sh"

program=$("$TOP/scripts/build-ctrfw-bench.sh")
mkdir -p "$BUILD/bench"
# One processor for all that is measured, so that they share its caches.
cpu=$(($(nproc) - 1))
read -ra extra <<<"${ENGINE:-}"
args=(engine --out "$BUILD/bench/engine.json" --cpu "$cpu")
if [ -n "${CLASSBENCH:-}" ]; then
	[ -d "$CLASSBENCH" ] || die "CLASSBENCH is $CLASSBENCH, which is no folder." "name one with files such as acl1_1k."
	# Where the root shows it.
	drop_tree "$BUILD/bench/classbench"
	mkdir "$BUILD/bench/classbench"
	find "$CLASSBENCH" -maxdepth 1 -type f -exec cp -t "$BUILD/bench/classbench" {} +
	args+=(--classbench "$BUILD/bench/classbench")
fi
case ${PEERS:-all} in
none) root=$("$TOP/scripts/build-root.sh") ;;
all)
	root=$("$TOP/scripts/bench-root.sh")
	# shellcheck disable=SC2016
	logged bench-rte_acl "building tests/bench/rte_acl.c" "the compiler's message says where." \
		"$TOP/scripts/in-root.sh" "$root" sh -euc \
		'gcc -O3 -Wall -Wextra -o "$1" "$2" $(pkg-config --cflags libdpdk) -lrte_acl -lrte_eal' \
		sh "$BUILD/bench/rte_acl" "$TOP/tests/bench/rte_acl.c"
	args+=(--rte-acl "$BUILD/bench/rte_acl")
	;;
*) die "PEERS is ${PEERS}." "PEERS=none leaves DPDK out." ;;
esac
logged bench-engine "measuring the policy engine (about a quarter of an hour)" "read the log." \
	"$TOP/scripts/in-root.sh" "$root" taskset -c "$cpu" "$program" "${args[@]}" "${extra[@]}"
