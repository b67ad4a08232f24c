// SPDX-License-Identifier: GPL-2.0
/*
 * Event loops with a fault each, and a sound twin of each that does the same work.
 *
 *	loops faulty NAME SECONDS
 *	loops sound NAME SECONDS
 *	loops names
 *
 * Somebody on the other end makes the work: a thread, or a process where workers are
 * processes.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WORKERS 4

static bool faulty;
static double end;
static int ep;

static void check(bool good, const char *what)
{
	if (good)
		return;
	perror(what);
	exit(2);
}

static double now(void)
{
	struct timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec + ts.tv_nsec / 1e9;
}

static void nap(double seconds)
{
	struct timespec ts = { (time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9) };

	nanosleep(&ts, NULL);
}

static void change(int op, int fd, uint32_t events)
{
	struct epoll_event event = { .events = events, .data.fd = fd };

	check(!epoll_ctl(ep, op, fd, &event), "epoll_ctl");
}

/* The next event, or none, before the end. */
static int next(struct epoll_event *events, int room)
{
	int n;

	do
		n = epoll_wait(ep, events, room, 200);
	while (n < 0 && errno == EINTR);
	check(n >= 0, "epoll_wait");
	return n;
}

static void nonblocking(int fd)
{
	check(!fcntl(fd, F_SETFL, O_NONBLOCK), "fcntl");
}

static void pair(int ends[2])
{
	check(!socketpair(AF_UNIX, SOCK_STREAM, 0, ends), "socketpair");
	nonblocking(ends[0]);
}

/* Reads all; returns how much, or 0 at the end of the file. */
static ssize_t drain(int fd)
{
	static __thread char buffer[65536];
	ssize_t n, sum = 0;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		sum += n;
	return n == 0 ? 0 : sum;
}

/* Writes so much, so often. */
struct writer {
	int fd;
	size_t size;
	double every;
};

static void *write_on(void *arg)
{
	static const char nothing[8192];
	const struct writer *w = arg;

	while (now() < end) {
		if (send(w->fd, nothing, w->size, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno == EPIPE)
			break;
		nap(w->every);
	}
	return NULL;
}

static pthread_t start(void *(*body)(void *), void *arg)
{
	pthread_t thread;

	check(!pthread_create(&thread, NULL, body, arg), "pthread_create");
	return thread;
}

static void write_to(int fd, size_t size, double every)
{
	static struct writer w;

	w = (struct writer){ fd, size, every };
	start(write_on, &w);
}

/* --- level-triggered, and not consumed */

static void unread(void)
{
	struct epoll_event event;
	int ends[2];

	pair(ends);
	change(EPOLL_CTL_ADD, ends[0], EPOLLIN);
	write_to(ends[1], 1, 0.005);
	while (now() < end)
		if (next(&event, 1) && !faulty)
			drain(ends[0]);
}

/* Clients that come, say something and go. */
static int backdoor[2];

static void *come_and_go(void *arg)
{
	(void)arg;
	while (now() < end) {
		int ends[2];

		pair(ends);
		check(write(ends[1], "hello", 5) == 5, "write");
		check(write(backdoor[1], &ends[0], sizeof(int)) == sizeof(int), "write");
		close(ends[1]);
		nap(0.005);
	}
	return NULL;
}

static void hup(void)
{
	struct epoll_event events[64];
	int kept = -1;

	pair(backdoor);
	change(EPOLL_CTL_ADD, backdoor[0], EPOLLIN);
	start(come_and_go, NULL);
	while (now() < end) {
		const int n = next(events, 64);

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == backdoor[0]) {
				while (read(backdoor[0], &fd, sizeof(fd)) == sizeof(fd))
					change(EPOLL_CTL_ADD, fd, EPOLLIN);
			} else if (!drain(fd)) {
				if (faulty && kept < 0)
					kept = fd; /* and it is forgotten */
				else if (fd != kept)
					close(fd);
			}
		}
	}
}

static void out(void)
{
	struct epoll_event event;
	int ends[2];

	pair(ends);
	change(EPOLL_CTL_ADD, ends[0], faulty ? EPOLLIN | EPOLLOUT : EPOLLIN);
	write_to(ends[1], 100, 0.002);
	while (now() < end) {
		static char waste[65536];

		if (next(&event, 1) && event.events & EPOLLIN) {
			drain(ends[0]);
			check(write(ends[0], waste, 1000) == 1000, "write");
		}
		while (recv(ends[1], waste, sizeof(waste), MSG_DONTWAIT) > 0)
			;
	}
}

/* --- timeouts */

