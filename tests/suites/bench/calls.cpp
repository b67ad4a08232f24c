// SPDX-License-Identifier: GPL-2.0
// calls libc|library - what a library adds to the system call
//
// Calls epoll's functions as a program does, by their names, and the bare system call
// in their place; prints the difference as "WAY OPERATION<tab>COST", in ns, which in the
// guest of tests/suites/bench/programs.py are instructions. "libc" expects the kernel's epoll
// behind the functions, "library" the preload library and its fast door.
#include "cost.hpp"
#include "doors.hpp"

#include <cstdio>
#include <cstring>
#include <string>
#include <thread>

#include <sys/eventfd.h>
#include <unistd.h>

namespace {

constexpr int turns = 10'000;

template <class D> void waits(const char *way, int ep, const char *where)
{
	epoll_event events[8];
	double call = cost(turns, [&] { epoll_wait(ep, events, 8, -1); });
	double bare = cost(turns, [&] { D::wait(ep, events, 8, -1); });

	std::printf("%s epoll_wait(3)%s\t%.1f\n", way, where, call - bare);
}

template <class D> void changes(const char *way, int ep, int fd)
{
	epoll_event event{};
	double call = cost(turns, [&] { epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event); });
	double bare = cost(turns, [&] { D::ctl(ep, EPOLL_CTL_MOD, fd, &event); });

	std::printf("%s epoll_ctl(3)\t%.1f\n", way, call - bare);
}

template <class D> int measure(const char *way, const std::string &expected)
{
	int ep = epoll_create1(0), fd = eventfd(1, 0);
	epoll_event event{};
	char name[64] = "";

	if (ep < 0 || fd < 0 || epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event) ||
	    readlink(("/proc/self/fd/" + std::to_string(ep)).c_str(), name, sizeof name - 1) < 0 ||
	    name != "anon_inode:" + expected) {
		std::fprintf(stderr, "calls: no %s behind epoll_create1(3), but '%s'\n",
			     expected.c_str(), name);
		return 1;
	}
	changes<D>(way, ep, fd);
	event.events = EPOLLIN;
	if (epoll_ctl(ep, EPOLL_CTL_MOD, fd, &event)) {
		std::perror("calls: MOD");
		return 1;
	}
	waits<D>(way, ep, "");
	std::thread(pause).detach();
	waits<D>(way, ep, ", with threads");
	return 0;
}

} // namespace

int main(int argc, char **argv)
{
	std::string way = argc == 2 ? argv[1] : "";

	if (way == "libc")
		return measure<Epoll>("libc", "[eventpoll]");
	if (way == "library")
		return measure<Fast>("library", "[myepoll]");
	std::fprintf(stderr, "usage: calls libc|library\n");
	return 2;
}
