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
 *
 * What epoll does not have comes after its calls. The structures and constants for that,
 * MYEPOLL_CTL_SET and the like, are the module's own: <myepoll/uapi.h> is its header, which
 * may also be included from elsewhere, before or after this one.
 */
#ifndef MYEPOLL_H
#define MYEPOLL_H

#include <signal.h>
#include <stdint.h>
#include <sys/epoll.h>
#include <time.h>

#include "myepoll/uapi.h"

/* As libc declares epoll's functions; those that wait are cancellation points and unwind. */
#if defined(__THROW)
#define MYEPOLL_NOTHROW __THROW
#elif defined(__cplusplus) && __cplusplus >= 201103L
#define MYEPOLL_NOTHROW noexcept
#elif defined(__cplusplus)
#define MYEPOLL_NOTHROW throw()
#else
#define MYEPOLL_NOTHROW
#endif

#ifdef __cplusplus
extern "C" {
#if defined(__GNUC__)
/* Functions and the structures of uapi.h share names, as stat(2) and struct stat do. */
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wshadow"
#endif
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
 *
 * @op may also be one that epoll does not have (MYEPOLL_FEATURE_OPS; EINVAL from a module
 * without them):
 *
 *   MYEPOLL_CTL_SET		ADD, or MOD if @fd is watched already
 *   MYEPOLL_CTL_DISABLE	no event of the one-shot watch @fd is reported any more; EBUSY
 *				if somebody has one, who learns of it by ECANCELED when he
 *				arms the watch again; EALREADY if it was disabled before.
 *				@event is ignored, and may be NULL
 *   MYEPOLL_CTL_DROP		remove all watches whose token is @event->data, or 0 where
 *				@event is NULL; @fd has to be -1. ENOENT if there is none
 *
 * uapi.h has the whole of it under "Beyond epoll".
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
	MYEPOLL_DOOR_FAST
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

/*
 * Beyond epoll
 *
 * A module that is older than one of these calls gives ENOTTY, on instances;
 * myepoll_features() says beforehand what it has.
 */

/**
 * myepoll_features - what the module can do that @epfd, an instance, belongs to
 * @features: written: MYEPOLL_FEATURE_* bits
 *
 * Returns 0, or -1 with errno EBADF or EINVAL (no instance).
 */
int myepoll_features(int epfd, uint64_t *features) MYEPOLL_NOTHROW;

/**
 * myepoll_turn - make changes, and then wait, in one call (MYEPOLL_FEATURE_TURN)
 * @turn: see struct myepoll_turn; may be used again for the next turn
 *
 *	struct myepoll_turn turn = {
 *		.changes = (uintptr_t)changes, .nchanges = n,
 *		.events = (uintptr_t)events, .maxevents = 64,
 *		.timeout = -1, // nanoseconds
 *	};
 *	int got = myepoll_turn(epfd, &turn);
 *
 * Returns the number of events. A change that fails is no failure of the call: @turn->failed
 * counts them, each has its result in the array, and the wait has only looked. Or -1, with
 * errno of myepoll_wait() (EINTR too, with all changes made); in that case @turn->done changes
 * have been made or tried. EINVAL also for an argument that is wrong, with nothing done.
 *
 * @turn is read in the program. It is a cancellation point, unless its maxevents is 0. A thread
 * that is cancelled while it waits has made its changes.
 */
int myepoll_turn(int epfd, struct myepoll_turn *turn);

/**
 * myepoll_list - the interest list, oldest watch first (MYEPOLL_FEATURE_OPS)
 * @watches: room for @room of them; may be NULL if that is 0
 *
 * Returns how many watches there are, which may be more than @room; or -1 with errno EBADF,
 * EINVAL (no instance), EFAULT. Others may add and remove meanwhile.
 */
int myepoll_list(int epfd, struct myepoll_watch *watches, unsigned int room) MYEPOLL_NOTHROW;

/**
 * myepoll_set_options - change how an instance behaves (MYEPOLL_FEATURE_OPTIONS)
 * @options: all of them, see struct myepoll_options; min_wait is in microseconds
 *
 * Returns 0, or -1 with errno EBADF, EFAULT, or EINVAL: no instance, an unknown flag, a
 * min_wait above MYEPOLL_MAX_MIN_WAIT, or @options->reserved is not 0.
 */
int myepoll_set_options(int epfd, const struct myepoll_options *options) MYEPOLL_NOTHROW;

/** myepoll_get_options - the options that an instance has; fails as the above. */
int myepoll_get_options(int epfd, struct myepoll_options *options) MYEPOLL_NOTHROW;

#ifdef __cplusplus
#if defined(__GNUC__)
#pragma GCC diagnostic pop
#endif
}
#endif

#endif /* MYEPOLL_H */
