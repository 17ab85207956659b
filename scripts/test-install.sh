#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# Installs what is built into an empty folder, looks at what is there, and takes
# it away again. Leaves "N passed, N failed" in build/results/install/summary.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

out=$BUILD/results/install
mkdir -p "$out"
rm -f "$out/summary"
dest=$(mktemp -d)
trap 'rm -rf "$dest"' EXIT
passed=0 failed=0

# expect NAME CMD...: the command succeeds; what it says is shown if not.
expect() {
	local name=$1
	shift
	if "$@" >"$out/output.log" 2>&1; then
		passed=$((passed + 1))
	else
		failed=$((failed + 1))
		say "FAILED  $name"
		sed 's/^/    /' "$out/output.log" >&2
	fi
}
make_to() { make -C "$TOP" --no-print-directory "$@" DESTDIR="$dest"; }
files() { (cd "$dest" && find . -type f | sort); }

expected() {
	local prefix=$1 zsh=$2
	{
		echo "./etc/ctrfw/rules"
		echo "./lib/modules/$(cat "$BUILD/stock/release")/updates/ctrfw.ko"
		echo ".$prefix/share/man/man8/ctrfw.8"
		"$BUILD/ctrfw" --help | awk -v dir=".$prefix/share/man/man8" \
			'/^Commands:/ { on = 1; next } !NF { on = 0 } on { print dir "/ctrfw-" $1 ".8" }'
		echo ".$prefix/bin/ctrfw"
		echo ".$prefix/lib/systemd/system/ctrfw.service"
		echo ".$prefix/share/bash-completion/completions/ctrfw"
		echo ".$prefix/share/fish/vendor_completions.d/ctrfw.fish"
		echo ".$prefix/share/zsh/$zsh/_ctrfw"
	} | sort
}
all_there() { diff <(expected "$@") <(files); }
readable() { ! find "$dest" ! -perm -u=r,g=r,o=r | grep . && ! find "$dest" -type f -size 0 ! -path '*/etc/*' | grep .; }
# The unit with the folder in front of its paths, as if that were the root.
unit_is_fine() {
	local unit=$dest/usr/lib/systemd/system/ctrfw.service
	grep -q '^ExecReload=/usr/bin/ctrfw load /etc/ctrfw/rules$' "$unit" || return 1
	sed "s|=/usr/bin/|=$dest/usr/bin/|" "$unit" >"$out/ctrfw.service"
	if command -v systemd-analyze >/dev/null && [ -x /sbin/modprobe ]; then systemd-analyze verify --man=no "$out/ctrfw.service"; fi
}
# shellcheck disable=SC2016 # the inner shell's
completes() { bash -c '. "$1" && complete -p ctrfw' bash "$dest/usr/share/bash-completion/completions/ctrfw"; }
nothing_left() { [ "$(files)" = ./etc/ctrfw/rules ]; }
no_prefix() { ! make_to install PREFIX=relative; }

mkdir -p "$dest/etc/ctrfw"
chmod 755 "$dest"
echo "# the administrator's" >"$dest/etc/ctrfw/rules"
umask 077
expect "install" make_to install
expect "all files below /usr/local" all_there /usr/local site-functions
expect "the command runs" "$dest/usr/local/bin/ctrfw" --version
expect "uninstall" make_to uninstall
expect "nothing is left but the table" nothing_left
expect "install below /usr" make_to install PREFIX=/usr
expect "all files below /usr" all_there /usr vendor-completions
expect "everybody may read them" readable
expect "the unit" unit_is_fine
expect "bash completes" completes
expect "uninstall from below /usr" make_to uninstall PREFIX=/usr
expect "nothing is left of that, either" nothing_left
expect "a relative prefix is refused" no_prefix

printf '%d passed, %d failed\n' "$passed" "$failed" >"$out/summary"
say "installing: $(cat "$out/summary")"
[ "$failed" = 0 ]
