// SPDX-License-Identifier: MIT
/*
 * instances.hpp - the epoll instances of other processes, by /proc
 *
 * Those of the module, and the kernel's own. What needs more rights than this process has is
 * left out, and says so: an optional without a value is "not known".
 */
#ifndef MYEPOLL_TOOL_INSTANCES_HPP
#define MYEPOLL_TOOL_INSTANCES_HPP

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/types.h>

namespace tool {

struct watch {
	int fd;
	std::uint32_t events;	/* the mask */
	std::uint64_t data;
	std::string what;	/* describe() of its descriptor; of a ghost, what can be known */
	bool ghost = false;	/* the number is closed, or means another file by now */
	pid_t pid = 0;		/* in whose table the number means it; of a ghost, 0 */
	std::optional<bool> ready, fired, disabled; /* on the kernel's epoll not known */
};

/* Another descriptor of an instance: by dup(2), or inherited by fork(2) */
struct holder {
	pid_t pid;
	int fd;
};

struct instance {
	pid_t pid;
	int fd;			/* the lowest of its descriptors in that process */
	std::string command;	/* of the process */
	bool ours;		/* the module's; else the kernel's */
	std::optional<std::uint32_t> number; /* by which tracepoints call it; of the module's */
	std::optional<bool> adopted;
	std::string options;	/* "fair balance min_wait:200", or "" */
	std::vector<watch> watches;
	std::vector<holder> also; /* in the order of process and descriptor */
};

/* What find_instances() could not see. */
struct unseen {
	unsigned processes = 0;	/* whose descriptors it may not list */
	unsigned instances = 0;	/* of the module's, whose state it may not ask for */
};

/*
 * All of the system, or of one process; in the order of process and descriptor. An instance
 * is named once, however many descriptors it has. A watch is no ghost if its number means its
 * file in any process that has the instance. Throws a failure if there is no such process.
 */
std::vector<instance> find_instances(std::optional<pid_t> of = {}, unseen *hidden = nullptr);

/*
 * What a descriptor of a process is, for people; fit to print, whatever its name holds: "/var/log/x", "tcp 10.0.0.1:80 listening",
 * "tcp 127.0.0.1:6379 <- 127.0.0.1:41234 established", "unix /run/x.sock", "pipe, reading end",
 * "eventfd, count 3", "timerfd, every 50 ms", "signalfd TERM INT", "[myepoll]", ... "closed" if
 * it is not open.
 */
std::string describe(pid_t pid, int fd);

/* The number of an instance, by which tracepoints call it, or none. */
std::optional<std::uint32_t> number_of(pid_t pid, int fd);

/* A mask in words, as the kernel's documentation has them: "IN|RDHUP|ET". */
std::string mask_text(std::uint32_t events);

} // namespace tool

#endif
