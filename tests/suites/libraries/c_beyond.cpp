// SPDX-License-Identifier: GPL-2.0
// The C library: what epoll does not have. What the module does is for tests/suites/beyond;
// here it is which way a call goes, and what becomes of errors and of NULL.
#include "catch.hpp"
#include "util.hpp"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "myepoll.h"

static Fd instance()
{
	Fd fd(myepoll_create1(EPOLL_CLOEXEC));

	REQUIRE(fd >= 0);
	return fd;
}

static Result ctl(int ep, int op, int fd, epoll_event *event)
{
	return result_of([&] { return myepoll_ctl(ep, op, fd, event); });
}

namespace {

struct Turn {
	std::vector<struct myepoll_change> changes;
	epoll_event events[4] = {};
	struct myepoll_turn arg = {};

	explicit Turn(std::vector<struct myepoll_change> all) : changes(std::move(all))
	{
		arg.changes = reinterpret_cast<std::uintptr_t>(changes.data());
		arg.events = reinterpret_cast<std::uintptr_t>(events);
		arg.nchanges = static_cast<unsigned>(changes.size());
		arg.maxevents = 4;
		arg.done = arg.failed = 99;
	}
	Result operator()(int ep)
	{
		return result_of([&] { return myepoll_turn(ep, &arg); });
	}
};

// Descriptors that are open and no instance
std::vector<Fd> foreign()
{
	std::vector<Fd> all;

	all.push_back(eventfd_with(0));
	all.push_back(native_epoll());
	all.emplace_back(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	all.emplace_back(open("/dev/myepoll", O_RDWR | O_CLOEXEC));
	all.emplace_back(open("/dev/null", O_RDWR | O_CLOEXEC));
	return all;
}

} // namespace

TEST_CASE("features", "[c][beyond]")
{
	Fd ep = instance();
	std::uint64_t features = 0;

	REQUIRE(myepoll_features(ep, &features) == 0);
	CHECK((features & MYEPOLL_FEATURE_TURN));
	CHECK((features & MYEPOLL_FEATURE_OPS));
	CHECK((features & MYEPOLL_FEATURE_OPTIONS));
	for (const auto &fd : foreign()) {
		INFO(link_of(fd));
		CHECK(result_of([&] { return myepoll_features(fd, &features); }) == failed(EINVAL));
	}
	CHECK(result_of([&] { return myepoll_features(-1, &features); }) == failed(EBADF));
}

TEST_CASE("ctl: SET adds, and then modifies", "[c][beyond]")
{
	Fd ep = instance(), a = eventfd_with(1);
	epoll_event e = ev(EPOLLIN, 1), got[2];

	CHECK(ctl(ep, MYEPOLL_CTL_SET, a, &e) == success());
	e.data.u64 = 2;
	CHECK(ctl(ep, MYEPOLL_CTL_SET, a, &e) == success());
	REQUIRE(myepoll_wait(ep, got, 2, 0) == 1);
	CHECK(got[0].data.u64 == 2);
	CHECK(ctl(ep, MYEPOLL_CTL_SET, a, nullptr) == failed(EFAULT));
	CHECK(ctl(ep, MYEPOLL_CTL_SET, 1 << 20, &e) == failed(EBADF));
}

TEST_CASE("ctl: DISABLE is done once, with an event or none", "[c][beyond]")
{
	Fd ep = instance(), file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));

	for (bool with_event : { true, false }) {
		Fd armed = eventfd_with(0), taken = eventfd_with(1), level = eventfd_with(0);
		epoll_event e = ev(EPOLLIN | EPOLLONESHOT, 1), unused = ev(~0u, ~0ull), got[2];
		epoll_event *event = with_event ? &unused : nullptr;

		INFO("with an event: " << with_event);
		REQUIRE(ctl(ep, EPOLL_CTL_ADD, armed, &e) == success());
		REQUIRE(ctl(ep, EPOLL_CTL_ADD, taken, &e) == success());
		REQUIRE(myepoll_wait(ep, got, 2, 0) == 1);
		CHECK(ctl(ep, MYEPOLL_CTL_DISABLE, armed, event) == success());
		CHECK(ctl(ep, MYEPOLL_CTL_DISABLE, armed, event) == failed(EALREADY));
		CHECK(ctl(ep, MYEPOLL_CTL_DISABLE, taken, event) == failed(EBUSY));
		CHECK(ctl(ep, MYEPOLL_CTL_DISABLE, taken, event) == failed(EALREADY));
		CHECK(ctl(ep, EPOLL_CTL_MOD, taken, &e) == failed(ECANCELED));
		CHECK(ctl(ep, EPOLL_CTL_MOD, armed, &e) == failed(ECANCELED));
		CHECK(ctl(ep, MYEPOLL_CTL_DISABLE, level, event) == failed(ENOENT));
		CHECK(ctl(ep, MYEPOLL_CTL_DISABLE, 1 << 20, event) == failed(EBADF));
		CHECK(ctl(ep, MYEPOLL_CTL_DISABLE, file, event) == failed(EPERM));
		CHECK(ctl(ep, MYEPOLL_CTL_DISABLE, ep, event) == failed(EINVAL));
		e.events = EPOLLIN;
		REQUIRE(ctl(ep, EPOLL_CTL_ADD, level, &e) == success());
		CHECK(ctl(ep, MYEPOLL_CTL_DISABLE, level, event) == failed(EINVAL));
		for (const auto &fd : foreign()) {
			INFO(link_of(fd));
			CHECK(ctl(fd, MYEPOLL_CTL_DISABLE, armed, event) == failed(EINVAL));
		}
		CHECK(ctl(-1, MYEPOLL_CTL_DISABLE, armed, event) == failed(EBADF));
	}
}

