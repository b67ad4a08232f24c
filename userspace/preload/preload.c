// SPDX-License-Identifier: MIT
/*
 * libmyepoll-preload.so - unmodified programs on myepoll
 *
 * Takes the place of epoll's six functions and of their forms through
 * syscall(). New instances are the module's. Every other call asks the module
 * and, if the module does not know the descriptor, the kernel: by the next library's
 * function of the same name, which is libc's unless another library is preloaded.
 * There is no table of descriptors that could be wrong: one that came by dup, fork,
 * exec or a socket, or was made by native code, is what the kernel says it is.
 *
 * The kernel is asked first, and then the module, in two cases:
 *   - No instance of the module's has been seen yet. So a program without the device
 *     pays nothing.
 *   - The wait has arguments that would be read here and not in the kernel: a signal
 *     mask, a timespec. The kernel reads them before it looks at the descriptor, so it
 *     finds a bad address, which is EFAULT.
 *
 * Environment, read at start or, if the constructor of another library is earlier,
 * at the first call that needs it. "0", "no", "off" and "false" mean no.
 *
 *   MYEPOLL_STRICT=1	without the device creating fails, with open(2)'s errno;
 *			otherwise it says so once on stderr and uses epoll
 *   MYEPOLL_STATS=1	at exit(3), say on stderr what was served by whom. Not at
 *			_exit(2) or a deadly signal, nor where there was nothing.
 *			A forked child counts anew
 *   MYEPOLL_IO_URING=1	let syscall(io_uring_setup) through. Otherwise it is ENOSYS
 *			where the device is there: epoll changes that a program
 *			sends through a ring do not come past here. (liburing does
 *			not use syscall(); tell a program that uses it by its own
 *			means)
 *   MYEPOLL_DOOR=ioctl	see myepoll.h
 *   MYEPOLL_FAIR=1, MYEPOLL_BALANCE=1, MYEPOLL_MIN_WAIT=200us
 *			options of the instances that the program makes, see struct
 *			myepoll_options; in us, ms or s, at most 65535us. A module that has no
 *			options is a reason not to make any if strict (ENOTTY); otherwise it
 *			says so once on stderr and goes on without
 */
#define _GNU_SOURCE
#include "../src/door.h"
#include "../src/cancel.h"

#include <dlfcn.h>
#include <stdarg.h>
#include <stdio.h>
#include <strings.h>
#include <sys/prctl.h>

#ifdef SYS_IS_LIBC
#error "sys.h needs this architecture's system call instruction: syscall() is ours"
#endif

#ifndef __NR_epoll_wait
#define __NR_epoll_wait __NR_epoll_pwait
#define NO_EPOLL_WAIT
#endif

#define EXPORT __attribute__((visibility("default")))

/* Bits of @settings. Without SET the environment has not been read. */
enum {
	SET = 1 << 0,
	STRICT = 1 << 1,
	STATS = 1 << 2,
	IO_URING = 1 << 3,
	FAIR = 1 << 4,
	BALANCE = 1 << 5,
	BAD_MIN_WAIT = 1 << 6,
	MIN_WAIT = 16, /* the lowest of the bits with its microseconds */
};

_Static_assert(MYEPOLL_MAX_MIN_WAIT < 1 << (32 - MIN_WAIT), "settings are 32 bits");

static atomic_uint settings;
static atomic_bool complained, complained_of_options, complained_of_min_wait;

static char name[16] = "?";

struct tally {
	atomic_ulong create, ctl, wait, events;
};

static struct tally ours, theirs;

static bool on(const char *variable)
{
	static const char *const no[] = { "", "0", "no", "off", "false" };
	const char *v = secure_getenv(variable);

	for (size_t i = 0; v && i < sizeof(no) / sizeof(*no); i++)
		if (!strcasecmp(v, no[i]))
			return false;
	return v;
}

