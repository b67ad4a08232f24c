// SPDX-License-Identifier: GPL-2.0
// bench [--quick] [--only=TEXT] [--watches=N] - what each operation costs
//       --unwatched=WHEN: that of a close of what is not watched alone, by that name
//       [--way=NAME] [--turns=N]: for tests/suites/bench/profile
//
// Prints a line "WAY OPERATION<tab>COST" for each, and how many bytes of slab a watch takes.
// The cost is in nanoseconds of CLOCK_MONOTONIC, which in the guest of
// tests/suites/bench/run are instructions: those of the measured loop, the system call and
// all that comes of it.
#include "cost.hpp"
#include "doors.hpp"

#include <algorithm>
#include <array>
#include <atomic>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <liburing.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/personality.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

int device = -1;

namespace {

bool quick;
int most_watches = 1'000'000;
int most_turns; // asked for, of each operation
std::string only, only_way;

long must(long r, const char *what)
{
	if (r >= 0)
		return r;
	std::fprintf(stderr, "bench: %s: %s\n", what, r == -1 ? std::strerror(errno)
							       : std::strerror(-static_cast<int>(r)));
	std::exit(1);
}

bool wanted(const std::string &operation)
{
	return operation.find(only) != std::string::npos;
}

void report(const char *backend, const std::string &operation, double cost)
{
	std::printf("%s %s\t%.1f\n", backend, operation.c_str(), cost);
	std::fflush(stdout);
}

int turns()
{
	if (most_turns)
		return most_turns;
	return quick ? 1000 : 4000;
}

// Descriptors that end with the scope
class Fds {
public:
	Fds() = default;
	Fds(const Fds &) = delete;
	Fds &operator=(const Fds &) = delete;
	~Fds()
	{
		for (int fd : fds_)
			close(fd);
	}
	int add(long fd)
	{
		return fds_.emplace_back(static_cast<int>(must(fd, "a descriptor")));
	}
	int operator[](std::size_t i) const { return fds_[i]; }
	std::size_t size() const { return fds_.size(); }

private:
	std::vector<int> fds_;
};

const std::uint64_t one = 1;
std::uint64_t sink;
epoll_event events[1024];

[[gnu::always_inline]] inline void write8(int fd)
{
	call(SYS_write, fd, address(&one), 8);
}

[[gnu::always_inline]] inline void read8(int fd)
{
	call(SYS_read, fd, address(&sink), 8);
}

// A pair: what is written to the first is read from the second.
struct Pair {
	int to, from;
};

Pair eventfd_pair(Fds &fds)
{
	int fd = fds.add(eventfd(0, EFD_NONBLOCK));

	return { fd, fd };
}

Pair pipe_pair(Fds &fds)
{
	int p[2];

	must(pipe2(p, O_NONBLOCK), "pipe");
	return { fds.add(p[1]), fds.add(p[0]) };
}

Pair unix_pair(Fds &fds)
{
	int s[2];

	must(socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0, s), "socketpair");
	return { fds.add(s[0]), fds.add(s[1]) };
}

Pair inet_pair(Fds &fds, int type)
{
	sockaddr_in to{};
	socklen_t len = sizeof to;
	Fds listening;
	int server = static_cast<int>(must(socket(AF_INET, type, 0), "socket"));
	int client = fds.add(socket(AF_INET, type, 0));

	to.sin_family = AF_INET;
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(bind(server, reinterpret_cast<sockaddr *>(&to), sizeof to), "bind");
	must(getsockname(server, reinterpret_cast<sockaddr *>(&to), &len), "getsockname");
	if (type == SOCK_STREAM)
		must(listen(listening.add(server), 16), "listen");
	must(connect(client, reinterpret_cast<sockaddr *>(&to), sizeof to), "connect");
	if (type == SOCK_DGRAM)
		return { client, fds.add(server) };
	return { client, fds.add(accept(server, nullptr, nullptr)) };
}

Pair tcp_pair(Fds &fds)
{
	return inet_pair(fds, SOCK_STREAM);
}

Pair udp_pair(Fds &fds)
{
	return inet_pair(fds, SOCK_DGRAM);
}

struct Kind {
	const char *name;
	Pair (*make)(Fds &fds);
};

