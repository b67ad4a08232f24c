/* SPDX-License-Identifier: MIT */
/*
 * door.h - the way into the module, for libmyepoll and libmyepoll-preload
 *
 * Private; each of the two libraries includes it in one file. Nothing here
 * touches errno, takes a lock, allocates, or remembers a file descriptor: which
 * descriptor is whose is asked of the kernel with every call, so that dup,
 * close and reuse, fork, exec and SCM_RIGHTS need no thought. The one thing
 * remembered is which door is open, and that is the same for all of them.
 *
 * A door tried on a descriptor that is not the module's says so by its errno,
 * but EINVAL and EBADF (and EPERM) are answers of the module too. Those are
 * "not answered" here: the caller asks door_is_instance() whose answer it was.
 */
#ifndef MYEPOLL_DOOR_H
#define MYEPOLL_DOOR_H

#include <fcntl.h>
#include <limits.h>
#include <poll.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <time.h>

#include "../include/myepoll.h"
#include "../../uapi/myepoll.h"
#include "sys.h"

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

_Static_assert(sizeof(struct epoll_event) == sizeof(struct myepoll_event),
	       "events cross untouched");

#define NSEC_PER_SEC	INT64_C(1000000000)
#define NSEC_PER_MSEC	INT64_C(1000000)

/* The kernel's sigset_t, the first 64 bits of libc's */
#define KERNEL_SIGSET_SIZE	8

/*
 * To include this file, say whether a bad address that would be read here and
 * not in the kernel is to be EFAULT all the same, for one more system call.
 */
#ifndef DOOR_EXACT_EFAULT
#error "define DOOR_EXACT_EFAULT to 0 or 1"
#endif

/* An enum myepoll_door. Written with the same value by all who race. */
static atomic_int door_state;

static inline int door_which(void)
{
	return atomic_load_explicit(&door_state, memory_order_relaxed);
}

static inline void door_set(int door)
{
	atomic_store_explicit(&door_state, door, memory_order_relaxed);
}

/* Stands for the answer of a door that was not asked; no answer of the module's. */
enum { DOOR_NOT_ASKED = -ENOSYS };

/* @args are MYEPOLL_FAST_ARGS() */
static inline long door_fast(int epfd, const void *p, int64_t args, int what)
{
#if defined(__NR_fadvise64) && __SIZEOF_LONG__ == 8
	return sys4(__NR_fadvise64, epfd, (long)p, args, what);
#else
	/* The arguments would take pairs of registers, whose order differs by architecture */
	(void)epfd, (void)p, (void)args, (void)what;
	return -ENOSYS;
#endif
}

static inline long door_ioctl(int fd, unsigned long cmd, const void *arg)
{
	return sys4(__NR_ioctl, fd, (long)cmd, (long)arg, 0);
}

/*
 * Is @fd an instance? Returns 0 with what the module can do, or -EBADF or
 * -ENOTTY. Does nothing to it: a CTL whose argument cannot be read is EFAULT
 * before anything else is looked at. The device, which knows its features too,
 * knows no CTL.
 */
static __attribute__((cold)) long door_identify(int fd, __u64 *features)
{
	long r = door_ioctl(fd, MYEPOLL_IOC_FEATURES, features);

	if (!r)
		r = door_ioctl(fd, MYEPOLL_IOC_CTL, NULL);
	return r == -EFAULT ? 0 : r == -EBADF ? -EBADF : -ENOTTY;
}

static __attribute__((cold)) bool door_is_instance(int fd)
{
	__u64 features;

	return !door_identify(fd, &features);
}

/* Did the module itself say this, beyond doubt? */
static inline bool door_answered(long r)
{
	if (likely(r >= 0))
		return true;
	switch (r) {
	case -EEXIST:
	case -EFAULT:
	case -EINTR:
	case -ELOOP:
	case -ENOENT:
	case -ENOMEM:
	case -ENOSPC:
		return true;
	default:
		return false;
	}
}

/*
 * Did something on the way shut the fast door? A seccomp filter that came after
 * the door was chosen answers with ENOSYS or EPERM. So may the module, with
 * EPERM for a target that cannot be polled; it will say so again by ioctl.
 */
static inline bool door_shut(long r)
{
	return !door_answered(r) && r != -EINVAL && r != -ESPIPE && r != -EBADF;
}

/* Does somebody in between, a security module or a filter, forbid the call? */
static inline bool door_forbidden(long r)
{
	return r == -EPERM || r == -EACCES || r == -ENOSYS;
}

/*
 * What door_ioctl() said about a CTL or WAIT, if the module said it. Another
 * driver may answer an ioctl that it does not know with any errno. (But none
 * waits and is interrupted; and who is, may have closed @epfd in the handler.)
 */
static inline long door_own(int epfd, long r)
{
	if (likely(r >= 0) || r == -EINTR || !door_answered(r) || door_is_instance(epfd))
		return r;
	return -ENOTTY;
}

