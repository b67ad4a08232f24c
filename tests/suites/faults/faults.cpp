// SPDX-License-Identifier: GPL-2.0
// Every allocation of the module fails, one at a time, in every call that makes one:
// the errno is right, nothing is left behind, and the same call works next. A kernel
// with fault injection is needed. The last case checks that no place was left out.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include <dirent.h>
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "uapi/myepoll.h"
#include "catch.hpp"
#include "cgroup.hpp"
#include "inject.hpp"
#include "missing_page.hpp"
#include "support.hpp"

namespace {

// What must be as before, after a call that failed
struct Faults : Tidy {
	Faults() : injection(module_text())
	{
		if (be().native())
			throw std::runtime_error("--backend=ioctl or fast: the module is what is tried");
	}
	~Faults()
	{
		if (!std::uncaught_exceptions()) {
			CHECK(injection.trouble() == "");
			CHECK(eventually([] { return live_watches() == 0; }));
		}
	}

	// Does the user's count stand at n?
	static bool charged(long n)
	{
		std::string before = slurp(be().max_user_watches());
		Fd one = event_fd(), beyond = event_fd();
		Instance other;

		spill(be().max_user_watches(), std::to_string(n + 1));
		int a = other.add(one, EPOLLIN), b = other.add(beyond, EPOLLIN);
		spill(be().max_user_watches(), before);
		return a == 0 && b == -ENOSPC;
	}

	static int module_users() { return std::stoi(slurp("/sys/module/myepoll/refcnt")); }

	// An ADD of `fd` to `ep`, which has `others` watches, fails at each place
	int sweep_add(const Instance &ep, int fd, std::uint32_t events, long others)
	{
		return injection.sweep([&](Fault &fault) {
			std::string list = fdinfo(ep.fd());
			int r = fault([&] { return ep.add(fd, events, 9); });
			INFO("the fault: " << fault.where() << ", the answer: " << r);
			// Of registering a wakeup source's device not everything is needed
			CHECK((fault.answered(r) || (events & EPOLLWAKEUP && r == 0)));
			if (r) {
				CHECK(fdinfo(ep.fd()) == list);
				CHECK(ep.del(fd) == -ENOENT);
				CHECK(charged(others));
				CHECK(ep.add(fd, events, 9) == 0);
			}
			CHECK(watches(ep.fd()).back() == Watch{ fd, events | EPOLLERR | EPOLLHUP, 9 });
			CHECK(charged(others + 1));
			CHECK(ep.del(fd) == 0);
			CHECK(charged(others));
		});
	}

	Injection injection;
};

int wakeup_sources()
{
	int n = 0;
	if (DIR *dir = opendir("/sys/class/wakeup")) {
		while (readdir(dir))
			n++;
		closedir(dir);
	}
	return n;
}

Fd fifo()
{
	const char name[] = "/dev/shm/two-queues";
	mkfifo(name, 0600);
	Fd fd(must_libc(open(name, O_RDWR | O_NONBLOCK | O_CLOEXEC), name));
	unlink(name);
	return fd;
}

} // namespace

TEST_CASE_METHOD(Faults, "create", "[faults][create]")
{
	int users = module_users(), descriptors = open_descriptors();
	constexpr uid_t same = -1;
	uid_t me = getuid(), user = 100'000;
	int hits = injection.sweep([&](Fault &fault) {
		// One who never had an instance, so that a user's count is made too
		must_libc(setresuid(user++, same, same), "setresuid");
		Fd ep(fault([] { return be().create1(EPOLL_CLOEXEC); }));
		must_libc(setresuid(me, same, same), "setresuid");
		INFO("the fault: " << fault.where());
		bool made = ep >= 0;
		CHECK(fault.answered(made ? 0 : int(ep)));
		ep.reset();
		CHECK(module_users() == users);
		CHECK(open_descriptors() == descriptors);
		if (!made)
			CHECK(Instance().count() == 0);
	});
	CHECK(hits >= 4);
}

