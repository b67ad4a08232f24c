// SPDX-License-Identifier: GPL-2.0
// Files of every pollable type: watched, woken, reported.
#include <cerrno>
#include <csignal>
#include <cstring>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/inotify.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

// Nothing at first; `happen` wakes a sleeping waiter, which gets `expected`.
void check_wake(const Instance &ep, int fd, std::uint32_t asked, const std::function<void()> &happen,
		std::uint32_t expected)
{
	REQUIRE(ep.add(fd, asked, 1) == 0);
	CHECK(ep.wait() == Events{});
	Blocked waiter(ep);
	waiter.asleep();
	happen();
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { expected, 1 } });
	CHECK(ep.del(fd) == 0);
}

struct Directory {
	Directory() { must_libc(mkdtemp(path) ? 0 : -1, "mkdtemp"); }
	~Directory() { rmdir(path); }
	char path[32] = "/tmp/myepoll-test-XXXXXX";
};

} // namespace

TEST_CASE_METHOD(Case, "eventfd: IN by a write, OUT by a read, ERR when it overflowed", "[files]")
{
	Fd target = event_fd();
	check_wake(ep, target, EPOLLIN, [&] { put(target); }, EPOLLIN);
	take(target);
	put(target, ~0ULL - 1);
	check_wake(ep, target, EPOLLOUT, [&] { take(target); }, EPOLLOUT);
}

TEST_CASE_METHOD(Case, "pipe: IN by a write, HUP and ERR by the other end's close", "[files]")
{
	Ends pipe = make_pipe();
	check_wake(ep, pipe.r, EPOLLIN, [&] { send_byte(pipe.w); }, EPOLLIN);
	drain(pipe.r);
	check_wake(ep, pipe.r, EPOLLIN | EPOLLRDHUP, [&] { pipe.w.reset(); }, EPOLLHUP);

	Ends other = make_pipe();
	check_wake(ep, other.w, 0, [&] { other.r.reset(); }, EPOLLERR);
}

TEST_CASE_METHOD(Case, "FIFO: IN by a writer, HUP when the last one is gone", "[files]")
{
	Directory directory;
	std::string path = std::string(directory.path) + "/fifo";
	must_libc(mkfifo(path.c_str(), 0600), "mkfifo");
	Fd r(must_libc(open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC)));
	Fd w(must_libc(open(path.c_str(), O_WRONLY | O_NONBLOCK | O_CLOEXEC)));
	unlink(path.c_str());
	check_wake(ep, r, EPOLLIN, [&] { send_byte(w); }, EPOLLIN);
	drain(r);
	check_wake(ep, r, EPOLLIN, [&] { w.reset(); }, EPOLLHUP);
}

TEST_CASE_METHOD(Case, "unix stream socket: IN, then the end of the stream", "[files]")
{
	Pair pair = make_pair(SOCK_STREAM);
	check_wake(ep, pair.a, EPOLLIN, [&] { send_byte(pair.b); }, EPOLLIN);
	drain(pair.a);
	check_wake(ep, pair.a, EPOLLRDHUP, [&] { shutdown(pair.b, SHUT_WR); }, EPOLLRDHUP);
	check_wake(ep, pair.a, 0, [&] { pair.b.reset(); }, EPOLLHUP);
}

TEST_CASE_METHOD(Case, "unix datagram and seqpacket sockets: IN, and OUT when there is room again",
		 "[files]")
{
	for (int type : { SOCK_DGRAM, SOCK_SEQPACKET }) {
		CAPTURE(type);
		Pair pair = make_pair(type);
		check_wake(ep, pair.a, EPOLLIN, [&] { send_byte(pair.b); }, EPOLLIN);
		drain(pair.a);
		while (send(pair.b, "0123456789abcdef", 16, 0) > 0)
			;
		REQUIRE(ep.add(pair.b, EPOLLOUT, 1) == 0);
		if (ep.wait() == Events{}) {
			Blocked waiter(ep);
			waiter.asleep();
			drain(pair.a);
			CHECK(waiter.result() == 1);
			CHECK(waiter.events() == Events{ { EPOLLOUT, 1 } });
		}
	}
}

