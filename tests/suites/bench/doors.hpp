// SPDX-License-Identifier: GPL-2.0
// The ways into an event poll, as types: a measured loop is compiled once for each, with
// nothing of libc between it and the system call.
#pragma once

#include <cstdint>

#include <sys/epoll.h>

#include "uapi/myepoll.h"
#include "userspace/src/sys.h"

[[gnu::always_inline]] inline long call(long nr, long a = 0, long b = 0, long c = 0, long d = 0)
{
	return sys4(nr, a, b, c, d);
}

inline long address(const void *p)
{
	return reinterpret_cast<long>(p);
}

// All return what the system call does, -errno for an error. Timeouts in milliseconds.

struct Epoll {
	static constexpr const char *name = "epoll";

	static long create() { return call(SYS_epoll_create1); }

	[[gnu::always_inline]] static long ctl(int ep, int op, int fd, epoll_event *event)
	{
		return call(SYS_epoll_ctl, ep, op, fd, address(event));
	}

	[[gnu::always_inline]] static long wait(int ep, epoll_event *events, int max, int ms)
	{
		return call(SYS_epoll_wait, ep, address(events), max, ms);
	}
};

// The same with adoption on, in a process without the mark
struct Unmarked : Epoll {
	static constexpr const char *name = "unmarked";
};

// The same in a process that has it
struct Adopt : Epoll {
	static constexpr const char *name = "adopt";
};

// Of /dev/myepoll
extern int device;

struct Module {
	static long create()
	{
		myepoll_create arg{};

		return call(SYS_ioctl, device, MYEPOLL_IOC_CREATE, address(&arg));
	}
};

struct Fast : Module {
	static constexpr const char *name = "fast";

	[[gnu::always_inline]] static long ctl(int ep, int op, int fd, epoll_event *event)
	{
		return call(SYS_fadvise64, ep, address(event),
			    static_cast<long>(MYEPOLL_FAST_ARGS(fd, op)), MYEPOLL_FAST_CTL);
	}

	[[gnu::always_inline]] static long wait(int ep, epoll_event *events, int max, int ms)
	{
		return call(SYS_fadvise64, ep, address(events),
			    static_cast<long>(MYEPOLL_FAST_ARGS(max, ms)), MYEPOLL_FAST_WAIT);
	}
};

struct Ioctl : Module {
	static constexpr const char *name = "ioctl";

	[[gnu::always_inline]] static long ctl(int ep, int op, int fd, epoll_event *event)
	{
		myepoll_ctl arg{};

		arg.op = op;
		arg.fd = fd;
		if (event) {
			arg.events = event->events;
			arg.data = event->data.u64;
		}
		return call(SYS_ioctl, ep, MYEPOLL_IOC_CTL, address(&arg));
	}

	[[gnu::always_inline]] static long wait(int ep, epoll_event *events, int max, int ms)
	{
		myepoll_wait arg{};

		arg.events = static_cast<std::uint64_t>(address(events));
		arg.maxevents = max;
		arg.timeout = ms < 0 ? -1 : ms * INT64_C(1000000);
		return call(SYS_ioctl, ep, MYEPOLL_IOC_WAIT, address(&arg));
	}
};
