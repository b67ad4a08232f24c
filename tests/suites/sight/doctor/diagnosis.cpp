// SPDX-License-Identifier: GPL-2.0
// What the doctor concludes, by events that are made up: each fault, and each limit from
// both sides. Needs no module.
#include <algorithm>
#include <set>
#include <string>
#include <vector>

#include <sys/epoll.h>

#include "catch.hpp"
#include "userspace/tool/diagnosis.hpp"
#include "userspace/tool/tool.hpp"

// The tool's is beside its main().
void tool::say_line(const std::string &) noexcept
{
}

namespace {

using tool::point;

constexpr std::uint64_t us = 1000, ms = 1000 * us, sec = 1000 * ms;
constexpr std::uint64_t begin = 100 * sec;
constexpr std::uint32_t LEVEL = EPOLLIN | EPOLLERR | EPOLLHUP;
constexpr std::uint32_t EDGE = LEVEL | EPOLLET;
constexpr std::uint32_t ONCE = LEVEL | EPOLLONESHOT;

using names = std::set<std::string>;

struct story {
	tool::diagnosis d;
	std::uint64_t time = begin;

	tool::event make(point what, std::uint32_t instance, int fd)
	{
		tool::event e = {};

		time += 1 * us;
		e.time = time;
		e.what = what;
		e.tid = e.tgid = 10 * static_cast<pid_t>(instance);
		e.instance = instance;
		e.fd = fd;
		e.data = static_cast<std::uint64_t>(fd);
		return e;
	}
	void enter(std::uint32_t instance = 1, pid_t tid = 0, std::int64_t timeout = -1, int room = 64)
	{
		tool::event e = make(point::wait_enter, instance, 0);

		e.tid = tid ? tid : e.tid;
		e.timeout = timeout;
		e.maxevents = room;
		d.take(e);
	}
	void leave(int ret, std::uint32_t instance = 1, pid_t tid = 0)
	{
		tool::event e = make(point::wait_exit, instance, 0);

		e.tid = tid ? tid : e.tid;
		e.ret = ret;
		d.take(e);
	}
	void deliver(int fd, std::uint32_t events, std::uint32_t mask, std::uint32_t instance = 1, pid_t tid = 0)
	{
		tool::event e = make(point::deliver, instance, fd);

		e.tid = tid ? tid : e.tid;
		e.events = events;
		e.mask = mask;
		d.take(e);
	}
	void not_ready(int fd, std::uint32_t instance = 1)
	{
		d.take(make(point::not_ready, instance, fd));
	}
	void wake(int fd, std::uint32_t key, std::uint32_t instance = 1, int how = 0, pid_t waiter = 0)
	{
		tool::event e = make(point::wake, instance, fd);

		e.tgid = 0;
		e.events = key;
		e.how = how;
		e.waiter = waiter;
		d.take(e);
	}
	void ctl(int op, int fd, std::uint32_t mask, std::uint64_t data = 0, std::uint32_t instance = 1)
	{
		tool::event e = make(point::ctl, instance, fd);

		e.op = op;
		e.events = mask;
		e.data = data;
		d.take(e);
	}
	void remove(int fd, std::uint32_t instance = 1)
	{
		d.take(make(point::remove, instance, fd));
	}
	// A wait that brings this
	void get(int fd, std::uint32_t events, std::uint32_t mask, std::uint32_t instance = 1, pid_t tid = 0)
	{
		enter(instance, tid);
		deliver(fd, events, mask, instance, tid);
		leave(1, instance, tid);
	}
	// What /proc says of instances 1 to n, which watch fd 5 with this mask
	void know(std::uint32_t n, std::uint32_t mask, const std::string &what, bool same = true,
		  const std::string &options = "", pid_t odd = 0)
	{
		std::vector<tool::instance> all;

		for (std::uint32_t number = 1; number <= n; number++) {
			tool::instance i = {};
			tool::watch w = {};

			i.pid = w.pid = 10 * static_cast<pid_t>(number);
			i.fd = 3;
			i.command = "program";
			i.ours = true;
			i.number = number;
			i.options = options;
			w.fd = 5;
			w.events = mask;
			w.what = what;
			i.watches.push_back(w);
			all.push_back(i);
		}
		d.know(time, all, [same, odd](pid_t pid, int) {
			return same && pid != odd ? std::string("socket:[1]") : "socket:[" + std::to_string(pid) + "]";
		});
	}
	names found() const { return found(time); }
	names found(std::uint64_t end) const
	{
		names ids;

		for (const tool::finding &f : d.conclude(begin, end)) {
			CHECK_FALSE(f.title.empty());
			CHECK_FALSE(f.evidence.empty());
			CHECK_FALSE(f.cost.empty());
			CHECK_FALSE(f.advice.empty());
			CHECK(std::any_of(tool::complaints().begin(), tool::complaints().end(),
					  [&f](const tool::complaint &c) { return f.id == c.id; }));
			ids.insert(f.id);
		}
		return ids;
	}
};

template <typename Body>
void times(int n, Body body)
{
	for (int i = 0; i < n; i++)
		body();
}

const names nothing;

} // namespace