/* A time such as 200us in microseconds, or -1 */
static long microseconds(const char *v)
{
	static const struct {
		const char *name;
		long us;
	} units[] = { { "us", 1 }, { "ms", 1000 }, { "s", 1000000 } };
	long n = 0;

	if (!strcmp(v, "0"))
		return 0;
	if (*v < '0' || *v > '9')
		return -1;
	for (; *v >= '0' && *v <= '9'; v++)
		if ((n = n * 10 + (*v - '0')) > MYEPOLL_MAX_MIN_WAIT)
			return -1;
	for (size_t i = 0; i < sizeof(units) / sizeof(*units); i++)
		if (!strcmp(v, units[i].name))
			return n * units[i].us <= MYEPOLL_MAX_MIN_WAIT ? n * units[i].us : -1;
	return -1;
}

static unsigned int read_settings(void)
{
	const char *min_wait = secure_getenv("MYEPOLL_MIN_WAIT");
	unsigned int s = SET;

	if (on("MYEPOLL_STRICT"))
		s |= STRICT;
	if (on("MYEPOLL_STATS"))
		s |= STATS;
	if (on("MYEPOLL_IO_URING"))
		s |= IO_URING;
	if (on("MYEPOLL_FAIR"))
		s |= FAIR;
	if (on("MYEPOLL_BALANCE"))
		s |= BALANCE;
	if (min_wait && *min_wait) {
		const long us = microseconds(min_wait);

		s |= us < 0 ? BAD_MIN_WAIT : (unsigned int)us << MIN_WAIT;
	}
	atomic_store_explicit(&settings, s, memory_order_relaxed);
	return s;
}

static inline unsigned int get_settings(void)
{
	unsigned int s = atomic_load_explicit(&settings, memory_order_relaxed);

	return likely(s) ? s : read_settings();
}

/* glibc's strerror(3) translates, and may allocate. */
static const char *describe(int error)
{
#ifdef __GLIBC__
	const char *text = strerrordesc_np(error);

	return text ? text : "?";
#else
	return strerror(error);
#endif
}

static void complain(long error)
{
	if (!atomic_exchange(&complained, true))
		door_say((const char *[]){ "myepoll: " MYEPOLL_DEVICE ": ", describe((int)-error),
					   "; using the kernel's epoll", NULL });
}

/* Counting costs one branch if nobody asked for it. */
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

/*
 * The next definitions of the functions, and so the kernel's epoll. A call from the
 * constructor of another library, before ours, finds NULL and makes the system call.
 */
static struct {
	int (*create)(int size);
	int (*create1)(int flags);
	int (*ctl)(int epfd, int op, int fd, struct epoll_event *event);
	int (*wait)(int epfd, struct epoll_event *events, int maxevents, int timeout);
	int (*pwait)(int epfd, struct epoll_event *events, int maxevents, int timeout,
		     const sigset_t *mask);
	int (*pwait2)(int epfd, struct epoll_event *events, int maxevents,
		      const struct timespec *timeout, const sigset_t *mask);
} next;

/* Of syscall(), and until it is found our own. The stub below jumps here. */
extern long plain_syscall(long nr, ...) __attribute__((visibility("hidden")));
long (*next_syscall)(long nr, ...) __attribute__((visibility("hidden"))) = plain_syscall;

static void find_next(void)
{
	const struct {
		const char *name;
		void *where;
	} all[] = {
		{ "epoll_create", &next.create }, { "epoll_create1", &next.create1 },
		{ "epoll_ctl", &next.ctl },	  { "epoll_wait", &next.wait },
		{ "epoll_pwait", &next.pwait },	  { "epoll_pwait2", &next.pwait2 },
		{ "syscall", &next_syscall },
	};

	for (size_t i = 0; i < sizeof(all) / sizeof(*all); i++) {
		void *found = dlsym(RTLD_NEXT, all[i].name);

		if (found)
			memcpy(all[i].where, &found, sizeof(found));
	}
}

static __attribute__((constructor)) void start(void)
{
	find_next();
	prctl(PR_GET_NAME, name);
	if (get_settings() & STATS)
		pthread_atfork(NULL, NULL, forget);
}

static bool idle(const struct tally *t)
{
	return !(t->create | t->ctl | t->wait);
}

