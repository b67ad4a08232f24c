// SPDX-License-Identifier: GPL-2.0
// The two processes that execute batches of sequences at the same time, one on
// the kernel's epoll and one on myepoll.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include <sys/types.h>

#include "execute.hpp"
#include "op.hpp"
#include "record.hpp"

struct Shared;
struct Side;

// Both outcomes of a sequence
struct Twice {
	Outcome native, mine;
	std::uint32_t fresh; // places and steps of the module's code that it was the first to reach
};

class Twins {
public:
	static constexpr std::uint32_t most_sequences = 128, most_ops = most_sequences * 512;

	// self: both on the kernel's epoll, to see what does not depend on myepoll
	explicit Twins(bool self);
	~Twins();
	Twins(const Twins &) = delete;

	// Calls done(i, Twice) in order. Memory bounds the size of a batch.
	template <typename Done> void run(const std::vector<Sequence> &batch, Done done)
	{
		execute(batch);
		for (std::uint32_t i = 0; i < batch.size(); i++) {
			Twice twice{};
			if (!quick(i, twice))
				outcomes(i, twice);
			done(i, twice);
		}
	}
	// What earlier sequences left behind ends with the processes.
	void renew();
	// Each of the two `times` times
	std::vector<Twice> repeat(const Sequence &sequence, unsigned times);

	bool has_coverage() const { return coverage_; }
	// What was reached so far
	std::uint32_t places() const, steps() const;

private:
	const bool self_;
	Hostile hostile_;
	Shared *shared_;
	pid_t pid_[2] = { -1, -1 };
	bool coverage_ = false;
	std::vector<std::uint8_t> end_[2]; // Outcome::End of each sequence

	Side &side(unsigned which) const;
	void spawn(unsigned which);
	void worker(unsigned which);
	void retire(unsigned which);
	void execute(const std::vector<Sequence> &batch);
	void hand_out(const std::vector<Sequence> &batch);
	void wait_for(unsigned which);
	bool quick(std::uint32_t i, Twice &twice) const;
	void outcomes(std::uint32_t i, Twice &twice) const;
};
