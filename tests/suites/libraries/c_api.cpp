// SPDX-License-Identifier: GPL-2.0
// The C library: every function, and every errno by way of every kind of descriptor.
#include "catch.hpp"
#include "util.hpp"

#include <chrono>
#include <climits>
#include <csignal>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "myepoll.h"

static Fd instance()
{
	Fd fd(myepoll_create1(EPOLL_CLOEXEC));

	INFO("errno " << errno);
	REQUIRE(fd >= 0);
	return fd;
}

static void *const bad_address = reinterpret_cast<void *>(8);

TEST_CASE("create1 takes EPOLL_CLOEXEC and nothing else", "[c]")
{
	Fd plain(myepoll_create1(0)), cloexec(myepoll_create1(EPOLL_CLOEXEC));

	REQUIRE(plain >= 0);
	REQUIRE(cloexec >= 0);
	CHECK(link_of(plain) == "anon_inode:[myepoll]");
	CHECK(fcntl(plain, F_GETFD) == 0);
	CHECK(fcntl(cloexec, F_GETFD) == FD_CLOEXEC);
	for (int flags : { 1, O_NONBLOCK, EPOLL_CLOEXEC | 1, -1 })
		CHECK(result_of([&] { return myepoll_create1(flags); }) == failed(EINVAL));
}

/* The same functions throw as libc's. */
static_assert(noexcept(myepoll_create(1)) == noexcept(epoll_create(1)));
static_assert(noexcept(myepoll_create1(0)) == noexcept(epoll_create1(0)));
static_assert(noexcept(myepoll_ctl(0, 0, 0, nullptr)) == noexcept(epoll_ctl(0, 0, 0, nullptr)));
static_assert(noexcept(myepoll_wait(0, nullptr, 0, 0)) == noexcept(epoll_wait(0, nullptr, 0, 0)));
static_assert(noexcept(myepoll_pwait(0, nullptr, 0, 0, nullptr)) ==
	      noexcept(epoll_pwait(0, nullptr, 0, 0, nullptr)));
static_assert(noexcept(myepoll_pwait2(0, nullptr, 0, nullptr, nullptr)) ==
	      noexcept(epoll_pwait2(0, nullptr, 0, nullptr, nullptr)));

TEST_CASE("create wants a positive size", "[c]")
{
	Fd fd(myepoll_create(1));

	REQUIRE(fd >= 0);
	CHECK(fcntl(fd, F_GETFD) == 0);
	CHECK(result_of([] { return myepoll_create(0); }) == failed(EINVAL));
	CHECK(result_of([] { return myepoll_create(INT_MIN); }) == failed(EINVAL));
}

TEST_CASE("an instance takes the lowest free number and leaves nothing else open", "[c]")
{
	Fd low = eventfd_with(0), high = eventfd_with(0);
	const int number = low;

	low = Fd();
	auto expected = open_files();
	Fd fd = instance();

	CHECK(fd == number);
	expected.insert(expected.begin() + number, std::to_string(number) + " anon_inode:[myepoll]");
	CHECK(open_files() == expected);
}

TEST_CASE("out of descriptors is EMFILE, and leaks none", "[c]")
{
	const int status = in_child([] {
		const auto before = open_files();
		std::vector<Fd> filler;
		rlimit limit;
		int fd;

		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = 64;
		setrlimit(RLIMIT_NOFILE, &limit);
		while ((fd = dup(2)) >= 0)
			filler.emplace_back(fd);
		EXPECT(result_of([] { return myepoll_create1(0); }) == failed(EMFILE));
		/* The device and the instance are open at once, for a moment. */
		filler.pop_back();
		EXPECT(result_of([] { return myepoll_create1(0); }) == failed(EMFILE));
		filler.pop_back();
		EXPECT(Fd(myepoll_create1(0)) >= 0);
		filler.clear();
		EXPECT(open_files() == before);
		return 0;
	});

	CHECK(status == 0);
}