TEST_CASE("spin: input that nobody reads")
{
	story s;
	const auto get = [&s] { s.get(5, EPOLLIN, LEVEL); };

	SECTION("10000 on end")
	{
		times(9999, get);
		CHECK(s.found() == nothing);
		get();
		REQUIRE(s.found() == names{ "spin" });
		CHECK(s.d.conclude(begin, s.time)[0].fd == 5);
	}
	SECTION("drained now and then")
	{
		times(9, [&] {
			times(9999, get);
			s.not_ready(5);
		});
		CHECK(s.found() == nothing);
	}
	SECTION("more comes, 64 reads for a wakeup")
	{
		times(1000, [&] {
			s.wake(5, EPOLLIN);
			times(64, get);
		});
		CHECK(s.found() == nothing);
		times(1000, [&] {
			s.wake(5, EPOLLIN);
			times(80, get);
		});
		CHECK(s.found() == names{ "spin" });
	}
	SECTION("edge-triggered it is not delivered without a reason")
	{
		times(20000, [&] { s.get(5, EPOLLIN, EDGE); });
		CHECK(s.found() == nothing);
	}
	SECTION("it stays found when the descriptor is closed")
	{
		times(10000, get);
		s.remove(5);
		CHECK(s.found() == names{ "spin" });
	}
	SECTION("another one has the number")
	{
		times(9999, get);
		if (GENERATE(true, false)) // or the first is a ghost
			s.remove(5);
		s.ctl(EPOLL_CTL_ADD, 5, EPOLLIN);
		times(9999, get);
		CHECK(s.found() == nothing);
	}
	SECTION("where events were lost, it is counted anew")
	{
		times(9999, get);
		s.d.gap(7);
		times(9999, get);
		CHECK(s.found() == nothing);
		CHECK(s.d.sum().lost == 7);
	}
}

TEST_CASE("spin: EPOLLOUT left on")
{
	story s;

	times(9999, [&s] {
		s.wake(5, EPOLLIN); // which is no room to write
		s.get(5, EPOLLOUT, LEVEL | EPOLLOUT);
	});
	CHECK(s.found() == nothing);
	SECTION("10000 on end")
	{
		s.get(5, EPOLLIN | EPOLLOUT, LEVEL | EPOLLOUT);
		CHECK(s.found() == names{ "spin" });
	}
	SECTION("it was full once")
	{
		s.get(5, EPOLLIN, LEVEL | EPOLLOUT);
		s.get(5, EPOLLOUT, LEVEL | EPOLLOUT);
		CHECK(s.found() == nothing);
	}
	SECTION("it is taken out")
	{
		s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN);
		s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN | EPOLLOUT);
		s.get(5, EPOLLOUT, LEVEL | EPOLLOUT);
		CHECK(s.found() == nothing);
	}
}

TEST_CASE("spin: a hang-up that is kept")
{
	story s;
	const auto events = GENERATE(EPOLLIN | EPOLLHUP, EPOLLHUP, EPOLLIN | EPOLLOUT | EPOLLERR);

	times(999, [&] { s.get(5, static_cast<std::uint32_t>(events), LEVEL | EPOLLOUT); });
	CHECK(s.found() == nothing);
	s.get(5, static_cast<std::uint32_t>(events), LEVEL | EPOLLOUT);
	CHECK(s.found() == names{ "spin" });
}