/* A program that used no epoll says nothing: a script may run many such programs. */
static __attribute__((destructor)) void end(void)
{
	char line[320];

	if (!counting() || (idle(&ours) && idle(&theirs)))
		return;
	snprintf(line, sizeof(line),
		 "myepoll[%d %s]: create %lu ctl %lu wait %lu events %lu by myepoll (%s); create %lu ctl %lu wait %lu events %lu by epoll",
		 (int)getpid(), name, ours.create, ours.ctl, ours.wait, ours.events, door_name(),
		 theirs.create, theirs.ctl, theirs.wait, theirs.events);
	door_say((const char *[]){ line, NULL });
}

/*
 * The operations return what the functions do: a result, or -1 and errno. The ones
 * that wait are called with the cancellation type already seen to.
 */

/* @nr and @arg are the system call that the program would have made. */
static long native_create(long nr, int arg, bool by_number)
{
	if (!by_number && nr == __NR_epoll_create1 && next.create1)
		return next.create1(arg);
	if (!by_number && nr != __NR_epoll_create1 && next.create)
		return next.create(arg);
	return next_syscall(nr, arg);
}

/* Options of a new instance. Returns 0 or -errno. */
static __attribute__((cold)) long give_options(int epfd, unsigned int s)
{
	const struct myepoll_options options = {
		.flags = (s & FAIR ? MYEPOLL_OPT_FAIR : 0) | (s & BALANCE ? MYEPOLL_OPT_BALANCE : 0),
		.min_wait = s >> MIN_WAIT,
	};
	long r;

	if (s & BAD_MIN_WAIT && !atomic_exchange(&complained_of_min_wait, true))
		door_say((const char *[]){ "myepoll: MYEPOLL_MIN_WAIT is ignored: it can be a number and "
					   "us, ms or s, up to 65535us", NULL });
	if (!options.flags && !options.min_wait)
		return 0;
	r = door_ioctl(epfd, MYEPOLL_IOC_SET_OPTIONS, &options);
	/* It knows these flags and this time, if it knows the call. */
	if (r == -EINVAL)
		r = -ENOTTY;
	if (r && !(s & STRICT)) {
		if (!atomic_exchange(&complained_of_options, true))
			door_say((const char *[]){ "myepoll: MYEPOLL_FAIR, _BALANCE and _MIN_WAIT are ignored: ",
						   r == -ENOTTY ? "the module that is loaded is older" :
								  describe((int)-r), NULL });
		r = 0;
	}
	return r;
}

static int create(long nr, int arg, bool by_number)
{
	const unsigned int s = get_settings();
	struct tally *by = &ours;
	bool absent;
	long r;

	r = door_create(nr == __NR_epoll_create1 ? arg : 0, &absent);
	if (r >= 0 && unlikely(s & (FAIR | BALANCE | BAD_MIN_WAIT) || s >> MIN_WAIT)) {
		const long error = give_options((int)r, s);

		if (error) {
			sys4(__NR_close, r, 0, 0, 0);
			return sys_return(error);
		}
	}
	if (r < 0 && absent && !(s & STRICT)) {
		complain(r);
		by = &theirs;
		r = native_create(nr, arg, by_number);
		if (r < 0)
			return -1;
	}
	if (counting() && r >= 0)
		count(&by->create, 1);
	return sys_return(r);
}

static long native_ctl(const struct door_call *c)
{
	if (!c->by_number && next.ctl)
		return next.ctl(c->epfd, c->op, c->fd, c->events);
	return next_syscall(__NR_epoll_ctl, c->epfd, c->op, c->fd, c->events);
}

/*
 * The next function is a cancellation point itself. It is not called with the asynchronous
 * type, which is for our own system calls: it may be any library's, and hold a lock when
 * the thread is cancelled.
 */
