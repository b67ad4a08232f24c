// SPDX-License-Identifier: GPL-2.0
/*
 * ls-cases CASE [N]: an instance for "myepoll ls" to look at
 *
 * By /dev/myepoll if there is that, and else, or with EPOLL=1, the kernel's. The numbers of
 * descriptors are fixed: 10 is the instance, and what it watches begins at 20. Prints a line
 * once all is there, and stays until standard input ends.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <mqueue.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/un.h>
#include <unistd.h>

#include "uapi/myepoll.h"

#define INSTANCE 10

static int device = -1;

static int good(int result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}
#define GOOD(call) good(call, #call)

static int put(int fd, int number)
{
	if (fd != number) {
		GOOD(dup2(fd, number));
		close(fd);
	}
	return number;
}

static int create(int number)
{
	struct myepoll_create arg = { 0 };

	return put(device < 0 ? GOOD(epoll_create1(0)) : GOOD(ioctl(device, MYEPOLL_IOC_CREATE, &arg)),
		   number);
}

static void ctl(int ep, int op, int fd, unsigned int events, unsigned long long data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };
	struct myepoll_ctl arg = { .op = op, .fd = fd, .events = events, .data = data };

	if (device < 0)
		GOOD(epoll_ctl(ep, op, fd, &event));
	else
		GOOD(ioctl(ep, MYEPOLL_IOC_CTL, &arg));
}

static void add(int fd, unsigned int events)
{
	ctl(INSTANCE, EPOLL_CTL_ADD, fd, events, fd);
}

static void harvest(int ep)
{
	struct epoll_event events[1];
	struct myepoll_wait arg = { .events = (unsigned long)events, .maxevents = 1 };

	if (device < 0)
		GOOD(epoll_wait(ep, events, 1, 0));
	else
		GOOD(ioctl(ep, MYEPOLL_IOC_WAIT, &arg));
}

static void stay(void)
{
	char byte;

	puts("there");
	fflush(stdout);
	if (read(0, &byte, 1) < 0)
		exit(1);
}

static struct sockaddr_in at(unsigned int address, int port)
{
	return (struct sockaddr_in){ .sin_family = AF_INET, .sin_port = htons(port),
				     .sin_addr.s_addr = htonl(address) };
}

static int bound(int type, unsigned int address, int port, int number)
{
	struct sockaddr_in where = at(address, port);
	int fd = put(GOOD(socket(AF_INET, type, 0)), number), one = 1;

	setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	GOOD(bind(fd, (void *)&where, sizeof(where)));
	if (type == SOCK_STREAM)
		GOOD(listen(fd, 5));
	return fd;
}

static int local(const char *name, size_t length, int number)
{
	struct sockaddr_un where = { .sun_family = AF_UNIX };
	int fd = put(GOOD(socket(AF_UNIX, SOCK_STREAM, 0)), number);

	memcpy(where.sun_path, name, length);
	GOOD(bind(fd, (void *)&where, offsetof(struct sockaddr_un, sun_path) + length));
	GOOD(listen(fd, 5));
	return fd;
}

static void sockets(void)
{
	struct sockaddr_in where = at(INADDR_LOOPBACK, 7001), peer = at(INADDR_LOOPBACK, 7003);
	struct sockaddr_in6 where6 = { .sin6_family = AF_INET6, .sin6_port = htons(7002),
				       .sin6_addr = IN6ADDR_LOOPBACK_INIT };
	int pair[2], client, one = 1;

	create(INSTANCE);
	bound(SOCK_STREAM, INADDR_LOOPBACK, 7001, 20);
	client = put(GOOD(socket(AF_INET, SOCK_STREAM, 0)), 21);
	setsockopt(client, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	GOOD(bind(client, (void *)&peer, sizeof(peer)));
	GOOD(connect(client, (void *)&where, sizeof(where)));
	add(client, EPOLLIN | EPOLLRDHUP | EPOLLET);
	add(put(GOOD(accept(20, NULL, NULL)), 22), EPOLLIN | EPOLLOUT);
	add(20, EPOLLIN | EPOLLEXCLUSIVE);
	add(bound(SOCK_DGRAM, INADDR_ANY, 7004, 23), EPOLLIN);
	put(GOOD(socket(AF_INET6, SOCK_STREAM, 0)), 24);
	GOOD(bind(24, (void *)&where6, sizeof(where6)));
	GOOD(listen(24, 5));
	add(24, 0);
	add(local("listen", 6, 25), EPOLLIN);
	GOOD(socketpair(AF_UNIX, SOCK_STREAM, 0, pair));
	close(pair[1]);
	add(put(pair[0], 26), EPOLLIN | EPOLLRDHUP);
	add(local("\0ls-cases", 9, 27), EPOLLIN);
	add(put(GOOD(socket(AF_NETLINK, SOCK_RAW, 0)), 28), EPOLLIN);
	add(put(GOOD(socket(AF_INET, SOCK_STREAM, 0)), 29), EPOLLPRI);
	add(put(GOOD(socket(AF_INET, SOCK_DGRAM, 0)), 30), EPOLLIN);
	peer = at(INADDR_LOOPBACK, 7004);
	where = at(INADDR_LOOPBACK, 7005);
	GOOD(bind(30, (void *)&where, sizeof(where)));
	GOOD(connect(30, (void *)&peer, sizeof(peer)));
	stay();
}

static int timer(long ns, long interval_ns, int number)
{
	const struct itimerspec spec = {
		.it_value = { ns / 1000000000, ns % 1000000000 },
		.it_interval = { interval_ns / 1000000000, interval_ns % 1000000000 },
	};
	int fd = put(GOOD(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK)), number);

	GOOD(timerfd_settime(fd, 0, &spec, NULL));
	return fd;
}

static void others(void)
{
	const struct mq_attr attr = { .mq_maxmsg = 1, .mq_msgsize = 1 };
	sigset_t set;
	int ends[2];

	create(INSTANCE);
	GOOD(pipe(ends));
	put(ends[0], 20);
	put(ends[1], 21);
	add(20, EPOLLIN);
	add(21, EPOLLOUT | EPOLLET);
	GOOD(mkfifo("fifo", 0600));
	add(put(GOOD(open("fifo", O_RDWR)), 22), EPOLLIN);
	add(put(GOOD(eventfd(3, 0)), 23), EPOLLIN);
	add(put(GOOD(eventfd(0x1f, EFD_SEMAPHORE)), 24), EPOLLPRI);
	add(timer(1000000000000, 50000000, 25), EPOLLIN);
	add(timer(1000000000000, 1500000000, 26), EPOLLIN);
	add(timer(0, 0, 27), EPOLLIN);
	add(timer(1, 0, 28), EPOLLIN);
	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGRTMIN + 2);
	add(put(GOOD(signalfd(-1, &set, 0)), 29), EPOLLIN);
	add(put(GOOD(inotify_init1(0)), 30), EPOLLIN);
	GOOD(inotify_add_watch(30, ".", IN_CREATE));
	add(put(GOOD(syscall(SYS_pidfd_open, getpid(), 0)), 31), EPOLLIN);
	create(32);
	add(32, EPOLLIN);
	add(put(GOOD(open("/proc/self/mounts", O_RDONLY)), 33), EPOLLPRI);
	mq_unlink("/ls-cases");
	add(put(GOOD(mq_open("/ls-cases", O_RDWR | O_CREAT, 0600, &attr)), 34), EPOLLIN);
	mq_unlink("/ls-cases");
	stay();
}

static void states(void)
{
	create(INSTANCE);
	add(put(GOOD(eventfd(1, 0)), 20), EPOLLIN | EPOLLONESHOT);
	harvest(INSTANCE);	/* 20 has fired */
	add(put(GOOD(eventfd(0, 0)), 21), EPOLLIN | EPOLLONESHOT);
	add(put(GOOD(eventfd(0, 0)), 22), EPOLLIN | EPOLLONESHOT);
	if (device >= 0)
		ctl(INSTANCE, MYEPOLL_CTL_DISABLE, 22, 0, 0);
	add(put(GOOD(eventfd(1, 0)), 23), EPOLLIN | EPOLLET);
	add(put(GOOD(eventfd(0, 0)), 24), EPOLLIN);
	stay();
}