TEST_CASE("ctl: DROP by a token, which is 0 without an event", "[c][beyond]")
{
	Fd ep = instance(), a = eventfd_with(1), b = eventfd_with(1), c = eventfd_with(1);
	epoll_event zero = ev(EPOLLIN, 0), seven = ev(EPOLLIN, 7), got[4];

	REQUIRE(ctl(ep, EPOLL_CTL_ADD, a, &zero) == success());
	REQUIRE(ctl(ep, EPOLL_CTL_ADD, b, &seven) == success());
	REQUIRE(ctl(ep, EPOLL_CTL_ADD, c, &seven) == success());
	CHECK(ctl(ep, MYEPOLL_CTL_DROP, -1, &seven) == success());
	REQUIRE(myepoll_wait(ep, got, 4, 0) == 1);
	CHECK(got[0].data.u64 == 0);
	CHECK(ctl(ep, MYEPOLL_CTL_DROP, -1, &seven) == failed(ENOENT));
	CHECK(ctl(ep, MYEPOLL_CTL_DROP, -1, nullptr) == success());
	CHECK(myepoll_wait(ep, got, 4, 0) == 0);
	CHECK(ctl(ep, MYEPOLL_CTL_DROP, a, &zero) == failed(EINVAL));
	CHECK(ctl(ep, MYEPOLL_CTL_DROP, 1 << 20, &zero) == failed(EINVAL));
	for (const auto &fd : foreign()) {
		INFO(link_of(fd));
		CHECK(ctl(fd, MYEPOLL_CTL_DROP, -1, &zero) == failed(EINVAL));
		CHECK(ctl(fd, MYEPOLL_CTL_DROP, -1, nullptr) == failed(EINVAL));
	}
	CHECK(ctl(-1, MYEPOLL_CTL_DROP, -1, &zero) == failed(EBADF));
}

TEST_CASE("turn: changes, then the wait; what fails has its result", "[c][beyond]")
{
	Fd ep = instance(), a = eventfd_with(1), b = eventfd_with(0);
	Turn turn({ { EPOLL_CTL_ADD, a, EPOLLIN, 99, 1 }, { EPOLL_CTL_ADD, b, EPOLLIN | EPOLLOUT, 99, 2 } });

	turn.arg.timeout = -1;
	CHECK(turn(ep) == success(2));
	CHECK(turn.arg.done == 2);
	CHECK(turn.arg.failed == 0);
	CHECK(turn.changes[0].result == 0);
	CHECK(turn.events[0].data.u64 == 1);
	CHECK(turn.events[1].events == EPOLLOUT);
	/* Again: both are there by now, and the wait only looks. */
	CHECK(turn(ep) == success(2));
	CHECK(turn.arg.failed == 2);
	CHECK(turn.changes[1].result == -EEXIST);
	turn.arg.flags = MYEPOLL_TURN_STOP;
	CHECK(turn(ep) == success(2));
	CHECK(turn.arg.done == 1);

	Turn changes({ { EPOLL_CTL_DEL, a, 0, 0, 0 }, { EPOLL_CTL_DEL, a, 0, 0, 0 } });
	changes.arg.maxevents = 0;
	CHECK(changes(ep) == success(0));
	CHECK(changes.changes[0].result == 0);
	CHECK(changes.changes[1].result == -ENOENT);
	Turn nothing({});
	CHECK(nothing(ep) == success(1));
}

