// SPDX-License-Identifier: GPL-2.0
// A library that is preloaded behind ours, as somebody's tracer is: it notes who is
// called, and calls who comes next.
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

char next_calls[1024];

static void note(const char *name)
{
	strcat(strcat(next_calls, name), " ");
}

#define NEXT(name) (note(#name), (__typeof__(&name))dlsym(RTLD_NEXT, #name))

int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return NEXT(epoll_ctl)(epfd, op, fd, event);
}

int epoll_wait(int epfd, struct epoll_event *events, int max, int timeout)
{
	return NEXT(epoll_wait)(epfd, events, max, timeout);
}

int epoll_pwait(int epfd, struct epoll_event *events, int max, int timeout, const sigset_t *mask)
{
	return NEXT(epoll_pwait)(epfd, events, max, timeout, mask);
}

int epoll_pwait2(int epfd, struct epoll_event *events, int max, const struct timespec *timeout,
		 const sigset_t *mask)
{
	return NEXT(epoll_pwait2)(epfd, events, max, timeout, mask);
}

long syscall(long nr, ...)
{
	long (*next)(long, ...) = (long (*)(long, ...))dlsym(RTLD_NEXT, "syscall");
	char name[32];
	long a[6];
	va_list ap;

	snprintf(name, sizeof(name), "syscall:%ld", nr);
	note(name);
	va_start(ap, nr);
	for (int i = 0; i < 6; i++)
		a[i] = va_arg(ap, long);
	va_end(ap);
	return next(nr, a[0], a[1], a[2], a[3], a[4], a[5]);
}
