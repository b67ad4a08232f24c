// SPDX-License-Identifier: GPL-2.0
// Entries 12 to 18: who outlives whom. That the memory was right is for KASAN to
// say; here the moments are arranged at which it matters.
#include <cerrno>
#include <csignal>
#include <optional>

#include <fcntl.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "catch.hpp"
#include "dying_file.hpp"
#include "ledger.hpp"

namespace {

// root watches middle, and that the bottom, of which somebody holds the mutex: who
// asks root holds the mutexes of root and middle and stands still.
struct Chain {
	Fd leaf = event_fd(1);
	Instance bottom, middle, root;
	Chain()
	{
		must(bottom.add(leaf, EPOLLIN, 1));
		must(link(middle, bottom));
		must(link(root, middle));
	}
};

// The last close of many files, all at once: of each the count is 0 when the first
// of them is on its way out, and they go while this thread returns to user space.
void close_all(int first, int n)
{
	must_libc(syscall(SYS_close_range, first, first + n - 1, 0), "close_range");
}

// Rounds in which a thread closes `n` files, and this one the instance that watches
// them; make(i) is the file that becomes number i.
void close_against_close(int n, const std::function<Fd(int)> &make)
{
	constexpr int base = 300;
	std::atomic<long> turn{ 0 }, done{ 0 };
	std::atomic<bool> stop{ false };
	allow_descriptors(base + n + 100);
	std::thread closer([&] {
		for (long round = 1;; round++) {
			while (turn != round)
				if (stop)
					return;
			close_all(base, n);
			done = round;
		}
	});
	std::mt19937 random(1);
	long round = 0, failures = 0;
	auto end = Clock::now() + race_time();
	while (Clock::now() < end || round < 3) {
		Instance ep, other;
		for (int i = 0; i < n; i++) {
			Fd file = make(i);
			must_libc(dup2(file, base + i), "dup2");
			failures += ep.add(base + i, EPOLLIN, i) != 0;
		}
		turn = ++round;
		for (int i = pick(random, 3000); i > 0; i--)
			asm volatile("");
		ep.close();
		while (done != round)
			std::this_thread::yield();
		failures += other.count(0) != 0;
	}
	stop = true;
	closer.join();
	CHECK(failures == 0);
}

} // namespace

TEST_CASE_METHOD(Tidy, "ledger 12: of two that nest each other at the same time, one does", "[ledger][12]")
{
	// Many items make each look long. In a child, since two that both succeed
	// may never come back.
	constexpr int files = 200;
	pid_t child = start_doubtful_child([] {
		Fd leaves[files];
		Instance a, b;
		for (Fd &leaf : leaves) {
			leaf = event_fd();
			must(a.add(leaf, EPOLLIN));
			must(b.add(leaf, EPOLLIN));
		}
		std::atomic<long> turn{ 0 }, done{ 0 };
		std::atomic<bool> stop{ false };
		std::atomic<int> second{ 0 };
		std::thread other([&] {
			for (long round = 1;; round++) {
				while (turn != round)
					if (stop)
						return;
				second = link(b, a);
				done = round;
			}
		});
		int status = 0;
		long round = 0;
		auto end = Clock::now() + race_time() / 2;
		while (Clock::now() < end && !status) {
			turn = ++round;
			int first = link(a, b);
			while (done != round)
				std::this_thread::yield();
			if (first == 0 && second == 0)
				status = 1;
			else if (first != -ELOOP && second != -ELOOP)
				status = 2;
			(first == 0 ? a : b).del((first == 0 ? b : a).fd());
		}
		stop = true;
		other.join();
		return status;
	});
	CHECK(status_within(child, static_cast<int>(race_time().count()) + patience_ms / 2) == 0);
}

