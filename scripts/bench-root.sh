#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Prints the path of the root that the policy engine is measured in: a Debian
# 13 folder with DPDK, whose rte_acl is measured beside it. Apart from the
# build root, so that nobody needs DPDK who does not measure.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
. "$(dirname "$0")/mirror.sh"

packages=(g++ gcc libc6-dev libdpdk-dev pkgconf util-linux)

fill() {
	strap "$1" "${packages[@]}"
	chroot "$1" apt-get clean
	rm -rf "$1"/var/lib/apt/lists/*
}

make_root() {
	need_root "making the root to measure in"
	"$TOP/scripts/host-packages.sh"
	find_mirror
	logged bench-root "making the root to measure in (Debian 13, DPDK; about 2 minutes)" \
		"check that the host's Debian mirror also serves trixie, or measure without peers: make bench PEERS=none" \
		fill "$1"
}

cached bench-root "$(key "$0")" make_root
