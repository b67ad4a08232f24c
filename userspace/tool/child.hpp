// SPDX-License-Identifier: MIT
/*
 * child.hpp - a COMMAND that is looked at while it runs
 */
#ifndef MYEPOLL_TOOL_CHILD_HPP
#define MYEPOLL_TOOL_CHILD_HPP

#include <sys/types.h>

namespace tool {

/*
 * A child process that executes a command as "myepoll run" does. It is there at once, and
 * waits for go(). Ctrl-C reaches both; the parent survives it, to report.
 */
class child {
public:
	/* @command: with a NULL behind it. Throws a failure without a process. */
	explicit child(char **command);
	child(const child &) = delete;
	child &operator=(const child &) = delete;
	~child();	/* ends it by SIGTERM, if it has not ended */

	pid_t pid() const noexcept { return pid_; }

	void go();

	/* Readable once it has ended; for poll(2). */
	int pidfd() const noexcept { return pidfd_; }

	/* Waits for its end. Its exit status, or 128 and the signal's number, as a shell's $? */
	int wait();

private:
	pid_t pid_;
	int pidfd_ = -1;
	int gate_ = -1;
	int status_ = -1;
};

} // namespace tool

#endif