static long native_wait(const struct door_call *c)
{
	const bool found = c->nr == __NR_epoll_pwait2 ? next.pwait2 != NULL : next.pwait != NULL;
	int type = CANCEL_UNTOUCHED;
	long r;

	if (c->by_number || !found)
		return next_syscall(c->nr, c->epfd, c->events, c->maxevents, c->timeout, c->mask,
				    (long)KERNEL_SIGSET_SIZE);
	if (!cancel_alone())
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &type);
	if (c->nr == __NR_epoll_pwait2)
		r = next.pwait2(c->epfd, c->events, c->maxevents,
				(const struct timespec *)c->timeout, c->mask);
	else if (c->nr == __NR_epoll_pwait)
		r = next.pwait(c->epfd, c->events, c->maxevents, (int)c->timeout, c->mask);
	else
		r = next.wait(c->epfd, c->events, c->maxevents, (int)c->timeout);
	cancel_leave(type);
	return r;
}

/* The kernel's epoll */
static __attribute__((noinline)) long foreign(const struct door_call *c, long r)
{
	const int saved = errno;

	(void)r;
	r = c->nr == __NR_epoll_ctl ? native_ctl(c) : native_wait(c);
	if (r < 0)
		r = -errno;
	errno = saved;
	return r;
}

/*
 * Do what is left of a call; returns whether the module answered it. *@r is what the fast
 * door said, or DOOR_NOT_ASKED, and becomes the result. @kernel_first: see the top.
 */
static bool settle(struct door_call *c, long *r, bool kernel_first)
{
	bool by_myepoll;

	if (kernel_first) {
		*r = foreign(c, DOOR_NOT_ASKED);
		if (door_answered(*r))
			return false;
		*r = DOOR_NOT_ASKED;
	}
	/* The kernel has read the timeout, or it is NULL. A filter may have answered in its place. */
	if (c->nr == __NR_epoll_pwait2) {
		const long bad = door_timeout((const struct timespec *)c->timeout, &c->ns);

		if (bad) {
			*r = bad;
			return false;
		}
	}
	*r = door_settle(c, *r, &by_myepoll);
	return by_myepoll;
}

/* Can the 8 bytes at @p be read? rt_sigprocmask(2) does so before it finds fault with -1. */
static inline bool can_read_8(uintptr_t p)
{
	return sys4(__NR_rt_sigprocmask, -1, (long)p, 0, KERNEL_SIGSET_SIZE) != -EFAULT;
}

static inline bool can_read(const struct epoll_event *event)
{
	/* Numbers: arithmetic on an address of nothing is undefined. */
	const uintptr_t first = (uintptr_t)event, end = first + sizeof(*event);

	return can_read_8(first) &&
	       ((first ^ (end - 1)) >> 12 == 0 || can_read_8(end - KERNEL_SIGSET_SIZE));
}

/*
 * What the fast path did not finish: the fast door said @r, or was not asked. An operation of
 * the module's own is none of epoll's: 0, which is none of either's, has the same errors.
 */
static __attribute__((noinline)) int
ctl_general(int epfd, int op, int fd, struct epoll_event *event, long r, bool by_number)
{
	const bool unknown = door_which() == MYEPOLL_DOOR_UNKNOWN;
	struct tally *by = &ours;

	if (unlikely(op >= MYEPOLL_CTL_SET))
		op = 0;
	if (door_shut(r) && !unknown) {
		if (op == EPOLL_CTL_DEL || can_read(event))
			r = door_ioctl_ctl(epfd, op, fd, event);
		else
			r = -EFAULT;
	}
	if (!door_answered(r)) {
		struct door_call c = { .nr = __NR_epoll_ctl, .epfd = epfd, .op = op, .fd = fd,
				       .events = event, .by_number = by_number };

		by = settle(&c, &r, unknown) ? &ours : &theirs;
	}
	if (counting() && door_answered(r))
		count(&by->ctl, 1);
	return sys_return(r);
}

/*
 * The fast paths are all that most calls run. What may follow the system call is
 * the last thing done, a jump, so next to nothing has to be saved for it.
 */
static inline int ctl(int epfd, int op, int fd, struct epoll_event *event, bool by_number)
{
	long r = DOOR_NOT_ASKED;

	if (likely(door_which() == MYEPOLL_DOOR_FAST && op < MYEPOLL_CTL_SET)) {
		r = door_fast(epfd, event, MYEPOLL_FAST_ARGS(fd, op), MYEPOLL_FAST_CTL);
		if (likely(!r && !counting()))
			return 0;
	}
	return ctl_general(epfd, op, fd, event, r, by_number);
}

