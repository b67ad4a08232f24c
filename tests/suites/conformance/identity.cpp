// SPDX-License-Identifier: GPL-2.0
// What an item is tied to: an open file description and a number; how long it
// lives: as long as the description.
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

void send_fd(int socket, int fd)
{
	char byte = 'f';
	iovec iov{ &byte, 1 };
	alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))] = {};
	msghdr message{};
	message.msg_iov = &iov;
	message.msg_iovlen = 1;
	message.msg_control = control;
	message.msg_controllen = sizeof control;
	cmsghdr *header = CMSG_FIRSTHDR(&message);
	header->cmsg_level = SOL_SOCKET;
	header->cmsg_type = SCM_RIGHTS;
	header->cmsg_len = CMSG_LEN(sizeof(int));
	std::memcpy(CMSG_DATA(header), &fd, sizeof fd);
	must_libc(sendmsg(socket, &message, 0), "sendmsg");
}

Fd receive_fd(int socket)
{
	char byte;
	iovec iov{ &byte, 1 };
	alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int))];
	msghdr message{};
	int fd = -1;
	message.msg_iov = &iov;
	message.msg_iovlen = 1;
	message.msg_control = control;
	message.msg_controllen = sizeof control;
	must_libc(recvmsg(socket, &message, MSG_CMSG_CLOEXEC), "recvmsg");
	std::memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&message)), sizeof fd);
	return Fd(fd);
}

} // namespace

TEST_CASE_METHOD(Case, "a dup is a key of its own: added again, both report", "[identity]")
{
	Fd target = event_fd(1);
	Fd again = dup_of(target);

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	CHECK(ep.mod(again, EPOLLIN, 2) == -ENOENT);
	REQUIRE(ep.add(again, EPOLLIN, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 }, { EPOLLIN, 2 } });
	CHECK(ep.add(again, EPOLLIN, 2) == -EEXIST);
	REQUIRE(ep.del(target) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Case, "closing the number leaves the item while a dup lives; it cannot be deleted", "[identity]")
{
	Fd target = event_fd(1);
	Fd again = dup_of(target);
	int number = target;

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	target.reset();
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(ep.del(number) == -EBADF);
	CHECK(ep.mod(number, EPOLLIN, 2) == -EBADF);
	CHECK(ep.del(again) == -ENOENT);

	SECTION("put back at its number it is found again")
	{
		Fd back(must_libc(dup2(again, number)));
		CHECK(ep.mod(number, EPOLLIN, 3) == 0);
		CHECK(ep.wait() == Events{ { EPOLLIN, 3 } });
		CHECK(ep.del(number) == 0);
		CHECK(ep.wait() == Events{});
	}
	SECTION("another file at its number is another key")
	{
		Fd other = event_fd(1);
		REQUIRE(other == number); // the lowest that is free
		CHECK(ep.mod(number, EPOLLIN, 3) == -ENOENT);
		CHECK(ep.add(number, EPOLLIN, 4) == 0);
		CHECK(ep.wait() == Events{ { EPOLLIN, 1 }, { EPOLLIN, 4 } });
		CHECK(watches(ep.fd()).size() == 2);
	}
	SECTION("the last close removes it")
	{
		again.reset();
		CHECK(ep.wait() == Events{});
		CHECK(watches(ep.fd()).empty());
	}
}

