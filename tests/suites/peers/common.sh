# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# What the tests here share: the ways to run a program, the proof that myepoll
# served it, and the tally. For bash; sourced by each of them.
#
# A test runs its programs in one of three ways, by its argument: on the preload
# library; "adopted", by a mark that the module knows them by, in a guest of
# scripts/vm --module-args adopt=1; or "native", on the kernel's epoll: those verdicts
# are what the others are to be.

top=$(cd "$(dirname "$0")/../../.." && pwd)
PATH=$PATH:/usr/sbin:/sbin
# What scripts/setup --peers has fetched
PATH+=:$top/build/peers/usr/sbin:$top/build/peers/usr/lib/postgresql/15/bin
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

# The kernel's, which a test may change: see below.
kernels_limit=/proc/sys/fs/epoll/max_user_watches
usual_limit=$(<"$kernels_limit")

children=()
# shellcheck disable=SC2317 # called by the trap
cleanup() {
	[[ $way != adopted ]] || echo "$usual_limit" >"$kernels_limit"
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

# In front of a command that is to run on myepoll; the shell that starts it does not.
on_myepoll=(env "LD_PRELOAD=$preload" MYEPOLL_STRICT=1 MYEPOLL_STATS=1)
# In front of others that may epoll, or may not. They need it where the kernel's epoll
# is shut.
# shellcheck disable=SC2034
beside=(env)
way=preload
case ${1-} in
native)
	way=native
	on_myepoll=(env)
	;;
adopted)
	way=adopted
	on_myepoll=("$built/mark")
	# shellcheck disable=SC2034
	beside=("${on_myepoll[@]}")
	;;
esac

## Proof, for adopted programs

# The kernel's epoll watches nothing while its limit of watches is 0: every
# EPOLL_CTL_ADD fails. That is not myepoll's limit. So what epolls and works is served
# by myepoll, however short it lives.
shut_kernels_epoll() {
	[[ $way != adopted ]] || echo 0 >"$kernels_limit"
}

# Run COMMAND, which is to be on the kernel's epoll.
by_kernel() { # COMMAND...
	local rc=0

	echo "$usual_limit" >"$kernels_limit"
	"$@" || rc=$?
	shut_kernels_epoll
	return "$rc"
}

# Watch a pipe, and say why that fails.
try_epoll() { # COMMAND...
	"$@" /usr/bin/python3 -c "import os, select
try: select.epoll().register(os.pipe()[0])
except OSError as e: print(e.strerror)
else: print('watches')" 2>/dev/null
}

be_adopted() {
	local shut adopted

	[[ $(cat /sys/module/myepoll/parameters/adopt 2>/dev/null) == Y ]] ||
		die "nothing is adopted here: run scripts/vm --module-args adopt=1 -- ..."
	[[ -x $built/mark ]] || die "no $built/mark: run 'make -C tests peers'"
	"$built/onlooker" "$work/seen" &
	children+=("$!")
	disown
	shut_kernels_epoll
	shut=$(try_epoll env)
	adopted=$(try_epoll "${on_myepoll[@]}")
	if [[ $shut == 'No space left on device' && $adopted == watches ]]; then
		ok 'only who is adopted can epoll'
	else
		not_ok 'only who is adopted can epoll' "without the mark: $shut; with it: $adopted"
	fi
}
[[ $way != adopted ]] || be_adopted

# Of the processes that FILE says were adopted, and all that they started: "N M", how
# many were seen with an instance of myepoll, and of the kernel's.
seen() { # FILE
	# It looks every 20 ms.
	sleep 0.2
	awk '
		FNR == NR { if (match($0, /mark: adopted [0-9]+/)) ours[substr($0, RSTART + 14, RLENGTH - 14)]; next }
		$3 == "process" { parent[$1] = $2 }
		$3 == "myepoll" { myepoll[$1] }
		$3 == "eventpoll" { eventpoll[$1] }
		END {
			do {
				more = 0
				for (pid in parent)
					if (!(pid in ours) && parent[pid] in ours) {
						ours[pid]
						more = 1
					}
			} while (more)
			for (pid in ours) {
				n += pid in myepoll
				m += pid in eventpoll
			}
			print n + 0, m + 0
		}' "$1" "$work/seen"
}

check_seen() { # NAME FILE
	local mine theirs

	read -r mine theirs < <(seen "$2")
	if ((theirs)); then
		not_ok "$1" "$theirs adopted processes seen with an [eventpoll] fd"
	elif ((mine == 0)); then
		not_ok "$1" "no process seen with a [myepoll] fd"
	else
		ok "$1" "seen with a [myepoll] fd: $mine processes, with an [eventpoll] fd: none"
	fi
}

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
# wait, events) and nothing by the kernel. Of an adopted program it has the process
# ids alone; what those had open was seen.
check_served() { # NAME FILE WANTED...
	local name=$1 file=$2 lines create ctl wait events theirs operation
	shift 2

	if [[ $way == adopted ]]; then
		check_seen "$name" "$file"
		return
	fi
	read -r lines create ctl wait events theirs < <(served "$file")
	if [[ $way == native ]]; then
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

	for fd in $(find "/proc/$1/fd" -lname "anon_inode:\[$2\]" -printf '%f\n'); do
		echo "$fd $(grep -c '^tfd:' "/proc/$1/fdinfo/$fd")"
	done
}

