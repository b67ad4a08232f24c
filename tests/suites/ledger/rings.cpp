// SPDX-License-Identifier: GPL-2.0
// Entries 9 and 10: wake-ups that come back to where they started, through io_uring
// and through aio.
#include <algorithm>

#include "aio.hpp"
#include "catch.hpp"
#include "ledger.hpp"
#include "ring.hpp"

namespace {

// Before 6.12 a multishot poll that posts a completion hears of it while it is at it,
// and goes on until the ring is full, whatever the wake-up says.
int completions_of_its_own()
{
	return kernel_at_least(6, 12) ? 2 : Ring::completions;
}

} // namespace

TEST_CASE_METHOD(Case, "ledger 09: a ring that polls the instance that watches the ring settles", "[ledger][9]")
{
	for (std::uint32_t mode : { 0U, std::uint32_t(EPOLLET) }) {
		CAPTURE(mode);
		Ring ring;
		Fd target = event_fd();
		REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
		REQUIRE(ep.add(ring.fd(), EPOLLIN | mode, 2) == 0);
		ring.poll_multishot(ep.fd(), 7);
		put(target);
		CHECK(ring.next().data == 7);
		// A completion may cause another, until the poll learns that it
		// hears itself.
		int more = 0;
		CHECK(eventually([&] {
			int n = ring.seen_now();
			settle(50);
			more += n;
			return n == 0;
		}));
		CHECK(more <= completions_of_its_own());
		Events events = ep.wait();
		CHECK(std::count(events.begin(), events.end(), Event{ EPOLLIN, 1 }) == 1);
		REQUIRE(ep.del(ring.fd()) == 0);
		REQUIRE(ep.del(target) == 0);
	}
}

TEST_CASE_METHOD(Case, "ledger 10: an aio poll of the instance that watches its eventfd completes", "[ledger][10]")
{
	if (skip_unless(circle_is_safe(), deadlocks))
		return;
	// The other instance is told of both events: of the second, which comes with
	// the completion, in the middle of being told of the first. The first is not
	// that of an eventfd, under which aio puts the second off.
	Instance outer;
	Ends target = make_pipe();
	Fd signal = event_fd();
	REQUIRE(ep.add(target.r, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(signal, EPOLLIN | EPOLLET, 2) == 0);
	for (int round = 0; round < 5; round++) {
		Aio aio;
		Data seen;
		aio.poll(ep.fd(), 7, signal);
		REQUIRE(outer.add(ep.fd(), EPOLLIN | EPOLLET, 3) == 0);
		send_byte(target.w);
		CHECK(aio.next(7) == POLLIN);
		CHECK(eventually([&] {
			for (const Event &event : ep.wait())
				seen.push_back(event.data);
			return seen.size() == 2;
		}));
		std::sort(seen.begin(), seen.end());
		CHECK(seen == Data{ 1, 2 });
		CHECK(outer.count(0) <= 1);
		REQUIRE(outer.del(ep.fd()) == 0);
	}
}