TEST_CASE("waits with timeout 0")
{
	story s;
	// inside 1 us, between two of them so many more
	const auto look = [&s](std::uint64_t work) {
		s.enter(1, 0, 0);
		s.leave(0);
		s.time += work;
	};

	SECTION("5000 back to back")
	{
		times(4999, [&] { look(2 * us); });
		CHECK(s.found() == nothing);
		look(2 * us);
		CHECK(s.found() == names{ "empty-waits" });
	}
	SECTION("one that has ended is no less of one")
	{
		times(5000, [&] { look(2 * us); });
		s.enter();
		CHECK(s.found() == names{ "empty-waits" });
	}
	SECTION("behind a timeout")
	{
		s.enter(1, 0, 1 * ms);
		s.leave(0);
		times(5000, [&] { look(2 * us); });
		CHECK(s.found() == names{ "empty-waits" });
	}
	SECTION("with work between them")
	{
		times(20000, [&] { look(40 * us); });
		CHECK(s.found() == nothing);
	}
	SECTION("slow moments are no work")
	{
		int n = 0;
		times(5000, [&] { look(++n % 3 ? 2 * us : 5 * ms); });
		CHECK(s.found() == names{ "empty-waits" });
	}
	SECTION("an event in each hundred")
	{
		times(1000, [&] {
			times(99, [&] { look(2 * us); });
			s.enter(1, 0, 0);
			s.deliver(5, EPOLLIN, LEVEL);
			s.leave(1);
		});
		CHECK(s.found() == nothing);
	}
}

TEST_CASE("timeouts rounded down")
{
	story s;
	const auto timer = [&s](int looks, std::uint64_t work = 2 * us) {
		s.enter(1, 0, 9 * ms);
		s.time += 9 * ms;
		s.leave(0);
		times(looks, [&] {
			s.enter(1, 0, 0);
			s.leave(0);
			s.time += work;
		});
	};

	SECTION("10 times")
	{
		times(9, [&] { timer(20); });
		s.enter();
		CHECK(s.found() == nothing);
		s.leave(1);
		timer(20);
		s.enter();
		CHECK(s.found() == names{ "early-waits" });
	}
	SECTION("but few looks")
	{
		times(100, [&] { timer(19); });
		CHECK(s.found() == nothing);
	}
	SECTION("with work between them")
	{
		times(100, [&] { timer(25, 50 * us); });
		CHECK(s.found() == nothing);
	}
	SECTION("not for a timer, since it takes too long")
	{
		times(20, [&] { timer(90, 25 * us); });
		CHECK(s.found() == nothing);
	}
	SECTION("not behind a timeout")
	{
		times(100, [&] {
			s.enter(1, 0, 9 * ms);
			s.leave(1);
			times(30, [&] {
				s.enter(1, 0, 0);
				s.leave(0);
			});
		});
		CHECK(s.found() == nothing);
	}
}

TEST_CASE("ghosts")
{
	story s;
	const bool ours = GENERATE(true, false);
	const auto know = [&s, ours](std::uint64_t data = 7) {
		tool::instance i = {};
		tool::watch w = {};

		i.pid = 10;
		i.fd = 3;
		i.ours = ours;
		if (ours)
			i.number = 1;
		w.fd = 5;
		w.events = EPOLLIN;
		w.data = data;
		w.ghost = true;
		i.watches.push_back(w);
		s.d.know(s.time, { i }, [](pid_t, int) { return ""; });
	};

	know();
	s.time += 500 * ms;
	know();
	SECTION("three times, a second")
	{
		s.time += 499 * ms;
		know();
		CHECK(s.found() == nothing);
		s.time += 1 * ms;
		know();
		REQUIRE(s.found() == names{ "ghost" });
		CHECK(s.d.conclude(begin, s.time)[0].level == tool::severity::warning);
	}
	SECTION("only twice")
	{
		s.time += 500 * ms;
		CHECK(s.found() == nothing);
	}
	SECTION("only twice, a second apart")
	{
		story other;
		std::swap(s.d, other.d);
		know();
		s.time += 1200 * ms;
		know();
		CHECK(s.found() == nothing);
	}
	SECTION("another one")
	{
		s.time += 500 * ms;
		know(8);
		CHECK(s.found() == nothing);
	}
	SECTION("not there the next time")
	{
		tool::instance empty = {};

		empty.pid = 10;
		empty.fd = 3;
		empty.ours = ours;
		if (ours)
			empty.number = 1;
		s.time += 500 * ms;
		s.d.know(s.time, { empty }, [](pid_t, int) { return ""; });
		s.time += 500 * ms;
		know();
		CHECK(s.found() == nothing);
	}
	if (ours) {
		SECTION("removed, or added, in between")
		{
			if (GENERATE(true, false))
				s.remove(5);
			else
				s.ctl(EPOLL_CTL_ADD, 5, EPOLLIN);
			s.time += 500 * ms;
			know();
			CHECK(s.found() == nothing);
		}
		SECTION("with deliveries")
		{
			s.time += 600 * ms;
			know();
			s.enter();
			tool::event e = s.make(point::deliver, 1, 5);
			e.data = 7;
			e.events = EPOLLIN;
			e.mask = EDGE;
			s.d.take(e);
			REQUIRE(s.found() == names{ "ghost" });
			CHECK(s.d.conclude(begin, s.time)[0].level == tool::severity::fault);
		}
	}
}