TEST_CASE("events come back with their data", "[c]")
{
	Fd ep = instance(), a = eventfd_with(1), b = eventfd_with(0);
	epoll_event e = ev(EPOLLIN, 0xfedcba9876543210), got[4] = {};

	REQUIRE(myepoll_ctl(ep, EPOLL_CTL_ADD, a, &e) == 0);
	e = ev(EPOLLIN | EPOLLOUT, 7);
	REQUIRE(myepoll_ctl(ep, EPOLL_CTL_ADD, b, &e) == 0);

	REQUIRE(myepoll_wait(ep, got, 4, 0) == 2);
	CHECK(got[0].events == EPOLLIN);
	CHECK(got[0].data.u64 == 0xfedcba9876543210);
	CHECK(got[1].events == EPOLLOUT);
	CHECK(got[1].data.u64 == 7);

	e = ev(EPOLLIN, 8);
	REQUIRE(myepoll_ctl(ep, EPOLL_CTL_MOD, b, &e) == 0);
	REQUIRE(myepoll_ctl(ep, EPOLL_CTL_DEL, a, nullptr) == 0);
	CHECK(myepoll_wait(ep, got, 4, 0) == 0);
	eventfd_write(b, 1);
	REQUIRE(myepoll_wait(ep, got, 4, -1) == 1);
	CHECK(got[0].data.u64 == 8);
}

TEST_CASE("ctl fails as epoll_ctl does", "[c]")
{
	Fd ep = instance(), target = eventfd_with(0), other = eventfd_with(0);
	Fd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), inner = native_epoll();
	epoll_event e = ev(EPOLLIN);
	const auto ctl = [&](int epfd, int op, int fd, epoll_event *event) {
		return result_of([&] { return myepoll_ctl(epfd, op, fd, event); });
	};

	REQUIRE(ctl(ep, EPOLL_CTL_ADD, target, &e) == success());
	CHECK(ctl(ep, EPOLL_CTL_ADD, target, &e) == failed(EEXIST));
	CHECK(ctl(ep, EPOLL_CTL_MOD, other, &e) == failed(ENOENT));
	CHECK(ctl(ep, EPOLL_CTL_DEL, other, nullptr) == failed(ENOENT));
	CHECK(ctl(ep, EPOLL_CTL_ADD, inner, &e) == failed(ELOOP));
	CHECK(ctl(ep, EPOLL_CTL_ADD, file, &e) == failed(EPERM));
	CHECK(ctl(ep, EPOLL_CTL_DEL, file, nullptr) == failed(EPERM));
	CHECK(ctl(ep, EPOLL_CTL_ADD, ep, &e) == failed(EINVAL));
	CHECK(ctl(ep, 4, target, &e) == failed(EINVAL));
	CHECK(ctl(ep, 0, target, &e) == failed(EINVAL));
	CHECK(ctl(ep, 4, target, nullptr) == failed(EFAULT));
	CHECK(ctl(ep, EPOLL_CTL_ADD, -1, &e) == failed(EBADF));
	CHECK(ctl(ep, EPOLL_CTL_DEL, 1 << 20, nullptr) == failed(EBADF));
	CHECK(ctl(-1, EPOLL_CTL_ADD, target, &e) == failed(EBADF));
	CHECK(ctl(-1, EPOLL_CTL_ADD, target, nullptr) == failed(EFAULT));
	CHECK(ctl(-1, EPOLL_CTL_DEL, target, nullptr) == failed(EBADF));
	CHECK(ctl(ep, EPOLL_CTL_MOD, target, nullptr) == failed(EFAULT));
	e.events = EPOLLIN | EPOLLEXCLUSIVE;
	CHECK(ctl(ep, EPOLL_CTL_MOD, target, &e) == failed(EINVAL));
}

TEST_CASE("wait fails as epoll_wait does", "[c]")
{
	Fd ep = instance(), target = eventfd_with(1);
	epoll_event e = ev(EPOLLIN), got[1];
	const auto wait = [&](int epfd, epoll_event *events, int max) {
		return result_of([&] { return myepoll_wait(epfd, events, max, 0); });
	};

	REQUIRE(wait(ep, nullptr, 1) == success(0));
	REQUIRE(myepoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	CHECK(wait(ep, got, 0) == failed(EINVAL));
	CHECK(wait(ep, got, -1) == failed(EINVAL));
	CHECK(wait(ep, got, INT_MAX) == failed(EINVAL));
	CHECK(wait(ep, nullptr, 1) == failed(EFAULT));
	CHECK(wait(ep, static_cast<epoll_event *>(bad_address), 1) == failed(EFAULT));
	CHECK(wait(ep, reinterpret_cast<epoll_event *>(-4096L), 1) == failed(EFAULT));
	CHECK(wait(-1, got, 1) == failed(EBADF));
	CHECK(wait(ep, got, 1) == success(1));
}

namespace {

// Descriptors that are no instance, each with a name
struct Foreign {
	std::string name;
	Fd fd;
};

std::vector<Foreign> foreign()
{
	std::vector<Foreign> all;
	auto [r, w] = pipe_ends();
	int s[2];

	REQUIRE(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s) == 0);
	all.push_back({ "pipe, read end", std::move(r) });
	all.push_back({ "pipe, write end", std::move(w) });
	all.push_back({ "socket", Fd(s[0]) });
	close(s[1]);
	all.push_back({ "regular file", Fd(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)) });
	all.push_back({ "directory", Fd(open("/", O_RDONLY | O_CLOEXEC)) });
	all.push_back({ "O_PATH", Fd(open("/", O_PATH | O_CLOEXEC)) });
	all.push_back({ "/dev/null", Fd(open("/dev/null", O_RDWR | O_CLOEXEC)) });
	all.push_back({ "eventfd", eventfd_with(0) });
	all.push_back({ "the device", Fd(open("/dev/myepoll", O_RDWR | O_CLOEXEC)) });
	all.push_back({ "closed", Fd() });
	return all;
}

} // namespace

