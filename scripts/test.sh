#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test.sh stock|uml|uml-debug [PYTEST ARGUMENTS...]: builds what the tests need,
# runs them, and ends with one line "N passed, N failed". "stock" adds the
# unit tests, and installs into an empty folder. A part that leaves no summary
# counts as one failure.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

flavour=$1
shift
passed=0 failed=0

# tally STATUS FILE: adds a summary's figures.
tally() {
	local p=0 f=0
	if [ -s "$2" ]; then
		read -r p f < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p' "$2" | tail -n 1) || true
	fi
	p=${p:-0} f=${f:-0}
	# Failed, or nothing ran at all, and yet no test to blame: blame the run.
	if [ "$f" = 0 ] && { [ "$1" != 0 ] || [ "$p" = 0 ]; }; then f=1; fi
	passed=$((passed + p)) failed=$((failed + f))
}

"$TOP/scripts/host-packages.sh"
"$TOP/scripts/build-module.sh" "$flavour"
"$TOP/scripts/build-command.sh"

if [ "$flavour" = stock ] && [ $# = 0 ]; then
	rc=0
	"$TOP/scripts/unit-tests.sh" || rc=$?
	tally $rc "$BUILD/results/unit/summary"
	rc=0
	"$TOP/scripts/test-install.sh" || rc=$?
	tally $rc "$BUILD/results/install/summary"
fi

case $flavour in
stock) runner=("$TOP/qemu/run.sh") ;;
uml) runner=("$TOP/qemu/uml.sh") ;;
uml-debug) runner=("$TOP/qemu/uml.sh" --debug) ;;
esac
results=$BUILD/results/$flavour
mkdir -p "$results"
rm -f "$results/summary"
rc=0
# The guest's own closing line is left out here: one comes below, for all.
"${runner[@]}" -- /ctrfw/tests/run.sh "$@" | grep --line-buffered -avxE '[0-9]+ passed, [0-9]+ failed' || rc=${PIPESTATUS[0]}
tally "$rc" "$results/summary"

say "logs and results: $results"
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