TEST_CASE("herd: workers")
{
	story s;

	SECTION("a listening socket")
	{
		s.know(3, LEVEL, "tcp 0.0.0.0:80 listening");
		const auto connection = [&s] {
			for (std::uint32_t i = 1; i <= 3; i++)
				s.wake(5, EPOLLIN, i, 0, 10 * static_cast<pid_t>(i));
			s.enter(); // of whichever
			s.leave(-4);
		};
		times(49, connection); // two in vain
		CHECK(s.found() == nothing);
		connection();
		CHECK(s.found() == names{ "herd" });
	}
	SECTION("all are awake")
	{
		s.know(3, LEVEL, "tcp 0.0.0.0:80 listening");
		times(1000, [&s] {
			for (std::uint32_t i = 1; i <= 3; i++)
				s.wake(5, EPOLLIN, i);
			s.enter();
		});
		CHECK(s.found() == nothing);
	}
	SECTION("one after the other, each for a connection of its own")
	{
		s.know(3, LEVEL, "tcp 0.0.0.0:80 listening");
		times(1000, [&s] {
			for (std::uint32_t i = 1; i <= 3; i++) {
				s.wake(5, EPOLLIN, i, 0, 10 * static_cast<pid_t>(i));
				s.enter(i);
			}
		});
		CHECK(s.found() == nothing);
	}
	SECTION("some few in vain")
	{
		s.know(3, LEVEL, "tcp 0.0.0.0:80 listening");
		int n = 0;
		times(1000, [&] {
			s.wake(5, EPOLLIN, 1, 0, 10);
			if (++n % 3 == 0)
				s.wake(5, EPOLLIN, 2, 0, 20);
			s.enter();
		});
		CHECK(s.found() == nothing);
	}
	SECTION("sockets of their own")
	{
		s.know(3, LEVEL, "tcp 0.0.0.0:80 listening", false);
		times(1000, [&s] {
			for (std::uint32_t i = 1; i <= 3; i++)
				s.wake(5, EPOLLIN, i, 0, 10 * static_cast<pid_t>(i));
			s.enter();
		});
		CHECK(s.found() == nothing);
	}
	SECTION("one with a socket of its own is woken right after")
	{
		s.know(3, LEVEL, "tcp 0.0.0.0:80 listening", true, "", 30);
		s.wake(5, EPOLLIN, 1, 0, 10);
		s.wake(5, EPOLLIN, 2, 0, 20);
		s.enter();
		times(1000, [&s] {
			s.wake(5, EPOLLIN, 1, 0, 10);
			s.wake(5, EPOLLIN, 3, 0, 30);
			s.enter();
		});
		CHECK(s.found() == nothing);
	}
	SECTION("another file: who finds nothing")
	{
		s.know(2, LEVEL, "pipe, reading end");
		const auto byte = [&s](bool vain) {
			for (std::uint32_t i = 1; i <= 2; i++)
				s.wake(5, EPOLLIN, i, 0, 10 * static_cast<pid_t>(i));
			s.deliver(5, EPOLLIN, LEVEL, 1);
			if (vain)
				s.not_ready(5, 2);
			else
				s.deliver(5, EPOLLIN, LEVEL, 2);
			s.not_ready(5, 1);
		};
		times(99, [&] { byte(true); });
		times(20, [&] { byte(false); });
		CHECK(s.found() == nothing);
		byte(true);
		CHECK(s.found() == names{ "herd" });
	}
	SECTION("a signal for all of them")
	{
		s.know(2, LEVEL, "eventfd, count 1");
		times(1000, [&s] {
			for (std::uint32_t i = 1; i <= 2; i++)
				s.wake(5, EPOLLIN, i, 0, 10 * static_cast<pid_t>(i));
			for (std::uint32_t i = 1; i <= 2; i++)
				s.deliver(5, EPOLLIN, LEVEL, i);
		});
		CHECK(s.found() == nothing);
	}
}

