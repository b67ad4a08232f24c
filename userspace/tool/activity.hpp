// SPDX-License-Identifier: MIT
/*
 * activity.hpp - what instances do, counted from their events
 *
 * Reads nothing and writes nothing by itself. What is gone is forgotten, so the memory that
 * it takes depends on how many watches there are, and not on how many there have been.
 */
#ifndef MYEPOLL_TOOL_ACTIVITY_HPP
#define MYEPOLL_TOOL_ACTIVITY_HPP

#include "events.hpp"

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <unordered_map>

namespace tool {

/* Times in nanoseconds, to 3 % */
class histogram {
public:
	void add(std::uint64_t ns);
	void add(const histogram &other);
	void clear() noexcept;
	std::uint64_t count() const noexcept { return count_; }

	/* What so many percent of them do not exceed; 0 if there are none. */
	std::uint64_t percentile(double percent) const;

private:
	/* 16 steps for each power of two */
	static constexpr unsigned step_bits = 4;
	using steps = std::array<std::uint32_t, (64 - step_bits + 1) << step_bits>;

	static std::size_t step_of(std::uint64_t ns) noexcept;
	static std::uint64_t middle_of(std::size_t step) noexcept;

	std::unique_ptr<steps> steps_;	/* of the first time on */
	std::uint64_t count_ = 0;
};

/* Of an interval */
struct counts {
	std::uint64_t waits = 0;	/* that have returned */
	std::uint64_t empty = 0;	/* of those, without an event */
	std::uint64_t events = 0;	/* that waits have returned */
	std::uint64_t wakeups = 0;	/* by events that the mask asks for */
	std::uint64_t in_vain = 0;	/* a watch was woken since it was last asked, and not ready */
	std::uint64_t changes = 0;	/* those that failed, too */
	histogram latency;		/* from the first wakeup since it was last asked to delivery */

	counts &operator+=(const counts &other);
};

class activity {
public:
	/* What an event means, by those before it */
	struct meaning {
		std::optional<std::uint64_t> since_wakeup;	/* a deliver's, in ns */
		bool in_vain = false;				/* a not_ready's */
	};

	struct instance {
		pid_t user = 0;		/* the process that called last */
		bool shared = false;	/* by more than one */
		bool gone = false;
		std::uint64_t last = 0;	/* the time of its last event */
		counts now;

	private:
		friend activity;
		struct watch {
			std::uint64_t woken = 0;	/* since it was last asked; else 0 */
			std::uint64_t era = 0;
		};
		std::unordered_map<int, watch> watches;
	};

	meaning add(const event &e);

	/* Events are missing: no longer is it known which watches are woken. */
	void lost() noexcept { era_++; }

	/* All counts begin again at 0. Instances that are gone are dropped. */
	void begin_interval();

	/* Drops what has had no event since then: where events were lost, its end may be. */
	void forget(std::uint64_t before);

	const std::map<std::uint32_t, instance> &instances() const noexcept { return instances_; }

	/* How many watches have a state */
	std::size_t watches() const noexcept;

private:
	std::map<std::uint32_t, instance> instances_;
	std::uint64_t era_ = 1;
};

} // namespace tool

#endif
