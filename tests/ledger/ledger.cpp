// SPDX-License-Identifier: GPL-2.0
#include "ledger.hpp"

#include <memory>
#include <stdexcept>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr std::size_t page_size = 4096;
constexpr char throttle_file[] = "/proc/sys/kernel/sched_rt_runtime_us";

} // namespace

MissingPage::MissingPage()
{
	uffdio_api api{};
	uffdio_register range{};

	uffd_ = Fd(must_libc(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), "userfaultfd"));
	api.api = UFFD_API;
	must_libc(ioctl(uffd_, UFFDIO_API, &api), "UFFDIO_API");
	page_ = mmap(nullptr, page_size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (page_ == MAP_FAILED)
		throw std::runtime_error("mmap");
	range.range = { reinterpret_cast<std::uintptr_t>(page_), page_size };
	range.mode = UFFDIO_REGISTER_MODE_MISSING;
	must_libc(ioctl(uffd_, UFFDIO_REGISTER, &range), "UFFDIO_REGISTER");
}

MissingPage::~MissingPage()
{
	uffd_.reset(); // who stands still goes on
	munmap(page_, page_size);
}

bool MissingPage::touched_within(int ms) const
{
	pollfd fault{ uffd_, POLLIN, 0 };
	return poll(&fault, 1, ms) == 1;
}

void MissingPage::fill()
{
	uffdio_zeropage zero{};

	zero.range = { reinterpret_cast<std::uintptr_t>(page_), page_size };
	must_libc(ioctl(uffd_, UFFDIO_ZEROPAGE, &zero), "UFFDIO_ZEROPAGE");
}

StuckHarvest::StuckHarvest(const Instance &ep, int max)
{
	harvest_ = std::make_unique<Blocked>([this, fd = ep.fd(), max] {
		return be().wait(fd, static_cast<epoll_event *>(page_.at()), max, 0);
	});
	if (!page_.touched_within(patience_ms)) {
		let_go();
		throw std::runtime_error("the harvest did not come to its first event");
	}
}

Events StuckHarvest::let_go()
{
	Events events;

	page_.fill();
	int n = harvest_->result();
	harvest_.reset();
	for (int i = 0; i < n; i++) {
		const epoll_event &e = static_cast<epoll_event *>(page_.at())[i];
		events.push_back({ e.events, e.data.u64 });
	}
	return events;
}

StuckHarvest::~StuckHarvest()
{
	if (harvest_)
		let_go();
}

void run_on(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must_libc(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

void real_time(int priority)
{
	sched_param param{};
	param.sched_priority = priority;
	must_libc(sched_setscheduler(0, SCHED_FIFO, &param), "sched_setscheduler");
}

Hog::Hog() : throttle_(slurp(throttle_file))
{
	must_libc(sched_getaffinity(0, sizeof before_, &before_));
	spill(throttle_file, "-1");
	run_on(elsewhere);
	thread_ = std::thread([this] {
		run_on(cpu);
		real_time(priority);
		running_ = true;
		while (!stop_)
			;
	});
	while (!running_)
		std::this_thread::yield();
}

Hog::~Hog()
{
	stop_ = true;
	thread_.join();
	spill(throttle_file, throttle_);
	sched_setaffinity(0, sizeof before_, &before_);
}

pid_t start_doubtful_child(const std::function<int()> &body)
{
	return start_child([&] {
		Fd null(must_libc(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null"));
		for (int fd = 0; fd <= 2; fd++)
			must_libc(dup2(null, fd), "dup2");
		return body();
	});
}

int status_within(pid_t child, int ms)
{
	int status = 0;

	if (!eventually([&] { return must_libc(waitpid(child, &status, WNOHANG), "waitpid") == child; }, ms))
		return -1;
	return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}
