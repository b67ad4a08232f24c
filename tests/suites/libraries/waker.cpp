// SPDX-License-Identifier: GPL-2.0
// What ends a wait of another thread's, and names for logs
#include "catch.hpp"
#include "util.hpp"

#include <myepoll/waker.hpp>

#include <array>
#include <atomic>
#include <chrono>
#include <csignal>
#include <stop_token>
#include <thread>
#include <type_traits>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

using namespace std::chrono_literals;
using myepoll::event;
using myepoll::interest;
using myepoll::poller;
using myepoll::token;
using myepoll::waker;

static_assert(std::is_nothrow_move_constructible_v<waker> && std::is_nothrow_move_assignable_v<waker>);
static_assert(!std::is_copy_constructible_v<waker> && noexcept(std::declval<waker &>().wake()));

TEST_CASE("waker: ends a wait, each time anew", "[cxx][waker]")
{
	poller p;
	waker w(p, token(7));
	std::array<event, 4> room;

	REQUIRE(w);
	CHECK(p.wait(room, 0ms).empty());
	for (int i = 0; i < 3; i++) {
		/* Before the wait, and several times: one event */
		w.wake();
		w.wake();
		auto events = p.wait(room, 1h);
		REQUIRE(events.size() == 1);
		CHECK(events[0].token() == token(7));
		CHECK(p.wait(room, 0ms).empty());
		/* During it */
		std::jthread other([&] {
			std::this_thread::sleep_for(20ms);
			w.wake();
		});
		CHECK(p.wait(room, 1h).size() == 1);
	}
}

TEST_CASE("waker: every wake() is followed by a wait that ends", "[cxx][waker]")
{
	poller p;
	waker w(p, token(1));
	std::array<event, 1> room;
	std::atomic<int> sent = 0, seen = 0;
	constexpr int rounds = 2000;

	std::jthread other([&] {
		for (int i = 1; i <= rounds; i++) {
			sent = i;
			w.wake();
			while (i % 8 == 0 && seen < i)
				std::this_thread::yield();
		}
	});
	while (seen < rounds) {
		REQUIRE(p.wait(room, 10s).size() == 1);
		seen = sent.load();
	}
}

TEST_CASE("waker: at the end of the counter, as at its beginning", "[cxx][waker]")
{
	poller p;
	waker w(p, token(1));
	std::array<event, 1> room;
	const std::uint64_t most = ~std::uint64_t(0) - 1;

	REQUIRE(write(w.native_handle(), &most, sizeof(most)) == sizeof(most));
	CHECK(p.wait(room, 0ms).size() == 1);
	errno = 1234;
	w.wake();
	CHECK(errno == 1234);
	CHECK(p.wait(room, 0ms).size() == 1);
}

TEST_CASE("waker: stops a loop by a std::stop_token, and from a signal handler", "[cxx][waker]")
{
	poller p;
	static waker *by_signal;
	waker w(p, token(1));
	std::array<event, 1> room;
	std::stop_source source;
	const std::stop_callback on_stop(source.get_token(), [&] { w.wake(); });
	struct sigaction action = {}, old;
	std::error_code ec;

	std::jthread other([&] { source.request_stop(); });
	while (!source.stop_requested())
		(void)p.wait(room, 10s);
	other.join();
	(void)p.wait(room, 0ms);

	by_signal = &w;
	action.sa_handler = [](int) { by_signal->wake(); };
	sigaction(SIGUSR1, &action, &old);
	raise(SIGUSR1);
	CHECK(p.wait(room, 10s, ec).size() == 1);
	sigaction(SIGUSR1, &old, nullptr);
}

TEST_CASE("waker: moved, gone, and longer there than its poller", "[cxx][waker]")
{
	std::array<event, 1> room;
	std::array<myepoll::watch, 2> watches;
	poller p;
	waker a(p, token(1)), b(p, token(2));

	b = std::move(a);
	CHECK_FALSE(a);
	a.wake(); /* does nothing */
	CHECK(p.wait(room, 0ms).empty());
	CHECK(p.list(watches).total == 1);
	b.wake();
	REQUIRE(p.wait(room, 0ms).size() == 1);
	CHECK(room[0].token() == token(1));
	{
		const waker c = std::move(b);
	}
	CHECK(p.list(watches).total == 0);

	poller q;
	waker d(q, token(3));
	q.close();
	d.wake();
}

TEST_CASE("waker: errors, in both forms", "[cxx][waker]")
{
	poller none = poller::adopt(-1), p;
	std::error_code ec;

	CHECK_FALSE(waker::create(none, token(), ec));
	CHECK(ec == std::errc::bad_file_descriptor);
	CHECK(thrown([&] { waker(none, token()); }) == ec);

	rlimit old, nothing;
	getrlimit(RLIMIT_NOFILE, &old);
	nothing = { 0, old.rlim_max };
	setrlimit(RLIMIT_NOFILE, &nothing);
	const bool made(waker::create(p, token(), ec));
	setrlimit(RLIMIT_NOFILE, &old);
	CHECK_FALSE(made);
	CHECK(ec == std::errc::too_many_files_open);
	CHECK(waker::create(p, token(), ec));
	CHECK_FALSE(ec);
}

TEST_CASE("to_string: names of bits and operations", "[cxx]")
{
	using myepoll::feature;
	using myepoll::operation;
	using myepoll::readiness;
	using myepoll::to_string;

	CHECK(to_string(interest::none) == "none");
	CHECK(to_string(interest::in | interest::rdhup | interest::edge) == "in|rdhup|edge");
	CHECK(to_string(interest::exclusive | interest::wakeup | interest::oneshot) == "exclusive|wakeup|oneshot");
	CHECK(to_string(static_cast<interest>(0x4000)) == "0x4000");
	CHECK(to_string(readiness::in | readiness::hup | static_cast<readiness>(0x800000)) == "in|hup|0x800000");
	CHECK(to_string(feature::turn | feature::ops) == "turn|ops");
	CHECK(to_string(static_cast<feature>(~0ULL << 60)) == "0xf000000000000000");
	CHECK(to_string(operation::disable) == "disable");
	CHECK(to_string(static_cast<operation>(99)) == "99");
	/* All have one. */
	for (std::uint32_t bit = 1; bit; bit <<= 1) {
		const auto known = EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM |
				   EPOLLWRBAND | EPOLLMSG | EPOLLRDHUP | EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT |
				   static_cast<std::uint32_t>(EPOLLET);

		CHECK((to_string(static_cast<interest>(bit)).find("0x") != std::string::npos) == !(bit & known));
	}
	CHECK(event(readiness::pri, token()).priority());
	CHECK_FALSE(event(readiness::in, token()).priority());
}
