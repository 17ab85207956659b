#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# uml.sh [--debug] [options] -- CMD...: the same as run.sh with a User Mode
# Linux kernel, which runs as a process at the CPU's own speed; with --debug
# one that checks memory, sleeping and object lifetimes (one CPU).
# shellcheck disable=SC2054 # the commas are the kernel's
set -euo pipefail
. "$(dirname "$0")/lib.sh"

guest_options "$@"
need_root "a User Mode Linux guest (mounts of its own)"
flavour=uml${debug:+-debug}
tree=$("$TOP/scripts/kernel-tree.sh" "$flavour")
guest=$("$TOP/scripts/guest-root.sh")
initrd=$("$TOP/qemu/initramfs.sh" uml)
guest_results "$flavour"
release=$(cat "$tree/release")

if [ -n "$debug" ]; then
	# User space does not survive KASAN with seccomp=on, and several CPUs
	# need that.
	cpus=1
	mode=()
else
	mode=(seccomp=on "ncpus=$cpus")
fi

args=(
	"mem=$mem" "${mode[@]}" "initrd=$initrd" con=null loglevel=7 log_buf_len=4M panic=-1 oops=panic printk.devkmsg=on
	kasan_multi_shot net.ifnames=0
	"ctrfw.root=$guest/root" "ctrfw.top=$TOP" "ctrfw.results=$results" "ctrfw.modules=$tree/modules/lib/modules/$release"
	"uml_dir=/dev/shm/" umid=ctrfw
)
if [ -n "$interactive" ]; then
	# The second console is the user's terminal; the first one logs.
	args+=("con0=null,fd:4" con1=fd:0,fd:1 ctrfw.tty=tty1)
else
	args+=("con0=null,fd:1")
fi
# shellcheck disable=SC2206 # the user's words are to be split
args+=($append)

# UML keeps the guest's memory in a file of /dev/shm, and leaves processes
# behind when it is killed: a mount and a PID namespace hold both.
start() {
	start_limit=60
	say "starting User Mode Linux ($flavour, $cpus CPUs, $mem memory, Linux $release)"
	local inside='
		mount -t tmpfs -o size=100% shm /dev/shm
		"$@" &
		wait $!'
	if [ -n "$interactive" ]; then
		inside=${inside/ &/}
		unshare --mount --pid --fork --kill-child --mount-proc bash -c "$inside" bash "$tree/linux" "${args[@]}" <&3 4>"$results/console.log" &
	else
		unshare --mount --pid --fork --kill-child --mount-proc bash -c "$inside" bash "$tree/linux" "${args[@]}" </dev/null >"$results/console.log" 2>&1 &
	fi
	guest_pid=$!
}
retry() { :; }

exec 3<&0
guest_run
