// SPDX-License-Identifier: GPL-2.0
// Which places of the module's code this process reaches, by KCOV, and by which steps
// from one to the next
#pragma once

#include <cstdint>
#include <vector>

class Coverage {
public:
	// Is there KCOV, and is the module compiled for it?
	static bool available();

	void enable();	   // in the process to be watched
	void start();
	std::uint32_t stop(); // how many places and steps are new
	std::uint32_t places() const { return places_; }
	std::uint32_t steps() const { return steps_; }

private:
	std::uint64_t *area_ = nullptr;
	std::uint64_t from_ = 0, to_ = 0;
	std::vector<bool> seen_, stepped_;
	std::uint32_t places_ = 0, steps_ = 0;
};
