// SPDX-License-Identifier: GPL-2.0
// Threads that stand still where a race would have to find them: in the middle
// of a harvest, or woken and without a CPU.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "missing_page.hpp"
#include "stress/stress.hpp"
#include "support.hpp"

// This thread and those it starts
void run_on(int cpu);
void real_time(int priority); // SCHED_FIFO

// The first CPU is taken by a real-time thread, and whoever is pinned to it with a
// lower priority does not run. The thread that makes one is on the second CPU.
class Hog {
public:
	static constexpr int cpu = 0, elsewhere = 1, priority = 50;
	Hog();
	Hog(const Hog &) = delete;
	~Hog();

private:
	cpu_set_t before_;
	Setting throttle_;
	std::atomic<bool> stop_{ false }, running_{ false };
	std::thread thread_;
};

// A connected AF_VSOCK pair, if the kernel has that. Its ->poll stands still while the
// buffer of a send is paged in.
std::optional<Pair> make_vsock();

// A child that may hang in the kernel for good. It says nothing, so that nobody waits
// for the end of its output.
pid_t start_doubtful_child(const std::function<int()> &body);
