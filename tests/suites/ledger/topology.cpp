// SPDX-License-Identifier: GPL-2.0
// Entries 19, 20, 21 and 23: how deep instances nest, that they form no cycle, what
// takes long, and what must not be held when ->poll is called.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <ctime>
#include <optional>

#include <fcntl.h>
#include <pty.h>
#include <sys/inotify.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "catch.hpp"
#include "ledger.hpp"

namespace {

constexpr int deepest = 5, nobody = 65534;

// Does `work` on the first CPU let others run? The longest time that a real-time
// thread there could not have its CPU, as a share of the work's. A busy host can
// make it look bad, but not good: the best of some rounds counts.
double worst_gap_share(const std::function<void()> &work)
{
	std::atomic<bool> stop{ false }, running{ false };
	Clock::duration longest{};
	std::thread ticker([&] {
		run_on(Hog::cpu);
		real_time(Hog::priority);
		auto last = Clock::now();
		while (!stop) {
			usleep(500);
			auto now = Clock::now();
			longest = std::max(longest, now - last);
			last = now;
			running = true;
		}
	});
	while (!running)
		std::this_thread::yield();
	Clock::duration took{};
	std::thread worker([&] {
		run_on(Hog::cpu);
		auto start = Clock::now();
		work();
		took = Clock::now() - start;
	});
	worker.join();
	stop = true;
	ticker.join();
	return static_cast<double>(longest.count()) / static_cast<double>(took.count());
}

} // namespace

TEST_CASE_METHOD(Tidy, "ledger 19: a chain has 5 instances at most, built top-down, bottom-up or from its middle",
		 "[ledger][19]")
{
	// Link i ties instance i+1 to instance i, below it.
	const int orders[][deepest] = {
		{ 0, 1, 2, 3, 4 }, { 4, 3, 2, 1, 0 }, { 2, 1, 3, 0, 4 }, { 2, 3, 1, 4, 0 }, { 0, 4, 1, 3, 2 },
	};
	for (auto &order : orders) {
		Instance chain[deepest + 1];
		CAPTURE(order[0], order[1], order[2], order[3], order[4]);
		for (int i = 0; i < deepest; i++)
			CHECK(link(chain[order[i] + 1], chain[order[i]]) == (i + 1 < deepest ? 0 : -ELOOP));
	}
}

TEST_CASE_METHOD(Tidy, "ledger 20: no sum of depths wraps: a cycle through other instances is refused",
		 "[ledger][20]")
{
	// In a child, which may not come back from a cycle that it has made.
	for (int length = 2; length <= deepest; length++) {
		CAPTURE(length);
		pid_t child = start_doubtful_child([length] {
			Instance ring[deepest];
			for (int i = 0; i + 1 < length; i++)
				must(link(ring[i + 1], ring[i]));
			int r = link(ring[0], ring[length - 1]);
			if (r != -ELOOP)
				return r ? 2 : 1;
			return watches(ring[0].fd()).empty() ? 0 : 3;
		});
		REQUIRE(status_within(child, patience_ms / 3) == 0);
	}
}

TEST_CASE_METHOD(Case, "ledger 21: a thread that is being killed harvests nothing", "[ledger][21]")
{
	// It is woken for an event, and killed before it runs.
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	Blocked sleeper(ep);
	sleeper.asleep();
	pid_t child = start_child([&] {
		run_on(Hog::cpu);
		real_time(1);
		return ep.count(-1);
	});
	until_asleep_in_wait(child);
	{
		Hog hog;
		put(target);
		kill(child, SIGKILL);
	}
	CHECK(status_within(child, patience_ms) == 256 + SIGKILL);
	if (be().native()) // it leaves the event, but tells nobody
		CHECK((sleeper.done() || ep.count(0) == 1));
	else
		CHECK(sleeper.done_within(patience_ms / 3));
	put(target); // ends the sleeper at the latest
	CHECK(sleeper.result() == 1);
}

