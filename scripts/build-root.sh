#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the path of the build root: a Debian 13 folder with the compilers
# that Debian's own kernel was built with. The host's are either too old or too
# new: a Rust module loads only if the same rustc built kernel and module.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mirror.sh"

packages=(
	rustc cargo rustfmt rust-clippy rust-src bindgen
	gcc gcc-14 libc6-dev clang-19 lld-19 llvm-19 libclang-19-dev
	make flex bison bc libelf-dev libssl-dev kmod cpio xz-utils zstd rsync
	python3 perl shellcheck git ca-certificates procps
)

# In the new root: the newest kernel of the series with everything around it.
# The archive drops old versions, so no version may stand in a file.
install_kernel() {
	local root=$1 v
	v=$(chroot "$root" apt-cache search --names-only '^linux-image-7\.[0-9.]+\+deb13-amd64$' |
		sed 's/^linux-image-\([^ ]*\) .*/\1/' | sort -V | tail -n 1)
	[ -n "$v" ] || die "trixie-backports has no linux-image-7.*-amd64 any more." "this version of ctrfw needs a 7.x kernel."
	echo "kernel $v"
	chroot "$root" apt-get install -y --no-install-recommends linux-base/trixie-backports \
		"linux-headers-$v" "linux-source-$(cut -d. -f1,2 <<<"$v")"
	# The image itself is only unpacked: installing it would want an initramfs.
	mkdir -p "$root/opt/kernel"
	chroot "$root" sh -euc '
		cd /opt/kernel
		# shellcheck disable=SC2046
		apt-get download linux-image-$1 $(apt-cache depends linux-image-$1 |
			sed -n "s/^ *Depends: \(linux-.*-amd64\)$/\1/p")
		for deb in *.deb; do dpkg-deb -x "$deb" .; done
		rm -f ./*.deb' sh "$v"
	echo "$v" >"$root/opt/kernel/release"
	# Debian has moved these from /boot to the modules' folder: take either.
	local file from
	for file in vmlinuz config; do
		from=$(find "$root/opt/kernel" -name "$file" -o -name "$file-$v" | grep -v '\.ko' | head -n 1)
		[ -n "$from" ] || { echo "no $file in the packages of linux-image-$v"; return 1; }
		ln -sr "$from" "$root/opt/kernel/$file"
	done
	from=$(find "$root/opt/kernel" -type d -path "*/lib/modules/$v")
	ln -sr "$from" "$root/opt/kernel/modules"
	depmod -b "${from%/lib/modules/*}" "$v"
}

fill() {
	strap "$1" "${packages[@]}"
	install_kernel "$1"
	# What only a download needs.
	chroot "$1" apt-get clean
	rm -rf "$1"/var/lib/apt/lists/*
}

make_root() {
	need_root "making the build root"
	"$TOP/scripts/host-packages.sh"
	find_mirror
	logged build-root "making the build root (Debian 13, compilers, kernel packages; about 3 minutes)" \
		"check that the host's Debian mirror also serves trixie and trixie-backports, then run again." \
		fill "$1"
}

cached build-root "$(key "$0")" make_root