TEST_CASE("ctl on what is no instance fails as epoll_ctl on what is no epoll", "[c]")
{
	Fd target = eventfd_with(0), file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	epoll_event e = ev(EPOLLIN);

	for (const auto &f : foreign())
		for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 77 })
			for (int fd : { int(target), int(file), int(f.fd), 1 << 20 })
				for (epoll_event *event : { &e, static_cast<epoll_event *>(nullptr) }) {
					INFO(f.name << " op " << op << " target " << link_of(fd)
						    << (event ? "" : ", no event"));
					CHECK(result_of([&] { return myepoll_ctl(f.fd, op, fd, event); }) ==
					      result_of([&] {
						      return syscall(SYS_epoll_ctl, int(f.fd), op, fd, event);
					      }));
				}
}

TEST_CASE("wait on what is no instance fails in the order of new kernels", "[c]")
{
	epoll_event got[1];
	const timespec none = {};
	sigset_t empty;

	sigemptyset(&empty);
	for (const auto &f : foreign()) {
		const int plain = f.name == "closed" || f.name == "O_PATH" ? EBADF : EINVAL;
		const int fault = plain == EBADF ? EBADF : EFAULT;
		epoll_event *kernel = reinterpret_cast<epoll_event *>(-4096L);

		INFO(f.name);
		CHECK(result_of([&] { return myepoll_wait(f.fd, got, 1, -1); }) == failed(plain));
		CHECK(result_of([&] { return myepoll_wait(f.fd, nullptr, 1, 0); }) == failed(plain));
		CHECK(result_of([&] { return myepoll_wait(f.fd, kernel, 0, 0); }) == failed(plain));
		CHECK(result_of([&] { return myepoll_wait(f.fd, kernel, 1, 0); }) == failed(fault));
		CHECK(result_of([&] { return myepoll_pwait(f.fd, got, 1, -1, &empty); }) == failed(plain));
		CHECK(result_of([&] { return myepoll_pwait2(f.fd, got, 1, &none, nullptr); }) ==
		      failed(plain));
		CHECK(result_of([&] { return myepoll_pwait2(f.fd, got, 1, nullptr, &empty); }) ==
		      failed(plain));
	}
}

TEST_CASE("an instance of the kernel's own is refused and left alone", "[c]")
{
	Fd native = native_epoll(), target = eventfd_with(1), other = eventfd_with(1);
	epoll_event e = ev(EPOLLIN | EPOLLET), got[2];

	REQUIRE(syscall(SYS_epoll_ctl, int(native), EPOLL_CTL_ADD, int(target), &e) == 0);
	CHECK(result_of([&] { return myepoll_wait(native, got, 2, 0); }) == failed(EINVAL));
	CHECK(result_of([&] { return myepoll_ctl(native, EPOLL_CTL_ADD, other, &e); }) == failed(EINVAL));
	CHECK(result_of([&] { return myepoll_ctl(native, EPOLL_CTL_MOD, target, &e); }) == failed(EINVAL));
	CHECK(result_of([&] { return myepoll_ctl(native, EPOLL_CTL_DEL, target, nullptr); }) ==
	      failed(EINVAL));
	/* Its one edge is still there, and nothing was added. */
	CHECK(syscall(SYS_epoll_pwait, int(native), got, 2, 0, nullptr, 8) == 1);
}