TEST_CASE_METHOD(Tidy, "ledger 12: a file added to an instance that becomes watched meanwhile is checked too",
		 "[ledger][12]")
{
	// Either the file or the way up comes last, and that one is refused. Were
	// the file to slip past the check, both would be there.
	constexpr int limit = 100; // instances reached through two others
	allow_descriptors(limit + 200);
	Instance top, middle;
	std::vector<Instance> tops(limit + 1);
	for (auto &one : tops)
		REQUIRE(link(one, top) == 0);
	Fd leaf = event_fd();

	REQUIRE(link(top, middle) == 0);
	CHECK(middle.add(leaf, EPOLLIN) == -EINVAL);
	REQUIRE(top.del(middle.fd()) == 0);
	REQUIRE(middle.add(leaf, EPOLLIN) == 0);
	CHECK(link(top, middle) == -EINVAL);
	REQUIRE(middle.del(leaf) == 0);

	std::atomic<long> turn{ 0 }, done{ 0 };
	std::atomic<bool> stop{ false };
	std::atomic<int> added{ 0 };
	std::thread adder([&] {
		for (long round = 1;; round++) {
			while (turn != round)
				if (stop)
					return;
			added = middle.add(leaf, EPOLLIN);
			done = round;
		}
	});
	long round = 0, both = 0, neither = 0;
	auto end = Clock::now() + race_time() / 2;
	while (Clock::now() < end) {
		turn = ++round;
		int linked = link(top, middle);
		while (done != round)
			std::this_thread::yield();
		both += linked == 0 && added == 0;
		neither += linked != 0 && added != 0;
		top.del(middle.fd());
		middle.del(leaf);
	}
	stop = true;
	adder.join();
	CHECK(both == 0);
	CHECK(neither == 0);
}

TEST_CASE_METHOD(Tidy, "ledger 12: a file whose ADD stands still is checked by who watches the instance meanwhile",
		 "[ledger][12]")
{
	constexpr int limit = 100; // instances reached through two others
	std::optional<Pair> vsock = make_vsock();
	if (skip_unless(vsock.has_value(), "the kernel has no vsock"))
		return;
	allow_descriptors(limit + 200);
	Instance top, middle;
	std::vector<Instance> tops(limit + 1);
	for (auto &one : tops)
		REQUIRE(link(one, top) == 0);
	std::optional<Blocked> sending, adder, linker;
	MissingPage page; // whose end, if the case fails, ends those
	sending.emplace([&] { return int(send(vsock->a, page.at(), 1, 0)); });
	REQUIRE(page.touched_within(patience_ms));
	adder.emplace([&] { return middle.add(vsock->a, EPOLLIN); });
	adder->asleep(); // in the ->poll: nobody watches middle, so this ADD was not checked
	linker.emplace([&] { return link(top, middle); });
	linker->asleep();
	page.fill();
	CHECK(sending->result() == 1);
	CHECK((adder->result() != 0 || linker->result() != 0)); // or there are 101 ways up
}

TEST_CASE_METHOD(Case, "ledger 13: a wait queue that dies before its file takes every watch off itself",
		 "[ledger][13]")
{
	// The queue of a signalfd is that of the process that added it. If one entry
	// stays, the kernel says so when the process goes.
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	{
		Instance second;
		Fd signals(must_libc(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)));
		Fd again = dup_of(signals);
		CHECK(in_child([&] {
			      return ep.add(signals, EPOLLIN | EPOLLEXCLUSIVE, 1) ||
				     second.add(signals, EPOLLIN | EPOLLEXCLUSIVE, 2) ||
				     ep.add(again, EPOLLIN, 3);
		      }) == 0);
		CHECK(watches(ep.fd()).size() == 2);
		kill(getpid(), SIGUSR2); // another process's queue now
		Blocked waiter(ep, 100);
		waiter.result();
		CHECK(ep.del(signals) == 0);
		CHECK(ep.add(signals, EPOLLIN, 4) == 0);
		CHECK(ep.count(patience_ms) >= 1);
		drain(signals);
	} // closes with watches of a dead queue left
	CHECK(watches(ep.fd()).empty());
	pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

TEST_CASE_METHOD(Tidy, "ledger 14: a file that is closed while a harvest asks it lives until it has answered",
		 "[ledger][14]")
{
	Chain chain;
	StuckHarvest stuck(chain.bottom);
	Blocked harvest(chain.root, 0);
	harvest.asleep(); // in middle's ->poll
	{
		Blocked closer([&] {
			chain.middle.close();
			return 0;
		});
		settle();
		CHECK(stuck.let_go().size() == 1);
	}
	int n = harvest.result();
	CHECK((n == 0 || n == 1)); // it was ready, or it was closed
	CHECK(eventually([&] { return watches(chain.root.fd()).empty(); }));
	CHECK(chain.root.count(0) == 0);
	CHECK(chain.bottom.count(0) == 1);
}

TEST_CASE_METHOD(Tidy, "ledger 15: close of an instance against the close of what it watches", "[ledger][15]")
{
	close_against_close(64, [](int i) { return event_fd(i % 2); });
}

