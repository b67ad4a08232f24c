// SPDX-License-Identifier: GPL-2.0
// SET, DISABLE, DROP and LIST.
#include <poll.h>
#include <unistd.h>

#include "calls.hpp"
#include "catch.hpp"

static_assert(sizeof(myepoll_watch) == 24);
static_assert(sizeof(myepoll_list) == 16);

TEST_CASE_METHOD(Beyond, "set: adds what is not there, and modifies what is", "[beyond][set]")
{
	Fd a = event_fd(1);

	CHECK(set(a, EPOLLIN, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(set(a, EPOLLIN | EPOLLOUT | EPOLLONESHOT, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLOUT, 2 } });
	CHECK(ep.wait() == Events{});
	CHECK(set(a, EPOLLOUT | EPOLLONESHOT, 3) == 0); // armed again
	CHECK(ep.wait() == Events{ { EPOLLOUT, 3 } });
	CHECK(watches(ep.fd()).size() == 1);
	CHECK(ep.del(a) == 0);
	CHECK(set(a, EPOLLIN, 4) == 0);
}

TEST_CASE_METHOD(Beyond, "set: fails as ADD and MOD do", "[beyond][set]")
{
	Fd a = event_fd(), b = event_fd();
	Instance other;

	CHECK(set(9999, EPOLLIN) == -EBADF);
	CHECK(set(ep.fd(), EPOLLIN) == -EINVAL);
	CHECK(set(a, EPOLLIN | EPOLLONESHOT | EPOLLEXCLUSIVE) == -EINVAL);
	CHECK(set(a, EPOLLIN) == 0);
	CHECK(set(a, EPOLLIN | EPOLLEXCLUSIVE) == -EINVAL);
	CHECK(set(b, EPOLLIN | EPOLLEXCLUSIVE) == 0);
	CHECK(set(b, EPOLLIN) == -EINVAL);
	CHECK(set(b, EPOLLIN | EPOLLEXCLUSIVE) == -EINVAL);
	REQUIRE(set(other.fd(), EPOLLIN) == 0);
	CHECK(other.ctl(MYEPOLL_CTL_SET, ep.fd(), EPOLLIN) == -ELOOP);
}

TEST_CASE_METHOD(Beyond, "disable: an armed watch is off for good", "[beyond][disable]")
{
	Fd a = event_fd();

	REQUIRE(ep.add(a, EPOLLIN | EPOLLONESHOT, 1) == 0);
	CHECK(disable(a) == 0);
	put(a);
	CHECK(ep.wait() == Events{});
	CHECK(ep.mod(a, EPOLLIN | EPOLLONESHOT) == -ECANCELED);
	CHECK(set(a, EPOLLIN | EPOLLONESHOT) == -ECANCELED);
	CHECK(disable(a) == -EALREADY);
	CHECK(ep.add(a, EPOLLIN) == -EEXIST);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { a, EPOLLONESHOT, 1 } });
	CHECK(ep.del(a) == 0);
	CHECK(ep.add(a, EPOLLIN, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Beyond, "disable: an event that nobody has taken yet is taken back", "[beyond][disable]")
{
	Fd a = event_fd(1);

	REQUIRE(ep.add(a, EPOLLIN | EPOLLONESHOT, 1) == 0);
	CHECK(disable(a) == 0);
	CHECK(ep.wait() == Events{});
	CHECK(ep.count(0) == 0);
}

TEST_CASE_METHOD(Beyond, "disable: busy if the event was taken and the watch not armed again; "
			 "who has it learns of it", "[beyond][disable]")
{
	Fd a = event_fd(1);

	REQUIRE(ep.add(a, EPOLLIN | EPOLLONESHOT, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(disable(a) == -EBUSY);
	CHECK(ep.mod(a, EPOLLIN | EPOLLONESHOT, 1) == -ECANCELED);
	CHECK(ep.wait() == Events{});
	CHECK(disable(a) == -EALREADY);

	Fd b = event_fd(1);
	REQUIRE(ep.add(b, EPOLLIN | EPOLLONESHOT, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(ep.mod(b, EPOLLOUT | EPOLLET | EPOLLONESHOT, 3) == 0);
	CHECK(disable(b) == 0); // armed again
}

TEST_CASE_METHOD(Beyond, "disable: only what is watched, and one-shot", "[beyond][disable]")
{
	Fd a = event_fd();

	CHECK(disable(9999) == -EBADF);
	CHECK(disable(a) == -ENOENT);
	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	CHECK(disable(a) == -EINVAL);
	put(a);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Beyond, "drop: watches go by their token", "[beyond][drop]")
{
	Fd a = event_fd(1), b = event_fd(1), c = event_fd(1);

	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(b, EPOLLIN, 2) == 0);
	REQUIRE(ep.add(c, EPOLLIN, 1) == 0);
	CHECK(drop(7) == -ENOENT);
	CHECK(drop(1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(drop(1) == -ENOENT);
	CHECK(ep.ctl(MYEPOLL_CTL_DROP, b, 0, 2) == -EINVAL);
	CHECK(ep.ctl(MYEPOLL_CTL_DROP, 9999, 0, 2) == -EINVAL);
	CHECK(ep.add(a, EPOLLIN, 3) == 0);
	CHECK(drop(2) == 0);
	CHECK(data_of(ep.wait()) == Data{ 3 });
}

TEST_CASE_METHOD(Beyond, "drop: the ghost of a descriptor that another process has still", "[beyond][drop]")
{
	Fd a = event_fd(1);
	Ends end = make_pipe();
	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	pid_t child = start_child([&] {
		end.w.reset();
		pollfd until_end{ end.r, POLLIN, 0 };
		return poll(&until_end, 1, -1) == 1 ? 0 : 1;
	});
	const int number = a;
	a.reset();

	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(ep.del(number) == -EBADF);
	CHECK(drop(1) == 0);
	CHECK(ep.wait() == Events{});
	end.w.reset();
	CHECK(child_status(child) == 0);
}

TEST_CASE_METHOD(Beyond, "drop: by a turn too, between other changes", "[beyond][drop][turn]")
{
	Fd a = event_fd(1), b = event_fd(1);

	CHECK(turn({ change(EPOLL_CTL_ADD, a, EPOLLIN, 1), change(EPOLL_CTL_ADD, b, EPOLLIN, 2),
		     change(MYEPOLL_CTL_DROP, -1, 0, 1), change(MYEPOLL_CTL_DROP, -1, 0, 1),
		     change(EPOLL_CTL_ADD, a, EPOLLIN, 3) }) ==
	      Turned{ 2, 5, 1, { 0, 0, 0, -ENOENT, 0 }, { { EPOLLIN, 2 }, { EPOLLIN, 3 } } });
}

TEST_CASE_METHOD(Beyond, "list: number, mask, token and state of each watch", "[beyond][list]")
{
	Fd idle = event_fd(), ready = event_fd(1), fired = event_fd(1), off = event_fd();
	Fd ghost = event_fd(), copy = dup_of(ghost);
	const int closed = ghost;

	REQUIRE(ep.add(fired, EPOLLIN | EPOLLONESHOT, 3) == 0);
	REQUIRE(ep.wait().size() == 1);
	REQUIRE(ep.add(idle, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(ready, EPOLLIN | EPOLLET, 2) == 0);
	REQUIRE(ep.add(off, EPOLLIN | EPOLLONESHOT, 4) == 0);
	REQUIRE(disable(off) == 0);
	REQUIRE(ep.add(ghost, EPOLLIN, 5) == 0);
	ghost.reset();

	auto all = list(ep.fd());
	REQUIRE(all.size() == 5);
	auto is = [&](unsigned i, int fd, std::uint32_t events, std::uint64_t data, unsigned state) {
		CAPTURE(i);
		CHECK(all[i].fd == fd);
		CHECK(all[i].events == events);
		CHECK(all[i].data == data);
		CHECK(all[i].state == state);
		CHECK(all[i].reserved == 0);
	};
	is(0, fired, EPOLLONESHOT, 3, MYEPOLL_WATCH_FIRED | MYEPOLL_WATCH_OPEN);
	is(1, idle, EPOLLIN | EPOLLERR | EPOLLHUP, 1, MYEPOLL_WATCH_OPEN);
	is(2, ready, EPOLLIN | EPOLLET | EPOLLERR | EPOLLHUP, 2, MYEPOLL_WATCH_READY | MYEPOLL_WATCH_OPEN);
	is(3, off, EPOLLONESHOT, 4, MYEPOLL_WATCH_DISABLED | MYEPOLL_WATCH_OPEN);
	is(4, closed, EPOLLIN | EPOLLERR | EPOLLHUP, 5, 0);

	// The number taken anew does not make the ghost a watch of what is there now.
	Fd other(must_libc(dup2(idle, closed)));
	CHECK(list(ep.fd())[4].state == 0);
}

TEST_CASE_METHOD(Beyond, "list: room, size and bad memory", "[beyond][list]")
{
	std::vector<Fd> files;
	for (unsigned i = 0; i < 50; i++) {
		files.push_back(event_fd());
		REQUIRE(ep.add(files.back(), EPOLLIN, i) == 0);
	}
	for (unsigned room : { 0u, 1u, 16u, 49u, 50u, 64u }) {
		std::vector<myepoll_watch> out(64, myepoll_watch{ 99, -9, 99, 99, 99 });
		myepoll_list arg{ reinterpret_cast<std::uintptr_t>(out.data()), room, sizeof(myepoll_watch) };
		CHECK(call(ep.fd(), MYEPOLL_IOC_LIST, &arg) == 50);
		for (unsigned i = 0; i < 64; i++)
			CHECK(out[i].data == (i < room && i < 50 ? i : 99));
	}

	struct Longer {
		myepoll_watch known;
		std::uint64_t more;
	};
	std::vector<Longer> longer(50, { {}, 7 });
	myepoll_list arg{ reinterpret_cast<std::uintptr_t>(longer.data()), 50, sizeof(Longer) };
	CHECK(call(ep.fd(), MYEPOLL_IOC_LIST, &arg) == 50);
	for (unsigned i = 0; i < 50; i++) {
		CHECK(longer[i].known.data == i);
		CHECK(longer[i].more == 0);
	}
	arg.size = sizeof(myepoll_watch) - 8;
	CHECK(call(ep.fd(), MYEPOLL_IOC_LIST, &arg) == -EINVAL);
	arg.size = 1u << 20;
	CHECK(call(ep.fd(), MYEPOLL_IOC_LIST, &arg) == -EINVAL);
	arg = { ~0ull - 100, 50, sizeof(myepoll_watch) };
	CHECK(call(ep.fd(), MYEPOLL_IOC_LIST, &arg) == -EFAULT);
	CHECK(call(ep.fd(), MYEPOLL_IOC_LIST, nullptr) == -EFAULT);
}
