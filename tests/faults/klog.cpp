// SPDX-License-Identifier: GPL-2.0
#include "klog.hpp"

#include <cerrno>
#include <regex>

#include <fcntl.h>
#include <unistd.h>

#include "support.hpp"

namespace {

const char levels_file[] = "/proc/sys/kernel/printk";

// What says that something is wrong with the kernel, out of memory or not. A trace
// alone does not.
const std::regex bad("WARNING: |BUG: |BUG at |Oops|general protection|KASAN|UBSAN|ODEBUG|refcount_t|"
		     "list_(add|del) corruption|scheduling while atomic|sleeping function|Objects remaining|"
		     "still has objects|unreferenced object|suspected memory leaks|soft lockup|hard LOCKUP|"
		     "blocked for more than|suspicious RCU|rcu_?[a-z]*:? .*stall|double free|[Uu]nable to handle");

} // namespace

KernelLog::KernelLog() : levels_(slurp(levels_file))
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
		if (complaint_.empty() && std::regex_search(text, bad))
			complaint_ = text;
		lines.push_back(std::move(text));
	}
}
