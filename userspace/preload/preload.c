// SPDX-License-Identifier: MIT
/*
 * libmyepoll-preload.so - unmodified programs on myepoll
 *
 * Takes the place of epoll's six functions and of their forms through
 * syscall(). New instances are the module's; every other call asks the module
 * first and, where the module does not know the descriptor, the kernel. There is
 * no table to be wrong about: a descriptor that came by dup, fork, exec or a
 * socket, or was made by native code, is what the kernel says it is.
 *
 * Exactness: where the module answers EINVAL, EBADF or EPERM, that may be about
 * a descriptor of its own or not, and one more question tells. A ctl does not ask
 * the kernel at once because of a race: a target that was closed when the module
 * answered may be open when the kernel looks. A wait has no target and does.
 *
 * Before the first instance is made the order is the reverse, the kernel and
 * then, at EINVAL, the module: a program without the device pays nothing.
 *
 * Environment, read at start or, by a constructor that runs before ours, at
 * the first epoll_create; 1 may be anything but 0, no, off and false:
 *
 *   MYEPOLL_STRICT=1	without the device creating fails, with open(2)'s errno;
 *			otherwise it says so once on stderr and uses epoll
 *   MYEPOLL_STATS=1	at exit(3), say on stderr what was served by whom. Not at
 *			_exit(2) or a deadly signal, nor where there was nothing.
 *			A forked child counts anew
 *   MYEPOLL_IO_URING=1	let syscall(io_uring_setup) through. Otherwise, where there
 *			is the device, ENOSYS: epoll changes that a program sends
 *			through a ring do not come past here. (liburing does not use syscall(); tell a
 *			program that uses it by its own means)
 *   MYEPOLL_DOOR=ioctl	see myepoll.h
 */
#define _GNU_SOURCE
#define DOOR_EXACT_EFAULT 1
#include "../src/door.h"
#include "../src/cancel.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/prctl.h>
#include <sys/stat.h>

#ifdef SYS_IS_LIBC
#error "sys.h needs this architecture's system call instruction: syscall() is ours"
#endif

#define EXPORT __attribute__((visibility("default")))

/* Settings; without SET they have not been read. */
enum {
	SET = 1 << 0,
	STRICT = 1 << 1,
	STATS = 1 << 2,
	IO_URING = 1 << 3,
};

static atomic_int settings;
static atomic_bool complained;

/* What fd 2 was at the start, before the program put something else there */
static struct {
	dev_t dev;
	ino_t ino;
	bool known, open;
} at_start;

static char name[16] = "?";

struct tally {
	atomic_ulong create, ctl, wait, events;
};

static struct tally ours, theirs;

static bool on(const char *variable)
{
	static const char *const off[] = { "", "0", "false", "no", "off" };
	const char *v = secure_getenv(variable);

	for (size_t i = 0; v && i < sizeof(off) / sizeof(*off); i++)
		if (!strcasecmp(v, off[i]))
			return false;
	return v;
}

static int read_settings(void)
{
	int s = SET;

	if (on("MYEPOLL_STRICT"))
		s |= STRICT;
	if (on("MYEPOLL_STATS"))
		s |= STATS;
	if (on("MYEPOLL_IO_URING"))
		s |= IO_URING;
	atomic_store_explicit(&settings, s, memory_order_relaxed);
	return s;
}

static inline int get_settings(void)
{
	int s = atomic_load_explicit(&settings, memory_order_relaxed);

	return likely(s) ? s : read_settings();
}

/*
 * A line for the user; async-signal-safe. A daemon's fd 2 may have become its
 * database: nothing is written unless it is still the file it was.
 */
static void say(const char *line, size_t len)
{
	int saved = errno;
	struct stat st;

	if (at_start.known && (!at_start.open || fstat(STDERR_FILENO, &st) ||
			       st.st_dev != at_start.dev || st.st_ino != at_start.ino))
		goto out;
	door_say(line, len);
out:
	errno = saved;
}