static void poll0(void)
{
	struct epoll_event event;
	int ends[2];

	pair(ends);
	change(EPOLL_CTL_ADD, ends[0], EPOLLIN);
	write_to(ends[1], 100, 0.02);
	while (now() < end)
		if (epoll_wait(ep, &event, 1, faulty ? 0 : 100) > 0)
			drain(ends[0]);
}

static void early(void)
{
	const double period = 0.0107;
	double due = now() + period;
	struct epoll_event event;

	while (now() < end) {
		const double left = due - now();
		const int ms = left <= 0 ? 0 : (int)(left * 1000) + !faulty;

		epoll_wait(ep, &event, 1, ms);
		while (due <= now())
			due += period;
	}
}

/* --- watches that outlive their descriptor */

static void ghost(void)
{
	struct epoll_event event;
	int ends[2], again;

	pair(ends);
	change(EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET);
	again = dup(ends[0]);
	if (!faulty) {
		change(EPOLL_CTL_DEL, ends[0], 0);
		change(EPOLL_CTL_ADD, again, EPOLLIN | EPOLLET);
	}
	close(ends[0]);
	write_to(ends[1], 100, 0.002);
	while (now() < end)
		if (next(&event, 1))
			drain(again);
}

/* --- workers */

static int listen_on(struct sockaddr_in *at, bool share)
{
	const int fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), on = 1;
	socklen_t length = sizeof(*at);

	check(!share || !setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof(on)), "SO_REUSEPORT");
	check(!bind(fd, (struct sockaddr *)at, length) && !listen(fd, 128), "listen");
	check(!getsockname(fd, (struct sockaddr *)at, &length), "getsockname");
	return fd;
}

static void work(int listener, uint32_t flags, bool in_turn)
{
	struct epoll_event event;
	int fd;

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	ep = epoll_create1(0);
	check(ep >= 0, "epoll_create1");
	change(EPOLL_CTL_ADD, listener, EPOLLIN | flags);
	while (now() < end) {
		if (!next(&event, 1))
			continue;
		fd = accept(listener, NULL, NULL);
		if (fd < 0)
			continue;
		close(fd);
		if (in_turn) {
			change(EPOLL_CTL_DEL, listener, 0);
			change(EPOLL_CTL_ADD, listener, EPOLLIN | flags);
		}
	}
	_exit(0);
}

static void workers(uint32_t flags, bool in_turn, bool apart)
{
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	int listener = -1;

	close(ep);
	for (int i = 0; i < WORKERS; i++) {
		if (!i || apart)
			listener = listen_on(&at, apart);
		if (!fork())
			work(listener, flags, in_turn);
		if (apart)
			close(listener);
	}
	nap(0.2);
	while (now() < end) {
		const int fd = socket(AF_INET, SOCK_STREAM, 0);

		if (!connect(fd, (struct sockaddr *)&at, sizeof(at))) {
			char byte;

			if (read(fd, &byte, 1) < 0)
				nap(0.001);
		}
		close(fd);
		nap(0.001);
	}
	while (wait(NULL) > 0)
		;
}

static void herd(void)
{
	workers(0, false, !faulty);
}

static void uneven(void)
{
	workers(EPOLLEXCLUSIVE, !faulty, false);
}

static int shared[2];

static void *wait_with_others(void *arg)
{
	struct epoll_event event;
	char buffer[4096];

	(void)arg;
	while (now() < end) {
		if (!next(&event, 1))
			continue;
		nap(0.0005); /* what the work needs first */
		while (read(shared[0], buffer, sizeof(buffer)) > 0)
			;
		if (!faulty)
			change(EPOLL_CTL_MOD, shared[0], EPOLLIN | EPOLLONESHOT);
	}
	return NULL;
}

static void threads(void)
{
	pthread_t all[WORKERS];

	pair(shared);
	change(EPOLL_CTL_ADD, shared[0], EPOLLIN | (faulty ? 0 : EPOLLONESHOT));
	write_to(shared[1], 100, 0.003);
	for (int i = 0; i < WORKERS; i++)
		all[i] = start(wait_with_others, NULL);
	for (int i = 0; i < WORKERS; i++)
		pthread_join(all[i], NULL);
}

/* --- changes */

static void same(void)
{
	struct epoll_event event;
	int ends[2];

	pair(ends);
	change(EPOLL_CTL_ADD, ends[0], EPOLLIN);
	write_to(ends[1], 100, 0.002);
	while (now() < end)
		if (next(&event, 1)) {
			drain(ends[0]);
			if (faulty)
				change(EPOLL_CTL_MOD, ends[0], EPOLLIN);
		}
}