TEST_CASE("herd: threads")
{
	story s;
	const auto both = [&s](bool at_work) {
		s.wake(5, EPOLLIN);
		s.get(5, EPOLLIN, LEVEL, 1, 11);
		if (!at_work)
			s.enter(1, 11);
		s.get(5, EPOLLIN, LEVEL, 1, 12);
		s.not_ready(5);
	};

	SECTION("two at work on the same")
	{
		times(99, [&] { both(true); });
		CHECK(s.found() == nothing);
		both(true);
		CHECK(s.found() == names{ "herd" });
	}
	SECTION("one of them waits again")
	{
		times(1000, [&] { both(false); });
		CHECK(s.found() == nothing);
	}
	SECTION("now and then")
	{
		times(100, [&] { both(true); });
		times(901, [&] {
			s.wake(5, EPOLLIN);
			s.get(5, EPOLLIN, LEVEL, 1, 11);
			s.not_ready(5);
		});
		CHECK(s.found() == nothing);
	}
}

TEST_CASE("an uneven share")
{
	story s;
	const bool balanced = GENERATE(false, true);
	const std::uint32_t mask = LEVEL | EPOLLEXCLUSIVE;

	s.know(2, mask, "tcp 0.0.0.0:80 listening", true, balanced ? "balance" : "");
	const auto share = [&](int one, int other) {
		times(one, [&] {
			s.wake(5, EPOLLIN, 1);
			s.deliver(5, EPOLLIN, mask, 1);
			s.not_ready(5, 1);
		});
		times(other, [&] {
			s.wake(5, EPOLLIN, 2);
			s.deliver(5, EPOLLIN, mask, 2);
			s.not_ready(5, 2);
		});
	};

	SECTION("more than three quarters")
	{
		share(76, 24);
		CHECK(s.found() == (balanced ? nothing : names{ "uneven" }));
		s.d.gap(1);
		CHECK(s.found() == nothing);
	}
	SECTION("three quarters")
	{
		share(75, 25);
		CHECK(s.found() == nothing);
	}
	SECTION("of too few")
	{
		share(99, 0);
		CHECK(s.found() == nothing);
		share(1, 0);
		CHECK(s.found() == (balanced ? nothing : names{ "uneven" }));
	}
}

TEST_CASE("changes that change nothing")
{
	story s;

	s.ctl(EPOLL_CTL_ADD, 5, EPOLLIN, 1);
	SECTION("100")
	{
		times(99, [&] { s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN, 1); });
		CHECK(s.found() == nothing);
		s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN, 1);
		CHECK(s.found() == names{ "same-change" });
	}
	SECTION("one in twenty calls")
	{
		times(100, [&] { s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN, 1); });
		times(1900, [&] {
			s.enter();
			s.leave(1);
		});
		CHECK(s.found() == nothing);
	}
	SECTION("another token")
	{
		std::uint64_t token = 1;
		times(900, [&] { s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN, ++token); });
		CHECK(s.found() == nothing);
	}
	SECTION("a one-shot watch is armed")
	{
		s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN | EPOLLONESHOT, 1);
		times(900, [&] {
			s.get(5, EPOLLIN, ONCE);
			s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN | EPOLLONESHOT, 1);
		});
		CHECK(s.found() == nothing);
	}
	SECTION("an edge-triggered one is asked again")
	{
		s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN | EPOLLET, 1);
		times(900, [&] { s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN | EPOLLET, 1); });
		CHECK(s.found() == nothing);
	}
	SECTION("what it was is not known any more")
	{
		times(200, [&] {
			s.d.gap(1);
			s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN, 1);
		});
		CHECK(s.found() == nothing);
	}
}

