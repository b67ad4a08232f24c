// SPDX-License-Identifier: GPL-2.0
// How long a wait lasts. Lower bounds are exact; upper ones only say that it
// ended long before it would have if the rule did not hold.
#include <climits>

#include <sys/prctl.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

std::chrono::nanoseconds timed_wait(const Instance &ep, timespec timeout, int *n)
{
	epoll_event buffer[1];
	auto start = Clock::now();
	*n = be().pwait2(ep.fd(), buffer, 1, &timeout);
	return Clock::now() - start;
}

} // namespace

TEST_CASE_METHOD(Case, "a timeout of 0 returns at once, empty-handed or not", "[timeouts]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	int n = 0;

	CHECK(ep.count(0) == 0);
	CHECK(timed_wait(ep, {}, &n) < std::chrono::seconds(5));
	CHECK(n == 0);
	put(target);
	CHECK(ep.count(0) == 1);
	timed_wait(ep, {}, &n);
	CHECK(n == 1);
}

TEST_CASE_METHOD(Case, "every negative timeout waits until there is an event", "[timeouts]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);

	for (int forever : { -1, -2, INT_MIN }) {
		CAPTURE(forever);
		Blocked waiter(ep, forever);
		waiter.asleep();
		settle();
		CHECK_FALSE(waiter.done());
		put(target);
		CHECK(waiter.result() == 1);
	}
}

TEST_CASE_METHOD(Case, "a wait lasts as long as asked for, never shorter", "[timeouts]")
{
	for (int ms : { 1, 10, 50 }) {
		int n = -1;
		CHECK(elapsed_of([&] { n = ep.count(ms); }) >= milliseconds(ms));
		CHECK(n == 0);
	}
}

TEST_CASE_METHOD(Case, "pwait2 waits to the nanosecond, not rounded down to milliseconds", "[timeouts]")
{
	int n = -1;

	CHECK(timed_wait(ep, { 0, 2'500'000 }, &n) >= std::chrono::nanoseconds(2'500'000));
	CHECK(n == 0);
	CHECK(timed_wait(ep, { 0, 700'000 }, &n) >= std::chrono::nanoseconds(700'000));
	CHECK(n == 0);
}

TEST_CASE_METHOD(Case, "pwait2 with a deadline that is over at once returns 0 and does not spin",
		 "[timeouts]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);

	for (long ns : { 1L, 2L, 10L, 100L }) {
		int n = -1;
		CHECK(timed_wait(ep, { 0, ns }, &n) < std::chrono::seconds(5));
		CHECK(n == 0);
	}
	put(target);
	int n = -1;
	timed_wait(ep, { 0, 1 }, &n);
	CHECK(n == 1);
}

TEST_CASE_METHOD(Case, "pwait2 without a timeout, or with the longest, waits for an event", "[timeouts]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	const timespec long_ones[] = { { LONG_MAX, 999'999'999 }, { LONG_MAX / 1'000'000'000, 0 }, { 1L << 40, 0 } };
	const timespec *timeouts[] = { nullptr, &long_ones[0], &long_ones[1], &long_ones[2] };

	for (const timespec *timeout : timeouts) {
		Blocked waiter([&] {
			epoll_event buffer[1];
			return be().pwait2(ep.fd(), buffer, 1, timeout);
		});
		waiter.asleep();
		settle(20);
		CHECK_FALSE(waiter.done());
		put(target);
		CHECK(waiter.result() == 1);
	}
}

TEST_CASE_METHOD(Case, "the longest timeout in milliseconds waits for an event", "[timeouts]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	Blocked waiter(ep, INT_MAX);

	waiter.asleep();
	put(target);
	CHECK(waiter.result() == 1);
}

TEST_CASE_METHOD(Case, "a large timer slack makes a wait no shorter", "[timeouts]")
{
	Blocked waiter([&] {
		prctl(PR_SET_TIMERSLACK, 50'000'000UL);
		int n = -1;
		auto spent = elapsed_of([&] { n = ep.count(20); });
		return n == 0 && spent >= milliseconds(20) ? 0 : 1;
	});
	CHECK(waiter.result() == 0);
}

TEST_CASE_METHOD(Case, "an event ends a wait long before its timeout", "[timeouts]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	Blocked waiter(ep, 10 * patience_ms);

	waiter.asleep();
	put(target);
	CHECK(waiter.done_within(patience_ms));
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { EPOLLIN, 1 } });
}