TEST_CASE("turn: fails as a wait does, and then does nothing", "[c][beyond]")
{
	Fd ep = instance(), a = eventfd_with(1);
	Turn turn({ { EPOLL_CTL_ADD, a, EPOLLIN, 99, 1 } });
	epoll_event got[1];

	for (const auto &fd : foreign()) {
		INFO(link_of(fd));
		turn.arg.timeout = -1;
		CHECK(turn(fd) == failed(EINVAL));
		turn.arg.maxevents = 0;
		CHECK(turn(fd) == failed(EINVAL));
		turn.arg.maxevents = 4;
	}
	CHECK(turn(-1) == failed(EBADF));
	turn.arg.maxevents = -1;
	CHECK(turn(ep) == failed(EINVAL));
	turn.arg.maxevents = 4;
	turn.arg.flags = 1u << 31;
	CHECK(turn(ep) == failed(EINVAL));
	turn.arg.flags = 0;
	turn.arg.changes = 8;
	CHECK(turn(ep) == failed(EFAULT));
	CHECK(turn.changes[0].result == 99);
	CHECK(myepoll_wait(ep, got, 1, 0) == 0);
}

TEST_CASE("turn: nanoseconds, and a mask", "[c][beyond]")
{
	using namespace std::chrono;
	Fd ep = instance();
	Turn turn({});
	struct sigaction action = {}, old_action;
	sigset_t usr1, old;

	const auto start = steady_clock::now();
	turn.arg.timeout = 20'500'001;
	CHECK(turn(ep) == success(0));
	CHECK(steady_clock::now() - start >= 20'500'001ns);

	action.sa_handler = [](int) {};
	sigaction(SIGUSR1, &action, &old_action);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, &old);
	raise(SIGUSR1);
	Fd a = eventfd_with(0);
	Turn masked({ { EPOLL_CTL_ADD, a, EPOLLIN, 99, 1 } });
	masked.arg.timeout = -1;
	masked.arg.flags = MYEPOLL_TURN_SIGMASK;
	CHECK(masked(ep) == failed(EINTR));
	CHECK(masked.arg.done == 1);
	CHECK(masked.changes[0].result == 0);
	pthread_sigmask(SIG_SETMASK, &old, nullptr);
	sigaction(SIGUSR1, &old_action, nullptr);
}

/* To ASan a forced unwind is a stack in disorder. */
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("turn: a cancellation point whose changes are made", "[c][beyond]")
{
	static std::atomic<bool> started;
	static int ep, target;
	Fd owned = instance(), event = eventfd_with(0);
	epoll_event e = ev(EPOLLIN);
	pthread_t thread;
	void *result;

	ep = owned;
	target = event;
	REQUIRE(!pthread_create(&thread, nullptr, [](void *) -> void * {
		Turn turn({ { EPOLL_CTL_ADD, target, EPOLLIN, 0, 1 } });

		turn.arg.timeout = -1;
		started = true;
		for (;;)
			turn(ep);
	}, nullptr));
	while (!started)
		std::this_thread::yield();
	std::this_thread::sleep_for(std::chrono::milliseconds(20));
	pthread_cancel(thread);
	REQUIRE(!pthread_join(thread, &result));
	CHECK(result == PTHREAD_CANCELED);
	CHECK(ctl(ep, EPOLL_CTL_ADD, target, &e) == failed(EEXIST));
}
#endif

