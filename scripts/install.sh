#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# install.sh [KDIR]: installs the module for the running kernel, so that
# modprobe finds it: the one that make built, if it is for this kernel, else one
# built here against KDIR (or the kernel's own headers).
set -euo pipefail
. "$(dirname "$0")/lib.sh"

release=$(uname -r)
kdir=${1:-/lib/modules/$release/build}
"$TOP/scripts/preflight.sh" load
if [ -z "${1:-}" ] && [ "$(cat "$BUILD/stock/release" 2>/dev/null)" = "$release" ]; then
	install -D -m 0644 "$BUILD/stock/ctrfw.ko" "/lib/modules/$release/updates/ctrfw.ko"
else
	"$TOP/scripts/preflight.sh" build "$kdir"
	make -C "$kdir" M="$TOP" modules
	make -C "$kdir" M="$TOP" modules_install
fi
depmod -a
say "installed for Linux $release; load it with: modprobe ctrfw"
