#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# in-root.sh ROOT CMD...: runs CMD inside ROOT, in the present folder, with the
# checkout, the cache and /tmp at the same paths as outside. The mounts live in
# a namespace of their own and go with it; so do all processes CMD leaves.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

[ $# -ge 2 ] || die "usage: in-root.sh ROOT CMD..."
need_root "entering a root"
ROOT=$1
shift

cargo_home=$CACHE/cargo-home
mkdir -p "$cargo_home"
# A registry or proxy set up for the host's cargo serves inside too.
for conf in config.toml config; do
	from=${CARGO_HOME:-${HOME:-/root}/.cargo}/$conf
	if [ -f "$from" ] && ! cmp -s "$from" "$cargo_home/$conf"; then cp "$from" "$cargo_home/$conf"; fi
done
export CARGO_HOME=$cargo_home ROOT TOP CACHE
# The host's toolchains must not show through.
unset RUSTUP_HOME RUSTUP_TOOLCHAIN RUSTC RUSTFLAGS RUSTDOC CARGO_TARGET_DIR LD_LIBRARY_PATH MAKEFLAGS MFLAGS MAKELEVEL MAKEOVERRIDES
export PATH=/usr/lib/llvm-19/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

# shellcheck disable=SC2016
exec unshare --mount --pid --fork --kill-child --propagation private bash -euc '
	cwd=$PWD
	mount --bind "$ROOT" "$ROOT"
	mount -t proc proc "$ROOT/proc"
	mount --rbind /sys "$ROOT/sys"
	mount --rbind /dev "$ROOT/dev"
	mount --bind /tmp "$ROOT/tmp"
	for dir in "$TOP" "$CACHE"; do
		mkdir -p "$ROOT$dir"
		mount --bind "$dir" "$ROOT$dir"
	done
	# Names and certificates as the host has them (a local mirror may need its own).
	for path in /etc/resolv.conf /etc/hosts /etc/ssl/certs /etc/ssl/openssl.cnf /usr/local/share/ca-certificates; do
		[ -e "$path" ] && [ -e "$ROOT$path" ] || continue
		mount --bind "$(realpath "$path")" "$ROOT$(realpath "$path" 2>/dev/null)" 2>/dev/null ||
			mount --bind "$(realpath "$path")" "$ROOT$path"
	done
	# Files the host made belong to other users at times; git refuses them.
	export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="*"
	exec chroot "$ROOT" sh -c "cd \"\$1\" 2>/dev/null || cd /; shift; exec \"\$@\"" sh "$cwd" "$@"
' bash "$@"
