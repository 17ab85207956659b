#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# vng.sh [-- CMD...]: boots the stock kernel under virtme-ng, as many users'
# CI does, and runs CMD in it (by default: load the module, read its status,
# unload it). CTRFW_KO names the module there.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ "${1:-}" != -- ] || shift
if [ $# = 0 ]; then
	set -- bash -euxc 'insmod "$CTRFW_KO"; head -n 1 /proc/ctrfw/status; rmmod ctrfw'
fi
"$TOP/scripts/host-packages.sh"
tools=$("$TOP/scripts/python-tools.sh")
guest=$("$TOP/scripts/guest-root.sh")
kernel=$("$TOP/scripts/build-root.sh")/opt/kernel
results=$BUILD/results/vng
rm -rf "$results"
mkdir -p "$results"

# What runs inside is a file, so that nothing has to be quoted three times.
{
	echo 'export CTRFW_KERNEL=stock CTRFW_KO=/ctrfw/build/stock/ctrfw.ko'
	echo '('
	printf '%q ' "$@"
	printf '\n)\necho $? >/results/status\n'
} >"$results/cmd"

vmlinuz=$(realpath "$kernel/vmlinuz")
accel=$("$TOP/qemu/accel.sh" "$vmlinuz")
options=(--run "$vmlinuz" --root "$guest/root" --user root --memory 1G --verbose
	--rodir="/ctrfw=$TOP" --rwdir="/results=$results")
options+=(--force-9p --disable-microvm)
# One emulated CPU: several would have a thread each, which run.sh tells of.
if [ "$accel" = kvm ]; then options+=(--cpus 2); else options+=(--cpus 1 --disable-kvm); fi

# virtme-ng calls its own parts by name.
export PATH=$tools/bin:$PATH
for try in 1 2; do
	say "starting virtme-ng ($accel, Linux $(cat "$kernel/release"))"
	t0=$EPOCHSECONDS
	# Its output wants a pipe, a file will not do.
	timeout -k 5 900 vng "${options[@]}" --exec 'bash /results/cmd' 2>&1 </dev/null | cat >"$results/console.log" || true
	[ ! -s "$results/status" ] || break
	[ $try = 2 ] || say "no answer from the guest (retry 1 of 1)"
done
tr -d '\r' <"$results/console.log" | grep -vE '^\[ *[0-9.]+\]' | tail -n 20 || true
if [ ! -s "$results/status" ]; then
	console_tail
	die "virtme-ng did not run the command." "read $results/console.log."
fi
say "virtme-ng is done after $((EPOCHSECONDS - t0)) s; exit status $(cat "$results/status")"
exit "$(cat "$results/status")"
