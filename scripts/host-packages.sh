#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs what the host itself lacks: the tools that make the roots and run
# the machines. Compilers are not among them, they live in the build root.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

# package:what proves it is there (a command, or a file that may have wildcards)
wanted=(
	mmdebstrap:mmdebstrap
	debian-archive-keyring:/usr/share/keyrings/debian-archive-trixie-stable.gpg
	qemu-system-x86:qemu-system-x86_64
	erofs-utils:mkfs.erofs
	cpio:cpio
	busybox-static:busybox
	python3-venv:/usr/lib/python3*/ensurepip/__init__.py
	git:git
	xz-utils:xz
	zstd:zstd
	kmod:depmod
	util-linux:unshare
	mount:mount
)

missing=()
for entry in "${wanted[@]}"; do
	proof=${entry#*:}
	compgen -G "$proof" >/dev/null || command -v "$proof" >/dev/null || missing+=("${entry%%:*}")
done
[ ${#missing[@]} -gt 0 ] || exit 0

command -v apt-get >/dev/null ||
	die "this host lacks: ${missing[*]}, and has no apt-get." "install them by hand, or use a Debian 12 or 13 host."
need_root "installing ${missing[*]}"

export DEBIAN_FRONTEND=noninteractive
exec 9>"$CACHE/.lock-apt"
flock 9
# A fresh machine has no package lists at all, or lists gone stale: both show
# as a failed install.
install() {
	apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}" ||
		{ apt-get update && apt-get install -y --no-install-recommends -o DPkg::Lock::Timeout=300 "${missing[@]}"; }
}
logged host-packages "installing on the host: ${missing[*]}" \
	"check the host's apt sources and network (apt-get update)." install
[ -e /usr/share/keyrings/debian-archive-trixie-stable.gpg ] ||
	die "the host's debian-archive-keyring is too old to know Debian 13." "apt-get update && apt-get install debian-archive-keyring"
