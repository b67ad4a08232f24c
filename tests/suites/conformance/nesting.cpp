// SPDX-License-Identifier: GPL-2.0
// Instances that watch instances: events through them, how deep, no cycles,
// and how many ways a wake-up may take.
#include <algorithm>
#include <cerrno>
#include <numeric>
#include <random>

#include <sys/resource.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

constexpr int deepest = 5;

bool watches_nothing(const Instance &ep)
{
	return watches(ep.fd()).empty();
}

// The best of some, and at least what a clock that ticks can tell
Clock::duration time_to_link(const Instance &outer, const Instance &inner)
{
	auto best = Clock::duration::max();
	for (int round = 0; round < 5; round++) {
		auto start = Clock::now();
		REQUIRE(link(outer, inner) == 0);
		best = std::min(best, Clock::now() - start);
		REQUIRE(outer.del(inner.fd()) == 0);
	}
	return std::max<Clock::duration>(best, milliseconds(1));
}

} // namespace

TEST_CASE_METHOD(Case, "nested: an event inside is IN outside, as long as it is there", "[nesting]")
{
	Instance outer;
	Fd target = event_fd();

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	REQUIRE(outer.add(ep.fd(), EPOLLIN | EPOLLOUT | EPOLLPRI, 2) == 0);
	CHECK(outer.wait() == Events{});
	put(target);
	CHECK(outer.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(outer.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(outer.wait() == Events{ { EPOLLIN, 2 } }); // level-triggered inside
	take(target);
	CHECK(outer.wait() == Events{});
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "nested: harvesting the inside ends the event outside", "[nesting]")
{
	Instance outer;
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(outer.add(ep.fd(), EPOLLIN, 2) == 0);
	CHECK(outer.count(0) == 1);
	CHECK(ep.count(0) == 1);
	CHECK(outer.count(0) == 0);
	put(target);
	CHECK(outer.count(0) == 1);
}

TEST_CASE_METHOD(Case, "nested: an instance asks for nothing but IN and RDNORM", "[nesting]")
{
	Instance outer;
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | EPOLLOUT, 1) == 0);
	REQUIRE(outer.add(ep.fd(), EPOLLOUT | EPOLLPRI | EPOLLRDHUP, 2) == 0);
	CHECK(outer.wait() == Events{});
	REQUIRE(outer.mod(ep.fd(), EPOLLRDNORM, 3) == 0);
	CHECK(outer.wait() == Events{ { EPOLLRDNORM, 3 } });
	REQUIRE(outer.mod(ep.fd(), EPOLLIN | EPOLLRDNORM, 4) == 0);
	CHECK(outer.wait() == Events{ { EPOLLIN | EPOLLRDNORM, 4 } });
}

TEST_CASE_METHOD(Case, "nested: ONESHOT and ET work on an instance, EXCLUSIVE does not", "[nesting]")
{
	Instance outer;
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	CHECK(outer.add(ep.fd(), EPOLLIN | EPOLLEXCLUSIVE, 2) == -EINVAL);
	REQUIRE(outer.add(ep.fd(), EPOLLIN | EPOLLONESHOT, 2) == 0);
	CHECK(outer.count(0) == 1);
	CHECK(outer.count(0) == 0);
	REQUIRE(outer.mod(ep.fd(), EPOLLIN | EPOLLET, 2) == 0);
	CHECK(outer.count(0) == 1);
	CHECK(outer.count(0) == 0);
}