TEST_CASE_METHOD(Tidy, "ledger 21: close of an instance with very many items lets others run", "[ledger][21]")
{
	constexpr int items = 20'000, enough = 12;
	allow_descriptors(items + 100);
	Fd target = event_fd();
	std::vector<Fd> numbers;
	for (int i = 0; i < items; i++)
		numbers.push_back(dup_of(target));
	double best = 1;
	for (int round = 0; round < enough && best > 0.25; round++) {
		Instance ep;
		for (const Fd &number : numbers)
			if (ep.add(number, EPOLLIN) != 0)
				FAIL("ADD");
		best = std::min(best, worst_gap_share([&] { ep.close(); }));
	}
	CHECK(best <= 0.25);
}

TEST_CASE_METHOD(Tidy, "ledger 21: close of a file with very many watches lets others run", "[ledger][21]")
{
	constexpr int items = 20'000, enough = 12;
	allow_descriptors(items + 100);
	double best = 1;
	for (int round = 0; round < enough && best > 0.25; round++) {
		Instance ep;
		Fd target = event_fd(1);
		for (int i = 0; i < items; i++) { // all but one number goes at once
			Fd number(must_libc(fcntl(target, F_DUPFD_CLOEXEC, i + 100)));
			if (ep.add(number, EPOLLIN) != 0)
				FAIL("ADD");
		}
		best = std::min(best, worst_gap_share([&] { target.reset(); }));
		CHECK(ep.count(0) == 0);
	}
	CHECK(best <= 0.25);
}

