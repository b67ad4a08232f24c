// SPDX-License-Identifier: GPL-2.0
// The same random calls to an instance of the backend and to one of the
// kernel's epoll, over the same files: every answer and every event must be the
// same. On the backend epoll it compares epoll with itself.
#include <algorithm>
#include <cerrno>
#include <cstring>
#include <random>
#include <tuple>

#include <sys/mman.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

constexpr int files = 24, inner = 3;
constexpr int keys = files + inner;

// One instance of each kind, and what is done to both
class Both {
public:
	Both()
	{
		pages_ = static_cast<char *>(
			mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
		must_libc(mprotect(pages_ + 4096, 4096, PROT_NONE), "mprotect");
	}
	~Both() { munmap(pages_, 8192); }
	Both(const Both &) = delete;

	Instance ours{ be() }, theirs{ native_epoll() };

	// "" or how the two differ; fd_a and fd_b differ for nested instances
	std::string ctl(int op, int fd_a, int fd_b, std::uint32_t events, std::uint64_t data)
	{
		return same("ctl", ours.ctl(op, fd_a, events, data), theirs.ctl(op, fd_b, events, data));
	}
	// max events asked for; the buffer has room for `room`
	std::string wait(int max, int room)
	{
		Events a, b;
		int n = wait_one(be(), ours, max, room, a);
		int m = wait_one(native_epoll(), theirs, max, room, b);
		std::string differs = same("wait", n, m);
		if (differs.empty() && a != b)
			differs = "events: " + Catch::Detail::stringify(a) + " and " + Catch::Detail::stringify(b);
		return differs;
	}
	// The order is not compared, and numbers only where they are the same file
	std::string list()
	{
		auto sorted = [](std::vector<Watch> list) {
			for (Watch &watch : list)
				watch.fd = 0;
			std::sort(list.begin(), list.end(), [](const Watch &l, const Watch &r) {
				return std::tie(l.data, l.events) < std::tie(r.data, r.events);
			});
			return list;
		};
		auto a = sorted(watches(ours.fd())), b = sorted(watches(theirs.fd()));
		return a == b ? "" :
				"fdinfo: " + Catch::Detail::stringify(a) + " and " + Catch::Detail::stringify(b);
	}

private:
	static std::string same(const char *what, int a, int b)
	{
		return a == b ? "" : std::string(what) + ": " + std::to_string(a) + " and " + std::to_string(b);
	}
	int wait_one(const Backend &backend, const Instance &ep, int max, int room, Events &events)
	{
		auto *buffer = reinterpret_cast<epoll_event *>(pages_ + 4096) - room;
		int n = backend.wait(ep.fd(), buffer, max, 0);
		for (int i = 0; i < n; i++)
			events.push_back({ buffer[i].events, buffer[i].data.u64 });
		return n;
	}
	char *pages_;
};

std::string one_run(unsigned seed, int steps)
{
	constexpr std::uint32_t bits[] = { EPOLLIN,  EPOLLOUT,	 EPOLLRDHUP,   EPOLLPRI,     EPOLLRDNORM,
					   EPOLLET,  EPOLLET,	 EPOLLONESHOT, EPOLLEXCLUSIVE, 1U << 16 };
	std::mt19937 random(seed);
	auto pick = [&](int n) { return static_cast<int>(random() % unsigned(n)); };
	Both outer;
	Both nested[inner];
	Fd file[files], peer[files];
	std::string differs;

	auto fresh = [&](int i) {
		switch (i % 3) {
		case 0:
			file[i] = event_fd(unsigned(pick(2)));
			break;
		case 1: {
			Pair pair = make_pair(SOCK_STREAM);
			file[i] = std::move(pair.a);
			peer[i] = std::move(pair.b);
			break;
		}
		case 2: {
			Ends pipe = make_pipe();
			file[i] = std::move(pipe.r);
			peer[i] = std::move(pipe.w);
			break;
		}
		}
	};
	for (int i = 0; i < files; i++)
		fresh(i);

	for (int step = 0; step < steps && differs.empty(); step++) {
		Both &ep = pick(4) ? outer : nested[pick(inner)];
		int i = pick(files);
		switch (pick(12)) {
		case 0:
		case 1:
		case 2: { // ctl
			std::uint32_t events = 0;
			for (int n = pick(4); n >= 0; n--)
				events |= bits[pick(std::size(bits))];
			int op = pick(40) ? EPOLL_CTL_ADD + pick(3) : 0;
			int key = pick(keys);
			std::uint64_t data = std::uint64_t(step) << 8 | unsigned(key);
			if (key < files)
				differs = ep.ctl(op, file[key], file[key], events, data);
			else
				differs = ep.ctl(op, nested[key - files].ours.fd(),
						 nested[key - files].theirs.fd(), events, data);
			break;
		}
		case 3:
		case 4:
		case 5: // something happens
			if (i % 3 == 0)
				put(file[i]);
			else if (peer[i] >= 0)
				send_byte(peer[i]);
			break;
		case 6: // and ends
			drain(file[i]);
			break;
		case 7: // a peer goes, a file goes, and comes again
			if (pick(3) == 0)
				peer[i].reset();
			else if (pick(3) == 0) {
				file[i].reset();
				peer[i].reset();
				fresh(i);
			}
			break;
		case 8:
			differs = ep.wait(1 + pick(3), 3);
			break;
		case 9:
			differs = ep.wait(64, 64);
			break;
		case 10: { // a buffer that ends early
			int room = pick(8);
			differs = ep.wait(64, room);
			break;
		}
		case 11:
			differs = ep.list();
			break;
		}
		if (!differs.empty())
			differs = "seed " + std::to_string(seed) + ", step " + std::to_string(step) + ": " + differs;
	}
	return differs;
}

} // namespace

TEST_CASE_METHOD(Tidy, "the same random calls have the same answers as from the kernel's epoll",
		 "[differential]")
{
	for (unsigned seed = 1; seed <= 60; seed++) {
		std::string differs = one_run(seed, 600);
		INFO(differs);
		REQUIRE(differs.empty());
	}
}

TEST_CASE_METHOD(Tidy, "hundreds of ready items: the order, and a buffer that ends anywhere", "[order][differential]")
{
	allow_descriptors(2500);
	constexpr int many = 300;
	Both ep;
	std::vector<Fd> targets(many);
	std::mt19937 random(1);

	for (unsigned i = 0; i < many; i++) {
		targets[i] = event_fd();
		constexpr std::uint32_t modes[] = { 0, EPOLLET, EPOLLONESHOT };
		REQUIRE(ep.ctl(EPOLL_CTL_ADD, targets[i], targets[i], EPOLLIN | modes[i % 3], i) == "");
	}
	for (int round = 0; round < 100; round++) {
		for (int n = 0; n < 40; n++)
			put(targets[random() % many]);
		for (int n = 0; n < 10; n++)
			drain(targets[random() % many]);
		REQUIRE(ep.wait(300, static_cast<int>(random() % 300)) == "");
		REQUIRE(ep.wait(1 + static_cast<int>(random() % 300), 300) == "");
		for (unsigned i = 2; i < many; i += 3)
			REQUIRE(ep.ctl(EPOLL_CTL_MOD, targets[i], targets[i], EPOLLIN | EPOLLONESHOT, i) == "");
	}
}
