// SPDX-License-Identifier: MIT
/*
 * ways.hpp - the ways in which a program that nobody recompiles gets onto myepoll
 *
 * Whether a way works here is found out by going it.
 */
#ifndef MYEPOLL_TOOL_WAYS_HPP
#define MYEPOLL_TOOL_WAYS_HPP

#include <string>
#include <string_view>

namespace tool {

enum class way { adoption, preload };

/* Options of the instances that a program makes, as in struct myepoll_options */
struct instance_options {
	bool fair = false;
	bool balance = false;
	unsigned min_wait = 0; /* microseconds */

	bool any() const noexcept { return fair || balance || min_wait; }
};

/* A time such as "200us" in microseconds, or -1 */
int parse_min_wait(std::string_view text);

/*
 * Gives this process the mark of adoption, which a program that it executes keeps, with
 * @options. Returns "", or why the module does not adopt it like that: the process is then as it
 * was.
 */
std::string take_mark(const instance_options &options);

/* With the mark taken: are 32-bit programs of this machine adopted, too? */
bool adopts_32bit();

/* The absolute path of the preload library, or "". */
std::string find_library();

/* Returns "", or why a program with @library would not be served, with @options. */
std::string try_preload(const std::string &library, const instance_options &options);

/* What LD_PRELOAD has to be, where it was @before (may be NULL), to have @library too. */
std::string with_library(const char *before, const std::string &library);

} // namespace tool

#endif
