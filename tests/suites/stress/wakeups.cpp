// SPDX-License-Identifier: GPL-2.0
// No wake-up is lost, and "nothing is ready" is never said where something is.
#include <cerrno>
#include <csignal>
#include <deque>

#include <sys/signalfd.h>
#include <unistd.h>

#include "catch.hpp"
#include "stress.hpp"

namespace {

const char old_epoll[] = "this kernel's epoll does; fixed in 6.12.100";

// Reads the count of an eventfd; 0 where another thread was faster
std::uint64_t try_take(int fd)
{
	std::uint64_t n;
	return read(fd, &n, sizeof n) == sizeof n ? n : 0;
}

} // namespace

namespace {

// Rounds in which a thread does one thing while another writes, each after a moment of its
// own, so that the two meet anywhere.
struct RaceWithWrites {
	explicit RaceWithWrites(const Fd &file) : target(file) {}

	// `act` beside the write, `found` after it, `done` when it has been read again
	std::string run(const std::function<bool()> &act, const std::function<bool()> &found,
			const std::function<bool()> &done)
	{
		Race race;
		race.run(1, [&](auto &random) {
			long round = ++rounds; // the writer's word
			linger(random);
			if (!act())
				race.fail("beside the write");
			while (writes != round)
				;
			if (!found())
				race.fail("after the write");
			take(target);
			if (!done())
				race.fail("after it was read");
		});
		race.run_beside(1, [&](auto &random) {
			long round = rounds;
			if (writes == round)
				return;
			linger(random);
			put(target);
			writes = round;
		});
		return race.join();
	}

private:
	const Fd &target;
	std::atomic<long> rounds{ 0 }, writes{ 0 };

	static void linger(std::mt19937 &random)
	{
		for (std::atomic<int> n = pick(random, 200); n > 0;)
			n--;
	}
};

} // namespace

TEST_CASE_METHOD(Case, "edge: what producers write, waiters find, all of it", "[ledger1]")
{
	// A waiter reads what it is told of, and only that. The sum at the end
	// is short if an edge was lost: nobody would read that file again.
	constexpr int files = 8;
	std::deque<Fd> targets;
	std::atomic<std::uint64_t> written{ 0 }, harvested{ 0 };
	for (unsigned i = 0; i < files; i++) {
		targets.push_back(event_fd());
		REQUIRE(ep.add(targets[i], EPOLLIN | EPOLLET, i) == 0);
	}
	auto harvest = [&](int timeout, int max) {
		int got = 0;
		for (const Event &event : ep.wait(timeout, max)) {
			harvested += try_take(targets[event.data]);
			got++;
		}
		return got;
	};

	Race race;
	race.run(2, [&](auto &random) {
		put(targets[pick(random, files)]);
		written++;
		if (pick(random, 16) == 0)
			std::this_thread::yield();
	});
	race.run_beside(3, [&](auto &random) { harvest(pick(random, 3), 1 + pick(random, 4)); });
	CHECK(race.join() == "");
	while (harvest(0, 8))
		;
	CHECK(written > 10);
	CHECK(harvested == written);
}

