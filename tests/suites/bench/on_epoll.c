// SPDX-License-Identifier: GPL-2.0
/*
 * on_epoll.c - libmyepoll's functions on the kernel's epoll, so that what is written for
 * the C++ library can be counted on both
 */
#include <errno.h>

#include "userspace/include/myepoll.h"

int myepoll_create1(int flags)
{
	return epoll_create1(flags);
}

int myepoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return epoll_ctl(epfd, op, fd, event);
}

int myepoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
	return epoll_wait(epfd, events, maxevents, timeout);
}

int myepoll_pwait2(int epfd, struct epoll_event *events, int maxevents,
		   const struct timespec *timeout, const sigset_t *sigmask)
{
	return epoll_pwait2(epfd, events, maxevents, timeout, sigmask);
}

/* What epoll does not have. */

static int nothing(void)
{
	errno = ENOTTY;
	return -1;
}

int myepoll_features(int epfd, uint64_t *features)
{
	(void)epfd;
	(void)features;
	return nothing();
}

int myepoll_turn(int epfd, struct myepoll_turn *turn)
{
	(void)epfd;
	(void)turn;
	return nothing();
}

int myepoll_list(int epfd, struct myepoll_watch *watches, unsigned int room)
{
	(void)epfd;
	(void)watches;
	(void)room;
	return nothing();
}

int myepoll_set_options(int epfd, const struct myepoll_options *options)
{
	(void)epfd;
	(void)options;
	return nothing();
}

int myepoll_get_options(int epfd, struct myepoll_options *options)
{
	(void)epfd;
	(void)options;
	return nothing();
}
