// SPDX-License-Identifier: GPL-2.0
/*
 * prefork WORKERS [exclusive] - a server of many processes on one listening socket, for
 * tests/suites/bench/shares
 *
 * Prints its port, and then the process ID of each worker. A worker accepts one connection
 * for each event, sends its process ID in decimal, and closes.
 */
#define _GNU_SOURCE
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <signal.h>
#include <unistd.h>

static void die(const char *what)
{
	perror(what);
	exit(1);
}

static void work(int listener, uint32_t mask)
{
	struct epoll_event event = { .events = mask };
	int ep = epoll_create1(EPOLL_CLOEXEC);
	char pid[16];

	snprintf(pid, sizeof(pid), "%d", getpid());
	if (ep < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, listener, &event))
		die("epoll");
	for (;;) {
		int fd;

		if (epoll_wait(ep, &event, 1, -1) != 1)
			die("epoll_wait");
		fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC);
		if (fd < 0)
			continue;
		if (send(fd, pid, strlen(pid), MSG_NOSIGNAL) < 0)
			perror("send");
		close(fd);
	}
}

int main(int argc, char **argv)
{
	int workers = argc > 1 ? atoi(argv[1]) : 8;
	uint32_t mask = EPOLLIN | (argc > 2 && !strcmp(argv[2], "exclusive") ? EPOLLEXCLUSIVE : 0);
	struct sockaddr_in at = { .sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
	socklen_t len = sizeof(at);
	int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);

	if (listener < 0 || bind(listener, (struct sockaddr *)&at, len) ||
	    getsockname(listener, (struct sockaddr *)&at, &len) || listen(listener, 512))
		die("listen");
	printf("%d\n", ntohs(at.sin_port));
	for (int i = 0; i < workers; i++) {
		pid_t child = fork();

		if (!child) {
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			work(listener, mask);
		}
		printf("%d\n", child);
	}
	fflush(stdout);
	pause();
	return 0;
}
