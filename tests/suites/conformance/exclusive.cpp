// SPDX-License-Identifier: GPL-2.0
// EPOLLEXCLUSIVE: which of several instances that watch one file a wake-up
// reaches. Each test has a thread asleep in a wait on each instance, started
// in a known order.
#include <csignal>
#include <cerrno>

#include <arpa/inet.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

constexpr std::uint32_t exclusive_in = EPOLLIN | EPOLLEXCLUSIVE;

// Connected to a port of this machine at which nobody listens: what is sent
// there comes back as an error before send(2) returns.
Fd refused_socket()
{
	sockaddr_in at{};
	socklen_t size = sizeof at;
	Fd owner(must_libc(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
	Fd fd(must_libc(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));

	at.sin_family = AF_INET;
	at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must_libc(bind(owner, reinterpret_cast<sockaddr *>(&at), size));
	must_libc(getsockname(owner, reinterpret_cast<sockaddr *>(&at), &size));
	must_libc(connect(fd, reinterpret_cast<sockaddr *>(&at), size));
	return fd;
}

int take_error(int fd)
{
	int error = 0;
	socklen_t size = sizeof error;
	must_libc(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size));
	return error;
}

// A thread under a seccomp filter that allows everything, until end(): the
// filter's listener hangs up then.
class Filtered {
public:
	Filtered()
		: thread_([this] {
			  sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
			  sock_fprog program{ 1, &allow };
			  prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0); // the thread's own
			  listener_ = static_cast<int>(syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER,
							       SECCOMP_FILTER_FLAG_NEW_LISTENER, &program));
			  ready_ = true;
			  while (!end_)
				  settle(1);
		  })
	{
		while (!ready_)
			settle(1);
	}
	~Filtered() { end(); }
	void end()
	{
		end_ = true;
		if (thread_.joinable())
			thread_.join();
	}
	Fd listener() const { return Fd(must_libc(listener_, "seccomp")); }

private:
	std::atomic<bool> ready_{ false }, end_{ false };
	int listener_ = -1;
	std::thread thread_;
};

} // namespace

TEST_CASE_METHOD(Tidy, "exclusive: one write wakes the instance that was added first, every time",
		 "[exclusive]")
{
	Instance eps[4];
	Fd target = event_fd();

	for (auto &ep : eps)
		REQUIRE(ep.add(target, exclusive_in, 1) == 0);
	for (int round = 0; round < 3; round++) {
		Blocked a(eps[0], 20'000), b(eps[1], 20'000), c(eps[2], 20'000), d(eps[3], 20'000);
		for (Blocked *waiter : { &a, &b, &c, &d })
			waiter->asleep();
		put(target);
		CHECK(returned({ &a, &b, &c, &d }, 1) == 1);
		CHECK(a.done());
		// Still ready, but only a's instance was told; the others are by
		// the next write each, while a does not wait.
		put(target);
		CHECK(returned({ &a, &b, &c, &d }, 2) == 2);
		CHECK(b.done());
		put(target);
		CHECK(returned({ &a, &b, &c, &d }, 3) == 3);
		CHECK(c.done());
		put(target);
		CHECK(returned({ &a, &b, &c, &d }, 4) == 4);
		take(target);
	}
}

