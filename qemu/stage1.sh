#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The first process of a guest, in the initramfs: puts a throw-away layer over
# the read-only root, adds the checkout and the results folder, and hands over
# to init.sh of the checkout. Run by busybox, in QEMU and in UML.

bb=/bin/busybox
fail() {
	echo "ctrfw-stage1: $*" >/dev/kmsg
	$bb poweroff -f
}

$bb mount -t devtmpfs dev /dev
$bb mount -t proc proc /proc
while read -r ko; do
	$bb insmod "/modules/$ko" || fail "insmod $ko failed"
done </modules/order

option() { $bb sed -n "s|.*ctrfw\\.$1=\\([^ ]*\\).*|\\1|p" /proc/cmdline; }
root=$(option root) top=$(option top) results=$(option results) modules=$(option modules)

$bb mount -t tmpfs -o mode=755,size=75% rw /rw
$bb mkdir /rw/upper /rw/work
if [ -n "$root" ]; then
	# UML sees the host's files by name.
	$bb mount -t hostfs -o "ro,$root" root /lower || fail "no root"
else
	n=0
	until [ -b /dev/vda ] || [ $n = 50 ]; do
		$bb sleep 0.1
		n=$((n + 1))
	done
	$bb mount -t erofs -o ro /dev/vda /lower || fail "no root"
fi
$bb mount -t overlay -o lowerdir=/lower,upperdir=/rw/upper,workdir=/rw/work root /new || fail "no overlay"

if [ -n "$root" ]; then
	$bb mount -t hostfs -o "ro,$top" ctrfw /new/ctrfw || fail "no checkout"
	$bb mount -t hostfs -o "$results" results /new/results || fail "no results folder"
	# UML's modules are no part of the root.
	$bb mkdir -p "/new/lib/modules/$($bb uname -r)"
	$bb mount -t hostfs -o "ro,$modules" modules "/new/lib/modules/$($bb uname -r)" || fail "no modules"
else
	p9=trans=virtio,version=9p2000.L,msize=512000
	$bb mount -t 9p -o "ro,$p9,cache=loose" ctrfw /new/ctrfw || fail "no checkout"
	$bb mount -t 9p -o "$p9" results /new/results || fail "no results folder"
fi

$bb umount /proc
$bb mount --move /dev /new/dev
exec $bb switch_root /new /bin/bash /ctrfw/qemu/init.sh
