/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * myepoll - the interface between programs and the myepoll module
 *
 * An instance is a file descriptor, [myepoll] in /proc/PID/fd, made by an
 * ioctl on /dev/myepoll. Two doors lead into it and do the same work with the
 * same checks in the same order:
 *
 *   ioctl(2)		the complete interface
 *   fadvise64(2)	CTL, the millisecond WAIT and TURN with the arguments in three
 *			registers, for what an ioctl costs before it does
 *			anything; see "The fast door" below
 *
 * Calls that epoll has return what epoll_create1(2), epoll_ctl(2) and epoll_wait(2)
 * return; errors are theirs too. Events cross in the layout of epoll's own
 * struct epoll_event: packed on x86-64, naturally aligned elsewhere.
 *
 * What epoll does not have is under "Beyond epoll". MYEPOLL_IOC_FEATURES says whether
 * the module that is loaded has it.
 */
#ifndef _UAPI_MYEPOLL_H
#define _UAPI_MYEPOLL_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define MYEPOLL_DEVICE		"/dev/myepoll"

/* An unregistered ioctl magic: Documentation's ioctl-number.rst has no owner. */
#define MYEPOLL_IOC_MAGIC	0xE7

#ifdef __x86_64__
#define MYEPOLL_PACKED		__attribute__((packed))
#else
#define MYEPOLL_PACKED
#endif

/**
 * struct myepoll_event - one event, byte for byte a struct epoll_event
 * @events:	EPOLL* bits
 * @data:	the caller's, returned as it was given
 *
 * Of its own name so that this header can stand beside <sys/epoll.h> and
 * <linux/eventpoll.h>, which both define struct epoll_event.
 */
struct myepoll_event {
	__u32 events;
	__u64 data;
} MYEPOLL_PACKED;

/*
 * The structures below may grow at the end. A program compiled for a longer
 * one is refused with E2BIG where it sets a field this module does not know;
 * a shorter one is read as if the rest were 0. None is longer than an ioctl's number can
 * say (E2BIG). Reserved fields and unknown
 * flag bits must be 0 (EINVAL).
 */

/* The only flag of create; epoll's EPOLL_CLOEXEC (and O_CLOEXEC) itself. */
#define MYEPOLL_CLOEXEC		02000000

/**
 * struct myepoll_create - argument of MYEPOLL_IOC_CREATE
 * @flags:	0 or MYEPOLL_CLOEXEC
 * @reserved:	0
 *
 * Returns the new file descriptor. Errors: EINVAL, ENOMEM, EMFILE, ENFILE;
 * see epoll_create1(2).
 */
struct myepoll_create {
	__u32 flags;
	__u32 reserved;
};

/**
 * struct myepoll_ctl - argument of MYEPOLL_IOC_CTL
 * @op:		EPOLL_CTL_ADD, EPOLL_CTL_MOD or EPOLL_CTL_DEL; or MYEPOLL_CTL_*, see
 *		"Beyond epoll"
 * @fd:		the file descriptor to watch, in the caller's table
 * @events:	EPOLL* bits; ignored for DEL
 * @reserved:	0
 * @data:	comes back with each event; ignored for DEL
 *
 * Errors: those of epoll_ctl(2), and ELOOP where @fd is an epoll instance of
 * the kernel's own: a cycle through both kinds could not be detected.
 */
struct myepoll_ctl {
	__s32 op;
	__s32 fd;
	__u32 events;
	__u32 reserved;
	__u64 data;
};

/* struct myepoll_wait: @sigmask is to be the signal mask during the wait */
#define MYEPOLL_WAIT_SIGMASK	0x1

/**
 * struct myepoll_wait - argument of MYEPOLL_IOC_WAIT
 * @events:	address of an array of struct myepoll_event (epoll_event)
 * @timeout:	nanoseconds from now; 0 does not wait, negative waits forever
 * @sigmask:	bit n-1 for signal n, as in the kernel's sigset_t; read only
 *		with MYEPOLL_WAIT_SIGMASK
 * @maxevents:	length of the array, 1 and more
 * @flags:	0 or MYEPOLL_WAIT_SIGMASK
 *
 * One call for epoll_wait, epoll_pwait and epoll_pwait2. Returns the number of
 * events written, 0 at the timeout. Errors: EINVAL, EFAULT, EINTR; see
 * epoll_wait(2).
 */
