// SPDX-License-Identifier: GPL-2.0
// What cannot be caused or seen from outside the kernel: wakeups with any key, events that
// no file of Linux has, a queue that dies before its file, the hint to the scheduler,
// timer slack, busy polling. By /dev/witness, see tests/fixtures/test-modules/witness.c.
#include <cerrno>
#include <filesystem>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "test-modules/witness.h"
#include "catch.hpp"
#include "support.hpp"

namespace {

class Witness {
public:
	Witness()
	{
		utsname os;
		must_libc(uname(&os), "uname");
		auto path = std::filesystem::read_symlink("/proc/self/exe").parent_path() / "test-modules" /
			    os.release / "witness.ko";
		Fd module(must_libc(open(path.c_str(), O_RDONLY | O_CLOEXEC), path.c_str()));
		must_libc(syscall(SYS_finit_module, int(module), "", 0), "loading the witness");
		fd_ = Fd(must_libc(open("/dev/witness", O_RDWR | O_CLOEXEC), "/dev/witness"));
	}
	~Witness()
	{
		fd_.reset();
		syscall(SYS_delete_module, "witness", O_NONBLOCK);
	}
	operator int() const { return fd_; }

	void ready(std::uint32_t events) { call(WITNESS_READY, events); }
	int wake(std::uint32_t key) { return call(WITNESS_WAKE, key); }
	int wake_sync(std::uint32_t key) { return call(WITNESS_WAKE_SYNC, key); }
	int call(unsigned long what, unsigned long arg = 0)
	{
		return must_libc(ioctl(fd_, what, arg), "the witness");
	}

private:
	Fd fd_;
};

struct Watched : Tidy {
	Witness file;
};

} // namespace

TEST_CASE_METHOD(Watched, "exclusive: the key says whether the first instance uses up the wakeup",
		 "[exclusive][witness]")
{
	struct {
		std::uint32_t asked, key;
		int woken;
	} const cases[] = {
		{ EPOLLIN, EPOLLIN, 1 },
		{ EPOLLIN, EPOLLIN | EPOLLRDNORM, 1 },
		{ EPOLLIN, EPOLLIN | EPOLLHUP, 1 },
		{ EPOLLIN, 0, 1 },
		{ EPOLLIN, EPOLLERR, 1 },
		{ EPOLLIN, EPOLLHUP, 1 },
		{ EPOLLIN, EPOLLIN | EPOLLOUT, 2 },
		{ EPOLLIN, EPOLLOUT, 0 },
		{ EPOLLIN, EPOLLOUT | EPOLLERR, 2 },
		{ EPOLLOUT, EPOLLOUT, 1 },
		{ EPOLLOUT, EPOLLIN | EPOLLOUT, 2 },
		{ EPOLLIN | EPOLLOUT, EPOLLIN, 1 },
		{ EPOLLIN | EPOLLOUT, EPOLLOUT, 1 },
		{ EPOLLIN | EPOLLOUT, EPOLLIN | EPOLLOUT, 2 },
	};

	for (const auto &c : cases) {
		CAPTURE(c.asked, c.key);
		Instance a, b;
		for (auto *ep : { &a, &b })
			REQUIRE(ep->add(file, c.asked | EPOLLEXCLUSIVE) == 0);
		Blocked first(a), second(b);
		first.asleep();
		second.asleep();
		file.ready(c.asked);
		CHECK(file.wake(c.key) == c.woken);
		CHECK(returned({ &first, &second }, c.woken) == c.woken);
		CHECK(first.done() == (c.woken > 0));
		while (!first.done() || !second.done())
			file.wake(0);
		file.ready(0);
	}
}

TEST_CASE_METHOD(Watched, "a wakeup's key decides who looks, the file what is there", "[witness]")
{
	Instance ep;
	REQUIRE(ep.add(file, EPOLLIN | EPOLLOUT | EPOLLET, 1) == 0);

	file.ready(EPOLLIN);
	file.wake(EPOLLOUT);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	file.ready(EPOLLIN | EPOLLOUT | EPOLLPRI);
	file.wake(EPOLLIN);
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLOUT, 1 } });
	file.wake(EPOLLPRI);
	CHECK(ep.wait().empty());
	file.wake(0);
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLOUT, 1 } });

	file.ready(0);
	file.wake(EPOLLIN);
	CHECK(ep.wait().empty());
}