TEST_CASE_METHOD(Case, "nested: an edge outside for each new readiness inside, no more", "[nesting][edge]")
{
	Instance outer;
	Fd a = event_fd(), b = event_fd();

	REQUIRE(ep.add(a, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(b, EPOLLIN | EPOLLET, 2) == 0);
	REQUIRE(outer.add(ep.fd(), EPOLLIN | EPOLLET, 3) == 0);
	CHECK(outer.count(0) == 0);
	for (int round = 0; round < 3; round++) {
		put(a);
		CHECK(outer.count(0) == 1);
		CHECK(outer.count(0) == 0);
		put(b);
		CHECK(outer.count(0) == 1);
		CHECK(outer.count(0) == 0);
		CHECK(data_of(ep.wait()) == Data{ 1, 2 });
		CHECK(outer.count(0) == 0);
	}
}

TEST_CASE_METHOD(Case, "nested: a waiter outside is woken through all levels", "[nesting]")
{
	Fd target = event_fd();
	Instance chain[deepest];

	REQUIRE(chain[0].add(target, EPOLLIN, 1) == 0);
	for (int i = 1; i < deepest; i++)
		REQUIRE(chain[i].add(chain[i - 1].fd(), EPOLLIN, i + 1) == 0);
	Blocked waiter(chain[deepest - 1]);
	waiter.asleep();
	put(target);
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { EPOLLIN, deepest } });
	for (int i = 0; i < deepest; i++)
		CHECK(chain[i].wait() == Events{ { EPOLLIN, std::uint64_t(i + 1) } });
	take(target);
	for (int i = deepest - 1; i >= 0; i--)
		CHECK(chain[i].count(0) == 0);
}

TEST_CASE_METHOD(Tidy, "nested: a chain is at most 5 instances long, in whatever order it is built",
		 "[nesting][ledger19]")
{
	// links[i] ties chain[i+1] (outer) to chain[i]; every order of building
	constexpr int links = deepest;
	int order[links];
	std::iota(order, order + links, 0);
	int built = 0;

	do {
		Instance chain[links + 1];
		for (int i = 0; i < links - 1; i++)
			if (link(chain[order[i] + 1], chain[order[i]]) != 0)
				FAIL("a link of a chain of 5 was refused");
		int last = order[links - 1];
		if (link(chain[last + 1], chain[last]) != -ELOOP || !watches_nothing(chain[last + 1]))
			FAIL("the fifth link was not refused");
		built++;
	} while (std::next_permutation(order, order + links));
	CHECK(built == 120);
}

TEST_CASE_METHOD(Tidy, "nested: depth is that of the deepest branch, below and above", "[nesting]")
{
	Instance a, b, c, d, e, side, other;

	// a <- b <- c, c <- d <- e: five in a row
	REQUIRE(link(b, a) == 0);
	REQUIRE(link(c, b) == 0);
	REQUIRE(link(e, d) == 0);
	REQUIRE(link(d, c) == 0);
	CHECK(link(side, e) == -ELOOP);
	CHECK(link(a, side) == -ELOOP);
	CHECK(link(side, d) == 0);  // beside e
	CHECK(link(b, other) == 0); // beside a
	CHECK(link(other, side) == -ELOOP);

	// Room again when a link goes
	Instance more;
	REQUIRE(e.del(d.fd()) == 0);
	REQUIRE(side.del(d.fd()) == 0);
	CHECK(link(a, more) == 0);
	CHECK(link(e, d) == -ELOOP);
}

TEST_CASE_METHOD(Tidy, "nested: cycles of every length are ELOOP and leave no item", "[nesting][ledger20]")
{
	for (int length = 2; length <= deepest; length++) {
		CAPTURE(length);
		Instance ring[deepest];
		for (int i = 0; i + 1 < length; i++)
			REQUIRE(link(ring[i + 1], ring[i]) == 0);
		CHECK(link(ring[0], ring[length - 1]) == -ELOOP);
		CHECK(watches_nothing(ring[0]));
		// Every other backward link is a cycle as well
		for (int i = 0; i < length; i++)
			for (int j = i + 1; j < length; j++)
				CHECK(link(ring[i], ring[j]) == -ELOOP);
		// The ring still works as the chain that it is
		Fd target = event_fd(1);
		REQUIRE(ring[0].add(target, EPOLLIN) == 0);
		CHECK(ring[length - 1].count(0) == 1);
	}
}

TEST_CASE_METHOD(Tidy, "nested: a cycle through a dup, and through a second way, is ELOOP", "[nesting]")
{
	Instance a, b, c, d;
	Fd again = dup_of(b.fd());

	REQUIRE(link(b, a) == 0);
	CHECK(a.add(again, EPOLLIN) == -ELOOP);
	REQUIRE(link(c, a) == 0);
	REQUIRE(link(d, b) == 0);
	REQUIRE(link(d, c) == 0); // a diamond is fine
	CHECK(link(a, d) == -ELOOP);
	CHECK(watches_nothing(a));
}

