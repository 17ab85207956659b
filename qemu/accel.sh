#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# accel.sh VMLINUZ: prints kvm or tcg. /dev/kvm may be there, even start a
# machine, and yet not get through a kernel's boot: so the probe is a kernel
# that boots until it finds no root, panics, and ends QEMU with 0.
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"

# "accel.sh --not-kvm" is what a guest that did not come up leaves behind.
[ -z "${CTRFW_ACCEL:-}" ] || { echo "$CTRFW_ACCEL" && exit; }
known=$CACHE/accel-$(key "$0" "$(cat /proc/sys/kernel/random/boot_id)" "$(id -u)")
if [ "$1" = --not-kvm ]; then
	echo tcg >"$known"
elif [ ! -s "$known" ]; then
	rm -f "$CACHE"/accel-*
	answer=tcg
	if [ -w /dev/kvm ]; then
		say "trying whether KVM serves here (10 s at most) ..."
		if timeout -k 1 10 qemu-system-x86_64 -machine q35 -accel kvm -cpu max -m 256 -nodefaults -display none \
			-no-reboot -kernel "$1" -append panic=-1 </dev/null >/dev/null 2>&1; then
			answer=kvm
		else
			say "it does not, although there is a /dev/kvm: going by software emulation"
		fi
	fi
	echo $answer >"$known.$$"
	mv "$known.$$" "$known"
fi
cat "$known"
