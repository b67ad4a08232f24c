// SPDX-License-Identifier: GPL-2.0
// What epoll does not have, against itself and against closes and wakeups, while the options of
// the instance are switched.
#include <cerrno>
#include <memory>

#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uapi/myepoll.h"
#include "catch.hpp"
#include "stress.hpp"

namespace {

template <typename T> std::uint64_t address(T *p)
{
	return reinterpret_cast<std::uintptr_t>(p);
}

int switch_options(int epfd, std::mt19937 &random)
{
	static const unsigned min_waits[] = { 0, 0, 50, 2000 };
	myepoll_options options{ perhaps(random, MYEPOLL_OPT_FAIR) | perhaps(random, MYEPOLL_OPT_BALANCE),
				 min_waits[pick(random, 4)], {} };
	return ioctl(epfd, MYEPOLL_IOC_SET_OPTIONS, &options);
}

// By the door of this run; -errno, or so many events
int turn(int epfd, std::vector<myepoll_change> &changes, epoll_event *events, int room, std::int64_t timeout_ns,
	 unsigned *done = nullptr)
{
	myepoll_turn t{};
	t.changes = address(changes.data());
	t.nchanges = static_cast<unsigned>(changes.size());
	t.events = address(events);
	t.maxevents = room;
	t.timeout = timeout_ns;
	long r = be().door() == Door::fast ? syscall(SYS_fadvise64, epfd, &t, sizeof(t), MYEPOLL_FAST_TURN)
					   : ioctl(epfd, MYEPOLL_IOC_TURN, &t);
	if (done)
		*done = t.done;
	return static_cast<int>(r < 0 ? -errno : r);
}

struct Listener {
	Fd fd{ must_libc(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) };
	sockaddr_in address{};

	Listener()
	{
		socklen_t length = sizeof(address);
		address.sin_family = AF_INET;
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		must_libc(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)));
		must_libc(getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length));
		must_libc(listen(fd, 128));
	}
};

} // namespace

TEST_CASE_METHOD(Tidy, "turns, SET, DISABLE, DROP, LIST and closes on the same few files, under any options", "[beyond]")
{
	if (skip_unless(!be().system_calls(), "only by the module's own calls"))
		return;
	constexpr int files = 8, base = 700;
	Instance ep;
	Fd source = event_fd(1);
	auto fresh = [&](std::mt19937 &random, int i) {
		Fd fd;
		if (pick(random, 2)) {
			fd = event_fd(pick(random, 2));
		} else {
			Pair pair = make_pair(SOCK_STREAM);
			fd = std::move(pair.a);
		}
		dup3(fd, base + i, O_CLOEXEC);
	};
	std::mt19937 first(1);
	for (int i = 0; i < files; i++)
		fresh(first, i);

	Race race;
	race.run(2, [&](auto &random) {
		static const int ops[] = { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, MYEPOLL_CTL_SET,
					   MYEPOLL_CTL_SET, MYEPOLL_CTL_DISABLE, MYEPOLL_CTL_DROP };
		std::vector<myepoll_change> changes;
		for (int n = pick(random, 40); n; n--) {
			int op = ops[pick(random, 7)], i = pick(random, files);
			changes.push_back({ op, op == MYEPOLL_CTL_DROP ? -1 : base + i,
					    EPOLLIN | perhaps(random, EPOLLONESHOT) | perhaps(random, EPOLLET), 12345,
					    static_cast<std::uint64_t>(i) });
		}
		epoll_event events[files];
		unsigned done = 0;
		int r = turn(ep.fd(), changes, events, pick(random, files + 1), pick(random, 2) * 100'000, &done);
		if (r < 0 || r > files || done != changes.size())
			race.fail("turn: " + std::to_string(r) + ", done: " + std::to_string(done));
		for (auto &change : changes)
			switch (change.result) {
			case 0: case -EBADF: case -EEXIST: case -ENOENT: case -ECANCELED: case -EALREADY: case -EBUSY:
			case -EINVAL:
				break;
			default:
				race.fail("a change: " + std::to_string(change.result));
			}
	});
	race.run(1, [&](auto &random) {
		int i = pick(random, files);
		if (pick(random, 3))
			fresh(random, i);
		else
			close(base + i);
	});
	race.run(1, [&](auto &random) {
		myepoll_watch watches[4 * files];
		myepoll_list list{ address(watches), static_cast<unsigned>(pick(random, 4 * files)), sizeof(myepoll_watch) };
		if (ioctl(ep.fd(), MYEPOLL_IOC_LIST, &list) < 0)
			race.fail("LIST");
		if (switch_options(ep.fd(), random))
			race.fail("options");
	});
	race.run(1, [&](auto &random) { ep.wait(pick(random, 3), 1 + pick(random, files)); });
	CHECK(race.join() == "");
	for (int i = 0; i < files; i++)
		close(base + i);
	switch_options(ep.fd(), first);
	CHECK(watches(ep.fd()).empty());
	REQUIRE(ep.add(source, EPOLLIN, 5) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 5 } });
}