static void changes(void)
{
	struct epoll_event event;
	int ends[2];

	pair(ends);
	change(EPOLL_CTL_ADD, ends[0], EPOLLIN);
	write_to(ends[1], 100, 0.002);
	while (now() < end)
		if (next(&event, 1)) {
			drain(ends[0]);
			/* A library that tells epoll of each state of a request */
			for (int i = 0; faulty && i < 2; i++) {
				change(EPOLL_CTL_MOD, ends[0], EPOLLOUT);
				change(EPOLL_CTL_MOD, ends[0], EPOLLIN);
			}
		}
}

/* --- room */

enum { MANY = 32 };
static int many[MANY];

static void *signal_many(void *arg)
{
	(void)arg;
	while (now() < end) {
		for (int i = 0; i < MANY; i++)
			eventfd_write(many[i], 1);
		nap(0.01);
	}
	return NULL;
}

static void room(void)
{
	struct epoll_event events[64];

	for (int i = 0; i < MANY; i++) {
		many[i] = eventfd(0, EFD_NONBLOCK);
		change(EPOLL_CTL_ADD, many[i], EPOLLIN);
	}
	start(signal_many, NULL);
	while (now() < end) {
		const int n = next(events, faulty ? 1 : 64);

		for (int i = 0; i < n; i++) {
			eventfd_t value;

			eventfd_read(events[i].data.fd, &value);
		}
	}
}

/* --- edge-triggered, one-shot */

static void undrained(void)
{
	struct epoll_event event;
	char buffer[1000];
	int ends[2];

	pair(ends);
	change(EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLET);
	write_to(ends[1], 4000, 0.004);
	while (now() < end) {
		if (!next(&event, 1))
			continue;
		if (!faulty) {
			drain(ends[0]);
		} else {
			if (read(ends[0], buffer, sizeof(buffer)) < 0)
				continue;
			change(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLET);
		}
	}
}

static void oneshot(void)
{
	struct epoll_event event;
	int ends[2], n = 0;

	pair(ends);
	change(EPOLL_CTL_ADD, ends[0], EPOLLIN | EPOLLONESHOT);
	write_to(ends[1], 100, 0.05);
	while (now() < end)
		if (next(&event, 1)) {
			drain(ends[0]);
			if (!faulty || ++n < 5)
				change(EPOLL_CTL_MOD, ends[0], EPOLLIN | EPOLLONESHOT);
		}
}

/* --- stuck */

static void handle_messages(void (*handle)(bool last))
{
	struct epoll_event event;
	int ends[2], n = 0;

	pair(ends);
	change(EPOLL_CTL_ADD, ends[0], EPOLLIN);
	write_to(ends[1], 100, 0.05);
	while (now() < end)
		if (next(&event, 1)) {
			drain(ends[0]);
			handle(faulty && ++n == 5);
		}
}

static void do_sleep(bool long_)
{
	nap(long_ ? 3600 : 0.02);
}

static void sleeps(void)
{
	handle_messages(do_sleep);
}

static void do_compute(bool long_)
{
	const double until = now() + (long_ ? 3600 : 0.005);

	while (now() < until)
		;
}

static void computes(void)
{
	handle_messages(do_compute);
}

static const struct {
	const char *name;
	const char *finding;	/* what the doctor has to call it */
	void (*body)(void);
} all[] = {
	{ "unread", "spin", unread },
	{ "hup", "spin", hup },
	{ "out", "spin", out },
	{ "poll0", "empty-waits", poll0 },
	{ "early", "early-waits", early },
	{ "ghost", "ghost", ghost },
	{ "herd", "herd", herd },
	{ "threads", "herd", threads },
	{ "uneven", "uneven", uneven },
	{ "same", "same-change", same },
	{ "changes", "many-changes", changes },
	{ "room", "small-room", room },
	{ "undrained", "not-drained", undrained },
	{ "oneshot", "not-rearmed", oneshot },
	{ "sleeps", "stuck", sleeps },
	{ "computes", "stuck", computes },
};

int main(int argc, char **argv)
{
	if (argc == 2 && !strcmp(argv[1], "names"))
		for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
			printf("%s %s\n", all[i].name, all[i].finding);
	if (argc != 4)
		return argc != 2;
	signal(SIGPIPE, SIG_IGN);
	faulty = !strcmp(argv[1], "faulty");
	end = now() + atof(argv[3]);
	ep = epoll_create1(0);
	check(ep >= 0, "epoll_create1");
	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++)
		if (!strcmp(argv[2], all[i].name)) {
			all[i].body();
			return 0;
		}
	fprintf(stderr, "loops: no %s\n", argv[2]);
	return 2;
}