TEST_CASE("list", "[c][beyond]")
{
	Fd ep = instance(), a = eventfd_with(1), b = eventfd_with(0);
	epoll_event e = ev(EPOLLIN, 1);
	struct myepoll_watch watches[3];

	CHECK(myepoll_list(ep, nullptr, 0) == 0);
	REQUIRE(ctl(ep, EPOLL_CTL_ADD, a, &e) == success());
	e = ev(EPOLLOUT | EPOLLET, 2);
	REQUIRE(ctl(ep, EPOLL_CTL_ADD, b, &e) == success());
	CHECK(myepoll_list(ep, nullptr, 0) == 2);
	memset(watches, 0x55, sizeof(watches));
	CHECK(myepoll_list(ep, watches, 1) == 2);
	CHECK(watches[0].data == 1);
	CHECK(watches[1].data == 0x5555555555555555);
	CHECK(myepoll_list(ep, watches, 3) == 2);
	CHECK(watches[1].fd == b);
	CHECK(watches[1].data == 2);
	CHECK(watches[1].state == (MYEPOLL_WATCH_OPEN | MYEPOLL_WATCH_READY));
	CHECK(result_of([&] { return myepoll_list(ep, reinterpret_cast<struct myepoll_watch *>(8), 1); }) ==
	      failed(EFAULT));
	for (const auto &fd : foreign()) {
		INFO(link_of(fd));
		CHECK(result_of([&] { return myepoll_list(fd, watches, 3); }) == failed(EINVAL));
	}
	CHECK(result_of([&] { return myepoll_list(-1, watches, 3); }) == failed(EBADF));
}

TEST_CASE("options", "[c][beyond]")
{
	Fd ep = instance();
	struct myepoll_options options = {};
	const auto set = [](int fd, struct myepoll_options o) {
		return result_of([&] { return myepoll_set_options(fd, &o); });
	};

	CHECK(set(ep, { MYEPOLL_OPT_FAIR | MYEPOLL_OPT_BALANCE, 200, {} }) == success());
	CHECK(myepoll_get_options(ep, &options) == 0);
	CHECK(options.flags == (MYEPOLL_OPT_FAIR | MYEPOLL_OPT_BALANCE));
	CHECK(options.min_wait == 200);
	CHECK(set(ep, { 1u << 31, 0, {} }) == failed(EINVAL));
	CHECK(set(ep, { 0, MYEPOLL_MAX_MIN_WAIT + 1, {} }) == failed(EINVAL));
	CHECK(set(ep, { 0, 0, { 1, 0 } }) == failed(EINVAL));
	CHECK(result_of([&] { return myepoll_set_options(ep, nullptr); }) == failed(EFAULT));
	for (const auto &fd : foreign()) {
		INFO(link_of(fd));
		CHECK(set(fd, {}) == failed(EINVAL));
		CHECK(result_of([&] { return myepoll_get_options(fd, &options); }) == failed(EINVAL));
	}
	CHECK(set(-1, {}) == failed(EBADF));
}

CHILD(older_module)
{
	Fd ep(myepoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(1), other = eventfd_with(0);
	Turn turn({ { EPOLL_CTL_ADD, target, EPOLLIN, 0, 1 } });
	struct myepoll_options options = {};
	struct myepoll_watch watches[1];
	std::uint64_t features;

	EXPECT(ep >= 0);
	older_module();
	EXPECT(myepoll_features(ep, &features) == 0 && features == MYEPOLL_FEATURE_FAST_DOOR);
	EXPECT(turn(ep) == failed(ENOTTY));
	EXPECT(result_of([&] { return myepoll_list(ep, watches, 1); }) == failed(ENOTTY));
	EXPECT(result_of([&] { return myepoll_get_options(ep, &options); }) == failed(ENOTTY));
	EXPECT(result_of([&] { return myepoll_set_options(ep, &options); }) == failed(ENOTTY));
	/* That is about instances. */
	EXPECT(turn(other) == failed(EINVAL));
	EXPECT(result_of([&] { return myepoll_list(other, watches, 1); }) == failed(EINVAL));
	/* And epoll's calls go on. */
	epoll_event e = ev(EPOLLIN, 2), got[1];
	EXPECT(ctl(ep, EPOLL_CTL_ADD, target, &e) == success());
	EXPECT(myepoll_wait(ep, got, 1, -1) == 1 && got[0].data.u64 == 2);
	return 0;
}

TEST_CASE("an older module is ENOTTY", "[c][beyond]")
{
	for (auto door : { "MYEPOLL_DOOR=", "MYEPOLL_DOOR=ioctl" }) {
		const Ran ran = again("older_module", {}, { door });

		INFO(door);
		CHECK(ran.err == "");
		CHECK(ran.status == 0);
	}
}
