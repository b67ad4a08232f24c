/* SPDX-License-Identifier: MIT */
/*
 * cancel.h - waits are cancellation points, as libc's epoll_wait(3) is
 *
 * Private. A thread is cancelled inside a blocking system call only while its
 * cancellation type is asynchronous, so the type is set to that around the call and
 * nothing else.
 * If the cancellation arrives after the kernel has handed out events and before
 * the type is restored, those events are lost, as in every glibc before 2.41. It
 * matters if another thread is to handle the descriptors from then on, and the events are
 * edge-triggered or one-shot: they are not reported again.
 *
 * A thread that is alone in its process can only be cancelled by itself. It
 * does so before the call and not during it, so the type is left alone. (Once it has
 * called pthread_cancel(3), libc's variable says that it is not alone. But a program may
 * have its own copy of that variable, and the copy does not change. So a pending
 * cancellation is tested for in either case.)
 */
#ifndef MYEPOLL_CANCEL_H
#define MYEPOLL_CANCEL_H

#include <pthread.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/epoll.h>

#include "../../uapi/myepoll.h"

#if defined(__GLIBC__) && __has_include(<sys/single_threaded.h>)
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
		pthread_setcanceltype(old, NULL);
}

/*
 * epoll_wait(3) by the library that includes this. @args are maxevents and timeout
 * as MYEPOLL_FAST_ARGS(), for either door: that is one register to save and not two.
 */
static inline int wait_ms(int epfd, struct epoll_event *events, int64_t args);

static __attribute__((noinline)) int
cancel_wait_threaded(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
	int64_t args = MYEPOLL_FAST_ARGS(maxevents, timeout);
	int cancel = cancel_enter(timeout != 0);
	int r = wait_ms(epfd, events, args);

	cancel_leave(cancel);
	return r;
}

/* The same as a cancellation point */
static inline int cancel_wait(int epfd, struct epoll_event *events, int maxevents, int timeout)
{
	int64_t args;

	if (!cancel_alone())
		return cancel_wait_threaded(epfd, events, maxevents, timeout);
	args = MYEPOLL_FAST_ARGS(maxevents, timeout);
	pthread_testcancel();
	return wait_ms(epfd, events, args);
}

#endif /* MYEPOLL_CANCEL_H */
