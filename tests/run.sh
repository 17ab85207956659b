#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# run.sh [PYTEST ARGUMENTS...]: runs the scenarios, or another folder of tests
# that CTRFW_TEST_SUITE names; to be called in the guest, as root. Leaves junit.xml and summary in /results, and prints the summary,
# "N passed, N failed", as its last line.
set -u

here=$(cd "$(dirname "$0")" && pwd -P)
results=${CTRFW_RESULTS:-/results}
mkdir -p "$results"
rm -f "$results/summary" "$results/junit.xml"
export CTRFW_RESULTS="$results"

# Our many trace lines belong into the log, not onto a slow serial console.
echo 5 >/proc/sys/kernel/printk
# The scenarios write their names into the log: the kernel must not limit that.
# (The guest's command line may have settled that: then it cannot be written.)
grep -qx on /proc/sys/kernel/printk_devkmsg || echo on >/proc/sys/kernel/printk_devkmsg
# Every link and namespace that goes waits for RCU. Shorter waits save minutes,
# and hide nothing: what is freed too early is found the sooner.
[ ! -e /sys/kernel/rcu_expedited ] || echo 1 >/sys/kernel/rcu_expedited
mountpoint -q /sys/kernel/debug 2>/dev/null ||
	mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null || true

export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1 PYTEST_DISABLE_PLUGIN_AUTOLOAD=1
python3 -m pytest -c "$here/pytest.ini" --rootdir "$here" \
	--junit-xml "$results/junit.xml" "$@" "$here/${CTRFW_TEST_SUITE:-scenarios}"
status=$?

# Without a summary the run did not get to its end.
if [ ! -s "$results/summary" ]; then
	echo "pytest ended early (exit $status)" >"$results/summary"
	echo "0 passed, 1 failed" >>"$results/summary"
	[ "$status" -ne 0 ] || status=1
fi
cat "$results/summary"
exit "$status"