/*
 * epoll_wait, epoll_pwait and epoll_pwait2 with the arguments of system call
 * @nr. The kernel's own is called by the number or name that the program used: a
 * sandbox may know one and not the other.
 */
static __attribute__((noinline)) int
wait_general(long nr, int epfd, struct epoll_event *events, int maxevents, long timeout,
	     const sigset_t *mask, long r, bool by_number)
{
	struct door_call c = { .nr = nr, .epfd = epfd, .events = events, .maxevents = maxevents,
			       .ns = door_ns((int)timeout), .timeout = timeout, .mask = mask,
			       .by_number = by_number };
	const bool kernel_first = door_which() == MYEPOLL_DOOR_UNKNOWN || mask ||
				  (nr == __NR_epoll_pwait2 && timeout);
	struct tally *by = settle(&c, &r, kernel_first) ? &ours : &theirs;

	if (counting() && door_answered(r))
		count_wait(by, r);
	return sys_return(r);
}

static __attribute__((noinline)) int
wait_ms_general(int epfd, struct epoll_event *events, int64_t args, long r)
{
	const int maxevents = (int)args, ms = (int)(args >> 32);

	if (r == DOOR_NOT_ASKED && door_which() == MYEPOLL_DOOR_IOCTL)
		r = door_ioctl_wait(epfd, events, maxevents, door_ns(ms), NULL);
	if (unlikely(!door_answered(r)))
		return wait_general(__NR_epoll_wait, epfd, events, maxevents, ms, NULL, r, false);
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
	return create(__NR_epoll_create1, flags, false);
}

EXPORT int epoll_create(int size)
{
	if (size <= 0)
		return sys_return(-EINVAL);
#ifdef __NR_epoll_create
	return create(__NR_epoll_create, size, false);
#else
	return create(__NR_epoll_create1, 0, false);
#endif
}

EXPORT int epoll_ctl(int epfd, int op, int fd, struct epoll_event *event)
{
	return ctl(epfd, op, fd, event, false);
}

EXPORT int epoll_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
	return cancel_wait(epfd, events, maxevents, timeout);
}

EXPORT int epoll_pwait(int epfd, struct epoll_event *events, int maxevents, int timeout,
		       const sigset_t *mask)
{
	int cancel, r;

	/* Not while no door is known: the kernel has to get an epoll_pwait, see wait_general(). */
	if (likely(!mask && door_which() == MYEPOLL_DOOR_FAST))
		return cancel_wait(epfd, events, maxevents, timeout);
	cancel = cancel_enter(timeout != 0);
	r = wait_general(__NR_epoll_pwait, epfd, events, maxevents, timeout, mask,
			 DOOR_NOT_ASKED, false);
	cancel_leave(cancel);
	return r;
}

EXPORT int epoll_pwait2(int epfd, struct epoll_event *events, int maxevents,
			const struct timespec *timeout, const sigset_t *mask)
{
	int cancel = cancel_enter(true);
	int r = wait_general(__NR_epoll_pwait2, epfd, events, maxevents, (long)timeout, mask,
			     DOOR_NOT_ASKED, false);

	cancel_leave(cancel);
	return r;
}

/* Is the module absent, so that no instance can be its own? Making one is the only sure test. */
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

/*
 * syscall(2), which is not a cancellation point, with one of our numbers. Only
 * arguments that the system call has are looked at.
 */
