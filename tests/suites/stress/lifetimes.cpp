// SPDX-License-Identifier: GPL-2.0
// ADD, MOD, DEL, wait, close of what is watched and close of the instance, at
// once. Whatever happened, the books balance at the end: the instance lists
// what it should, works, and the watches of the user are all given back.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <memory>
#include <mutex>
#include <set>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sched.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include "catch.hpp"
#include "stress.hpp"

namespace {

bool one_of(int r, std::initializer_list<int> allowed)
{
	for (int a : allowed)
		if (r == a)
			return true;
	return false;
}

// An instance that still does its work from ADD to close
void check_works(const Instance &ep)
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 12345) == 0);
	put(target);
	auto events = ep.wait(0, 256);
	CHECK(std::count(events.begin(), events.end(), Event{ EPOLLIN, 12345 }) == 1);
	REQUIRE(ep.del(target) == 0);
}

} // namespace

TEST_CASE_METHOD(Case, "ctl of all kinds, waits and wake-ups on the same few files", "[ledger14]")
{
	constexpr int files = 6;
	Fd targets[files];
	std::atomic<int> there[files] = {};
	for (auto &target : targets)
		target = event_fd();

	Race race;
	race.run(2, [&](auto &random) {
		int i = pick(random, files);
		int r = 0;
		switch (pick(random, 3)) {
		case 0:
			r = ep.add(targets[i], EPOLLIN | perhaps(random, EPOLLET), i);
			there[i] += r == 0;
			break;
		case 1:
			r = ep.mod(targets[i], pick(random, 2) ? EPOLLIN : EPOLLIN | EPOLLONESHOT, i);
			break;
		case 2:
			r = ep.del(targets[i]);
			there[i] -= r == 0;
			break;
		}
		if (!one_of(r, { 0, -EEXIST, -ENOENT }))
			race.fail("ctl: " + std::to_string(r));
	});
	race.run(1, [&](auto &random) {
		int i = pick(random, files);
		put(targets[i]);
		std::uint64_t n;
		if (pick(random, 2) && read(targets[i], &n, sizeof n) < 0 && errno != EAGAIN)
			race.fail("read");
	});
	race.run(2, [&](auto &random) {
		for (const Event &event : ep.wait(pick(random, 2), 1 + pick(random, files)))
			if (event.data >= files || event.events & ~EPOLLIN)
				race.fail("an event of nothing that was watched");
	});
	CHECK(race.join() == "");

	// The list is what the successes add up to.
	std::set<std::uint64_t> listed, expected;
	for (const Watch &watch : watches(ep.fd()))
		listed.insert(watch.data);
	for (unsigned i = 0; i < files; i++) {
		CHECK((there[i] == 0 || there[i] == 1));
		if (there[i])
			expected.insert(i);
	}
	CHECK(listed == expected);
	check_works(ep);
}

TEST_CASE_METHOD(Case, "files are closed while they are added, woken, polled and deleted", "[ledger14]")
{
	// Each slot is a number that dup2 fills and empties; ctl and put use
	// whatever is there.
	constexpr int slots = 8, base = 200;
	signal(SIGPIPE, SIG_IGN); // of sockets whose peer is closed
	Race race;
	race.run(2, [&](auto &random) {
		int fd = base + pick(random, slots);
		if (pick(random, 2)) {
			Fd fresh = event_fd(pick(random, 2));
			if (pick(random, 2))
				dup2(fresh, fd);
			else
				dup2(make_pair(SOCK_STREAM).a, fd);
		} else {
			close(fd);
		}
	});
	race.run(2, [&](auto &random) {
		int fd = base + pick(random, slots);
		int r = ep.ctl(EPOLL_CTL_ADD + pick(random, 3), fd,
			       EPOLLIN | EPOLLOUT | perhaps(random, EPOLLET), fd);
		if (!one_of(r, { 0, -EEXIST, -ENOENT, -EBADF }))
			race.fail("ctl: " + std::to_string(r));
	});
	race.run(1, [&](auto &random) {
		std::uint64_t n = 1;
		if (write(base + pick(random, slots), &n, sizeof n) < 0 && errno == EFAULT)
			race.fail("write");
	});
	race.run(2, [&](auto &random) {
		for (const Event &event : ep.wait(pick(random, 2), 1 + pick(random, 8)))
			if (event.data < base || event.data >= base + slots)
				race.fail("an event of nothing that was watched");
	});
	race.run(1, [&](auto &) { watches(ep.fd()); });
	CHECK(race.join() == "");
	signal(SIGPIPE, SIG_DFL);

	for (int fd = base; fd < base + slots; fd++)
		close(fd);
	CHECK(watches(ep.fd()).empty());
	CHECK(ep.wait().empty());
	check_works(ep);
}

