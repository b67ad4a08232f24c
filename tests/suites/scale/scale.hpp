// SPDX-License-Identifier: GPL-2.0
// What is the same in all cases of tests/suites/scale: a process builds very many watches,
// and they all end at once, while threads that have nothing to do with it tick on
// the same CPU.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "support.hpp"

// --watches=N, 1,000,000 by default, and --ratio=R, what is too slow beside epoll, where
// it is more than --noise=MS
int watches_wanted();
double ratio_allowed();

// What a process has built, as ranges of descriptors. All instances are above all
// files, so that two close_range() close them.
struct World {
	const Backend *backend;
	std::vector<int> instances;
	std::vector<int> files;
	int copies = 1; // descriptors of each file, side by side
};

// Limits that are out of the way
void make_room();

// Descriptors and ADDs that must work, in plain ints: a million objects with
// destructors would be measured too.
int new_eventfd(unsigned count);
void copy_to(int fd, int to);
void make_instances(World &world, int n, int first);
void add_all(const World &world, std::uint32_t events);

enum class End {
	files,		// close of the last descriptor of each file
	instances,	// close of all instances
	exit,		// of the process
	kill,		// SIGKILL
};

struct Figures {
	double build_ms;
	double end_ms;
	double late_rt_ms;	// the worst of a SCHED_FIFO ticker meanwhile
	double late_ms;		// the worst of an ordinary one
	double idle_late_rt_ms;	// and before
	double idle_late_ms;
};

// In a process of its own. Throws where that failed.
Figures measure(const Backend &backend, End end, const std::function<void(World &)> &build);

// Measures epoll and the backend under test, prints both in a line, and checks that
// the backend took no longer than the ratio allows, and let others run.
void compare(const std::string &what, End end, const std::function<void(World &)> &build);

// The same for a duration alone
void compare_ms(const std::string &what, double epoll_ms, double mine_ms);
