// SPDX-License-Identifier: GPL-2.0
// A library whose constructor uses epoll, before that of a preloaded library.
#define _GNU_SOURCE
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

int early_instance = -1, early_events = -1;

__attribute__((constructor)) static void early(void)
{
	struct epoll_event e = { .events = EPOLLIN, .data.u64 = 1 }, got[1];
	int fd = eventfd(1, EFD_CLOEXEC);

	early_instance = epoll_create1(EPOLL_CLOEXEC);
	if (!epoll_ctl(early_instance, EPOLL_CTL_ADD, fd, &e))
		early_events = epoll_wait(early_instance, got, 1, 0);
	close(fd);
}