TEST_CASE_METHOD(Tidy, "ledger 16: the watchers of an instance are closed while a check walks up to them",
		 "[ledger][16]")
{
	// The walk stays with each watcher while it goes through the tops above.
	constexpr int watchers = 4, high = 10;
	Instance ep, inner, tops[high];
	std::atomic<long> links{ 0 };
	Race race;
	race.run(2, [&](auto &) {
		Instance above[watchers];
		for (auto &one : above) {
			for (auto &top : tops)
				must(link(top, one));
			must(link(one, ep));
		}
	});
	race.run(1, [&](auto &) {
		int r = link(ep, inner);
		if (r != 0)
			race.fail("ADD: " + std::to_string(r));
		ep.del(inner.fd());
		links++;
	});
	CHECK(race.join() == "");
	CHECK(links > 3);
	CHECK(watches(ep.fd()).empty());
}

TEST_CASE_METHOD(Tidy, "ledger 17: close of an instance against the last close of instances that it watches",
		 "[ledger][17]")
{
	close_against_close(64, [](int i) {
		return i % 2 ? event_fd(1) : Fd(must(be().create1(EPOLL_CLOEXEC)));
	});
}

TEST_CASE_METHOD(Tidy, "ledger 17: an instance closes while the close of what it watched is yet to come",
		 "[ledger][17]")
{
	Fd ready = event_fd(1);
	Instance stays;
	for (int round = 0; round < 5; round++) {
		Instance ep, above;
		std::vector<Fd> files;
		for (int i = 0; i < 5; i++) {
			// Of two wait queues, of one, and with watchers of its own
			files.push_back(i == 0 ? std::move(make_pair(SOCK_STREAM).a) :
					i % 2  ? event_fd(1) :
						 Fd(must(be().create1(EPOLL_CLOEXEC))));
			REQUIRE(ep.add(files.back(), EPOLLIN | EPOLLRDHUP, i) == 0);
			REQUIRE(stays.add(files.back(), EPOLLIN | EPOLLRDHUP, i) == 0);
			if (i && i % 2 == 0)
				REQUIRE(be().ctl(files.back(), EPOLL_CTL_ADD, ready,
						 std::vector<epoll_event>{ ev(EPOLLIN, i) }.data()) == 0);
		}
		REQUIRE(link(above, ep) == 0);
		std::optional<DyingFile> dying(std::in_place, std::move(files));
		// They answer no more, and take no room.
		CHECK(ep.count(0) == 0);
		CHECK(stays.count(0) == 0);
		CHECK((be().native() || watches(ep.fd()).empty()));
		CHECK(above.count(0) == 0);
		if (round % 2)
			above.close();
		ep.close(); // with their items
		CHECK(stays.count(0) == 0);
		dying.reset();
		CHECK(watches(stays.fd()).empty());
		CHECK(stays.count(0) == 0);
	}
}

TEST_CASE_METHOD(Tidy, "ledger 18: a file that is closed while an ADD asks the instance above it lives until it has answered",
		 "[ledger][18]")
{
	Chain chain;
	Instance above;
	StuckHarvest stuck(chain.bottom);
	Blocked adder([&] { return link(above, chain.root); });
	adder.asleep(); // in root's ->poll, and so in middle's
	{
		Blocked closer([&] {
			chain.middle.close();
			return 0;
		});
		settle();
		CHECK(stuck.let_go().size() == 1);
	}
	CHECK(adder.result() == 0);
	CHECK(eventually([&] { return watches(chain.root.fd()).empty(); }));
	CHECK(above.count(0) == 0);
}

TEST_CASE_METHOD(Tidy, "ledger 18: leaves are closed while the ways up from them are counted", "[ledger][18]")
{
	if (skip_unless(!be().native() || kernel_has_fix({ 7, 2, 0 }, { 6, 12, 105 }),
			"this kernel's epoll may use a freed file; fixed in 6.12.105"))
		return;
	constexpr int leaves = 50;
	Instance above, ep;
	Race race;
	race.run(1, [&](auto &) {
		int r = link(above, ep);
		if (r != 0)
			race.fail("ADD: " + std::to_string(r));
		above.del(ep.fd());
	});
	race.run(2, [&](auto &random) {
		Fd files[leaves];
		for (Fd &file : files) {
			file = pick(random, 8) ? event_fd(1) : Fd(must(be().create1(EPOLL_CLOEXEC)));
			int r = ep.add(file, EPOLLIN);
			if (r != 0)
				race.fail("ADD of a leaf: " + std::to_string(r));
		}
	});
	CHECK(race.join() == "");
	CHECK(watches(ep.fd()).empty());
}
