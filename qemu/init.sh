#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The guest's init, in QEMU and in UML: mounts what a small Linux has, runs the
# command that the host left in /results/.run, and powers off. It shows in
# /results/.run how far it came, so that the host need not guess.

export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export HOME=/root TERM=${TERM:-linux} LC_ALL=C.UTF-8
# The checkout is read-only here, and a test's output is wanted at once.
export PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1
run=/results/.run

mount -t proc -o nosuid,nodev,noexec proc /proc
mount -t sysfs -o nosuid,nodev,noexec sys /sys
mkdir -p /dev/pts /dev/shm
mount -t devpts -o gid=5,mode=620,ptmxmode=666 devpts /dev/pts
mount -t tmpfs -o mode=1777 shm /dev/shm
mount -t tmpfs -o mode=755 run /run
mount -t tmpfs -o mode=1777 tmp /tmp
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t bpf bpf /sys/fs/bpf 2>/dev/null
mount -t debugfs debugfs /sys/kernel/debug 2>/dev/null
mount -t tracefs tracefs /sys/kernel/tracing 2>/dev/null
mount -t securityfs securityfs /sys/kernel/security 2>/dev/null
# Docker's overlay2 cannot stand on another overlay.
mkdir -p /var/lib/docker /var/lib/containerd
mount -t tmpfs docker /var/lib/docker
mount -t tmpfs containerd /var/lib/containerd
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
ln -sf /proc/self/fd/0 /dev/stdin
ln -sf /proc/self/fd/1 /dev/stdout
ln -sf /proc/self/fd/2 /dev/stderr
mkdir -p /run/lock /run/netns
hostname ctrfw
ip link set lo up

# shellcheck source=/dev/null
. $run/env
if [ "${CTRFW_INTERACTIVE:-}" = 1 ]; then
	tty=$(sed -n 's|.*ctrfw\.tty=\([^ ]*\).*|\1|p' /proc/cmdline)
	: >$run/started
	stty -F "/dev/$tty" sane rows "${CTRFW_ROWS:-24}" cols "${CTRFW_COLS:-80}" 2>/dev/null
	cd /root || cd /
	setsid --ctty --wait bash $run/cmd <"/dev/$tty" >"/dev/$tty" 2>&1
else
	: >$run/started
	cd /root || cd /
	setsid --wait bash $run/cmd </dev/null >>/results/output.log 2>&1
fi
status=$?
echo $status >$run/status.new
mv $run/status.new $run/status
sync
# From here on no program can be read any more, as the disk goes first, and init
# must not end: wait in the shell itself.
mkfifo /run/never
exec 9<>/run/never
echo o >/proc/sysrq-trigger
read -r -u 9