TEST_CASE_METHOD(Tidy, "close of the watched file against close of the instance", "[ledger15][ledger17]")
{
	// The two closes of each round are let go together. That the memory is
	// right is for the kernel's checkers to say; that the quota is, for the
	// last test of this file.
	std::atomic<int> turn{ 0 }, done{ 0 };
	std::atomic<int> target{ -1 }, instance{ -1 };
	bool stop = false;
	long rounds = 0;
	auto closer = [&](std::atomic<int> &fd) {
		for (int n = 1;; n++) {
			while (turn != n)
				std::this_thread::yield();
			if (stop)
				return;
			close(fd);
			done++;
		}
	};
	std::thread a([&] { closer(target); }), b([&] { closer(instance); });
	auto end = Clock::now() + race_time();
	int failures = 0;
	while (Clock::now() < end) {
		Instance other;
		Fd watched = event_fd(1);
		int ep = must(be().create1(EPOLL_CLOEXEC));
		epoll_event e = ev(EPOLLIN, 1);
		failures += be().ctl(ep, EPOLL_CTL_ADD, watched, &e) != 0;
		if (rounds % 2)
			failures += other.add(ep, EPOLLIN, 2) != 0; // a watched instance
		target = watched.release();
		instance = ep;
		done = 0;
		turn++;
		while (done < 2)
			std::this_thread::yield();
		failures += other.count(0) != 0;
		rounds++;
	}
	stop = true;
	turn++;
	a.join();
	b.join();
	CHECK(failures == 0);
	CHECK(rounds > 3);
}

TEST_CASE_METHOD(Tidy, "DEL against the close of a watched instance and of its watcher", "[ledger17][ledger16]")
{
	constexpr int slots = 4, base = 210;
	Race race;
	race.run(2, [&](auto &random) {
		int fd = base + pick(random, slots);
		if (pick(random, 3)) {
			Fd fresh(must(be().create1(EPOLL_CLOEXEC)));
			dup2(fresh, fd);
		} else {
			close(fd);
		}
	});
	race.run(3, [&](auto &random) {
		int outer = base + pick(random, slots), inner = base + pick(random, slots);
		epoll_event e = ev(EPOLLIN | perhaps(random, EPOLLET), inner);
		int r = be().ctl(outer, pick(random, 2) ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, inner, &e);
		if (!one_of(r, { 0, -EEXIST, -ENOENT, -EBADF, -ELOOP, -EINVAL }))
			race.fail("ctl: " + std::to_string(r));
	});
	race.run(1, [&](auto &random) {
		epoll_event events[8];
		int r = be().wait(base + pick(random, slots), events, 8, 0);
		if (r != 0 && r != -EBADF)
			race.fail("wait on instances that watch empty instances: " + std::to_string(r));
	});
	CHECK(race.join() == "");
	for (int fd = base; fd < base + slots; fd++)
		close(fd);
}