TEST_CASE_METHOD(Watched, "one-shot: no wakeup gives a spent watch a place in the order", "[oneshot][witness]")
{
	Instance ep;
	Fd other = event_fd();
	REQUIRE(ep.add(file, EPOLLIN | EPOLLONESHOT, 1) == 0);
	REQUIRE(ep.add(other, EPOLLIN, 2) == 0);
	file.ready(EPOLLIN);

	for (std::uint32_t key : { 0U, std::uint32_t(EPOLLIN) }) {
		CAPTURE(key);
		file.wake(0);
		CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
		file.wake(key);
		put(other);
		REQUIRE(ep.mod(file, EPOLLIN | EPOLLONESHOT, 1) == 0);
		CHECK(data_of(ep.wait()) == Data{ 2, 1 });
		take(other);
		CHECK(ep.wait().empty());
		REQUIRE(ep.mod(file, EPOLLIN | EPOLLONESHOT, 1) == 0);
	}
}

TEST_CASE_METHOD(Watched, "what comes while MOD asks the file is for the new mask", "[ctl][witness]")
{
	Instance ep;
	REQUIRE(ep.add(file, 0, 1) == 0);
	file.call(WITNESS_STALL, 1);
	Blocked changed([&] { return ep.mod(file, EPOLLIN, 2); });
	settle();
	CHECK_FALSE(changed.done());
	file.ready(EPOLLIN);
	file.wake(EPOLLIN);
	file.call(WITNESS_STALL, 0);
	CHECK(changed.result() == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Watched, "a wakeup for what is gone again does not end a wait", "[witness]")
{
	Instance ep;
	REQUIRE(ep.add(file, EPOLLIN, 1) == 0);
	Blocked waiter(ep);

	waiter.asleep();
	CHECK(file.wake(EPOLLIN) == 1);
	settle();
	CHECK_FALSE(waiter.done());
	waiter.asleep();
	file.ready(EPOLLIN);
	file.wake(EPOLLIN);
	CHECK(waiter.result() == 1);
}

TEST_CASE_METHOD(Watched, "wakeups for nothing do not move the deadline of a wait", "[timeouts][witness]")
{
	constexpr int ms = 300;
	Instance ep;
	REQUIRE(ep.add(file, EPOLLIN, 1) == 0);
	auto start = Clock::now();
	Blocked waiter(ep, ms);
	int woken = 0;

	while (!waiter.done_within(20) && Clock::now() - start < milliseconds(patience_ms / 3))
		woken += file.wake(EPOLLIN);
	CHECK(waiter.done());
	CHECK(waiter.result() == 0);
	CHECK(Clock::now() - start >= milliseconds(ms));
	CHECK(woken > 0);
}

TEST_CASE_METHOD(Watched, "events that no file of Linux has come if the file says so and they were asked for",
		 "[witness]")
{
	constexpr std::uint32_t rare = EPOLLMSG | 0x20 /* EPOLLNVAL */ | EPOLLRDBAND | EPOLLWRBAND;
	Instance some, all;
	REQUIRE(some.add(file, EPOLLIN, 1) == 0);
	REQUIRE(all.add(file, EPOLLIN | rare, 2) == 0);

	file.ready(rare);
	file.wake(0);
	CHECK(some.wait().empty());
	CHECK(all.wait() == Events{ { rare, 2 } });
	file.ready(EPOLLIN | rare);
	file.wake(EPOLLIN);
	CHECK(some.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(all.wait() == Events{ { EPOLLIN | rare, 2 } });
}

TEST_CASE_METHOD(Watched, "a thread is woken with the hint that the source gives", "[witness]")
{
	Instance ep;
	REQUIRE(ep.add(file, EPOLLIN | EPOLLET, 1) == 0);
	file.ready(EPOLLIN);
	ep.wait();

	for (bool sync : { false, true, false }) {
		CAPTURE(sync);
		Blocked waiter(ep);
		waiter.asleep();
		CHECK((sync ? file.wake_sync(EPOLLIN) : file.wake(EPOLLIN)) == 1);
		CHECK(waiter.result() == 1);
	}
}

TEST_CASE_METHOD(Watched, "a queue may die before its file", "[witness]")
{
	Instance eps[3];
	for (auto &ep : eps)
		REQUIRE(ep.add(file, EPOLLIN | EPOLLET, 1) == 0);

	file.call(WITNESS_POLLFREE);
	CHECK(ioctl(file, WITNESS_WAKE, EPOLLIN) == -1);
	CHECK(errno == ENXIO);
	CHECK(eps[0].del(file) == 0);
	CHECK(eps[0].del(file) == -ENOENT);
	eps[1].close();
	// The last goes with the file. What the file says is still asked for.
	file.ready(EPOLLIN);
	CHECK(eps[2].mod(file, EPOLLIN, 2) == 0);
	CHECK(eps[2].wait() == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Watched, "a sleep may end late by its slack: a thousandth, at most 100 ms, at least the thread's",
		 "[timeouts][witness]")
{
	Instance ep;
	REQUIRE(ep.add(file, EPOLLIN | EPOLLET, 1) == 0);
	// Sleeps so long in a thread like that, and is woken; the slack in ns
	auto slack_of = [&](int ms, unsigned long own = 0, int nice = 0, bool real_time = false) {
		Blocked waiter([&] {
			const sched_param highest{ 1 };
			epoll_event event;

			if ((nice && setpriority(PRIO_PROCESS, 0, nice)) ||
			    (real_time && sched_setscheduler(0, SCHED_FIFO, &highest)) ||
			    (own && prctl(PR_SET_TIMERSLACK, own)))
				return -errno;
			return be().wait(ep.fd(), &event, 1, ms);
		});
		waiter.asleep();
		int slack = file.call(WITNESS_SLACK);
		file.ready(EPOLLIN);
		file.wake(EPOLLIN);
		CHECK(waiter.result() == 1);
		file.ready(0);
		return slack;
	};
	// As much, or less by the time from the call to the sleep: none in a thousand
	auto about = [](int slack, int expected) {
		return slack <= expected && slack >= expected - expected / 10;
	};

	CHECK(about(slack_of(20'000), 20'000'000));
	CHECK(about(slack_of(60'000), 60'000'000));
	CHECK(slack_of(200'000) == 100'000'000);
	CHECK(about(slack_of(10'000, 0, 5), 50'000'000));
	CHECK(slack_of(200'000, 0, 5) == 100'000'000);
	CHECK(slack_of(20'000, 30'000'000) == 30'000'000);
	CHECK(slack_of(200'000, 300'000'000) == 300'000'000);
	CHECK(slack_of(20'000, 0, 0, true) == 0);
	CHECK(slack_of(20'000, 30'000'000, 0, true) == 0); // which later kernels do not take
}

TEST_CASE_METHOD(Watched, "an instance busy polls the queue of the last event before it sleeps, and forgets it in vain",
		 "[witness]")
{
	struct {
		std::uint32_t usecs;
		std::uint16_t budget;
		std::uint8_t prefer, pad;
	} params{ 50, 8, 0, 0 };

	if (!be().has_busy_poll_params())
		return;
	Instance ep;
	Pair udp = make_pair(SOCK_DGRAM);
	REQUIRE(ep.add(udp.a, EPOLLIN | EPOLLET, 1) == 0);
	file.call(WITNESS_NAPI, static_cast<unsigned long>(int(udp.a)));

	// Not asked for
	send_byte(udp.b);
	CHECK(ep.wait(1).size() == 1);
	CHECK(ep.wait(1).empty());
	CHECK(file.call(WITNESS_BUSY) == 0);

	// No event has told of the queue since
	REQUIRE(ioctl(ep.fd(), _IOW(0x8A, 1, params), &params) == 0);
	CHECK(ep.wait(1).empty());
	int before = file.call(WITNESS_BUSY);

	// Asked for, and a wakeup tells. Not where there is something to return, nor where
	// nobody would sleep. There is no such queue, so it is polled once.
	send_byte(udp.b);
	CHECK(ep.wait(1).size() == 1);
	CHECK(file.call(WITNESS_BUSY) == before);
	CHECK(ep.wait(0).empty());
	int without_sleep = file.call(WITNESS_BUSY);
	CHECK(ep.wait(1).empty());
	int once = file.call(WITNESS_BUSY);
	CHECK(once - before == 1);
	CHECK(ep.wait(1).empty());
	CHECK(file.call(WITNESS_BUSY) == once);
	CAPTURE(before, without_sleep, once);
	CHECK(before == 0);
}

TEST_CASE_METHOD(Watched, "a driver's file may sleep in its ->poll, and keeps no other open meanwhile, inode or not",
		 "[witness]")
{
	Instance ep;
	Fd driver(file.call(WITNESS_ANON));
	Pair closing = make_pair(SOCK_STREAM);
	REQUIRE(ep.add(driver, EPOLLOUT, 1) == 0);
	REQUIRE(ep.add(closing.a, EPOLLOUT, 2) == 0); // ready, and so next in the harvest
	file.call(WITNESS_STALL, 1);
	Blocked harvest(ep, 0);
	harvest.asleep();
	Blocked closer([&] {
		closing.a.reset();
		char byte;
		return int(recv(closing.b, &byte, 1, MSG_DONTWAIT));
	});
	if (!be().native()) // where the close waits for the harvest
		CHECK(closer.done_within(patience_ms / 3));
	CHECK_FALSE(harvest.done());
	file.call(WITNESS_STALL, 0);
	int harvested = harvest.result();
	CHECK((harvested == 1 || (be().native() && harvested == 2)));
	CHECK(closer.result() == 0);
	CHECK(data_of(ep.wait()) == Data{ 1 });
}
