// SPDX-License-Identifier: GPL-2.0
// System calls as the twins make them.
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>

#include <fcntl.h>
#include <unistd.h>

#include "op.hpp"

// Descriptors of a twin's own have this number and higher ones.
constexpr int high = slot_base + slots + 10;

template <typename... Args> long sys(long number, Args... args)
{
	long r = syscall(number, args...);
	return r < 0 ? -errno : r;
}

inline int must(long r, const char *what)
{
	if (r < 0) {
		std::fprintf(stderr, "fuzz: %s: %s\n", what,
			     errno_text(static_cast<int>(r < -1 ? r : -errno)).c_str());
		_exit(3);
	}
	return static_cast<int>(r);
}

inline int raised(int fd)
{
	int to = must(fcntl(fd, F_DUPFD_CLOEXEC, high), "dup");
	close(fd);
	return to;
}

inline std::uint64_t address(const void *p)
{
	return reinterpret_cast<std::uintptr_t>(p);
}