TEST_CASE("many changes")
{
	story s;
	std::uint64_t token = 0;
	const auto turns = [&](int waits, int mods) {
		times(waits, [&] { s.get(5, EPOLLIN, EDGE); });
		times(mods, [&] { s.ctl(EPOLL_CTL_MOD, 5, EPOLLIN, ++token); });
	};

	SECTION("two a wait, and more")
	{
		turns(500, 1000);
		CHECK(s.found() == nothing);
		turns(0, 1);
		CHECK(s.found() == names{ "many-changes" });
	}
	SECTION("of too few")
	{
		turns(10, 999);
		CHECK(s.found() == nothing);
	}
	SECTION("what TURN would save: the measured rows")
	{
		turns(125, 1000); // arm 8, wait for 8: 7057 to 4286 instructions
		const auto all = s.d.conclude(begin, s.time);
		REQUIRE(all.size() == 1);
		CHECK(all[0].advice.find("about 39 %") != std::string::npos);
	}
	SECTION("connections that come and go are no such changes")
	{
		times(1000, [&] {
			s.ctl(EPOLL_CTL_ADD, 5, EPOLLIN);
			s.ctl(EPOLL_CTL_DEL, 5, 0);
			s.remove(5);
		});
		s.get(5, EPOLLIN, EDGE);
		CHECK(s.found() == nothing);
	}
}

TEST_CASE("little room")
{
	story s;
	const auto full = [&s](int room, bool more, pid_t tid = 0) {
		s.wake(5, EPOLLIN);
		s.wake(6, EPOLLIN);
		s.enter(1, tid, -1, room);
		s.deliver(5, EPOLLIN, EDGE, 1, tid);
		if (!more)
			s.deliver(6, EPOLLIN, EDGE, 1, tid);
		s.leave(room, 1, tid);
	};

	SECTION("1000 times, and more was ready")
	{
		times(999, [&] { full(1, true); });
		CHECK(s.found() == nothing);
		full(1, true);
		CHECK(s.found() == names{ "small-room" });
	}
	SECTION("nothing was left")
	{
		times(2000, [&] { full(2, false); });
		CHECK(s.found() == nothing);
	}
	SECTION("16 are room")
	{
		times(2000, [&] { full(15, true); });
		CHECK(s.found() == names{ "small-room" });
		story other;
		std::swap(s.d, other.d);
		times(2000, [&] { full(16, true); });
		CHECK(s.found() == nothing);
	}
	SECTION("half of the waits")
	{
		times(1000, [&] { full(1, true); });
		s.not_ready(6);
		times(1000, [&] { full(2, false); });
		CHECK(s.found() == nothing);
	}
	SECTION("what is left has come after the harvest")
	{
		times(2000, [&] {
			s.enter(1, 0, -1, 8);
			s.deliver(5, EPOLLIN, EDGE);
			s.wake(6, EPOLLIN);
			s.leave(1);
		});
		CHECK(s.found() == nothing);
	}
	SECTION("another thread takes the rest")
	{
		times(1000, [&] { full(1, true, 11); });
		full(1, true, 12);
		CHECK(s.found() == nothing);
	}
}

