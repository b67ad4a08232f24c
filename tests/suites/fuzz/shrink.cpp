// SPDX-License-Identifier: GPL-2.0
#include "shrink.hpp"

#include <algorithm>

namespace {

constexpr unsigned glances = 3; // runs for a candidate
constexpr unsigned most_tries = 3000;

class Shrinker {
public:
	explicit Shrinker(Twins &twins) : twins_(twins) {}

	// Delta debugging: chunks of half the sequence, of a quarter, ... of one
	bool drop(Sequence &sequence)
	{
		bool any = false;
		for (std::size_t chunk = std::max<std::size_t>(sequence.size() / 2, 1); chunk; chunk /= 2)
			// From the end: what comes after the difference goes first.
			for (std::size_t end = sequence.size(); end > 0;) {
				std::size_t from = end > chunk ? end - chunk : 0;
				Sequence candidate(sequence.begin(),
						   sequence.begin() + static_cast<long>(from));
				candidate.insert(candidate.end(),
						 sequence.begin() + static_cast<long>(end),
						 sequence.end());
				if (differs(candidate)) {
					sequence = std::move(candidate);
					any = true;
				}
				end = std::min(from, sequence.size());
			}
		return any;
	}

	bool simplify(Sequence &sequence)
	{
		bool any = false;
		for (std::size_t i = 0; i < sequence.size(); i++)
			for (bool again = true; again;) {
				again = false;
				for (const Op &op : simpler(sequence[i])) {
					Sequence candidate = sequence;
					candidate[i] = op;
					if (differs(candidate)) {
						sequence = std::move(candidate);
						any = again = true;
						break;
					}
				}
			}
		return any;
	}

private:
	Twins &twins_;
	unsigned tries_ = 0;

	bool differs(const Sequence &candidate)
	{
		if (candidate.empty() || tries_++ >= most_tries)
			return false;
		return judge(twins_, candidate, glances) == Verdict::differs;
	}
};

} // namespace

Verdict judge(Twins &twins, const Sequence &sequence, unsigned times,
	      std::optional<Difference> *difference)
{
	std::vector<Twice> runs = twins.repeat(sequence, times);
	bool wavers = false, same = false;

	for (const Twice &one : runs) {
		wavers |= compare(sequence, runs[0].native, one.native).has_value();
		for (const Twice &other : runs)
			same = same || !compare(sequence, one.native, other.mine);
	}
	if (difference)
		*difference = compare(sequence, runs[0].native, runs[0].mine);
	return wavers ? (same ? Verdict::wavers : Verdict::differs)
	       : same ? Verdict::same
		      : Verdict::differs;
}

Sequence shrink(Twins &twins, Sequence sequence)
{
	Shrinker shrinker(twins);

	for (int round = 0; round < 3; round++) {
		bool shorter = shrinker.drop(sequence);
		bool simpler = shrinker.simplify(sequence);
		if (!shorter && !simpler)
			break;
	}
	return sequence;
}
