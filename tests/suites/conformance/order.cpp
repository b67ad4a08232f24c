// SPDX-License-Identifier: GPL-2.0
// The order of events, and what wakes a waiter or leaves it asleep.
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

struct Six : Case {
	Six()
	{
		for (unsigned i = 0; i < 6; i++) {
			targets[i] = event_fd();
			must(ep.add(targets[i], EPOLLIN, i));
		}
	}
	Fd targets[6];
};

} // namespace

TEST_CASE_METHOD(Six, "events come in the order in which they happened", "[order]")
{
	for (int i : { 2, 0, 3, 1 })
		put(targets[i]);
	CHECK(data_of(ep.wait()) == Data{ 2, 0, 3, 1 });
}

TEST_CASE_METHOD(Six, "an item is in one harvest once, at the place of its first wake-up", "[order]")
{
	for (int i : { 2, 0, 2, 3, 0, 2 })
		put(targets[i]);
	CHECK(data_of(ep.wait()) == Data{ 2, 0, 3 });
}

TEST_CASE_METHOD(Six, "level-triggered items go round: a small buffer starves nobody", "[order]")
{
	for (auto &target : targets)
		put(target);
	CHECK(data_of(ep.wait(0, 2)) == Data{ 0, 1 });
	CHECK(data_of(ep.wait(0, 2)) == Data{ 2, 3 });
	CHECK(data_of(ep.wait(0, 2)) == Data{ 4, 5 });
	CHECK(data_of(ep.wait(0, 2)) == Data{ 0, 1 });
	CHECK(data_of(ep.wait(0, 1)) == Data{ 2 });
	CHECK(data_of(ep.wait(0, 4)) == Data{ 3, 4, 5, 0 });
}

TEST_CASE_METHOD(Six, "after a part of them: the rest first, then the delivered ones, then what came later",
		 "[order]")
{
	for (int i : { 0, 1, 2, 3 })
		put(targets[i]);
	CHECK(data_of(ep.wait(0, 2)) == Data{ 0, 1 });
	put(targets[5]);
	put(targets[4]);
	CHECK(data_of(ep.wait()) == Data{ 2, 3, 0, 1, 5, 4 });
}

TEST_CASE_METHOD(Six, "an item made ready by MOD goes to the end", "[order]")
{
	put(targets[3]);
	REQUIRE(ep.mod(targets[0], EPOLLOUT, 0) == 0);
	put(targets[2]);
	CHECK(data_of(ep.wait()) == Data{ 3, 0, 2 });
}

TEST_CASE_METHOD(Six, "stale items before it do not hide a ready one", "[order]")
{
	for (auto &target : targets)
		put(target);
	for (int i : { 0, 1, 2, 3, 4 })
		take(targets[i]);
	CHECK(data_of(ep.wait(0, 1)) == Data{ 5 });
}

TEST_CASE_METHOD(Case, "ADD of a ready file wakes a waiter", "[order]")
{
	Fd target = event_fd(1);
	Blocked waiter(ep);

	waiter.asleep();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Case, "MOD to what is ready wakes a waiter", "[order]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	Blocked waiter(ep);

	waiter.asleep();
	REQUIRE(ep.mod(target, EPOLLOUT, 2) == 0);
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { EPOLLOUT, 2 } });
}

TEST_CASE_METHOD(Case, "a waiter is not woken by a file that is watched no more", "[order]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	Blocked waiter(ep, 1000);
	waiter.asleep();
	REQUIRE(ep.del(target) == 0);
	put(target);
	CHECK(waiter.result() == 0);
}

TEST_CASE_METHOD(Case, "closing the instance does not wake who waits on it", "[order]")
{
	Fd target = event_fd();
	auto start = Clock::now();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	Blocked waiter(ep, 1000);

	waiter.asleep();
	ep.close();
	CHECK(waiter.result() == 0);
	CHECK(Clock::now() - start >= milliseconds(1000));
}

TEST_CASE_METHOD(Case, "a waiter on a closed instance still gets its event", "[order]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	Blocked waiter(ep);

	waiter.asleep();
	ep.close();
	put(target);
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Case, "closing the watched file does not wake who waits", "[order]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	Blocked waiter(ep, 1000);

	waiter.asleep();
	target.reset();
	CHECK(waiter.result() == 0);
}
