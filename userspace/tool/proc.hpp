// SPDX-License-Identifier: MIT
/*
 * proc.hpp - a process, as /proc shows it, and text of others made fit to print
 *
 * Processes and descriptors come and go while one looks. What is not there any more reads
 * as nothing.
 */
#ifndef MYEPOLL_TOOL_PROC_HPP
#define MYEPOLL_TOOL_PROC_HPP

#include <cstddef>
#include <functional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <sys/types.h>

namespace tool {

/* A descriptor of our own, closed at the end. */
class descriptor {
public:
	descriptor() = default;
	explicit descriptor(int fd) noexcept : fd_(fd) {}
	descriptor(descriptor &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
	descriptor &operator=(descriptor &&other) noexcept;
	~descriptor();

	int get() const noexcept { return fd_; }
	explicit operator bool() const noexcept { return fd_ >= 0; }

private:
	int fd_ = -1;
};

/*
 * Holds the directory /proc/PID. Where the process ends, a new one that gets its number is
 * not taken for it.
 */
class process {
public:
	explicit process(pid_t pid);

	pid_t pid() const noexcept { return pid_; }
	bool there() const;		/* it has not ended, as far as can be seen */
	std::string command() const;	/* its name, fit to print */

	/* The numbers of its descriptors, sorted. @error: an errno, or 0 */
	std::vector<int> descriptors(int &error) const;

	/* Where a link leads to, such as "ns/net" or "fd/5"; or "" */
	std::string link(const std::string &name) const;

	/* A file below /proc/PID. */
	descriptor open(const std::string &name, int flags) const;

	/* Calls @take for each line, until it returns false. Returns 0 or an errno. */
	int lines(const std::string &name, const std::function<bool(std::string_view)> &take) const;

private:
	pid_t pid_;
	descriptor dir_;
};

/* The numbers of all processes, sorted. */
std::vector<pid_t> all_processes();

/*
 * With control characters, and what is no UTF-8, written as \n or \x1b: a name may hold what
 * a terminal would obey.
 */
std::string printable(std::string_view text);

} // namespace tool

#endif
