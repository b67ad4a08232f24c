// SPDX-License-Identifier: GPL-2.0
#include "klog.hpp"

#include <cerrno>
#include <sstream>

#include <fcntl.h>
#include <unistd.h>

#include "support.hpp"

namespace {

const char levels_file[] = "/proc/sys/kernel/printk";

// What says that something is wrong with the kernel, out of memory or not: what
// scripts/vm looks for, but a trace alone; and leaks, which that asks for in the end.
std::regex complaints()
{
	std::istringstream lines(slurp("scripts/complaints"));
	std::string all = "suspected memory leaks", line;

	while (std::getline(lines, line))
		if (!line.empty() && line[0] != '#' && line != "Call Trace:")
			all += "|" + line;
	return std::regex(all, std::regex::extended);
}

} // namespace

KernelLog::KernelLog() : levels_(slurp(levels_file)), complaints_(complaints())
{
	kmsg_ = Fd(must_libc(open("/dev/kmsg", O_RDONLY | O_NONBLOCK | O_CLOEXEC), "/dev/kmsg"));
	must_libc(lseek(kmsg_, 0, SEEK_END), "/dev/kmsg");
	// Errors still go there: KASAN and the like are such
	spill(levels_file, "4 4 1 4\n");
}

KernelLog::~KernelLog()
{
	spill(levels_file, levels_);
}

std::vector<std::string> KernelLog::news()
{
	std::vector<std::string> lines;
	char record[8192];

	for (;;) {
		ssize_t n = read(kmsg_, record, sizeof record);
		if (n < 0 && errno == EPIPE) { // overwritten before it was read
			if (complaint_.empty())
				complaint_ = "the log ran over";
			continue;
		}
		if (n <= 0)
			return lines;
		std::string text(record, static_cast<std::size_t>(n));
		text = text.substr(0, text.find('\n'));
		text = text.substr(text.find(';') + 1);
		// A data race may be none of the module's. The console has it, too, and
		// scripts/judge-log reads the whole report.
		if (complaint_.empty() && !text.starts_with("BUG: KCSAN:") &&
		    std::regex_search(text, complaints_))
			complaint_ = text;
		lines.push_back(std::move(text));
	}
}
