// SPDX-License-Identifier: GPL-2.0
// A wait queue that dies before its file: the one of a signalfd belongs to the
// process that added it to an instance. The instance and the file live on in
// another process, as both came over a fork.
#include <csignal>
#include <cerrno>

#include <sys/signalfd.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

// SIGUSR2 is blocked, here and in the children
struct PollFree : Case {
	PollFree()
	{
		sigemptyset(&set_);
		sigaddset(&set_, SIGUSR2);
		pthread_sigmask(SIG_BLOCK, &set_, &old_);
		target = Fd(must_libc(signalfd(-1, &set_, SFD_NONBLOCK | SFD_CLOEXEC)));
	}
	~PollFree()
	{
		timespec none{};
		while (sigtimedwait(&set_, nullptr, &none) > 0)
			;
		pthread_sigmask(SIG_SETMASK, &old_, nullptr);
	}
	int add_in_child(const Instance &instance, std::uint32_t events) const
	{
		return in_child([&] { return instance.add(target, events, 1) ? 1 : 0; });
	}
	Fd target;

private:
	sigset_t set_, old_;
};

} // namespace

TEST_CASE_METHOD(PollFree, "the process of a signalfd's queue exits: the item stays, can be changed and deleted",
		 "[pollfree][ledger13]")
{
	for (std::uint32_t mode : { 0U, std::uint32_t(EPOLLET), std::uint32_t(EPOLLEXCLUSIVE) }) {
		CAPTURE(mode);
		REQUIRE(add_in_child(ep, EPOLLIN | mode) == 0);
		CHECK(watches(ep.fd()).size() == 1);
		CHECK(ep.wait() == Events{}); // polled for this process: nothing pending
		CHECK(ep.add(target, EPOLLIN) == -EEXIST);
		if (mode != EPOLLEXCLUSIVE)
			CHECK(ep.mod(target, EPOLLIN | mode, 2) == 0);
		CHECK(ep.del(target) == 0);
		CHECK(ep.add(target, EPOLLIN, 3) == 0); // now on this process's queue
		kill(getpid(), SIGUSR2);
		CHECK(ep.wait() == Events{ { EPOLLIN, 3 } });
		drain(target);
		CHECK(ep.del(target) == 0);
	}
}

TEST_CASE_METHOD(PollFree, "closing the file after its queue died removes the item", "[pollfree][ledger13]")
{
	REQUIRE(add_in_child(ep, EPOLLIN) == 0);
	target.reset();
	CHECK(watches(ep.fd()).empty());
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(PollFree, "closing the instance after a queue died", "[pollfree][ledger13]")
{
	{
		Instance temporary;
		REQUIRE(add_in_child(temporary, EPOLLIN) == 0);
	}
	CHECK(ep.add(target, EPOLLIN, 1) == 0);
	kill(getpid(), SIGUSR2);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(PollFree, "a queue that dies tells every exclusive watch", "[pollfree][ledger13]")
{
	// A wake that stopped at the first would leave the others on freed memory.
	Instance eps[3];

	CHECK(in_child([&] {
		      for (auto &one : eps)
			      if (one.add(target, EPOLLIN | EPOLLEXCLUSIVE, 1))
				      return 1;
		      return 0;
	      }) == 0);
	for (auto &one : eps) {
		CHECK(one.wait() == Events{});
		CHECK(one.del(target) == 0);
	}
}

TEST_CASE_METHOD(PollFree, "a queue dies under a waiter, which sleeps on", "[pollfree][ledger13]")
{
	Fd other = event_fd();
	Ends go = make_pipe();
	Ends added = make_pipe();
	REQUIRE(ep.add(other, EPOLLIN, 2) == 0);
	pid_t child = start_child([&] {
		char byte;
		go.w.reset();
		if (ep.add(target, EPOLLIN, 1))
			return 1;
		send_byte(added.w);
		while (read(go.r, &byte, 1) < 0)
			usleep(1000);
		return 0;
	});
	char byte;
	REQUIRE(eventually([&] { return read(added.r, &byte, 1) == 1; }));
	Blocked waiter(ep);
	waiter.asleep();
	go.w.reset();
	CHECK(child_status(child) == 0);
	settle();
	CHECK_FALSE(waiter.done());
	put(other);
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { EPOLLIN, 2 } });
}
