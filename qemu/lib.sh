#!/bin/bash
# SPDX-License-Identifier: GPL-2.0
#
# What run.sh and uml.sh have in common: options, the results folder, the wait
# for a guest, and the verdict. To be sourced.

. "$(dirname "${BASH_SOURCE[0]}")/../scripts/lib.sh"

# shellcheck disable=SC2034 # read by run.sh and uml.sh
mem=2G cpus=2 append='' timeout=7200 icount='' interactive='' results='' debug='' logcheck=1

# shellcheck disable=SC2034
guest_options() {
	while [ $# -gt 0 ]; do
		case $1 in
		--mem) mem=$2 && shift ;;
		--cpus) cpus=$2 && shift ;;
		--append) append=$2 && shift ;;
		--timeout) timeout=$2 && shift ;;
		--results) results=$2 && shift ;;
		--icount) icount=1 ;;
		--debug) debug=1 ;;
		--interactive) interactive=1 ;;
		--no-log-check) logcheck='' ;;
		--help | -h)
			echo "usage: $(basename "$0") [--mem 2G] [--cpus N] [--append ARGS] [--timeout SECONDS] [--results DIR] [--icount] [--debug] [--interactive] [--no-log-check] -- CMD..." >&2
			exit 2
			;;
		--) shift && break ;;
		*) die "unknown option $1." "see $0 --help" ;;
		esac
		shift
	done
	command=("$@")
	[ ${#command[@]} -gt 0 ] || [ -n "$interactive" ] || die "no command given." "$(basename "$0") [options] -- CMD..."
}

# The results folder is the guest's /results; .run in it is ours.
guest_results() {
	results=${results:-$BUILD/results/$1}
	mkdir -p "$results"
	results=$(cd "$results" && pwd -P)
	# Two guests in one folder would read each other's fate.
	exec {results_lock}>"$results/.lock"
	if ! flock -n "$results_lock"; then
		say "waiting for another guest that uses $results (--results gives another folder) ..."
		flock "$results_lock"
	fi
	find "$results" -mindepth 1 ! -name .lock -delete
	mkdir "$results/.run"
	{
		printf 'export CTRFW_KERNEL=%q CTRFW_KO=/ctrfw/build/%q/ctrfw.ko CTRFW_RESULTS=/results\n' "$1" "$1"
		# What the caller says to the tests goes in with its name.
		local name
		for name in $(compgen -e | grep -E '^(CTRFW_TEST_|PYTEST_)' || true); do
			printf 'export %s=%q\n' "$name" "${!name}"
		done
		[ -z "$interactive" ] || printf 'export CTRFW_INTERACTIVE=1 CTRFW_ROWS=%q CTRFW_COLS=%q\n' \
			"$(tput lines 2>/dev/null || echo 24)" "$(tput cols 2>/dev/null || echo 80)"
	} >"$results/.run/env"
	if [ -n "$interactive" ]; then
		cat >"$results/.run/cmd" <<-'EOF'
			insmod "$CTRFW_KO" && echo "ctrfw is loaded in Linux $(uname -r); \"exit\" powers the guest off."
			exec bash -l
		EOF
	else
		printf '%q ' exec "${command[@]}" >"$results/.run/cmd"
	fi
}

# Not our shell's to announce that it was killed.
guest_kill() {
	disown "$1" 2>/dev/null || true
	kill -KILL "$1" 2>/dev/null || true
}

# guest_wait PID: waits for the guest's end; kills it if it does not start, or
# runs for too long. Sets why to started, silent, slow.
guest_wait() {
	local pid=$1 t0=$EPOCHSECONDS limit=${start_limit:-180}
	why=silent
	while kill -0 "$pid" 2>/dev/null; do
		if [ "$why" = silent ] && [ -e "$results/.run/started" ]; then
			why=started
			say "the guest is up after $((EPOCHSECONDS - t0)) s"
		elif [ "$why" = silent ] && [ $((EPOCHSECONDS - t0)) -gt "$limit" ]; then
			guest_kill "$pid"
		elif [ -z "$interactive" ] && [ $((EPOCHSECONDS - t0)) -gt "$timeout" ]; then
			why=slow
			guest_kill "$pid"
		fi
		sleep 0.2
	done
	wait "$pid" 2>/dev/null || true
	[ ! -e "$results/.run/started" ] || [ "$why" = slow ] || why=started
}

console_tail() {
	say "the end of the guest's kernel log ($results/console.log):"
	tail -n 30 "$results/console.log" | tr -d '\r' | sed 's/^/    /' >&2
}

# What the kernel must not say once the module is there. Splats before that
# are the guest's own.
complaints='BUG:|WARNING:|Oops|KASAN|UBSAN|kmemleak: .*suspected|leaked reference|has [1-9][0-9]* users at|unregister_netdevice: waiting|ODEBUG|INFO: task .* blocked|general protection|kernel panic'
log_complaints() {
	tr -d '\r' <"$results/console.log" | sed -n '/ctrfw: /,$p' | grep -aEi -m 5 -A 15 "$complaints"
}

# Ends with the command's status, or says why there is none.
guest_verdict() {
	local status
	if [ "$why" = slow ]; then
		console_tail
		die "the guest ran longer than $timeout s and was stopped." "see $results/output.log for what it was at; --timeout gives more."
	fi
	if [ ! -s "$results/.run/status" ]; then
		console_tail
		grep -qa 'Kernel panic' "$results/console.log" && die "the guest's kernel panicked." "the log above says where."
		die "the guest ended without a word." "read $results/console.log."
	fi
	status=$(cat "$results/.run/status")
	if [ -n "$logcheck" ] && [ -z "$interactive" ] && log_complaints >"$results/complaints.log"; then
		sed 's/^/    /' "$results/complaints.log" >&2
		die "the guest's kernel complained after the module was loaded." "see $results/console.log."
	fi
	say "the guest is off; exit status $status"
	exit "$status"
}

# Runs the function start (which starts the guest in the background and sets
# guest_pid), once more, after retry, if it fails before the command.
guest_run() {
	local try tailer
	for try in 1 2; do
		: >"$results/console.log"
		: >"$results/output.log"
		rm -f "$results/.run/started" "$results/.run/status"
		# It ends with us, and so gives up our lock, however we are killed.
		tail -n +1 -f -s 0.2 --pid=$$ "$results/output.log" &
		tailer=$!
		start
		guest_wait "$guest_pid"
		# The last lines may still be on their way to the terminal.
		sleep 0.4
		{ kill "$tailer" && wait "$tailer"; } 2>/dev/null || true
		guest_pid=
		[ "$why" = silent ] || break
		cp "$results/console.log" "$results/console-failed-$try.log"
		if [ $try = 1 ]; then
			say "the guest failed before the command started (retry 1 of 1; log: $results/console-failed-1.log)"
			retry
		else
			console_tail
			die "the guest failed to start twice." "read $results/console.log; is the machine out of memory?"
		fi
	done
	guest_verdict
}

guest_pid=
trap '[ -z "$guest_pid" ] || kill -KILL "$guest_pid" 2>/dev/null; trap - EXIT' EXIT
trap 'exit 130' INT TERM
