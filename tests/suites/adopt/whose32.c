// SPDX-License-Identifier: GPL-2.0
/*
 * whose32 - whose instance does a 32-bit program get?
 *
 * Without libc, so that no 32-bit one has to be installed: gcc -m32 -nostdlib. Makes an
 * instance by each of the two calls and uses it by each of the others. Exit status: 20 if
 * all are myepoll's, 10 if all are epoll's, else another: see Whose in adopt.cpp.
 */
#include <asm/unistd_32.h>

struct event {
	unsigned int events;
	unsigned long long data;
} __attribute__((packed));

static int call(int nr, int a, int b, int c, int d, int e, int f)
{
	struct {
		int nr, f;
	} two = { nr, f };
	int ret;

	/* %ebp, the sixth argument, is none that the compiler gives away. */
	asm volatile("push %%ebp\n\t"
		     "mov 4(%%eax), %%ebp\n\t"
		     "mov (%%eax), %%eax\n\t"
		     "int $0x80\n\t"
		     "pop %%ebp"
		     : "=a"(ret)
		     : "a"(&two), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e)
		     : "memory");
	return ret;
}

static int address(const void *p)
{
	return (int)p;
}

static int whose(int fd)
{
	char path[] = "/proc/self/fd/0", link[64];
	int n;

	path[14] += fd;
	n = call(__NR_readlink, address(path), address(link), sizeof(link), 0, 0, 0);
	return n == 20 && link[12] == 'm' ? 20 : n == 22 && link[12] == 'e' ? 10 : 30;
}

static int works(int ep)
{
	struct event event = { 1 /* EPOLLIN */, 7 }, got;
	int fd = call(__NR_eventfd2, 1, 0, 0, 0, 0, 0);
	unsigned long long mask = 0;

	if (call(__NR_epoll_ctl, ep, 1 /* ADD */, fd, address(&event), 0, 0) ||
	    call(__NR_epoll_wait, ep, address(&got), 1, 0, 0, 0) != 1 || got.data != 7 ||
	    call(__NR_epoll_pwait, ep, address(&got), 1, 0, address(&mask), sizeof(mask)) != 1 ||
	    call(__NR_epoll_pwait2, ep, address(&got), 1, 0, address(&mask), sizeof(mask)) != 1)
		return 0;
	return !call(__NR_close, fd, 0, 0, 0, 0, 0);
}

void _start(void)
{
	int one = call(__NR_epoll_create1, 0, 0, 0, 0, 0, 0);
	int two = call(__NR_epoll_create, 1, 0, 0, 0, 0, 0);
	int answer = whose(one);

	if (whose(two) != answer)
		answer = 40;
	if (!works(one) || !works(two))
		answer = 50;
	call(__NR_exit, answer, 0, 0, 0, 0, 0);
	__builtin_unreachable();
}