TEST_CASE_METHOD(Faults, "create, where the table of descriptors has to grow", "[faults][create]")
{
	int users = module_users();
	int failed = in_child([&] {
		allow_descriptors(100'000);
		int hits = injection.sweep([&](Fault &fault) {
			// All that the table has room for, but for the file that a Fault opens
			std::string status = slurp("/proc/self/status");
			int size = std::atoi(status.c_str() + status.find("FDSize:") + 7);
			std::vector<Fd> all;
			Fd first = event_fd();
			while (all.empty() || all.back() < size - 2)
				all.emplace_back(must_libc(fcntl(first, F_DUPFD_CLOEXEC, 0)));
			Fd ep(fault([] { return be().create1(EPOLL_CLOEXEC); }));
			if (!fault.answered(ep < 0 ? int(ep) : 0))
				throw std::runtime_error("answer " + std::to_string(ep) + " at " + fault.where());
			if (!fault.hit() && ep < size)
				throw std::runtime_error("the table did not grow");
		});
		// The child's part of the table of places
		for (const Site &site : sites())
			if (!std::strcmp(site.call, "get_unused_fd_flags") && site.reached.empty())
				return 254;
		return std::min(hits, 200);
	});
	CHECK(failed >= 5);
	CHECK(failed <= 200);
	if (failed >= 5 && failed <= 200)
		for (Site &site : sites())
			if (!std::strcmp(site.call, "get_unused_fd_flags"))
				site.reached.insert("in a child");
	CHECK(module_users() == users);
}

TEST_CASE_METHOD(Faults, "ADD", "[faults][add]")
{
	Instance ep;
	Fd target = event_fd(1), other = event_fd();
	REQUIRE(ep.add(other, EPOLLIN, 1) == 0);
	CHECK(sweep_add(ep, target, EPOLLIN, 1) >= 1);
	CHECK(sweep_add(ep, target, EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, 1) >= 1);
	CHECK(ep.wait().empty());
}

TEST_CASE_METHOD(Faults, "ADD of what is there: EEXIST is said before ENOMEM", "[faults][add]")
{
	Instance ep;
	Fd target = event_fd(1);
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	CHECK(injection.sweep([&](Fault &fault) {
		int r = fault([&] { return ep.add(target, EPOLLOUT, 2); });
		INFO("the fault: " << fault.where() << ", the answer: " << r);
		CHECK((r == -EEXIST || (r == -EFAULT && fault.answered(r))));
		CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
		CHECK(charged(1));
	}) >= 1);
}

TEST_CASE_METHOD(Faults, "ADD with EPOLLWAKEUP: item, wakeup source, its device", "[faults][add][wakeup]")
{
	Instance ep;
	Fd target = event_fd(1);
	int sources = wakeup_sources();
	int hits = injection.sweep([&](Fault &fault) {
		int r = fault([&] { return ep.add(target, EPOLLIN | EPOLLWAKEUP, 9); });
		INFO("the fault: " << fault.where() << ", the answer: " << r);
		// Of registering a device not everything is needed
		if (r) {
			CHECK(fault.answered(r));
			CHECK(ep.wait().empty());
			CHECK(charged(0));
			CHECK(eventually([&] { return wakeup_sources() == sources; }));
			CHECK(ep.add(target, EPOLLIN | EPOLLWAKEUP, 9) == 0);
		}
		CHECK(ep.wait() == Events{ { EPOLLIN, 9 } });
		CHECK(wakeup_sources() == sources + 1);
		CHECK(ep.del(target) == 0);
		CHECK(charged(0));
		CHECK(eventually([&] { return wakeup_sources() == sources; }));
	});
	CHECK(hits >= 5);
}

TEST_CASE_METHOD(Faults, "ADD of an instance, into one that is watched itself", "[faults][add][nesting]")
{
	Instance outer, middle, inner;
	Fd leaf = event_fd(1);
	REQUIRE(outer.add(middle.fd(), EPOLLIN, 1) == 0);
	REQUIRE(inner.add(leaf, EPOLLIN, 2) == 0);
	CHECK(sweep_add(middle, inner.fd(), EPOLLIN, 2) >= 1);
	CHECK(sweep_add(middle, leaf, EPOLLIN, 2) >= 1);
	CHECK(outer.wait().empty());
	// Nobody counts as a watcher who is none: the depth is still to be had
	Instance a, b;
	CHECK(middle.add(inner.fd(), EPOLLIN) == 0);
	CHECK(inner.add(a.fd(), EPOLLIN) == 0);
	CHECK(a.add(b.fd(), EPOLLIN) == 0);
	CHECK(data_of(outer.wait()) == Data{ 1 });
}

TEST_CASE_METHOD(Faults, "ADD of files with two wait queues: FIFO, terminals, sockets", "[faults][add][hooks]")
{
	Fd queue = fifo();
	Fd master(must_libc(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), "posix_openpt"));
	must_libc(unlockpt(master));
	Fd slave(must_libc(open(ptsname(master), O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK), "pts"));
	for (int fd : { int(queue), int(master), int(slave) }) {
		Instance ep;
		CHECK(sweep_add(ep, fd, EPOLLIN, 0) >= 2);
		CHECK(sweep_add(ep, fd, EPOLLIN | EPOLLEXCLUSIVE, 0) >= 2);
		CHECK(sweep_add(ep, fd, EPOLLIN | EPOLLWAKEUP | EPOLLET, 0) >= 5);
	}
	// No hook is left on any of the queues: whoever wakes them meets none
	send_byte(queue);
	drain(queue);
	send_byte(master);
	send_byte(slave);
	Instance ep;
	for (int fd : { int(queue), int(master), int(slave) })
		CHECK(ep.add(fd, EPOLLIN | EPOLLOUT | EPOLLET, 1) == 0);
	CHECK(ep.wait().size() == 3);
}

