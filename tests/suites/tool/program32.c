// SPDX-License-Identifier: GPL-2.0
/*
 * A 32-bit program without a libc, which Debian's compiler makes without further packages.
 * Exits with 0 if epoll_create1(2) makes an instance of the module's, and else with 1.
 */
#include <asm/unistd_32.h>

#include "uapi/myepoll.h"

static long call(long nr, long a, long b, long c)
{
	long r;

	__asm__ volatile("int $0x80" : "=a"(r) : "a"(nr), "b"(a), "c"(b), "d"(c) : "memory");
	return r;
}

void _start(void)
{
	__u64 features;
	const long fd = call(__NR_epoll_create1, 0, 0, 0);

	call(__NR_exit, call(__NR_ioctl, fd, MYEPOLL_IOC_FEATURES, (long)&features) != 0, 0, 0);
}
