// SPDX-License-Identifier: GPL-2.0
#include "coverage.hpp"

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <string>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

namespace {

const char device[] = "/sys/kernel/debug/kcov";
constexpr std::size_t entries = 1 << 20;
constexpr unsigned long init_trace = _IOR('c', 1, unsigned long);
constexpr unsigned long enable_trace = _IO('c', 100);
constexpr unsigned long trace_pc = 0;

// name size users users' names, state, address
bool module_range(std::uint64_t &from, std::uint64_t &to)
{
	std::ifstream modules("/proc/modules");
	for (std::string line; std::getline(modules, line);) {
		unsigned long long size, at;
		if (std::sscanf(line.c_str(), "myepoll %llu %*s %*s %*s %llx", &size, &at) == 2 && at) {
			from = at;
			to = at + size;
			return true;
		}
	}
	return false;
}

[[noreturn]] void fail(const char *what)
{
	std::perror(what);
	_exit(3);
}

} // namespace

bool Coverage::available()
{
	std::uint64_t from, to;
	if (access(device, R_OK | W_OK) || !module_range(from, to))
		return false;

	// KCOV without a module compiled for it says nothing.
	Coverage trial;
	trial.enable();
	int fd = open("/dev/myepoll", O_RDWR | O_CLOEXEC);
	trial.start();
	ioctl(fd, 0);
	bool some = trial.stop() > 0;
	close(fd);
	return some;
}

void Coverage::enable()
{
	int fd = open(device, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		fail(device);
	int raised = fcntl(fd, F_DUPFD_CLOEXEC, 200);
	close(fd);
	if (ioctl(raised, init_trace, entries))
		fail("KCOV_INIT_TRACE");
	area_ = static_cast<std::uint64_t *>(
		mmap(nullptr, entries * sizeof *area_, PROT_READ | PROT_WRITE, MAP_SHARED, raised, 0));
	if (area_ == MAP_FAILED)
		fail("mmap of KCOV");
	if (ioctl(raised, enable_trace, trace_pc))
		fail("KCOV_ENABLE");
	if (!module_range(from_, to_))
		fail("/proc/modules");
	seen_.resize(to_ - from_);
	stepped_.resize(1 << 20);
}

void Coverage::start()
{
	__atomic_store_n(&area_[0], 0, __ATOMIC_RELAXED);
}

std::uint32_t Coverage::stop()
{
	std::uint64_t n = __atomic_load_n(&area_[0], __ATOMIC_RELAXED);
	std::uint32_t before = places_ + steps_;
	std::uint64_t last = 0;

	for (std::uint64_t i = 1; i <= n && i < entries; i++) {
		std::uint64_t pc = area_[i] - from_;
		if (pc >= seen_.size())
			continue;
		// By its hash: two steps that share one are rare.
		std::uint64_t step = (last * 0x9e3779b97f4a7c15 ^ pc * 0xc2b2ae3d27d4eb4f) >> 44;
		last = pc;
		if (!seen_[pc]) {
			seen_[pc] = true;
			places_++;
		}
		if (!stepped_[step]) {
			stepped_[step] = true;
			steps_++;
		}
	}
	return places_ + steps_ - before;
}
