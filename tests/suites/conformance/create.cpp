// SPDX-License-Identifier: GPL-2.0
// Making an instance, and what its descriptor is as a file.
#include <cerrno>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

TEST_CASE_METHOD(Tidy, "create1 takes EPOLL_CLOEXEC and no other bit", "[create]")
{
	for (int bit = 0; bit < 32; bit++) {
		int flag = static_cast<int>(1U << bit);
		CAPTURE(bit);
		if (flag == EPOLL_CLOEXEC)
			continue;
		CHECK(be().create1(flag) == -EINVAL);
		CHECK(be().create1(flag | EPOLL_CLOEXEC) == -EINVAL);
	}
	Fd plain(be().create1(0));
	Fd cloexec(be().create1(EPOLL_CLOEXEC));
	REQUIRE(plain >= 0);
	REQUIRE(cloexec >= 0);
	CHECK(fcntl(plain, F_GETFD) == 0);
	CHECK(fcntl(cloexec, F_GETFD) == FD_CLOEXEC);
}

TEST_CASE_METHOD(Tidy, "create ignores its size unless it is 0 or less: EINVAL", "[create]")
{
	// The module has no create(size): its library checks the size.
	for (int size : { 0, -1, INT32_MIN })
		CHECK(syscall(SYS_epoll_create, size) == -1);
	for (int size : { 1, INT32_MAX }) {
		Fd fd(syscall(SYS_epoll_create, size));
		CHECK(fd >= 0);
		CHECK(fcntl(fd, F_GETFD) == 0);
	}
}

TEST_CASE_METHOD(Tidy, "create without a free descriptor is EMFILE, after EINVAL of the flags",
		 "[create]")
{
	CHECK(in_child([] {
		      rlimit none{ 0, 0 };
		      setrlimit(RLIMIT_NOFILE, &none);
		      if (be().create1(0) != -EMFILE)
			      return 1;
		      if (be().create1(O_NONBLOCK) != -EINVAL)
			      return 2;
		      return 0;
	      }) == 0);
}

TEST_CASE_METHOD(Case, "the descriptor is an anonymous inode with epoll's kind of name", "[create]")
{
	char text[64] = {};
	std::string path = "/proc/self/fd/" + std::to_string(ep.fd());
	REQUIRE(readlink(path.c_str(), text, sizeof text - 1) > 0);
	CHECK(text == be().link_text());
	CHECK(open(path.c_str(), O_RDWR) == -1);
	CHECK(errno == ENXIO);
}

TEST_CASE_METHOD(Case, "the descriptor is O_RDWR; neither read nor write nor mapped: EINVAL, ENODEV",
		 "[create]")
{
	char byte = 0;
	CHECK((fcntl(ep.fd(), F_GETFL) & ~O_LARGEFILE) == O_RDWR);
	CHECK(read(ep.fd(), &byte, 1) == -1);
	CHECK(errno == EINVAL);
	CHECK(write(ep.fd(), &byte, 1) == -1);
	CHECK(errno == EINVAL);
	CHECK(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, ep.fd(), 0) == MAP_FAILED);
	CHECK(errno == ENODEV);
}

TEST_CASE_METHOD(Case, "lseek on the descriptor answers 0", "[create]")
{
	CHECK(lseek(ep.fd(), 0, SEEK_SET) == 0);
	CHECK(lseek(ep.fd(), 100, SEEK_SET) == 0);
	CHECK(lseek(ep.fd(), 0, SEEK_END) == 0);
}

TEST_CASE_METHOD(Case, "an unknown ioctl is EINVAL (before 6.9: ENOTTY); FIONBIO works", "[create]")
{
	int unknown = be().has_busy_poll_params() ? EINVAL : ENOTTY;
	for (unsigned long number : { 0UL, 1UL, 0x8a00UL, 0xdeadbeefUL, 0x5401UL /* TCGETS */ }) {
		CAPTURE(number);
		CHECK(ioctl(ep.fd(), number, 0) == -1);
		CHECK(errno == unknown);
	}
	int on = 1;
	CHECK(ioctl(ep.fd(), FIONBIO, &on) == 0);
	CHECK((fcntl(ep.fd(), F_GETFL) & O_NONBLOCK) == O_NONBLOCK);
	CHECK(ep.count(0) == 0); // means nothing to a wait
}

TEST_CASE_METHOD(Case, "a new instance has no watch and nothing ready", "[create]")
{
	CHECK(watches(ep.fd()).empty());
	CHECK(ep.count(0) == 0);
}
