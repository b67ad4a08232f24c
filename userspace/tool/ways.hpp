// SPDX-License-Identifier: MIT
/*
 * ways.hpp - the ways in which a program that nobody recompiles gets onto myepoll
 *
 * Whether a way works here is found out by going it.
 */
#ifndef MYEPOLL_TOOL_WAYS_HPP
#define MYEPOLL_TOOL_WAYS_HPP

#include <string>

namespace tool {

enum class way { adoption, preload };

/*
 * Gives this process the mark of adoption, which a program that it executes keeps.
 * Returns "", or why the module does not adopt it: the process is then as it was.
 */
std::string take_mark();

/* With the mark taken: are 32-bit programs of this machine adopted, too? */
bool adopts_32bit();

/* The absolute path of the preload library, or "". */
std::string find_library();

/* Returns "", or why a program with @library would not be served. */
std::string try_preload(const std::string &library);

/* What LD_PRELOAD has to be, where it was @before (may be NULL), to have @library too. */
std::string with_library(const char *before, const std::string &library);

} // namespace tool

#endif
