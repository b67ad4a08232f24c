// SPDX-License-Identifier: GPL-2.0
// An echo server and its clients, to be linked statically: there is nothing to preload.
//
// usage: echo serve PORT
//        echo load PORT CLIENTS MESSAGES
//
// The server has two threads, an instance each; the listening socket is in both
// (EPOLLEXCLUSIVE), connections are edge-triggered, and SIGTERM, which ends it, comes by
// a signalfd that both watch. The clients are one thread, which waits with a signal mask
// and arms each connection anew for each message (EPOLLONESHOT). It prints what came back
// wrong, if so, and "N messages", and then waits for its input to end with all connections
// open.
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_MESSAGE 4096
#define MAX_EVENTS 16

static int listener, signals;

static int must(int r, const char *what)
{
	if (r < 0) {
		perror(what);
		exit(1);
	}
	return r;
}

static void watch(int epfd, int op, int fd, uint32_t events, uint64_t data)
{
	struct epoll_event event = { .events = events, .data.u64 = data };

	must(epoll_ctl(epfd, op, fd, &event), "epoll_ctl");
}

static struct sockaddr_in at(const char *port)
{
	return (struct sockaddr_in){
		.sin_family = AF_INET,
		.sin_port = htons((uint16_t)atoi(port)),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK),
	};
}

// The server, whose data are descriptors

// Clients read all of an answer before they send more, so it fits into the socket.
static void answer(int fd)
{
	static _Thread_local char buf[MAX_MESSAGE];
	ssize_t n;

	while ((n = read(fd, buf, sizeof(buf))) > 0)
		if (write(fd, buf, (size_t)n) != n)
			break;
	if (n == 0 || errno != EAGAIN)
		close(fd);
}

static void *serve_some(void *unused)
{
	int epfd = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");

	watch(epfd, EPOLL_CTL_ADD, listener, EPOLLIN | EPOLLEXCLUSIVE, (uint64_t)listener);
	watch(epfd, EPOLL_CTL_ADD, signals, EPOLLIN, (uint64_t)signals);
	for (;;) {
		struct epoll_event events[MAX_EVENTS];
		int i, n = epoll_wait(epfd, events, MAX_EVENTS, -1);

		must(n, "epoll_wait");
		for (i = 0; i < n; i++) {
			int fd = (int)events[i].data.u64;

			if (fd == signals)
				return unused;
			if (fd == listener) {
				fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK);
				if (fd >= 0) // or another thread has it
					watch(epfd, EPOLL_CTL_ADD, fd,
					      EPOLLIN | EPOLLRDHUP | EPOLLET, (uint64_t)fd);
			} else {
				answer(fd);
			}
		}
	}
}

static int serve(const char *port)
{
	struct sockaddr_in address = at(port);
	pthread_t thread;
	sigset_t set;
	int one = 1;

	sigemptyset(&set);
	sigaddset(&set, SIGTERM);
	sigprocmask(SIG_BLOCK, &set, NULL);
	signals = must(signalfd(-1, &set, SFD_NONBLOCK), "signalfd");

	listener = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
	setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
	must(bind(listener, (struct sockaddr *)&address, sizeof(address)), "bind");
	must(listen(listener, 128), "listen");

	if (pthread_create(&thread, NULL, serve_some, NULL)) {
		fputs("no thread\n", stderr);
		return 1;
	}
	serve_some(NULL);
	pthread_join(thread, NULL);
	return 0;
}

// The clients, whose data are indices

struct client {
	int fd, sent;
	size_t size, got;
	char message[MAX_MESSAGE];
};

static void send_next(struct client *client)
{
	size_t i;

	client->sent++;
	client->got = 0;
	client->size = 1 + (size_t)rand() % MAX_MESSAGE;
	for (i = 0; i < client->size; i++)
		client->message[i] = (char)rand();
	if (write(client->fd, client->message, client->size) != (ssize_t)client->size) {
		perror("write");
		exit(1);
	}
}

// Is it all there, and what was sent?
static bool receive(struct client *client)
{
	char buf[MAX_MESSAGE];
	ssize_t n;

	n = must((int)read(client->fd, buf, client->size - client->got), "read");
	if (n == 0 || memcmp(buf, client->message + client->got, (size_t)n)) {
		puts("error: not what was sent");
		exit(1);
	}
	client->got += (size_t)n;
	return client->got == client->size;
}

static int load(const char *port, int count, int messages)
{
	struct client *clients = calloc((size_t)count, sizeof(*clients));
	int epfd = must(epoll_create(1), "epoll_create");
	struct sockaddr_in address = at(port);
	long done = 0;
	sigset_t set;
	int i, left = count;

	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	for (i = 0; i < count; i++) {
		clients[i].fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
		must(connect(clients[i].fd, (struct sockaddr *)&address, sizeof(address)),
		     "connect");
		watch(epfd, EPOLL_CTL_ADD, clients[i].fd, EPOLLIN | EPOLLONESHOT, (uint64_t)i);
		send_next(&clients[i]);
	}
	while (left) {
		struct epoll_event events[MAX_EVENTS];
		int n = must(epoll_pwait(epfd, events, MAX_EVENTS, 60000, &set), "epoll_pwait");

		if (n == 0) {
			puts("error: no answer for a minute");
			return 1;
		}
		for (i = 0; i < n; i++) {
			struct client *client = &clients[events[i].data.u64];

			if (receive(client)) {
				done++;
				if (client->sent == messages) {
					left--;
					continue;
				}
				send_next(client);
			}
			watch(epfd, EPOLL_CTL_MOD, client->fd, EPOLLIN | EPOLLONESHOT,
			      events[i].data.u64);
		}
	}
	printf("%ld messages\n", done);
	fflush(stdout);
	while (read(0, &done, sizeof(done)) > 0)
		;
	return 0;
}

int main(int argc, char **argv)
{
	if (argc == 3 && !strcmp(argv[1], "serve"))
		return serve(argv[2]);
	if (argc == 5 && !strcmp(argv[1], "load"))
		return load(argv[2], atoi(argv[3]), atoi(argv[4]));
	fputs("usage: echo serve PORT | echo load PORT CLIENTS MESSAGES\n", stderr);
	return 2;
}