TEST_CASE_METHOD(Tidy, "nested: the loop check comes before the quota and before the lookup", "[nesting]")
{
	Instance a, b;

	REQUIRE(link(b, a) == 0);
	CHECK(link(b, a) == -EEXIST);
	CHECK(link(a, b) == -ELOOP);
	CHECK(link(a, b) == -ELOOP);
	REQUIRE(b.del(a.fd()) == 0);
	CHECK(link(a, b) == 0);
	CHECK(link(b, a) == -ELOOP);
}

TEST_CASE_METHOD(Case, "nested: closing the inner removes it from the outer without an event", "[nesting]")
{
	Instance inner, other;
	Fd target = event_fd(1);

	REQUIRE(inner.add(target, EPOLLIN) == 0);
	REQUIRE(other.add(target, EPOLLIN) == 0);
	REQUIRE(ep.add(inner.fd(), EPOLLIN, 1) == 0);
	REQUIRE(ep.add(other.fd(), EPOLLIN, 2) == 0);
	CHECK(data_of(ep.wait()) == Data{ 1, 2 });
	inner.close();
	CHECK(data_of(ep.wait()) == Data{ 2 });
	CHECK(watches(ep.fd()).size() == 1);
	take(target);
	put(target); // wakes what is left
	CHECK(data_of(ep.wait()) == Data{ 2 });

	take(target);
	Blocked waiter(ep, 1000);
	waiter.asleep();
	other.close();
	CHECK(waiter.result() == 0);
}

TEST_CASE_METHOD(Case, "nested: closing the outer leaves the inner as it was", "[nesting]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	{
		Instance outer;
		REQUIRE(outer.add(ep.fd(), EPOLLIN) == 0);
		put(target);
		CHECK(outer.count(0) == 1);
	}
	CHECK(ep.count(0) == 1);
	take(target);
	put(target);
	CHECK(ep.count(0) == 1);
}

TEST_CASE_METHOD(Tidy, "paths: any number of instances may watch one file", "[nesting][paths]")
{
	allow_descriptors(2500);
	Fd leaf = event_fd();
	std::vector<Instance> eps(1100);

	for (auto &ep : eps)
		if (ep.add(leaf, EPOLLIN) != 0)
			FAIL("ADD refused");
	put(leaf);
	for (auto &ep : eps)
		if (ep.count(0) != 1)
			FAIL("an instance without the event");
	SUCCEED();
}

TEST_CASE_METHOD(Tidy, "paths: 500, 100, 50, 10 instances may be reached through 1, 2, 3, 4 others; then EINVAL",
		 "[nesting][paths]")
{
	constexpr int limits[] = { 500, 100, 50, 10 };

	allow_descriptors(2500);
	for (int between = 1; between <= 4; between++) {
		CAPTURE(between);
		int limit = limits[between - 1];
		Fd leaf = event_fd();
		Instance chain[4];
		REQUIRE(chain[0].add(leaf, EPOLLIN) == 0);
		for (int i = 1; i < between; i++)
			REQUIRE(link(chain[i], chain[i - 1]) == 0);
		const Instance &last = chain[between - 1];

		std::vector<Instance> tops(limit);
		for (auto &top : tops)
			if (link(top, last) != 0)
				FAIL("refused below the limit");
		Instance one_more;
		CHECK(link(one_more, last) == -EINVAL);
		CHECK(watches_nothing(one_more));
		REQUIRE(tops[0].del(last.fd()) == 0);
		CHECK(link(one_more, last) == 0);
		CHECK(link(tops[0], last) == -EINVAL);

		put(leaf);
		CHECK(one_more.count(0) == 1);
		CHECK(tops[limit - 1].count(0) == 1);
	}
}

