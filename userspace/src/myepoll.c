// SPDX-License-Identifier: MIT
/*
 * libmyepoll - the C library, see include/myepoll.h
 *
 * Every call goes to the door first. Only where the answer leaves open whether
 * the descriptor is the module's does the second half of this file run, which
 * finds the errno that epoll has for a descriptor that is no epoll.
 */
#define _GNU_SOURCE
#pragma GCC visibility push(default)
#include "../include/myepoll.h"
#pragma GCC visibility pop

#define DOOR_EXACT_EFAULT 0
#include "door.h"
#include "cancel.h"

/*
 * epoll_ctl(2) itself knows the order of EFAULT, EBADF, EPERM and EINVAL, and
 * with an operation that does not exist it changes nothing, not even where
 * @epfd is an instance of the kernel's own. DEL is the operation that does not
 * read its event, this one does.
 */
static __attribute__((cold, noinline)) long
foreign_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	struct epoll_event unread = { .events = 0 };
	long r;

	r = sys4(__NR_epoll_ctl, epfd, -1, fd, (long)(op == EPOLL_CTL_DEL ? &unread : event));
	return r < 0 ? r : -EINVAL;
}

/*
 * Here the kernel cannot be asked: on an instance of its own it would wait.
 * @r is what the door said, and EBADF can have had one reason only.
 */
static __attribute__((cold, noinline)) long
foreign_wait(long r, const struct epoll_event *events, int maxevents)
{
	uintptr_t start = (uintptr_t)events, end;

	if (r == -EBADF)
		return r;
	if (maxevents <= 0 || maxevents > INT_MAX / (int)sizeof(*events))
		return -EINVAL;
	/* access_ok(): 64-bit programs live in the lower half */
	if (__builtin_add_overflow(start, maxevents * sizeof(*events), &end) ||
	    (sizeof(end) == 8 && end > UINTPTR_MAX / 2 + 1))
		return -EFAULT;
	return -EINVAL;
}

int myepoll_create1(int flags)
{
	bool absent;

	return sys_return(door_create(flags, &absent));
}

int myepoll_create(int size)
{
	return size > 0 ? myepoll_create1(0) : sys_return(-EINVAL);
}

/* What the fast path did not finish: the fast door said @r, or was not asked. */
static __attribute__((noinline)) int
ctl_general(int epfd, int op, int fd, struct epoll_event *event, long r)
{
	if (door_answered(r))
		return sys_return(r);
	if (unlikely(door_which() == MYEPOLL_DOOR_UNKNOWN)) {
		r = door_learn(epfd);
		if (!r)
			r = door_ctl(epfd, op, fd, event);
	} else if (door_shut(r)) {
		r = door_ioctl_ctl(epfd, op, fd, event);
	}
	if (unlikely(!door_answered(r))) {
		if (!door_is_instance(epfd))
			r = foreign_ctl(epfd, op, fd, event);
		else if (r == -EINVAL)
			r = door_retried(door_ioctl_ctl(epfd, op, fd, event));
	}
	return sys_return(r);
}

/*
 * The fast paths, and all that most calls run. What may follow the system call
 * is the last thing done, a jump: so next to nothing has to be saved for it.
 */
int myepoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	long r = DOOR_NOT_ASKED;

	if (likely(door_which() == MYEPOLL_DOOR_FAST)) {
		r = door_fast(epfd, event, MYEPOLL_FAST_ARGS(fd, op), MYEPOLL_FAST_CTL);
		if (likely(!r))
			return 0;
	}
	return ctl_general(epfd, op, fd, event, r);
}

static int pwait_ns(int epfd, struct epoll_event *events, int maxevents, int64_t ns,
		    const sigset_t *mask)
{
	long r = 0;

	if (unlikely(door_which() == MYEPOLL_DOOR_UNKNOWN))
		r = door_learn(epfd);
	if (likely(!r))
		r = door_pwait(epfd, events, maxevents, ns, mask);
	if (unlikely(r == -EINVAL) && door_is_instance(epfd))
		r = door_retried(door_wait_ns(epfd, events, maxevents, ns, mask));
	if (unlikely(!door_answered(r)))
		r = foreign_wait(r, events, maxevents);
	return sys_return(r);
}

/* The same for a wait; a door that did not answer has done nothing, and is asked again. */
static __attribute__((noinline)) int
wait_ms_general(int epfd, struct epoll_event *events, int64_t args, long r)
{
	if (!door_answered(r))
		return pwait_ns(epfd, events, (int)args, door_ns((int)(args >> 32)), NULL);
	return sys_return(r);
}

static inline int wait_ms(int epfd, struct epoll_event *events, int64_t args)
{
	long r = DOOR_NOT_ASKED;

	if (likely(door_which() == MYEPOLL_DOOR_FAST)) {
		r = door_fast(epfd, events, args, MYEPOLL_FAST_WAIT);
		if (likely(r >= 0))
			return (int)r;
	}
	return wait_ms_general(epfd, events, args, r);
}

int myepoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
	return cancel_wait(epfd, events, maxevents, timeout);
}

int myepoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout,
		  const sigset_t *sigmask)
{
	int cancel, r;

	if (!sigmask)
		return cancel_wait(epfd, events, maxevents, timeout);
	cancel = cancel_enter(timeout != 0);
	r = pwait_ns(epfd, events, maxevents, door_ns(timeout), sigmask);
	cancel_leave(cancel);
	return r;
}

int myepoll_pwait2(int epfd, struct epoll_event *events, int maxevents,
		   const struct timespec *timeout, const sigset_t *sigmask)
{
	int64_t ns;
	long bad = door_timeout(timeout, &ns);
	int cancel, r;

	if (unlikely(bad))
		return sys_return(bad);
	cancel = cancel_enter(ns != 0);
	r = pwait_ns(epfd, events, maxevents, ns, sigmask);
	cancel_leave(cancel);
	return r;
}

int myepoll_is_instance(int fd)
{
	__u64 features;
	long r = door_identify(fd, &features);

	return r == -EBADF ? sys_return(r) : !r;
}

enum myepoll_door myepoll_door(void)
{
	return (enum myepoll_door)door_which();
}
