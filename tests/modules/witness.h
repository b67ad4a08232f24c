/* SPDX-License-Identifier: GPL-2.0 WITH Linux-syscall-note */
/*
 * witness.h - /dev/witness, for the tests of myepoll; see witness.c
 */
#ifndef WITNESS_H
#define WITNESS_H

#include <linux/ioctl.h>

/* Arguments are numbers; a result is that of ioctl(2). */

/* ->poll answers this from now on */
#define WITNESS_READY		_IO('W', 0)
/*
 * Wake the file's queue with this key, as a source does for one exclusive waiter.
 * Result: how many threads were woken, each time with the hint that was given.
 */
#define WITNESS_WAKE		_IO('W', 1)
/* The same with the hint that the waker is about to sleep (wake_up_..._sync) */
#define WITNESS_WAKE_SYNC	_IO('W', 2)
/* The queue dies before the file: POLLFREE, and after a grace period it is freed */
#define WITNESS_POLLFREE	_IO('W', 3)
/* The socket of this number seems to have received through queue WITNESS_NAPI_ID */
#define WITNESS_NAPI		_IO('W', 4)
#define WITNESS_NAPI_ID		(1 << 24)
/* How often the process has busy polled that queue since WITNESS_NAPI */
#define WITNESS_BUSY		_IO('W', 5)
/* The slack of the last sleep with a timeout in this process, in ns */
#define WITNESS_SLACK		_IO('W', 6)
/* A descriptor of another file, with an anonymous inode as a driver's may be. It is writable. */
#define WITNESS_ANON		_IO('W', 7)
/* From now on (1), or not any more (0), the ->poll of that file sleeps before it answers */
#define WITNESS_STALL		_IO('W', 8)

#endif /* WITNESS_H */