/* strerror(3) of a libc without strerrordesc_np() is taken to be musl's: a table, too. */
#ifndef __GLIBC__
#define strerrordesc_np strerror
#endif

static void complain(long error)
{
	const char *parts[] = { "myepoll: " MYEPOLL_DEVICE ": ", strerrordesc_np((int)-error),
				"; using the kernel's epoll\n" };
	char line[160];
	size_t len = 0;

	if (atomic_exchange(&complained, true))
		return;
	for (size_t i = 0; i < sizeof(parts) / sizeof(*parts); i++)
		for (const char *p = parts[i] ? parts[i] : "?"; *p && len < sizeof(line); p++)
			line[len++] = *p;
	say(line, len);
}

/* Counting costs one branch where nobody asked for it. */
static inline bool counting(void)
{
	return unlikely(atomic_load_explicit(&settings, memory_order_relaxed) & STATS);
}

static inline void count(atomic_ulong *n, unsigned long more)
{
	atomic_fetch_add_explicit(n, more, memory_order_relaxed);
}

static void zero(struct tally *t)
{
	t->create = t->ctl = t->wait = t->events = 0;
}

/* In a forked child */
static void forget(void)
{
	zero(&ours);
	zero(&theirs);
}

static __attribute__((cold)) void count_wait(struct tally *t, long r)
{
	count(&t->wait, 1);
	if (r > 0)
		count(&t->events, (unsigned long)r);
}

static const char *door_name(void)
{
	switch (door_which()) {
	case MYEPOLL_DOOR_FAST:
		return "fast door";
	case MYEPOLL_DOOR_IOCTL:
		return "ioctl door";
	default:
		return "no door";
	}
}

static __attribute__((constructor)) void start(void)
{
	struct stat st;

	at_start.open = !fstat(STDERR_FILENO, &st);
	if (at_start.open) {
		at_start.dev = st.st_dev;
		at_start.ino = st.st_ino;
	}
	at_start.known = true;
	prctl(PR_GET_NAME, name);
	if (get_settings() & STATS)
		pthread_atfork(NULL, NULL, forget);
}

static bool idle(const struct tally *t)
{
	return !(t->create | t->ctl | t->wait);
}

/* Of programs that use no epoll, as a script runs many, there is nothing to say. */
static __attribute__((destructor)) void end(void)
{
	char line[320];
	int len;

	if (!counting() || (idle(&ours) && idle(&theirs)))
		return;
	len = snprintf(line, sizeof(line),
		       "myepoll[%d %s]: create %lu ctl %lu wait %lu events %lu by myepoll (%s); create %lu ctl %lu wait %lu events %lu by epoll\n",
		       (int)getpid(), name, ours.create, ours.ctl, ours.wait, ours.events,
		       door_name(), theirs.create, theirs.ctl, theirs.wait, theirs.events);
	say(line, (size_t)len < sizeof(line) ? (size_t)len : sizeof(line) - 1);
}

/*
 * The operations return what the functions do: a result, or -1 and errno. The ones
 * that wait are called with the cancellation type already seen to.
 */

/* @nr and @arg are the system call that the program would have made. */
static int create(long nr, int arg)
{
	struct tally *by = &ours;
	bool absent;
	long r;

	get_settings();
	r = door_create(nr == __NR_epoll_create1 ? arg : 0, &absent);
	if (r < 0 && absent && !(get_settings() & STRICT)) {
		complain(r);
		by = &theirs;
		r = sys4(nr, arg, 0, 0, 0);
	}
	if (counting() && r >= 0)
		count(&by->create, 1);
	return sys_return(r);
}

/* Can no instance be the module's? Answered by making one, since no other way is exact. */
static bool without_module(void)
{
	bool absent;
	long fd;

	if (door_which() != MYEPOLL_DOOR_UNKNOWN)
		return false;
	fd = door_create(EPOLL_CLOEXEC, &absent);
	if (fd >= 0)
		sys4(__NR_close, fd, 0, 0, 0);
	return absent;
}

