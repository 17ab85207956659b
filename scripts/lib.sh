#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What every script here shares: progress lines, errors, the cache.
# To be sourced, after "set -euo pipefail".

TOP=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
CACHE=${CTRFW_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/ctrfw}
mkdir -p "$CACHE"
CACHE=$(cd "$CACHE" && pwd -P)
BUILD=$TOP/build
# One clock for a whole run, also over the scripts that call each other.
CTRFW_T0=${CTRFW_T0:-$EPOCHSECONDS}
export CTRFW_T0 CTRFW_CACHE=$CACHE
export LC_ALL=C.UTF-8
# The checkout may belong to another user; git must list its files all the same.
export GIT_CONFIG_COUNT=1 GIT_CONFIG_KEY_0=safe.directory GIT_CONFIG_VALUE_0="*"

say() {
	local s=$((EPOCHSECONDS - CTRFW_T0))
	printf '[ctrfw] %d:%02d %s\n' $((s / 60)) $((s % 60)) "$*" >&2
}

# die WHAT-IS-WRONG [HOW-TO-MEND-IT]
die() {
	say "error: $1"
	[ $# -lt 2 ] || say "  mend: $2"
	exit 1
}

need_root() {
	[ "$(id -u)" = 0 ] || die "$1 needs root." "run it with sudo, or as root."
}

# Ends background jobs with everything that they started.
end_groups() {
	local group
	for group; do
		[ -z "$group" ] || { kill -TERM -- "-$group" && sleep 0.3 && kill -KILL -- "-$group"; } 2>/dev/null || true
	done
}
job='' beat=''
trap 'end_groups "$job" "$beat"' EXIT
trap 'exit 130' INT TERM HUP

# logged NAME WHAT MEND CMD...: runs CMD with its output in build/log/NAME.log,
# with a sign of life every 20 s; shows the log's end if CMD fails.
logged() {
	local name=$1 what=$2 mend=$3 log t0=$EPOCHSECONDS rc=0
	shift 3
	mkdir -p "$BUILD/log"
	log=$BUILD/log/$name.log
	say "$what ..."
	# Process groups of their own, so that an interrupt leaves nothing running.
	set -m
	"$@" >"$log" 2>&1 </dev/null &
	job=$!
	while sleep 20; do
		say "  ... $what, $((EPOCHSECONDS - t0)) s: $(tail -n 1 "$log" | tr -d '\r' | cut -c 1-70)"
	done &
	beat=$!
	set +m
	disown "$beat"
	wait "$job" || rc=$?
	job=''
	kill -KILL -- "-$beat" 2>/dev/null || true
	beat=''
	if [ $rc -ne 0 ]; then
		say "failed after $((EPOCHSECONDS - t0)) s: $what; the end of $log:"
		tail -n 25 "$log" | sed 's/^/    /' >&2
		die "$what failed (exit $rc)." "$mend"
	fi
	say "done in $((EPOCHSECONDS - t0)) s: $what"
}

# key FILE-OR-TEXT...: a short hash over the contents of files, comments left
# out, and over words.
key() {
	local x
	for x in "$@"; do
		if [ -f "$x" ]; then sed '/^[[:space:]]*#/d' "$x"; else printf '%s\n' "$x"; fi
	done | sha256sum | cut -c 1-16
}

# cached NOUN KEY MAKER [ARGS...]: prints $CACHE/NOUN-KEY. If it is not there,
# runs "MAKER TEMPDIR ARGS..." and renames the result, so that an interrupted
# run leaves nothing that looks finished. Entries of the noun that nobody has
# used for a day go.
cached() {
	local noun=$1 _dir=$CACHE/$1-$2 _maker=$3 _tmp old lock
	shift 3
	if [ ! -e "$_dir" ]; then
		exec {lock}>"$CACHE/.lock-$noun"
		if ! flock -n "$lock"; then
			say "waiting for another run that makes the same $noun ..."
			flock "$lock"
		fi
		if [ ! -e "$_dir" ]; then
			for old in "$CACHE/.tmp-$noun".*; do drop_tree "$old"; done
			_tmp=$CACHE/.tmp-$noun.$$
			mkdir "$_tmp"
			"$_maker" "$_tmp" "$@" >&2
			mv -T "$_tmp" "$_dir"
			# Another checkout, or yesterday's branch, may still use the older.
			find "$CACHE" -maxdepth 1 -name "$noun-????????????????" ! -path "$_dir" -mtime +0 -print0 |
				while IFS= read -r -d '' old; do drop_tree "$old"; done
		fi
		exec {lock}>&-
	fi
	touch -c "$_dir" 2>/dev/null || true
	printf '%s\n' "$_dir"
}

# Never follow a mount that an interrupted run may have left behind.
drop_tree() {
	[ -e "$1" ] || return 0
	if grep -qF " $1/" /proc/self/mounts; then
		die "$1 has something mounted below it." "umount it, then run again."
	fi
	rm -rf --one-file-system "$1"
}

# keep_output DIR TREE: empties DIR, where modules are built, unless all in it is of this kernel tree and
# this checkout: an output of another tree, or of another place, would mix two kernels.
keep_output() {
	local out=$1 stamp="$2 $TOP"
	if [ "$(cat "$out/.tree" 2>/dev/null)" != "$stamp" ]; then
		drop_tree "$out"
		mkdir -p "$out"
		echo "$stamp" >"$out/.tree"
	fi
}
