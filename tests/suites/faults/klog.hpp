// SPDX-License-Identifier: GPL-2.0
// The kernel's log while it is made to run out of memory: traces are what it is to
// print then, and would count as complaints on the console. So the console is not
// told, and who holds this looks for real complaints itself.
#pragma once

#include <regex>
#include <string>
#include <vector>

#include "fd.hpp"

class KernelLog {
public:
	KernelLog();
	~KernelLog();
	KernelLog(const KernelLog &) = delete;

	// What has been said since the last call
	std::vector<std::string> news();
	// The first real complaint of all that news() has seen, or ""
	const std::string &complaint() const { return complaint_; }

private:
	Fd kmsg_;
	std::string levels_, complaint_;
	std::regex complaints_;
};