static long native_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return sys4(__NR_epoll_ctl, epfd, op, fd, (long)event);
}

static long native_wait(long nr, int epfd, struct epoll_event *events, int maxevents, long timeout,
			const sigset_t *mask)
{
	return sys6(nr, epfd, (long)events, maxevents, timeout, (long)mask, KERNEL_SIGSET_SIZE);
}

/*
 * No door yet and the kernel said @r: was that its answer, or is @epfd an
 * instance of the module's that came from another process? Then its door is known.
 */
static bool native_answered_or_learn(int epfd, long r)
{
	return r != -EINVAL || door_learn(epfd);
}

/* What the fast path did not finish: the fast door said @r, or was not asked. */
static __attribute__((noinline)) int
ctl_general(int epfd, int op, int fd, struct epoll_event *event, long r)
{
	struct tally *by = &ours;

	if (door_answered(r))
		goto out;
	by = &theirs;
	if (door_which() == MYEPOLL_DOOR_UNKNOWN) {
		r = native_ctl(epfd, op, fd, event);
		if (native_answered_or_learn(epfd, r))
			goto out;
		r = door_ctl(epfd, op, fd, event);
	} else if (door_shut(r)) {
		r = door_ioctl_ctl(epfd, op, fd, event);
	}
	if (door_answered(r) || door_is_instance(epfd)) {
		by = &ours;
		if (r == -EINVAL)
			r = door_retried(door_ioctl_ctl(epfd, op, fd, event));
	} else {
		r = native_ctl(epfd, op, fd, event);
	}
out:
	if (counting() && door_answered(r))
		count(&by->ctl, 1);
	return sys_return(r);
}

/*
 * The fast paths, and all that most calls run. What may follow the system call
 * is the last thing done, a jump: so next to nothing has to be saved for it.
 */
static inline int ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	long r = DOOR_NOT_ASKED;

	if (likely(door_which() == MYEPOLL_DOOR_FAST)) {
		r = door_fast(epfd, event, MYEPOLL_FAST_ARGS(fd, op), MYEPOLL_FAST_CTL);
		if (likely(!r && !counting()))
			return 0;
	}
	return ctl_general(epfd, op, fd, event, r);
}

/*
 * epoll_wait, epoll_pwait and epoll_pwait2 with the arguments of system call
 * @nr. The kernel's own is called by the number that the program would have
 * used: a sandbox may know one and not the other. The fast door said @r, or was not
 * asked.
 */
static __attribute__((noinline)) int
wait_general(long nr, int epfd, struct epoll_event *events, int maxevents, long timeout,
	     const sigset_t *mask, long r)
{
	const bool good = maxevents > 0 && maxevents <= INT_MAX / (int)sizeof(*events);
	const struct timespec *ts = (const struct timespec *)timeout;
	struct tally *by = &theirs;
	int64_t ns;
	long bad;

	if (nr == __NR_epoll_pwait2) {
		if (ts && !door_can_read(ts, sizeof(*ts)))
			return sys_return(-EFAULT);
		bad = door_timeout(ts, &ns);
		if (bad)
			return sys_return(bad);
	} else {
		ns = door_ns((int)timeout);
	}
	if (mask && !door_can_read(mask, KERNEL_SIGSET_SIZE))
		return sys_return(-EFAULT);

	if (door_which() == MYEPOLL_DOOR_UNKNOWN) {
		r = native_wait(nr, epfd, events, maxevents, timeout, mask);
		if (native_answered_or_learn(epfd, r))
			goto out;
		r = DOOR_NOT_ASKED;
	}
	if (door_shut(r))
		r = door_pwait(epfd, events, maxevents, ns, mask);
	if (door_answered(r)) {
		by = &ours;
		goto out;
	}
	/*
	 * The module has no reason to refuse good arguments, so @epfd is likely to be
	 * the kernel's. On what is not, the kernel does nothing either.
	 */
	r = good ? native_wait(nr, epfd, events, maxevents, timeout, mask) : -EINVAL;
	if (r != -EINVAL && !door_forbidden(r))
		goto out;
	if (door_is_instance(epfd)) {
		by = &ours;
		r = door_retried(door_wait_ns(epfd, events, maxevents, ns, mask));
	} else if (!good) {
		r = native_wait(nr, epfd, events, maxevents, timeout, mask);
	}
out:
	if (counting() && door_answered(r))
		count_wait(by, r);
	return sys_return(r);
}

