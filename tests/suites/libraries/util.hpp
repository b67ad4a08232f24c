// SPDX-License-Identifier: GPL-2.0
// What the tests of the libraries share: descriptors, children, programs.
#pragma once

#include <cerrno>
#include <functional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <sys/types.h>

#include "support/fd.hpp"

// A call's result and its errno (0 where it succeeded)
struct Result {
	long value;
	int error;
	bool operator==(const Result &) const = default;
};
std::ostream &operator<<(std::ostream &, const Result &);

template <typename Call>
Result result_of(Call call)
{
	errno = 0;
	const long r = call();

	return { r, r < 0 ? errno : 0 };
}

inline Result failed(int error)
{
	return { -1, error };
}

inline Result success(long value = 0)
{
	return { value, 0 };
}

// What a call throws, or no error
template <typename Call>
std::error_code thrown(Call call)
{
	try {
		call();
	} catch (const std::system_error &e) {
		return e.code();
	}
	return {};
}

Fd eventfd_with(unsigned count);
std::pair<Fd, Fd> pipe_ends();
Fd native_epoll(); // by the kernel's own call, whatever stands before it
std::string link_of(int fd);	   // /proc/self/fd/FD
std::vector<std::string> open_files(); // all of them

// Fork, run, and give the exit status, or 128 + the signal.
int in_child(const std::function<int()> &body);

struct Ran {
	int status; // as above
	std::string out, err;
};

// Run a program to its end. Environment entries are added to ours; every
// MYEPOLL_* of ours is left out. Descriptors that are not close-on-exec stay.
// @before runs in the child, before exec.
Ran run(const std::vector<std::string> &argv, const std::vector<std::string> &environment = {},
	const std::function<void()> &before = {});

std::string directory(); // where this program is: build/tests

// This program again, as a process in which nothing was created yet: runs
// CHILD(name)'s body instead of any test.
Ran again(const std::string &child, const std::vector<std::string> &arguments = {},
	  const std::vector<std::string> &environment = {},
	  const std::function<void()> &before = {});

using Child = int (*)(const std::vector<std::string> &arguments);
struct AddChild {
	AddChild(const char *name, Child child);
};
#define CHILD(name)                                                           \
	static int child_##name(const std::vector<std::string> &);            \
	static const AddChild add_child_##name(#name, child_##name);          \
	static int child_##name([[maybe_unused]] const std::vector<std::string> &arguments)

// In children, where there is no Catch: print and exit 1
#define EXPECT(condition)                                                     \
	do {                                                                  \
		if (!(condition)) {                                           \
			dprintf(2, "%s:%d: %s (errno %d)\n", __FILE__,        \
				__LINE__, #condition, errno);                 \
			_exit(1);                                             \
		}                                                             \
	} while (0)

// A seccomp filter that answers one system call with an errno
void forbid(int nr, int error);
// One that plays a driver which answers this ioctl on this descriptor with an errno
void forbid_ioctl(int fd, unsigned long cmd, int error);
// One by which the module has no TURN, LIST, options or operations of its own, as before
// there were any, but for operations in the argument of an ioctl
void older_module();
// One that answers this ioctl with an errno, whatever the descriptor
void forbid_ioctl_everywhere(unsigned long cmd, int error);
