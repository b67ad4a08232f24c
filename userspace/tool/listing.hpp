// SPDX-License-Identifier: MIT
/*
 * listing.hpp - what "myepoll ls" prints
 */
#ifndef MYEPOLL_TOOL_LISTING_HPP
#define MYEPOLL_TOOL_LISTING_HPP

#include "instances.hpp"
#include "output.hpp"

namespace tool {

/* For people. @of: who was asked for */
void print_list(output &out, const std::vector<instance> &all, const unseen &hidden, std::optional<pid_t> of,
		bool colours);

/* For programs; what could not be seen is said on stderr. */
void print_json(output &out, const std::vector<instance> &all, const unseen &hidden);

} // namespace tool

#endif
