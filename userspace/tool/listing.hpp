// SPDX-License-Identifier: MIT
/*
 * listing.hpp - what "myepoll ls" prints
 */
#ifndef MYEPOLL_TOOL_LISTING_HPP
#define MYEPOLL_TOOL_LISTING_HPP

#include "instances.hpp"

namespace tool {

/* For people, on stdout. @of: who was asked for */
void print_list(const std::vector<instance> &all, const unseen &hidden, std::optional<pid_t> of,
		bool colours);

/* For programs, on stdout; what could not be seen is said on stderr. */
void print_json(const std::vector<instance> &all, const unseen &hidden);

} // namespace tool

#endif