TEST_CASE_METHOD(Tidy, "exclusive: without waiters every instance sees the event", "[exclusive]")
{
	Instance eps[4];
	Fd target = event_fd();

	for (auto &ep : eps)
		REQUIRE(ep.add(target, exclusive_in | EPOLLET, 1) == 0);
	put(target);
	for (auto &ep : eps)
		CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Tidy, "exclusive: an instance on which nobody waits is told, and does not use up the event",
		 "[exclusive]")
{
	Instance idle, busy, last;
	Fd target = event_fd();

	for (auto *ep : { &idle, &busy, &last })
		REQUIRE(ep->add(target, exclusive_in | EPOLLET, 1) == 0);
	Blocked waiter(busy), behind(last, 2000);
	waiter.asleep();
	behind.asleep();
	put(target);
	CHECK(waiter.result() == 1);
	CHECK(idle.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(behind.result() == 0); // the walk ended before it
}

TEST_CASE_METHOD(Tidy, "exclusive: other bits than the wanted ones do not reach it", "[exclusive]")
{
	Instance out, in;
	Fd target = event_fd();

	// OUT is used up here, so that only a wake-up can queue it again
	REQUIRE(out.add(target, EPOLLOUT | EPOLLET | EPOLLEXCLUSIVE, 1) == 0);
	REQUIRE(out.count(0) == 1);
	REQUIRE(in.add(target, exclusive_in, 2) == 0);
	Blocked writer(out), reader(in);
	writer.asleep();
	reader.asleep();
	put(target);
	CHECK(reader.result() == 1);
	settle();
	CHECK_FALSE(writer.done());
	take(target);
	CHECK(writer.result() == 1);
}

TEST_CASE_METHOD(Tidy, "exclusive: plain watches are all woken besides", "[exclusive]")
{
	Instance first, second, plain, plain_too;
	Fd target = event_fd();

	REQUIRE(first.add(target, exclusive_in, 1) == 0);
	REQUIRE(second.add(target, exclusive_in, 2) == 0);
	REQUIRE(plain.add(target, EPOLLIN, 3) == 0);
	REQUIRE(plain_too.add(target, EPOLLIN, 4) == 0);
	Blocked a(first), b(second), c(plain), d(plain_too);
	for (Blocked *waiter : { &a, &b, &c, &d })
		waiter->asleep();
	put(target);
	CHECK(returned({ &a, &b, &c, &d }, 3) == 3);
	CHECK_FALSE(b.done());
	put(target);
	CHECK(b.result() == 1);
}

TEST_CASE_METHOD(Tidy, "exclusive: who polls the instance itself does not count as a waiter",
		 "[exclusive]")
{
	Instance polled, waited;
	Fd target = event_fd();

	REQUIRE(polled.add(target, exclusive_in, 1) == 0);
	REQUIRE(waited.add(target, exclusive_in, 2) == 0);
	Blocked poller([&] {
		pollfd p{ polled.fd(), POLLIN, 0 };
		return poll(&p, 1, patience_ms);
	});
	Blocked waiter(waited);
	poller.asleep();
	waiter.asleep();
	put(target);
	CHECK(poller.done_within(patience_ms / 2)); // its last look, at the end, does not count
	CHECK(poller.result() == 1);
	CHECK(waiter.result() == 1);
}

TEST_CASE_METHOD(Tidy, "exclusive: a wake-up without bits is used up by the first", "[exclusive]")
{
	Instance first, second;
	sigset_t set;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, nullptr); // threads inherit it
	Fd target(must_libc(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)));

	REQUIRE(first.add(target, exclusive_in, 1) == 0);
	REQUIRE(second.add(target, exclusive_in, 2) == 0);
	{
		Blocked a(first), b(second);
		a.asleep();
		b.asleep();
		kill(getpid(), SIGUSR2);
		CHECK(returned({ &a, &b }, 1) == 1);
		CHECK(a.done());
		drain(target);
		kill(getpid(), SIGUSR2); // nobody waits on the first now
		CHECK(b.result() == 1);
		drain(target);
	}
	timespec none{};
	while (sigtimedwait(&set, nullptr, &none) > 0)
		;
	pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

TEST_CASE_METHOD(Tidy, "exclusive: a wake-up with ERR alone is used up by the first", "[exclusive]")
{
	Instance first, second;
	Fd target = refused_socket();

	// The port's owner is gone. ERR needs no asking for.
	REQUIRE(first.add(target, EPOLLEXCLUSIVE, 1) == 0);
	REQUIRE(second.add(target, EPOLLEXCLUSIVE, 2) == 0);
	Blocked a(first), b(second);
	a.asleep();
	b.asleep();
	must_libc(send(target, "x", 1, 0));
	CHECK(returned({ &a, &b }, 1) == 1);
	CHECK(a.done());
	CHECK(a.events() == Events{ { EPOLLERR, 1 } });
	CHECK(take_error(target) == ECONNREFUSED);
	must_libc(send(target, "x", 1, 0)); // nobody waits on the first now
	CHECK(b.result() == 1);
	CHECK(b.events() == Events{ { EPOLLERR, 2 } });
}

TEST_CASE_METHOD(Tidy, "exclusive: a wake-up with HUP alone is used up by the first", "[exclusive]")
{
	Instance first, second;
	Filtered filtered;
	Fd target = filtered.listener();

	REQUIRE(first.add(target, EPOLLEXCLUSIVE, 1) == 0);
	REQUIRE(second.add(target, EPOLLEXCLUSIVE, 2) == 0);
	Blocked a(first), b(second, 2000);
	a.asleep();
	b.asleep();
	filtered.end();
	CHECK(a.result() == 1);
	CHECK(a.events() == Events{ { EPOLLHUP, 1 } });
	CHECK(b.result() == 0); // the walk ended before it
	CHECK(second.wait() == Events{});
}

TEST_CASE_METHOD(Tidy, "exclusive: a source that wakes everyone wakes every instance", "[exclusive]")
{
	Instance first, second;
	Pair pair = make_pair(SOCK_STREAM);

	REQUIRE(first.add(pair.a, EPOLLEXCLUSIVE, 1) == 0);
	REQUIRE(second.add(pair.a, EPOLLEXCLUSIVE, 2) == 0);
	Blocked a(first), b(second);
	a.asleep();
	b.asleep();
	pair.b.reset();
	CHECK(a.result() == 1);
	CHECK(b.result() == 1);
	CHECK(a.events() == Events{ { EPOLLHUP, 1 } });
	CHECK(b.events() == Events{ { EPOLLHUP, 2 } });
}

TEST_CASE_METHOD(Tidy, "exclusive: the second is not told what the first left, but finds it at its next ADD",
		 "[exclusive]")
{
	Instance first, second;
	Fd target = event_fd();

	REQUIRE(first.add(target, exclusive_in, 1) == 0);
	REQUIRE(second.add(target, exclusive_in, 2) == 0);
	{
		Blocked a(first);
		a.asleep();
		put(target);
		CHECK(a.result() == 1);
	}
	CHECK(second.wait() == Events{}); // not queued there, though ready
	REQUIRE(second.del(target) == 0);
	REQUIRE(second.add(target, exclusive_in, 2) == 0);
	CHECK(second.wait() == Events{ { EPOLLIN, 2 } });
}
