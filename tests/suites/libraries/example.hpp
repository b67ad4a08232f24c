// SPDX-License-Identifier: GPL-2.0
// An example server, as a child process.
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include <sys/types.h>

#include "util.hpp"

class Example {
public:
	// Runs the program at `path`, and reads the port that it prints. `before` runs in the
	// child, before exec.
	Example(const std::string &path, const std::vector<std::string> &arguments,
		const std::function<void()> &before = {});
	~Example();
	Example(const Example &) = delete;

	Fd connect() const; // none, where that fails

protected:
	pid_t pid_;	 // 0 once it is waited for
	std::FILE *out_; // what it prints
	std::uint16_t port_;
};
