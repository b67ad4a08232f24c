/* SPDX-License-Identifier: MIT */
/*
 * door.h - the way into the module, for libmyepoll and libmyepoll-preload
 *
 * Private. Each of the two libraries includes it in one file and defines
 * foreign(), which says what a call does on a descriptor that is not the module's.
 *
 * Nothing here changes errno, takes a lock, allocates, or remembers a file
 * descriptor. Each call asks the kernel again whose the descriptor is, so dup,
 * close and reuse, fork, exec and SCM_RIGHTS need no thought. What is remembered
 * is which door is open, and that is the same for all descriptors.
 *
 * The fast paths of the libraries ask the fast door. door_settle() does the rest.
 * The difficulty is that a door also gives an errno for a descriptor that is not the
 * module's. Most errnos can only be the module's, or only the other file's. EINVAL,
 * EBADF and EPERM can be either's. door_answered() says no to those, and somebody
 * else has to be asked.
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
#include <sys/stat.h>
#include <time.h>

#include "../include/myepoll.h"
#include "../../uapi/myepoll.h"
#include "sys.h"
#include "watched.h"

#define likely(x)	__builtin_expect(!!(x), 1)
#define unlikely(x)	__builtin_expect(!!(x), 0)

_Static_assert(sizeof(struct epoll_event) == sizeof(struct myepoll_event),
	       "events cross untouched");

#define NSEC_PER_SEC	INT64_C(1000000000)
#define NSEC_PER_MSEC	INT64_C(1000000)

/* The kernel's sigset_t, the first 64 bits of libc's */
#define KERNEL_SIGSET_SIZE	8

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

/* Stands for the answer of a door that was not asked; no errno. */
enum { DOOR_NOT_ASKED = -4096 };

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

	if (!r) {
		/* Valgrind would report the NULL. */
		watched_valgrind(VALGRIND_SILENCE, 1, 0);
		r = door_ioctl(fd, MYEPOLL_IOC_CTL, NULL);
		watched_valgrind(VALGRIND_SILENCE, -1, 0);
	}
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
	case -EALREADY:
	case -EBUSY:
	case -ECANCELED:
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
 * Did something on the way shut the fast door? A seccomp filter that was installed
 * after the door was chosen answers ENOSYS or EPERM. The module answers EPERM too, for
 * a target that cannot be polled, and will answer the same by ioctl. ENOTTY is the ioctl
 * door's own answer, for what is not the module's: it has been asked.
 */
static inline bool door_shut(long r)
{
	return !door_answered(r) && r != -EINVAL && r != -ESPIPE && r != -EBADF && r != -ENOTTY;
}

/* Is @r what a security module or a filter answers when it forbids the call? */
static inline bool door_forbidden(long r)
{
	return r == -EPERM || r == -EACCES || r == -ENOSYS;
}

/*
 * The answer @r to an ioctl of CTL, WAIT or TURN, or ENOTTY if it is not the module's.
 * Another driver may answer any errno to an ioctl that it does not know. EINTR is
 * not questioned: no other driver waits here, and the signal handler that ran
 * may have closed @epfd.
 */
static inline long door_own(int epfd, long r)
{
	if (likely(r >= 0) || r == -EINTR || !door_answered(r) || door_is_instance(epfd))
		return r;
	return -ENOTTY;
}

/* What fd 2 was at the start, before the program put something else there */
static struct {
	dev_t dev;
	ino_t ino;
	bool known, open;
} at_start;

/*
 * Write a line for the user on stderr, from a list of parts that ends with NULL.
 * Async-signal-safe. A daemon's fd 2 may have become its database, so nothing is
 * written unless it is still the file it was at the start. A pipe that is full is left
 * alone, since write would block, and so is one that nobody reads (SIGPIPE).
 */
static __attribute__((cold)) void door_say(const char *const parts[])
{
	struct pollfd fd = { .fd = STDERR_FILENO, .events = POLLOUT };
	const struct timespec now = { 0 };
	const int saved = errno;
	char line[400];
	struct stat st;
	size_t len = 0;

	if (at_start.known && (!at_start.open || fstat(STDERR_FILENO, &st) ||
			       st.st_dev != at_start.dev || st.st_ino != at_start.ino))
		goto out;
	for (; *parts; parts++)
		for (const char *p = *parts; *p && len < sizeof(line) - 1; p++)
			line[len++] = *p;
	line[len++] = '\n';
	/* Not libc's ppoll(3) and write(2), which are cancellation points. */
	if (sys6(__NR_ppoll, (long)&fd, 1, (long)&now, 0, 0, 0) == 1 && fd.revents == POLLOUT)
		sys4(__NR_write, STDERR_FILENO, (long)line, (long)len, 0);
out:
	errno = saved;
}

/*
 * The wish of the environment; 0 until it has been read. A constructor reads it,
 * since getenv(3) is not safe in a signal handler, nor while another thread runs
 * setenv(3). A call from another constructor, before ours, reads it then.
 */
enum { WISH_NONE = 1, WISH_IOCTL, WISH_UNKNOWN };
static atomic_int door_wish;

