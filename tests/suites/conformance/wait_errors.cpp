// SPDX-License-Identifier: GPL-2.0
// What a wait finds fault with, and in which order; where events go that
// cannot be delivered.
#include <cerrno>
#include <climits>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

constexpr int most_events = INT_MAX / static_cast<int>(sizeof(epoll_event));

epoll_event *kernel_address()
{
	return reinterpret_cast<epoll_event *>(0xffff'8000'0000'0000);
}

// Valid at its start; an array of most_events from here leaves the user's half
epoll_event *at_the_edge()
{
	return reinterpret_cast<epoll_event *>(0x7fff'ffff'ffff'f000);
}

} // namespace

TEST_CASE_METHOD(Case, "wait: the order is EBADF, maxevents, the buffer's range, no instance (before 6.15: EBADF third)",
		 "[wait]")
{
	Fd other = event_fd();
	Fd path(must_libc(open("/proc/self/mounts", O_PATH | O_CLOEXEC)));
	epoll_event buffer[4];
	bool first = be().descriptor_before_maxevents();

	for (int bad : { -1, INT_MAX, int(path) }) {
		CAPTURE(bad);
		CHECK(be().wait(bad, buffer, 4, 0) == -EBADF);
		CHECK(be().wait(bad, buffer, 0, 0) == (first ? -EBADF : -EINVAL));
		CHECK(be().wait(bad, kernel_address(), 4, 0) == (first ? -EBADF : -EFAULT));
	}
	CHECK(be().wait(ep.fd(), kernel_address(), 0, 0) == -EINVAL);
	CHECK(be().wait(ep.fd(), kernel_address(), 4, 0) == -EFAULT);

	// A file of another kind: through a door, that file answers.
	CHECK(be().wait(other, buffer, 4, 0) == be().not_an_instance());
	CHECK(be().wait(other, buffer, 0, 0) == be().not_an_instance());
	CHECK(be().wait(other, kernel_address(), 4, 0) ==
	      (be().descriptor_first() ? be().not_an_instance() : -EFAULT));
}

TEST_CASE_METHOD(Case, "wait: maxevents from 1 to the most that an int of bytes holds", "[wait]")
{
	epoll_event buffer[1];

	for (int n : { 0, -1, INT_MIN, INT_MAX, most_events + 1 }) {
		CAPTURE(n);
		CHECK(be().wait(ep.fd(), buffer, n, 0) == -EINVAL);
	}
	CHECK(be().wait(ep.fd(), nullptr, most_events, 0) == 0);
	CHECK(be().wait(ep.fd(), buffer, 1, 0) == 0);
#ifdef __x86_64__
	CHECK(most_events == 178'956'970);
#endif
}

TEST_CASE_METHOD(Case, "wait: the range check covers the whole array, though nothing is ready", "[wait]")
{
	CHECK(be().wait(ep.fd(), at_the_edge(), most_events, 0) == -EFAULT);
	CHECK(be().wait(ep.fd(), kernel_address(), 1, 0) == -EFAULT);
	CHECK(be().wait(ep.fd(), reinterpret_cast<epoll_event *>(~0xfULL), 4, 0) == -EFAULT);
}

TEST_CASE_METHOD(Case, "wait: a buffer that cannot be written is EFAULT only when there is an event, which stays",
		 "[wait]")
{
	Fd target = event_fd();

	for (std::uint32_t mode : { 0U, std::uint32_t(EPOLLET), std::uint32_t(EPOLLONESHOT) }) {
		CAPTURE(mode);
		REQUIRE(ep.add(target, EPOLLIN | mode, 1) == 0);
		CHECK(be().wait(ep.fd(), nullptr, 4, 0) == 0);
		CHECK(be().wait(ep.fd(), bad_event(), 4, 0) == 0);
		CHECK(be().wait(ep.fd(), nullptr, 4, 10) == 0);
		put(target);
		CHECK(be().wait(ep.fd(), nullptr, 4, 0) == -EFAULT);
		CHECK(be().wait(ep.fd(), bad_event(), 4, 0) == -EFAULT);
		CHECK(be().wait(ep.fd(), bad_event(), 4, patience_ms) == -EFAULT);
		CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
		take(target);
		REQUIRE(ep.del(target) == 0);
	}
}

TEST_CASE_METHOD(Case, "wait: a buffer that ends early: what fitted is delivered, the rest keeps its order",
		 "[wait][order]")
{
	auto *pages = static_cast<char *>(
		mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	REQUIRE(pages != MAP_FAILED);
	REQUIRE(mprotect(pages + 4096, 4096, PROT_NONE) == 0);
	auto *room_for_two = reinterpret_cast<epoll_event *>(pages + 4096) - 2;
	auto *room_for_none = reinterpret_cast<epoll_event *>(pages + 4096 - sizeof(epoll_event) / 2);
	Fd targets[6];

	for (unsigned i = 0; i < 6; i++) {
		targets[i] = event_fd(1);
		REQUIRE(ep.add(targets[i], EPOLLIN, i) == 0);
	}
	CHECK(be().wait(ep.fd(), room_for_none, 6, 0) == -EFAULT);
	CHECK(be().wait(ep.fd(), room_for_two, 6, 0) == 2);
	CHECK(Data{ room_for_two[0].data.u64, room_for_two[1].data.u64 } == Data{ 0, 1 });
	CHECK(data_of(ep.wait()) == Data{ 2, 3, 4, 5, 0, 1 });
	// No harvest has them any more: they can go.
	CHECK(be().wait(ep.fd(), room_for_none, 6, 0) == -EFAULT);
	for (const Fd &target : targets)
		CHECK(ep.del(target) == 0);
	CHECK(ep.wait().empty());
	munmap(pages, 8192);
}

TEST_CASE_METHOD(Case, "wait: of an edge and a one-shot that did not fit nothing is spent", "[wait][order]")
{
	auto *pages = static_cast<char *>(
		mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	REQUIRE(pages != MAP_FAILED);
	REQUIRE(mprotect(pages + 4096, 4096, PROT_NONE) == 0);
	auto *room_for_one = reinterpret_cast<epoll_event *>(pages + 4096) - 1;
	Fd a = event_fd(1), b = event_fd(1), c = event_fd(1);

	REQUIRE(ep.add(a, EPOLLIN | EPOLLONESHOT, 1) == 0);
	REQUIRE(ep.add(b, EPOLLIN | EPOLLONESHOT, 2) == 0);
	REQUIRE(ep.add(c, EPOLLIN | EPOLLET, 3) == 0);
	CHECK(be().wait(ep.fd(), room_for_one, 3, 0) == 1);
	CHECK(room_for_one->data.u64 == 1);
	CHECK(data_of(ep.wait()) == Data{ 2, 3 });
	CHECK(ep.wait().empty());
	munmap(pages, 8192);
}

TEST_CASE_METHOD(Case, "pwait: the mask is looked at before the descriptor: size EINVAL, address EFAULT",
		 "[wait][signals]")
{
	// The module takes the mask by value: there is no size and no address to
	// be wrong. What it asserts is below, and in the tests of the ABI.
	Fd native(must(native_epoll().create1(EPOLL_CLOEXEC)));
	epoll_event buffer[1];
	std::uint64_t mask = 0;
	auto pwait = [&](int fd, const void *set, std::size_t size) {
		return syscall(SYS_epoll_pwait, fd, buffer, 1, 0, set, size) < 0 ? -errno : 0;
	};

	CHECK(pwait(native, &mask, 8) == 0);
	for (std::size_t size : { 0, 4, 7, 9, 16, 128 }) {
		CHECK(pwait(native, &mask, size) == -EINVAL);
		CHECK(pwait(native, bad_event(), size) == -EINVAL);
		CHECK(pwait(native, nullptr, size) == 0);
		CHECK(pwait(-1, &mask, size) == -EINVAL);
	}
	CHECK(pwait(native, bad_event(), 8) == -EFAULT);
	CHECK(pwait(-1, bad_event(), 8) == -EFAULT);
	CHECK(pwait(-1, &mask, 8) == -EBADF);

	CHECK(be().pwait(ep.fd(), buffer, 1, 0, &mask) == 0);
	CHECK(be().pwait(ep.fd(), buffer, 0, 0, &mask) == -EINVAL);
	CHECK(be().pwait(-1, buffer, 1, 0, &mask) == -EBADF);
}

TEST_CASE_METHOD(Case, "pwait2: the timeout is looked at before the mask, and that before the rest",
		 "[wait][timeouts]")
{
	Fd native(must(native_epoll().create1(EPOLL_CLOEXEC)));
	epoll_event buffer[1];
	auto pwait2 = [&](int fd, const void *timeout, const void *set) {
		return syscall(SYS_epoll_pwait2, fd, buffer, 1, timeout, set, 8) < 0 ? -errno : 0;
	};
	timespec zero{};

	CHECK(pwait2(native, &zero, nullptr) == 0);
	CHECK(pwait2(-1, bad_event(), bad_event()) == -EFAULT);
	for (timespec wrong : { timespec{ -1, 0 }, timespec{ 0, -1 }, timespec{ 0, 1'000'000'000 },
				timespec{ -1, 999'999'999 } }) {
		CHECK(pwait2(native, &wrong, nullptr) == -EINVAL);
		CHECK(pwait2(-1, &wrong, bad_event()) == -EINVAL);
	}
	CHECK(pwait2(-1, &zero, bad_event()) == -EFAULT);
	CHECK(pwait2(-1, &zero, nullptr) == -EBADF);

	CHECK(be().pwait2(ep.fd(), buffer, 1, &zero) == 0);
	CHECK(be().pwait2(ep.fd(), buffer, 0, &zero) == -EINVAL);
	CHECK(be().pwait2(-1, buffer, 1, &zero) == -EBADF);
}