#ifndef __NR_epoll_wait
#define __NR_epoll_wait __NR_epoll_pwait
#define NO_EPOLL_WAIT
#endif

/* The same for a wait. */
static __attribute__((noinline)) int
wait_ms_general(int epfd, struct epoll_event *events, int64_t args, long r)
{
	if (!door_answered(r))
		return wait_general(__NR_epoll_wait, epfd, events, (int)args, args >> 32, NULL, r);
	if (counting())
		count_wait(&ours, r);
	return sys_return(r);
}

static inline int wait_ms(int epfd, struct epoll_event *events, int64_t args)
{
	long r = DOOR_NOT_ASKED;

	if (likely(door_which() == MYEPOLL_DOOR_FAST)) {
		r = door_fast(epfd, events, args, MYEPOLL_FAST_WAIT);
		if (likely(r >= 0 && !counting()))
			return (int)r;
	}
	return wait_ms_general(epfd, events, args, r);
}

/* The functions */

EXPORT int epoll_create1(int flags)
{
	return create(__NR_epoll_create1, flags);
}

EXPORT int epoll_create(int size)
{
	if (size <= 0)
		return sys_return(-EINVAL);
#ifdef __NR_epoll_create
	return create(__NR_epoll_create, size);
#else
	return create(__NR_epoll_create1, 0);
#endif
}

EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return ctl(epfd, op, fd, event);
}

EXPORT int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
	return cancel_wait(epfd, events, maxevents, timeout);
}

EXPORT int epoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout,
		       const sigset_t *mask)
{
	int cancel, r;

	/* Not where it could end in the kernel as epoll_wait: see wait_general(). */
	if (likely(!mask && door_which() == MYEPOLL_DOOR_FAST))
		return cancel_wait(epfd, events, maxevents, timeout);
	cancel = cancel_enter(timeout != 0);
	r = wait_general(__NR_epoll_pwait, epfd, events, maxevents, timeout, mask, DOOR_NOT_ASKED);
	cancel_leave(cancel);
	return r;
}

EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int maxevents,
			const struct timespec *timeout, const sigset_t *mask)
{
	int cancel = cancel_enter(true);
	int r = wait_general(__NR_epoll_pwait2, epfd, events, maxevents, (long)timeout, mask,
			     DOOR_NOT_ASKED);

	cancel_leave(cancel);
	return r;
}

/*
 * syscall(2), which is not a cancellation point. The six arguments are whatever
 * was passed; those that were not are whatever stood in their place, and the system
 * call does not look at them.
 */