TEST_CASE_METHOD(Tidy, "nesting both ways at once: no deadlock, and never a cycle", "[ledger12][ledger18]")
{
	constexpr int instances = 6;
	Instance eps[instances];
	Fd leaf = event_fd();
	std::atomic<long> links{ 0 }, loops{ 0 };

	Race race;
	race.run(3, [&](auto &random) {
		int a = pick(random, instances), b = pick(random, instances);
		int r = pick(random, 3) ? eps[a].add(eps[b].fd(), EPOLLIN, b) : eps[a].del(eps[b].fd());
		if (!one_of(r, { 0, -EEXIST, -ENOENT, -ELOOP, -EINVAL }))
			race.fail("ctl: " + std::to_string(r));
		if (r == -EINVAL && a != b)
			race.fail("EINVAL for two instances");
		links += r == 0;
		loops += r == -ELOOP;
	});
	race.run(1, [&](auto &random) {
		int a = pick(random, instances);
		if (pick(random, 2))
			eps[a].add(leaf, EPOLLIN, 100);
		else
			eps[a].del(leaf);
		put(leaf);
	});
	race.run(1, [&](auto &random) { eps[pick(random, instances)].wait(0); });
	CHECK(race.join() == "");
	CHECK(links > 0);
	CHECK(loops > 0);

	// Follow the links as fdinfo lists them: none leads back, no chain is
	// longer than 5.
	std::vector<std::vector<int>> inner(instances);
	for (int i = 0; i < instances; i++)
		for (const Watch &watch : watches(eps[i].fd()))
			if (watch.data < instances)
				inner[i].push_back(static_cast<int>(watch.data));
	std::function<int(int, int)> depth = [&](int i, int above) {
		int deepest = 1;
		if (above >= 5)
			return 100;
		for (int j : inner[i])
			deepest = std::max(deepest, 1 + depth(j, above + 1));
		return deepest;
	};
	for (int i = 0; i < instances; i++)
		CHECK(depth(i, 0) <= 5);
}

TEST_CASE_METHOD(Tidy, "a chain grows below as it is cut above: never too many paths")
{
	// With its link at the bottom or at the top it is as long as it may be.
	constexpr int instances = 6;
	Instance eps[instances];
	Fd leaf = event_fd();
	auto up = [&](int i) { return eps[i + 1].add(eps[i].fd(), EPOLLIN, i); };
	REQUIRE(eps[0].add(leaf, EPOLLIN) == 0);
	for (int i = 1; i < instances - 2; i++)
		REQUIRE(up(i) == 0);

	Race race;
	for (int end : { 0, instances - 2 })
		race.run(1, [&, end](auto &) {
			int r = up(end);
			if (r == 0)
				r = eps[end + 1].del(eps[end].fd());
			else if (r == -ELOOP)
				r = 0;
			if (r != 0)
				race.fail("ctl: " + std::to_string(r));
		});
	CHECK(race.join() == "");
}

TEST_CASE_METHOD(Tidy, "nested instances are added to while leaves and instances are closed", "[ledger12][ledger18]")
{
	Race race;
	std::mutex lock;
	std::shared_ptr<Instance> shared[3] = { std::make_shared<Instance>(), std::make_shared<Instance>(),
						std::make_shared<Instance>() };
	auto get = [&](int i) {
		std::lock_guard guard(lock);
		return shared[i];
	};
	race.run(3, [&](auto &random) {
		auto outer = get(pick(random, 3)), inner = get(pick(random, 3));
		Fd leaf = event_fd(1);
		int r = inner->add(leaf, EPOLLIN, 1);
		int s = outer->add(inner->fd(), EPOLLIN | EPOLLET, 2);
		if (!one_of(r, { 0, -EEXIST }) || !one_of(s, { 0, -EEXIST, -ELOOP, -EINVAL }))
			race.fail("ctl: " + std::to_string(r) + ", " + std::to_string(s));
		put(leaf);
		outer->wait(0);
		if (pick(random, 4) == 0)
			outer->del(inner->fd());
	});
	race.run(1, [&](auto &random) {
		auto fresh = std::make_shared<Instance>();
		std::lock_guard guard(lock);
		shared[pick(random, 3)] = fresh;
	});
	CHECK(race.join() == "");
	for (auto &instance : shared)
		for (const Watch &watch : watches(instance->fd()))
			CHECK(watch.data == 2); // every leaf is closed
}

