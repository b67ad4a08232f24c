// SPDX-License-Identifier: GPL-2.0
#include "scale.hpp"

#include <atomic>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <stdexcept>
#include <thread>

#include <fcntl.h>
#include <poll.h>
#include <sched.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.hpp"

namespace {

int watches_option = 1'000'000;
double ratio_option = 4;

// Below this a ratio says nothing: other guests run on the host too.
double noise_option = 300;

double ms_between(Clock::time_point from, Clock::time_point to)
{
	return std::chrono::duration<double, std::milli>(to - from).count();
}

void pin(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must_libc(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

// A thread that wants to run each millisecond, and how late it was at worst
class Ticker {
public:
	Ticker(int cpu, bool realtime)
		: thread_([this, cpu, realtime] {
			  pin(cpu);
			  sched_param param{};
			  param.sched_priority = 1;
			  if (realtime)
				  must_libc(sched_setscheduler(0, SCHED_FIFO, &param), "SCHED_FIFO");
			  run();
		  })
	{
	}
	~Ticker()
	{
		stop_ = true;
		thread_.join();
	}
	// The worst since the last call. One that is late now counts.
	double take_worst_ms()
	{
		std::this_thread::sleep_for(milliseconds(20));
		return static_cast<double>(worst_.exchange(0)) / 1e6;
	}

private:
	std::atomic<bool> stop_{ false };
	std::atomic<long> worst_{ 0 };
	std::thread thread_;

	void run()
	{
		constexpr long period = 1'000'000;
		timespec next;

		clock_gettime(CLOCK_MONOTONIC, &next);
		while (!stop_) {
			next.tv_nsec += period;
			if (next.tv_nsec >= 1'000'000'000) {
				next.tv_nsec -= 1'000'000'000;
				next.tv_sec++;
			}
			clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &next, nullptr);

			timespec now;
			clock_gettime(CLOCK_MONOTONIC, &now);
			long late = (now.tv_sec - next.tv_sec) * 1'000'000'000 + now.tv_nsec - next.tv_nsec;
			if (late > worst_)
				worst_ = late;
			if (late > period)
				next = now;
		}
	}
};

// What the two processes say to each other
struct Shared {
	double build_ms, end_ms;
	char error[200];
};

void read_byte(int fd)
{
	char byte;

	if (must_libc(read(fd, &byte, 1), "read") != 1)
		throw std::runtime_error("the other process is gone");
}

void close_files(const World &world)
{
	for (int file : world.files)
		if (world.copies > 1)
			must_libc(syscall(SYS_close_range, file + 1, file + world.copies - 1, 0), "close_range");
}

// In the child; does not return but for errors
void act(const Backend &backend, End end, const std::function<void(World &)> &build, Shared &shared,
	 int ready, int go)
{
	World world;

	pin(0);
	world.backend = &backend;
	auto start = Clock::now();
	build(world);
	shared.build_ms = ms_between(start, Clock::now());
	if (end == End::files)
		close_files(world); // but one each

	send_byte(ready);
	read_byte(go);
	start = Clock::now();
	switch (end) {
	case End::files:
		must_libc(syscall(SYS_close_range, world.files.front(), world.files.back(), 0), "close_range");
		break;
	case End::instances:
		must_libc(syscall(SYS_close_range, world.instances.front(), world.instances.back(), 0),
			  "close_range");
		break;
	case End::exit:
		_exit(0);
	case End::kill:
		pause();
	}
	shared.end_ms = ms_between(start, Clock::now());
	if (end == End::files)
		for (std::size_t i = 0; i < world.instances.size(); i += 1 + world.instances.size() / 3)
			if (!watches(world.instances[i]).empty())
				throw std::runtime_error("watches are left of files that are closed");
	_exit(0);
}

void print(const std::string &what, const std::string &door, const Figures &f)
{
	std::printf("  %-52s %-6s %8.0f ms  late %7.1f, ordinary %7.1f ms (idle %.1f, %.1f; built in %.0f ms)\n",
		    what.c_str(), door.c_str(), f.end_ms, f.late_rt_ms, f.late_ms, f.idle_late_rt_ms,
		    f.idle_late_ms, f.build_ms);
	std::fflush(stdout);
}

} // namespace

int watches_wanted()
{
	return watches_option;
}

double ratio_allowed()
{
	return ratio_option;
}

extern "C" int take_test_options(int *argc, char **argv);

extern "C" int take_test_options(int *argc, char **argv)
{
	if (const char *text = take_option(argc, argv, "--watches"))
		watches_option = std::atoi(text);
	if (const char *text = take_option(argc, argv, "--ratio"))
		ratio_option = std::atof(text);
	if (const char *text = take_option(argc, argv, "--noise"))
		noise_option = std::atof(text);
	if (watches_option < 1000) {
		std::fprintf(stderr, "%s: --watches: 1000 and more\n", argv[0]);
		return 2;
	}
	return take_backend_option(argc, argv);
}

void make_room()
{
	static const bool done = [] {
		constexpr int descriptors = 4 << 20;

		spill("/proc/sys/fs/nr_open", std::to_string(descriptors));
		spill("/proc/sys/fs/file-max", std::to_string(descriptors));
		allow_descriptors(descriptors);
		for (const Backend *backend : { &native_epoll(), &be() })
			spill(backend->max_user_watches(), "8000000");
		return true;
	}();
	(void)done;
}

int new_eventfd(unsigned count)
{
	return must_libc(eventfd(count, EFD_NONBLOCK), "eventfd");
}

void copy_to(int fd, int to)
{
	must_libc(dup2(fd, to), "dup2");
}

void make_instances(World &world, int n, int first)
{
	for (int i = 0; i < n; i++) {
		int fd = must(world.backend->create1(0), "create");

		// Above the files, wherever it was made
		world.instances.push_back(must_libc(fcntl(fd, F_DUPFD, first), "F_DUPFD"));
		close(fd);
	}
}

void add_all(const World &world, std::uint32_t events)
{
	for (int instance : world.instances)
		for (int file : world.files)
			for (int fd = file; fd < file + world.copies; fd++) {
				epoll_event event = ev(events, static_cast<std::uint64_t>(fd));
				must(world.backend->ctl(instance, EPOLL_CTL_ADD, fd, &event), "ADD");
			}
}

Figures measure(const Backend &backend, End end, const std::function<void(World &)> &build)
{
	make_room();
	void *room = mmap(nullptr, sizeof(Shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (room == MAP_FAILED)
		throw std::runtime_error("mmap");
	auto &shared = *static_cast<Shared *>(room);
	Ends ready = make_pipe(), go = make_pipe();
	for (int fd : { int(ready.r), int(go.r) })
		fcntl(fd, F_SETFL, 0);

	pid_t child = start_child([&] {
		ready.r.reset();
		go.w.reset();
		try {
			act(backend, end, build, shared, ready.w, go.r);
		} catch (const std::exception &e) {
			std::snprintf(shared.error, sizeof shared.error, "%s", e.what());
		}
		return 1;
	});
	ready.w.reset();
	go.r.reset();

	Figures f{};
	int expected = 0;
	bool alive = true;
	try {
		read_byte(ready.r);
	} catch (const std::exception &) {
		alive = false;
	}
	if (alive) {
		// The CPU that the child is on; this thread on another, where there is one
		Ticker realtime(0, true), ordinary(0, false);

		settle(300);
		realtime.take_worst_ms();
		ordinary.take_worst_ms();
		settle(500);
		f.idle_late_rt_ms = realtime.take_worst_ms();
		f.idle_late_ms = ordinary.take_worst_ms();

		auto start = Clock::now();
		if (end == End::kill) {
			kill(child, SIGKILL);
			expected = 256 + SIGKILL;
		} else {
			send_byte(go.w);
		}
		int status = child_status(child);
		f.end_ms = ms_between(start, Clock::now());
		f.late_rt_ms = realtime.take_worst_ms();
		f.late_ms = ordinary.take_worst_ms();
		if (end == End::files || end == End::instances)
			f.end_ms = shared.end_ms;
		alive = status == expected;
	} else {
		child_status(child);
	}
	f.build_ms = shared.build_ms;
	std::string error = shared.error;
	munmap(room, sizeof shared);
	if (!alive)
		throw std::runtime_error("the process with the watches failed: " + error);
	return f;
}

void compare_ms(const std::string &what, double epoll_ms, double mine_ms)
{
	INFO(what << ": epoll " << epoll_ms << " ms, myepoll " << mine_ms << " ms");
	CHECK(mine_ms <= ratio_allowed() * epoll_ms + noise_option);
}

// However long the end took
void compare_lateness(const std::string &what, double epoll_ms, double mine_ms)
{
	INFO(what << ": a ticker was late by " << epoll_ms << " ms with epoll, " << mine_ms << " ms with myepoll");
	CHECK(mine_ms <= noise_option + 4 * epoll_ms);
}

void compare(const std::string &what, End end, const std::function<void(World &)> &build)
{
	Figures epoll = measure(native_epoll(), end, build);
	print(what, native_epoll().name(), epoll);
	if (be().native())
		return;
	Figures mine = measure(be(), end, build);
	print(what, be().name(), mine);
	compare_ms(what, epoll.end_ms, mine.end_ms);

	// If preemption were off all the time, the tickers would be late by as much.
	compare_lateness(what + ", SCHED_FIFO", epoll.late_rt_ms, mine.late_rt_ms);
	compare_lateness(what + ", SCHED_OTHER", epoll.late_ms, mine.late_ms);
}
