// SPDX-License-Identifier: MIT
/*
 * users.hpp - which processes use an instance, and by which descriptor
 *
 * By the calls that they are seen to make, and by /proc for what was there before.
 */
#ifndef MYEPOLL_TOOL_USERS_HPP
#define MYEPOLL_TOOL_USERS_HPP

#include "events.hpp"

#include <cstdint>
#include <deque>
#include <unordered_map>
#include <vector>

#include <sys/types.h>

namespace tool {

class users {
public:
	struct user {
		pid_t pid;
		int fd;		/* -1: not known */
	};

	/* Looks at what a process has now. */
	void look(pid_t pid);

	/* All processes */
	void look_at_all();

	/* A call, or the end of an instance */
	void note(const event &e);

	/* Of an instance that an event was seen of, the user that called last; or NULL. */
	const user *last(std::uint32_t instance) const;

	/* The instances that a process is known to use */
	std::vector<std::uint32_t> of(pid_t pid) const;

	bool uses(pid_t pid, std::uint32_t instance) const;

private:
	void set(std::uint32_t instance, pid_t pid, int fd);

	std::unordered_map<std::uint32_t, std::vector<user>> of_;	/* the last one at the end */
	std::deque<std::uint32_t> gone_;				/* forgotten a while later */
};

} // namespace tool

#endif
