// SPDX-License-Identifier: MIT
/*
 * libmyepoll - the C library, see include/myepoll.h
 *
 * Every call asks the module first. foreign() has the errno that epoll gives for
 * a descriptor that is no epoll.
 */
#define _GNU_SOURCE
#pragma GCC visibility push(default)
#include "../include/myepoll.h"
#pragma GCC visibility pop

#include "door.h"
#include "cancel.h"

/*
 * epoll_ctl(2) itself knows the order of EFAULT, EBADF, EPERM and EINVAL. Asked for an
 * operation that does not exist, it changes nothing, even if @epfd is an instance
 * of the kernel's own. Like that operation, ADD and MOD read the event; DEL does not. DROP
 * has no descriptor to be looked at but @epfd.
 */
static long foreign_ctl(const struct door_call *c)
{
	const bool drop = c->op == MYEPOLL_CTL_DROP;
	struct epoll_event unread = { .events = 0 };
	long r;

	r = sys4(__NR_epoll_ctl, c->epfd, -1, drop ? c->epfd : c->fd,
		 (long)(c->op == EPOLL_CTL_DEL ? &unread : c->events));
	return r < 0 && !(drop && r == -EPERM) ? r : -EINVAL;
}

/*
 * The kernel cannot be asked about a wait: on an instance of its own it would wait.
 * If the door said EBADF, that is the answer, since a wait has one descriptor only.
 */
static long foreign_wait(const struct door_call *c, long r)
{
	uintptr_t start = (uintptr_t)c->events, end;

	if (r == -EBADF)
		return r;
	if (c->maxevents <= 0 || c->maxevents > INT_MAX / (int)sizeof(*c->events))
		return -EINVAL;
	/* access_ok(): 64-bit programs live in the lower half */
	if (__builtin_add_overflow(start, c->maxevents * sizeof(*c->events), &end) ||
	    (sizeof(end) == 8 && end > UINTPTR_MAX / 2 + 1))
		return -EFAULT;
	return -EINVAL;
}

static __attribute__((cold, noinline)) long foreign(const struct door_call *c, long r)
{
	return c->nr == __NR_epoll_ctl ? foreign_ctl(c) : foreign_wait(c, r);
}

