// SPDX-License-Identifier: MIT
/*
 * describe.hpp - what a descriptor of another process is
 *
 * By its link in /proc/PID/fd, by fdinfo, and for sockets by the tables of its network
 * namespace. No file of others is opened.
 */
#ifndef MYEPOLL_TOOL_DESCRIBE_HPP
#define MYEPOLL_TOOL_DESCRIBE_HPP

#include "proc.hpp"

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include <sys/types.h>

namespace tool {

/* How an epoll's fdinfo names a file; files of anonymous inodes share one. */
struct inode {
	std::uint64_t number = 0;
	std::uint64_t device = 0;	/* in the kernel's form, as "sdev" has it */
};

enum class kind { socket, pipe, anonymous, other };

struct target {
	tool::kind kind;
	tool::inode inode;
	std::string what;	/* for people */
	bool instance;		/* "[myepoll]" or "[eventpoll]" */
};

class socket_tables;

/* Reads the tables of a network namespace once, so it is to be thrown away soon. */
class describer {
public:
	describer();
	~describer();

	/* None if it is not open. */
	std::optional<target> look(const process &of, int fd);

	/* A file that has no descriptor that we know: its kind, and what it is if that can be told */
	std::string without_descriptor(const process &of, const inode &which);

	/* May both be the same file? */
	bool may_be(const target &now, const inode &then) const;

private:
	std::string socket(const process &of, std::uint64_t number, int fd);
	socket_tables &tables_of(const process &of);

	std::uint64_t sockets_ = 0, pipes_ = 0, anonymous_ = 0; /* devices */
	std::map<std::string, std::unique_ptr<socket_tables>> tables_; /* by namespace */
};

} // namespace tool

#endif
