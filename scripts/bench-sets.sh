#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Makes the rule sets that bench-kernel.sh and its like load, and packets for
# them, in build/bench/sets, unless they are there: see tests/bench/rules.py.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

sets=$BUILD/bench/sets from=${CTRFW_BENCH_SETS:-}
id=$(key "$TOP/tests/bench/rules.py" "$from")
[ "$(cat "$sets/.key" 2>/dev/null)" != "$id" ] || exit 0
[ -z "$from" ] || [ -d "$from" ] || die "CTRFW_BENCH_SETS is $from, which is no folder." "name one with files such as acl1_1k."
root=$("$TOP/scripts/build-root.sh")
drop_tree "$sets"
mkdir -p "$sets"
if [ -n "$from" ]; then
	mkdir "$sets/from"
	find "$from" -maxdepth 1 -type f -regex '.*/[a-z0-9]+_[0-9]+[km]?' -exec cp -t "$sets/from" {} +
fi
logged bench-sets "making rule sets" "read the log." "$TOP/scripts/in-root.sh" "$root" \
	python3 "$TOP/tests/bench/rules.py" "$sets" "$sets/from"
echo "$id" >"$sets/.key"
