#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# build-bench.sh stock|uml: builds the module that measures hooks, to
# build/FLAVOUR/hook_loop.ko. It is no part of ctrfw, and is never installed.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

flavour=${1:-}
[[ $flavour =~ ^(stock|uml)$ ]] || die "usage: build-bench.sh stock|uml"
root=$("$TOP/scripts/build-root.sh")
tree=$("$TOP/scripts/kernel-tree.sh" "$flavour")
mapfile -t flags <"$tree/make-flags"
out=$BUILD/$flavour/loop
mkdir -p "$out"
exec {lock}>"$BUILD/$flavour/.lock-loop"
flock "$lock"

keep_output "$out" "$tree"
logged "loop-$flavour" "building the loop around nf_hook() for the $flavour kernel" "the compiler's message says where." \
	"$TOP/scripts/in-root.sh" "$root" make -C "$tree" M="$TOP/tests/bench/loop" MO="$out" \
	${flags[@]+"${flags[@]}"} KCFLAGS=-Werror -j"$(nproc)" modules
cp "$out/hook_loop.ko" "$BUILD/$flavour/hook_loop.ko"