TEST_CASE_METHOD(Case, "dup2 over the number is a close", "[identity]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	must_libc(dup2(event_fd(1), target));
	CHECK(watches(ep.fd()).empty());
	CHECK(ep.wait() == Events{});
	CHECK(ep.del(target) == -ENOENT);
	CHECK(ep.add(target, EPOLLIN, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Case, "the last close removes the item at once, without an event", "[identity]")
{
	Fd target = event_fd();

	for (std::uint32_t mode : { 0U, std::uint32_t(EPOLLET), std::uint32_t(EPOLLONESHOT),
				    std::uint32_t(EPOLLEXCLUSIVE) }) {
		for (unsigned count : { 0, 1 }) {
			Fd gone = event_fd(count);
			REQUIRE(ep.add(gone, EPOLLIN | mode, 1) == 0);
			gone.reset();
			CHECK(watches(ep.fd()).empty());
			CHECK(ep.wait() == Events{});
		}
	}
	REQUIRE(ep.add(target, EPOLLIN, 2) == 0);
	put(target);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Case, "a number used again after a close is a new file to the instance", "[identity]")
{
	for (unsigned i = 0; i < 100; i++) {
		Fd target = event_fd(1);
		if (ep.add(target, EPOLLIN, i) != 0)
			FAIL("ADD after a close and an open");
		if (data_of(ep.wait()) != Data{ i })
			FAIL("not the new watch's data");
	}
	CHECK(watches(ep.fd()).empty());
}

TEST_CASE_METHOD(Case, "watching does not keep a file open: the peer sees the close", "[identity]")
{
	Pair pair = make_pair(SOCK_STREAM);
	Ends pipe = make_pipe();
	char byte;

	REQUIRE(ep.add(pair.a, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(pipe.w, EPOLLOUT, 2) == 0);
	CHECK(data_of(ep.wait()) == Data{ 2 });
	pair.a.reset();
	pipe.w.reset();
	CHECK(read(pair.b, &byte, 1) == 0);
	CHECK(read(pipe.r, &byte, 1) == 0);
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "a child's copy keeps events coming; its exit ends them", "[identity]")
{
	Fd target = event_fd(1);
	Ends pipe = make_pipe();

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	fcntl(pipe.r, F_SETFL, 0);
	pid_t child = start_child([&] {
		char byte;
		pipe.w.reset();
		return static_cast<int>(read(pipe.r, &byte, 1));
	});
	target.reset();
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(watches(ep.fd()).size() == 1);
	pipe.w.reset();
	CHECK(child_status(child) == 0);
	CHECK(ep.wait() == Events{});
	CHECK(watches(ep.fd()).empty());
}

TEST_CASE_METHOD(Case, "fork shares the instance: one interest list, one ready list", "[identity]")
{
	Fd target = event_fd(1);
	Fd other = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	CHECK(in_child([&] {
		      if (ep.wait() != Events{ { EPOLLIN, 1 } })
			      return 1;
		      if (ep.add(other, EPOLLIN | EPOLLET, 2))
			      return 2;
		      return ep.mod(target, EPOLLIN, 3) ? 3 : 0;
	      }) == 0);
	CHECK(data_of(ep.wait()) == Data{ 2, 3 });
	CHECK(data_of(ep.wait()) == Data{ 3 });
}

TEST_CASE_METHOD(Case, "an instance lives on in a child after the parent closed it", "[identity]")
{
	Fd target = event_fd();
	Ends go = make_pipe();

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	pid_t child = start_child([&] { return ep.wait(patience_ms) == Events{ { EPOLLIN, 1 } } ? 0 : 1; });
	ep.close();
	settle(20);
	put(target);
	CHECK(child_status(child) == 0);
}

TEST_CASE_METHOD(Case, "a file in flight over a socket stays watched", "[identity]")
{
	Pair pair = make_pair(SOCK_STREAM);
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	send_fd(pair.a, target);
	target.reset();
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });

	SECTION("received, it still is")
	{
		Fd received = receive_fd(pair.b);
		CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
		received.reset();
		CHECK(ep.wait() == Events{});
	}
	SECTION("dropped with the socket, it is closed")
	{
		pair.b.reset();
		pair.a.reset();
		CHECK(eventually([&] { return ep.wait().empty(); }));
	}
	CHECK(watches(ep.fd()).empty());
}

TEST_CASE_METHOD(Case, "a file that only a mapping holds stays watched", "[identity]")
{
	constexpr std::size_t size = 4096;
	Pair pair = make_tcp();
	void *mapping = mmap(nullptr, size, PROT_READ, MAP_SHARED, pair.a, 0);

	REQUIRE(mapping != MAP_FAILED);
	REQUIRE(ep.add(pair.a, EPOLLIN, 1) == 0);
	pair.a.reset();
	send_byte(pair.b);
	CHECK(ep.wait(patience_ms) == Events{ { EPOLLIN, 1 } });
	must_libc(munmap(mapping, size));
	CHECK(watches(ep.fd()).empty());
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "an instance can be passed over a socket", "[identity]")
{
	Pair pair = make_pair(SOCK_STREAM);
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	send_fd(pair.a, ep.fd());
	ep.close();
	Fd received = receive_fd(pair.b);
	epoll_event buffer[2];
	CHECK(be().wait(received, buffer, 2, 0) == 1);
	CHECK(be().ctl(received, EPOLL_CTL_DEL, target, nullptr) == 0);
	CHECK(be().wait(received, buffer, 2, 0) == 0);
}

TEST_CASE_METHOD(Case, "watched sockets that hold each other in flight are collected", "[identity]")
{
	// Watched sockets in a cycle of references through their own queues:
	// the collector frees them only if the instance holds none.
	Pair pair = make_pair(SOCK_STREAM);
	REQUIRE(ep.add(pair.a, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(pair.b, EPOLLIN, 2) == 0);
	send_fd(pair.a, pair.b);
	send_fd(pair.b, pair.a);
	pair.a.reset();
	pair.b.reset();
	CHECK(eventually([&] {
		make_pair(SOCK_STREAM); // closing one prods the collector
		return watches(ep.fd()).empty();
	}));
}

TEST_CASE_METHOD(Case, "a call that runs in another thread keeps the watched file", "[identity]")
{
	Ends pipe = make_pipe();
	fcntl(pipe.r, F_SETFL, 0);
	int reader = pipe.r;
	REQUIRE(ep.add(pipe.r, EPOLLIN, 1) == 0);
	Blocked thread([reader] {
		char byte;
		return static_cast<int>(read(reader, &byte, 1));
	});

	thread.asleep();
	pipe.r.reset();
	CHECK(watches(ep.fd()).size() == 1);
	send_byte(pipe.w);
	CHECK(thread.result() == 1);
	CHECK(eventually([&] { return watches(ep.fd()).empty(); }));
}

TEST_CASE_METHOD(Case, "exec closes a close-on-exec instance; the child's other copies stay", "[identity]")
{
	// /bin/sh sees the inherited descriptor, and not the other.
	Fd kept(must(be().create1(0)));
	std::string test = "test -e /proc/self/fd/" + std::to_string(kept) + " && ! test -e /proc/self/fd/" +
			   std::to_string(ep.fd());
	CHECK(in_child([&] {
		      execl("/bin/sh", "sh", "-c", test.c_str(), nullptr);
		      return 127;
	      }) == 0);
}

TEST_CASE_METHOD(Case, "identity: posix_fadvise takes what it takes on any file, and does nothing", "[identity]")
{
	Fd target = event_fd(1);
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	for (long offset : { 0L, 1L, 4096L, -1L, long(~0UL >> 1) })
		for (long length : { 0L, 1L, 100'000L, long(~0UL >> 1), -1L })
			for (int advice : { 0, 1, 2, 3, 4, 5, 6, -1, 0x7fffffff }) {
				CAPTURE(offset, length, advice);
				long r = syscall(SYS_fadvise64, ep.fd(), offset, length, advice);
				bool known = advice >= POSIX_FADV_NORMAL && advice <= POSIX_FADV_NOREUSE;
				CHECK((r < 0 ? -errno : r) == (known && length >= 0 ? 0 : -EINVAL));
			}
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}
