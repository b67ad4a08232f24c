// SPDX-License-Identifier: GPL-2.0
#include "calls.hpp"

#include <ostream>

#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int call(int fd, unsigned long number, const void *argument)
{
	int r = ioctl(fd, number, argument);
	return r < 0 ? -errno : r;
}

int turn_raw(int epfd, void *turn, std::size_t size)
{
	if (be().door() != Door::fast)
		return call(epfd, sized(MYEPOLL_IOC_TURN, size), turn);
	long r = syscall(SYS_fadvise64, epfd, turn, size, MYEPOLL_FAST_TURN);
	return r < 0 ? -errno : static_cast<int>(r);
}

std::ostream &operator<<(std::ostream &out, const Turned &t)
{
	out << t.result << " (" << t.done << " done, " << t.failed << " failed:";
	for (int result : t.results)
		out << ' ' << result;
	out << ";";
	for (const Event &event : t.events)
		out << ' ' << event;
	return out << ")";
}

Turned turn(int epfd, Changes changes, TurnArguments arguments)
{
	std::vector<epoll_event> events(arguments.room > 0 ? arguments.room : 0);
	myepoll_turn t{
		.changes = reinterpret_cast<std::uintptr_t>(changes.data()),
		.events = reinterpret_cast<std::uintptr_t>(events.data()),
		.timeout = arguments.timeout_ns,
		.sigmask = arguments.mask,
		.nchanges = static_cast<unsigned>(changes.size()),
		.maxevents = arguments.room,
		.flags = arguments.flags,
		.reserved = 0,
		.done = 777,
		.failed = 777,
	};
	Turned turned{ turn_raw(epfd, &t), t.done, t.failed, {}, {} };

	for (unsigned i = 0; i < changes.size() && i < t.done; i++)
		turned.results.push_back(changes[i].result);
	for (int i = 0; i < turned.result; i++)
		turned.events.push_back({ events[i].events, events[i].data.u64 });
	return turned;
}

std::vector<myepoll_watch> list(int epfd, unsigned room)
{
	std::vector<myepoll_watch> watches(room);
	myepoll_list arg{ reinterpret_cast<std::uintptr_t>(watches.data()), room, sizeof(myepoll_watch) };
	unsigned n = must(call(epfd, MYEPOLL_IOC_LIST, &arg), "list");

	watches.resize(std::min(n, room));
	return watches;
}

int set_options(int epfd, unsigned flags, unsigned min_wait)
{
	myepoll_options arg{ flags, min_wait, {} };
	return call(epfd, MYEPOLL_IOC_SET_OPTIONS, &arg);
}
