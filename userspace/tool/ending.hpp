// SPDX-License-Identifier: MIT
/*
 * ending.hpp - how what runs until it is told to end hears of that
 */
#ifndef MYEPOLL_TOOL_ENDING_HPP
#define MYEPOLL_TOOL_ENDING_HPP

namespace tool {

/*
 * From now on SIGINT, SIGTERM, SIGHUP and SIGQUIT ask for the end, instead of killing, and a
 * pipe that nobody reads is an error of write(2). Programs that are executed would inherit
 * the latter, so they are started before.
 */
void end_on_signals();

/* Has one asked? */
bool end_asked() noexcept;

} // namespace tool

#endif