# A running process has an instance that watches COUNT files or more, and none
# of the other kind.
check_proc() { # NAME PID COUNT
	local name=$1 pid=$2 count=$3 fd watched most=0 found= what=myepoll other=eventpoll

	[[ $way != native ]] || what=eventpoll other=myepoll
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

## What a test needs

# Where something is missing, a test says so and does nothing.
give_up() { # WHY
	passed=0
	skipped "$(basename "$0")" "$1"
	tally
	exit 0
}

needs_way() { # WAY...
	[[ " $* " == *" $way "* ]] || give_up "not by $way"
}

needs_program() { # NAME PACKAGE
	[[ -x $built/$1 ]] || give_up "no $built/$1: it is built where $2 is installed"
}

needs_command() { # NAME PACKAGE
	command -v "$1" >/dev/null || give_up "no $1: scripts/setup --peers fetches $2"
}

# Some must be where they were made to be: link each PATH in /usr to where PROGRAM's is.
# In a guest, that changes nothing of the machine's.
in_place() { # PROGRAM PATH...
	local tree path

	tree=$(readlink -f "$(dirname "$(readlink -f "$(command -v "$1")")")/..")
	shift
	for path; do
		[[ -e /usr/$path ]] || ln -s "$tree/$path" "/usr/$path" || die "no /usr/$path"
	done
}

check_static() { # PROGRAM
	if LC_ALL=C readelf -lW "$1" | grep -q INTERP; then
		not_ok "$(basename "$1") is static"
	else
		ok "$(basename "$1") is static"
	fi
}

## Servers and clients

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

# A client that, when its work is done, says DONE and waits for its input to end;
# $client is its pid. What it says is in FILE.
start_client() { # FILE DONE COMMAND...
	local file=$1 done=$2 end=$((SECONDS + 120))
	shift 2

	rm -f "$work/input"
	mkfifo "$work/input"
	"$@" <"$work/input" >"$file" 2>&1 &
	client=$!
	children+=("$client")
	exec {client_input}>"$work/input"
	until grep -q "$done" "$file"; do
		if ((SECONDS >= end)) || [[ ! -e /proc/$client ]]; then
			explain "$file"
			die "the client has not done its work: $*"
		fi
		sleep 0.2
	done
}

stop_client() {
	exec {client_input}>&-
	wait "$client"
}

# nginx on PORT; $web is its pid. It has two files, $work/www/small and large.
start_web() { # PORT
	mkdir -m 755 "$work/www"
	echo small >"$work/www/small"
	head -c 500000 /dev/urandom >"$work/www/large"
	cat >"$work/web.conf" <<-END
		daemon off;
		worker_processes 1;
		user nobody nogroup;
		pid $work/web.pid;
		error_log stderr warn;
		events {
			use epoll;
			worker_connections 256;
		}
		http {
			access_log off;
			client_body_temp_path $work/body;
			proxy_temp_path $work/proxy;
			fastcgi_temp_path $work/fastcgi;
			uwsgi_temp_path $work/uwsgi;
			scgi_temp_path $work/scgi;
			server {
				listen 127.0.0.1:$1;
				root $work/www;
			}
		}
	END
	start_server "$work/web" "$1" "${on_myepoll[@]}" nginx -c "$work/web.conf" -p "$work" -e stderr
	web=$server
}

# What the server at PORT has by the name of URL.
get() { # PORT URL
	local fd line

	exec {fd}<>"/dev/tcp/127.0.0.1/$1"
	printf 'GET %s HTTP/1.0\r\n\r\n' "$2" >&"$fd"
	while read -r -u "$fd" line && [[ $line != $'\r' ]]; do :; done
	cat <&"$fd"
	exec {fd}<&-
}

check_get() { # NAME FILE PORT URL
	if cmp -s "$work/www/$2" <(get "$3" "$4"); then
		ok "$1"
	else
		not_ok "$1" 'differs'
	fi
}

# ab counts what was not answered as it should be.
load() { # NAME ARG...
	local name=$1
	shift

	check_run "$name" 'Failed requests: *[1-9]|Non-2xx|refused|reset' "${beside[@]}" ab -q "$@"
}

# FILE has a line that matches WANTED, and none that matches WRONG.
check_output() { # NAME WANTED WRONG FILE
	if grep -Eiq "$3" "$4"; then
		not_ok "$1" "$(grep -Ei -m 1 "$3" "$4")"
	elif grep -Eq "$2" "$4"; then
		ok "$1"
	else
		not_ok "$1" "no '$2'"
		explain "$4"
	fi
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