// A wait holds a file for the moment in which it asks it. Who closes the file just then
// has not closed it; the wait does.
TEST_CASE_METHOD(Case, "a file closed beside a wait is closed when both calls have returned")
{
	sockaddr_in address{};
	socklen_t size = sizeof address;
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	Fd ready[8];
	for (Fd &fd : ready) {
		fd = event_fd(1);
		REQUIRE(ep.add(fd, EPOLLIN, 0) == 0);
	}
	std::atomic<long> returned{ 0 };
	Race race;
	race.run(1, [&](auto &) {
		ep.count(0);
		returned++;
	});
	race.run(1, [&](auto &) {
		// Ready at once, as it can be written to, and its port is its own.
		Fd udp(must_libc(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0), "socket"));
		if (bind(udp, reinterpret_cast<sockaddr *>(&address), sizeof address)) {
			race.fail("bind: " + std::string(std::strerror(errno)));
			return;
		}
		getsockname(udp, reinterpret_cast<sockaddr *>(&address), &size);
		if (ep.add(udp, EPOLLOUT, 1))
			race.fail("ADD");
		long before = returned;
		while (returned < before + 2 && !race.over())
			sched_yield();
		udp.reset();
		before = returned;
		while (returned < before + 1 && !race.over())
			sched_yield();
	});
	CHECK(race.join() == "");
}

TEST_CASE_METHOD(Case, "a file closed beside a wait that then sleeps is closed all the same")
{
	if (skip_unless(!be().native(), "epoll closes it when the wait ends"))
		return;
	std::atomic<bool> end{ false };
	Fd wake = event_fd();
	REQUIRE(ep.add(wake, EPOLLIN, 0) == 0);
	std::thread waiter([&] {
		while (!end)
			ep.count(-1);
	});
	Race race;
	race.run(1, [&](auto &random) {
		Pair pair = make_pair(SOCK_STREAM);
		if (ep.add(pair.a, EPOLLIN, 1))
			race.fail("ADD");
		send_byte(pair.b); // from here on the waiter does not sleep
		for (int i = pick(random, 200); i > 0; i--)
			sched_yield();
		pair.a.reset();
		char byte;
		if (!eventually([&] { return recv(pair.b, &byte, 1, MSG_DONTWAIT) >= 0 || errno != EAGAIN; }))
			race.fail("not closed");
	});
	CHECK(race.join() == "");
	end = true;
	put(wake);
	waiter.join();
}

TEST_CASE_METHOD(Tidy, "descriptors of an instance are closed under its waiters and callers")
{
	constexpr int slot = 220;
	Fd target = event_fd(1);
	{
		Fd fresh(must(be().create1(EPOLL_CLOEXEC)));
		dup2(fresh, slot);
	}
	Race race;
	race.run(1, [&](auto &) {
		Fd fresh(must(be().create1(EPOLL_CLOEXEC)));
		dup2(fresh, slot);
	});
	race.run(2, [&](auto &random) {
		epoll_event events[2];
		int r = be().wait(slot, events, 2, pick(random, 2));
		if (!one_of(r, { 0, 1 }))
			race.fail("wait: " + std::to_string(r));
	});
	race.run(2, [&](auto &random) {
		epoll_event e = ev(EPOLLIN, 1);
		int r = be().ctl(slot, EPOLL_CTL_ADD + pick(random, 3), target, &e);
		if (!one_of(r, { 0, -EEXIST, -ENOENT }))
			race.fail("ctl: " + std::to_string(r));
	});
	CHECK(race.join() == "");
	close(slot);
}

