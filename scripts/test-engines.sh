#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# test-engines.sh [ROW...]: tries the policies beside each engine, by default
# beside all of them: each row in a guest of its own, three at a time for two
# CPUs, as a row waits a good deal, if memory has room for them. Some run on the
# stock kernel, the others on User Mode Linux, where all takes less than half of
# the time. LANE=stock or LANE=uml is for all rows that are named.
# Ends with one line "N passed, N failed", and tells whether
# docs/compatibility.md says what was seen.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

lane=${LANE:-}
table=$TOP/tests/engines/rows/__init__.py
page=$TOP/docs/compatibility.md
results=$BUILD/results/engines
mapfile -t rows < <(sed -n 's/^    "\([a-z0-9-]*\)": .*/\1/p' "$table")
wanted=("$@")
[ $# -gt 0 ] || wanted=("${rows[@]}")
for row in "${wanted[@]}"; do
	printf '%s\n' "${rows[@]}" | grep -qx -- "$row" || die "there is no engine $row." "the engines are: ${rows[*]}"
done

"$TOP/scripts/host-packages.sh"
case $lane in
"" | stock | uml) ;;
*) die "there is no lane $lane." "LANE is stock or uml." ;;
esac

lane_of() {
	case ${lane:-$1} in
	# User Mode Linux has no sch_htb, which libvirt's nftables backend wants.
	stock | docker-stock | libvirt | cni | nftables) echo stock ;;
	*) echo uml ;;
	esac
}

# Made once, before several guests want them.
for each in $(for row in "${wanted[@]}"; do lane_of "$row"; done | sort -u); do
	"$TOP/scripts/build-module.sh" "$each"
	"$TOP/qemu/initramfs.sh" "$each" >/dev/null
done
"$TOP/scripts/guest-root.sh" >/dev/null

# One guest for each; what it leaves is read below.
try() {
	local row=$1 rc=0 t0=$EPOCHSECONDS runner=$TOP/qemu/run.sh
	[ "$(lane_of "$row")" = stock ] || runner=$TOP/qemu/uml.sh
	say "$row ..."
	CTRFW_TEST_SUITE=engines CTRFW_TEST_ENGINE=$row "$runner" --mem 3G --timeout 3000 --results "$results/$row" \
		-- /ctrfw/tests/run.sh >"$BUILD/log/engine-$row.out" 2>&1 </dev/null || rc=$?
	say "$row: $(tail -n 1 "$results/$row/summary" 2>/dev/null || echo "no result") in $((EPOCHSECONDS - t0)) s"
	[ "$rc" = 0 ] || sed -n '/= FAILURES =/,$p' "$BUILD/log/engine-$row.out" | head -n 100 | sed 's/^/    /' >&2
	echo "$rc" >"$results/$row.status"
}

mkdir -p "$results" "$BUILD/log"
for row in "${wanted[@]}"; do rm -rf "${results:?}/$row" "$results/$row.status"; done
pids=()
trap 'end_groups "${pids[@]}"' EXIT
slots=$(($(nproc) * 3 / 2))
room=$(awk '/^MemAvailable:/ { print int($2 / 1024 / 1024 / 3) }' /proc/meminfo)
[ "$room" -ge "$slots" ] || slots=$((room > 0 ? room : 1))
for row in "${wanted[@]}"; do
	while [ "$(jobs -rp | wc -l)" -ge "$slots" ]; do wait -n || true; done
	# A process group of its own, so that an interrupt leaves no guest behind.
	set -m
	try "$row" &
	pids+=($!)
	set +m
done
wait

passed=0 failed=0
for row in "${wanted[@]}"; do
	p=0 f=0
	read -r p f < <(sed -n 's/^\([0-9]*\) passed, \([0-9]*\) failed.*/\1 \2/p' "$results/$row/summary" 2>/dev/null | tail -n 1) || true
	p=${p:-0} f=${f:-0}
	# Failed, and yet no test to blame: blame the run.
	if [ "$f" = 0 ] && { [ "$p" = 0 ] || [ "$(cat "$results/$row.status")" != 0 ]; }; then f=1; fi
	passed=$((passed + p)) failed=$((failed + f))
done

mapfile -t missing < <(for row in "${rows[@]}"; do [ -s "$results/$row/row.json" ] || echo "$row"; done)
if [ ${#missing[@]} = 0 ] && [ -z "$lane" ]; then
	/usr/bin/python3 "$TOP/scripts/compatibility.py" "$page" "$results" "${rows[@]}" >"$BUILD/compatibility.md"
	if cmp -s "$BUILD/compatibility.md" "$page"; then
		say "docs/compatibility.md says what was seen"
	else
		say "docs/compatibility.md says something else; build/compatibility.md is what was seen"
	fi
fi
printf '%d passed, %d failed\n' "$passed" "$failed"
[ "$failed" = 0 ]
