// SPDX-License-Identifier: GPL-2.0
// io_uring and instances: a ring that polls an instance, an instance that
// watches a ring, and both at once.
#include <algorithm>
#include <cerrno>

#include <fcntl.h>
#include <poll.h>
#include <unistd.h>

#include "catch.hpp"
#include "ring.hpp"
#include "support.hpp"

namespace {

struct RingCase : Case {
	Ring ring;
	Fd target = event_fd();
	epoll_event event = ev(0);
};

std::uint64_t number_of(const void *p)
{
	return reinterpret_cast<std::uintptr_t>(p);
}

} // namespace

TEST_CASE_METHOD(RingCase, "a poll of an instance completes when it becomes ready", "[uring]")
{
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	ring.poll(ep.fd(), 7);
	CHECK(ring.idle());
	put(target);
	CHECK(ring.next() == Completion{ 7, POLLIN, false });
	CHECK(ring.idle());
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(RingCase, "a poll of a ready instance completes at once, with IN and RDNORM alone", "[uring]")
{
	put(target);
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	ring.poll(ep.fd(), 7, POLLIN | POLLOUT | POLLRDNORM | POLLPRI);
	CHECK(ring.next() == Completion{ 7, POLLIN | POLLRDNORM, false });
	take(target);
	ring.poll(ep.fd(), 8);
	CHECK(ring.idle());
}

TEST_CASE_METHOD(RingCase, "a multishot poll completes for each new readiness", "[uring]")
{
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	ring.poll_multishot(ep.fd(), 7);
	CHECK(ring.idle());
	for (int i = 0; i < 5; i++) {
		put(target);
		CHECK(ring.next() == Completion{ 7, POLLIN, true });
		CHECK(ring.idle());
		CHECK(ep.count(0) == 1);
	}
}

TEST_CASE_METHOD(RingCase, "a linked timeout ends a poll of an idle instance", "[uring]")
{
	__kernel_timespec timeout{ 0, 20'000'000 };
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);

	io_uring_prep_poll_add(ring.sqe(7), ep.fd(), POLLIN);
	ring.named(IOSQE_IO_LINK);
	io_uring_prep_link_timeout(ring.sqe(8), &timeout, 0);
	ring.named();
	ring.submit();
	Completion first = ring.next(), second = ring.next();
	if (first.data == 8)
		std::swap(first, second);
	CHECK(first == Completion{ 7, -ECANCELED, false });
	CHECK(second == Completion{ 8, -ETIME, false });

	// No trace of it: the instance works on, and can be polled again
	put(target);
	CHECK(ep.count(0) == 1);
	ring.poll(ep.fd(), 9);
	CHECK(ring.next() == Completion{ 9, POLLIN, false });
}

TEST_CASE_METHOD(RingCase, "a linked timeout is cancelled by the event", "[uring]")
{
	__kernel_timespec timeout{ 60, 0 };
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);

	io_uring_prep_poll_add(ring.sqe(7), ep.fd(), POLLIN);
	ring.named(IOSQE_IO_LINK);
	io_uring_prep_link_timeout(ring.sqe(8), &timeout, 0);
	ring.named();
	ring.submit();
	put(target);
	Completion first = ring.next(), second = ring.next();
	if (first.data == 8)
		std::swap(first, second);
	CHECK(first == Completion{ 7, POLLIN, false });
	CHECK(second == Completion{ 8, -ECANCELED, false });
}

TEST_CASE_METHOD(RingCase, "a poll is removed", "[uring]")
{
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	ring.poll_multishot(ep.fd(), 7);
	io_uring_prep_poll_remove(ring.sqe(8), 7);
	ring.named();
	ring.submit();
	Completion first = ring.next(), second = ring.next();
	if (first.data == 8)
		std::swap(first, second);
	CHECK(first == Completion{ 7, -ECANCELED, false });
	CHECK(second == Completion{ 8, 0, false });
	put(target);
	CHECK(ring.idle());
}

