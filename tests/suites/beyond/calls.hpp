// SPDX-License-Identifier: GPL-2.0
// "Beyond epoll" of uapi/myepoll.h, by either door.
#pragma once

#include <cerrno>
#include <cstdint>
#include <vector>

#include "uapi/myepoll.h"
#include "support.hpp"

// An ioctl; the result or -errno
int call(int fd, unsigned long number, const void *argument);

// The number of `number`'s call with an argument of another size
constexpr unsigned long sized(unsigned long number, std::size_t size)
{
	return (number & ~(static_cast<unsigned long>(_IOC_SIZEMASK) << _IOC_SIZESHIFT)) |
	       size << _IOC_SIZESHIFT;
}

// A turn by the door of this run: its argument, of any size
int turn_raw(int epfd, void *turn, std::size_t size = sizeof(myepoll_turn));

using Changes = std::vector<myepoll_change>;

inline myepoll_change change(int op, int fd, std::uint32_t events = 0, std::uint64_t data = 0)
{
	return { op, fd, events, 12345, data };
}

// What a turn gave
struct Turned {
	int result;
	unsigned done, failed;
	std::vector<int> results; // of the first `done` changes
	Events events;
	bool operator==(const Turned &) const = default;
};
std::ostream &operator<<(std::ostream &, const Turned &);

struct TurnArguments {
	std::int64_t timeout_ns = 0;
	int room = 8;
	unsigned flags = 0;
	std::uint64_t mask = 0;
};

Turned turn(int epfd, Changes changes, TurnArguments arguments = {});

std::vector<myepoll_watch> list(int epfd, unsigned room = 64);

int set_options(int epfd, unsigned flags, unsigned min_wait = 0);

struct Beyond : Case {
	int set(int fd, std::uint32_t events, std::uint64_t data = 0)
	{
		return ep.ctl(MYEPOLL_CTL_SET, fd, events, data);
	}
	int disable(int fd) { return ep.ctl(MYEPOLL_CTL_DISABLE, fd, 0); }
	int drop(std::uint64_t data) { return ep.ctl(MYEPOLL_CTL_DROP, -1, 0, data); }
	Turned turn(Changes changes, TurnArguments arguments = {})
	{
		return ::turn(ep.fd(), std::move(changes), arguments);
	}
};
