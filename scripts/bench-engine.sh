#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# bench-engine.sh: what the policy engine costs by itself, in user space on
# this machine's processor, beside a plain scan and DPDK's rte_acl. Writes
# build/bench/engine.json. CLASSBENCH names a folder of rule sets in
# ClassBench's format, PEERS=none leaves DPDK out, PEERS=DIR adds the classifiers
# of a checkout of PextCuts (zcy-ict/PextCuts), ENGINE has further arguments for
# ctrfw-bench engine (--rounds 11 --sets acl).
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
peers=${PEERS:-all}
if [ "$peers" = none ]; then
	root=$("$TOP/scripts/build-root.sh")
else
	[ "$peers" = all ] || [ -e "$peers/methods/pextcuts/multipextcuts.h" ] ||
		die "PEERS is $peers." "leave it out, or say PEERS=none, or name the folder of a checkout of PextCuts."
	root=$("$TOP/scripts/bench-root.sh")
	# shellcheck disable=SC2016
	logged bench-rte_acl "building tests/bench/rte_acl.c" "the compiler's message says where." \
		"$TOP/scripts/in-root.sh" "$root" sh -euc \
		'gcc -O3 -Wall -Wextra -o "$1" "$2" $(pkg-config --cflags libdpdk) -lrte_acl -lrte_eal' \
		sh "$BUILD/bench/rte_acl" "$TOP/tests/bench/rte_acl.c"
	args+=(--rte-acl "$BUILD/bench/rte_acl")
fi
if [ "$peers" != none ] && [ "$peers" != all ]; then
	# Where the root shows it. Built as its Makefile does, but for what today's compilers no longer let pass.
	drop_tree "$BUILD/bench/pextcuts"
	cp -r "$peers" "$BUILD/bench/pextcuts"
	# shellcheck disable=SC2016
	logged bench-classifiers "building tests/bench/classifiers.cpp with PextCuts" "the compiler's message says where." \
		"$TOP/scripts/in-root.sh" "$root" sh -euc '
		cd "$3"
		g++ -std=c++14 -O3 -fpermissive -w -fopenmp -mpopcnt -mbmi2 -include pthread.h -I. -o "$1" "$2" elementary.cpp \
			io/*.cpp methods/pextcuts/*.cpp methods/dynamictuple/*.cpp methods/multilayertuple/*.cpp' \
		sh "$BUILD/bench/classifiers" "$TOP/tests/bench/classifiers.cpp" "$BUILD/bench/pextcuts"
	args+=(--classifiers "$BUILD/bench/classifiers")
fi
logged bench-engine "measuring the policy engine (about 20 minutes)" "read the log." \
	"$TOP/scripts/in-root.sh" "$root" taskset -c "$cpu" "$program" "${args[@]}" "${extra[@]}"
