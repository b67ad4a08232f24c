// SPDX-License-Identifier: GPL-2.0
// Waits and signals: EINTR, the mask of a pwait, fatal and stopping signals.
#include <cerrno>
#include <csignal>

#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

volatile sig_atomic_t handled;
volatile sig_atomic_t usr2_blocked_in_handler;

void on_signal(int)
{
	sigset_t now;
	sigemptyset(&now);
	pthread_sigmask(SIG_SETMASK, nullptr, &now);
	usr2_blocked_in_handler = sigismember(&now, SIGUSR2);
	handled = handled + 1;
}

constexpr std::uint64_t bit(int signal)
{
	return 1ULL << (signal - 1);
}

sigset_t set_of(std::initializer_list<int> signals)
{
	sigset_t set;
	sigemptyset(&set);
	for (int signal : signals)
		sigaddset(&set, signal);
	return set;
}

bool is_pending(int signal)
{
	sigset_t set;
	sigemptyset(&set);
	sigpending(&set);
	return sigismember(&set, signal);
}

bool is_blocked(int signal)
{
	sigset_t set;
	sigemptyset(&set);
	pthread_sigmask(SIG_SETMASK, nullptr, &set);
	return sigismember(&set, signal);
}

// SIGUSR1 has the handler and the thread's mask is as it was afterwards
struct SignalCase : Case {
	explicit SignalCase(int flags = 0)
	{
		struct sigaction action {};
		action.sa_handler = on_signal;
		action.sa_flags = flags;
		sigaction(SIGUSR1, &action, &old_);
		pthread_sigmask(SIG_SETMASK, nullptr, &mask_);
		handled = 0;
		usr2_blocked_in_handler = -1;
		must(ep.add(target, EPOLLIN, 1));
	}
	~SignalCase()
	{
		pthread_sigmask(SIG_SETMASK, &mask_, nullptr);
		sigaction(SIGUSR1, &old_, nullptr);
	}
	void block(int signal)
	{
		sigset_t set = set_of({ signal });
		pthread_sigmask(SIG_BLOCK, &set, nullptr);
	}
	int pwait(int timeout_ms, std::uint64_t mask)
	{
		return be().pwait(ep.fd(), buffer, 4, timeout_ms, &mask);
	}

	Fd target = event_fd();
	epoll_event buffer[4];

private:
	struct sigaction old_;
	sigset_t mask_;
};

} // namespace

TEST_CASE_METHOD(SignalCase, "a signal with a handler ends a wait with EINTR", "[signals]")
{
	for (int timeout : { -1, patience_ms }) {
		Blocked waiter(ep, timeout);
		waiter.asleep();
		pthread_kill(waiter.thread(), SIGUSR1);
		CHECK(waiter.result() == -EINTR);
	}
	CHECK(handled == 2);
}

TEST_CASE_METHOD(Case, "EINTR comes with SA_RESTART too", "[signals]")
{
	SignalCase restart(SA_RESTART);
	Blocked waiter(restart.ep);
	waiter.asleep();
	pthread_kill(waiter.thread(), SIGUSR1);
	CHECK(waiter.result() == -EINTR);
	CHECK(handled == 1);

	Blocked masked([&] { return restart.pwait(patience_ms, 0); });
	masked.asleep();
	pthread_kill(masked.thread(), SIGUSR1);
	CHECK(masked.result() == -EINTR);
	CHECK(handled == 2);
}

TEST_CASE_METHOD(SignalCase, "an ignored or blocked signal ends no wait", "[signals]")
{
	Blocked waiter([&] {
		sigset_t all;
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, nullptr);
		return ep.count(patience_ms);
	});
	waiter.asleep();
	pthread_kill(waiter.thread(), SIGUSR1); // blocked
	kill(getpid(), SIGCHLD);		// ignored by default
	kill(getpid(), SIGWINCH);
	settle();
	CHECK_FALSE(waiter.done());
	put(target);
	CHECK(waiter.result() == 1);
}

TEST_CASE_METHOD(SignalCase, "pwait: a signal that the mask lets through ends it, handled under that mask",
		 "[signals]")
{
	block(SIGUSR1);
	raise(SIGUSR1);
	REQUIRE(is_pending(SIGUSR1));
	CHECK(pwait(patience_ms, bit(SIGUSR2)) == -EINTR);
	CHECK(handled == 1);
	CHECK(usr2_blocked_in_handler == 1);
	CHECK(is_blocked(SIGUSR1)); // the mask from before is back
	CHECK_FALSE(is_blocked(SIGUSR2));
}

TEST_CASE_METHOD(SignalCase, "pwait: a signal during the wait, let through by the mask alone", "[signals]")
{
	block(SIGUSR1);
	Blocked waiter([&] {
		int n = pwait(-1, 0);
		return is_blocked(SIGUSR1) ? n : 99;
	});
	waiter.asleep();
	pthread_kill(waiter.thread(), SIGUSR1);
	CHECK(waiter.result() == -EINTR);
	CHECK(handled == 1);
}

