# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests here share: the two ways to run a program, the proof that
# myepoll served it, and the tally. For bash; sourced by each of them.

PATH=$PATH:/usr/sbin:/sbin
top=$(cd "$(dirname "$0")/../../.." && pwd)
# shellcheck disable=SC2034 # used by those that source this
built=$top/build/tests/peers
preload=$top/build/userspace/libmyepoll-preload.so

# shellcheck source=tests/fixtures/tally.sh
. "$top/tests/fixtures/tally.sh"

die() {
	printf '%s: %s\n' "$(basename "$0")" "$*" >&2
	exit 1
}

[[ -c /dev/myepoll ]] ||
	die "no /dev/myepoll here: run scripts/vm -- tests/suites/peers/$(basename "$0")"
[[ -r $preload ]] || die "no $preload: run 'make userspace'"

# World-readable, since some servers give up root.
work=$(mktemp -d)
chmod 755 "$work"

children=()
# shellcheck disable=SC2317 # called by the trap
cleanup() {
	((${#children[@]} == 0)) || kill -9 "${children[@]}" 2>/dev/null
	rm -rf "$work"
}
trap cleanup EXIT

# An output that explains a failure, marked so that it is no verdict.
explain() { # FILE
	tail -n 20 "$1" | sed 's/^/# /'
}

# The end of a test: the tally, and as exit status whether all is well.
finish() {
	tally
	exit
}

# The beginning of a command that is to run on myepoll; the shell that starts
# it does not. The test started as "NAME native" runs all on the kernel's epoll:
# its verdicts are what those on myepoll are to be.
natively=
on_myepoll=(env "LD_PRELOAD=$preload" MYEPOLL_STRICT=1 MYEPOLL_STATS=1)
if [[ ${1-} == native ]]; then
	natively=yes
	# shellcheck disable=SC2034
	on_myepoll=(env)
fi

## Proof, from the counts that the preload library prints at a program's exit

# What the lines in FILE sum up to: "LINES CREATE CTL WAIT EVENTS NATIVE".
# LINES are those with an instance; NATIVE is all that the kernel's own epoll
# did. A process that made none, such as nginx's master, has a line of zeros.
served() { # FILE
	awk '
		match($0, /myepoll\[[0-9]+ .*\]: create /) {
			$0 = substr($0, RSTART + RLENGTH - length("create "))
			sub(/\(.*\);/, "")
			# create N ctl N wait N events N by myepoll create N ...
			lines += $2 > 0
			create += $2; ctl += $4; wait += $6; events += $8
			native += $12 + $14 + $16 + $18
		}
		END { print lines + 0, create + 0, ctl + 0, wait + 0, events + 0, native + 0 }' "$1"
}

# FILE tells of one instance or more, each of the operations in WANTED (ctl,
# wait, events) and nothing by the kernel.
check_served() { # NAME FILE WANTED...
	local name=$1 file=$2 lines create ctl wait events theirs operation
	shift 2

	read -r lines create ctl wait events theirs < <(served "$file")
	if [[ $natively ]]; then
		if ((lines)); then
			not_ok "$name" "myepoll had a part in it"
		else
			ok "$name" "native"
		fi
		return
	fi
	if ((lines == 0)); then
		not_ok "$name" "no sign of myepoll"
		return
	fi
	for operation; do
		if ((${!operation} == 0)); then
			not_ok "$name" "no $operation by myepoll"
			return
		fi
	done
	if ((theirs)); then
		not_ok "$name" "$theirs operations by the kernel's epoll"
	else
		ok "$name" "create $create, ctl $ctl, wait $wait, events $events; none by the kernel"
	fi
}

## Proof, from /proc

# The [WHAT] fds of process PID and how many files each watches, one a line.
instances() { # PID WHAT
	local fd

	for fd in "/proc/$1/fd"/*; do
		[[ $(readlink "$fd") != "anon_inode:[$2]" ]] ||
			echo "$(basename "$fd") $(grep -c '^tfd:' "/proc/$1/fdinfo/$(basename "$fd")")"
	done
}

# A running process has an instance that watches COUNT files or more, and none
# of the other kind.
check_proc() { # NAME PID COUNT
	local name=$1 pid=$2 count=$3 fd watched most=0 found= what=myepoll other=eventpoll

	[[ ! $natively ]] || what=eventpoll other=myepoll
	while read -r fd watched; do
		found+="${found:+, }fd $fd watches $watched"
		((watched <= most)) || most=$watched
	done < <(instances "$pid" "$what")
	if [[ $(instances "$pid" "$other") ]]; then
		not_ok "$name" "it has an [$other] fd"
	elif ((most < count)); then
		not_ok "$name" "no [$what] fd that watches $count files: ${found:-none at all}"
	else
		ok "$name" "[$what] $found"
	fi
}

## Servers

# Until COMMAND succeeds; a minute at most.
wait_until() { # COMMAND...
	local end=$((SECONDS + 60))

	until "$@" >/dev/null 2>&1; do
		((SECONDS < end)) || return
		sleep 0.2
	done
}

answers() { # PORT
	(: <>"/dev/tcp/127.0.0.1/$1") 2>/dev/null
}

# In the background; $server is its pid. A server's output ends in FILE.
start_server() { # FILE PORT COMMAND...
	local file=$1 port=$2
	shift 2

	"$@" </dev/null >"$file" 2>&1 &
	server=$!
	children+=("$server")
	wait_until answers "$port" || {
		explain "$file"
		die "the server does not answer: $*"
	}
}

stop_server() { # [SIGNAL]
	kill "-${1:-TERM}" "$server" && wait "$server"
}

# Run COMMAND, case NAME: it must succeed, and say nothing that matches WRONG.
check_run() { # NAME WRONG COMMAND...
	local name=$1 wrong=$2 out=$work/run.out rc=0
	shift 2

	"$@" </dev/null >"$out" 2>&1 || rc=$?
	if ((rc)); then
		not_ok "$name" "status $rc"
		explain "$out"
	elif [[ $wrong ]] && grep -Eiq "$wrong" "$out"; then
		not_ok "$name" "$(grep -Ei -m 1 "$wrong" "$out")"
		explain "$out"
	else
		ok "$name"
	fi
}