TEST_CASE_METHOD(RingCase, "a ring is a file to watch: IN while there are completions", "[uring]")
{
	REQUIRE(ep.add(ring.fd(), EPOLLIN, 1) == 0);
	CHECK(ep.wait() == Events{});
	ring.nop(7);
	CHECK(ep.wait(patience_ms) == Events{ { EPOLLIN, 1 } });
	CHECK(ring.next() == Completion{ 7, 0, false });
	CHECK(ep.wait() == Events{});

	Blocked waiter(ep);
	waiter.asleep();
	ring.nop(8);
	CHECK(waiter.result() == 1);
	ring.next();
}

TEST_CASE_METHOD(RingCase, "a ring that polls the instance that watches the ring settles", "[ledger9][uring]")
{
	for (std::uint32_t mode : { 0U, std::uint32_t(EPOLLET) }) {
		CAPTURE(mode);
		REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
		REQUIRE(ep.add(ring.fd(), EPOLLIN | mode, 2) == 0);
		ring.poll_multishot(ep.fd(), 7);
		put(target);
		CHECK(ring.next().data == 7);
		// It may go round a few times. It must come to an end.
		CHECK(eventually([&] { return ring.seen_now() == 0 && (settle(50), ring.seen_now() == 0); }));
		Events events = ep.wait();
		CHECK(events.size() <= 2);
		CHECK(std::count(events.begin(), events.end(), Event{ EPOLLIN, 1 }) == 1);
		REQUIRE(ep.del(ring.fd()) == 0);
		REQUIRE(ep.del(target) == 0);
		io_uring_prep_poll_remove(ring.sqe(8), 7);
		ring.named();
		ring.submit();
		while (ring.next(100).result != -ETIME)
			;
	}
}

TEST_CASE_METHOD(RingCase, "the same through a nested instance settles", "[ledger9][uring]")
{
	Instance outer;
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(ring.fd(), EPOLLIN, 2) == 0);
	REQUIRE(outer.add(ep.fd(), EPOLLIN, 3) == 0);
	ring.poll_multishot(outer.fd(), 7);
	ring.poll_multishot(ep.fd(), 8);
	for (int i = 0; i < 3; i++) {
		put(target);
		CHECK(eventually([&] { return ring.seen_now() > 0; }));
		CHECK(eventually([&] { return ring.seen_now() == 0 && (settle(50), ring.seen_now() == 0); }));
		CHECK(ep.count(0) >= 1);
		ring.poll_multishot(outer.fd(), 7); // as it may have ended
		ring.poll_multishot(ep.fd(), 8);
	}
}

TEST_CASE_METHOD(RingCase, "two rings and two instances in a circle settle", "[ledger9][uring]")
{
	Ring other;
	Instance second;
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(other.fd(), EPOLLIN, 2) == 0);
	REQUIRE(second.add(ring.fd(), EPOLLIN, 3) == 0);
	ring.poll_multishot(ep.fd(), 7);
	other.poll_multishot(second.fd(), 8);
	put(target);
	CHECK(eventually([&] { return ring.seen_now() > 0; }));
	CHECK(eventually([&] {
		int n = ring.seen_now() + other.seen_now();
		settle(50);
		return n + ring.seen_now() + other.seen_now() == 0;
	}));
	CHECK(ep.count(0) >= 1);
}

TEST_CASE_METHOD(RingCase, "an instance that is closed while a ring polls it still completes the poll", "[uring]")
{
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	ring.poll(ep.fd(), 7);
	ep.close();
	CHECK(ring.idle());
	put(target);
	CHECK(ring.next() == Completion{ 7, POLLIN, false });
}