TEST_CASE_METHOD(Faults, "MOD to EPOLLWAKEUP: without memory it works, and keeps nothing awake", "[faults][mod][wakeup]")
{
	Instance ep;
	Fd target = event_fd(1);
	int sources = wakeup_sources();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	int hits = injection.sweep([&](Fault &fault) {
		int r = fault([&] { return ep.mod(target, EPOLLIN | EPOLLWAKEUP, 2); });
		INFO("the fault: " << fault.where() << ", the answer: " << r);
		CHECK((r == 0 || (r == -EFAULT && fault.answered(r))));
		CHECK(ep.wait() == Events{ { EPOLLIN, r ? 1U : 2U } });
		if (r == 0)
			CHECK(watches(ep.fd()).at(0).events == (EPOLLIN | EPOLLWAKEUP | EPOLLERR | EPOLLHUP));
		CHECK(wakeup_sources() <= sources + 1);
		CHECK(charged(1));
		// The next makes up for it
		CHECK(ep.mod(target, EPOLLIN | EPOLLWAKEUP, 3) == 0);
		CHECK(wakeup_sources() == sources + 1);
		CHECK(ep.mod(target, EPOLLIN, 1) == 0);
		CHECK(wakeup_sources() == sources);
	});
	CHECK(hits >= 5);
}

