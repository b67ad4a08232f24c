// SPDX-License-Identifier: GPL-2.0
// What the races are written with. Each test runs for a share of --seconds and
// then checks something that must be true from end to end.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "support.hpp"

// How long one race goes on: --seconds, or MYEPOLL_TEST_SECONDS; 4 by default
std::chrono::milliseconds race_time();

// Threads that run until the time is up, each with a generator of its own. An
// error is what a thread says with fail(); the first is kept.
class Race {
public:
	using Body = std::function<void(std::mt19937 &)>; // one round

	explicit Race(milliseconds time = race_time()) : end_(Clock::now() + time) {}
	~Race() { join(); }

	void run(int threads, Body body);
	// Rounds until the others have ended. Who may sleep for long then needs `wake`,
	// called until all have left: a body that waits for 200 ms at most finds by
	// itself what it was not woken for.
	void run_beside(int threads, Body body, std::function<void()> wake = {});
	// In run_beside()'s last round: nobody else takes part any longer
	bool ending() const { return stop_; }
	bool over() const { return Clock::now() >= end_ || failed_; }
	void fail(const std::string &what);
	// Ends the race, and returns "" or what went wrong
	std::string join();
	long rounds() const { return rounds_; }

private:
	Clock::time_point end_;
	std::atomic<bool> failed_{ false }, stop_{ false };
	std::atomic<long> rounds_{ 0 };
	std::atomic<unsigned> seed_{ 1 };
	std::string what_;
	std::atomic<int> beside_running_{ 0 };
	std::function<void()> wake_;
	std::vector<std::thread> threads_, beside_;
};

inline int pick(std::mt19937 &random, int n)
{
	return static_cast<int>(random() % static_cast<unsigned>(n));
}

// Now and then a bit
inline std::uint32_t perhaps(std::mt19937 &random, std::uint32_t bit)
{
	return pick(random, 2) ? bit : 0;
}
