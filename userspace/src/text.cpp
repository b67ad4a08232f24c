// SPDX-License-Identifier: MIT
/*
 * libmyepoll++ - sets of bits and operations by their names, for logs
 */
#include <myepoll/change.hpp>
#include <myepoll/event.hpp>

#include <charconv>
#include <cstddef>
#include <cstdint>

namespace myepoll {

namespace {

template <bit_set Set>
struct named {
	Set bit;
	const char *name;
};

template <bit_set Set, std::size_t N>
std::string text_of(Set set, const named<Set> (&names)[N])
{
	std::string text;

	for (const auto &[bit, name] : names) {
		if (!any(set, bit))
			continue;
		text.append(text.empty() ? "" : "|").append(name);
		set &= ~bit;
	}
	if (any(set)) { /* of a kernel or module that is newer */
		char digits[16];
		const auto end = std::to_chars(digits, digits + sizeof(digits),
					       static_cast<std::uint64_t>(set), 16).ptr;

		text.append(text.empty() ? "0x" : "|0x").append(digits, end);
	}
	return text.empty() ? "none" : text;
}

} // namespace

std::string to_string(interest set)
{
	static constexpr named<interest> names[] = {
		{ interest::in, "in" },		{ interest::pri, "pri" },
		{ interest::out, "out" },	{ interest::rdnorm, "rdnorm" },
		{ interest::rdband, "rdband" }, { interest::wrnorm, "wrnorm" },
		{ interest::wrband, "wrband" }, { interest::msg, "msg" },
		{ interest::rdhup, "rdhup" },	{ interest::exclusive, "exclusive" },
		{ interest::wakeup, "wakeup" }, { interest::oneshot, "oneshot" },
		{ interest::edge, "edge" },
	};

	return text_of(set, names);
}

std::string to_string(readiness set)
{
	static constexpr named<readiness> names[] = {
		{ readiness::in, "in" },	 { readiness::pri, "pri" },
		{ readiness::out, "out" },	 { readiness::err, "err" },
		{ readiness::hup, "hup" },	 { readiness::rdnorm, "rdnorm" },
		{ readiness::rdband, "rdband" }, { readiness::wrnorm, "wrnorm" },
		{ readiness::wrband, "wrband" }, { readiness::msg, "msg" },
		{ readiness::rdhup, "rdhup" },
	};

	return text_of(set, names);
}

std::string to_string(feature set)
{
	static constexpr named<feature> names[] = {
		{ feature::fast_door, "fast_door" },
		{ feature::turn, "turn" },
		{ feature::ops, "ops" },
		{ feature::options, "options" },
		{ feature::trace, "trace" },
	};

	return text_of(set, names);
}

std::string to_string(operation op)
{
	switch (op) {
	case operation::none:
		return "none";
	case operation::add:
		return "add";
	case operation::modify:
		return "modify";
	case operation::remove:
		return "remove";
	case operation::set:
		return "set";
	case operation::disable:
		return "disable";
	case operation::drop:
		return "drop";
	}
	return std::to_string(static_cast<std::int32_t>(op));
}

} // namespace myepoll
