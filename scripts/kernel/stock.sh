#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# stock.sh TEMP FINAL SOURCE FLAVOUR: run inside the build root by
# kernel-tree.sh. Debian's headers package has no Rust metadata; this makes it
# from the same source, configuration and compilers, beside a copy of the
# headers, and proves that it fits the image by comparing all Rust symbols.
set -euo pipefail

out=$1 final=$2 source=$3
release=$(cat /opt/kernel/release)
headers=/usr/src/linux-headers-$release
prep=$out/prep

mkdir "$prep"
cp "$(realpath /opt/kernel/config)" "$prep/.config"
make=(make -C "$source" O="$prep" CC=gcc-14 HOSTCC=gcc-14 KERNELRELEASE="$release")
# The keys Debian signs with are not in the source package.
(cd "$prep" && "$source/scripts/config" --file .config --set-str SYSTEM_TRUSTED_KEYS "" --set-str MODULE_SIG_KEY "")
"${make[@]}" olddefconfig
grep -qx CONFIG_RUST=y "$prep/.config" || { echo "no CONFIG_RUST with this rustc and bindgen:"; make -C "$source" O="$prep" rustavailable || true; exit 1; }
"${make[@]}" -j"$(nproc)" prepare scripts

# Same mangled names: same crates, same compiler, same configuration. A module
# built against this tree then links in the image.
nm -g "$prep"/rust/*.o 2>/dev/null | awk '$2 ~ /[TDRB]/ && $3 ~ /^_R/ { print $3 }' | sort -u >"$out/rust-symbols.ours"
awk '$2 ~ /^_R/ && $3 == "vmlinux" { print $2 }' "$headers/Module.symvers" | sort -u >"$out/rust-symbols.image"
missing=$(comm -13 "$out/rust-symbols.ours" "$out/rust-symbols.image" | wc -l)
total=$(wc -l <"$out/rust-symbols.image")
echo "Rust symbols exported by the image: $total; not in the prepared tree: $missing"
if [ "$total" = 0 ] || [ "$missing" != 0 ]; then
	comm -13 "$out/rust-symbols.ours" "$out/rust-symbols.image" | head -n 5
	echo "the prepared Rust crates differ from those inside Debian's image $release (rustc here: $(rustc --version)): a module built against them would not load."
	exit 1
fi

cp -a "$headers"/. "$out"/
rm "$out/scripts" "$out/tools"
cp -a "$(realpath "$headers/scripts")" "$out/scripts"
ln -s "$(realpath "$headers/tools")" "$out/tools"
sed -i "s|^KBUILD_OUTPUT=.*|KBUILD_OUTPUT=$final|" "$out/Makefile"
mkdir -p "$out/rust/kernel"
cp "$prep"/rust/*.rmeta "$prep"/rust/*.so "$out/rust/"
cp "$prep"/rust/kernel/generated_arch_*.rs "$out/rust/kernel/"
[ ! -e "$prep/scripts/target.json" ] || cp "$prep/scripts/target.json" "$out/scripts/"
cp "$source/.clippy.toml" "$source/.rustfmt.toml" "$out/"
echo "$release" >"$out/release"
: >"$out/make-flags"
rm -rf "$prep"
