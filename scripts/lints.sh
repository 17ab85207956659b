#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# The project's own rules that no compiler checks; prints every breach as
# FILE:LINE: RULE, and fails if there is one.
set -euo pipefail
. "$(dirname "$0")/lib.sh"
cd "$TOP"
git rev-parse --git-dir >/dev/null || die "this is no git checkout." "the files to look at are those that git knows: clone the project."

breaches=0
breach() {
	printf '%s\n' "$*"
	breaches=$((breaches + 1))
}

sources() {
	git ls-files -co --exclude-standard -- "$@" | while read -r f; do [ ! -f "$f" ] || printf '%s\n' "$f"; done
}

# Every source file says its licence in its first line, or in its second after
# an interpreter's.
while read -r f; do
	head -n 2 "$f" | grep -q 'SPDX-License-Identifier: ' || breach "$f:1: no SPDX-License-Identifier in the first two lines"
done < <(sources '*.rs' '*.c' '*.h' '*.sh' '*.py' Makefile Kbuild .ci/run)

# unsafe stays in one place, and every block says why it is sound.
while read -r f; do
	case $f in
	rust/sys/*) ;;
	*)
		while read -r hit; do
			breach "$f:${hit%%:*}: unsafe outside rust/sys/"
		done < <(sed 's|//.*||' "$f" | grep -nE '\bunsafe\b' | grep -vE 'unsafe_(op|code)|forbid|deny' || true)
		;;
	esac
	while read -r line; do
		breach "$f:$line: unsafe without a // SAFETY: comment before it"
	done < <(awk '
		/^[[:space:]]*\/\/+[[:space:]]*SAFETY:/ || /\/\* SAFETY:/ { safe = 1 }
		{
			code = $0
			sub(/\/\/.*/, "", code)
			if (code ~ /(^|[^a-z_])unsafe[[:space:]]*(\{|impl)/ && !safe && !(code ~ /^[[:space:]]*$/)) print NR
			# The comment holds until the statement that it stands before ends.
			if (code !~ /^[[:space:]]*$/ && code !~ /^[[:space:]]*#\[/ && code ~ /[;{}][[:space:]]*$/) safe = 0
		}' "$f")
	# A public unsafe function tells its callers their duty.
	while read -r line; do
		breach "$f:$line: unsafe fn without a # Safety section"
	done < <(awk '
		/^[[:space:]]*\/\/\/ # Safety/ { told = 1 }
		/^[[:space:]]*(pub(\([a-z]+\))? )?unsafe (extern "C" )?fn/ { if (!told) print NR }
		/^[[:space:]]*[^\/#[:space:]]/ { told = 0 }' "$f")
done < <(sources 'rust/*.rs')

# Tabs for C and shell, spaces for Rust and Python; no trailing blanks.
while read -r f; do
	while read -r hit; do breach "$f:${hit%%:*}: trailing blanks"; done < <(grep -nE '[ 	]+$' "$f" | grep -vE '^[0-9]+: ?\\$' || true)
done < <(sources '*.rs' '*.c' '*.h' '*.sh' '*.py' Makefile Kbuild .ci/run)

# What a commit must not carry by accident.
while read -r hit; do breach "${hit%%:*}: marker of an unfinished merge"; done < <(git grep -nE '^(<<<<<<<|>>>>>>>) ' -- . || true)

[ $breaches = 0 ] || die "$breaches breaches of the project's rules." "each line above names file and rule."
