// SPDX-License-Identifier: GPL-2.0
// TURN: changes, then the wait.
#include <atomic>
#include <csignal>

#include <poll.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.hpp"
#include "catch.hpp"
#include "missing_page.hpp"

static_assert(sizeof(myepoll_change) == 24);
static_assert(sizeof(myepoll_turn) == 56);

namespace {

// Two pages, of which the second can be taken away
struct Pages {
	const std::size_t size = sysconf(_SC_PAGESIZE);
	char *at = static_cast<char *>(mmap(nullptr, 2 * size, PROT_READ | PROT_WRITE,
					    MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	Pages() { must_libc(at == MAP_FAILED ? -1 : 0, "mmap"); }
	~Pages() { munmap(at, 2 * size); }
	Pages(const Pages &) = delete;
	void protect_second(int protection) { must_libc(mprotect(at + size, size, protection)); }

	// n changes, of which the first `before` end where the second page begins
	myepoll_change *changes(unsigned before)
	{
		return reinterpret_cast<myepoll_change *>(at + size) - before;
	}
};

myepoll_turn only_changes(myepoll_change *changes, unsigned n)
{
	myepoll_turn t{};
	t.changes = reinterpret_cast<std::uintptr_t>(changes);
	t.nchanges = n;
	return t;
}

} // namespace

TEST_CASE_METHOD(Beyond, "turn: changes are made in order, each with its result, and then it waits",
		 "[beyond][turn]")
{
	Fd a = event_fd(1), b = event_fd(1);

	CHECK(turn({ change(EPOLL_CTL_ADD, a, EPOLLIN, 1), change(EPOLL_CTL_ADD, b, EPOLLIN, 2),
		     change(EPOLL_CTL_MOD, a, EPOLLIN, 3) }) ==
	      Turned{ 2, 3, 0, { 0, 0, 0 }, { { EPOLLIN, 3 }, { EPOLLIN, 2 } } });
	CHECK(turn({ change(EPOLL_CTL_DEL, a), change(EPOLL_CTL_MOD, b, EPOLLOUT, 4) }) ==
	      Turned{ 1, 2, 0, { 0, 0 }, { { EPOLLOUT, 4 } } });
	CHECK(turn({}) == Turned{ 1, 0, 0, {}, { { EPOLLOUT, 4 } } });
}

TEST_CASE_METHOD(Beyond, "turn: each change is judged as by CTL", "[beyond][turn]")
{
	Fd a = event_fd(), file(must_libc(memfd_create("file", 0)));
	Instance other;

	CHECK(turn({ change(EPOLL_CTL_MOD, a, EPOLLIN), change(EPOLL_CTL_DEL, a),
		     change(EPOLL_CTL_ADD, a, EPOLLIN), change(EPOLL_CTL_ADD, a, EPOLLIN),
		     change(EPOLL_CTL_ADD, file, EPOLLIN), change(EPOLL_CTL_ADD, 9999, EPOLLIN),
		     change(EPOLL_CTL_ADD, ep.fd(), EPOLLIN), change(4, a, EPOLLIN), change(0, a),
		     change(EPOLL_CTL_MOD, a, EPOLLIN | EPOLLEXCLUSIVE),
		     change(EPOLL_CTL_ADD, other.fd(), EPOLLIN | EPOLLEXCLUSIVE),
		     change(MYEPOLL_CTL_DROP, a), change(MYEPOLL_CTL_DROP, 9999),
		     change(MYEPOLL_CTL_DISABLE, a) }) ==
	      Turned{ 0, 14, 13,
		      { -ENOENT, -ENOENT, 0, -EEXIST, -EPERM, -EBADF, -EINVAL, -EINVAL, -EINVAL, -EINVAL,
			-EINVAL, -EINVAL, -EINVAL, -EINVAL },
		      {} });
}

TEST_CASE_METHOD(Beyond, "turn: instances are watched, and circles refused", "[beyond][turn][nesting]")
{
	Instance inner, innermost;
	Fd a = event_fd(1);
	Fd foreign(must(native_epoll().create1(0)));

	CHECK(turn({ change(EPOLL_CTL_ADD, inner.fd(), EPOLLIN, 1), change(EPOLL_CTL_ADD, a, EPOLLIN, 2),
		     change(MYEPOLL_CTL_SET, innermost.fd(), EPOLLIN, 3),
		     change(MYEPOLL_CTL_SET, innermost.fd(), EPOLLIN, 4),
		     change(EPOLL_CTL_ADD, foreign, EPOLLIN, 5) }) ==
	      Turned{ 1, 5, 1, { 0, 0, 0, 0, -ELOOP }, { { EPOLLIN, 2 } } });
	CHECK(::turn(inner.fd(), { change(EPOLL_CTL_ADD, ep.fd(), EPOLLIN),
				   change(EPOLL_CTL_ADD, a, EPOLLIN, 7),
				   change(MYEPOLL_CTL_SET, ep.fd(), EPOLLIN) }) ==
	      Turned{ 1, 3, 2, { -ELOOP, 0, -ELOOP }, { { EPOLLIN, 7 } } });
	CHECK(data_of(ep.wait()) == Data{ 2, 1 });
}

TEST_CASE_METHOD(Beyond, "turn: if a change fails, the wait only looks", "[beyond][turn]")
{
	constexpr std::int64_t long_ns = patience_ms * 500'000LL;
	Fd a = event_fd();

	CHECK(elapsed_of([&] {
		      CHECK(turn({ change(EPOLL_CTL_MOD, a, EPOLLIN) }, { .timeout_ns = long_ns }) ==
			    Turned{ 0, 1, 1, { -ENOENT }, {} });
	      }) < milliseconds(patience_ms / 4));
	put(a);
	CHECK(turn({ change(EPOLL_CTL_ADD, a, EPOLLIN, 1), change(EPOLL_CTL_ADD, a, EPOLLIN) },
		   { .timeout_ns = long_ns }) == Turned{ 1, 2, 1, { 0, -EEXIST }, { { EPOLLIN, 1 } } });
}

TEST_CASE_METHOD(Beyond, "turn: without a failure it waits, for nanoseconds", "[beyond][turn]")
{
	Fd a = event_fd();

	CHECK(elapsed_of([&] {
		      CHECK(turn({ change(EPOLL_CTL_ADD, a, EPOLLIN) }, { .timeout_ns = 20'000'000 }) ==
			    Turned{ 0, 1, 0, { 0 }, {} });
	      }) >= milliseconds(20));
	Blocked waiter([&] { return turn({}, { .timeout_ns = -1 }).result; });
	waiter.asleep();
	put(a);
	CHECK(waiter.result() == 1);
}

TEST_CASE_METHOD(Beyond, "turn: it stops at the first that fails, if asked to", "[beyond][turn]")
{
	Fd a = event_fd(1), b = event_fd(1);
	Changes changes(40, change(EPOLL_CTL_MOD, a, EPOLLIN, 1));

	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	for (unsigned bad : { 0u, 5u, 15u, 16u, 17u, 39u }) {
		CAPTURE(bad);
		Changes some = changes;
		some[bad].fd = b;
		Turned t = turn(some, { .flags = MYEPOLL_TURN_STOP });
		CHECK(t.result == 1);
		CHECK(t.done == bad + 1);
		CHECK(t.failed == 1);
		CHECK(t.results.back() == -ENOENT);
		t = turn(some);
		CHECK(t.done == 40);
		CHECK(t.failed == 1);
	}
}

TEST_CASE_METHOD(Beyond, "turn: room for no event: changes alone", "[beyond][turn]")
{
	Fd a = event_fd(1);

	CHECK(turn({ change(EPOLL_CTL_ADD, a, EPOLLIN, 1) }, { .timeout_ns = -1, .room = 0 }) ==
	      Turned{ 0, 1, 0, { 0 }, {} });
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Beyond, "turn: bad arguments are refused before anything is done", "[beyond][turn]")
{
	Fd a = event_fd(1);
	Changes changes{ change(EPOLL_CTL_ADD, a, EPOLLIN, 1) };
	std::vector<epoll_event> events(8);
	const myepoll_turn good{
		.changes = reinterpret_cast<std::uintptr_t>(changes.data()),
		.events = reinterpret_cast<std::uintptr_t>(events.data()),
		.timeout = 0, .sigmask = 0, .nchanges = 1, .maxevents = 8, .flags = 0, .reserved = 0,
		.done = 0, .failed = 0,
	};
	auto with = [&](auto &&damage) {
		myepoll_turn t = good;
		damage(t);
		return turn_raw(ep.fd(), &t);
	};

	CHECK(with([](auto &t) { t.flags = 4; }) == -EINVAL);
	CHECK(with([](auto &t) { t.reserved = 1; }) == -EINVAL);
	CHECK(with([](auto &t) { t.maxevents = -1; }) == -EINVAL);
	CHECK(with([](auto &t) { t.maxevents = INT32_MAX / 12 + 1; }) == -EINVAL);
	CHECK(with([](auto &t) { t.events = ~0ull - 64; }) == -EFAULT);
	CHECK(turn_raw(ep.fd(), nullptr) == -EFAULT);
	CHECK(turn_raw(ep.fd(), const_cast<myepoll_turn *>(&good), sizeof(good) - 8) == -EINVAL);
	CHECK(turn_raw(ep.fd(), const_cast<myepoll_turn *>(&good), 0) == -EINVAL);
	CHECK(watches(ep.fd()).empty());

	CHECK(with([](auto &t) { t.changes = ~0ull - 64; }) == -EFAULT);
	CHECK(with([](auto &t) { t.changes = 0; }) == -EFAULT);
	CHECK(watches(ep.fd()).empty());
	CHECK(with([](auto &) {}) == 1);
}

TEST_CASE_METHOD(Beyond, "turn: its structure may grow", "[beyond][turn]")
{
	struct {
		myepoll_turn known;
		std::uint64_t more;
	} longer{};

	CHECK(turn_raw(ep.fd(), &longer, sizeof(longer)) == 0);
	longer.more = 1;
	CHECK(turn_raw(ep.fd(), &longer, sizeof(longer)) == -E2BIG);
}

TEST_CASE_METHOD(Beyond, "turn: a structure of terabytes is not looked through", "[beyond][turn]")
{
	if (skip_unless(be().door() == Door::fast, "an ioctl's number has no room for such a size"))
		return;
	constexpr std::size_t huge = std::size_t(1) << 36;
	void *zeroes = mmap(nullptr, huge, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
	REQUIRE(zeroes != MAP_FAILED);
	REQUIRE(turn_raw(ep.fd(), zeroes, std::size_t(1) << 14) == -E2BIG);
	CHECK(turn_raw(ep.fd(), zeroes, huge) == -E2BIG);
	CHECK(turn_raw(ep.fd(), zeroes, ~std::size_t(0)) == -E2BIG);
	munmap(zeroes, huge);
}

TEST_CASE_METHOD(Beyond, "turn: where the changes end in nothing, what was done is counted", "[beyond][turn]")
{
	Pages pages;

	for (unsigned before : { 0u, 1u, 16u, 17u, 40u }) {
		CAPTURE(before);
		Instance own;
		std::vector<Fd> files;
		myepoll_change *changes = pages.changes(before);

		for (unsigned i = 0; i < before; i++) {
			files.push_back(event_fd());
			changes[i] = change(EPOLL_CTL_ADD, files.back(), EPOLLIN, i);
		}
		pages.protect_second(PROT_NONE);
		myepoll_turn t = only_changes(changes, before + 1);
		CHECK(turn_raw(own.fd(), &t) == -EFAULT);
		pages.protect_second(PROT_READ | PROT_WRITE);
		CHECK(t.done <= before);
		CHECK(t.done + 16 > before); // not one run more than need be is left out
		CHECK(watches(own.fd()).size() == t.done);
		CHECK(t.failed == 0);
	}
}

TEST_CASE_METHOD(Beyond, "turn: where a result cannot be written, its change is counted", "[beyond][turn]")
{
	Pages pages;
	myepoll_change *changes = pages.changes(3);
	std::vector<Fd> files;

	for (unsigned i = 0; i < 30; i++) {
		files.push_back(event_fd());
		changes[i] = change(EPOLL_CTL_ADD, files.back(), EPOLLIN, i);
	}
	pages.protect_second(PROT_READ);
	myepoll_turn t = only_changes(changes, 30);
	CHECK(turn_raw(ep.fd(), &t) == -EFAULT);
	CHECK(t.done == watches(ep.fd()).size());
	CHECK(t.done >= 4);
	CHECK(t.done < 30);
	CHECK(changes[2].result == 0);
}

TEST_CASE_METHOD(Beyond, "turn: where the counts cannot be written, nothing is done", "[beyond][turn]")
{
	Pages pages;
	Fd a = event_fd();
	Changes changes{ change(EPOLL_CTL_ADD, a, EPOLLIN) };
	auto *t = reinterpret_cast<myepoll_turn *>(pages.at + pages.size);

	*t = only_changes(changes.data(), 1);
	pages.protect_second(PROT_READ);
	CHECK(turn_raw(ep.fd(), t) == -EFAULT);
	CHECK(watches(ep.fd()).empty());
}

TEST_CASE_METHOD(Beyond, "turn: changes stay though a signal ends the wait", "[beyond][turn][signals]")
{
	Fd a = event_fd();
	struct sigaction old, action {};
	action.sa_handler = [](int) {};
	must_libc(sigaction(SIGUSR1, &action, &old));

	Turned turned;
	Blocked waiter([&] {
		turned = turn({ change(EPOLL_CTL_ADD, a, EPOLLIN, 1) }, { .timeout_ns = -1 });
		return turned.result;
	});
	waiter.asleep();
	pthread_kill(waiter.thread(), SIGUSR1);
	CHECK(waiter.result() == -EINTR);
	CHECK(turned == Turned{ -EINTR, 1, 0, { 0 }, {} });
	CHECK(watches(ep.fd()).size() == 1);

	// ... unless the mask of the turn holds it back
	Blocked masked([&] {
		return turn({}, { .timeout_ns = -1, .flags = MYEPOLL_TURN_SIGMASK,
				  .mask = 1ull << (SIGUSR1 - 1) }).result;
	});
	masked.asleep();
	pthread_kill(masked.thread(), SIGUSR1);
	settle();
	CHECK_FALSE(masked.done());
	put(a);
	CHECK(masked.result() == 1);
	must_libc(sigaction(SIGUSR1, &old, nullptr));
}

TEST_CASE_METHOD(Beyond, "turn: millions of changes do not keep a thread that is killed", "[beyond][turn]")
{
	// The same changes, in whole pages, again and again in one array
	constexpr std::size_t some_changes = 1 << 16, size = some_changes * sizeof(myepoll_change), times = 400;
	Fd a = event_fd(), memory(must_libc(memfd_create("changes", MFD_CLOEXEC)));
	const Changes some(some_changes, change(EPOLL_CTL_MOD, a, EPOLLIN));
	REQUIRE(ep.add(a, EPOLLIN) == 0);
	REQUIRE(pwrite(memory, some.data(), size, 0) == static_cast<ssize_t>(size));
	char *all = static_cast<char *>(mmap(nullptr, times * size, PROT_NONE,
					     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0));
	REQUIRE(all != MAP_FAILED);
	for (std::size_t i = 0; i < times; i++)
		must_libc(mmap(all + i * size, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, memory, 0) ==
				  MAP_FAILED ? -1 : 0, "mmap");
	auto *changes = reinterpret_cast<myepoll_change *>(all);

	myepoll_turn t = only_changes(changes, 2000);
	CHECK(turn_raw(ep.fd(), &t) == 0);
	CHECK(t.done == 2000);
	pid_t child = start_child([&] {
		myepoll_turn t = only_changes(changes, times * some_changes);
		for (;;)
			turn_raw(ep.fd(), &t);
		return 0;
	});
	settle(300);
	CHECK(elapsed_of([&] {
		      kill(child, SIGKILL);
		      CHECK(child_status(child) == 256 + SIGKILL);
	      }) < milliseconds(patience_ms / 10));
	munmap(all, times * size);
}

TEST_CASE_METHOD(Beyond, "turn: who waits in it for a harvest can be killed; in DROP and LIST too",
		 "[beyond][turn][list]")
{
	Fd ready = event_fd(1);
	Instance stuck;
	REQUIRE(stuck.add(ready, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(ready, EPOLLIN, 2) == 0);
	const auto killed = [](pid_t child) {
		CHECK(kill(child, SIGKILL) == 0);
		CHECK(status_within(child, patience_ms / 3) == 256 + SIGKILL);
	};
	StuckHarvest harvest(stuck);
	const std::function<int()> calls[] = {
		[&] { return ::turn(stuck.fd(), { change(EPOLL_CTL_MOD, ready, EPOLLIN, 3) }).result; },
		[&] { return ::turn(stuck.fd(), { change(MYEPOLL_CTL_DROP, -1, 0, 1) }).result; },
		[&] { return stuck.ctl(MYEPOLL_CTL_DROP, -1, 0, 1); },
		[&] { return static_cast<int>(list(stuck.fd()).size()); },
		[&] { return static_cast<int>(fdinfo(stuck.fd()).size()); },
	};
	for (const auto &call : calls) {
		pid_t child = start_child(call);
		until_asleep_in_wait(child);
		killed(child);
	}
	// One that nests has given its own instance's mutex away, which is taken meanwhile.
	pid_t child = start_child([&] {
		return turn({ change(EPOLL_CTL_ADD, stuck.fd(), EPOLLIN, 3),
			      change(EPOLL_CTL_DEL, ready) }).result;
	});
	until_asleep_in_wait(child);
	{
		StuckHarvest other(ep);
		killed(child);
		CHECK(other.let_go() == Events{ { EPOLLIN, 2 } });
	}
	CHECK(harvest.let_go() == Events{ { EPOLLIN, 1 } });
	CHECK(list(ep.fd()).size() == 1);
	CHECK(data_of(stuck.wait()) == Data{ 1 });
}

TEST_CASE_METHOD(Beyond, "turn: a file that it was the last to hold is closed before a change sleeps",
		 "[beyond][turn]")
{
	// The kernel's lookup may meet the close halfway, and then puts the file off itself.
	constexpr int rounds = 60, rounds_of_the_lookup = 5;
	Instance inner;
	Fd ready = event_fd(1);
	int late = 0;
	REQUIRE(inner.add(ready, EPOLLIN) == 0);
	for (int i = 0; i < rounds; i++) {
		CAPTURE(i);
		Ends pipe = make_pipe();
		Changes changes(20'000, change(EPOLL_CTL_MOD, pipe.w, 0));
		REQUIRE(ep.add(pipe.w, 0) == 0);
		changes.push_back(change(EPOLL_CTL_ADD, inner.fd(), EPOLLIN));
		myepoll_turn t = only_changes(changes.data(), changes.size());
		{
			StuckHarvest stuck(inner); // which the last change waits for
			Blocked turner([&] { return turn_raw(ep.fd(), &t); });
			REQUIRE(eventually([&] {
				return std::atomic_ref(changes[100].result).load() != 12345;
			}));
			pipe.w.reset();
			pollfd hangup{ pipe.r, POLLIN, 0 };
			if (poll(&hangup, 1, patience_ms / 15) != 1)
				late++;
			stuck.let_go();
			CHECK(turner.result() == 0);
		}
		CHECK(changes.back().result == 0);
		REQUIRE(ep.del(inner.fd()) == 0);
	}
	CHECK(late <= rounds_of_the_lookup);
}

TEST_CASE_METHOD(Beyond, "turn: pollers of the instance are told by its changes", "[beyond][turn]")
{
	Instance outer;
	Fd a = event_fd(1);

	REQUIRE(ep.add(a, 0, 1) == 0);
	REQUIRE(link(outer, ep) == 0);
	Blocked waiter(outer);
	waiter.asleep();
	CHECK(turn({ change(EPOLL_CTL_MOD, a, EPOLLIN, 1) }, { .room = 0 }).done == 1);
	CHECK(waiter.result() == 1);
}