constexpr Kind kinds[] = {
	{ "eventfd", eventfd_pair }, { "pipe", pipe_pair }, { "unix", unix_pair },
	{ "tcp", tcp_pair },	     { "udp", udp_pair },
};

template <class D> int instance(Fds &fds)
{
	return fds.add(D::create());
}

template <class D> void add(int ep, int fd, std::uint32_t mask = EPOLLIN)
{
	epoll_event event{};

	event.events = mask;
	event.data.u64 = static_cast<std::uint64_t>(fd);
	must(D::ctl(ep, EPOLL_CTL_ADD, fd, &event), "ADD");
}

template <class D> void create_and_close()
{
	report(D::name, "create+close",
	       cost(turns(), [] { call(SYS_close, D::create()); }));
}

// Changes to an instance that has so many watches
template <class D> void changes(int watches)
{
	const std::string at = " at " + std::to_string(watches);
	const int n = std::min(watches, quick ? 200 : 1000);
	if (watches > most_watches || (!wanted("ADD" + at) && !wanted("ADD+DEL" + at) &&
				       !wanted("MOD" + at) && !wanted("DEL" + at)))
		return;

	Fds fds, extra;
	int ep = instance<D>(fds);
	epoll_event event{};

	event.events = EPOLLIN;
	for (int i = 0; i < watches; i++)
		add<D>(ep, fds.add(eventfd(0, 0)));
	for (int i = 0; i < n; i++)
		extra.add(eventfd(0, 0));

	auto stretch = [n](auto body) {
		const double start = now();

		for (int i = 0; i < n; i++)
			body(static_cast<std::size_t>(i));
		return (now() - start) / n;
	};
	// One round before what counts: caches of memory are filled. Of the others the
	// median, as in cost().
	std::array<double, 5> adds, dels, mods;
	for (std::size_t round = 0; round <= adds.size(); round++) {
		const std::size_t kept = round % adds.size();

		adds[kept] = stretch(
			[&](std::size_t i) { D::ctl(ep, EPOLL_CTL_ADD, extra[i], &event); });
		dels[kept] = stretch(
			[&](std::size_t i) { D::ctl(ep, EPOLL_CTL_DEL, extra[i], nullptr); });
		mods[kept] = stretch([&](std::size_t i) {
			// All over the tree
			std::size_t which = i * 7919 % static_cast<std::size_t>(watches);

			D::ctl(ep, EPOLL_CTL_MOD, fds[1 + which], &event);
		});
	}
	for (auto &[op, rounds] : { std::pair{ "ADD", &adds }, { "DEL", &dels }, { "MOD", &mods } }) {
		std::sort(rounds->begin(), rounds->end());
		report(D::name, op + at, (*rounds)[rounds->size() / 2]);
	}
	report(D::name, "ADD+DEL" + at, cost(turns(), [&] {
		D::ctl(ep, EPOLL_CTL_ADD, extra[0], &event);
		D::ctl(ep, EPOLL_CTL_DEL, extra[0], nullptr);
	}));
}

template <class D> void closes()
{
	Fds fds;
	int ep = instance<D>(fds);
	epoll_event event{};

	event.events = EPOLLIN;
	report(D::name, "close, watched: eventfd, ADD, close", cost(turns(), [&] {
		long fd = call(SYS_eventfd2, 0, 0);

		D::ctl(ep, EPOLL_CTL_ADD, static_cast<int>(fd), &event);
		call(SYS_close, fd);
	}));
}

void close_unwatched(const char *when)
{
	report(when, "close, unwatched: eventfd, close",
	       cost(turns(), [] { call(SYS_close, call(SYS_eventfd2, 0, 0)); }));
}

template <class D> void empty_wait()
{
	Fds fds;
	int ep = instance<D>(fds);

	add<D>(ep, eventfd_pair(fds).from);
	report(D::name, "wait, nothing ready", cost(turns(), [&] { D::wait(ep, events, 64, 0); }));
}

template <class D> void level(const Kind &kind, int ready)
{
	const std::string operation = "wait, " + std::to_string(ready) + " ready, " + kind.name;
	if (!wanted(operation))
		return;

	Fds fds;
	int ep = instance<D>(fds);

	for (int i = 0; i < ready; i++) {
		Pair pair = kind.make(fds);

		write8(pair.to);
		add<D>(ep, pair.from);
	}
	// A packet on loopback may still be on its way.
	while (D::wait(ep, events, 1024, 0) < ready)
		usleep(100);
	report(D::name, operation,
	       cost(std::max(turns() / ready, 50), [&] { D::wait(ep, events, 1024, 0); }));
}

