/* SPDX-License-Identifier: MIT */
/* The same in C++. */
#include <myepoll/poller.hpp>

#include <array>
#include <chrono>
#include <cstdio>
#include <exception>
#include <sys/eventfd.h>

int main()
try {
	myepoll::poller poller;
	std::array<myepoll::event, 4> room;

	poller.add(eventfd(1, EFD_CLOEXEC), myepoll::interest::in, myepoll::token(42));
	const auto events = poller.wait(room, std::chrono::seconds(1));
	if (events.size() != 1 || events[0].token() != myepoll::token(42)) {
		std::puts("no event");
		return 1;
	}
	std::puts("an event");
	return 0;
} catch (const std::exception &e) {
	std::puts(e.what());
	return 2;
}
