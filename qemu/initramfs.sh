#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# initramfs.sh stock|uml: prints the path of the small initramfs that a guest
# starts from: busybox, stage1.sh, and the modules it takes to reach the root.
set -euo pipefail
. "$(dirname "$0")/../scripts/lib.sh"

kind=$1
guest=$("$TOP/scripts/guest-root.sh")
modules=()
# Parsing the PCI bus and the block device is built in, or comes first.
[ "$kind" = uml ] || modules=(virtio_pci virtio_blk erofs overlay 9pnet_virtio 9p)

make_initramfs() {
	local tree=$1/tree release m
	mkdir -p "$tree"/{bin,dev,proc,sys,modules,lower,rw,new}
	cp "$guest/root/usr/bin/busybox" "$tree/bin/busybox"
	ln -s busybox "$tree/bin/sh"
	install -m 755 "$TOP/qemu/stage1.sh" "$tree/init"
	: >"$tree/modules/order"
	for m in ${modules[@]+"${modules[@]}"}; do
		release=$(ls "$guest/root/usr/lib/modules")
		modprobe -d "$guest/root" -S "$release" --show-depends "$m" |
			sed -n 's/^insmod \([^ ]*\).*/\1/p' | while read -r ko; do
			[ ! -e "$tree/modules/${ko##*/}" ] || continue
			cp "$ko" "$tree/modules/"
			echo "${ko##*/}" >>"$tree/modules/order"
		done
	done
	(cd "$tree" && find . | cpio --quiet -o -H newc -R 0:0) >"$1/initrd"
	rm -rf "$tree"
}

echo "$(cached "initramfs-$kind" "$(key "$0" "$TOP/qemu/stage1.sh" "$guest" "$kind")" make_initramfs)/initrd"
