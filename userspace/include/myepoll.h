/* SPDX-License-Identifier: MIT */
/*
 * myepoll.h - epoll's calls, served by the myepoll module
 *
 * Same signatures, same results and same errno as epoll_create(2),
 * epoll_ctl(2) and epoll_wait(2), on [myepoll] file descriptors. All are
 * thread-safe and, like epoll's, async-signal-safe. Where the device cannot be
 * opened, creating fails with open(2)'s errno on /dev/myepoll (ENOENT, ENXIO,
 * EACCES, ...); nothing falls back to the kernel's epoll in silence.
 *
 * On a file descriptor that is no [myepoll] instance, calls do nothing and fail as
 * epoll's do on what is no epoll. That goes for instances of the kernel's epoll too.
 */
#ifndef MYEPOLL_H
#define MYEPOLL_H

#include <signal.h>
#include <sys/epoll.h>
#include <time.h>

/* As libc declares epoll's functions; those that wait are cancellation points and unwind. */
#if defined(__THROW)
#define MYEPOLL_NOTHROW __THROW
#elif defined(__cplusplus)
#define MYEPOLL_NOTHROW noexcept
#else
#define MYEPOLL_NOTHROW
#endif

#ifdef __cplusplus
extern "C" {
#endif

/**
 * myepoll_create1 - make an instance
 * @flags: 0 or EPOLL_CLOEXEC
 *
 * Returns a file descriptor, the lowest that is free, or -1 with errno of
 * epoll_create1(2) or of opening the device. For a moment it takes a second
 * descriptor. If a single one is left, that is EMFILE. A process that another thread
 * forks in that moment keeps the second one until it calls exec or exits.
 */
int myepoll_create1(int flags) MYEPOLL_NOTHROW;

/** myepoll_create - myepoll_create1(0); @size must be positive (EINVAL). */
int myepoll_create(int size) MYEPOLL_NOTHROW;

/**
 * myepoll_ctl - change the interest list, see epoll_ctl(2)
 *
 * Through the ioctl door @event is read in the program. NULL is EFAULT, and another
 * bad address is SIGSEGV.
 */
int myepoll_ctl(int epfd, int op, int fd, struct epoll_event *event) MYEPOLL_NOTHROW;

/**
 * myepoll_wait - wait for events, see epoll_wait(2); @timeout in ms, -1: forever
 *
 * This and the next two are cancellation points. A thread that is cancelled
 * just as the call returns loses the events that it was about to return.
 */
int myepoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout);

/** myepoll_pwait - with @sigmask (may be NULL) as the signal mask, see epoll_pwait(2). */
int myepoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout,
		  const sigset_t *sigmask);

/**
 * myepoll_pwait2 - with a timeout in ns, NULL: forever, see epoll_pwait2(2)
 *
 * @timeout and, here and above, @sigmask are read in the program, like @event.
 * Without a mask and with whole milliseconds it takes the fast door too.
 */
int myepoll_pwait2(int epfd, struct epoll_event *events, int maxevents,
		   const struct timespec *timeout, const sigset_t *sigmask);

/**
 * myepoll_is_instance - is @fd a [myepoll] instance?
 *
 * Returns 1 or 0, or -1 with errno EBADF. Costs a system call or two.
 */
int myepoll_is_instance(int fd) MYEPOLL_NOTHROW;

/** enum myepoll_door - how calls reach the module; see uapi/myepoll.h */
enum myepoll_door {
	MYEPOLL_DOOR_UNKNOWN, /* no instance was seen yet */
	MYEPOLL_DOOR_IOCTL,
	MYEPOLL_DOOR_FAST,
};

/**
 * myepoll_door - the door this process uses
 *
 * Chosen when the first instance is made or, inherited or received, first used.
 * It is the fast one unless that is shut, or the environment said
 * MYEPOLL_DOOR=ioctl when the program started, or the program runs under
 * MemorySanitizer, ThreadSanitizer or Valgrind.
 */
enum myepoll_door myepoll_door(void) MYEPOLL_NOTHROW;

#ifdef __cplusplus
}
#endif

#endif /* MYEPOLL_H */