struct myepoll_wait {
	__u64 events;
	__s64 timeout;
	__u64 sigmask;
	__s32 maxevents;
	__u32 flags;
};

/* On /dev/myepoll */
#define MYEPOLL_IOC_CREATE	_IOW(MYEPOLL_IOC_MAGIC, 0x00, struct myepoll_create)

/*
 * On a [myepoll] file descriptor. It also answers EPIOCSPARAMS and
 * EPIOCGPARAMS of <linux/eventpoll.h>, on kernels before 6.9 too.
 */
#define MYEPOLL_IOC_CTL		_IOW(MYEPOLL_IOC_MAGIC, 0x01, struct myepoll_ctl)
#define MYEPOLL_IOC_WAIT	_IOW(MYEPOLL_IOC_MAGIC, 0x02, struct myepoll_wait)

/*
 * On either: what this module can do, as MYEPOLL_FEATURE_* bits in a __u64.
 * Success also says that the file descriptor is one of the module's.
 */
#define MYEPOLL_IOC_FEATURES	_IOR(MYEPOLL_IOC_MAGIC, 0x03, __u64)

/* The module was loaded with the fast door open. */
#define MYEPOLL_FEATURE_FAST_DOOR	(1ULL << 0)
/* MYEPOLL_IOC_TURN, and MYEPOLL_FAST_TURN where the fast door is open */
#define MYEPOLL_FEATURE_TURN		(1ULL << 1)
/* MYEPOLL_CTL_SET, MYEPOLL_CTL_DISABLE, MYEPOLL_CTL_DROP and MYEPOLL_IOC_LIST */
#define MYEPOLL_FEATURE_OPS		(1ULL << 2)
/* MYEPOLL_IOC_SET_OPTIONS and MYEPOLL_IOC_GET_OPTIONS, with all MYEPOLL_OPT_* below */
#define MYEPOLL_FEATURE_OPTIONS		(1ULL << 3)
/* MYEPOLL_IOC_INFO, and the tracepoints of the system "myepoll", if the kernel has any */
#define MYEPOLL_FEATURE_TRACE		(1ULL << 4)

/*
 * The fast door
 * -------------
 *
 * posix_fadvise(2)'s system call on a [myepoll] file descriptor:
 *
 *   fadvise64(fd, event,  MYEPOLL_FAST_ARGS(target, op),            MYEPOLL_FAST_CTL)
 *   fadvise64(fd, events, MYEPOLL_FAST_ARGS(maxevents, timeout_ms), MYEPOLL_FAST_WAIT)
 *   fadvise64(fd, turn,   sizeof(struct myepoll_turn),              MYEPOLL_FAST_TURN)
 *
 * The offset is the address of a struct epoll_event (not read for DEL), of
 * an array of them, or of a struct myepoll_turn; the length carries two 32-bit
 * integers, or a size; the advice, the operation. A timeout is in milliseconds,
 * negative waits forever.
 *
 * A 32-bit program uses fadvise64_64, since its fadvise64 has no room for both.
 *
 * Where the module was loaded with fast_door=0, all are EINVAL, and so they are
 * for io_uring's IORING_OP_FADVISE: that is no third door. Other advices are
 * answered as on an epoll file: 0 for those of posix_fadvise(2), EINVAL for the
 * rest. Any other file answers these with EINVAL, ESPIPE or EBADF, never
 * with success.
 */
#define MYEPOLL_FAST_CTL	0x6d790001
#define MYEPOLL_FAST_WAIT	0x6d790002
#define MYEPOLL_FAST_TURN	0x6d790003

#define MYEPOLL_FAST_ARGS(lo, hi) \
	((__s64)(((__u64)(__u32)(hi) << 32) | (__u32)(lo)))

/*
 * Beyond epoll
 * ------------
 *
 * Operations that epoll_ctl(2) does not have, for CTL by both doors and for TURN. On
 * an instance that epoll_create(2) of an adopted process has made they are EINVAL, as
 * for epoll.
 *
 * MYEPOLL_CTL_SET: ADD, or MOD if the descriptor is watched already. Errors are
 * those of the one or the other, but EEXIST and ENOENT.
 *
 * MYEPOLL_CTL_DISABLE: a one-shot watch reports no event any more. If this
 * fails with EBUSY, its event has been reported and it has not been armed again (MOD):
 * whoever has taken the event may still be using what @data points to. He learns of
 * it, since in either case MOD and SET of this watch fail with ECANCELED from now on, and
 * DISABLE with EALREADY. EINVAL for a watch that is not one-shot. @events and @data are
 * ignored, though the fast door reads them.
 *
 * MYEPOLL_CTL_DROP: remove all watches whose token is @data, whether or not their
 * descriptor is open; @fd must be -1 (EINVAL) and @events is ignored. ENOENT if
 * there is none. Takes time in proportion to the number of watches of the instance.
 */