TEST_CASE_METHOD(Case, "edge: one write, one harvest, with waiters asleep", "[ledger1]")
{
	// Ping and pong: each write must wake one of the sleepers, or the producer
	// waits for its answer in vain.
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	std::atomic<long> writes{ 0 }, harvests{ 0 };

	Race race;
	race.run(1, [&](auto &) {
		put(target);
		writes++;
		if (!eventually([&] { return harvests >= writes; }, 20'000))
			race.fail("a write that nobody harvested");
	});
	race.run_beside(
		3,
		[&](auto &) {
			int n = ep.count(patience_ms, 1);
			if (n < 0 || n > 1)
				race.fail("wait: " + std::to_string(n));
			harvests += n == 1 && !race.ending();
		},
		[&] { put(target); });
	CHECK(race.join() == "");
	CHECK(harvests == writes);
}

TEST_CASE_METHOD(Case, "edge: a wake-up in the middle of a harvest, of an item just found not ready",
		 "[ledger1]")
{
	// The producer makes the item stale, and then ready at a moment at which
	// somebody may be looking at it. Only who is told of it reads the file.
	constexpr int noise = 15;
	Fd target = event_fd();
	Fd others[noise];
	std::atomic<std::uint64_t> got{ 0 };
	std::uint64_t sent = 0;
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	for (Fd &other : others) { // a harvest takes its time
		other = event_fd(1);
		REQUIRE(ep.add(other, EPOLLIN, 2) == 0);
	}

	Race race;
	race.run(1, [&](auto &random) {
		put(target);
		sent += 1;
		got += try_take(target);
		for (int i = pick(random, 2000); i > 0; i--)
			asm volatile("");
		put(target);
		sent += 1;
		if (!eventually([&] { return got == sent; }, 20'000))
			race.fail("a wake-up that was lost");
	});
	race.run_beside(2, [&](auto &) {
		for (const Event &event : ep.wait(0, noise + 1))
			if (event.data == 1)
				got += try_take(target);
	});
	CHECK(race.join() == "");
	CHECK(got == sent);
}

TEST_CASE_METHOD(Case, "timeout 0: while a level stays ready, no wait returns 0", "[ledger7]")
{
	Fd target = event_fd(1), noise = event_fd();
	std::atomic<long> zeros{ 0 };
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(noise, EPOLLIN | EPOLLET, 2) == 0);

	Race race;
	race.run(3, [&](auto &) {
		if (ep.count(0, 2) == 0)
			zeros++;
	});
	race.run(1, [&](auto &) { put(noise); });
	CHECK(race.join() == "");
	CHECK(race.rounds() > 100);
	if (!skip_unless(be().never_a_false_zero(), old_epoll))
		CHECK(zeros == 0);
}

TEST_CASE_METHOD(Case, "timeout 0: nor with a buffer of one, nor while ctl changes other watches",
		 "[ledger7]")
{
	Fd target = event_fd(1), other = event_fd(1);
	std::atomic<long> zeros{ 0 };
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);

	Race race;
	race.run(2, [&](auto &) {
		if (ep.count(0, 1) == 0)
			zeros++;
	});
	race.run(1, [&](auto &random) {
		ep.ctl(EPOLL_CTL_ADD + pick(random, 3), other, perhaps(random, EPOLLIN), 2);
	});
	race.run(1, [&](auto &) { ep.mod(target, EPOLLIN, 1); });
	CHECK(race.join() == "");
	if (!skip_unless(be().never_a_false_zero(), old_epoll))
		CHECK(zeros == 0);
}

TEST_CASE_METHOD(Case, "a waiter that times out as it is woken takes the event, or leaves it", "[ledger2]")
{
	// One sleeps for long. Another comes after it, so that it is the first to
	// be woken, with a timeout that ends just when the write comes. If it
	// returns without the event, the sleeper must have it: there is nobody
	// else.
	using std::chrono::microseconds;
	Fd target = event_fd();
	std::atomic<long> slept{ 0 }, turn{ 0 }, written{ 0 };
	std::atomic<bool> stop{ false };
	std::atomic<Clock::time_point> when{ Clock::time_point{} };
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);

	std::atomic<pid_t> tid{ 0 };
	std::thread sleeper([&] {
		tid = gettid();
		while (!stop)
			slept += ep.count(patience_ms, 1) == 1;
	});
	std::thread writer([&] {
		for (long n = 1;; n++) {
			while (turn != n)
				if (stop)
					return;
			while (Clock::now() < when.load())
				;
			put(target);
			written = n;
		}
	});

	std::mt19937 random(1);
	std::string lost;
	long rounds = 0;
	auto end = Clock::now() + race_time();
	while (Clock::now() < end && lost.empty()) {
		while (!sleeps_in_wait(getpid(), tid))
			std::this_thread::yield();
		epoll_event event;
		timespec timeout{ 0, 200'000 };
		long before = slept;
		when = Clock::now() + microseconds(150 + pick(random, 300));
		turn = ++rounds;
		int n = be().pwait2(ep.fd(), &event, 1, &timeout);
		while (written != rounds)
			std::this_thread::yield();
		if (n != 1 && !eventually([&] { return slept > before; }, 10'000))
			lost = "neither has the event of round " + std::to_string(rounds);
	}
	stop = true;
	put(target);
	sleeper.join();
	writer.join();
	CHECK(lost == "");
	CHECK(rounds > 0);
}

TEST_CASE_METHOD(Case, "a waiter that is interrupted as it is woken takes the event, or leaves it")
{
	struct sigaction action {}, old;
	action.sa_handler = [](int) {};
	sigaction(SIGUSR1, &action, &old);
	Fd target = event_fd();
	std::atomic<long> writes{ 0 }, harvests{ 0 }, interrupts{ 0 };
	std::atomic<bool> stop{ false };
	std::atomic<int> left{ 0 };
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	auto waiter = [&] {
		while (!stop) {
			int n = ep.count(patience_ms, 1);
			harvests += n == 1 && !stop;
			interrupts += n == -EINTR;
		}
		left++;
	};
	std::thread a(waiter), b(waiter);

	Race race;
	race.run(1, [&](auto &random) {
		put(target);
		writes++;
		pthread_kill(pick(random, 2) ? a.native_handle() : b.native_handle(), SIGUSR1);
		if (!eventually([&] { return harvests >= writes; }, 20'000))
			race.fail("an event lost to a signal");
	});
	CHECK(race.join() == "");
	stop = true;
	while (left < 2) {
		put(target);
		std::this_thread::sleep_for(milliseconds(1));
	}
	a.join();
	b.join();
	CHECK(harvests == writes);
	CHECK(interrupts > 0);
	sigaction(SIGUSR1, &old, nullptr);
}

TEST_CASE_METHOD(Case, "one-shot: each arming gives one event to one waiter")
{
	Fd target = event_fd(1);
	std::atomic<long> armed{ 1 }, harvests{ 0 };
	REQUIRE(ep.add(target, EPOLLIN | EPOLLONESHOT, 1) == 0);

	Race race;
	race.run(1, [&](auto &) {
		if (!eventually([&] { return harvests >= armed; }, 20'000))
			race.fail("armed, and no event");
		else if (harvests > armed)
			race.fail("more events than armings");
		armed++;
		if (ep.mod(target, EPOLLIN | EPOLLONESHOT, 1) != 0)
			race.fail("MOD");
	});
	race.run(1, [&](auto &) { put(target); });
	race.run_beside(
		3, [&](auto &) { harvests += ep.count(patience_ms, 1) == 1 && !race.ending(); },
		[&] { ep.mod(target, EPOLLIN | EPOLLONESHOT, 1); });
	CHECK(race.join() == "");
	CHECK(harvests <= armed);
}

TEST_CASE_METHOD(Case, "MOD that asks for what comes at the same moment finds it, or is woken by it")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, 0, 1) == 0);

	RaceWithWrites race(target);
	CHECK(race.run([&] { return ep.mod(target, EPOLLIN, 1) == 0; },
		       [&] { return ep.count(0) == 1; },
		       [&] { return ep.mod(target, 0, 1) == 0 && ep.count(0) == 0; }) == "");
}

TEST_CASE_METHOD(Case, "a wait that goes to sleep as an event comes does not sleep on it")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);

	RaceWithWrites race(target);
	CHECK(race.run([&] { return ep.count(patience_ms / 2) == 1; },
		       [&] { return ep.count(0) == 1; },
		       [&] { return ep.count(0) == 0; }) == "");
}

TEST_CASE_METHOD(Tidy, "exclusive: every write wakes somebody who is asleep")
{
	constexpr int instances = 4;
	Instance eps[instances];
	Fd target = event_fd();
	std::atomic<long> writes{ 0 }, wakes{ 0 };
	for (auto &ep : eps)
		REQUIRE(ep.add(target, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, 1) == 0);

	std::atomic<int> next{ 0 };
	Race race;
	race.run(1, [&](auto &) {
		long before = wakes;
		put(target);
		writes++;
		if (!eventually([&] { return wakes > before; }, 20'000))
			race.fail("a write that woke nobody");
	});
	race.run_beside(
		instances,
		[&](auto &) {
			static thread_local int mine = next++ % instances;
			wakes += eps[mine].count(patience_ms, 1) == 1;
		},
		[&] { put(target); });
	CHECK(race.join() == "");
	CHECK(wakes >= writes);
}

TEST_CASE_METHOD(Case, "nested: an edge for each new readiness, through two levels", "[ledger22]")
{
	Instance middle, outer;
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(middle.add(ep.fd(), EPOLLIN | EPOLLET, 2) == 0);
	REQUIRE(outer.add(middle.fd(), EPOLLIN | EPOLLET, 3) == 0);
	std::atomic<long> writes{ 0 }, harvests{ 0 };

	Race race;
	race.run(1, [&](auto &) {
		put(target);
		writes++;
		if (!eventually([&] { return harvests >= writes; }, 20'000))
			race.fail("a write that did not come up");
	});
	race.run_beside(
		2,
		[&](auto &) {
			if (outer.count(patience_ms) != 1)
				return;
			if (middle.count(0) == 1)
				harvests += ep.count(0) == 1 && !race.ending();
		},
		[&] { put(target); });
	CHECK(race.join() == "");
	CHECK(harvests == writes);
}
