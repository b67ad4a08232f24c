// SPDX-License-Identifier: MIT
/*
 * output.hpp - where a subcommand's text goes
 */
#ifndef MYEPOLL_TOOL_OUTPUT_HPP
#define MYEPOLL_TOOL_OUTPUT_HPP

#include <fmt/format.h>

#include <iterator>
#include <string>
#include <utility>

#include <unistd.h>

namespace tool {

/*
 * Collects text, and writes it into a file or to a descriptor. A reader who is gone is no
 * failure, and no SIGPIPE. All else that goes wrong throws a failure.
 */
class output {
public:
	/* @path: a file that is made, or emptied; or "" for @fd */
	explicit output(const std::string &path = "", int fd = STDOUT_FILENO);
	output(const output &) = delete;
	output &operator=(const output &) = delete;
	~output();

	/* What flush() will write */
	std::string &text() noexcept { return text_; }
	void flush();

	template <typename... Args>
	void print(fmt::format_string<Args...> format, Args &&...args)
	{
		fmt::format_to(std::back_inserter(text_), format, std::forward<Args>(args)...);
	}

	int fd() const noexcept { return fd_; }

	/* Nobody reads it any more, or the end has been asked for while somebody was slow to. */
	bool closed() const noexcept { return closed_; }
	void close_early() noexcept { closed_ = true; }

private:
	std::string path_, text_;
	int fd_;
	bool closed_ = false;
};

} // namespace tool

#endif
