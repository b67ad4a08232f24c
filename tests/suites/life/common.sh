# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the scripts here share. For bash; sourced with the module's path in $ko.
#
# Every case is a function case_*: it succeeds, or says why not, or skips. Each
# starts without the module, and must leave it unloaded; run_cases looks after
# those that do not, and calls clean_up, if there is one, after each.

PATH=$PATH:/usr/sbin:/sbin
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
top=$(cd "$here/../../.." && pwd)
# shellcheck source=tests/fixtures/tally.sh
. "$top/tests/fixtures/tally.sh"
hold=(python3 -I -S "$here/hold.py")

say() { printf '    %s\n' "$*"; }
why= # a case fails, or is skipped
fail() { why+=${why:+; }$*; return 1; }
skip() { why=$*; return 77; }
loaded() { grep -q '^myepoll ' /proc/modules; }
# shellcheck disable=SC2154 # the one who sources this has $ko
load() { insmod "$ko" "$@" || fail "insmod $* failed"; }
unload() { rmmod myepoll || fail "rmmod failed"; }
unload_soon() { # others open instances now and then
	local i
	for ((i = 0; i < 1000; i++)); do
		rmmod myepoll 2>/dev/null && return
		sleep 0.01
	done
	fail "rmmod never succeeded"
}

# Runs a command, which does as it is told and says when it is done; it lives until
# `release`.
hold_command() {
	coproc HOLD { exec "$@" 2>&1; }
	held=$HOLD_PID
	read -r -t 60 answer <&"${HOLD[0]}" || answer=silence
	[[ $answer == ready ]] || fail "$*: $answer"
}
hold() { hold_command "${hold[@]}" "$@"; }
release() {
	local status=0 fd=${HOLD[1]}
	exec {fd}>&-
	wait "$held" || status=$?
	((status == 0)) || fail "it ended with $status"
}

# In the background until end_jobs
jobs=()
start_job() { # JOB ARG... of hold.py
	"${hold[@]}" "$@" &
	jobs+=($!)
}
end_jobs() {
	local dead=0 pid
	for pid in "${jobs[@]}"; do
		kill -0 "$pid" 2>/dev/null || dead=1
		kill -9 "$pid" 2>/dev/null
		wait "$pid" 2>/dev/null
	done
	jobs=()
	((!dead)) || fail "a job in the background died"
}

# What the kernel said since the mark; of data races scripts/vm knows whose they are
mark() { dmesg | wc -l; }
since() { dmesg | tail -n "+$(($1 + 1))"; }
quiet_since() {
	! since "$1" | grep -v KCSAN: | grep -E 'Objects remaining|WARNING|BUG|Oops|still has objects' ||
		fail "the kernel complained"
}

run_cases() { # [CASE...]
	local name start status cases=("$@")

	((${#cases[@]})) || mapfile -t cases < <(declare -F | sed -n 's/^declare -f case_//p')

	loaded && { echo "the module is loaded already"; exit 1; }
	for name in "${cases[@]}"; do
		start=$SECONDS
		status=0 why=
		"case_$name" || status=$?
		case $status in
		0) ok "$name" "$((SECONDS - start)) s" ;;
		77) skipped "$name" "$why" ;;
		*) not_ok "$name" "$why" ;;
		esac
		end_jobs || true
		! declare -F clean_up >/dev/null || clean_up
		if loaded; then
			[[ -n ${held-} ]] && kill -9 "$held" 2>/dev/null
			sleep 1
			rmmod myepoll
		fi
	done
	tally
}
