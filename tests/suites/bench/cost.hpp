// SPDX-License-Identifier: GPL-2.0
// What a piece of code costs, in ns of CLOCK_MONOTONIC, which in the guests of guest.py
// are instructions.
#pragma once

#include <algorithm>
#include <array>

#include <time.h>

inline double now()
{
	timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return static_cast<double>(t.tv_sec) * 1e9 + static_cast<double>(t.tv_nsec);
}

inline long runs; // of what cost() was asked for

// The cost of @body, after some turns to warm up: the median of five stretches, so that
// what the kernel does beside it, once in a while, is not counted.
template <class Body> double cost(int turns, Body body)
{
	std::array<double, 5> stretches;

	turns = std::max(turns / 5, 10);
	for (int i = 0; i < 32; i++)
		body();
	for (double &stretch : stretches) {
		double start = now();

		for (int i = 0; i < turns; i++)
			body();
		stretch = (now() - start) / turns;
	}
	runs += 32 + 5L * turns;
	std::sort(stretches.begin(), stretches.end());
	return stretches[2];
}