static void options(void)
{
	struct myepoll_options how = { .flags = MYEPOLL_OPT_FAIR | MYEPOLL_OPT_BALANCE, .min_wait = 200 };

	create(INSTANCE);
	GOOD(ioctl(INSTANCE, MYEPOLL_IOC_SET_OPTIONS, &how));
	stay();
}

static void ghosts(void)
{
	int ends[2];

	create(INSTANCE);
	/* Closed, but for a copy */
	add(put(GOOD(eventfd(0, 0)), 20), EPOLLIN);
	put(20, 50);
	/* Another eventfd, and another one that is watched itself */
	add(put(GOOD(eventfd(0, 0)), 21), EPOLLIN);
	put(21, 51);
	put(GOOD(eventfd(7, 0)), 21);
	add(put(GOOD(eventfd(0, 0)), 22), EPOLLIN);
	put(22, 52);
	add(put(GOOD(eventfd(8, 0)), 22), EPOLLOUT);
	/* A socket that is closed, and one whose number is a pipe */
	add(bound(SOCK_STREAM, INADDR_ANY, 7006, 23), EPOLLIN);
	put(23, 53);
	add(bound(SOCK_STREAM, INADDR_ANY, 7007, 24), EPOLLIN);
	put(24, 54);
	GOOD(pipe(ends));
	put(ends[0], 24);
	put(ends[1], 55);
	/* Another socket */
	add(bound(SOCK_STREAM, INADDR_ANY, 7013, 29), EPOLLIN);
	put(29, 60);
	bound(SOCK_STREAM, INADDR_ANY, 7014, 29);
	/* A timer where there was an eventfd; a pipe that is closed */
	add(put(GOOD(eventfd(0, 0)), 25), EPOLLIN);
	put(25, 56);
	timer(0, 0, 25);
	GOOD(pipe(ends));
	put(ends[1], 57);
	add(put(ends[0], 26), EPOLLIN);
	put(26, 58);
	/* No ghosts: one that was closed and is back, one that nobody touched */
	add(put(GOOD(eventfd(9, 0)), 27), EPOLLOUT);
	put(27, 59);
	GOOD(dup2(59, 27));
	add(put(GOOD(eventfd(0, 0)), 28), EPOLLOUT);
	stay();
}