template <class D> void edge(int ready)
{
	const std::string operation = "write, wait, " + std::to_string(ready) + " ready, edge-triggered";
	Fds fds;
	int ep = instance<D>(fds);
	std::vector<int> to;

	for (int i = 0; i < ready; i++) {
		to.push_back(eventfd_pair(fds).to);
		add<D>(ep, to.back(), EPOLLIN | EPOLLET);
	}
	report(D::name, operation, cost(std::max(turns() / ready, 50), [&] {
		for (int fd : to)
			write8(fd);
		D::wait(ep, events, 1024, 0);
	}));
}

template <class D> void rotation()
{
	Fds fds;
	int ep = instance<D>(fds);

	for (int i = 0; i < 64; i++) {
		Pair pair = eventfd_pair(fds);

		write8(pair.to);
		add<D>(ep, pair.from);
	}
	report(D::name, "wait for 1 of 64 ready", cost(turns(), [&] { D::wait(ep, events, 1, 0); }));
	report(D::name, "wait for 8 of 64 ready", cost(turns(), [&] { D::wait(ep, events, 8, 0); }));
}

template <class D> void one_shot()
{
	Fds fds;
	int ep = instance<D>(fds);
	Pair pair = eventfd_pair(fds);
	epoll_event event{};

	event.events = EPOLLIN | EPOLLONESHOT;
	write8(pair.to);
	add<D>(ep, pair.from, event.events);
	report(D::name, "one-shot: wait, MOD", cost(turns(), [&] {
		D::wait(ep, events, 64, 0);
		D::ctl(ep, EPOLL_CTL_MOD, pair.from, &event);
	}));
}

// What many calls do, or one turn: changes, and then the wait

struct Turn : Module {
	static constexpr const char *name = "turn";

	// The changes, and then a wait that only looks
	[[gnu::always_inline]] static long turn(int ep, myepoll_change *changes, unsigned n,
						epoll_event *events, int max)
	{
		myepoll_turn arg{};

		arg.changes = static_cast<std::uint64_t>(address(changes));
		arg.nchanges = n;
		arg.events = static_cast<std::uint64_t>(address(events));
		arg.maxevents = max;
		return call(SYS_fadvise64, ep, address(&arg), sizeof arg, MYEPOLL_FAST_TURN);
	}
};

// By D's separate calls
template <class D> struct Calls {
	static constexpr const char *name = D::name;

	static long create() { return D::create(); }

	[[gnu::always_inline]] static long turn(int ep, myepoll_change *changes, unsigned n,
						epoll_event *events, int max)
	{
		for (unsigned i = 0; i < n; i++) {
			epoll_event event{};

			event.events = changes[i].events;
			event.data.u64 = changes[i].data;
			D::ctl(ep, changes[i].op, changes[i].fd, &event);
		}
		return D::wait(ep, events, max, 0);
	}
};

myepoll_change change_to(int op, int fd, std::uint32_t mask)
{
	return { op, fd, mask, 0, static_cast<std::uint64_t>(fd) };
}

template <class T> void rearm(int ready)
{
	const std::string operation =
		"turn: arm " + std::to_string(ready) + ", wait for " + std::to_string(ready);
	Fds fds;
	int ep = fds.add(T::create());
	std::vector<myepoll_change> changes;

	if (!wanted(operation))
		return;

	for (int i = 0; i < ready; i++) {
		Pair pair = eventfd_pair(fds);

		write8(pair.to);
		changes.push_back(change_to(EPOLL_CTL_ADD, pair.from, EPOLLIN | EPOLLONESHOT));
	}
	must(T::turn(ep, changes.data(), ready, events, 1024) == ready ? 0 : -EIO, "the first turn");
	for (auto &change : changes)
		change.op = EPOLL_CTL_MOD;
	report(T::name, operation,
	       cost(std::max(turns() / ready, 50),
		    [&] { T::turn(ep, changes.data(), ready, events, 1024); }));
}