TEST_CASE_METHOD(Tidy, "ledger 23: a ->poll that sleeps holds up neither wake-ups nor other instances",
		 "[ledger][23]")
{
	Fd leaf = event_fd(1), other = event_fd(), elsewhere = event_fd();
	Pair closing = make_pair(SOCK_STREAM);
	Instance bottom, ep, apart;
	REQUIRE(bottom.add(leaf, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(bottom.fd(), EPOLLIN, 2) == 0);
	REQUIRE(ep.add(other, EPOLLIN | EPOLLET, 3) == 0);
	REQUIRE(ep.add(closing.a, EPOLLOUT, 4) == 0); // ready, and so next in the harvest
	StuckHarvest stuck(bottom);
	Blocked harvest(ep, 0);
	harvest.asleep(); // in bottom's ->poll
	Blocked busy([&] {
		put(elsewhere);
		int n = apart.add(elsewhere, EPOLLIN, 5) + apart.mod(elsewhere, EPOLLIN | EPOLLET, 6);
		n += apart.count(0) + apart.del(elsewhere);
		put(other);
		if (be().native()) // where the close waits for the harvest
			return n;
		closing.a.reset();
		char byte;
		return recv(closing.b, &byte, 1, MSG_DONTWAIT) == 0 ? n : -1; // closed, and not held
	});
	CHECK(busy.done_within(patience_ms / 3));
	CHECK_FALSE(harvest.done());
	CHECK(stuck.let_go().size() == 1);
	CHECK(busy.result() == 1);
	CHECK(harvest.result() >= 1);
	CHECK(ep.count(0) >= 1);
}

TEST_CASE_METHOD(Tidy, "ledger 23: an ADD that waits for a harvest keeps nobody from nesting elsewhere",
		 "[ledger][23]")
{
	Fd ready = event_fd(1), leaf = event_fd();
	Instance stuck, top, inner, elsewhere, below;
	REQUIRE(stuck.add(ready, EPOLLIN, 1) == 0);
	REQUIRE(top.add(stuck.fd(), EPOLLIN, 2) == 0);
	StuckHarvest harvest(stuck);
	Blocked nesting([&] { return stuck.add(inner.fd(), EPOLLIN, 3); });
	Blocked to_watched([&] { return stuck.add(leaf, EPOLLIN, 4); });
	nesting.asleep();
	to_watched.asleep();
	Blocked other([&] { return elsewhere.add(below.fd(), EPOLLIN, 5); });
	CHECK(other.done_within(patience_ms / 3));
	CHECK_FALSE(nesting.done());
	CHECK_FALSE(to_watched.done());
	harvest.let_go();
	CHECK(nesting.result() == 0);
	CHECK(to_watched.result() == 0);
	CHECK(other.result() == 0);
}

TEST_CASE_METHOD(Tidy, "ledger 23: no user's ADD that nests waits for another user's harvest",
		 "[ledger][23]")
{
	if (skip_unless(!be().native(), "epoll holds a mutex of all users while it waits for one of them"))
		return;
	Fd ready = event_fd(1), leaf = event_fd();
	Instance bottom, middle, top, other_top, beside;
	REQUIRE(bottom.add(ready, EPOLLIN, 1) == 0);
	REQUIRE(link(middle, bottom) == 0);
	REQUIRE(link(top, beside) == 0);
	StuckHarvest harvest(bottom);
	Blocked from_above([&] { return link(top, middle); }); // its search comes by bottom
	from_above.asleep();
	Blocked to_stuck([&] { return bottom.add(leaf, EPOLLIN, 2); }); // which is watched
	to_stuck.asleep();
	Blocked beside_it([&] { return link(other_top, bottom); });
	beside_it.asleep();
	pid_t other_user = start_child([] {
		must_libc(setresuid(nobody, nobody, nobody), "setresuid");
		Instance outer, inner, innermost;
		Fd file = event_fd();
		return link(outer, inner) || link(inner, innermost) || innermost.add(file, EPOLLIN, 1);
	});
	int answer = status_within(other_user, patience_ms / 3);
	CHECK(answer == 0);
	CHECK_FALSE(from_above.done());
	CHECK_FALSE(to_stuck.done());
	CHECK_FALSE(beside_it.done());
	harvest.let_go();
	CHECK(from_above.result() == 0);
	CHECK(to_stuck.result() == 0);
	CHECK(beside_it.result() == 0);
	if (answer < 0)
		child_status(other_user);
}

TEST_CASE_METHOD(Tidy, "ledger 23: a file that a harvest was the last to hold is closed before the harvest stands still",
		 "[ledger][23]")
{
	if (skip_unless(!be().native(), "epoll closes it when the harvest returns"))
		return;
	constexpr int sockets = 12; // with a nested instance behind them, or a missing page
	Fd ready = event_fd(1);
	Instance bottom;
	REQUIRE(bottom.add(ready, EPOLLIN, 1) == 0);
	std::mt19937 random(1);
	int left_open = 0;
	auto end = Clock::now() + race_time();
	for (int round = 0; round < 10 || Clock::now() < end; round++) {
		bool in_a_poll = round % 2;
		std::optional<StuckHarvest> below;
		std::optional<Blocked> harvest;
		std::optional<MissingPage> page;
		std::vector<Pair> pairs;
		Instance ep;
		for (int i = 0; i < sockets; i++) {
			pairs.push_back(make_pair(SOCK_STREAM));
			REQUIRE(ep.add(pairs.back().a, EPOLLOUT, 2) == 0);
		}
		REQUIRE(ep.add(in_a_poll ? bottom.fd() : int(ready), EPOLLIN, 3) == 0);
		if (in_a_poll)
			below.emplace(bottom);
		else
			page.emplace();
		std::atomic<bool> go{ false };
		harvest.emplace([&] {
			epoll_event events[sockets + 1];
			while (!go)
				;
			return be().wait(ep.fd(), page ? static_cast<epoll_event *>(page->at()) : events,
					 sockets + 1, 0);
		});
		settle(1);
		go = true;
		for (int i = pick(random, 1500); i > 0; i--)
			asm volatile("");
		for (Pair &pair : pairs)
			pair.a.reset();
		harvest->asleep();
		for (Pair &pair : pairs)
			left_open += !eventually([&] {
				char byte;
				return recv(pair.b, &byte, 1, MSG_DONTWAIT) == 0;
			}, patience_ms / 10);
		if (in_a_poll)
			below->let_go();
		else
			page->fill();
		harvest->result();
		if (left_open)
			break;
	}
	CHECK(left_open == 0);
}

TEST_CASE_METHOD(Case, "ledger 23: the kernel's own files are asked together", "[ledger][23]")
{
	if (skip_unless(!be().native(), "epoll asks for one file at a time"))
		return;
	int master, slave;
	must_libc(openpty(&master, &slave, nullptr, nullptr, nullptr), "openpty");
	Fd pty(master), tty(slave);
	Fd timer(must_libc(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)));
	itimerspec now{ {}, { 0, 1 } };
	must_libc(timerfd_settime(timer, 0, &now, nullptr));
	sigset_t mask, before;
	sigemptyset(&mask);
	sigaddset(&mask, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &mask, &before);
	Fd signals(must_libc(signalfd(-1, &mask, SFD_NONBLOCK | SFD_CLOEXEC)));
	must_libc(kill(getpid(), SIGUSR2), "kill"); // for whichever thread asks
	pid_t child = start_child([] { return 0; });
	Fd process(must_libc(syscall(SYS_pidfd_open, child, 0), "pidfd_open"));
	Fd event = event_fd(1);
	Ends pipe = make_pipe();
	Pair local = make_pair(SOCK_STREAM), tcp = make_tcp();
	Fd inotify(must_libc(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)));
	must_libc(inotify_add_watch(inotify, "/tmp", IN_OPEN), "inotify_add_watch");
	Fd(must_libc(open("/tmp", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));

	struct {
		const char *what;
		int fd;
		bool together;
	} const files[] = {
		{ "eventfd", event, true },  { "timerfd", timer, true }, { "signalfd", signals, true },
		{ "pidfd", process, true },  { "pipe", pipe.w, true },	 { "unix", local.a, true },
		{ "tcp", tcp.a, true },	     { "inotify", inotify, true }, { "tty", tty, false },
	};
	for (const auto &file : files) {
		CAPTURE(file.what);
		Fd first = event_fd(1), last = event_fd(1);
		Instance ep;
		REQUIRE(ep.add(first, EPOLLIN, 1) == 0);
		REQUIRE(ep.add(file.fd, EPOLLIN | EPOLLOUT, 2) == 0);
		REQUIRE(eventually([&] { return ep.count(0) == 2; }));
		REQUIRE(ep.add(last, EPOLLIN, 3) == 0);
		StuckHarvest stuck(ep); // at the first event; who was asked by now is delivered
		take(last);
		CHECK(stuck.let_go().size() == (file.together ? 3 : 2));
	}
	child_status(child);
	take(timer);
	signalfd_siginfo taken;
	must_libc(read(signals, &taken, sizeof taken), "read");
	pthread_sigmask(SIG_SETMASK, &before, nullptr);
}

