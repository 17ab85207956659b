#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# preflight.sh build|load [KDIR]: says in a line why this host cannot build the
# module for its own kernel, or load it, and what to do about it. Silent and
# true if it can.
set -euo pipefail

release=$(uname -r)
no() {
	printf 'ctrfw: this host will not do: %s\nctrfw: %s\n' "$1" "$2" >&2
	exit 1
}

can_build() {
	local kdir=${1:-/lib/modules/$release/build} want have
	[ -d "$kdir" ] || no "there are no headers of the kernel ($kdir is missing)." \
		"install them (Debian: apt-get install linux-headers-$release), or give another tree: make KDIR=/path."
	[ -e "$kdir/include/config/auto.conf" ] || no "$kdir is not configured." \
		"a source tree needs make oldconfig and make modules_prepare; a headers package will do as it is."
	grep -q '^CONFIG_RUST=y' "$kdir/include/config/auto.conf" ||
		no "the kernel in $kdir is built without Rust (CONFIG_RUST)." \
			"use a kernel that has it: Debian 13's from trixie-backports (7.x), or your own with CONFIG_RUST=y."
	compgen -G "$kdir/rust/*.rmeta" >/dev/null ||
		no "$kdir has no Rust metadata (rust/*.rmeta); Debian's headers packages leave it out." \
			"run plain make here: it makes what is missing; or on Ubuntu install linux-lib-rust-$release."
	command -v "${RUSTC:-rustc}" >/dev/null || no "there is no rustc." "install the rustc that built the kernel (see below), and bindgen."
	want=$(sed -n 's/^CONFIG_RUSTC_VERSION_TEXT="\{0,1\}\(rustc [0-9.]*\).*/\1/p' "$kdir/include/config/auto.conf")
	have=$("${RUSTC:-rustc}" --version | cut -d' ' -f1,2)
	[ -z "$want" ] || [ "$want" = "$have" ] ||
		no "the kernel was built by $want, and this is $have; Rust modules need the very same." \
			"install $want and put it first on PATH, or name it: make RUSTC=/path KDIR=..."
	command -v "${BINDGEN:-bindgen}" >/dev/null || no "there is no bindgen." "install it (Debian: apt-get install bindgen)."
}

can_load() {
	[ "$(id -u)" = 0 ] || no "loading a module needs root." "run it with sudo."
	if command -v systemd-detect-virt >/dev/null && systemd-detect-virt --quiet --container || [ -e /.dockerenv ]; then
		no "this is a container: modules belong to the host's kernel." "load it on the host."
	fi
	[ "$(cat /proc/sys/kernel/modules_disabled 2>/dev/null)" != 1 ] ||
		no "the kernel loads no more modules (kernel.modules_disabled is 1)." "reboot without that setting."
	if grep -q '\[\(integrity\|confidentiality\)\]' /sys/kernel/security/lockdown 2>/dev/null ||
		[ "$(cat /sys/module/module/parameters/sig_enforce 2>/dev/null)" = Y ]; then
		no "the kernel loads only signed modules (secure boot or lockdown)." \
			"sign ctrfw.ko with a key the machine trusts (mokutil --import), or switch secure boot off."
	fi
	local config=/boot/config-$release
	[ -e "$config" ] || config=/lib/modules/$release/config
	[ ! -e "$config" ] || grep -q '^CONFIG_RUST=y' "$config" ||
		no "the running kernel $release has no Rust (CONFIG_RUST)." \
			"boot one that has it: Debian 13's from trixie-backports (7.x). make demo shows ctrfw without that."
	[ -z "${1:-}" ] || [ ! -e "$1" ] || modinfo -F vermagic "$1" | grep -q "^$release " ||
		no "$1 is built for Linux $(modinfo -F vermagic "$1" | cut -d' ' -f1), and $release runs." \
			"build it for the running kernel: make KDIR=/lib/modules/$release/build"
}

case ${1:-} in
build) can_build "${2:-}" ;;
load) can_load "${2:-}" ;;
*)
	echo "usage: preflight.sh build [KDIR] | load [MODULE]" >&2
	exit 2
	;;
esac