TEST_CASE_METHOD(Case, "numbers are overwritten by dup2 all the time")
{
	constexpr int slot = 230;
	Race race;
	race.run(1, [&](auto &random) {
		Fd fresh = event_fd(1);
		dup2(fresh, slot); // closes what was there, and its item
		fresh.reset();
		int r = ep.add(slot, EPOLLIN, 1);
		if (r != 0)
			race.fail("ADD after dup2: " + std::to_string(r));
		if (pick(random, 2))
			ep.mod(slot, EPOLLIN | EPOLLET, 1);
	});
	race.run(2, [&](auto &random) {
		if (ep.wait(pick(random, 2)).size() > 1)
			race.fail("more than one item of one number and its last file");
	});
	CHECK(race.join() == "");
	CHECK(watches(ep.fd()).size() == 1);
	close(slot);
	CHECK(watches(ep.fd()).empty());
}

TEST_CASE_METHOD(Case, "children come with copies of everything, and go")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	long children = 0;
	auto end = Clock::now() + race_time();
	std::atomic<bool> stop{ false };
	std::thread waiter([&] {
		while (!stop)
			ep.count(1);
	});
	while (Clock::now() < end) {
		Fd temporary = event_fd(1);
		REQUIRE(ep.add(temporary, EPOLLIN | EPOLLET, 2) == 0);
		pid_t child = start_child([&] {
			Fd own = event_fd(1);
			if (ep.add(own, EPOLLIN, 3))
				return 1;
			ep.wait(0);
			return ep.mod(target, EPOLLIN, 1) ? 2 : 0;
		});
		temporary.reset(); // the child's exit is the last close
		REQUIRE(child_status(child) == 0);
		children++;
	}
	stop = true;
	waiter.join();
	CHECK(children > 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, 0x19, 1 } });
	check_works(ep);
}

TEST_CASE_METHOD(Case, "signalfds whose processes exit, under waits, ctl and closes", "[ledger13]")
{
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	Instance other;
	long rounds = 0;
	std::atomic<bool> stop{ false };
	std::atomic<int> current{ -1 };
	std::thread waiter([&] {
		while (!stop) {
			ep.count(1);
			int fd = current;
			if (fd >= 0 && rounds % 3 == 0)
				ep.mod(fd, EPOLLIN | EPOLLET, 2);
		}
	});
	auto end = Clock::now() + race_time();
	while (Clock::now() < end) {
		Fd signals(must_libc(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)));
		Fd again = dup_of(signals);
		current = signals;
		pid_t child = start_child([&] {
			if (ep.add(signals, EPOLLIN, 1) || ep.add(again, EPOLLIN | EPOLLEXCLUSIVE, 1) ||
			    other.add(signals, EPOLLIN | EPOLLEXCLUSIVE, 1))
				return 1;
			return 0;
		});
		if (rounds % 2 == 0) {
			REQUIRE(child_status(child) == 0);
			REQUIRE(ep.del(signals) == 0);
			current = -1;
			signals.reset();
			again.reset();
		} else { // closes race with the exit
			current = -1;
			signals.reset();
			again.reset();
			REQUIRE(child_status(child) == 0);
		}
		rounds++;
	}
	stop = true;
	waiter.join();
	pthread_sigmask(SIG_SETMASK, &old, nullptr);
	CHECK(watches(ep.fd()).empty());
	CHECK(watches(other.fd()).empty());
	check_works(ep);
}

TEST_CASE_METHOD(Case, "kill -9 of a crowd of waiters, under a storm of events", "[ledger4][ledger21]")
{
	constexpr int threads = 300;
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	std::atomic<bool> stop{ false };
	std::thread producer([&] {
		while (!stop) {
			put(target);
			usleep(100);
		}
	});
	for (int round = 0; round < 3; round++) {
		Ends started = make_pipe();
		pid_t child = start_child([&] {
			std::vector<std::thread> crowd;
			std::atomic<int> running{ 0 };
			for (int i = 0; i < threads; i++)
				crowd.emplace_back([&] {
					if (++running == threads)
						send_byte(started.w);
					for (;;)
						ep.count(-1);
				});
			for (auto &thread : crowd)
				thread.join();
			return 0;
		});
		char byte;
		CHECK(eventually([&] { return read(started.r, &byte, 1) == 1; }));
		kill(child, SIGKILL);
		auto start = Clock::now();
		CHECK(child_status(child) == 256 + SIGKILL);
		CHECK(Clock::now() - start < std::chrono::seconds(30));
	}
	stop = true;
	producer.join();
	ep.wait(0);
	Blocked waiter(ep);
	waiter.asleep();
	put(target);
	CHECK(waiter.result() == 1);
}

