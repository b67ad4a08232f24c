/* SPDX-License-Identifier: MIT */
/* A program of C that somebody else wrote: one event from an eventfd, or 2 without a device. */
#include <myepoll.h>

#include <stdio.h>
#include <sys/eventfd.h>

int main(void)
{
	struct epoll_event event = {.events = EPOLLIN, .data.u64 = 42}, got;
	int epfd = myepoll_create1(EPOLL_CLOEXEC);
	int fd = eventfd(1, EFD_CLOEXEC);

	if (epfd < 0) {
		perror("myepoll_create1");
		return 2;
	}
	if (myepoll_ctl(epfd, EPOLL_CTL_ADD, fd, &event) ||
	    myepoll_wait(epfd, &got, 1, 1000) != 1 || got.data.u64 != 42) {
		perror("no event");
		return 1;
	}
	puts("an event");
	return 0;
}