TEST_CASE_METHOD(Tidy, "paths: counted where there is a file to wake from, at the ADD of that too",
		 "[nesting][paths]")
{
	allow_descriptors(2500);
	Fd leaf = event_fd();
	Instance middle;
	std::vector<Instance> tops(501);

	for (auto &top : tops)
		if (link(top, middle) != 0)
			FAIL("nothing to count yet");
	CHECK(middle.add(leaf, EPOLLIN) == -EINVAL);
	CHECK(watches_nothing(middle));
	tops.pop_back();
	CHECK(middle.add(leaf, EPOLLIN) == 0);
	CHECK(middle.add(leaf, EPOLLIN) == -EEXIST);
}

TEST_CASE_METHOD(Tidy, "paths: each number that a file is watched under is one, and costs no look at the others",
		 "[nesting][paths]")
{
	constexpr int most = 500, crowd = 40;

	allow_descriptors(2500);
	Fd leaf = event_fd();
	std::vector<Fd> numbers;
	for (int i = 0; i < most; i++)
		numbers.push_back(dup_of(leaf));
	std::vector<Instance> elsewhere(crowd);
	for (auto &ep : elsewhere)
		for (const Fd &number : numbers)
			if (ep.add(number, EPOLLIN) != 0)
				FAIL("ADD refused");
	Instance middle, top, other;

	REQUIRE(middle.add(numbers[0], EPOLLIN) == 0);
	auto of_one = time_to_link(top, middle);
	for (int i = 1; i < most; i++)
		if (middle.add(numbers[i], EPOLLIN) != 0)
			FAIL("ADD refused");
	CHECK(time_to_link(top, middle) < 20 * of_one);

	REQUIRE(link(top, middle) == 0);
	CHECK(middle.add(leaf, EPOLLIN) == -EINVAL);
	CHECK(link(other, middle) == -EINVAL);
	for (int i = most / 2; i < most; i++)
		REQUIRE(middle.del(numbers[i]) == 0);
	CHECK(link(other, middle) == 0);
	CHECK(middle.add(leaf, EPOLLIN) == -EINVAL);
}

TEST_CASE_METHOD(Tidy, "paths: those above an instance are counted once, however many files are below",
		 "[nesting][paths]")
{
	constexpr int leaves = 1000, tops = 500;

	allow_descriptors(2500);
	std::vector<Fd> files;
	for (int i = 0; i < leaves; i++)
		files.push_back(event_fd());
	Instance middle, first;
	std::vector<Instance> others(tops - 1);
	for (const Fd &file : files)
		if (middle.add(file, EPOLLIN) != 0)
			FAIL("ADD refused");

	auto below_one = time_to_link(first, middle);
	for (auto &top : others)
		if (link(top, middle) != 0)
			FAIL("refused below the limit");
	auto below_many = time_to_link(first, middle);
	if (!be().native())
		CHECK(below_many < 10 * below_one);
}

TEST_CASE_METHOD(Tidy, "nested: random graphs, with several numbers for each link, are judged as by the kernel's epoll",
		 "[nesting][paths][differential]")
{
	constexpr int nodes = 9, leaves = 2, numbers = 6, steps = 300, graphs = 40;
	std::mt19937 random(20260926);
	auto pick = [&](int n) { return static_cast<int>(random() % n); };
	int refused[2] = {}; // for a cycle or depth, and for paths

	for (int graph = 0; graph < graphs; graph++) {
		CAPTURE(graph);
		Instance ours[nodes];
		std::vector<Instance> theirs;
		std::vector<Fd> our_fds, their_fds; // the numbers of each node, then of each leaf
		for (int i = 0; i < nodes; i++)
			theirs.emplace_back(native_epoll());
		for (int i = 0; i < nodes + leaves; i++) {
			Fd our_leaf = event_fd(), their_leaf = event_fd(); // its watchers are counted
			for (int number = 0; number < numbers; number++) {
				our_fds.push_back(dup_of(i < nodes ? ours[i].fd() : int(our_leaf)));
				their_fds.push_back(dup_of(i < nodes ? theirs[i].fd() : int(their_leaf)));
			}
		}
		for (int step = 0; step < steps; step++) {
			// Mostly downward, or all would be cycles
			int outer = pick(nodes), inner = pick(nodes + leaves);
			if (inner < outer && pick(20))
				std::swap(inner, outer);
			int fd = inner * numbers + pick(numbers);
			int op = pick(6) ? EPOLL_CTL_ADD : EPOLL_CTL_DEL;
			int r = ours[outer].ctl(op, our_fds[fd], EPOLLIN, 0);
			CAPTURE(step, op, outer, inner, fd);
			REQUIRE(r == theirs[outer].ctl(op, their_fds[fd], EPOLLIN, 0));
			refused[0] += r == -ELOOP;
			refused[1] += r == -EINVAL && outer != inner;
		}
	}
	CHECK(refused[0] > graphs);
	CHECK(refused[1] > graphs);
}