TEST_CASE_METHOD(Tidy, "ledger 23: who waits in ctl for a harvest can be killed", "[ledger][23]")
{
	if (skip_unless(!be().native(), "epoll's thread stays until the harvest is over"))
		return;
	Fd ready = event_fd(1), leaf = event_fd();
	Instance stuck, outer, watched;
	REQUIRE(stuck.add(ready, EPOLLIN, 1) == 0);
	REQUIRE(link(watched, stuck) == 0);
	StuckHarvest harvest(stuck);
	const std::function<int()> calls[] = {
		[&] { return stuck.add(leaf, EPOLLIN, 2); },
		[&] { return stuck.mod(ready, EPOLLIN, 3); },
		[&] { return stuck.del(ready); },
		[&] { return link(outer, stuck); },
		[&] { return stuck.add(outer.fd(), EPOLLIN, 4); },
		[&] { return link(outer, watched); }, // in its ->poll
		[&] { return watched.mod(stuck.fd(), EPOLLIN, 5); },
	};
	for (const auto &call : calls) {
		pid_t child = start_child(call);
		until_asleep_in_wait(child);
		CHECK(kill(child, SIGKILL) == 0);
		CHECK(status_within(child, patience_ms / 3) == 256 + SIGKILL);
	}
	CHECK(harvest.let_go() == Events{ { EPOLLIN, 1 } });
	CHECK(watches(stuck.fd()).size() == 1);
	CHECK(watches(watched.fd()).size() == 1);
	CHECK(data_of(stuck.wait()) == Data{ 1 });
	CHECK(watched.wait().size() == 1); // killed or not, no event is lost
}