static int settle(const struct door_call *c, long r)
{
	bool ours;

	return sys_return(door_settle(c, r, &ours));
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

/*
 * What the fast path did not finish: the fast door said @r, or was not asked. With no event
 * that is EFAULT, for the module's own operations too.
 */
static __attribute__((noinline)) int
ctl_general(int epfd, int op, int fd, struct epoll_event *event, long r)
{
	struct epoll_event none = { .events = 0 };

	if (!event && (op == MYEPOLL_CTL_DISABLE || op == MYEPOLL_CTL_DROP)) {
		event = &none;
		r = DOOR_NOT_ASKED;
	}
	return settle(&(struct door_call){ .nr = __NR_epoll_ctl, .epfd = epfd, .op = op,
					   .fd = fd, .events = event }, r);
}

/*
 * The fast paths are all that most calls run. What may follow the system call is
 * the last thing done, a jump, so next to nothing has to be saved for it.
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

static __attribute__((noinline)) int
pwait_ns(int epfd, struct epoll_event *events, int maxevents, int64_t ns, const sigset_t *mask,
	 long r)
{
	return settle(&(struct door_call){ .nr = __NR_epoll_pwait2, .epfd = epfd,
					   .events = events, .maxevents = maxevents,
					   .ns = ns, .mask = mask }, r);
}

/* The same for a wait */
static __attribute__((noinline)) int
wait_ms_general(int epfd, struct epoll_event *events, int64_t args, long r)
{
	return pwait_ns(epfd, events, (int)args, door_ns((int)(args >> 32)), NULL, r);
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
	r = pwait_ns(epfd, events, maxevents, door_ns(timeout), sigmask, DOOR_NOT_ASKED);
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
	r = pwait_ns(epfd, events, maxevents, ns, sigmask, DOOR_NOT_ASKED);
	cancel_leave(cancel);
	return r;
}

/*
 * Beyond epoll. What an older module, which does not know a call, says of it is EINVAL. What
 * is no instance says anything, and is EINVAL here.
 */

static __attribute__((cold, noinline)) int turn_failed(int epfd, long r)
{
	__u64 features = 0;

	if (r == -EINVAL && !door_identify(epfd, &features) && !(features & MYEPOLL_FEATURE_TURN))
		r = -ENOTTY;
	return sys_return(r);
}

static __attribute__((noinline)) int turn_general(int epfd, struct myepoll_turn *turn, long r)
{
	const struct door_call c = {
		.nr = __NR_epoll_pwait2,
		.epfd = epfd,
		.events = (struct epoll_event *)(uintptr_t)turn->events,
		.maxevents = turn->maxevents,
		.turn = turn,
	};
	bool ours;

	r = door_settle(&c, r, &ours);
	return likely(r >= 0) ? (int)r : turn_failed(epfd, r);
}

static inline int turn_now(int epfd, struct myepoll_turn *turn)
{
	long r = DOOR_NOT_ASKED;

	if (likely(door_which() == MYEPOLL_DOOR_FAST)) {
		r = door_fast(epfd, turn, sizeof(*turn), MYEPOLL_FAST_TURN);
		if (likely(r >= 0))
			return (int)r;
	}
	return turn_general(epfd, turn, r);
}

static __attribute__((noinline)) int turn_threaded(int epfd, struct myepoll_turn *turn)
{
	int cancel = cancel_enter(turn->timeout != 0);
	int r = turn_now(epfd, turn);

	cancel_leave(cancel);
	return r;
}

int myepoll_turn(int epfd, struct myepoll_turn *turn)
{
	if (turn->maxevents) {
		if (!cancel_alone())
			return turn_threaded(epfd, turn);
		pthread_testcancel();
	}
	return turn_now(epfd, turn);
}

/* A call that is made rarely, and by ioctl. @feature is the bit of a module that has it. */
static int rare(int epfd, unsigned long cmd, const void *arg, __u64 feature)
{
	__u64 features = 0;
	long r = door_ioctl(epfd, cmd, arg), whose;

	if (r >= 0 || r == -EINTR)
		return sys_return(r);
	whose = door_identify(epfd, &features);
	if (whose)
		r = whose == -EBADF ? -EBADF : -EINVAL;
	else if (!(features & feature))
		r = -ENOTTY;
	return sys_return(r);
}

int myepoll_list(int epfd, struct myepoll_watch *watches, unsigned int room)
{
	const struct myepoll_list arg = {
		.watches = (uintptr_t)watches,
		.room = room,
		.size = sizeof(*watches),
	};
	int n = rare(epfd, MYEPOLL_IOC_LIST, &arg, MYEPOLL_FEATURE_OPS);

	if (n > 0)
		watched_written(watches, ((unsigned int)n < room ? (unsigned int)n : room) *
						 sizeof(*watches));
	return n;
}

int myepoll_set_options(int epfd, const struct myepoll_options *options)
{
	return rare(epfd, MYEPOLL_IOC_SET_OPTIONS, options, MYEPOLL_FEATURE_OPTIONS);
}

int myepoll_get_options(int epfd, struct myepoll_options *options)
{
	int r = rare(epfd, MYEPOLL_IOC_GET_OPTIONS, options, MYEPOLL_FEATURE_OPTIONS);

	if (!r)
		watched_written(options, sizeof(*options));
	return r;
}

int myepoll_features(int epfd, uint64_t *features)
{
	__u64 known = 0;
	long r = door_identify(epfd, &known);

	if (!r)
		*features = known;
	return sys_return(r == -ENOTTY ? -EINVAL : r);
}

int myepoll_is_instance(int fd)
{
	__u64 features = 0;
	long r = door_identify(fd, &features);

	return r == -EBADF ? sys_return(r) : !r;
}

enum myepoll_door myepoll_door(void)
{
	return (enum myepoll_door)door_which();
}