static inline long any_syscall(long nr, long a, long b, long c, long d, long e, long f)
{
	long r;

	switch (nr) {
#ifdef __NR_epoll_create
	case __NR_epoll_create:
		return epoll_create((int)a);
#endif
	case __NR_epoll_create1:
		return create(__NR_epoll_create1, (int)a);
	case __NR_epoll_ctl:
		return ctl((int)a, (int)b, (int)c, (struct epoll_event *)d);
#ifndef NO_EPOLL_WAIT
	case __NR_epoll_wait:
		return wait_ms((int)a, (struct epoll_event *)b,
			       MYEPOLL_FAST_ARGS((int)c, (int)d));
#endif
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
		/* Refused before it looks at a descriptor; let the kernel say how. */
		if (e && f != KERNEL_SIGSET_SIZE)
			break;
		if (nr == __NR_epoll_pwait && !e && door_which() == MYEPOLL_DOOR_FAST)
			return wait_ms((int)a, (struct epoll_event *)b,
				       MYEPOLL_FAST_ARGS((int)c, (int)d));
		return wait_general(nr, (int)a, (struct epoll_event *)b, (int)c, d,
				    (sigset_t *)e, DOOR_NOT_ASKED);
	case __NR_io_uring_setup:
		if (!(get_settings() & IO_URING) && !without_module())
			return sys_return(-ENOSYS);
		break;
	}

	r = sys6(nr, a, b, c, d, e, f);
	/* A system call's result may be any long: an address, say. */
	if (unlikely((unsigned long)r > -4096UL)) {
		errno = (int)-r;
		return -1;
	}
	return r;
}

#ifdef __x86_64__
/*
 * A system call that is not ours must find the stack pointer where the caller left
 * it: clone(2) with a stack of its own returns twice, and once on that stack. And it
 * may be meant for another preloaded library. So it is a jump to the next syscall(),
 * or, before that is known, to a bare one.
 */
__attribute__((used, visibility("hidden"))) long
syscall_ours(long nr, long a, long b, long c, long d, long e, long f)
{
	return any_syscall(nr, a, b, c, d, e, f);
}

__attribute__((used, visibility("hidden"))) long syscall_failed(long r)
{
	errno = (int)-r;
	return -1;
}

__attribute__((visibility("hidden"))) long syscall_bare(long nr, ...);
__attribute__((used, visibility("hidden"))) long (*syscall_next)(long nr, ...) = syscall_bare;

#define OURS(nr) "cmp $" STRING(nr) ", %rdi\n\tje syscall_ours\n\t"
#define STRING(x) STRING_(x)
#define STRING_(x) #x

__asm__(".text\n"
	".globl syscall\n"
	".type syscall, @function\n"
	"syscall:\n\t"
	".cfi_startproc\n\t"
	"endbr64\n\t"
	OURS(__NR_epoll_create)
	OURS(__NR_epoll_create1)
	OURS(__NR_epoll_ctl)
	OURS(__NR_epoll_wait)
	OURS(__NR_epoll_pwait)
	OURS(__NR_epoll_pwait2)
	OURS(__NR_io_uring_setup)
	"jmp *syscall_next(%rip)\n\t"
	".cfi_endproc\n"
	".size syscall, . - syscall\n"
	".hidden syscall_bare\n"
	".type syscall_bare, @function\n"
	"syscall_bare:\n\t"
	".cfi_startproc\n\t"
	"endbr64\n\t"
	"mov %rdi, %rax\n\t"
	"mov %rsi, %rdi\n\t"
	"mov %rdx, %rsi\n\t"
	"mov %rcx, %rdx\n\t"
	"mov %r8, %r10\n\t"
	"mov %r9, %r8\n\t"
	"mov 8(%rsp), %r9\n\t"
	"syscall\n\t"
	"cmp $-4095, %rax\n\t"
	"jae 1f\n\t"
	"ret\n"
	"1:\tmov %rax, %rdi\n\t"
	"jmp syscall_failed\n\t"
	".cfi_endproc\n"
	".size syscall_bare, . - syscall_bare\n");

static __attribute__((constructor)) void find_next(void)
{
	void *next = dlsym(RTLD_NEXT, "syscall");

	if (next)
		memcpy(&syscall_next, &next, sizeof(next));
}
#else
EXPORT long syscall(long nr, ...)
{
	long a, b, c, d, e, f;
	va_list ap;

	va_start(ap, nr);
	a = va_arg(ap, long);
	b = va_arg(ap, long);
	c = va_arg(ap, long);
	d = va_arg(ap, long);
	e = va_arg(ap, long);
	f = va_arg(ap, long);
	va_end(ap);
	return any_syscall(nr, a, b, c, d, e, f);
}
#endif