#define MYEPOLL_CTL_SET		16
#define MYEPOLL_CTL_DISABLE	17
#define MYEPOLL_CTL_DROP	18

/**
 * struct myepoll_change - one change of a turn
 * @op:		as in struct myepoll_ctl, like the other members
 * @fd:		...
 * @events:	...
 * @result:	written: 0 or a negative errno, what CTL would have said
 * @data:	...
 */
struct myepoll_change {
	__s32 op;
	__s32 fd;
	__u32 events;
	__s32 result;
	__u64 data;
};

/* struct myepoll_turn: @sigmask is to be the signal mask during the wait */
#define MYEPOLL_TURN_SIGMASK	0x1
/* ... and the first change that fails is the last that is tried */
#define MYEPOLL_TURN_STOP	0x2

/**
 * struct myepoll_turn - argument of MYEPOLL_IOC_TURN
 * @changes:	address of an array of struct myepoll_change
 * @events:	address of an array of struct myepoll_event (epoll_event)
 * @timeout:	as in struct myepoll_wait
 * @sigmask:	bit n-1 for signal n; read only with MYEPOLL_TURN_SIGMASK
 * @nchanges:	length of @changes, may be 0
 * @maxevents:	length of @events; 0: changes alone, no wait
 * @flags:	MYEPOLL_TURN_*
 * @reserved:	0
 * @done:	written: so many changes have been tried, and have their @result
 * @failed:	written: so many of these have failed
 *
 * Does the changes in their order, each as CTL does it, and then waits as WAIT does. If
 * a change has failed, the wait only looks, as with a @timeout of 0.
 *
 * Returns the number of events written, which may be 0. Errors of the arguments (EINVAL,
 * EFAULT) are found before anything is done, except for memory that cannot be read or
 * written (EFAULT). For these, for a thread that is being killed (EINTR) and for those of
 * the wait (EFAULT, EINTR) what is done stays done, and @done says how far that is. If
 * results cannot be written, @done counts those changes all the same. Other threads
 * may come between two changes, and between the changes and the wait.
 */
struct myepoll_turn {
	__u64 changes;
	__u64 events;
	__s64 timeout;
	__u64 sigmask;
	__u32 nchanges;
	__s32 maxevents;
	__u32 flags;
	__u32 reserved;
	__u32 done;
	__u32 failed;
};

#define MYEPOLL_IOC_TURN	_IOWR(MYEPOLL_IOC_MAGIC, 0x04, struct myepoll_turn)

/* What struct myepoll_watch says of a watch: */
#define MYEPOLL_WATCH_READY	0x1	/* on the ready list: the next wait looks at it */
#define MYEPOLL_WATCH_FIRED	0x2	/* one-shot, has fired, and is not armed again */
#define MYEPOLL_WATCH_DISABLED	0x4	/* by MYEPOLL_CTL_DISABLE */
#define MYEPOLL_WATCH_OPEN	0x8	/* @fd still is that file, in the caller's table */

/**
 * struct myepoll_watch - one watch, as MYEPOLL_IOC_LIST tells it
 * @data:	token
 * @fd:		the number it was added under
 * @events:	mask, with EPOLLERR and EPOLLHUP, which are always watched for
 * @state:	MYEPOLL_WATCH_*
 * @reserved:	0
 */
struct myepoll_watch {
	__u64 data;
	__s32 fd;
	__u32 events;
	__u32 state;
	__u32 reserved;
};

/**
 * struct myepoll_list - argument of MYEPOLL_IOC_LIST
 * @watches:	address of an array of struct myepoll_watch
 * @room:	its length, may be 0
 * @size:	sizeof(struct myepoll_watch); what the module does not know is filled with 0
 *
 * Writes the interest list, oldest first. Returns how many watches there are, which may
 * be more than @room. Errors: EINVAL, EFAULT, EINTR (the thread is being killed).
 */