TEST_CASE_METHOD(Case, "TCP: a listener is IN for a connection, a connection for bytes and its end",
		 "[files]")
{
	sockaddr_in address{};
	socklen_t size = sizeof address;
	auto *sa = reinterpret_cast<sockaddr *>(&address);
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	Fd listener(must_libc(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
	must_libc(bind(listener, sa, size));
	must_libc(listen(listener, 4));
	must_libc(getsockname(listener, sa, &size));
	Fd client(must_libc(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));

	check_wake(ep, listener, EPOLLIN, [&] { must_libc(connect(client, sa, size)); }, EPOLLIN);
	Fd server(must_libc(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC)));
	check_wake(ep, server, EPOLLIN, [&] { send_byte(client); }, EPOLLIN);
	drain(server);
	check_wake(ep, server, EPOLLIN | EPOLLRDHUP, [&] { shutdown(client, SHUT_WR); }, EPOLLIN | EPOLLRDHUP);
	linger reset{ 1, 0 };
	setsockopt(client, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
	check_wake(ep, server, 0, [&] { client.reset(); }, EPOLLERR | EPOLLHUP);
}

TEST_CASE_METHOD(Case, "UDP: IN by a datagram", "[files]")
{
	sockaddr_in address{};
	socklen_t size = sizeof address;
	auto *sa = reinterpret_cast<sockaddr *>(&address);
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	Fd receiver(must_libc(socket(AF_INET, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)));
	Fd sender(must_libc(socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0)));
	must_libc(bind(receiver, sa, size));
	must_libc(getsockname(receiver, sa, &size));
	check_wake(ep, receiver, EPOLLIN, [&] { must_libc(sendto(sender, "x", 1, 0, sa, size)); }, EPOLLIN);
}

TEST_CASE_METHOD(Case, "pseudo-terminal: IN both ways, HUP when the other side is closed", "[files]")
{
	Fd master(must_libc(posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), "posix_openpt"));
	char name[64];
	must_libc(grantpt(master));
	must_libc(unlockpt(master));
	REQUIRE(ptsname_r(master, name, sizeof name) == 0);
	Fd slave(must_libc(open(name, O_RDWR | O_NOCTTY | O_NONBLOCK | O_CLOEXEC), "open the slave"));

	check_wake(ep, master, EPOLLIN, [&] { send_byte(slave); }, EPOLLIN);
	drain(master);
	check_wake(ep, slave, EPOLLIN, [&] { must_libc(write(master, "x\n", 2)); }, EPOLLIN);
	drain(slave);
	drain(master); // the echo
	REQUIRE(ep.add(slave, EPOLLIN, 1) == 0);
	CHECK(ep.wait() == Events{});
	Blocked waiter(ep);
	waiter.asleep();
	master.reset();
	CHECK(waiter.result() == 1);
	CHECK((waiter.events().at(0).events & EPOLLHUP) != 0);
}

TEST_CASE_METHOD(Case, "timerfd: IN at the expiry, and at each further one for an edge", "[files]")
{
	Fd timer(must_libc(timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC)));
	itimerspec once{ {}, { 0, 20'000'000 } }, often{ { 0, 5'000'000 }, { 0, 5'000'000 } };

	check_wake(ep, timer, EPOLLIN, [&] { timerfd_settime(timer, 0, &once, nullptr); }, EPOLLIN);
	take(timer);
	REQUIRE(ep.add(timer, EPOLLIN | EPOLLET, 2) == 0);
	timerfd_settime(timer, 0, &often, nullptr);
	CHECK(ep.wait(patience_ms) == Events{ { EPOLLIN, 2 } });
	take(timer); // armed again by the read
	CHECK(ep.wait(patience_ms) == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Case, "signalfd: IN for a signal that the waiter could read", "[files]")
{
	sigset_t set, old;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR2);
	pthread_sigmask(SIG_BLOCK, &set, &old);
	Fd target(must_libc(signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC)));
	check_wake(ep, target, EPOLLIN, [&] { kill(getpid(), SIGUSR2); }, EPOLLIN);
	drain(target);
	pthread_sigmask(SIG_SETMASK, &old, nullptr);
}