__attribute__((used, visibility("hidden"))) long our_syscall(long nr, long a, long b, long c, long d,
							long e, long f)
{
	switch (nr) {
#ifdef __NR_epoll_create
	case __NR_epoll_create:
		if ((int)a <= 0)
			return sys_return(-EINVAL);
#endif
		/* fall through */
	case __NR_epoll_create1:
		return create(nr, (int)a, true);
	case __NR_epoll_ctl:
		return ctl((int)a, (int)b, (int)c, (struct epoll_event *)d, true);
#ifndef NO_EPOLL_WAIT
	case __NR_epoll_wait:
		return wait_general(nr, (int)a, (struct epoll_event *)b, (int)c, (int)d, NULL,
				    DOOR_NOT_ASKED, true);
#endif
	case __NR_epoll_pwait:
	case __NR_epoll_pwait2:
		/* The kernel refuses this size before it looks at the descriptor. Let it say how. */
		if (e && f != KERNEL_SIGSET_SIZE)
			break;
		return wait_general(nr, (int)a, (struct epoll_event *)b, (int)c, d,
				    (sigset_t *)e, DOOR_NOT_ASKED, true);
	case __NR_io_uring_setup:
		if (!(get_settings() & IO_URING) && !without_module())
			return sys_return(-ENOSYS);
		break;
	}
	return next_syscall(nr, a, b, c, d, e, f);
}

/* A system call's result may be any long: an address, say. */
__attribute__((used, visibility("hidden"))) long failed_syscall(long r)
{
	errno = (int)-r;
	return -1;
}

/*
 * Some system calls depend on the caller's stack pointer: a child of clone(2) with a
 * stack of its own returns by what the caller put there. So nothing may be pushed on the
 * way. On x86-64 syscall() compares the number and jumps, with stack and arguments
 * as they came.
 */
#if defined(__x86_64__) && defined(__LP64__)

#define STRING_(text)	#text
#define STRING(text)	STRING_(text)
#define IF_OURS(nr)	"	cmpq	$" STRING(nr) ", %rdi\n	je	1f\n"

__asm__("	.text\n"
	"	.globl	syscall\n"
	"	.type	syscall, @function\n"
	"	.p2align 4\n"
	"syscall:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	IF_OURS(__NR_epoll_create)
	IF_OURS(__NR_epoll_create1)
	IF_OURS(__NR_epoll_ctl)
	IF_OURS(__NR_epoll_wait)
	IF_OURS(__NR_epoll_pwait)
	IF_OURS(__NR_epoll_pwait2)
	IF_OURS(__NR_io_uring_setup)
	"	jmp	*next_syscall(%rip)\n"
	"1:	jmp	our_syscall\n"
	"	.cfi_endproc\n"
	"	.size	syscall, . - syscall\n"

	/* The arguments move down by one: the number is not among the kernel's. */
	"	.hidden	plain_syscall\n"
	"	.globl	plain_syscall\n"
	"	.type	plain_syscall, @function\n"
	"	.p2align 4\n"
	"plain_syscall:\n"
	"	.cfi_startproc\n"
	"	endbr64\n"
	"	movq	%rdi, %rax\n"
	"	movq	%rsi, %rdi\n"
	"	movq	%rdx, %rsi\n"
	"	movq	%rcx, %rdx\n"
	"	movq	%r8, %r10\n"
	"	movq	%r9, %r8\n"
	"	movq	8(%rsp), %r9\n"
	"	syscall\n"
	"	cmpq	$-4095, %rax\n"
	"	jae	1f\n"
	"	ret\n"
	"1:	movq	%rax, %rdi\n"
	"	jmp	failed_syscall\n"
	"	.cfi_endproc\n"
	"	.size	plain_syscall, . - plain_syscall\n");

#else

/* In C, with a stack frame: those calls do not work here. */
#define FETCH(ap, nr)                                                                         \
	va_start(ap, nr);                                                                     \
	for (int i = 0; i < 6; i++)                                                           \
		arg[i] = va_arg(ap, long);                                                    \
	va_end(ap)

EXPORT long syscall(long nr, ...)
{
	long arg[6];
	va_list ap;

	FETCH(ap, nr);
	return our_syscall(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
}

long plain_syscall(long nr, ...)
{
	long arg[6], r;
	va_list ap;

	FETCH(ap, nr);
	r = sys6(nr, arg[0], arg[1], arg[2], arg[3], arg[4], arg[5]);
	return (unsigned long)r > -4096UL ? failed_syscall(r) : r;
}

#endif
