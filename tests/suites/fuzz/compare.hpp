// SPDX-License-Identifier: GPL-2.0
// When two outcomes of a sequence are the same, and what may differ.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>

#include "op.hpp"
#include "record.hpp"

// Why a difference is none; allowed.md has the reasons at length.
struct Rule {
	const char *name;
	bool (*allows)(const Op &op, const Record &native, const Record &mine);
};
constexpr unsigned max_rules = 8;
unsigned rule_count();
const Rule &rule(unsigned n);

struct Tally {
	std::array<std::uint64_t, max_rules> by_rule{};
	std::uint64_t sum() const;
};

struct Difference {
	std::uint32_t op;
	std::string native, mine;
};

// Nothing if they are the same but for what the rules allow, which is counted.
std::optional<Difference> compare(const Sequence &sequence, const Outcome &native, const Outcome &mine,
				  Tally *tally = nullptr);
