#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# build-module.sh stock|uml|uml-debug [--clippy]: builds the module for one of
# the kernels, to build/FLAVOUR/ctrfw.ko; with --clippy, under clippy with
# warnings denied, beside it.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

flavour=${1:-stock}
folder=module extra=() log=module-$flavour
if [ "${2:-}" = --clippy ]; then
	folder=clippy log=clippy-$flavour
	extra=(CLIPPY=1 KRUSTFLAGS=-Dwarnings KCFLAGS=-Werror)
fi
case $flavour in
# UML's loader knows no GOT relocations, which rustc emits otherwise.
uml | uml-debug) extra+=(RUSTFLAGS_MODULE="-Crelocation-model=static -Ccode-model=large") ;;
stock) ;;
*) die "usage: build-module.sh stock|uml|uml-debug [--clippy]" ;;
esac

root=$("$TOP/scripts/build-root.sh")
tree=$("$TOP/scripts/kernel-tree.sh" "$flavour")
mapfile -t flags <"$tree/make-flags"
out=$BUILD/$flavour/$folder
mkdir -p "$out"
exec {lock}>"$BUILD/$flavour/.lock"
flock "$lock"

keep_output "$out" "$tree"

logged "$log" "building the module for the $flavour kernel${2:+ (${2#--})}" "the compiler's message says where." \
	"$TOP/scripts/in-root.sh" "$root" make -C "$tree" M="$TOP" MO="$out" \
	${flags[@]+"${flags[@]}"} ${extra[@]+"${extra[@]}"} -j"$(nproc)" modules

if grep -q '^warning\|: warning:' "$BUILD/log/$log.log"; then
	grep -A 6 '^warning\|: warning:' "$BUILD/log/$log.log" | head -n 30 >&2
	[ "$folder" != clippy ] || die "the build for $flavour has warnings." "see above."
fi
[ "$folder" = module ] || exit 0

# A panic in softirq is the end of the machine: no path to one may exist. The
# debugging kernel's own assertions need them.
if [ "$flavour" != uml-debug ] && panics=$("$TOP/scripts/in-root.sh" "$root" nm -u "$out/ctrfw.ko" | grep -E '4core9panicking|4core[0-9]+(option|result|slice|str).*(fail|expect)'); then
	die "the module for $flavour refers to Rust's panic functions: $(tr -s ' \n' ' ' <<<"$panics")" \
		"find the indexing, unwrap or arithmetic that may fail, and make it an error path."
fi
cmp -s "$out/ctrfw.ko" "$BUILD/$flavour/ctrfw.ko" || cp "$out/ctrfw.ko" "$BUILD/$flavour/ctrfw.ko.new"
[ ! -e "$BUILD/$flavour/ctrfw.ko.new" ] || mv "$BUILD/$flavour/ctrfw.ko.new" "$BUILD/$flavour/ctrfw.ko"
cp "$tree/release" "$BUILD/$flavour/release"
