// SPDX-License-Identifier: MIT
/*
 * examine.hpp - what "myepoll doctor" looks at: the tracepoints, and /proc, for a while
 */
#ifndef MYEPOLL_TOOL_EXAMINE_HPP
#define MYEPOLL_TOOL_EXAMINE_HPP

#include "diagnosis.hpp"

#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace tool {

/* Where it cannot be traced, since it is the kernel's. */
struct foreign_instance {
	pid_t pid;
	int fd;
	std::string command;
	std::size_t watches;
};

struct examination {
	std::vector<finding> findings;
	diagnosis::totals totals;
	double seconds = 0;
	std::vector<foreign_instance> foreign;
	std::size_t ours = 0;		/* instances of the module that were there */
	std::string subject;		/* "redis-server (123)", "all processes" */
	std::optional<int> status;	/* the command's */
};

/*
 * Looks at @pid and its descendants, or at all processes; or at @command and its
 * descendants, until it ends. Ends after @seconds, if they are given, and by SIGINT or SIGTERM.
 */
examination examine_loops(std::optional<pid_t> pid, char **command, std::optional<double> seconds);

} // namespace tool

#endif