static int door_read_wish(void)
{
	const char *v = secure_getenv("MYEPOLL_DOOR");
	int wish = WISH_UNKNOWN;

	if (!v || !*v || !strcmp(v, "fast"))
		wish = WISH_NONE;
	else if (!strcmp(v, "ioctl"))
		wish = WISH_IOCTL;
	atomic_store_explicit(&door_wish, wish, memory_order_relaxed);
	return wish;
}

static __attribute__((constructor)) void door_start(void)
{
	const int saved = errno;
	struct stat st;

	at_start.open = !fstat(STDERR_FILENO, &st);
	if (at_start.open) {
		at_start.dev = st.st_dev;
		at_start.ino = st.st_ino;
	}
	at_start.known = true;
	errno = saved;
	if (!atomic_load_explicit(&door_wish, memory_order_relaxed))
		door_read_wish();
}

/* Complains of an unknown wish once, and only in a program that has an instance. */
static bool door_by_ioctl(void)
{
	int wish = atomic_load_explicit(&door_wish, memory_order_relaxed);

	if (!wish)
		wish = door_read_wish();
	if (wish == WISH_UNKNOWN && atomic_exchange(&door_wish, WISH_NONE) == WISH_UNKNOWN)
		door_say((const char *[]){ "myepoll: MYEPOLL_DOOR is ignored: it can be \"ioctl\"",
					   NULL });
	return wish == WISH_IOCTL;
}

/* Does the program run under one of watched.h's tools? Set when the door is chosen. */
static bool door_watched;

/*
 * Is the fast door open? The probe is a MOD whose event cannot be read. The module
 * answers EFAULT before it looks at anything else, so the probe does nothing to the
 * instance @epfd, which may be in use. No other file, closed door or seccomp filter
 * gives that answer.
 */
static __attribute__((cold)) bool door_fast_is_open(int epfd)
{
	return door_fast(epfd, (void *)-1L, MYEPOLL_FAST_ARGS(-1, EPOLL_CTL_MOD),
			 MYEPOLL_FAST_CTL) == -EFAULT;
}

/* Choose the door, with an instance @epfd to try it on and the module's @features. */
static void door_choose(int epfd, __u64 features)
{
	int door = MYEPOLL_DOOR_IOCTL;

	door_watched = watched();
	if (!door_by_ioctl() && (features & MYEPOLL_FEATURE_FAST_DOOR) && !door_watched &&
	    door_fast_is_open(epfd))
		door = MYEPOLL_DOOR_FAST;
	door_set(door);
}

/*
 * No door is known yet, since this process has created no instance. Has it got one
 * from elsewhere? Returns 0 with the door chosen, or -EBADF or -ENOTTY.
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
 * Make an instance. Returns its descriptor or -errno. *@absent tells a device that
 * is not there, not ours or not permitted from other failures.
 *
 * The instance is moved to the number at which the device was opened. That is the
 * lowest one free, as with epoll_create1(2), and no other thread can take it
 * meanwhile. The price is a second descriptor for a moment: with a single one left
 * below RLIMIT_NOFILE this is EMFILE. A device that stays open would avoid that,
 * but daemons that close everything would close it, and programs that count their
 * descriptors would count it.
 *
 * Another thread may fork meanwhile. Its child then has a descriptor at @fd that it
 * does not know of: it refers to the instance until the child calls exec or exits,
 * and is close-on-exec whatever @flags say. (Or one at @dev, to the device.)
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

static long door_ioctl_ctl(int epfd, int op, int fd, const struct epoll_event *event)
{
	struct myepoll_ctl arg = { .op = op, .fd = fd };

	if (op != EPOLL_CTL_DEL) {
		if (!event)
			return -EFAULT;
		if (unlikely(door_watched))
			watched_release(epfd);
		arg.events = event->events;
		arg.data = event->data.u64;
	}
	return door_own(epfd, door_ioctl(epfd, MYEPOLL_IOC_CTL, &arg));
}

static __attribute__((cold, noinline)) long
door_watched_wait(int epfd, const struct myepoll_wait *arg)
{
	struct epoll_event *events = (struct epoll_event *)(uintptr_t)arg->events;
	long r;

	watched_signals();
	r = door_own(epfd, door_ioctl(epfd, MYEPOLL_IOC_WAIT, arg));
	if (r > 0)
		watched_acquire(epfd, events, (size_t)r * sizeof(*events));
	else if (r == -EINTR)
		watched_signals();
	return r;
}

/* @ns as in struct myepoll_wait; @mask may be NULL */
static long door_ioctl_wait(int epfd, struct epoll_event *events, int maxevents, int64_t ns,
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
	if (unlikely(door_watched))
		return door_watched_wait(epfd, &arg);
	return door_own(epfd, door_ioctl(epfd, MYEPOLL_IOC_WAIT, &arg));
}

