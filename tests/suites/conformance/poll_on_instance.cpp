// SPDX-License-Identifier: GPL-2.0
// poll and select on the descriptor of an instance.
#include <poll.h>
#include <sys/select.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

constexpr short every_bit = POLLIN | POLLOUT | POLLPRI | POLLRDNORM | POLLRDBAND | POLLWRNORM | POLLWRBAND |
			    0x2000 /* RDHUP */ | 0x400 /* MSG */;

int poll_now(int fd, short events = every_bit, int timeout_ms = 0)
{
	pollfd p{ fd, events, 0 };
	int n = poll(&p, 1, timeout_ms);
	return n == 0 ? 0 : p.revents;
}

// A poll looks once more when its time is up: what it says is no sign that it was woken.
bool woken(const Blocked &poller)
{
	return poller.done_within(patience_ms / 2);
}

} // namespace

TEST_CASE_METHOD(Case, "poll says IN and RDNORM while an item is ready, and nothing else", "[poll]")
{
	Fd target = event_fd();

	CHECK(poll_now(ep.fd()) == 0);
	REQUIRE(ep.add(target, EPOLLIN | EPOLLOUT, 1) == 0);
	CHECK(poll_now(ep.fd()) == (POLLIN | POLLRDNORM));
	REQUIRE(ep.mod(target, EPOLLIN, 1) == 0);
	CHECK(poll_now(ep.fd()) == 0);
	put(target);
	CHECK(poll_now(ep.fd()) == (POLLIN | POLLRDNORM));
	CHECK(poll_now(ep.fd(), POLLOUT) == 0);
	CHECK(ep.count(0) == 1); // polling has taken nothing
	take(target);
	CHECK(poll_now(ep.fd()) == 0);
}

TEST_CASE_METHOD(Case, "poll does not spend an edge or a one-shot", "[poll]")
{
	Fd a = event_fd(1), b = event_fd(1);

	REQUIRE(ep.add(a, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(b, EPOLLIN | EPOLLONESHOT, 2) == 0);
	for (int i = 0; i < 3; i++)
		CHECK(poll_now(ep.fd()) == (POLLIN | POLLRDNORM));
	CHECK(data_of(ep.wait()) == Data{ 1, 2 });
	CHECK(poll_now(ep.fd()) == 0);
}

TEST_CASE_METHOD(Case, "poll looks past stale items at the ready ones", "[poll]")
{
	Fd a = event_fd(1), b = event_fd(1), c = event_fd(1);

	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(b, EPOLLIN, 2) == 0);
	REQUIRE(ep.add(c, EPOLLIN, 3) == 0);
	take(a);
	take(b);
	CHECK(poll_now(ep.fd()) == (POLLIN | POLLRDNORM));
	CHECK(data_of(ep.wait()) == Data{ 3 });
	put(b);
	CHECK(data_of(ep.wait()) == Data{ 3, 2 });

	// These have left the list: they come when they are ready again.
	take(b);
	take(c);
	CHECK(ep.wait().empty());
	for (const Fd *fd : { &a, &b, &c })
		put(*fd);
	take(a);
	take(b);
	CHECK(poll_now(ep.fd()) == (POLLIN | POLLRDNORM));
	put(b);
	put(a);
	CHECK(data_of(ep.wait()) == Data{ 3, 2, 1 });
}

TEST_CASE_METHOD(Case, "a blocked poll is woken by an event, and by ADD and MOD of what is ready", "[poll]")
{
	Fd target = event_fd();
	auto poller = [&] { return poll_now(ep.fd(), every_bit, patience_ms); };

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	{
		Blocked thread(poller);
		thread.asleep();
		put(target);
		CHECK(woken(thread));
		CHECK(thread.result() == (POLLIN | POLLRDNORM));
		take(target);
	}
	{
		Blocked thread(poller);
		thread.asleep();
		REQUIRE(ep.mod(target, EPOLLOUT, 1) == 0);
		CHECK(woken(thread));
		CHECK(thread.result() == (POLLIN | POLLRDNORM));
		REQUIRE(ep.del(target) == 0);
	}
	{
		Blocked thread(poller);
		thread.asleep();
		REQUIRE(ep.add(target, EPOLLOUT, 1) == 0);
		CHECK(woken(thread));
		CHECK(thread.result() == (POLLIN | POLLRDNORM));
	}
}

TEST_CASE_METHOD(Case, "pollers and waiters are both woken", "[poll]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	Blocked a([&] { return poll_now(ep.fd(), POLLIN, patience_ms); });
	Blocked b([&] { return poll_now(ep.fd(), POLLIN, patience_ms); });
	Blocked waiter(ep);

	for (Blocked *thread : { &a, &b, &waiter })
		thread->asleep();
	put(target);
	CHECK(woken(a));
	CHECK(woken(b));
	CHECK(a.result() == POLLIN);
	CHECK(b.result() == POLLIN);
	CHECK(waiter.result() == 1);
}

TEST_CASE_METHOD(Case, "a poll that times out says nothing", "[poll]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	CHECK(poll_now(ep.fd(), POLLIN, 20) == 0);
	CHECK(ep.count(0) == 0);
}

TEST_CASE_METHOD(Case, "select sees a ready instance as readable alone", "[poll]")
{
	Fd target = event_fd(1);
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	REQUIRE(ep.fd() < FD_SETSIZE);
	fd_set r, w, x;
	auto select_now = [&] {
		timeval zero{};
		FD_ZERO(&r);
		FD_ZERO(&w);
		FD_ZERO(&x);
		FD_SET(ep.fd(), &r);
		FD_SET(ep.fd(), &w);
		FD_SET(ep.fd(), &x);
		return select(ep.fd() + 1, &r, &w, &x, &zero);
	};

	CHECK(select_now() == 1);
	CHECK(FD_ISSET(ep.fd(), &r));
	take(target);
	CHECK(select_now() == 0);
}

TEST_CASE_METHOD(Case, "poll on a nested instance looks all the way down", "[poll][nesting]")
{
	Instance outer;
	Fd target = event_fd();

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	REQUIRE(outer.add(ep.fd(), EPOLLIN, 2) == 0);
	CHECK(poll_now(outer.fd()) == 0);
	Blocked thread([&] { return poll_now(outer.fd(), every_bit, patience_ms); });
	thread.asleep();
	put(target);
	CHECK(woken(thread));
	CHECK(thread.result() == (POLLIN | POLLRDNORM));
	take(target);
	CHECK(poll_now(outer.fd()) == 0);
}
