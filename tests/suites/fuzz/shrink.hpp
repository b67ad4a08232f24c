// SPDX-License-Identifier: GPL-2.0
// Is a difference real, and what is the shortest sequence that shows it?
#pragma once

#include <optional>

#include "compare.hpp"
#include "twins.hpp"

enum class Verdict {
	same,	// some run of one twin is a run of the other
	wavers, // likewise, but not all runs of the kernel's epoll are the same
	differs
};

// The difference is between the first runs.
Verdict judge(Twins &twins, const Sequence &sequence, unsigned times,
	      std::optional<Difference> *difference = nullptr);

// Fewer operations, then simpler ones
Sequence shrink(Twins &twins, Sequence sequence);
