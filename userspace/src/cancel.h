/* SPDX-License-Identifier: MIT */
/*
 * cancel.h - waits are cancellation points, as libc's epoll_wait(3) is
 *
 * Private. A thread is cancelled inside a blocking system call only while its
 * type is asynchronous, so that is set around the call and nothing else.
 * A cancellation that arrives after the kernel has handed out events and before
 * the type is restored loses them, as in every glibc before 2.41. Only the
 * cancelled thread could have acted on them; edge-triggered and one-shot
 * events that another thread should take over are the ones to think about.
 *
 * A thread that is alone can be cancelled by itself only, so before the call
 * and not during it, and is spared the change of type. (pthread_cancel(3) then
 * says that it is not alone, but not where the program has a copy of the word.)
 */
#ifndef MYEPOLL_CANCEL_H
#define MYEPOLL_CANCEL_H

#include <pthread.h>
#include <stdbool.h>

#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#else
static const char __libc_single_threaded = 0;
#endif

enum { CANCEL_UNTOUCHED = -1 };

static inline bool cancel_alone(void)
{
	return __libc_single_threaded;
}

static inline int cancel_enter(bool blocks)
{
	int old;

	if (!blocks || cancel_alone()) {
		pthread_testcancel();
		return CANCEL_UNTOUCHED;
	}
	pthread_setcanceltype(PTHREAD_CANCEL_ASYNCHRONOUS, &old);
	return old;
}

static inline void cancel_leave(int old)
{
	if (__builtin_expect(old != CANCEL_UNTOUCHED, 0))
		pthread_setcanceltype(old, &old);
}

#endif /* MYEPOLL_CANCEL_H */