struct myepoll_list {
	__u64 watches;
	__u32 room;
	__u32 size;
};

#define MYEPOLL_IOC_LIST	_IOW(MYEPOLL_IOC_MAGIC, 0x05, struct myepoll_list)

/*
 * Threads that wait are woken in the order in which they fell asleep, not the last one
 * first; and an EPOLLEXCLUSIVE watch that has had an event goes behind the other exclusive
 * watches of its file, so that instances take turns.
 */
#define MYEPOLL_OPT_FAIR	0x1
/*
 * A listening socket is watched as if with EPOLLEXCLUSIVE, and takes turns as by
 * MYEPOLL_OPT_FAIR. MOD of such a watch works, and its mask is shown without the bit. Where
 * it goes, or does not ask for connections any more, the next watch is told of those that
 * are there.
 */
#define MYEPOLL_OPT_BALANCE	0x2

#define MYEPOLL_MAX_MIN_WAIT	65535

/**
 * struct myepoll_options - argument of MYEPOLL_IOC_SET_OPTIONS and ..._GET_OPTIONS
 * @flags:	MYEPOLL_OPT_*
 * @min_wait:	microseconds, at most MYEPOLL_MAX_MIN_WAIT
 * @reserved:	0
 *
 * Options of an instance, all off in a new one. Those of @flags that are about watches
 * hold for what is added from then on.
 *
 * A wait that may sleep returns no sooner than @min_wait after it began, unless there
 * are as many events as its buffer takes (or 1024), its timeout ends, or a signal comes.
 * A wait with timeout 0 only looks, as ever.
 *
 * Errors: EINVAL, EFAULT.
 */
struct myepoll_options {
	__u32 flags;
	__u32 min_wait;
	__u32 reserved[2];
};

#define MYEPOLL_IOC_SET_OPTIONS	_IOW(MYEPOLL_IOC_MAGIC, 0x06, struct myepoll_options)
#define MYEPOLL_IOC_GET_OPTIONS	_IOR(MYEPOLL_IOC_MAGIC, 0x07, struct myepoll_options)

/* What struct myepoll_info says of an instance: */
#define MYEPOLL_INFO_ADOPTED	0x1	/* made by epoll_create(2), see "Adoption" below */

/**
 * struct myepoll_info - argument of MYEPOLL_IOC_INFO
 * @instance:	the number that tracepoints call the instance by
 * @flags:	MYEPOLL_INFO_*
 * @reserved:	0
 *
 * Numbers begin with 1, and are not used again before 2^32 others were. An instance gets
 * one when somebody asks, or a tracepoint tells of it for the first time.
 *
 * Errors: EINVAL, EFAULT.
 */
struct myepoll_info {
	__u64 instance;
	__u32 flags;
	__u32 reserved;
};

#define MYEPOLL_IOC_INFO	_IOR(MYEPOLL_IOC_MAGIC, 0x08, struct myepoll_info)

/*
 * Adoption
 * --------
 *
 * A bit of personality(2) that the kernel has no use for. Where the module's parameter
 * "adopt" is 1, epoll_create(2) and epoll_create1(2) of a process that has it make an
 * instance of the module's, and epoll_ctl(2), epoll_wait(2), epoll_pwait(2) and
 * epoll_pwait2(2) on such an instance are the module's, with the same results as by the
 * two doors. On other descriptors they are the kernel's.
 *
 * No privilege is needed. fork(2) and clone(2) inherit the bit, execve(2) keeps it. A
 * program that has gained privilege by execve(2) (AT_SECURE in getauxval(3)) makes
 * instances of the kernel's.
 */
#define MYEPOLL_PERSONALITY	0x10000000

/*
 * Options of the instances that an adopted process makes, in further bits: MYEPOLL_OPT_FAIR
 * and MYEPOLL_OPT_BALANCE; and MYEPOLL_PERSONALITY_MIN_WAIT(n, e) is a min_wait of n (1 to
 * 63) times 10^e (e from 0 to 3) microseconds.
 */
#define MYEPOLL_PERSONALITY_FAIR	0x20000000
#define MYEPOLL_PERSONALITY_BALANCE	0x40000000
#define MYEPOLL_PERSONALITY_MIN_WAIT(n, e)	((n) << 8 | (e) << 14)

#endif /* _UAPI_MYEPOLL_H */
