// SPDX-License-Identifier: GPL-2.0
// bench-threads [--rounds=N] [--ms=N] [--most=R] - what more threads cost, on epoll and on myepoll
//
// For 1, 2, 4, ... threads up to the CPUs here: nanoseconds of wall time for an operation
// of all threads together, the best of N rounds (5) of so many ms (200), by epoll and by
// both doors in turn, so that all see the same machine. Such figures hold for the
// machine they are taken on. With --most, the status is 1 if a ratio to epoll is above R.
#include "doors.hpp"

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

int device = -1;

namespace {

using Clock = std::chrono::steady_clock;

int rounds = 5;
int ms = 200;

long must(long r)
{
	if (r >= 0)
		return r;
	std::fprintf(stderr, "bench-threads: %s\n",
		     std::strerror(r == -1 ? errno : static_cast<int>(-r)));
	std::exit(1);
}

int event_fd()
{
	return static_cast<int>(must(eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC)));
}

void write8(int fd)
{
	const std::uint64_t one = 1;

	call(SYS_write, fd, address(&one), 8);
}

void read8(int fd)
{
	std::uint64_t n;

	call(SYS_read, fd, address(&n), 8);
}

template <class D> void add(int ep, int fd, std::uint32_t events)
{
	epoll_event event{};

	event.events = events;
	must(D::ctl(ep, EPOLL_CTL_ADD, fd, &event));
}

// What the threads of a case share and what each has: made before the clock runs. turn()
// is one operation of thread i.

template <class D> struct OwnInstances {
	static constexpr const char *name = "write, wait, read: an instance each";
	std::vector<int> ep, fd;

	explicit OwnInstances(int threads)
	{
		for (int i = 0; i < threads; i++) {
			ep.push_back(static_cast<int>(must(D::create())));
			fd.push_back(event_fd());
			add<D>(ep.back(), fd.back(), EPOLLIN);
		}
	}
	~OwnInstances()
	{
		for (std::size_t i = 0; i < fd.size(); i++)
			close(fd[i]), close(ep[i]);
	}
	void turn(std::size_t i)
	{
		epoll_event events[4];

		write8(fd[i]);
		D::wait(ep[i], events, 4, 0);
		read8(fd[i]);
	}
};

template <class D> struct OneInstance {
	int ep = static_cast<int>(must(D::create()));
	std::vector<int> fd;

	explicit OneInstance(int threads)
	{
		for (int i = 0; i < threads; i++)
			fd.push_back(event_fd());
	}
	~OneInstance()
	{
		for (int f : fd)
			close(f);
		close(ep);
	}
};

template <class D> struct Wakes : OneInstance<D> {
	static constexpr const char *name = "write, read: files of one instance";

	explicit Wakes(int threads) : OneInstance<D>(threads)
	{
		for (int f : this->fd)
			add<D>(this->ep, f, EPOLLIN | EPOLLET);
	}
	void turn(std::size_t i)
	{
		write8(this->fd[i]);
		read8(this->fd[i]);
	}
};

template <class D> struct Waits : OneInstance<D> {
	static constexpr const char *name = "wait for 8 of 64 ready: one instance";
	std::vector<int> ready;

	explicit Waits(int threads) : OneInstance<D>(threads)
	{
		for (int i = 0; i < 64; i++) {
			ready.push_back(event_fd());
			write8(ready.back());
			add<D>(this->ep, ready.back(), EPOLLIN);
		}
	}
	~Waits()
	{
		for (int f : ready)
			close(f);
	}
	void turn(std::size_t)
	{
		epoll_event events[8];

		D::wait(this->ep, events, 8, 0);
	}
};

template <class D> struct Changes : OneInstance<D> {
	static constexpr const char *name = "ADD, DEL: one instance";

	using OneInstance<D>::OneInstance;
	void turn(std::size_t i)
	{
		add<D>(this->ep, this->fd[i], EPOLLIN);
		D::ctl(this->ep, EPOLL_CTL_DEL, this->fd[i], nullptr);
	}
};

