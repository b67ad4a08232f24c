/* SPDX-License-Identifier: MIT */
/*
 * watched.h - what MemorySanitizer, ThreadSanitizer and Valgrind have to be told
 *
 * Private. These tools know what epoll's functions and system calls do to the
 * program's memory. They do not know what the module does to it, so they would report
 * faults that are none: events that nobody wrote, or a race for data that one thread
 * hands to another through an instance. A program under such a tool takes the ioctl
 * door. Only the code of that door tells the tools, so the fast paths need not check
 * for them. (Under Valgrind the fast door would not work: Valgrind believes that
 * fadvise64 never blocks, and would let no other thread run.)
 */
#ifndef MYEPOLL_WATCHED_H
#define MYEPOLL_WATCHED_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* In the sanitizers' runtimes, and nowhere else */
extern void __msan_unpoison(const volatile void *p, size_t size) __attribute__((weak));
extern void __tsan_acquire(void *p) __attribute__((weak));
extern void __tsan_release(void *p) __attribute__((weak));

/* A few instructions that do nothing, but which Valgrind takes for a request to it. */
enum {
	VALGRIND_RUNNING = 0x1001,
	VALGRIND_SILENCE = 0x1801, /* 1 begins it for this thread, -1 ends it */
	VALGRIND_MEM_DEFINED = ('M' << 24 | 'C' << 16) + 2, /* memcheck's */
};

static inline uintptr_t watched_valgrind(uintptr_t request, uintptr_t a, uintptr_t b)
{
#if defined(__x86_64__) && defined(__LP64__)
	const uintptr_t volatile args[6] = { request, a, b };
	uintptr_t r = 0;

	__asm__ volatile("rolq $3, %%rdi\n\t"
			 "rolq $13, %%rdi\n\t"
			 "rolq $61, %%rdi\n\t"
			 "rolq $51, %%rdi\n\t"
			 "xchgq %%rbx, %%rbx"
			 : "+d"(r)
			 : "a"(args)
			 : "cc", "memory");
	return r;
#else
	(void)request, (void)a, (void)b;
	return 0;
#endif
}

static inline bool watched(void)
{
	return __msan_unpoison || __tsan_acquire || watched_valgrind(VALGRIND_RUNNING, 0, 0);
}

/*
 * The address that stands for an instance in what ThreadSanitizer is told. Two
 * instances may share an address, and then a race between their users can go unreported.
 */
static inline void *watched_instance(int epfd)
{
	static char instances[256];

	return &instances[(unsigned int)epfd % sizeof(instances)];
}

/*
 * ThreadSanitizer puts a signal's handler off until the thread calls a function that
 * blocks or returns from one that it knows, and it does not know the module's waits. So
 * it gets such a call, where libc's epoll_wait(3) lets the handler run: before a wait,
 * and after one that the signal ended.
 */
static inline void watched_signals(void)
{
	sigset_t now;

	if (__tsan_acquire)
		pthread_sigmask(SIG_BLOCK, NULL, &now);
}

/* What this thread did before a ctl happened before a wait that returns an event. */
static inline void watched_release(int epfd)
{
	if (__tsan_release)
		__tsan_release(watched_instance(epfd));
}

/* The module has written @size bytes. */
static inline void watched_written(void *p, size_t size)
{
	if (__msan_unpoison)
		__msan_unpoison(p, size);
	watched_valgrind(VALGRIND_MEM_DEFINED, (uintptr_t)p, size);
}

/* The other half of watched_release(). Also, the module has written @size bytes of events. */
static inline void watched_acquire(int epfd, void *events, size_t size)
{
	watched_written(events, size);
	if (__tsan_acquire)
		__tsan_acquire(watched_instance(epfd));
}

#endif /* MYEPOLL_WATCHED_H */
