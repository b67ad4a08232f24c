// SPDX-License-Identifier: GPL-2.0
// Catch2 under one name: the single header of 2.x, or 3.x where that is installed.
#pragma once

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif
