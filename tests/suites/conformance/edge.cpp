// SPDX-License-Identifier: GPL-2.0
// Edge-triggered watches.
#include <sys/socket.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

TEST_CASE_METHOD(Case, "edge: reported once, also what was ready at ADD", "[edge]")
{
	Fd ready = event_fd(1), later = event_fd();

	REQUIRE(ep.add(ready, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(later, EPOLLIN | EPOLLET, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(ep.wait() == Events{});
	put(later);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "edge: every wake-up of the source counts, the level need not drop", "[edge]")
{
	Fd target = event_fd();

	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	for (int i = 0; i < 5; i++) {
		put(target);
		CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
		CHECK(ep.wait() == Events{});
	}
}

TEST_CASE_METHOD(Case, "edge: wake-ups before a harvest are one event", "[edge]")
{
	Fd target = event_fd();

	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	put(target);
	put(target);
	put(target);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "edge: a second write to a pipe that was not read is a second event", "[edge]")
{
	Ends pipe = make_pipe();

	REQUIRE(ep.add(pipe.r, EPOLLIN | EPOLLET, 1) == 0);
	send_byte(pipe.w);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	send_byte(pipe.w);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "edge: MOD is a new edge even where nothing changed", "[edge]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(ep.wait() == Events{});
	for (int i = 0; i < 3; i++) {
		REQUIRE(ep.mod(target, EPOLLIN | EPOLLET, 2) == 0);
		CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
		CHECK(ep.wait() == Events{});
	}
}

TEST_CASE_METHOD(Case, "edge: MOD to and from level-triggered", "[edge]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	CHECK(ep.count(0) == 1);
	REQUIRE(ep.mod(target, EPOLLIN, 1) == 0);
	CHECK(ep.count(0) == 1);
	CHECK(ep.count(0) == 1);
	REQUIRE(ep.mod(target, EPOLLIN | EPOLLET, 1) == 0);
	CHECK(ep.count(0) == 1);
	CHECK(ep.count(0) == 0);
}

TEST_CASE_METHOD(Case, "edge: an event beyond maxevents stays for the next harvest", "[edge]")
{
	Fd targets[3] = { event_fd(1), event_fd(1), event_fd(1) };

	for (int i = 0; i < 3; i++)
		REQUIRE(ep.add(targets[i], EPOLLIN | EPOLLET, i) == 0);
	CHECK(data_of(ep.wait(0, 2)) == Data{ 0, 1 });
	CHECK(data_of(ep.wait(0, 2)) == Data{ 2 });
	CHECK(ep.wait().empty());
}

TEST_CASE_METHOD(Case, "edge: both directions of a socket report the whole state", "[edge]")
{
	Pair pair = make_pair(SOCK_STREAM);

	REQUIRE(ep.add(pair.a, EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLET, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLOUT, 1 } });
	CHECK(ep.wait() == Events{});
	send_byte(pair.b);
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLOUT, 1 } });
	CHECK(ep.wait() == Events{});
	pair.b.reset();
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLOUT | EPOLLRDHUP | EPOLLHUP, 1 } });
	CHECK(ep.wait() == Events{});
}