template <class T> void add_del_wait()
{
	Fds fds;
	int ep = fds.add(T::create()), fd = eventfd_pair(fds).from;
	myepoll_change changes[] = { change_to(EPOLL_CTL_ADD, fd, EPOLLIN),
				     change_to(EPOLL_CTL_DEL, fd, 0) };

	report(T::name, "turn: ADD, DEL, wait for nothing",
	       cost(turns(), [&] { T::turn(ep, changes, 2, events, 64); }));
}

// A server that arms its connection anew after each event, and asks for EPOLLOUT before it
// writes: four changes a request
template <class T> void request()
{
	Fds fds;
	int ep = fds.add(T::create());
	Pair pair = unix_pair(fds);
	const int fd = pair.from;
	const std::uint32_t in = EPOLLIN | EPOLLONESHOT, out = EPOLLOUT | EPOLLONESHOT;
	myepoll_change after_write[] = { change_to(EPOLL_CTL_ADD, fd, EPOLLOUT),
					 change_to(EPOLL_CTL_MOD, fd, in) };
	myepoll_change after_read[] = { change_to(EPOLL_CTL_MOD, fd, in | out),
					change_to(EPOLL_CTL_MOD, fd, out) };

	must(T::turn(ep, after_write, 1, events, 64), "ADD");
	after_write[0] = change_to(EPOLL_CTL_MOD, fd, 0);
	report(T::name, "turn: a request with four changes", cost(turns(), [&] {
		write8(pair.to);
		T::turn(ep, after_write, 2, events, 64);
		read8(fd);
		T::turn(ep, after_read, 2, events, 64);
		write8(fd);
		read8(pair.to);
	}));
}

template <class T> void turn_or_calls()
{
	for (int ready : { 1, 8, 64 })
		rearm<T>(ready);
	if (wanted("turn: ADD"))
		add_del_wait<T>();
	if (wanted("turn: a request"))
		request<T>();
}

template <class D> void turn(const Kind &kind)
{
	Fds fds;
	int ep = instance<D>(fds);
	Pair pair = kind.make(fds);

	add<D>(ep, pair.from);
	report(D::name, std::string("write, wait, read: ") + kind.name, cost(turns(), [&] {
		write8(pair.to);
		D::wait(ep, events, 64, 0);
		read8(pair.from);
	}));
}

template <class D> void nested()
{
	Fds fds;
	int outer = instance<D>(fds), inner = instance<D>(fds);
	Pair pair = eventfd_pair(fds);

	add<D>(inner, pair.from);
	add<D>(outer, inner);
	report(D::name, "write, wait, read: nested", cost(turns(), [&] {
		write8(pair.to);
		D::wait(outer, events, 64, 0);
		read8(pair.from);
	}));
}

// Two threads that wait for each other; a word of 1 ends it.
template <class D> void ping_pong()
{
	Fds fds;
	Pair ping = pipe_pair(fds), pong = pipe_pair(fds);
	int ep = instance<D>(fds);
	std::uint64_t word = 0;

	add<D>(ep, pong.from);
	std::thread other([&] {
		Fds mine;
		int own = instance<D>(mine);
		epoll_event event;
		std::uint64_t got = 0;

		add<D>(own, ping.from);
		while (got != 1) {
			D::wait(own, &event, 1, -1);
			call(SYS_read, ping.from, address(&got), 8);
			call(SYS_write, pong.to, address(&got), 8);
		}
	});
	auto round = [&] {
		call(SYS_write, ping.to, address(&word), 8);
		D::wait(ep, events, 64, -1);
		read8(pong.from);
	};
	report(D::name, "ping-pong of two threads", cost(turns(), round));
	word = 1;
	round();
	other.join();
}

// Each of so many threads waits in an instance of its own for the same eventfd.
template <class D> void exclusive(int threads)
{
	Fds fds;
	int ring = fds.add(eventfd(0, EFD_NONBLOCK));
	Pair back = pipe_pair(fds);
	std::vector<std::thread> waiting;
	std::atomic<bool> stop{ false };

	must(fcntl(back.from, F_SETFL, 0), "fcntl");
	for (int i = 0; i < threads; i++)
		waiting.emplace_back([&] {
			Fds mine;
			int ep = instance<D>(mine);
			epoll_event event;
			std::uint64_t got;

			add<D>(ep, ring, EPOLLIN | EPOLLEXCLUSIVE);
			write8(back.to);
			while (!stop) {
				D::wait(ep, &event, 1, -1);
				if (call(SYS_read, ring, address(&got), 8) == 8)
					write8(back.to);
			}
		});
	for (int i = 0; i < threads; i++)
		read8(back.from);
	// They go to sleep.
	usleep(10000);
	report(D::name, "wake 1 of " + std::to_string(threads) + " exclusive threads",
	       cost(turns(), [&] {
		       write8(ring);
		       read8(back.from);
	       }));
	stop = true;
	for (int i = 0; i < threads; i++) {
		write8(ring);
		usleep(1000);
	}
	for (std::thread &thread : waiting) {
		write8(ring);
		thread.join();
	}
}

