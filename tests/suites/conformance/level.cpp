// SPDX-License-Identifier: GPL-2.0
// Level-triggered watches, and what is common to all: fresh bits, the filter
// of the wake callback.
#include <sys/socket.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

TEST_CASE_METHOD(Case, "level: reported as long as it is ready, then no more", "[level]")
{
	Fd target = event_fd();

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	CHECK(ep.wait() == Events{});
	put(target);
	for (int i = 0; i < 3; i++)
		CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	take(target);
	CHECK(ep.wait() == Events{});
	put(target);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Case, "level: what is ready at ADD is reported", "[level]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | EPOLLOUT, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLOUT, 1 } });
}

TEST_CASE_METHOD(Case, "the bits are those of the moment of the harvest", "[level]")
{
	Pair pair = make_pair(SOCK_STREAM);

	REQUIRE(ep.add(pair.a, EPOLLIN | EPOLLRDHUP | EPOLLET, 1) == 0);
	send_byte(pair.b);
	shutdown(pair.b, SHUT_WR);
	drain(pair.a);
	// Queued by the byte; the end of the stream is what is there now.
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLRDHUP, 1 } });
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "an item that is not ready any more at the harvest is nothing", "[level]")
{
	Fd target = event_fd();

	for (std::uint32_t mode : { 0U, std::uint32_t(EPOLLET), std::uint32_t(EPOLLONESHOT) }) {
		CAPTURE(mode);
		REQUIRE(ep.add(target, EPOLLIN | mode, 1) == 0);
		put(target);
		take(target);
		CHECK(ep.count(0) == 0);
		put(target);
		take(target);
		int n = -1;
		CHECK(elapsed_of([&] { n = ep.count(30); }) >= milliseconds(30));
		CHECK(n == 0);
		put(target);
		CHECK(ep.count(0) == 1); // the one shot was not spent on it
		take(target);
		REQUIRE(ep.del(target) == 0);
	}
}

TEST_CASE_METHOD(Case, "a wake-up with bits that nobody asked for does not queue", "[edge]")
{
	// Seen by an edge: OUT is there all the time and reported again only if
	// the item was queued.
	Fd target = event_fd();

	REQUIRE(ep.add(target, EPOLLOUT | EPOLLET, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLOUT, 1 } });
	put(target); // wakes with IN
	CHECK(ep.wait() == Events{});
	take(target); // wakes with OUT
	CHECK(ep.wait() == Events{ { EPOLLOUT, 1 } });
}

TEST_CASE_METHOD(Case, "a wake-up that names no bits always queues", "[edge]")
{
	Pair pair = make_pair(SOCK_STREAM);

	REQUIRE(ep.add(pair.a, EPOLLOUT | EPOLLET, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLOUT, 1 } });
	send_byte(pair.b); // with IN
	CHECK(ep.wait() == Events{});
	shutdown(pair.b, SHUT_WR); // a change of state: with nothing
	CHECK(ep.wait() == Events{ { EPOLLOUT, 1 } });
}

TEST_CASE_METHOD(Case, "RDHUP, RDNORM and WRNORM come when asked for, HUP and ERR always", "[level]")
{
	Pair pair = make_pair(SOCK_STREAM);
	Ends pipe = make_pipe();

	send_byte(pair.b);
	REQUIRE(ep.add(pair.a, EPOLLIN, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	REQUIRE(ep.mod(pair.a, EPOLLRDNORM, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLRDNORM, 1 } });
	REQUIRE(ep.mod(pair.a, EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLRDNORM | EPOLLOUT | EPOLLWRNORM, 1 } });

	drain(pair.a);
	pair.b.reset();
	REQUIRE(ep.mod(pair.a, EPOLLIN | EPOLLRDHUP, 1) == 0);
	CHECK(ep.wait() == Events{ { 0x2011, 1 } });
	REQUIRE(ep.mod(pair.a, 0, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLHUP, 1 } });
	REQUIRE(ep.del(pair.a) == 0);

	REQUIRE(ep.add(pipe.w, 0, 2) == 0);
	CHECK(ep.wait() == Events{});
	pipe.r.reset();
	CHECK(ep.wait() == Events{ { EPOLLERR, 2 } });
}

TEST_CASE_METHOD(Case, "PRI is reported when asked for", "[level]")
{
	Pair tcp = make_tcp();

	REQUIRE(ep.add(tcp.a, EPOLLPRI, 1) == 0);
	CHECK(ep.wait() == Events{});
	REQUIRE(send(tcp.b, "!", 1, MSG_OOB) == 1);
	CHECK(ep.wait(patience_ms) == Events{ { EPOLLPRI, 1 } });
	REQUIRE(ep.mod(tcp.a, EPOLLIN, 1) == 0);
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "NVAL is never made up: a closed descriptor just vanishes", "[level]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | 0x20, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	target.reset();
	CHECK(ep.wait() == Events{});
	CHECK(watches(ep.fd()).empty());
}
