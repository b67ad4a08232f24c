// SPDX-License-Identifier: GPL-2.0
// Entries 1 to 8, 11 and 22: wake-ups that were lost or came late, and "nothing is
// ready" said where something was.
#include <algorithm>
#include <csignal>
#include <numeric>

#include <poll.h>
#include <pthread.h>
#include <unistd.h>
#include <x86intrin.h>

#include "catch.hpp"
#include "ledger.hpp"

namespace {

// A waiter of low real-time priority, pinned: with a Hog beside it, it is woken but
// does not run.
int slow_wait(const Instance &ep, int timeout_ms)
{
	run_on(Hog::cpu);
	real_time(1);
	return ep.count(timeout_ms, 1);
}

} // namespace

TEST_CASE_METHOD(Case, "ledger 01: an event that comes while its item is in a harvest's hands is not lost",
		 "[ledger][1]")
{
	// The item is off the ready list and not back yet. Both of an item that was
	// found not ready, and of one whose event is being delivered.
	Fd stale = event_fd(1), fired = event_fd(1);
	REQUIRE(ep.add(stale, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(fired, EPOLLIN | EPOLLET, 2) == 0);
	take(stale);
	{
		StuckHarvest harvest(ep);
		put(stale);
		put(fired);
		CHECK(harvest.let_go() == Events{ { EPOLLIN, 2 } });
	}
	Data data = data_of(ep.wait());
	std::sort(data.begin(), data.end());
	CHECK(data == Data{ 1, 2 });
	CHECK(ep.count(0) == 0);
}

TEST_CASE_METHOD(Case, "ledger 01: what comes to other items while a harvest is under way is not lost",
		 "[ledger][1]")
{
	Fd ready = event_fd(1), other = event_fd();
	REQUIRE(ep.add(ready, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(other, EPOLLIN | EPOLLET, 2) == 0);
	StuckHarvest harvest(ep);
	put(other);
	put(other);
	CHECK(harvest.let_go() == Events{ { EPOLLIN, 1 } });
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(ep.count(0) == 0);
}

TEST_CASE_METHOD(Case, "ledger 01: edges of many producers for many waiters are all harvested", "[ledger][1]")
{
	// A file is read only by who was told of it: a lost edge leaves its count.
	constexpr int files = 8;
	Fd targets[files];
	std::atomic<std::uint64_t> written{ 0 }, harvested{ 0 };
	for (int i = 0; i < files; i++) {
		targets[i] = event_fd();
		REQUIRE(ep.add(targets[i], EPOLLIN | EPOLLET, i) == 0);
	}
	auto harvest = [&](int timeout_ms) {
		Events events = ep.wait(timeout_ms, 3);
		for (const Event &event : events) {
			std::uint64_t n;
			if (read(targets[event.data], &n, sizeof n) == sizeof n)
				harvested += n;
		}
		return !events.empty();
	};

	Race race;
	race.run(2, [&](auto &random) {
		put(targets[pick(random, files)]);
		written++;
	});
	race.run_beside(3, [&](auto &random) { harvest(pick(random, 2)); });
	CHECK(race.join() == "");
	while (harvest(0))
		;
	CHECK(harvested == written);
}

TEST_CASE_METHOD(Case, "ledger 02: a waiter that was chosen and then timed out takes the event", "[ledger][2]")
{
	// The chosen one does not get its CPU before its time is up. Nobody else
	// has been woken for that event. A busy host may be late with the event; the
	// next attempt has more time.
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	bool in_time = false;
	for (int ms = 400; !in_time && ms < patience_ms; ms *= 3) {
		Blocked sleeper(ep);
		sleeper.asleep();
		auto start = Clock::now();
		Blocked chosen([&] { return slow_wait(ep, ms); });
		eventually([&] { return chosen.done() || sleeps_in_wait(getpid(), chosen.tid()); });
		{
			Hog hog;
			put(target);
			in_time = Clock::now() - start < milliseconds(ms);
			std::this_thread::sleep_until(start + milliseconds(2 * ms));
			if (in_time) {
				CHECK_FALSE(chosen.done());
				CHECK_FALSE(sleeper.done());
			}
		}
		int n = chosen.result();
		if (in_time)
			CHECK(n == 1);
		put(target); // ends the other at the latest
		CHECK(sleeper.result() == 1);
		ep.wait();
	}
	CHECK(in_time);
}

TEST_CASE_METHOD(Case, "ledger 02: a waiter that times out before it is chosen leaves the event to others",
		 "[ledger][2]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	Blocked sleeper(ep);
	sleeper.asleep();
	Blocked late([&] { return slow_wait(ep, 200); });
	late.asleep();
	bool taken;
	{
		// Its time is up, but it is still in the queue, and first.
		Hog hog;
		settle(600);
		put(target);
		taken = sleeper.done_within(patience_ms / 3);
	}
	int n = late.result();
	CHECK((taken || n == 1));
	if (!sleeper.done())
		put(target);
	CHECK(sleeper.result() == 1);
}

TEST_CASE_METHOD(Case, "ledger 03: a level that stays wakes the next waiter, after each harvest", "[ledger][3]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	constexpr int ms = patience_ms / 3;
	Blocked a(ep, ms), b(ep, ms), c(ep, ms);
	for (Blocked *waiter : { &a, &b, &c })
		waiter->asleep();
	put(target);
	for (Blocked *waiter : { &a, &b, &c })
		CHECK(waiter->result() == 1);
}

TEST_CASE_METHOD(Case, "ledger 04: waiters that are dying are walked over once, not at each wake-up", "[ledger][4]")
{
	// All are killed, and none runs: a waker finds them in the queue, awake. The
	// first takes them out, which takes its time; the next ones find nobody.
	constexpr int crowd = 600, more = 40;
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	Ends started = make_pipe();
	pid_t child = start_child([&] {
		run_on(Hog::cpu);
		real_time(1);
		std::vector<std::unique_ptr<Blocked>> waiters;
		// One CPU and one priority: each runs until it sleeps.
		for (int i = 0; i < crowd; i++)
			waiters.push_back(std::make_unique<Blocked>(ep, -1, 1));
		usleep(1000);
		waiters.back()->asleep();
		send_byte(started.w);
		pause();
		return 0;
	});
	char byte;
	REQUIRE(eventually([&] { return read(started.r, &byte, 1) == 1; }, 4 * patience_ms));

	// In ticks of the CPU's counter: not every debug kernel has a clock as fine.
	auto timed_put = [&] {
		auto start = __rdtsc();
		put(target);
		return __rdtsc() - start;
	};
	std::vector<std::uint64_t> times;
	std::uint64_t first;
	{
		Hog hog;
		kill(child, SIGKILL);
		first = timed_put();
		for (int i = 0; i < more; i++)
			times.push_back(timed_put());
	}
	CHECK(status_within(child, patience_ms) == 256 + SIGKILL);
	std::nth_element(times.begin(), times.begin() + more / 2, times.end());
	INFO("the first wake-up took " << first << " ticks, those after it " << times[more / 2]);
	CHECK(times[more / 2] < first / 5);
	CHECK(ep.count(0) == 1); // nobody took it
}

TEST_CASE_METHOD(Case, "ledger 05: a deadline that has passed already ends the wait", "[ledger][5]")
{
	struct sigaction action {}, old;
	action.sa_handler = [](int) {};
	sigaction(SIGUSR1, &action, &old);
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	for (long ns : { 1L, 100L, 10'000L }) {
		CAPTURE(ns);
		Blocked waiter([&] {
			epoll_event event;
			timespec timeout{ 0, ns };
			return be().pwait2(ep.fd(), &event, 1, &timeout);
		});
		if (!waiter.done_within(patience_ms / 3))
			pthread_kill(waiter.thread(), SIGUSR1); // it goes round and round
		REQUIRE(waiter.result() == 0);
	}
	sigaction(SIGUSR1, &old, nullptr);
}

TEST_CASE_METHOD(Case, "ledger 06: a waiter that was woken and has no CPU does not keep the others asleep",
		 "[ledger][6]")
{
	Fd x = event_fd(), y = event_fd();
	REQUIRE(ep.add(x, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(y, EPOLLIN | EPOLLET, 2) == 0);
	Blocked high([&] {
		real_time(Hog::priority);
		run_on(Hog::elsewhere);
		return ep.count(patience_ms);
	});
	high.asleep();
	Blocked low([&] { return slow_wait(ep, patience_ms); });
	low.asleep();
	{
		Hog hog;
		put(x); // for the one that came last
		put(y);
		CHECK(high.done_within(patience_ms / 3));
		CHECK_FALSE(low.done());
	}
	if (!high.done())
		settle(300);
	put(x);
	put(y);
	CHECK(low.result() == 1);
	put(x);
}

TEST_CASE_METHOD(Case, "ledger 06: a real-time consumer has each event before its producer goes on", "[ledger][6]")
{
	// All share a CPU. Nobody is preempted with a lock of the wake-up's in hand, so
	// put() does not return before the consumer has run and sleeps again.
	Fd target = event_fd(), noise = event_fd();
	std::atomic<std::uint64_t> written{ 0 }, harvested{ 0 };
	std::atomic<bool> stop{ false };
	constexpr char throttle_file[] = "/proc/sys/kernel/sched_rt_runtime_us";
	std::string throttle = slurp(throttle_file);
	spill(throttle_file, "-1");
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(noise, EPOLLIN | EPOLLET, 2) == 0);
	Blocked consumer([&] {
		run_on(Hog::elsewhere);
		real_time(Hog::priority);
		while (!stop)
			for (const Event &event : ep.wait(-1))
				if (event.data == 1) {
					take(target);
					harvested++;
				}
		return 0;
	});
	consumer.asleep();
	{
		Race race;
		race.run(1, [&](auto &) {
			static thread_local bool there = (run_on(Hog::elsewhere), true);
			(void)there;
			put(target);
			if (harvested != ++written)
				race.fail("the producer went on before the consumer had run");
		});
		race.run(1, [&](auto &) {
			static thread_local bool there = (run_on(Hog::elsewhere), true);
			(void)there;
			put(noise);
		});
		CHECK(race.join() == "");
	}
	CHECK(written > 10);
	stop = true;
	put(noise);
	consumer.result();
	spill(throttle_file, throttle);
}

TEST_CASE_METHOD(Case, "ledger 07: timeout 0 never reports nothing while a harvest has all there is", "[ledger][7]")
{
	Fd target = event_fd(1);
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	StuckHarvest harvest(ep);
	// It may wait for the harvest to end.
	Blocked other(ep, 0);
	settle();
	if (other.done())
		CHECK(other.result() == 1);
	CHECK(harvest.let_go() == Events{ { EPOLLIN, 1 } });
	CHECK(other.result() == 1);
}

TEST_CASE_METHOD(Case, "ledger 07: timeout 0 never reports nothing while a level stays, harvested by all",
		 "[ledger][7]")
{
	if (skip_unless(be().never_a_false_zero(), "this kernel's epoll does; fixed in 6.12.100"))
		return;
	Fd target = event_fd(1), noise = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(noise, EPOLLIN | EPOLLET, 2) == 0);
	Race race;
	race.run(3, [&](auto &random) {
		if (ep.count(0, 1 + pick(random, 2)) == 0)
			race.fail("nothing");
	});
	race.run(1, [&](auto &) {
		put(noise);
		usleep(20);
	});
	CHECK(race.join() == "");
	CHECK(race.rounds() > 100);
}

TEST_CASE_METHOD(Case, "ledger 08: looks at an instance that take no lock, while it changes", "[ledger][8]")
{
	// Whether they are marked is for KCSAN to say. What they lead to is not
	// more than there is.
	Instance outer;
	Fd target = event_fd();
	std::atomic<std::uint64_t> written{ 0 }, harvested{ 0 };
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(outer.add(ep.fd(), EPOLLIN | EPOLLET, 2) == 0);
	Race race;
	race.run(1, [&](auto &) {
		written++;
		put(target);
	});
	race.run(2, [&](auto &random) {
		harvested += ep.count(pick(random, 2), 1);
		if (harvested > written)
			race.fail("more events than writes");
	});
	race.run(1, [&](auto &) { outer.count(0); });
	CHECK(race.join() == "");
	while (ep.count(0))
		harvested++;
	CHECK(harvested > 0);
	CHECK(harvested <= written);
}

TEST_CASE_METHOD(Tidy, "ledger 11: each write is an edge, though what was written before is still there",
		 "[ledger][11]")
{
	Ends pipe = make_pipe();
	Pair stream = make_pair(SOCK_STREAM), tcp = make_tcp();
	Fd counter = event_fd();
	for (auto [reader, writer] : { std::pair<int, int>{ pipe.r, pipe.w }, { stream.a, stream.b },
				       { tcp.a, tcp.b }, { counter, counter } }) {
		Instance ep;
		REQUIRE(ep.add(reader, EPOLLIN | EPOLLET, 1) == 0);
		for (int i = 0; i < 3; i++) {
			CAPTURE(reader, i);
			CHECK(ep.count(0) == 0);
			if (reader == writer)
				put(writer);
			else
				send_byte(writer);
			REQUIRE(ep.count(patience_ms / 3) == 1);
		}
	}
}

TEST_CASE_METHOD(Case, "ledger 22: whoever watches an instance gets an edge for each new readiness in it",
		 "[ledger][22]")
{
	Instance middle, outer;
	Fd a = event_fd(), b = event_fd();
	REQUIRE(ep.add(a, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(b, EPOLLIN | EPOLLET, 2) == 0);
	REQUIRE(middle.add(ep.fd(), EPOLLIN | EPOLLET, 3) == 0);
	REQUIRE(outer.add(middle.fd(), EPOLLIN | EPOLLET, 4) == 0);
	for (int round = 0; round < 3; round++) {
		// The second comes while the first is unharvested inside.
		for (int fd : { int(a), int(b) }) {
			put(fd);
			CHECK(outer.count(0) == 1);
			CHECK(outer.count(0) == 0);
		}
		CHECK(middle.count(0) == 1);
		CHECK(ep.count(0) == 2);
		CHECK(middle.count(0) == 0);
		CHECK(outer.count(0) == 0);
	}
}

TEST_CASE_METHOD(Tidy, "ledger 22: an edge that comes while very many are being told of another", "[ledger][22]")
{
	constexpr int pollers = 10'000;
	allow_descriptors(pollers);
	for (int round = 0; round < 12; round++) {
		Instance inner, outer;
		Fd first = event_fd(), second = event_fd();
		REQUIRE(inner.add(first, EPOLLIN, 1) == 0);
		REQUIRE(inner.add(second, EPOLLIN, 2) == 0);
		// One thread that waits for the instance as often as it may
		std::vector<pollfd> many(pollers, { inner.fd(), POLLIN, 0 });
		Blocked poller([&] { return poll(many.data(), many.size(), patience_ms); });
		poller.asleep();
		REQUIRE(outer.add(inner.fd(), EPOLLIN | EPOLLET, 3) == 0); // and so is told first
		std::thread writer([&] { put(first); });
		int told = outer.count(patience_ms);
		put(second); // while the writer tells the others
		writer.join();
		CHECK(told == 1);
		CHECK(outer.count(patience_ms / 10) == 1);
		CHECK(poller.result() == pollers);
		CHECK(inner.count(0) == 2);
	}
}
