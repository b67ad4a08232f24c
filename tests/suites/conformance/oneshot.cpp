// SPDX-License-Identifier: GPL-2.0
// One-shot watches.
#include <cerrno>

#include <sys/socket.h>

#include "catch.hpp"
#include "support.hpp"

TEST_CASE_METHOD(Case, "one-shot: one event, then nothing until MOD", "[oneshot]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | EPOLLONESHOT, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	put(target);
	CHECK(ep.wait() == Events{});
	CHECK(ep.add(target, EPOLLIN) == -EEXIST);
	REQUIRE(ep.mod(target, EPOLLIN | EPOLLONESHOT, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "one-shot: a spent watch keeps its private bits alone", "[oneshot][fdinfo]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | EPOLLOUT | EPOLLONESHOT | EPOLLET, 1) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, 0xc000001d, 1 } });
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLOUT, 1 } });
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, 0xc0000000, 1 } });
	REQUIRE(ep.mod(target, EPOLLIN | EPOLLONESHOT, 1) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, 0x40000019, 1 } });
}

TEST_CASE_METHOD(Case, "one-shot: spent, it does not report HUP and ERR either", "[oneshot]")
{
	Pair pair = make_pair(SOCK_STREAM);

	REQUIRE(ep.add(pair.a, EPOLLOUT | EPOLLONESHOT, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLOUT, 1 } });
	pair.b.reset();
	CHECK(ep.wait() == Events{});
	REQUIRE(ep.mod(pair.a, EPOLLONESHOT, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLHUP, 2 } });
}

TEST_CASE_METHOD(Case, "one-shot: a spent watch ignores wake-ups; a blocked waiter sleeps on",
		 "[oneshot][waiters]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | EPOLLONESHOT, 1) == 0);
	CHECK(ep.count(0) == 1);
	Blocked waiter(ep);
	waiter.asleep();
	put(target);
	settle();
	CHECK_FALSE(waiter.done());
	REQUIRE(ep.mod(target, EPOLLIN | EPOLLONESHOT, 2) == 0);
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Case, "one-shot: one of several waiters until it is armed again", "[oneshot][waiters]")
{
	Fd target = event_fd();

	REQUIRE(ep.add(target, EPOLLIN | EPOLLONESHOT, 1) == 0);
	Blocked a(ep), b(ep), c(ep);
	for (Blocked *waiter : { &a, &b, &c })
		waiter->asleep();
	put(target);
	CHECK(returned({ &a, &b, &c }, 1) == 1);
	put(target);
	CHECK(returned({ &a, &b, &c }, 1) == 1);
	REQUIRE(ep.mod(target, EPOLLIN | EPOLLONESHOT, 1) == 0);
	CHECK(returned({ &a, &b, &c }, 2) == 2);
	REQUIRE(ep.mod(target, EPOLLIN | EPOLLONESHOT, 1) == 0);
	CHECK(returned({ &a, &b, &c }, 3) == 3);
}
