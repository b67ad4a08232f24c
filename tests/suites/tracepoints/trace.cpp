// SPDX-License-Identifier: GPL-2.0
#include "trace.hpp"

#include <regex>
#include <sstream>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "beyond/calls.hpp"

unsigned number_of(int epfd)
{
	myepoll_info info{};

	must(call(epfd, MYEPOLL_IOC_INFO, &info), "MYEPOLL_IOC_INFO");
	return static_cast<unsigned>(info.instance);
}

Trace::Trace(bool all) : dir_(tracefs + "instances/test-" + std::to_string(getpid()) + "/")
{
	must_libc(mkdir(dir_.c_str(), 0700), "a buffer in tracefs");
	// In order across CPUs, where "mono" may step back while the kernel adjusts its clock
	write("trace_clock", "global");
	if (all)
		on(true);
}

Trace::~Trace()
{
	on(false);
	rmdir(dir_.c_str());
}

Lines Trace::take(unsigned instance, bool threads) const
{
	// "  name-1234    [000] d..1.    12.345678: myepoll_wake: instance=3 ..."
	static const std::regex form(R"(^.*-(\d+) +\[\d+\] \S+ +\d+\.\d+: myepoll_(\S+: instance=(\d+)( .*)?)$)");
	std::istringstream text(slurp(dir_ + "trace"));
	std::string line;
	std::smatch parts;
	Lines lines;

	Fd emptied(open((dir_ + "trace").c_str(), O_WRONLY | O_TRUNC | O_CLOEXEC));
	while (std::getline(text, line)) {
		if (line.empty() || line[0] == '#')
			continue;
		if (!std::regex_match(line, parts, form))
			lines.push_back("? " + line);
		else if (!instance || std::stoul(parts[3]) == instance)
			lines.push_back((threads ? parts[1].str() + " " : "") + parts[2].str());
	}
	return lines;
}

Lines Trace::read(unsigned instance) const
{
	return take(instance, false);
}

Lines Trace::with_threads(unsigned instance) const
{
	return take(instance, true);
}
