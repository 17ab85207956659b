#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# uml.sh TEMP FINAL SOURCE FLAVOUR FRAGMENT...: run inside the build root by
# kernel-tree.sh; builds a User Mode Linux kernel into TEMP, to become FINAL.
set -euo pipefail

out=$1 final=$2 source=$3 flavour=$4
shift 4
make_flags=(ARCH=um)
case $flavour in
*-debug) make_flags+=(LLVM=-19) ;; # KASAN with Rust wants clang
*) make_flags+=(CC=gcc-14 HOSTCC=gcc-14) ;;
esac
make=(make -C "$source" O="$out" "${make_flags[@]}")

"${make[@]}" defconfig
(cd "$source" && scripts/kconfig/merge_config.sh -m -O "$out" "$out/.config" "$@")
"${make[@]}" LOCALVERSION= olddefconfig

# Kconfig drops silently what it does not know or cannot have.
lost=$(sed -n 's/^\(CONFIG_[A-Z0-9_]*=[^n].*\)/\1/p' "$@" | while read -r line; do
	grep -qx "$line" "$out/.config" || echo "$line"
done)
echo "options asked for but not taken: ${lost:-none}" | tee "$out/lost-options"
for must in RUST MODULES HOSTFS NETFILTER NF_CONNTRACK NF_TABLES BRIDGE_NETFILTER VETH OVERLAY_FS; do
	grep -q "^CONFIG_$must=[ym]" "$out/.config" || { echo "CONFIG_$must cannot be had: $lost"; exit 1; }
done

"${make[@]}" LOCALVERSION="-ctrfw-$flavour" -j"$(nproc)" all
"${make[@]}" LOCALVERSION="-ctrfw-$flavour" INSTALL_MOD_PATH="$out/modules" INSTALL_MOD_STRIP=1 modules_install
rm -f "$out"/modules/lib/modules/*/{build,source}

# A module's build reads headers, symbols and Rust metadata, no objects.
find "$out" -name '*.[oa]' ! -path "$out/scripts/*" ! -path "$out/tools/*" -delete
find "$out" -path "$out/modules" -prune -o \( -name '*.ko' -o -name '.*.cmd' ! -path "$out/scripts/*" \) -print0 | xargs -0 rm -f
rm -rf "$out"/vmlinux.unstripped "$out"/.tmp_vmlinux* "$out"/vmlinux
strip --strip-debug "$out/linux"

printf '%s\n' "${make_flags[@]}" >"$out/make-flags"
(cd "$out/modules/lib/modules" && ls) >"$out/release"
# The temporary name stands in the generated Makefile and a few others.
grep -rIlF "$out" "$out" --include=Makefile --include='*.mk' --include='*.json' --exclude-dir=modules |
	xargs -r sed -i "s|$out|$final|g"
