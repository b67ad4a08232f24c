// SPDX-License-Identifier: GPL-2.0
// Several threads waiting on one instance.
#include <algorithm>
#include <cerrno>
#include <csignal>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

TEST_CASE_METHOD(Case, "level: one event wakes all waiters, each by the one before", "[waiters]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	Blocked a(ep), b(ep), c(ep), d(ep);

	for (Blocked *waiter : { &a, &b, &c, &d })
		waiter->asleep();
	put(target);
	for (Blocked *waiter : { &a, &b, &c, &d }) {
		CHECK(waiter->result() == 1);
		CHECK(waiter->events() == Events{ { EPOLLIN, 1 } });
	}
}

TEST_CASE_METHOD(Case, "edge: one waiter for each event", "[waiters][edge]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	Blocked a(ep), b(ep), c(ep);

	for (Blocked *waiter : { &a, &b, &c })
		waiter->asleep();
	for (int n = 1; n <= 3; n++) {
		put(target);
		CHECK(returned({ &a, &b, &c }, n) == n);
	}
}

TEST_CASE_METHOD(Case, "the waiter that came last is woken first", "[waiters]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	Blocked first(ep);
	first.asleep();
	Blocked second(ep);
	second.asleep();
	Blocked third(ep);
	third.asleep();

	put(target);
	CHECK(returned({ &first, &second, &third }, 1) == 1);
	CHECK(third.done());
	put(target);
	CHECK(returned({ &first, &second, &third }, 2) == 2);
	CHECK(second.done());
	put(target);
	CHECK(first.result() == 1);
}

TEST_CASE_METHOD(Case, "two events at once are for two waiters, or for one with room", "[waiters]")
{
	Fd x = event_fd(), y = event_fd();
	REQUIRE(ep.add(x, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(y, EPOLLIN | EPOLLET, 2) == 0);
	Blocked a(ep, patience_ms, 1), b(ep, patience_ms, 1);

	a.asleep();
	b.asleep();
	put(x);
	put(y);
	CHECK(a.result() == 1);
	CHECK(b.result() == 1);
	Events both = a.events();
	both.push_back(b.events().at(0));
	std::sort(both.begin(), both.end(), [](const Event &l, const Event &r) { return l.data < r.data; });
	CHECK(both == Events{ { EPOLLIN, 1 }, { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Case, "what does not fit into one waiter's buffer wakes the next", "[waiters]")
{
	Fd targets[3] = { event_fd(1), event_fd(1), event_fd(1) };
	Blocked a(ep, patience_ms, 1), b(ep, patience_ms, 1), c(ep, patience_ms, 1);

	for (Blocked *waiter : { &a, &b, &c })
		waiter->asleep();
	for (unsigned i = 0; i < 3; i++)
		REQUIRE(ep.add(targets[i], EPOLLIN | EPOLLET, i) == 0);
	for (Blocked *waiter : { &a, &b, &c })
		CHECK(waiter->result() == 1);
	CHECK(ep.count(0) == 0);
}

TEST_CASE_METHOD(Case, "a waiter that times out leaves the event to the others", "[waiters][ledger2]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	Blocked stays(ep);
	stays.asleep();
	Blocked leaves(ep, 50); // the last to come is the first to be woken
	CHECK(leaves.result() == 0);
	put(target);
	CHECK(stays.result() == 1);
}

TEST_CASE_METHOD(Case, "a waiter that is interrupted leaves the event to the others", "[waiters]")
{
	struct sigaction action {}, old;
	action.sa_handler = [](int) {};
	sigaction(SIGUSR1, &action, &old);
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	Blocked stays(ep);
	stays.asleep();
	Blocked leaves(ep);
	leaves.asleep();
	pthread_kill(leaves.thread(), SIGUSR1);
	CHECK(leaves.result() == -EINTR);
	put(target);
	CHECK(stays.result() == 1);
	sigaction(SIGUSR1, &old, nullptr);
}

TEST_CASE_METHOD(Case, "a waiter that is killed leaves the event to the others", "[waiters]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	Blocked stays(ep);
	stays.asleep();
	pid_t child = start_child([&] { return ep.count(-1); });
	until_asleep_in_wait(child);
	kill(child, SIGKILL);
	CHECK(child_status(child) == 256 + SIGKILL);
	put(target);
	CHECK(stays.result() == 1);
}

TEST_CASE_METHOD(Case, "waiters of several processes share the events", "[waiters]")
{
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	pid_t children[3];
	for (pid_t &child : children) {
		child = start_child([&] { return ep.count(patience_ms); });
		until_asleep_in_wait(child);
	}
	for (int i = 2; i >= 0; i--) {
		put(target);
		CHECK(child_status(children[i]) == 1);
	}
}
