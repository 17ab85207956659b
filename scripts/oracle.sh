#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# oracle.sh PAIRS [SEED]: compares the policy engine with a linear oracle on so
# many random pairs of a table and a packet, on all processors.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -ge 1 ] || die "usage: oracle.sh PAIRS [SEED]"
root=$("$TOP/scripts/build-root.sh")
program=$("$TOP/scripts/build-ctrfw-bench.sh")
"$TOP/scripts/in-root.sh" "$root" "$program" oracle --pairs "$1" --seed "${2:-1}"
