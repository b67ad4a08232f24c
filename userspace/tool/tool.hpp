// SPDX-License-Identifier: MIT
/*
 * tool.hpp - what the subcommands of myepoll share: how it speaks, and how it fails
 */
#ifndef MYEPOLL_TOOL_HPP
#define MYEPOLL_TOOL_HPP

#include <fmt/core.h>

#include <stdexcept>
#include <string>
#include <utility>

namespace tool {

/* Exit statuses of the tool's own, those of env(1) and timeout(1). */
enum status : int {
	failed = 125,		/* myepoll itself, also by a wrong command line */
	cannot_execute = 126,	/* the command is there, but it cannot be executed */
	not_found = 127,
};

/* Ends the program: main() says what() and exits with the status. */
class failure : public std::runtime_error {
public:
	failure(tool::status status, const std::string &text)
		: std::runtime_error(text), status_(status)
	{
	}
	tool::status status() const noexcept { return status_; }

private:
	tool::status status_;
};

/* A line on stderr, in one write. Where nobody can hear it, that is no failure. */
void say_line(const std::string &text) noexcept;

template <typename... Args>
void say(fmt::format_string<Args...> format, Args &&...args)
{
	say_line(fmt::format(format, std::forward<Args>(args)...));
}

} // namespace tool

#endif
