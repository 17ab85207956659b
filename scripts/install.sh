#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# install.sh install|uninstall [KDIR]: installs the module, so that modprobe
# finds it: the one that make built, if it is for this kernel, else one built
# here against KDIR (or the kernel's own headers). With it the command, its man
# pages and completions, and a systemd unit, below PREFIX (/usr/local). With
# DESTDIR given it is all only put there, for a package; then the module is the
# one that make built, or is built against KDIR, and this machine does not matter.
set -euo pipefail
. "$(dirname "$0")/lib.sh"

what=${1:-} kdir=${2:-}
PREFIX=${PREFIX:-/usr/local} DESTDIR=${DESTDIR:-}
[[ $PREFIX == /* && $PREFIX != *[[:space:]]* ]] || die "PREFIX=$PREFIX is no absolute path without blanks." "give another, or none."
release=$(uname -r)
built=$(cat "$BUILD/stock/release" 2>/dev/null || true)

# Everything but the module, below the folder $1.
stage() {
	local to=$1$PREFIX command=$BUILD/ctrfw page completions=zsh/site-functions
	# The one place that zsh has for others' completions is below /usr.
	[ "$PREFIX" != /usr ] || completions=zsh/vendor-completions
	install -D -m 0755 "$command" "$to/bin/ctrfw"
	mkdir -p "$to/share/man/man8" "$to/share/bash-completion/completions" "$to/share/$completions" \
		"$to/share/fish/vendor_completions.d" "$to/lib/systemd/system"
	"$command" man >"$to/share/man/man8/ctrfw.8"
	# The pages that this one names.
	sed -n 's/^ctrfw\\-\([a-z]*\)(8)$/\1/p' "$to/share/man/man8/ctrfw.8" | while read -r page; do
		"$command" man "$page" >"$to/share/man/man8/ctrfw-$page.8"
	done
	"$command" completions bash >"$to/share/bash-completion/completions/ctrfw"
	"$command" completions zsh >"$to/share/$completions/_ctrfw"
	"$command" completions fish >"$to/share/fish/vendor_completions.d/ctrfw.fish"
	sed "s|@PREFIX@|$PREFIX|" "$TOP/scripts/ctrfw.service" >"$to/lib/systemd/system/ctrfw.service"
}

install_module() {
	if [ -z "$kdir" ] && [ -n "$built" ] && { [ -n "$DESTDIR" ] || [ "$built" = "$release" ]; }; then
		release=$built
		install -D -m 0644 "$BUILD/stock/ctrfw.ko" "$DESTDIR/lib/modules/$release/updates/ctrfw.ko"
		return
	fi
	[ -n "$kdir" ] || [ -z "$DESTDIR" ] || die "there is no module to put into $DESTDIR." "run make first, or give KDIR."
	kdir=${kdir:-/lib/modules/$release/build}
	"$TOP/scripts/preflight.sh" build "$kdir"
	make -C "$kdir" M="$TOP" modules
	make -C "$kdir" M="$TOP" INSTALL_MOD_PATH="$DESTDIR" modules_install
	release=$(make -s -C "$kdir" kernelrelease)
}

command_is_there() {
	[ -x "$BUILD/ctrfw" ] || die "the command has not been built." "run make command."
}

# What is installed is for everybody.
umask 022
# Where files are put together and counted before any is installed.
staged=$(mktemp -d)
trap 'rm -rf "$staged"' EXIT

case $what in
install)
	[ -n "$DESTDIR" ] || "$TOP/scripts/preflight.sh" load
	command_is_there
	stage "$staged"
	install_module
	mkdir -p "$DESTDIR$PREFIX" "$DESTDIR/etc/ctrfw"
	cp -R "$staged$PREFIX/." "$DESTDIR$PREFIX/"
	if [ -n "$DESTDIR" ]; then
		say "put into $DESTDIR, for Linux $release"
		exit
	fi
	depmod -a
	say "installed for Linux $release; load it with: modprobe ctrfw"
	say "at each boot, with the table /etc/ctrfw/rules: systemctl enable ctrfw"
	;;
uninstall)
	command_is_there
	stage "$staged"
	# The link by which it is started at boot; there need be none, nor a systemd.
	[ -n "$DESTDIR" ] || systemctl disable ctrfw 2>/dev/null || true
	(cd "$staged" && find . -type f -print0) | while IFS= read -r -d '' file; do rm -f "$DESTDIR/$file"; done
	rm -f "$DESTDIR"/lib/modules/*/updates/ctrfw.ko*
	[ -n "$DESTDIR" ] || depmod -a
	say "removed; /etc/ctrfw is left, and so are the table in force and the module, until rmmod ctrfw"
	;;
*) die "usage: install.sh install|uninstall [KDIR]" ;;
esac