TEST_CASE_METHOD(Case, "pidfd: IN when the process ends", "[files]")
{
	Ends go = make_pipe();
	fcntl(go.r, F_SETFL, 0);
	pid_t child = start_child([&] {
		char byte;
		go.w.reset();
		return static_cast<int>(read(go.r, &byte, 1));
	});
	Fd pidfd(must_libc(syscall(SYS_pidfd_open, child, 0), "pidfd_open"));
	check_wake(ep, pidfd, EPOLLIN, [&] { go.w.reset(); }, EPOLLIN);
	CHECK(child_status(child) == 0);
}

TEST_CASE_METHOD(Case, "inotify: IN by an event", "[files]")
{
	Directory directory;
	std::string file = std::string(directory.path) + "/file";
	Fd notify(must_libc(inotify_init1(IN_NONBLOCK | IN_CLOEXEC)));
	must_libc(inotify_add_watch(notify, directory.path, IN_CREATE));
	check_wake(ep, notify, EPOLLIN, [&] { Fd made(must_libc(open(file.c_str(), O_CREAT | O_RDWR, 0600))); },
		   EPOLLIN);
	unlink(file.c_str());
}

TEST_CASE_METHOD(Case, "/proc/self/mounts: pollable, always readable", "[files]")
{
	Fd mounts(must_libc(open("/proc/self/mounts", O_RDONLY | O_CLOEXEC)));
	REQUIRE(ep.add(mounts, EPOLLIN, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	CHECK(ep.mod(mounts, EPOLLIN | EPOLLET, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
	CHECK(ep.wait() == Events{});
}

TEST_CASE_METHOD(Case, "/dev/kmsg and the random device: pollable character devices", "[files]")
{
	Fd random(must_libc(open("/dev/urandom", O_RDONLY | O_CLOEXEC)));
	Fd blocking(must_libc(open("/dev/random", O_RDONLY | O_CLOEXEC)));
	int expected = kernel_at_least(5, 0) ? 0 : 0;
	CHECK(ep.add(blocking, EPOLLIN, 1) == expected);
	int r = ep.add(random, EPOLLIN, 2);
	CHECK((r == 0 || r == -EPERM));
	CHECK(ep.wait(patience_ms).at(0) == Event{ EPOLLIN, 1 });
}

TEST_CASE_METHOD(Case, "files that cannot be polled are EPERM", "[files]")
{
	Directory directory;
	std::string path = std::string(directory.path) + "/file";
	Fd regular(must_libc(open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC, 0600)));
	unlink(path.c_str());
	Fd dir(must_libc(open(directory.path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
	Fd memory(must_libc(memfd_create("test", MFD_CLOEXEC)));
	Fd status(must_libc(open("/proc/self/status", O_RDONLY | O_CLOEXEC)));

	for (int fd : { int(regular), int(dir), int(memory), int(status) })
		CHECK(ep.add(fd, EPOLLIN) == -EPERM);
	for (const char *device : { "/dev/null", "/dev/zero", "/dev/full" }) {
		Fd fd(must_libc(open(device, O_RDWR | O_CLOEXEC), device));
		CHECK(ep.add(fd, EPOLLIN) == -EPERM);
	}
	CHECK(watches(ep.fd()).empty());
}

TEST_CASE_METHOD(Case, "files: the close of very many takes no watch of another", "[files][close]")
{
	constexpr int files = 20'000;
	std::vector<Fd> watched, others;
	allow_descriptors(files + 100);
	for (int i = 0; i < files / 2; i++) {
		watched.push_back(event_fd());
		others.push_back(event_fd());
		REQUIRE(ep.add(watched.back(), EPOLLIN | EPOLLET, i) == 0);
	}
	others.clear();
	CHECK(watches(ep.fd()).size() == watched.size());
	for (auto &file : watched)
		put(file);
	std::size_t events = 0;
	for (int n; (n = ep.count(0, 64)) > 0;)
		events += n;
	CHECK(events == watched.size());
}
