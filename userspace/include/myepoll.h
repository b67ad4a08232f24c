/* SPDX-License-Identifier: MIT */
/*
 * myepoll.h - epoll's calls, served by the myepoll module
 *
 * Same signatures, same results and same errno as epoll_create(2),
 * epoll_ctl(2) and epoll_wait(2), on [myepoll] file descriptors. All are
 * thread-safe and, like epoll's, async-signal-safe. Where the device cannot be
 * opened, creating fails with open(2)'s errno on /dev/myepoll (ENOENT, ENXIO,
 * EACCES, ...); nothing falls back to the kernel's epoll in silence.
 */
#ifndef MYEPOLL_H
#define MYEPOLL_H

#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * myepoll_create1 - make an instance
 * @flags: 0 or EPOLL_CLOEXEC
 *
 * Returns a file descriptor, or -1 with errno of epoll_create1(2) or of
 * opening the device.
 */
int myepoll_create1(int flags);

/** myepoll_create - myepoll_create1(0); @size must be positive (EINVAL). */
int myepoll_create(int size);

/**
 * myepoll_ctl - change the interest list, see epoll_ctl(2)
 *
 * Through the ioctl door @event is read here, in the program: NULL is EFAULT,
 * another bad address the signal that reading it deserves.
 */
int myepoll_ctl(int epfd, int op, int fd, struct epoll_event *event);

/** myepoll_wait - wait for events, see epoll_wait(2); @timeout in ms, -1: forever. */
int myepoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout);

/** myepoll_pwait - with @sigmask (may be NULL) as the signal mask, see epoll_pwait(2). */
int myepoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout,
		  const sigset_t *sigmask);

/** myepoll_pwait2 - with a timeout in ns, NULL: forever, see epoll_pwait2(2). */
int myepoll_pwait2(int epfd, struct epoll_event *events, int maxevents,
		   const struct timespec *timeout, const sigset_t *sigmask);

/**
 * myepoll_is_instance - is @fd a [myepoll] instance?
 *
 * Returns 1 or 0, or -1 with errno EBADF. Costs a system call or two.
 */
int myepoll_is_instance(int fd);

/** enum myepoll_door - how calls reach the module; see uapi/myepoll.h */
enum myepoll_door {
	MYEPOLL_DOOR_UNKNOWN, /* nothing was created yet */
	MYEPOLL_DOOR_IOCTL,
	MYEPOLL_DOOR_FAST,
};

/**
 * myepoll_door - the door this process uses
 *
 * Chosen when the first instance is made: the fast one where it is open, and
 * ioctl(2) where it is not or where the environment says MYEPOLL_DOOR=ioctl.
 */
enum myepoll_door myepoll_door(void);

#ifdef __cplusplus
}
#endif

#endif /* MYEPOLL_H */
