#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# kernel-tree.sh stock|uml|uml-debug: prints the path of a folder to build
# modules against (make -C PATH M=...), inside the build root:
#   stock      what Debian's headers package lacks for Rust, made from source
#   uml        a User Mode Linux kernel (PATH/linux, PATH/modules)
#   uml-debug  the same with KASAN and the other checkers, built by clang
set -euo pipefail
. "$(dirname "$0")/lib.sh"

flavour=${1:-}
here=$TOP/scripts/kernel
root=$("$TOP/scripts/build-root.sh")
in_root() { "$TOP/scripts/in-root.sh" "$root" "$@"; }

patches=()
case $flavour in
stock) fragments=() recipe=$here/stock.sh what="preparing the stock kernel's tree for Rust modules (about 2 minutes)" ;;
uml) fragments=("$here/guest.config" "$here/net.config" "$here/uml.config")
	# What it mends takes more than one CPU, so uml-debug can do without.
	patches=("$here/uml-uaccess.patch")
	recipe=$here/uml.sh what="building the UML kernel (about 10 minutes)" ;;
uml-debug) fragments=("$here/guest.config" "$here/net.config" "$here/uml-debug.config")
	recipe=$here/uml.sh what="building the UML debug kernel (about a quarter of an hour)" ;;
*) die "usage: kernel-tree.sh stock|uml|uml-debug" ;;
esac

make_tree() {
	need_root "making a kernel tree"
	local source patch file
	source=$("$TOP/scripts/kernel-source.sh")
	# kbuild takes a file from the output folder before the same one from the source.
	for patch in ${patches[@]+"${patches[@]}"}; do
		file=$(sed -n 's,^+++ b/,,p' "$patch")
		install -D -m 644 "$source/$file" "$1/$file"
		GIT_CEILING_DIRECTORIES=$CACHE git -C "$1" apply "$patch"
	done
	# The tree names itself in its files: build it under its final name.
	logged "kernel-$flavour" "$what" \
		"read the log; if a tool was killed, give the machine more memory; then run again." \
		in_root nice bash "$recipe" "$1" "$CACHE/kernel-$flavour-$id" "$source" "$flavour" ${fragments[@]+"${fragments[@]}"}
}

id=$(key "$root" "$recipe" "$flavour" ${fragments[@]+"${fragments[@]}"} ${patches[@]+"${patches[@]}"})
cached "kernel-$flavour" "$id" make_tree