TEST_CASE_METHOD(Tidy, "a number: who asks at the same time gets the same", "[info]")
{
	if (skip_unless(!be().native(), "only an instance of the module has one"))
		return;
	std::atomic<int> asked{ -1 };
	std::atomic<unsigned long> theirs{ 0 };
	auto number_of = [](int fd) {
		myepoll_info info{};
		return ioctl(fd, MYEPOLL_IOC_INFO, &info) ? 0ul : static_cast<unsigned long>(info.instance);
	};

	Race race;
	race.run(1, [&](auto &) {
		Instance ep;
		asked = ep.fd();
		const unsigned long mine = number_of(ep.fd());
		while (!theirs)
			std::this_thread::yield();
		if (theirs.exchange(0) != mine)
			race.fail("two numbers for one instance");
	});
	race.run_beside(1, [&](auto &) {
		const int fd = asked.exchange(-1);
		if (fd >= 0)
			theirs = number_of(fd);
		else
			std::this_thread::yield();
	});
	CHECK(race.join() == "");
}

TEST_CASE_METHOD(Tidy, "balanced workers come, go and change their minds: no connection is left while one sleeps",
		 "[beyond][balance]")
{
	if (skip_unless(!be().system_calls(), "only by the module's own calls"))
		return;
	constexpr int workers = 4;
	Listener listener;
	Fd end = event_fd();
	std::atomic<long> accepted{ 0 };
	std::atomic<bool> over{ false };
	std::vector<std::thread> threads;
	std::atomic<int> failed{ 0 };

	for (int w = 0; w < workers; w++)
		threads.emplace_back([&, w] {
			std::mt19937 random(w + 1);
			while (!over) {
				Instance ep;
				myepoll_options options{ MYEPOLL_OPT_BALANCE | perhaps(random, MYEPOLL_OPT_FAIR),
							 pick(random, 3) ? 0u : 3000u, {} };
				failed += ioctl(ep.fd(), MYEPOLL_IOC_SET_OPTIONS, &options) != 0;
				failed += ep.add(end, EPOLLIN, 99) != 0;
				const std::uint32_t mode = pick(random, 3) ? 0 : +EPOLLONESHOT;
				failed += ep.add(listener.fd, EPOLLIN | mode, 1) != 0;
				// The worker waits without end, so that a connection which nobody is told of stays.
				for (int round = 2 + pick(random, 4); round && !over; round--) {
					for (const Event &event : ep.wait(-1, 4)) {
						if (event.data != 1)
							continue;
						// Some go without a look at what they have been told of.
						if (round == 1 && pick(random, 2))
							break;
						Fd connection(accept4(listener.fd, nullptr, nullptr, SOCK_CLOEXEC));
						accepted += connection >= 0;
					}
					std::vector<myepoll_change> changes;
					epoll_event none;
					switch (pick(random, 4)) {
					case 0: // away, and back
						changes.push_back({ EPOLL_CTL_DEL, listener.fd, 0, 0, 0 });
						changes.push_back({ MYEPOLL_CTL_SET, listener.fd, EPOLLIN | mode, 0, 1 });
						break;
					case 1:
						changes.push_back({ EPOLL_CTL_MOD, listener.fd, 0, 0, 1 });
						changes.push_back({ EPOLL_CTL_MOD, listener.fd, EPOLLIN | mode, 0, 1 });
						break;
					case 2:
						changes.push_back({ MYEPOLL_CTL_DROP, -1, 0, 0, 1 });
						changes.push_back({ EPOLL_CTL_ADD, listener.fd, EPOLLIN | mode, 0, 1 });
						break;
					default:
						changes.push_back({ MYEPOLL_CTL_SET, listener.fd, EPOLLIN | mode, 0, 1 });
					}
					failed += turn(ep.fd(), changes, &none, 0, 0) != 0;
				}
			}
		});

	std::mt19937 random(77);
	const auto deadline = Clock::now() + race_time();
	long made = 0;
	while (Clock::now() < deadline) {
		std::vector<Fd> clients;
		for (int n = 1 + pick(random, 3); n; n--, made++) {
			Fd client(must_libc(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
			must_libc(connect(client, reinterpret_cast<sockaddr *>(&listener.address), sizeof(listener.address)));
			clients.push_back(std::move(client));
		}
		if (!eventually([&] { return accepted == made; }, patience_ms / 3)) {
			FAIL_CHECK(made - accepted << " of " << made << " connections are left");
			break;
		}
	}
	over = true;
	put(end);
	for (auto &thread : threads)
		thread.join();
	CHECK(made > 0);
	CHECK(failed == 0);
}