TEST_CASE_METHOD(Tidy, "mixed kinds: the kernel's epoll is no target of a [myepoll] instance: ELOOP",
		 "[nesting][mixed]")
{
	Instance ours, theirs(native_epoll());
	Fd target = event_fd(1);

	REQUIRE(theirs.add(target, EPOLLIN) == 0);
	CHECK(ours.add(theirs.fd(), EPOLLIN, 1) == (be().native() ? 0 : -ELOOP));
	CHECK(ours.count(0) == (be().native() ? 1 : 0));
	CHECK(watches_nothing(ours) != be().native());
	CHECK(ours.mod(theirs.fd(), EPOLLIN, 1) == (be().native() ? 0 : -ENOENT));
	CHECK(ours.del(theirs.fd()) == (be().native() ? 0 : -ENOENT));
	CHECK(ours.add(theirs.fd(), EPOLLIN | EPOLLEXCLUSIVE, 1) == -EINVAL); // as on any instance
}

TEST_CASE_METHOD(Tidy, "mixed kinds: the kernel's epoll watches an instance like any file", "[nesting][mixed]")
{
	Instance ours, theirs(native_epoll());
	Fd target = event_fd();

	REQUIRE(ours.add(target, EPOLLIN, 1) == 0);
	REQUIRE(theirs.add(ours.fd(), EPOLLIN, 2) == 0);
	CHECK(theirs.wait() == Events{});
	put(target);
	CHECK(theirs.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(ours.add(theirs.fd(), EPOLLIN) == -ELOOP); // the other way round never
	take(target);
	CHECK(theirs.wait() == Events{});

	Blocked waiter([&] {
		epoll_event buffer[1];
		return native_epoll().wait(theirs.fd(), buffer, 1, patience_ms);
	});
	waiter.asleep();
	put(target);
	CHECK(waiter.result() == 1);

	REQUIRE(theirs.mod(ours.fd(), EPOLLIN | EPOLLET, 3) == 0);
	CHECK(theirs.wait() == Events{ { EPOLLIN, 3 } });
	CHECK(theirs.wait() == Events{});
	put(target);
	CHECK(theirs.wait() == Events{ { EPOLLIN, 3 } });
	ours.close();
	CHECK(theirs.wait() == Events{});
	CHECK(watches_nothing(theirs));
}

TEST_CASE_METHOD(Tidy, "mixed kinds: several levels on either side", "[nesting][mixed]")
{
	Instance ours[3], theirs[2] = { Instance(native_epoll()), Instance(native_epoll()) };
	Fd target = event_fd();

	REQUIRE(ours[0].add(target, EPOLLIN, 1) == 0);
	REQUIRE(link(ours[1], ours[0]) == 0);
	REQUIRE(link(ours[2], ours[1]) == 0);
	REQUIRE(theirs[0].add(ours[2].fd(), EPOLLIN) == 0);
	REQUIRE(theirs[1].add(theirs[0].fd(), EPOLLIN) == 0);
	CHECK(theirs[1].count(0) == 0);
	put(target);
	CHECK(theirs[1].count(0) == 1);
	for (auto &ep : ours)
		for (auto &other : theirs)
			CHECK(ep.add(other.fd(), EPOLLIN) == -ELOOP);
	take(target);
	CHECK(theirs[1].count(0) == 0);
}
