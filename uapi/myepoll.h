/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * myepoll - the interface between programs and the myepoll module
 *
 * An instance is a file descriptor, [myepoll] in /proc/PID/fd, made by an
 * ioctl on /dev/myepoll. Two doors lead into it and do the same work with the
 * same checks in the same order:
 *
 *   ioctl(2)		the complete interface
 *   fadvise64(2)	CTL and the millisecond WAIT with the arguments in three
 *			registers, for what an ioctl costs before it does
 *			anything; see "The fast door" below
 *
 * Every call returns what epoll_create1(2), epoll_ctl(2) and epoll_wait(2)
 * return; errors are theirs too. Events cross in the layout of epoll's own
 * struct epoll_event: packed on x86-64, naturally aligned elsewhere.
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
 * a shorter one is read as if the rest were 0. Reserved fields and unknown
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
 * @op:		EPOLL_CTL_ADD, EPOLL_CTL_MOD or EPOLL_CTL_DEL
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

/*
 * The fast door
 * -------------
 *
 * posix_fadvise(2)'s system call on a [myepoll] file descriptor:
 *
 *   fadvise64(fd, event,  MYEPOLL_FAST_ARGS(target, op),            MYEPOLL_FAST_CTL)
 *   fadvise64(fd, events, MYEPOLL_FAST_ARGS(maxevents, timeout_ms), MYEPOLL_FAST_WAIT)
 *
 * The offset is the address of a struct epoll_event (not read for DEL) or of
 * an array of them; the length carries two 32-bit integers; the advice, the
 * operation. A timeout is in milliseconds, negative waits forever.
 *
 * A 32-bit program uses fadvise64_64, since its fadvise64 has no room for both.
 *
 * Where the module was loaded with fast_door=0, both are EINVAL, and so they are
 * for io_uring's IORING_OP_FADVISE: that is no third door. Other advices are
 * answered as on an epoll file: 0 for those of posix_fadvise(2), EINVAL for the
 * rest. Any other file answers these two with EINVAL, ESPIPE or EBADF, never
 * with success.
 */
#define MYEPOLL_FAST_CTL	0x6d790001
#define MYEPOLL_FAST_WAIT	0x6d790002

#define MYEPOLL_FAST_ARGS(lo, hi) \
	((__s64)(((__u64)(__u32)(hi) << 32) | (__u32)(lo)))

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

#endif /* _UAPI_MYEPOLL_H */