TEST_CASE_METHOD(Tidy, "ledger 23: a harvest that is killed as it waits for another takes nothing with it",
		 "[ledger][23]")
{
	if (skip_unless(!be().native(), "epoll's thread stays until the other harvest is over"))
		return;
	Fd ready = event_fd(1);
	Instance bottom, middle, once, edge;
	REQUIRE(bottom.add(ready, EPOLLIN, 1) == 0);
	REQUIRE(link(middle, bottom) == 0);
	REQUIRE(once.add(middle.fd(), EPOLLIN | EPOLLONESHOT, 2) == 0);
	REQUIRE(edge.add(middle.fd(), EPOLLIN | EPOLLET, 3) == 0);
	StuckHarvest harvest(bottom);
	for (const Instance *one : { &once, &edge }) {
		pid_t child = start_child([&] { return one->count(0); });
		until_asleep_in_wait(child);
		CHECK(kill(child, SIGKILL) == 0);
		CHECK(status_within(child, patience_ms / 3) == 256 + SIGKILL);
	}
	harvest.let_go();
	CHECK(once.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(edge.wait() == Events{ { EPOLLIN, 3 } });
}

TEST_CASE_METHOD(Case, "ledger 23: a vsock whose sender is in a page fault keeps no other file open",
		 "[ledger][23]")
{
	std::optional<Pair> vsock = make_vsock();
	if (skip_unless(vsock.has_value(), "the kernel has no vsock"))
		return;
	Fd &sender = vsock->a;
	constexpr int bytes = 100;
	Pair closing = make_pair(SOCK_STREAM);
	REQUIRE(ep.add(sender, EPOLLOUT, 1) == 0);
	REQUIRE(ep.add(closing.a, EPOLLOUT, 2) == 0); // ready, and so next in the harvest
	std::optional<Blocked> sending, harvest, closer;
	MissingPage page; // whose end, if the case fails, ends those
	sending.emplace([&] { return int(send(sender, page.at(), bytes, 0)); });
	REQUIRE(page.touched_within(patience_ms));
	harvest.emplace(ep, 0);
	harvest->asleep(); // in the vsock's ->poll
	closer.emplace([&] {
		closing.a.reset();
		char byte;
		return int(recv(closing.b, &byte, 1, MSG_DONTWAIT));
	});
	if (!be().native()) // where the close waits for the harvest
		CHECK(closer->done_within(patience_ms / 3));
	CHECK_FALSE(harvest->done());
	page.fill();
	CHECK(sending->result() == bytes);
	int harvested = harvest->result();
	CHECK((harvested == 1 || (be().native() && harvested == 2)));
	CHECK(closer->result() == 0); // closed, and not held
	CHECK(data_of(ep.wait()) == Data{ 1 });
}

TEST_CASE_METHOD(Case, "ledger 23: files whose ->poll takes locks of their own, asked and woken at once",
		 "[ledger][23]")
{
	// The order of those locks and ours is for lockdep to say.
	int master, slave;
	must_libc(openpty(&master, &slave, nullptr, nullptr, nullptr), "openpty");
	Fd pty(master), tty(slave);
	must_libc(fcntl(pty, F_SETFL, O_NONBLOCK), "O_NONBLOCK"); // nobody reads what is written
	Fd timer(must_libc(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)));
	Ends pipe = make_pipe();
	Pair stream = make_pair(SOCK_STREAM), tcp = make_tcp();
	Instance inner;
	Fd leaf = event_fd();
	itimerspec soon{ { 0, 300'000 }, { 0, 300'000 } };
	REQUIRE(inner.add(leaf, EPOLLIN | EPOLLET, 0) == 0);
	for (int fd : { int(pty), int(tty), int(timer), int(pipe.r), int(pipe.w), int(stream.a), int(tcp.a),
			inner.fd() })
		REQUIRE(ep.add(fd, EPOLLIN | EPOLLOUT | EPOLLET, fd) == 0);
	must_libc(timerfd_settime(timer, 0, &soon, nullptr));
	std::atomic<long> events{ 0 };
	Race race(race_time() / 2);
	race.run(1, [&](auto &random) {
		int writers[] = { pty, pipe.w, stream.b, tcp.b };
		if (write(writers[pick(random, 4)], "x\n", 2) < 0 && errno != EAGAIN)
			race.fail("write");
		put(leaf);
	});
	race.run(2, [&](auto &random) {
		for (const Event &event : ep.wait(pick(random, 2))) {
			char buffer[64];
			if (event.events & EPOLLIN && int(event.data) != inner.fd() &&
			    int(event.data) != pty && int(event.data) != tty)
				if (read(int(event.data), buffer, sizeof buffer) < 0 && errno != EAGAIN)
					race.fail("read");
			events++;
		}
	});
	race.run(1, [&](auto &) {
		watches(ep.fd());
		inner.count(0);
	});
	CHECK(race.join() == "");
	CHECK(events > 0);
}
