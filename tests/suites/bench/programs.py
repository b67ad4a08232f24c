# SPDX-License-Identifier: GPL-2.0
"""What a request costs the servers that people run, and what a call of libc's functions
costs beside the system call, on epoll and on myepoll.

Debian's redis, memcached and nginx by the preload library, and the echo server by the
C++ library, which is linked twice.
"""

import os

import guest

TESTS = os.path.join(guest.BUILD, "tests")
LIBS = os.path.join(guest.BUILD, "userspace")
SERVERS = ("redis-server", "memcached", "nginx")
CLIENTS = (1, 64)
REQUESTS = 6400
PREFIX = "a request: "

SCRIPT = """
mkdir -p /var/log/nginx /var/lib/nginx
head -c 612 /bin/busybox >/tmp/page
cat >/tmp/nginx.conf <<END
daemon off;
master_process off;
user root root;
pid /tmp/pid;
error_log stderr warn;
events {{ use epoll; }}
http {{
	access_log off;
	keepalive_requests 1000000;
	server {{ listen 127.0.0.1:1003; root /tmp; }}
}}
END

insmod /myepoll.ko
export MYEPOLL_STRICT=1
calls libc
LD_PRELOAD=/libmyepoll-preload.so calls library

measure() {{ # WAY SERVER PORT REQUEST COMMAND...
	local way=$1 server=$2 port=$3 request=$4 clients
	shift 4

	"$@" </dev/null >/tmp/log 2>&1 &
	listens $port $!
	case $server in
	redis*) load $port 1 1 'SET key value\\r\\n' ;;
	memcached*) load $port 1 1 'set key 0 0 5\\r\\nvalue\\r\\n' ;;
	esac
	# Who serves it?
	case $way in epoll) instance=eventpoll ;; *) instance=myepoll ;; esac
	ls -l /proc/$!/fd | grep -q "\\[$instance\\]"
	for clients in {clients}; do
		load $port $clients $(({requests} / clients)) "$request" \\
			$! "$way {prefix}$server, $clients connection$([ $clients = 1 ] || echo s)"
	done
	kill $!
	wait $! || :
}}

serve() {{ # WAY ENVIRONMENT...
	local way=$1
	shift

	measure $way 'redis GET' 1001 'GET key\\r\\n' \\
		env "$@" redis-server --port 1001 --bind 127.0.0.1 --save '' --daemonize no
	measure $way 'memcached get' 1002 'get key\\r\\n' \\
		env "$@" memcached -u root -l 127.0.0.1 -p 1002 -U 0
	measure $way 'nginx, 612 bytes' 1003 \\
		'GET /page HTTP/1.1\\r\\nHost: a\\r\\n\\r\\n' \\
		env "$@" nginx -c /tmp/nginx.conf -p /tmp -e stderr
}}

serve epoll
serve fast LD_PRELOAD=/libmyepoll-preload.so
serve ioctl LD_PRELOAD=/libmyepoll-preload.so MYEPOLL_DOOR=ioctl
echo=$(printf '%64s' .)
measure epoll 'echo server on the C++ library' 1004 "$echo" echo-on-epoll 1004
measure fast 'echo server on the C++ library' 1004 "$echo" echo-server 1004
measure ioctl 'echo server on the C++ library' 1004 "$echo" env MYEPOLL_DOOR=ioctl echo-server 1004
"""


def measure(kernel, timeout):
    """{(operation, way): instructions that a request costs the server, or a library adds}"""
    files = {"/bin/load": os.path.join(TESTS, "load"),
             "/bin/calls": os.path.join(TESTS, "calls"),
             "/bin/echo-on-epoll": os.path.join(TESTS, "echo-on-epoll"),
             "/bin/echo-server": os.path.join(LIBS, "examples", "echo-server"),
             "/libmyepoll-preload.so": os.path.join(LIBS, "libmyepoll-preload.so")}
    for name in SERVERS:
        files["/bin/" + name] = os.path.join(guest.BUILD, "servers", "bin", name)
    for program in list(files.values()):
        if not program.endswith("load"):
            files.update(guest.libraries(program))
    script = guest.SERVERS + SCRIPT.format(clients=" ".join(map(str, CLIENTS)), requests=REQUESTS, prefix=PREFIX)
    return guest.boot(kernel, "programs", script, files, timeout)[1]