// How much each object of a cache takes, of the slabs that hold them
double object_size(const std::string &cache)
{
	FILE *f = std::fopen("/proc/slabinfo", "r");
	char line[512], name[64];
	unsigned long active, total, size, per_slab, pages;
	double found = 0;

	while (f && std::fgets(line, sizeof line, f))
		if (std::sscanf(line, "%63s %lu %lu %lu %lu %lu", name, &active, &total, &size,
				&per_slab, &pages) == 6 &&
		    cache == name)
			found = static_cast<double>(pages) * 4096 / static_cast<double>(per_slab);
	if (f)
		std::fclose(f);
	return found;
}

void memory()
{
	report("epoll", "bytes per watch",
	       object_size("eventpoll_epi") + object_size("eventpoll_pwq"));
	report("fast", "bytes per watch", object_size("myep_item"));
}

// What the slabs of all caches take
double slab_bytes()
{
	FILE *f = std::fopen("/proc/slabinfo", "r");
	char line[512];
	unsigned long pages, slabs;
	double sum = 0;

	while (f && std::fgets(line, sizeof line, f))
		if (std::sscanf(line, "%*s %*u %*u %*u %*u %lu : tunables %*u %*u %*u : slabdata %*u %lu",
				&pages, &slabs) == 2)
			sum += static_cast<double>(pages * slabs) * 4096;
	if (f)
		std::fclose(f);
	return sum;
}