/*
 * The wish of the environment: 0 while nobody has looked. Read by a constructor,
 * since a later getenv(3) may meet another thread's setenv(3) and may not be
 * called in a signal handler; and earlier only for a constructor before that.
 */
enum { WISH_NONE = 1, WISH_IOCTL };
static atomic_int door_wish;

/*
 * To stderr; not into a pipe that is full, where it would block, nor into one that
 * nobody reads, which would raise SIGPIPE. No function of libc's: those are
 * cancellation points.
 */
static inline void door_say(const char *line, size_t len)
{
	struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };
	const struct timespec now = { 0 };

	if (sys6(__NR_ppoll, (long)&fd, 1, (long)&now, 0, 0, 0) == 1 && fd.revents == POLLOUT)
		sys4(__NR_write, STDERR_FILENO, (long)line, (long)len, 0);
}

static int door_read_wish(void)
{
	static const char unknown[] = "myepoll: MYEPOLL_DOOR is ignored: it can be \"ioctl\"\n";
	const char *v = secure_getenv("MYEPOLL_DOOR");
	int wish = WISH_NONE;

	if (v && !strcmp(v, "ioctl"))
		wish = WISH_IOCTL;
	else if (v && *v && !atomic_load_explicit(&door_wish, memory_order_relaxed))
		door_say(unknown, sizeof(unknown) - 1);
	atomic_store_explicit(&door_wish, wish, memory_order_relaxed);
	return wish;
}

static __attribute__((constructor)) void door_start(void)
{
	door_read_wish();
}

static bool door_by_ioctl(void)
{
	int wish = atomic_load_explicit(&door_wish, memory_order_relaxed);

	return (wish ? wish : door_read_wish()) == WISH_IOCTL;
}

/*
 * Choose the door by a descriptor of the module's with those features.
 *
 * The probe is a MOD whose event cannot be read: EFAULT before anything else is
 * looked at, so that it may be done to an instance in use; and an answer that
 * no other file, closed door or seccomp filter gives.
 */
static void door_choose(int epfd, __u64 features)
{
	int door = MYEPOLL_DOOR_IOCTL;

	if ((features & MYEPOLL_FEATURE_FAST_DOOR) && !door_by_ioctl() &&
	    door_fast(epfd, (void *)-1L, MYEPOLL_FAST_ARGS(-1, EPOLL_CTL_MOD), MYEPOLL_FAST_CTL) == -EFAULT)
		door = MYEPOLL_DOOR_FAST;
	door_set(door);
}

/*
 * A descriptor that this process did not create, before it created any: is it
 * the module's? Returns 0 with the door chosen, or -EBADF or -ENOTTY.
 */
static long door_learn(int epfd)
{
	__u64 features = 0;
	long r = door_identify(epfd, &features);

	if (!r)
		door_choose(epfd, features);
	return r;
}

/*
 * Make an instance. Returns its descriptor or -errno; *@absent tells the device
 * that is not there, not ours or not permitted from other failures.
 *
 * The instance ends at the number that the device was opened at, the lowest one
 * free, where epoll_create1(2) would have put it and where no other thread can
 * come between. The price is a second descriptor for a moment: with a single
 * one left below RLIMIT_NOFILE this is EMFILE. A device kept open would not cost
 * that, but would be closed by daemons that close everything, and be counted
 * by programs that count.
 *
 * A process that another thread forks meanwhile gets the two as well, and has
 * no name for @fd: there it refers to the instance (or, at the number @dev, to
 * the device) until exec or exit. It is close-on-exec whatever @flags say.
 */
static long door_create(int flags, bool *absent)
{
	struct myepoll_create arg = { .flags = MYEPOLL_CLOEXEC };
	__u64 features = 0;
	long dev, fd, r;

	*absent = false;
	if (flags & ~EPOLL_CLOEXEC)
		return -EINVAL;

	dev = sys4(__NR_openat, AT_FDCWD, (long)MYEPOLL_DEVICE, O_RDWR | O_CLOEXEC, 0);
	if (dev < 0) {
		*absent = dev != -EMFILE && dev != -ENFILE && dev != -ENOMEM && dev != -EINTR;
		return dev;
	}
	fd = door_ioctl((int)dev, MYEPOLL_IOC_CREATE, &arg);
	if (fd < 0) {
		*absent = fd == -ENOTTY || fd == -ENODEV || door_forbidden(fd);
		sys4(__NR_close, dev, 0, 0, 0);
		return fd;
	}
	if (door_which() == MYEPOLL_DOOR_UNKNOWN) {
		door_ioctl((int)dev, MYEPOLL_IOC_FEATURES, &features);
		door_choose((int)fd, features);
	}
	r = sys4(__NR_dup3, fd, dev, flags & EPOLL_CLOEXEC ? O_CLOEXEC : 0, 0);
	if (r < 0) {
		*absent = door_forbidden(r);
		sys4(__NR_close, dev, 0, 0, 0);
	}
	sys4(__NR_close, fd, 0, 0, 0);
	return r;
}