TEST_CASE_METHOD(SignalCase, "pwait: a signal that the mask blocks waits for its end", "[signals]")
{
	Blocked waiter([&] {
		int before = handled;
		int n = pwait(patience_ms, ~0ULL);
		return before == 0 && handled == 1 ? n : 99;
	});
	waiter.asleep();
	pthread_kill(waiter.thread(), SIGUSR1);
	settle();
	CHECK_FALSE(waiter.done());
	CHECK(handled == 0);
	put(target);
	CHECK(waiter.result() == 1);
	CHECK(handled == 1);
}

TEST_CASE_METHOD(SignalCase, "pwait: at a timeout and with an event the old mask is back", "[signals]")
{
	block(SIGUSR2);
	CHECK(pwait(0, bit(SIGUSR1)) == 0);
	CHECK(is_blocked(SIGUSR2));
	CHECK_FALSE(is_blocked(SIGUSR1));
	CHECK(pwait(5, bit(SIGUSR1)) == 0);
	CHECK(is_blocked(SIGUSR2));
	CHECK_FALSE(is_blocked(SIGUSR1));
	put(target);
	CHECK(pwait(5, bit(SIGUSR1)) == 1);
	CHECK(is_blocked(SIGUSR2));
	CHECK_FALSE(is_blocked(SIGUSR1));
	const std::uint64_t mask = bit(SIGUSR1);
	CHECK(be().pwait(ep.fd(), bad_event(), 4, 5, &mask) == -EFAULT);
	CHECK(is_blocked(SIGUSR2));
	CHECK_FALSE(is_blocked(SIGUSR1));
	CHECK(be().pwait(ep.fd(), buffer, 0, 5, &mask) == -EINVAL);
	CHECK(is_blocked(SIGUSR2));
	CHECK_FALSE(is_blocked(SIGUSR1));
}

TEST_CASE_METHOD(SignalCase, "pwait2 takes the mask as pwait does", "[signals]")
{
	std::uint64_t none = 0;
	timespec timeout{ 20, 0 }, zero{};

	block(SIGUSR1);
	raise(SIGUSR1);
	CHECK(be().pwait2(ep.fd(), buffer, 4, &zero, &none) == 0);
	CHECK(handled == 0);
	CHECK(be().pwait2(ep.fd(), buffer, 4, &timeout, &none) == -EINTR);
	CHECK(handled == 1);
	CHECK(is_blocked(SIGUSR1));
}

TEST_CASE_METHOD(SignalCase, "a timeout of 0 does not look at signals: 0, and the signal stays pending",
		 "[signals]")
{
	block(SIGUSR1);
	raise(SIGUSR1);
	CHECK(pwait(0, 0) == 0);
	CHECK(handled == 0);
	CHECK(is_pending(SIGUSR1));
}

TEST_CASE_METHOD(SignalCase, "events and a signal: the events are returned, the signal stays pending",
		 "[signals]")
{
	put(target);
	block(SIGUSR1);
	raise(SIGUSR1);
	for (int timeout : { 0, 1, -1 }) {
		CAPTURE(timeout);
		CHECK(pwait(timeout, 0) == 1);
		CHECK(handled == 0);
		CHECK(is_pending(SIGUSR1));
		CHECK(is_blocked(SIGUSR1));
	}
}

TEST_CASE_METHOD(Case, "no mask keeps SIGKILL away from a wait", "[signals]")
{
	std::uint64_t all = ~0ULL;
	pid_t child = start_child([&] {
		epoll_event buffer[1];
		return be().pwait(ep.fd(), buffer, 1, patience_ms, &all);
	});
	until_asleep_in_wait(child);
	kill(child, SIGKILL);
	CHECK(child_status(child) == 256 + SIGKILL);
}

TEST_CASE_METHOD(Case, "stopped and continued, a wait is EINTR; no mask keeps SIGSTOP away", "[signals]")
{
	std::uint64_t all = ~0ULL;
	pid_t child = start_child([&] {
		epoll_event buffer[1];
		return -be().pwait(ep.fd(), buffer, 1, patience_ms, &all);
	});
	int status = 0;

	until_asleep_in_wait(child);
	kill(child, SIGSTOP);
	REQUIRE(waitpid(child, &status, WUNTRACED) == child);
	REQUIRE(WIFSTOPPED(status));
	kill(child, SIGCONT);
	CHECK(child_status(child) == EINTR);
}

TEST_CASE_METHOD(Case, "SIGKILL ends a process whose threads wait, and one that is flooded with events",
		 "[signals]")
{
	Fd ready = event_fd(1);
	Instance idle;
	REQUIRE(ep.add(ready, EPOLLIN) == 0);
	pid_t child = start_child([&] {
		std::vector<std::thread> threads;
		for (int i = 0; i < 4; i++) {
			threads.emplace_back([&] { idle.count(-1); });
			threads.emplace_back([&] {
				while (ep.count(-1) == 1)
					;
			});
		}
		for (auto &thread : threads)
			thread.join();
		return 1;
	});
	settle(100);
	kill(child, SIGKILL);
	CHECK(child_status(child) == 256 + SIGKILL);
	CHECK(ep.count(0) == 1);
	CHECK(idle.count(0) == 0);
}