namespace {

volatile sig_atomic_t handled;

// Counts SIGUSR1, which is blocked for the time
class Usr1 {
public:
	Usr1()
	{
		struct sigaction action = {};
		sigset_t set;

		handled = 0;
		action.sa_handler = [](int) { handled = handled + 1; };
		action.sa_flags = SA_RESTART;
		sigaction(SIGUSR1, &action, &old_action_);
		sigemptyset(&set);
		sigaddset(&set, SIGUSR1);
		pthread_sigmask(SIG_BLOCK, &set, &old_);
		open_ = old_;
		sigdelset(&open_, SIGUSR1);
	}
	~Usr1()
	{
		pthread_sigmask(SIG_SETMASK, &old_, nullptr);
		sigaction(SIGUSR1, &old_action_, nullptr);
	}
	const sigset_t *open() const { return &open_; }

private:
	struct sigaction old_action_;
	sigset_t old_, open_;
};

} // namespace

TEST_CASE("a signal ends a wait with EINTR", "[c]")
{
	Fd ep = instance();
	epoll_event got[1];
	const timespec minute = { 60, 0 };
	Usr1 usr1;

	raise(SIGUSR1);
	CHECK(result_of([&] { return myepoll_pwait(ep, got, 1, 60'000, usr1.open()); }) == failed(EINTR));
	CHECK(handled == 1);
	raise(SIGUSR1);
	CHECK(result_of([&] { return myepoll_pwait2(ep, got, 1, &minute, usr1.open()); }) ==
	      failed(EINTR));
	CHECK(handled == 2);
	/* Without a mask it stays pending. */
	raise(SIGUSR1);
	CHECK(myepoll_pwait(ep, got, 1, 10, nullptr) == 0);
	CHECK(myepoll_wait(ep, got, 1, 10) == 0);
	CHECK(handled == 2);
	/* And the mask is this thread's own again afterwards. */
	sigset_t now;
	pthread_sigmask(SIG_BLOCK, nullptr, &now);
	CHECK(sigismember(&now, SIGUSR1) == 1);
}

TEST_CASE("timeouts are in milliseconds, and for pwait2 in nanoseconds", "[c]")
{
	using namespace std::chrono;
	Fd ep = instance();
	epoll_event got[1];
	sigset_t none;
	const auto time = [](auto call) {
		const auto start = steady_clock::now();

		CHECK(call() == 0);
		return steady_clock::now() - start;
	};
	const timespec odd = { 0, 20'500'001 }, even = { 0, 30'000'000 }, zero = {};

	sigemptyset(&none);
	CHECK(time([&] { return myepoll_wait(ep, got, 1, 20); }) >= 20ms);
	CHECK(time([&] { return myepoll_pwait(ep, got, 1, 20, &none); }) >= 20ms);
	CHECK(time([&] { return myepoll_pwait2(ep, got, 1, &odd, nullptr); }) >= 20'500'001ns);
	CHECK(time([&] { return myepoll_pwait2(ep, got, 1, &odd, &none); }) >= 20'500'001ns);
	CHECK(time([&] { return myepoll_pwait2(ep, got, 1, &even, nullptr); }) >= 30ms);
	CHECK(time([&] { return myepoll_pwait2(ep, got, 1, &zero, nullptr); }) < 10s);
	CHECK(time([&] { return myepoll_wait(ep, got, 1, 0); }) < 10s);
}

TEST_CASE("waits without a timeout last until there is something", "[c]")
{
	Fd ep = instance(), target = eventfd_with(0);
	epoll_event e = ev(EPOLLIN, 5), got[1];
	const timespec ages = { std::numeric_limits<time_t>::max(), 999'999'999 };
	sigset_t none;

	sigemptyset(&none);
	REQUIRE(myepoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	const auto woken = [&](auto call) {
		eventfd_t drained;
		eventfd_read(target, &drained);
		std::thread writer([&] {
			std::this_thread::sleep_for(std::chrono::milliseconds(20));
			eventfd_write(target, 1);
		});
		const int n = call();

		writer.join();
		return n;
	};

	CHECK(woken([&] { return myepoll_wait(ep, got, 1, -1); }) == 1);
	CHECK(woken([&] { return myepoll_wait(ep, got, 1, INT_MIN); }) == 1);
	CHECK(woken([&] { return myepoll_wait(ep, got, 1, INT_MAX); }) == 1);
	CHECK(woken([&] { return myepoll_pwait(ep, got, 1, -1, &none); }) == 1);
	CHECK(woken([&] { return myepoll_pwait2(ep, got, 1, nullptr, nullptr); }) == 1);
	CHECK(woken([&] { return myepoll_pwait2(ep, got, 1, nullptr, &none); }) == 1);
	CHECK(woken([&] { return myepoll_pwait2(ep, got, 1, &ages, nullptr); }) == 1);
	CHECK(got[0].data.u64 == 5);
}

TEST_CASE("pwait2 looks at its timeout first", "[c]")
{
	Fd ep = instance(), target = eventfd_with(1);
	epoll_event e = ev(EPOLLIN), got[1];

	REQUIRE(myepoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	for (timespec bad : { timespec{ -1, 0 }, timespec{ 0, -1 }, timespec{ 0, 1'000'000'000 } }) {
		CHECK(result_of([&] { return myepoll_pwait2(ep, got, 1, &bad, nullptr); }) == failed(EINVAL));
		CHECK(result_of([&] { return myepoll_pwait2(-1, got, 1, &bad, nullptr); }) == failed(EINVAL));
	}
}

TEST_CASE("is_instance", "[c]")
{
	Fd ep = instance(), copy(dup(ep)), native = native_epoll();

	CHECK(myepoll_is_instance(ep) == 1);
	CHECK(myepoll_is_instance(copy) == 1);
	CHECK(myepoll_is_instance(native) == 0);
	for (const auto &f : foreign()) {
		INFO(f.name);
		CHECK(result_of([&] { return myepoll_is_instance(f.fd); }) ==
		      (f.name == "closed" || f.name == "O_PATH" ? failed(EBADF) : success(0)));
	}
}

/*
 * Cancellation
 *
 * To ASan a forced unwind is a stack in disorder.
 */

#ifndef __SANITIZE_ADDRESS__
namespace {

struct Waiter {
	int ep;
	int way;
	bool started = false;
};

void *wait_in_some_way(void *arg)
{
	auto *w = static_cast<Waiter *>(arg);
	epoll_event got[1];
	sigset_t none;

	sigemptyset(&none);
	__atomic_store_n(&w->started, true, __ATOMIC_RELEASE);
	for (;;)
		switch (w->way) {
		case 0:
			myepoll_wait(w->ep, got, 1, -1);
			break;
		case 1:
			myepoll_pwait(w->ep, got, 1, -1, &none);
			break;
		case 2:
			myepoll_pwait2(w->ep, got, 1, nullptr, nullptr);
			break;
		case 3:
			myepoll_wait(w->ep, got, 1, 0); /* never blocks, and still is a point */
			break;
		}
}

} // namespace

TEST_CASE("waits are cancellation points", "[c]")
{
	Fd ep = instance();

	for (int way = 0; way < 4; way++) {
		Waiter w = { ep, way };
		pthread_t thread;
		void *result;

		INFO("way " << way);
		REQUIRE(!pthread_create(&thread, nullptr, wait_in_some_way, &w));
		while (!__atomic_load_n(&w.started, __ATOMIC_ACQUIRE))
			std::this_thread::yield();
		std::this_thread::sleep_for(std::chrono::milliseconds(20));
		pthread_cancel(thread);
		REQUIRE(!pthread_join(thread, &result));
		CHECK(result == PTHREAD_CANCELED);
	}
}

#endif

TEST_CASE("after a wait the cancellation type is what it was", "[c]")
{
	Fd ep = instance();
	int after_wait = -1, after_pwait = -1;
	std::thread([&] {
		epoll_event got[1];
		sigset_t none;

		sigemptyset(&none);
		myepoll_wait(ep, got, 1, 1);
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &after_wait);
		myepoll_pwait(ep, got, 0, 1, &none);
		pthread_setcanceltype(PTHREAD_CANCEL_DEFERRED, &after_pwait);
	}).join();

	CHECK(after_wait == PTHREAD_CANCEL_DEFERRED);
	CHECK(after_pwait == PTHREAD_CANCEL_DEFERRED);
}

TEST_CASE("calls work in a signal handler", "[c]")
{
	static int ep, target;
	static Result add, wait;
	Fd owned = instance(), event = eventfd_with(1);

	ep = owned;
	target = event;
	struct sigaction action = {}, old;
	action.sa_handler = [](int) {
		epoll_event e = ev(EPOLLIN), got[1];

		add = result_of([&] { return myepoll_ctl(ep, EPOLL_CTL_ADD, target, &e); });
		wait = result_of([&] { return myepoll_wait(ep, got, 1, -1); });
	};
	sigaction(SIGUSR2, &action, &old);
	raise(SIGUSR2);
	sigaction(SIGUSR2, &old, nullptr);
	CHECK(add == success());
	CHECK(wait == success(1));
}
