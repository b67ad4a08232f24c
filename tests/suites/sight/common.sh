# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests of trace and top share. As root in a guest of scripts/vm --no-module
# --in-turn; sourced, with the module as $1.
set -u

PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
ko=$(realpath "${1:?usage: $0 MYEPOLL.KO}") || exit
top=$(cd "$(dirname "$0")/../../.." && pwd)
# shellcheck source=tests/fixtures/commands.sh
. "$top/tests/fixtures/commands.sh"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
chmod 755 "$work"
cp "$top"/build/userspace/{myepoll,libmyepoll-preload.so} "$top"/build/tests/sight/steps "$work"
cd "$work" || exit
unset LD_PRELOAD "${!MYEPOLL_@}"

adopt=/sys/module/myepoll/parameters/adopt
instances=/sys/kernel/tracing/instances

# Run a command: $status, and what it said in $out and $err.
run() {
	status=0
	timeout 60 "$@" >.out 2>.err </dev/null || status=$?
	out=$(<.out) err=$(<.err)
}

check() { # NAME REMARK CONDITION...
	if "${@:3}"; then
		ok "$1" "$2"
	else
		not_ok "$1" "$2"
	fi
}

refused() { # NAME ERR STATUS
	is "$1" "$out$err ($status)" "myepoll: $2 (${3-125})"
}

# In a mount namespace of its own, after a command there
apart() { # MOUNT-COMMAND COMMAND...
	run unshare -m sh -c "$1"' && shift && exec "$@"' sh "$@"
}

# Until a condition holds, for 20 s
until_so() {
	local i
	for ((i = 0; i < 400; i++)); do
		"$@" && return
		sleep 0.05
	done
	return 1
}

# Whoever cannot have events says why, in a line.
complaints() { # SUBCOMMAND
	local tracing=/sys/kernel/tracing

	run setpriv --reuid=65534 --regid=65534 --clear-groups ./myepoll "$1"
	refused "$1 without root" "$tracing is not for this user: this needs root"
	# Whoever may mount it does not have to.
	apart "umount -l $tracing; umount -l /sys/kernel/debug" \
		setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin ./myepoll "$1"
	refused "$1 without tracefs" "there is no tracefs: a kernel without tracing, or not mounted \
(mount -t tracefs none $tracing)"
	apart "mount -t tmpfs none $tracing/events" ./myepoll "$1"
	refused "$1 with an older module" \
		'the loaded module myepoll has no tracepoints: it is older than this tool'
	run ./myepoll "$1" -p 4194304
	refused "$1 of no process" "there is no process 4194304"
	run ./myepoll "$1" -p x
	is "$1 of nonsense" "$out$(wc -l <.err) ($status)" '1 (125)'
	is "... which names the help" "$err" "myepoll: --pid: Value x not in range 1 to 2147483647; see \"myepoll $1 --help\""
}