TEST_CASE("edge-triggered, not drained")
{
	story s;
	const auto part = [&s](bool woken, std::uint32_t mask = EDGE) {
		s.wake(5, EPOLLIN);
		s.get(5, EPOLLIN, mask);
		if (woken)
			s.wake(5, EPOLLIN);
		s.ctl(EPOLL_CTL_MOD, 5, mask);
		s.get(5, EPOLLIN, mask);
	};
	const auto drained = [&s] {
		s.wake(5, EPOLLIN);
		s.get(5, EPOLLIN, EDGE);
		s.ctl(EPOLL_CTL_MOD, 5, EDGE);
	};

	s.ctl(EPOLL_CTL_ADD, 5, EDGE);
	SECTION("20 times")
	{
		times(19, [&] { part(false); });
		CHECK(s.found() == nothing);
		part(false);
		CHECK(s.found() == names{ "not-drained" });
	}
	SECTION("something has come meanwhile")
	{
		times(90, [&] { part(true); });
		CHECK(s.found() == nothing);
	}
	SECTION("less than half of the times")
	{
		times(20, [&] { part(false); });
		times(21, drained);
		CHECK(s.found() == nothing);
	}
	SECTION("it was found drained")
	{
		times(90, [&] {
			drained();
			s.not_ready(5);
			s.get(5, EPOLLIN, EDGE);
		});
		CHECK(s.found() == nothing);
	}
	SECTION("it can be written to, as always")
	{
		times(90, [&] {
			s.ctl(EPOLL_CTL_MOD, 5, EDGE | EPOLLOUT);
			s.get(5, EPOLLOUT, EDGE | EPOLLOUT);
		});
		CHECK(s.found() == nothing);
	}
	SECTION("what is there had not been delivered")
	{
		times(90, [&] {
			s.wake(5, EPOLLOUT);
			s.get(5, EPOLLOUT, EDGE | EPOLLOUT);
			s.ctl(EPOLL_CTL_MOD, 5, EDGE | EPOLLOUT);
			s.get(5, EPOLLIN, EDGE | EPOLLOUT);
		});
		CHECK(s.found() == nothing);
	}
	SECTION("one-shot: that is what MOD is for")
	{
		s.ctl(EPOLL_CTL_MOD, 5, ONCE | EPOLLET);
		times(90, [&] { part(false, ONCE | EPOLLET); });
		CHECK(s.found() == nothing);
	}
}

TEST_CASE("one-shot, not armed again")
{
	story s;
	std::uint64_t fired = 0;

	s.ctl(EPOLL_CTL_ADD, 5, ONCE);
	s.get(5, EPOLLIN, ONCE);
	fired = s.time - us;
	const bool called = GENERATE(true, false);
	if (called)
		s.wake(5, EPOLLIN, 1, 2);

	SECTION("three seconds")
	{
		s.enter();
		CHECK(s.found(fired + 3 * sec - 1) == nothing);
		CHECK(s.found(fired + 3 * sec) == (called ? names{ "not-rearmed" } : nothing));
		s.d.gap(1);
		CHECK(s.found(fired + 5 * sec) == nothing);
	}
	SECTION("its source calls just now")
	{
		s.ctl(EPOLL_CTL_MOD, 5, ONCE);
		s.get(5, EPOLLIN, ONCE);
		s.time += 5 * sec;
		s.wake(5, EPOLLIN, 1, 2);
		const std::uint64_t now = s.time;
		s.enter();
		CHECK(s.found(now + 1 * sec - 1) == nothing);
		CHECK(s.found(now + 1 * sec) == names{ "not-rearmed" });
	}
	SECTION("... to say that it can be written to")
	{
		s.ctl(EPOLL_CTL_MOD, 5, ONCE);
		s.get(5, EPOLLIN, ONCE);
		s.wake(5, EPOLLOUT, 1, 2);
		s.enter();
		CHECK(s.found(fired + 9 * sec) == nothing);
	}
	SECTION("where events were lost before")
	{
		s.d.gap(1);
		s.get(5, EPOLLIN, ONCE);
		s.wake(5, EPOLLIN, 1, 2);
		s.enter();
		CHECK(s.found(fired + 9 * sec) == nothing);
	}
	SECTION("a thread is at work")
	{
		CHECK(s.found(fired + 9 * sec) == nothing);
	}
	SECTION("it is armed")
	{
		s.ctl(EPOLL_CTL_MOD, 5, ONCE);
		s.enter();
		CHECK(s.found(fired + 9 * sec) == nothing);
	}
	SECTION("it is closed")
	{
		s.remove(5);
		s.enter();
		CHECK(s.found(fired + 9 * sec) == nothing);
	}
}

