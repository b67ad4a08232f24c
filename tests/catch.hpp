// SPDX-License-Identifier: GPL-2.0
// Catch2 under one name: the single header of 2.x, or 3.x where that is installed.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

#include <string>

// What a case needs may be missing here, or the kernel's own epoll may still have the
// mistake that it is about. Unless @possible, the reason is printed, the case counts
// as skipped, and this is true: return then.
bool skip_unless(bool possible, const std::string &why);