template <class D> struct Closes : OneInstance<D> {
	static constexpr const char *name = "eventfd, ADD, close: one instance";

	using OneInstance<D>::OneInstance;
	void turn(std::size_t)
	{
		int f = event_fd();

		add<D>(this->ep, f, EPOLLIN);
		close(f);
	}
};

template <class D> struct OneFile {
	static constexpr const char *name = "write: one file in an instance each";
	std::vector<int> ep;
	int fd = event_fd();

	explicit OneFile(int threads)
	{
		for (int i = 0; i < threads; i++) {
			ep.push_back(static_cast<int>(must(D::create())));
			add<D>(ep.back(), fd, EPOLLIN | EPOLLET);
		}
	}
	~OneFile()
	{
		for (int e : ep)
			close(e);
		close(fd);
	}
	void turn(std::size_t i)
	{
		epoll_event events[4];

		write8(fd);
		D::wait(ep[i], events, 4, 0);
	}
};

// Nanoseconds for an operation, of all threads together
template <class Case> double measure(int threads)
{
	Case what(threads);
	std::atomic<int> at_start{ 0 };
	std::atomic<bool> go{ false }, stop{ false };
	std::atomic<unsigned long> done{ 0 };
	std::vector<std::thread> all;

	for (int i = 0; i < threads; i++)
		all.emplace_back([&, i] {
			unsigned long mine = 0;

			at_start++;
			while (!go)
				std::this_thread::yield();
			while (!stop.load(std::memory_order_relaxed)) {
				what.turn(static_cast<std::size_t>(i));
				mine++;
			}
			done += mine;
		});
	while (at_start < threads)
		std::this_thread::yield();
	auto start = Clock::now();
	go = true;
	std::this_thread::sleep_for(std::chrono::milliseconds(ms));
	stop = true;
	for (auto &thread : all)
		thread.join();
	return std::chrono::duration<double, std::nano>(Clock::now() - start).count() /
	       static_cast<double>(std::max(done.load(), 1UL));
}

// Returns the worst ratio to epoll.
template <template <class> class Case> double compare(int threads)
{
	double epoll = 1e18, fast = 1e18, ioctl = 1e18;

	for (int i = 0; i < rounds; i++) {
		epoll = std::min(epoll, measure<Case<Epoll>>(threads));
		fast = std::min(fast, measure<Case<Fast>>(threads));
		ioctl = std::min(ioctl, measure<Case<Ioctl>>(threads));
	}
	std::printf("%7d  %-42s%10.0f%12.0f%8.2f%10.0f%8.2f\n", threads, Case<Epoll>::name, epoll,
		    fast, fast / epoll, ioctl, ioctl / epoll);
	std::fflush(stdout);
	return fast / epoll;
}

} // namespace

int main(int argc, char **argv)
{
	double most = 0, worst = 0;

	CLI::App app("What operations cost when several threads do them at once, beside epoll");
	app.add_option("--rounds", rounds, "of each, the best of which counts");
	app.add_option("--ms", ms, "time of each");
	app.add_option("--most", most, "the worst ratio that is no failure");
	CLI11_PARSE(app, argc, argv);

	device = static_cast<int>(must(open("/dev/myepoll", O_RDWR | O_CLOEXEC)));
	std::printf("%7s  %-42s%10s%12s%8s%10s%8s\n", "threads", "ns per operation of all", "epoll",
		    "fast door", "ratio", "ioctl", "ratio");
	const int cpus = static_cast<int>(std::max(std::thread::hardware_concurrency(), 1U));
	for (int threads = 1; threads <= cpus; threads = threads < cpus ? std::min(2 * threads, cpus) : cpus + 1) {
		worst = std::max({ worst, compare<OwnInstances>(threads), compare<Wakes>(threads),
				   compare<Waits>(threads), compare<Changes>(threads),
				   compare<Closes>(threads), compare<OneFile>(threads) });
	}
	std::printf("worst ratio of the fast door: %.2f\n", worst);
	return most > 0 && worst > most;
}