static __attribute__((cold, noinline)) long
door_watched_turn(int epfd, struct myepoll_turn *turn)
{
	struct myepoll_change *changes = (struct myepoll_change *)(uintptr_t)turn->changes;
	struct epoll_event *events = (struct epoll_event *)(uintptr_t)turn->events;
	long r;

	if (turn->nchanges)
		watched_release(epfd);
	if (turn->maxevents)
		watched_signals();
	r = door_own(epfd, door_ioctl(epfd, MYEPOLL_IOC_TURN, turn));
	if (r >= 0 || r == -EINTR) {
		watched_written(&turn->done, sizeof(turn->done) + sizeof(turn->failed));
		for (__u32 i = 0; i < turn->done; i++)
			watched_written(&changes[i].result, sizeof(changes[i].result));
	}
	if (r > 0)
		watched_acquire(epfd, events, (size_t)r * sizeof(*events));
	else if (r == -EINTR)
		watched_signals();
	return r;
}

static long door_ioctl_turn(int epfd, struct myepoll_turn *turn)
{
	if (unlikely(door_watched))
		return door_watched_turn(epfd, turn);
	return door_own(epfd, door_ioctl(epfd, MYEPOLL_IOC_TURN, turn));
}

/* epoll_wait's timeout as struct myepoll_wait's */
static inline int64_t door_ns(int ms)
{
	return ms < 0 ? -1 : ms * NSEC_PER_MSEC;
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

/* One call of the program, a ctl, a wait or a turn */
struct door_call {
	long nr; /* the system call of epoll's that it stands for; a turn is a wait */
	int epfd;
	int op, fd; /* of a ctl */
	struct epoll_event *events;
	int maxevents; /* of a wait, as all below */
	int64_t ns;
	long timeout; /* as the program gave it, for foreign() */
	const sigset_t *mask;
	bool by_number; /* made through syscall(2); for foreign() */
	struct myepoll_turn *turn; /* of a turn */
};

/*
 * What the library does with a call on a descriptor that is not the module's; @r is
 * what the module's door said. It may run on an instance of the module's as well,
 * and must then do nothing but return -errno.
 */
static long foreign(const struct door_call *c, long r);

static inline long door_ask_ioctl(const struct door_call *c)
{
	if (c->nr == __NR_epoll_ctl)
		return door_ioctl_ctl(c->epfd, c->op, c->fd, c->events);
	if (c->turn)
		return door_ioctl_turn(c->epfd, c->turn);
	return door_ioctl_wait(c->epfd, c->events, c->maxevents, c->ns, c->mask);
}

/* By the fast door, if it is open and wide enough for the call */
static inline long door_ask(const struct door_call *c)
{
	long r = DOOR_NOT_ASKED;
	int ms;

	if (door_which() == MYEPOLL_DOOR_FAST) {
		if (c->nr == __NR_epoll_ctl)
			r = door_fast(c->epfd, c->events, MYEPOLL_FAST_ARGS(c->fd, c->op),
				      MYEPOLL_FAST_CTL);
		else if (c->turn)
			r = door_fast(c->epfd, c->turn, sizeof(*c->turn), MYEPOLL_FAST_TURN);
		else if (!c->mask && door_in_ms(c->ns, &ms))
			r = door_fast(c->epfd, c->events, MYEPOLL_FAST_ARGS(c->maxevents, ms),
				      MYEPOLL_FAST_WAIT);
	}
	return door_shut(r) ? door_ask_ioctl(c) : r;
}

/*
 * Do what is left of a call. @r is what a door said, or DOOR_NOT_ASKED.
 * *@ours says whether the module is the one that answered.
 *
 * If the module's answer is in doubt, foreign() is asked next, and only if its
 * answer is in doubt too, whose the descriptor is. So an instance of the kernel's
 * own costs two system calls, and only errors cost more. Another thread may close
 * and reuse a descriptor between the calls. Each answer was then true at some
 * moment of the call, and the one that is returned is from the party that the
 * descriptor belongs to.
 */
static inline long door_settle(const struct door_call *c, long r, bool *ours)
{
	long other;

	*ours = true;
	if (r == DOOR_NOT_ASKED) {
		r = likely(door_which() != MYEPOLL_DOOR_UNKNOWN) ? 0 : door_learn(c->epfd);
		if (likely(!r))
			r = door_ask(c);
	} else if (door_shut(r)) {
		r = door_ask_ioctl(c);
	}
	if (likely(door_answered(r)))
		return r;

	other = foreign(c, r);
	if (door_answered(other) || !door_is_instance(c->epfd)) {
		*ours = false;
		return other;
	}
	if (r == -EBADF || r == -EPERM)
		return r;
	/*
	 * EINVAL for an instance may be the module's answer. But the fast door may
	 * have been shut since it was chosen: by a filter, or because the module was
	 * loaded anew with fast_door=0. The ioctl door knows. If it says something else,
	 * it may be the one to take from now on. Or another thread may have changed what
	 * the answer depends on, so the fast door is tried.
	 */
	r = door_ask_ioctl(c);
	if (door_answered(r) && !door_fast_is_open(c->epfd))
		door_set(MYEPOLL_DOOR_IOCTL);
	return r;
}

#endif /* MYEPOLL_DOOR_H */
