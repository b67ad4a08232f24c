/* SPDX-License-Identifier: MIT */
/* What a module older than this program does not have: which bits, and which errno. */
#include <myepoll.h>

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>

static void say(const char *what, int result)
{
	if (result < 0)
		printf("%s: %s\n", what, strerror(errno));
	else
		printf("%s: %d\n", what, result);
}

int main(void)
{
	struct epoll_event event = {.events = EPOLLIN};
	struct myepoll_options options = {0};
	struct myepoll_event events[1];
	struct myepoll_watch watches[1];
	struct myepoll_change change = {
		.op = EPOLL_CTL_ADD, .fd = eventfd(1, 0), .events = EPOLLIN};
	struct myepoll_turn turn = {.changes = (uintptr_t)&change, .nchanges = 1,
				    .events = (uintptr_t)events, .maxevents = 1};
	uint64_t features;
	int epfd = myepoll_create1(EPOLL_CLOEXEC);

	if (epfd < 0 || myepoll_features(epfd, &features)) {
		perror("features");
		return 1;
	}
	printf("features:");
	if (features & MYEPOLL_FEATURE_TURN)
		printf(" TURN");
	if (features & MYEPOLL_FEATURE_OPS)
		printf(" OPS");
	if (features & MYEPOLL_FEATURE_OPTIONS)
		printf(" OPTIONS");
	puts(features & (MYEPOLL_FEATURE_TURN | MYEPOLL_FEATURE_OPS | MYEPOLL_FEATURE_OPTIONS) ?
		     "" : " none of these");

	say("TURN", myepoll_turn(epfd, &turn));
	say("SET", myepoll_ctl(epfd, MYEPOLL_CTL_SET, change.fd, &event));
	say("LIST", myepoll_list(epfd, watches, 1));
	say("options", myepoll_set_options(epfd, &options));
	return 0;
}
