// SPDX-License-Identifier: MIT
/*
 * ending.hpp - signals: how what runs until it is told to end hears of that, and that it does
 * not die of a pipe that nobody reads
 */
#ifndef MYEPOLL_TOOL_ENDING_HPP
#define MYEPOLL_TOOL_ENDING_HPP

#include <csignal>

namespace tool {

/*
 * From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT ask for the end, instead of killing.
 */
void end_on_signals();

/* Has one asked? */
bool end_asked() noexcept;

/*
 * While it lives, a pipe that nobody reads is an error of write(2) in this thread. To ignore
 * SIGPIPE would be simpler, but programs that are executed inherit that.
 */
class no_sigpipe {
public:
	no_sigpipe() noexcept;
	no_sigpipe(const no_sigpipe &) = delete;
	no_sigpipe &operator=(const no_sigpipe &) = delete;
	~no_sigpipe();

private:
	sigset_t before_;
};

} // namespace tool

#endif
