// SPDX-License-Identifier: GPL-2.0
// In the place of the sanitizers' runtimes: notes what they are told.
#define _GNU_SOURCE
#include <signal.h>
#include <stdio.h>
#include <string.h>

char sanitizer_calls[1024];
static void *released;

void __tsan_release(void *p)
{
	released = p;
	strcat(sanitizer_calls, "released ");
}

void __msan_unpoison(const volatile void *p, size_t size)
{
	(void)p;
	sprintf(sanitizer_calls + strlen(sanitizer_calls), "unpoisoned %zu ", size);
}

void __tsan_acquire(void *p)
{
	strcat(sanitizer_calls, p == released ? "acquired " : "stranger ");
}

/* One of the functions in which ThreadSanitizer runs the handlers that it put off */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *old)
{
	(void)how, (void)set, (void)old;
	strcat(sanitizer_calls, "handled ");
	return 0;
}