/* Low numbers, where whoever looks has his own: */
static void low(void)
{
	create(INSTANCE);
	for (int i = 3; i < 10; i++)
		if (i != device)
			add(put(GOOD(eventfd(i, 0)), i), EPOLLOUT);
	add(put(GOOD(eventfd(0, 0)), 2), EPOLLIN);
	put(2, 52);
	put(GOOD(eventfd(0, 0)), 2);
	stay();
}

/* Prints the child's number first. */
static void forked(void)
{
	int ends[2];
	char byte;

	create(INSTANCE);
	add(put(GOOD(eventfd(1, 0)), 20), EPOLLOUT);
	GOOD(dup2(INSTANCE, 11));
	GOOD(pipe(ends));
	const pid_t child = GOOD(fork());

	if (!child) {
		close(ends[0]);
		add(put(GOOD(eventfd(2, 0)), 21), EPOLLOUT);
		put(INSTANCE, 12);
		close(11);
		if (write(ends[1], "", 1) != 1)
			exit(1);
		pause();
	}
	close(ends[1]);
	if (read(ends[0], &byte, 1) != 1)
		exit(1);
	close(ends[0]);
	printf("%d\n", child);
	stay();
	kill(child, SIGKILL);
}

static void names(void)
{
	static const char path[] = "a\x1b[31m\n0000000000000000: 00000002 00000000 00010000 0001 01 1 @b\\\xff";

	GOOD(prctl(PR_SET_NAME, "e\x1b[2J\nx\xc2\x9b\xe2\x80\xae"));
	create(INSTANCE);
	add(local(path, sizeof(path) - 1, 20), EPOLLIN);
	GOOD(mkfifo("\x1b]0;f\x07\xc3\xbc", 0600));
	add(put(GOOD(open("\x1b]0;f\x07\xc3\xbc", O_RDWR)), 21), EPOLLIN);
	stay();
}

static void tcp(int port)
{
	create(INSTANCE);
	add(bound(SOCK_STREAM, INADDR_ANY, port, 20), EPOLLIN);
	stay();
}

static void fifo(const char *path)
{
	create(INSTANCE);
	GOOD(mkfifo(path, 0600));
	add(put(GOOD(open(path, O_RDWR)), 20), EPOLLIN);
	stay();
}

/* The last but one is a ghost. */
static void many(int n)
{
	const struct rlimit limit = { n + 100, n + 100 };

	GOOD(setrlimit(RLIMIT_NOFILE, &limit));
	create(INSTANCE);
	for (int i = 0; i < n; i++)
		add(put(GOOD(eventfd(0, 0)), 20 + i), EPOLLIN);
	put(18 + n, 50 + n);
	put(GOOD(eventfd(0, 0)), 18 + n);
	stay();
}

int main(int argc, char **argv)
{
	const char *which = argc > 1 ? argv[1] : "", *more = argc > 2 ? argv[2] : "0";

	if (!getenv("EPOLL"))
		device = open(MYEPOLL_DEVICE, O_RDWR);
	if (device >= 0)
		device = put(device, 9);
	signal(SIGPIPE, SIG_IGN);
	if (!strcmp(which, "sockets"))
		sockets();
	else if (!strcmp(which, "others"))
		others();
	else if (!strcmp(which, "states"))
		states();
	else if (!strcmp(which, "options"))
		options();
	else if (!strcmp(which, "ghosts"))
		ghosts();
	else if (!strcmp(which, "low"))
		low();
	else if (!strcmp(which, "forked"))
		forked();
	else if (!strcmp(which, "names"))
		names();
	else if (!strcmp(which, "tcp"))
		tcp(atoi(more));
	else if (!strcmp(which, "fifo"))
		fifo(more);
	else if (!strcmp(which, "many"))
		many(atoi(more));
	else if (!strcmp(which, "none"))
		stay();
	else
		return 1;
	return 0;
}