// With the file and all that comes with it. One round before what counts: slabs that
// are kept for next time are there in both.
template <class D> void memory_of_instances()
{
	const int n = std::min(10'000, most_watches);

	for (int round = 0; round < 2; round++) {
		Fds fds;

		usleep(200'000); // what was closed before is freed by RCU
		double before = slab_bytes();
		for (int i = 0; i < n; i++)
			fds.add(D::create());
		if (round)
			report(D::name, "bytes per instance", (slab_bytes() - before) / n);
	}
}

// The same turn by other means
void others()
{
	Fds fds;
	Pair pair = eventfd_pair(fds);

	pollfd watched{ pair.from, POLLIN, 0 };
	report("other", "poll(2)", cost(turns(), [&] {
		write8(pair.to);
		call(SYS_poll, address(&watched), 1, -1);
		read8(pair.from);
	}));
	report("other", "select(2)", cost(turns(), [&] {
		fd_set set;

		FD_ZERO(&set);
		FD_SET(pair.from, &set);
		write8(pair.to);
		call(SYS_select, pair.from + 1, address(&set), 0, 0);
		read8(pair.from);
	}));

	io_uring ring;
	if (io_uring_queue_init(8, &ring, 0))
		return;
	io_uring_sqe *sqe = io_uring_get_sqe(&ring);

	io_uring_prep_poll_multishot(sqe, pair.from, POLLIN);
	io_uring_submit(&ring);
	report("other", "io_uring multishot poll", cost(turns(), [&] {
		io_uring_cqe *cqe;

		write8(pair.to);
		if (!io_uring_wait_cqe(&ring, &cqe))
			io_uring_cqe_seen(&ring, cqe);
		read8(pair.from);
	}));
	io_uring_queue_exit(&ring);
}

template <class D> void all()
{
	if (!only_way.empty() && only_way != D::name)
		return;
	if (wanted("create+close"))
		create_and_close<D>();
	for (int watches : { 10, 100, 1000, 10'000, 100'000, 1'000'000 })
		if (!quick || watches == 10 || watches == 1000)
			changes<D>(watches);
	if (wanted("close, watched"))
		closes<D>();
	if (wanted("wait, nothing"))
		empty_wait<D>();
	for (int ready : { 1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024 })
		if (!quick || ready == 1 || ready == 8 || ready == 64 || ready == 512)
			level<D>(kinds[0], ready);
	for (const Kind &kind : kinds)
		if (&kind != kinds && !quick)
			for (int ready : { 1, 64 })
				level<D>(kind, ready);
	if (wanted("edge-triggered"))
		for (int ready : { 1, 8, 64, 512 })
			edge<D>(ready);
	if (wanted("wait for"))
		rotation<D>();
	if (wanted("one-shot"))
		one_shot<D>();
	turn_or_calls<Calls<D>>();
	if (wanted("write, wait, read")) {
		for (const Kind &kind : kinds)
			turn<D>(kind);
		nested<D>();
	}
	if (wanted("ping-pong"))
		ping_pong<D>();
	if (wanted("exclusive"))
		for (int threads : { 1, 8, 64 })
			exclusive<D>(threads);
}

// The least that a wait can cost: tests/fixtures/test-modules/floor.c
struct Floor : Fast {
	static constexpr const char *name = "floor";

	static long create() { return open("/dev/floor", O_RDWR | O_CLOEXEC); }
};

void floor()
{
	Fds fds;
	int door = fds.add(Floor::create());

	if (wanted("wait, nothing"))
		report(Floor::name, "wait, nothing ready",
		       cost(turns(), [&] { Floor::wait(door, events, 64, 0); }));
	for (int ready : { 1, 8, 64, 512 })
		level<Floor>(kinds[0], ready);
}

// Switches adoption on or off
void adopt(bool on)
{
	const int fd = static_cast<int>(
		must(open("/sys/module/myepoll/parameters/adopt", O_WRONLY), "adopt"));

	must(write(fd, on ? "1" : "0", 1), "adopt");
	close(fd);
}

void all_adopted()
{
	adopt(true);
	if (only_way.empty() || only_way == Unmarked::name) {
		if (wanted("wait, nothing"))
			empty_wait<Unmarked>();
		changes<Unmarked>(10);
	}
	personality(MYEPOLL_PERSONALITY);
	all<Adopt>();
	personality(0);
	adopt(false);
}

} // namespace

int main(int argc, char **argv)
{
	const char *unwatched = nullptr;
	rlimit files{ 1U << 21, 1U << 21 };

	for (int i = 1; i < argc; i++) {
		std::string arg = argv[i];

		if (arg == "--quick")
			quick = true;
		else if (!arg.compare(0, 12, "--unwatched="))
			unwatched = argv[i] + 12;
		else if (!arg.compare(0, 7, "--only="))
			only = arg.substr(7);
		else if (!arg.compare(0, 6, "--way="))
			only_way = arg.substr(6);
		else if (!arg.compare(0, 8, "--turns="))
			most_turns = std::atoi(argv[i] + 8);
		else if (!arg.compare(0, 10, "--watches="))
			most_watches = std::atoi(argv[i] + 10);
		else {
			std::fprintf(stderr, "bench: unknown option %s\n", argv[i]);
			return 2;
		}
	}
	if (setrlimit(RLIMIT_NOFILE, &files)) {
		getrlimit(RLIMIT_NOFILE, &files);
		files.rlim_cur = files.rlim_max;
		setrlimit(RLIMIT_NOFILE, &files);
		most_watches = std::min(most_watches, static_cast<int>(files.rlim_max) - 2000);
	}

	if (unwatched) {
		if (wanted("close, unwatched"))
			close_unwatched(unwatched);
		return 0;
	}
	if (only_way == Floor::name) {
		floor();
		return 0;
	}
	device = static_cast<int>(must(open("/dev/myepoll", O_RDWR | O_CLOEXEC), "/dev/myepoll"));
	if (wanted("close, unwatched"))
		close_unwatched("loaded");
	all<Epoll>();
	all<Fast>();
	all<Ioctl>();
	if (only_way.empty() || only_way == Turn::name)
		turn_or_calls<Turn>();
	all_adopted();
	if (only_way.empty())
		memory();
	if (wanted("bytes per instance") && only_way.empty()) {
		memory_of_instances<Epoll>();
		memory_of_instances<Fast>();
	}
	if (only.empty())
		others();
	if (most_turns)
		std::printf("runs %ld\n", runs);
	return 0;
}
