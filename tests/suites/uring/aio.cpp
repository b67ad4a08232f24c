// SPDX-License-Identifier: GPL-2.0
// aio's IOCB_CMD_POLL on an instance, by system calls alone.
#include <algorithm>
#include <cerrno>

#include <poll.h>
#include <unistd.h>

#include "aio.hpp"
#include "catch.hpp"
#include "support.hpp"

TEST_CASE_METHOD(Case, "aio: a poll of an instance completes when it becomes ready, or is already", "[aio]")
{
	Aio aio;
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	aio.poll(ep.fd(), 7);
	CHECK(aio.next(7, 40) == 0);
	put(target);
	CHECK(aio.next(7) == POLLIN);
	aio.poll(ep.fd(), 8);
	CHECK(aio.next(8) == POLLIN);
	CHECK(ep.count(0) == 1);
}

TEST_CASE_METHOD(Case, "aio: a poll that is cancelled, or destroyed with its context, leaves nothing", "[aio]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	{
		Aio aio;
		aio.poll(ep.fd(), 7);
		int r = aio.cancel();
		CHECK((r == -EINPROGRESS || r == 0));
		aio.next(7);
		aio.poll(ep.fd(), 8);
	}
	put(target);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Case, "aio: its eventfd is signalled and can be watched by another instance", "[aio]")
{
	Aio aio;
	Instance other;
	Fd target = event_fd(), signal = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	REQUIRE(other.add(signal, EPOLLIN, 2) == 0);
	aio.poll(ep.fd(), 7, signal);
	Blocked waiter(other);
	waiter.asleep();
	put(target);
	CHECK(waiter.result() == 1);
	CHECK(aio.next(7) == POLLIN);
}

TEST_CASE_METHOD(Case, "aio: its eventfd watched by the polled instance itself: settles", "[ledger10][aio]")
{
	if (skip_unless(circle_is_safe(), deadlocks))
		return;
	Fd target = event_fd(), signal = event_fd();
	for (int round = 0; round < 20; round++) {
		Aio aio;
		std::uint32_t mode = round % 2 ? std::uint32_t(EPOLLET) : 0;
		REQUIRE(ep.add(target, EPOLLIN | mode, 1) == 0);
		REQUIRE(ep.add(signal, EPOLLIN | mode, 2) == 0);
		aio.poll(ep.fd(), 7, signal);
		put(target);
		CHECK(aio.next(7) == POLLIN);
		Data seen;
		CHECK(eventually([&] {
			for (const Event &event : ep.wait(0))
				if (std::find(seen.begin(), seen.end(), event.data) == seen.end())
					seen.push_back(event.data);
			return seen.size() == 2;
		}));
		take(target);
		take(signal);
		CHECK(ep.count(0) == 0);
		REQUIRE(ep.del(target) == 0);
		REQUIRE(ep.del(signal) == 0);
	}
}

TEST_CASE_METHOD(Case, "aio: the same with the eventfd as the only source, and through a nested instance",
		 "[ledger10][aio]")
{
	if (skip_unless(circle_is_safe(), deadlocks))
		return;
	Instance outer;
	Fd signal = event_fd();
	REQUIRE(ep.add(signal, EPOLLIN, 2) == 0);
	REQUIRE(outer.add(ep.fd(), EPOLLIN, 3) == 0);
	for (int fd : { ep.fd(), outer.fd() }) {
		Aio aio;
		aio.poll(fd, 7, signal);
		CHECK(aio.next(7, 40) == 0);
		put(signal); // completes the poll, which signals the same eventfd
		CHECK(aio.next(7) == POLLIN);
		std::uint64_t sum = 0;
		CHECK(eventually([&] {
			std::uint64_t n = 0;
			if (read(signal, &n, sizeof n) == sizeof n)
				sum += n;
			return sum == 2;
		}));
		CHECK(ep.count(0) == 0);
		CHECK(outer.count(0) == 0);
	}
}