TEST_CASE_METHOD(Faults, "MOD, DEL and WAIT want no memory, by either door", "[faults][wait]")
{
	Instance ep;
	Fd level = event_fd(1), edge = event_fd(1), once = event_fd(1);
	REQUIRE(ep.add(level, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(edge, EPOLLIN | EPOLLET, 2) == 0);
	REQUIRE(ep.add(once, EPOLLIN | EPOLLONESHOT, 3) == 0);
	CHECK(injection.sweep([&](Fault &fault) {
		epoll_event events[4];
		CHECK(fault([&] { return be().wait(ep.fd(), events, 4, 0); }) == 3);
	}) == 0);
	CHECK(injection.sweep([&](Fault &fault) {
		epoll_event events[4];
		std::uint64_t mask = 0;
		CHECK(fault([&] { return be().pwait(ep.fd(), events, 4, 10, &mask); }) == 1);
	}) == 0);
	CHECK(injection.sweep([&](Fault &fault) {
		CHECK(fault([&] { return ep.mod(edge, EPOLLIN | EPOLLET, 4); }) == 0);
		CHECK(data_of(ep.wait()) == Data{ 1, 4 });
	}) == 0);
	CHECK(injection.sweep([&](Fault &fault) {
		CHECK(fault([&] { return ep.del(level); }) == 0);
	}) == 0);
	CHECK(charged(2));
}

TEST_CASE_METHOD(Faults, "busy polling's parameters", "[faults][params]")
{
	Instance ep;
	std::uint64_t params = 0x0001'0004'0000'0005;
	constexpr unsigned long set = _IOC(_IOC_WRITE, 0x8A, 0x01, 8), get = _IOC(_IOC_READ, 0x8A, 0x02, 8);
	auto call = [&](unsigned long number, std::uint64_t *argument) {
		return ioctl(ep.fd(), number, argument) ? -errno : 0;
	};
	CHECK(injection.sweep([&](Fault &fault) {
		int r = fault([&] { return call(set, &params); });
		CHECK(r == (fault.hit() ? -EFAULT : 0));
		std::uint64_t got = 1;
		CHECK(call(get, &got) == 0);
		CHECK(got == (fault.hit() ? 0 : params));
	}) == 1);
	CHECK(injection.sweep([&](Fault &fault) {
		std::uint64_t got = 0;
		int r = fault([&] { return call(get, &got); });
		CHECK(r == (fault.hit() ? -EFAULT : 0));
		CHECK(got == (fault.hit() ? 0 : params));
	}) == 1);
}

// The last reference to a watched file is that of a scan. As the thread is going to
// sleep, it has a worker close the file, and needs memory for that. Such a file: an
// instance, whose ->poll is kept waiting by a harvest that waits for a page, and that is
// closed meanwhile. The harvest has a reference too, and usually drops it before the scan
// does: it may take some tries.
TEST_CASE_METHOD(Faults, "WAIT that drops the last reference to what it watches", "[faults][wait][last]")
{
	bool reached = false;
	for (int round = 0; round < 50 && !reached; round++) {
		Fd leaf = event_fd(1);
		Instance outer, inner;
		REQUIRE(inner.add(leaf, EPOLLIN, 1) == 0);
		REQUIRE(outer.add(inner.fd(), EPOLLIN, 2) == 0);
		StuckHarvest harvest(inner);
		injection.once(1, [&](Fault &fault) {
			std::atomic<bool> started{ false };
			Blocked scan([&] {
				return fault([&] {
					epoll_event events[8];
					started = true;
					return be().wait(outer.fd(), events, 8, 100);
				});
			});
			REQUIRE(eventually([&] { return started.load(); }));
			settle(); // in its ->poll, waiting for the harvest
			inner.close();
			CHECK(harvest.let_go().size() == 1);
			CHECK(scan.result() >= 0);
			reached = fault.hit();
		});
		// Closed all the same, by this thread: all its watches are gone
		CHECK(outer.wait().empty());
		CHECK(charged(0));
	}
	CHECK(reached);
}

// Of the size that the module knows, it is copied by single words. Longer ones may come.
TEST_CASE_METHOD(Faults, "an ioctl's argument of another size", "[faults][add][wait]")
{
	struct Longer {
		myepoll_ctl ctl;
		std::uint64_t zero;
	} longer{ { EPOLL_CTL_ADD, 0, EPOLLIN, 0, 9 }, 0 };
	constexpr unsigned long number = _IOC(_IOC_WRITE, _IOC_TYPE(MYEPOLL_IOC_CTL), _IOC_NR(MYEPOLL_IOC_CTL),
					      sizeof longer);
	Instance ep;
	Fd target = event_fd(1);
	longer.ctl.fd = target;
	CHECK(injection.sweep([&](Fault &fault) {
		int r = fault([&] { return ioctl(ep.fd(), number, &longer) ? -errno : 0; });
		INFO("the fault: " << fault.where() << ", the answer: " << r);
		CHECK(fault.answered(r));
		CHECK(ep.del(target) == (r ? -ENOENT : 0));
		CHECK(charged(0));
	}) >= 2);
}

// By a turn, of which each change fails by itself; the first that does is the answer.
TEST_CASE_METHOD(Faults, "TURN and SET: a change without memory fails alone", "[faults][turn]")
{
	Instance ep, outer, inner;
	Fd first = event_fd(1), pty(must_libc(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC)));
	REQUIRE(outer.add(ep.fd(), EPOLLIN, 1) == 0);
	for (std::size_t size : { sizeof(myepoll_turn), sizeof(myepoll_turn) + 8 })
		CHECK(injection.sweep([&](Fault &fault) {
			myepoll_change changes[] = {
				{ MYEPOLL_CTL_SET, first, EPOLLIN, 0, 1 },
				{ EPOLL_CTL_ADD, pty, 0, 0, 2 },
				{ MYEPOLL_CTL_SET, inner.fd(), EPOLLIN, 0, 3 },
			};
			struct {
				myepoll_turn turn;
				std::uint64_t zero;
			} arg{};
			arg.turn.changes = reinterpret_cast<std::uintptr_t>(changes);
			arg.turn.nchanges = 3;
			const unsigned long number = _IOC(_IOC_READ | _IOC_WRITE, MYEPOLL_IOC_MAGIC,
							  _IOC_NR(MYEPOLL_IOC_TURN), size);
			int r = fault([&] {
				int r = ioctl(ep.fd(), number, &arg) ? -errno : 0;
				for (auto &change : changes)
					r = r ?: change.result;
				return r;
			});
			INFO("the fault: " << fault.where() << ", the answer: " << r);
			CHECK(fault.answered(r));
			unsigned failed = 0, there = 0;
			for (auto &change : changes) {
				failed += change.result != 0;
				const bool added = ep.del(change.fd) == 0;
				there += added;
				if (arg.turn.done)
					CHECK(added == !change.result);
			}
			CHECK(arg.turn.failed == failed);
			CHECK(there == arg.turn.done - arg.turn.failed);
			CHECK(charged(1));
		}) >= 2);
}