TEST_CASE_METHOD(Tidy, "an instance with very many items is closed, and so is a file in very many instances",
		 "[ledger21]")
{
	allow_descriptors(20'000);
	{
		Instance ep;
		std::vector<Fd> targets(5000);
		for (auto &target : targets) {
			target = event_fd(1);
			if (ep.add(target, EPOLLIN) != 0)
				FAIL("ADD");
		}
		CHECK(ep.count(0, 8192) == 5000);
		ep.close();
	}
	std::vector<Instance> eps(2000);
	Fd target = event_fd(1);
	for (auto &ep : eps)
		if (ep.add(target, EPOLLIN) != 0)
			FAIL("ADD");
	target.reset();
	for (auto &ep : eps)
		if (ep.count(0) != 0)
			FAIL("an event of a closed file");
}

TEST_CASE_METHOD(Case, "a file of very many watches, all ready, closes while the instance is polled", "[ledger14]")
{
	constexpr int numbers = 5000;
	allow_descriptors(numbers + 200);
	std::vector<Fd> targets(numbers);
	Fd target = event_fd(1);
	for (auto &number : targets) {
		number = dup_of(target);
		if (ep.add(number, EPOLLIN) != 0)
			FAIL("ADD");
	}
	target.reset();
	while (targets.size() > 1)
		targets.pop_back();
	std::atomic<bool> polls{ false };
	Blocked poller([&] { // until there is nothing
		pollfd p{ ep.fd(), POLLIN, 0 };
		for (auto end = Clock::now() + milliseconds(patience_ms); Clock::now() < end; polls = true)
			if (poll(&p, 1, 0) == 0)
				return 0;
		return 1;
	});
	while (!polls && !poller.done())
		std::this_thread::yield();
	targets.clear();
	CHECK(poller.result() == 0);
	CHECK(watches(ep.fd()).empty());
	CHECK(ep.count(0) == 0);
}

TEST_CASE_METHOD(Tidy, "after a storm a user's quota is whole again", "[sysctl]")
{
	constexpr int limit = 64, slots = 16, base = 240;
	std::string before = slurp(be().max_user_watches());
	spill(be().max_user_watches(), std::to_string(limit));
	int status = in_child([&] {
		if (setresuid(65534, 65534, 65534))
			return 200;
		{
			Instance eps[4];
			Race race(race_time() / 2);
			race.run(2, [&](auto &random) {
				int fd = base + pick(random, slots);
				if (pick(random, 2)) {
					Fd fresh = event_fd(1);
					dup2(fresh, fd);
				} else {
					close(fd);
				}
			});
			race.run(2, [&](auto &random) {
				Instance brief;
				const Instance *chosen[] = { &eps[0], &eps[1], &eps[2], &eps[3], &brief };
				for (int i = 0; i < 16; i++) {
					const Instance &ep = *chosen[pick(random, 5)];
					int r = ep.ctl(EPOLL_CTL_ADD + pick(random, 2), base + pick(random, slots),
						       EPOLLIN);
					if (!one_of(r, { 0, -EEXIST, -ENOENT, -EBADF, -ENOSPC }))
						race.fail("ctl: " + std::to_string(r));
				}
			});
			if (race.join() != "")
				return 1;
			for (int fd = base; fd < base + slots; fd++)
				close(fd);
		}
		// All is closed: room for exactly the limit
		Instance ep;
		Fd targets[limit + 1];
		for (auto &target : targets)
			target = event_fd();
		for (int i = 0; i < limit; i++)
			if (ep.add(targets[i], EPOLLIN))
				return 2;
		return ep.add(targets[limit], EPOLLIN) == -ENOSPC ? 0 : 3;
	});
	spill(be().max_user_watches(), before);
	CHECK(status == 0);
}