/*
 * Can @size bytes (8 to a page) be read at @p? The kernel copies the mask of
 * rt_sigprocmask(2) in before it finds that there is no such operation.
 */
static inline bool door_can_read(const void *p, size_t size)
{
#if DOOR_EXACT_EFAULT
	/* Numbers: arithmetic on an address of nothing is undefined. */
	uintptr_t first = (uintptr_t)p, last = first + size - KERNEL_SIGSET_SIZE;

	if (sys4(__NR_rt_sigprocmask, -1, (long)first, 0, KERNEL_SIGSET_SIZE) == -EFAULT)
		return false;
	return ((first ^ (first + size - 1)) >> 12) == 0 ||
	       sys4(__NR_rt_sigprocmask, -1, (long)last, 0, KERNEL_SIGSET_SIZE) != -EFAULT;
#else
	(void)p, (void)size;
	return true;
#endif
}

/*
 * EINVAL, and @epfd is an instance: that may be the answer, or the door may have been
 * shut since it was chosen, by a filter or as the module was loaded anew with
 * fast_door=0. The other door knows, and is the one to take from now on if it
 * says something else (@r).
 */
static inline long door_retried(long r)
{
	if (r != -EINVAL)
		door_set(MYEPOLL_DOOR_IOCTL);
	return r;
}

static long door_ioctl_ctl(int epfd, int op, int fd, const struct epoll_event *event)
{
	struct myepoll_ctl arg = { .op = op, .fd = fd };

	if (op != EPOLL_CTL_DEL) {
		if (!event || !door_can_read(event, sizeof(*event)))
			return -EFAULT;
		arg.events = event->events;
		arg.data = event->data.u64;
	}
	return door_own(epfd, door_ioctl(epfd, MYEPOLL_IOC_CTL, &arg));
}

/* @ns as in struct myepoll_wait; @mask may be NULL */
static long door_wait_ns(int epfd, struct epoll_event *events, int maxevents, int64_t ns,
			 const sigset_t *mask)
{
	struct myepoll_wait arg = {
		.events = (uintptr_t)events,
		.timeout = ns,
		.maxevents = maxevents,
	};

	if (mask) {
		memcpy(&arg.sigmask, mask, KERNEL_SIGSET_SIZE);
		arg.flags = MYEPOLL_WAIT_SIGMASK;
	}
	return door_own(epfd, door_ioctl(epfd, MYEPOLL_IOC_WAIT, &arg));
}

/* epoll_wait's timeout as struct myepoll_wait's */
static inline int64_t door_ns(int ms)
{
	return ms < 0 ? -1 : ms * NSEC_PER_MSEC;
}

/* This and door_pwait() are for a door that is known. */
static inline long door_ctl(int epfd, int op, int fd, const struct epoll_event *event)
{
	long r;

	if (likely(door_which() == MYEPOLL_DOOR_FAST)) {
		r = door_fast(epfd, event, MYEPOLL_FAST_ARGS(fd, op), MYEPOLL_FAST_CTL);
		if (likely(!r) || !door_shut(r))
			return r;
	}
	return door_ioctl_ctl(epfd, op, fd, event);
}

/* epoll_pwait2's timeout in ns, saturated. Returns -EINVAL for one that is none. */
static inline long door_timeout(const struct timespec *timeout, int64_t *ns)
{
	*ns = -1;
	if (!timeout)
		return 0;
	if (timeout->tv_sec < 0 || timeout->tv_nsec < 0 || timeout->tv_nsec >= NSEC_PER_SEC)
		return -EINVAL;
	if (__builtin_mul_overflow(timeout->tv_sec, NSEC_PER_SEC, ns) ||
	    __builtin_add_overflow(*ns, timeout->tv_nsec, ns))
		*ns = INT64_MAX;
	return 0;
}

/* Can the fast door carry this timeout? It counts milliseconds in an int. */
static inline bool door_in_ms(int64_t ns, int *ms)
{
	if (ns < 0) {
		*ms = -1;
		return true;
	}
	if (ns % NSEC_PER_MSEC || ns / NSEC_PER_MSEC > INT_MAX)
		return false;
	*ms = (int)(ns / NSEC_PER_MSEC);
	return true;
}

/* pwait2 without validation, by whatever door fits */
static inline long door_pwait(int epfd, struct epoll_event *events, int maxevents, int64_t ns,
			      const sigset_t *mask)
{
	int ms;
	long r;

	if (!mask && door_which() == MYEPOLL_DOOR_FAST && door_in_ms(ns, &ms)) {
		r = door_fast(epfd, events, MYEPOLL_FAST_ARGS(maxevents, ms), MYEPOLL_FAST_WAIT);
		if (likely(r >= 0) || !door_shut(r))
			return r;
	}
	return door_wait_ns(epfd, events, maxevents, ns, mask);
}

#endif /* MYEPOLL_DOOR_H */