TEST_CASE_METHOD(Faults, "LIST and the options", "[faults][list]")
{
	Instance ep;
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	myepoll_watch watch;
	myepoll_list list{ reinterpret_cast<std::uintptr_t>(&watch), 1, sizeof(watch) };
	myepoll_options options;
	CHECK(injection.sweep([&](Fault &fault) {
		int r = fault([&] { return ioctl(ep.fd(), MYEPOLL_IOC_LIST, &list) < 0 ? -errno : 0; });
		INFO("the fault: " << fault.where() << ", the answer: " << r);
		CHECK(fault.answered(r));
	}) >= 1);
	CHECK(injection.sweep([&](Fault &fault) {
		int r = fault([&] { return ioctl(ep.fd(), MYEPOLL_IOC_GET_OPTIONS, &options) ? -errno : 0; });
		INFO("the fault: " << fault.where() << ", the answer: " << r);
		CHECK(fault.answered(r));
	}) >= 1);
	CHECK(ep.wait().empty());
	CHECK(charged(1));
}

TEST_CASE_METHOD(Tidy, "every place of the source that can run out of memory is in the table", "[faults][table]")
{
	CHECK(sites_in("module") == sites_in_table());
}

TEST_CASE_METHOD(Tidy, "every place of the table was reached", "[faults][table]")
{
	CHECK(unreached(false) == "");
}
