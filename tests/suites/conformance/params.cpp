// SPDX-License-Identifier: GPL-2.0
// EPIOCSPARAMS and EPIOCGPARAMS: the settings of busy polling.
#include <cerrno>
#include <climits>

#include <linux/capability.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

// <sys/epoll.h> of glibc 2.36 does not have them yet
struct params {
	std::uint32_t busy_poll_usecs;
	std::uint16_t busy_poll_budget;
	std::uint8_t prefer_busy_poll;
	std::uint8_t pad;
	bool operator==(const params &) const = default;
};
constexpr unsigned long set_params = _IOW(0x8A, 1, params);
constexpr unsigned long get_params = _IOR(0x8A, 2, params);

int set(int fd, params p)
{
	return ioctl(fd, set_params, &p) < 0 ? -errno : 0;
}

int get(int fd, params *p)
{
	return ioctl(fd, get_params, p) < 0 ? -errno : 0;
}

} // namespace

TEST_CASE_METHOD(Case, "busy poll parameters are 0 at first, and what was set then (before 6.9: ENOTTY)",
		 "[params]")
{
	params p{ 1, 1, 1, 1 };

	if (!be().has_busy_poll_params()) {
		CHECK(set(ep.fd(), {}) == -ENOTTY);
		CHECK(get(ep.fd(), &p) == -ENOTTY);
		return;
	}
	CHECK(get(ep.fd(), &p) == 0);
	CHECK(p == params{});
	for (params good : { params{ 200, 8, 1, 0 }, params{ 0, 0, 0, 0 }, params{ INT_MAX, 64, 0, 0 } }) {
		CHECK(set(ep.fd(), good) == 0);
		CHECK(get(ep.fd(), &p) == 0);
		CHECK(p == good);
	}
	Instance other;
	CHECK(get(other.fd(), &p) == 0);
	CHECK(p == params{}); // each instance its own
}

TEST_CASE_METHOD(Case, "busy poll parameters: what is EINVAL, EFAULT, EPERM changes nothing", "[params]")
{
	if (!be().has_busy_poll_params()) {
		CHECK(set(ep.fd(), { 0, 0, 0, 1 }) == -ENOTTY);
		return;
	}
	const params good{ 10, 4, 1, 0 };
	params p{};

	CHECK(set(ep.fd(), good) == 0);
	constexpr params wrong[] = {
		{ 20, 5, 0, 1 },	    // pad
		{ 1U + INT_MAX, 5, 0, 0 }, // usecs
		{ UINT_MAX, 5, 0, 0 },
		{ 20, 5, 2, 0 }, // prefer
	};
	for (const params &bad : wrong) {
		CHECK(set(ep.fd(), bad) == -EINVAL);
		CHECK(get(ep.fd(), &p) == 0);
		CHECK(p == good);
	}
	CHECK(ioctl(ep.fd(), set_params, bad_event()) == -1);
	CHECK(errno == EFAULT);
	CHECK(ioctl(ep.fd(), get_params, bad_event()) == -1);
	CHECK(errno == EFAULT);
	CHECK(get(ep.fd(), &p) == 0);
	CHECK(p == good);

	CHECK(set(ep.fd(), { 10, 65, 0, 0 }) == 0); // with CAP_NET_ADMIN
	CHECK(set(ep.fd(), { 10, USHRT_MAX, 0, 0 }) == 0);
	CHECK(in_child([&] {
		      if (setresuid(65534, 65534, 65534))
			      return 200;
		      if (set(ep.fd(), { 10, 65, 0, 0 }) != -EPERM)
			      return 1;
		      return set(ep.fd(), { 20, 64, 0, 0 }) ? 2 : 0;
	      }) == 0);
	CHECK(get(ep.fd(), &p) == 0);
	CHECK(p == params{ 20, 64, 0, 0 });
}

TEST_CASE_METHOD(Case, "busy polling changes no result: sockets, timeouts, files of other kinds", "[params]")
{
	Pair tcp = make_tcp();
	Fd target = event_fd();

	CHECK(set(ep.fd(), { 50, 8, 1, 0 }) == (be().has_busy_poll_params() ? 0 : -ENOTTY));
	REQUIRE(ep.add(tcp.a, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(target, EPOLLIN, 2) == 0);
	int n = -1;
	CHECK(elapsed_of([&] { n = ep.count(20); }) >= milliseconds(20));
	CHECK(n == 0);
	{
		Blocked waiter(ep);
		waiter.asleep();
		send_byte(tcp.b);
		CHECK(waiter.result() == 1);
		CHECK(waiter.events() == Events{ { EPOLLIN, 1 } });
		drain(tcp.a);
	}
	Blocked waiter(ep);
	waiter.asleep();
	put(target);
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { EPOLLIN, 2 } });
}
