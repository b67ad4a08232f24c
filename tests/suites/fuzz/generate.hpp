// SPDX-License-Identifier: GPL-2.0
// Random sequences, and variations of one that reached something new.
#pragma once

#include <cstdint>

#include "op.hpp"

// "mixed" is of the module's own two, "all" of those and adoption.
enum class Doors { ioctl, fast, mixed, adopt, all };

// splitmix64: the same numbers everywhere, whatever the library
class Random {
public:
	explicit Random(std::uint64_t seed) : state_(seed) {}
	std::uint64_t next();
	std::uint32_t below(std::uint32_t n)
	{
		return static_cast<std::uint32_t>((next() >> 32) * n >> 32);
	}
	bool one_in(std::uint32_t n) { return below(n) == 0; }

private:
	std::uint64_t state_;
};

// Sequence number n of a seed
Sequence generate(std::uint64_t seed, std::uint64_t n, Doors doors);
Sequence mutate(const Sequence &from, const Sequence &other, Random &random, Doors doors);
