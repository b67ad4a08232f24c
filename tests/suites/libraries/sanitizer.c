// SPDX-License-Identifier: GPL-2.0
// In the place of the sanitizers' runtimes: notes what they are told.
#include <stdio.h>
#include <string.h>

char sanitizer_calls[1024];
static void *released;

void __tsan_release(void *p)
{
	released = p;
	strcpy(sanitizer_calls, "released");
}

void __msan_unpoison(const volatile void *p, size_t size)
{
	(void)p;
	sprintf(sanitizer_calls + strlen(sanitizer_calls), "unpoisoned %zu", size);
}

void __tsan_acquire(void *p)
{
	char rest[512];

	strcpy(rest, sanitizer_calls);
	sprintf(sanitizer_calls, "%s %s", p == released ? "acquired" : "stranger", rest);
}