TEST_CASE("stuck")
{
	story s;
	std::uint64_t since = 0;

	s.get(5, EPOLLIN, LEVEL);
	s.wake(5, EPOLLIN);
	since = s.time;
	const auto look = [&s, since](std::uint64_t after, char state, std::uint64_t cpu) {
		s.d.look({ since + after, 10, state, cpu, "program", "read() of fd 4, a pipe", { "pipe_read" } });
	};

	SECTION("asleep in another call")
	{
		look(1 * sec, 'S', 0);
		look(2 * sec, 'S', 0);
		CHECK(s.found(since + 2 * sec - 1) == nothing);
		CHECK(s.found(since + 2 * sec) == names{ "stuck" });
		s.d.gap(1);
		CHECK(s.found(since + 2 * sec) == nothing);
	}
	SECTION("not seen for a second")
	{
		look(1 * sec, 'S', 0);
		look(2 * sec - 1, 'S', 0);
		CHECK(s.found(since + 2 * sec) == nothing);
	}
	SECTION("... for the disk, too")
	{
		look(1 * sec, 'D', 0);
		look(2 * sec, 'D', 0);
		CHECK(s.found(since + 2 * sec) == names{ "stuck" });
	}
	SECTION("what it did before does not count")
	{
		look(-1 * sec, 'S', 0);
		look(1 * sec, 'S', 0);
		CHECK(s.found(since + 2 * sec) == nothing);
	}
	SECTION("it has waited since, with other events")
	{
		s.enter();
		s.time += 5 * sec;
		s.leave(1);
		const std::uint64_t left = s.time - since;
		look(left + 300 * ms, 'S', 0);
		look(left + 1300 * ms, 'S', 0);
		CHECK(s.found(since + left + 2 * sec - 1) == nothing);
		CHECK(s.found(since + left + 2 * sec) == names{ "stuck" });
	}
	SECTION("where events were lost before")
	{
		s.d.gap(1);
		s.wake(5, EPOLLIN);
		look(1 * sec, 'S', 0);
		look(9 * sec, 'S', 0);
		CHECK(s.found(since + 9 * sec) == nothing);
	}
	SECTION("somebody slept there when it was woken, and has not run since")
	{
		story other;
		const bool slept = GENERATE(true, false);
		other.know(1, LEVEL, "pipe");
		other.wake(5, EPOLLIN, 1, 0, slept ? 10 : 0);
		for (const std::uint64_t after : { 1 * sec, 2 * sec })
			other.d.look({ other.time + after, 10, 'S', 0, "program", "", {} });
		CHECK(other.found(other.time + 2 * sec) == (slept ? nothing : names{ "stuck" }));
	}
	SECTION("it computes")
	{
		look(1 * sec, 'R', 0);
		look(4 * sec, 'R', 1 * sec);
		CHECK(s.found(since + 4 * sec) == names{ "stuck" });
	}
	SECTION("it cannot run: the machine is busy")
	{
		look(1 * sec, 'R', 0);
		look(9 * sec, 'R', 1 * sec - 1);
		CHECK(s.found(since + 9 * sec) == nothing);
	}
	SECTION("it waits")
	{
		look(1 * sec, 'S', 0);
		look(2 * sec, 'S', 0);
		s.enter();
		CHECK(s.found(since + 9 * sec) == nothing);
	}
	SECTION("nothing is ready")
	{
		look(1 * sec, 'S', 0);
		look(2 * sec, 'S', 0);
		s.remove(5);
		CHECK(s.found(since + 9 * sec) == nothing);
	}
	SECTION("of whom it wants to hear")
	{
		CHECK(s.d.suspects(since + sec - 1).empty());
		CHECK(s.d.suspects(since + sec) == std::vector<pid_t>{ 10 });
	}
}

TEST_CASE("only the processes that were asked for are judged")
{
	story s;

	times(10000, [&s] { s.get(5, EPOLLIN, LEVEL, 2); });
	CHECK(s.d.sum().deliveries == 10000);
	CHECK(s.d.sum().instances == 1);
	s.d.only(10);
	CHECK(s.found() == nothing);
	CHECK(s.d.sum().events == 0);
	CHECK(s.d.sum().instances == 0);
	s.d.only(20);
	CHECK(s.found() == names{ "spin" });
	CHECK(s.d.sum().deliveries == 10000);
}

TEST_CASE("the worst comes first")
{
	story s;

	s.ctl(EPOLL_CTL_ADD, 6, EPOLLIN, 1);
	times(3000, [&] { s.ctl(EPOLL_CTL_MOD, 6, EPOLLIN, 1); });
	times(10000, [&s] { s.get(5, EPOLLIN, LEVEL, 2); });
	const auto all = s.d.conclude(begin, s.time);
	REQUIRE(all.size() == 2);
	CHECK(all[0].id == "spin");
	CHECK(all[1].id == "same-change");
}
