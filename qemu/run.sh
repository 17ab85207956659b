#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# run.sh [options] -- CMD...: runs CMD in a QEMU guest with the stock Debian
# kernel, and ends with its status. The guest sees the checkout read-only at
# /ctrfw and a writable folder at /results.
# shellcheck disable=SC2054 # the commas are QEMU's
set -euo pipefail
. "$(dirname "$0")/lib.sh"

guest_options "$@"
"$TOP/scripts/host-packages.sh"
guest=$("$TOP/scripts/guest-root.sh")
initrd=$("$TOP/qemu/initramfs.sh" stock)
kernel=$("$TOP/scripts/build-root.sh")/opt/kernel
vmlinuz=$(realpath "$kernel/vmlinuz")
release=$(cat "$kernel/release")
guest_results stock

accel=$("$TOP/qemu/accel.sh" "$vmlinuz")
# Time counted in instructions: figures repeat to the bit.
[ -z "$icount" ] || accel=icount

# panic=-1: a dead guest ends at once. Not "quiet": its log is the evidence.
kargs="console=ttyS0 loglevel=7 log_buf_len=4M panic=-1 oops=panic printk.devkmsg=on net.ifnames=0 ctrfw.tty=ttyS1 $append"
devices=(
	-serial "file:$results/console.log"
	-drive "file=$guest/root.erofs,format=raw,if=none,id=root,readonly=on,file.locking=off"
	-device virtio-blk-pci,drive=root
	-fsdev "local,id=ctrfw,path=$TOP,security_model=none,readonly=on,multidevs=remap"
	-device virtio-9p-pci,fsdev=ctrfw,mount_tag=ctrfw
	-fsdev "local,id=results,path=$results,security_model=none,multidevs=remap"
	-device virtio-9p-pci,fsdev=results,mount_tag=results
	-device virtio-rng-pci
)

# Emulated CPUs share one thread. With a thread each, QEMU lets one translate code that another is
# just writing, and go on with the old: a kernel that patches itself, as it does for the trace's
# static key, then dies of a breakpoint that is no longer there ("Oops: int3").
start() {
	local machine=(-machine q35 -cpu max -smp "$cpus" -m "$mem" -nodefaults -display none -no-reboot)
	start_limit=180
	case $accel in
	kvm) machine+=(-accel kvm) start_limit=40 ;;
	icount) machine+=(-accel tcg,thread=single,tb-size=512 -icount shift=0,sleep=on) ;;
	*) machine+=(-accel tcg,thread=single,tb-size=512) ;;
	esac
	machine+=(-kernel "$vmlinuz" -initrd "$initrd" -append "$kargs" "${devices[@]}")
	say "starting QEMU ($accel, $cpus CPUs, $mem memory, Linux $release)"
	if [ -n "$interactive" ]; then
		qemu-system-x86_64 "${machine[@]}" \
			-chardev stdio,id=tty,signal=off -device isa-serial,chardev=tty,index=1 <&3 &
	else
		qemu-system-x86_64 "${machine[@]}" </dev/null >"$results/qemu.log" 2>&1 &
	fi
	guest_pid=$!
}

# KVM that got through the probe and fails all the same is not tried again.
retry() {
	[ "$accel" != kvm ] || accel=$("$TOP/qemu/accel.sh" --not-kvm)
}

exec 3<&0
guest_run