TEST_CASE_METHOD(Case, "a ring that is closed takes its polls with it", "[uring]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	for (int i = 0; i < 10; i++) {
		Ring ring;
		ring.poll_multishot(ep.fd(), 7);
		if (i % 2)
			REQUIRE(ep.add(ring.fd(), EPOLLIN, 2) == 0);
	}
	put(target);
	// The ring's own close is finished in the background.
	CHECK(eventually([&] { return watches(ep.fd()).size() == 1; }));
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(RingCase, "a file that only a ring's table holds stays watched", "[uring]")
{
	const std::uint64_t one = 1;

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	ring.register_file(target);
	target.reset();
	CHECK(watches(ep.fd()).size() == 1);
	io_uring_prep_write(ring.sqe(7), 0, &one, sizeof one, 0);
	ring.named(IOSQE_FIXED_FILE);
	ring.submit();
	CHECK(ring.next() == Completion{ 7, sizeof one, false });
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	ring.unregister_files();
	CHECK(eventually([&] { return watches(ep.fd()).empty(); }));
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(RingCase, "polls come and go while the instance is woken and harvested", "[uring]")
{
	std::atomic<bool> stop{ false };
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	std::thread producer([&] {
		while (!stop) {
			put(target);
			ep.wait(0);
		}
	});
	auto end = Clock::now() + milliseconds(2000);
	int rounds = 0, odd = 0;
	while (Clock::now() < end) {
		ring.poll(ep.fd(), 7);
		io_uring_prep_poll_remove(ring.sqe(8), 7);
		ring.named();
		ring.submit();
		for (int i = 0; i < 2; i++) {
			Completion c = ring.next();
			bool fine = c.data == 7 ? c.result == POLLIN || c.result == -ECANCELED :
						  c.result == 0 || c.result == -ENOENT || c.result == -EALREADY;
			odd += !fine;
		}
		rounds++;
	}
	stop = true;
	producer.join();
	CHECK(odd == 0);
	CHECK(rounds > 10);
}

TEST_CASE_METHOD(RingCase, "io_uring's EPOLL_CTL changes the kernel's epoll; a [myepoll] instance is EINVAL",
		 "[uring]")
{
	epoll_event e = ev(EPOLLIN, 1);
	put(target);
	io_uring_prep_epoll_ctl(ring.sqe(7), ep.fd(), target, EPOLL_CTL_ADD, &e);
	ring.named();
	ring.submit();
	CHECK(ring.next() == Completion{ 7, be().native() ? 0 : -EINVAL, false });
	CHECK(ep.count(0) == (be().native() ? 1 : 0));
	CHECK(watches(ep.fd()).size() == (be().native() ? 1U : 0U));
}

TEST_CASE_METHOD(RingCase, "a ring's fadvise is no door: advices are answered as by epoll's file", "[uring][door]")
{
	constexpr unsigned fast_ctl = 0x6d790001, fast_wait = 0x6d790002,
			   fast_turn = 0x6d790003; // uapi/myepoll.h
	// A turn of nothing, which would do nothing and succeed
	std::uint64_t turn[7] = {};
	struct {
		std::uint64_t offset, length;
		unsigned advice;
		int result;
	} const calls[] = {
		{ 0, 0, POSIX_FADV_NORMAL, 0 },
		{ 4096, 100, POSIX_FADV_SEQUENTIAL, 0 },
		{ 0, 0, POSIX_FADV_DONTNEED, 0 },
		{ 0, 0, POSIX_FADV_NOREUSE, 0 },
		{ 0, 0, 6, -EINVAL },
		{ number_of(&event), (std::uint64_t(EPOLL_CTL_DEL) << 32) + int(target), fast_ctl, -EINVAL },
		{ number_of(&event), (std::uint64_t(EPOLL_CTL_MOD) << 32) + int(target), fast_ctl, -EINVAL },
		{ number_of(&event), 1, fast_wait, -EINVAL },
		{ number_of(&event), (std::uint64_t(-1) << 32) + 1, fast_wait, -EINVAL },
		{ number_of(turn), sizeof(turn), fast_turn, -EINVAL },
	};
	put(target);
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	for (auto &call : calls) {
		CAPTURE(call.advice, call.length);
		// The length is of 64 bits, in `addr`, from Linux 6.10 on.
		io_uring_prep_fadvise(ring.sqe(7), ep.fd(), call.offset, unsigned(call.length), call.advice);
		if (kernel_at_least(6, 10))
			ring.sqe()->addr = call.length;
		ring.named();
		ring.submit();
		CHECK(ring.next() == Completion{ 7, call.result, false });
		CHECK(event.events == 0); // nothing was written
	}
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, EPOLLIN | EPOLLERR | EPOLLHUP, 1 } });
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}
