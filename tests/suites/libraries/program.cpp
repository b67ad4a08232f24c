// SPDX-License-Identifier: GPL-2.0
// A program that knows epoll and nothing of myepoll, to be run with and without
// libmyepoll-preload.so: program CASE [ARGUMENT...].
#include "util.hpp"

#include <algorithm>
#include <atomic>
#include <climits>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <sstream>
#include <thread>

#include <dlfcn.h>
#include <fcntl.h>
#include <linux/io_uring.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/single_threaded.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "uapi/myepoll.h"
#include "userspace/src/sys.h"

extern "C" int early_instance, early_events;

using Arguments = std::vector<std::string>;

static void check_served(int ep, std::uint64_t data)
{
	Fd target = eventfd_with(1);
	epoll_event e = ev(EPOLLIN, data), got[2];

	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	EXPECT(epoll_wait(ep, got, 2, -1) == 1);
	EXPECT(got[0].events == EPOLLIN && got[0].data.u64 == data);
	EXPECT(epoll_ctl(ep, EPOLL_CTL_DEL, target, nullptr) == 0);
	EXPECT(epoll_wait(ep, got, 2, 0) == 0);
}

// The kind of each instance that the ways of creating one give
static int kinds(const Arguments &)
{
	for (long fd : { long(epoll_create(1)), long(epoll_create1(0)), long(epoll_create1(EPOLL_CLOEXEC)),
			 syscall(SYS_epoll_create, 1), syscall(SYS_epoll_create1, EPOLL_CLOEXEC) }) {
		EXPECT(fd >= 0);
		printf("%s %d\n", link_of(int(fd)).c_str(), fcntl(int(fd), F_GETFD));
		check_served(int(fd), 5);
	}
	return 0;
}

static int early(const Arguments &)
{
	printf("%s %d\n", link_of(early_instance).c_str(), early_events);
	check_served(early_instance, 6);
	return 0;
}

// Every wait, as a function and as a system call
static int forms(const Arguments &)
{
	Fd ep(epoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(1), other = eventfd_with(0);
	epoll_event e = ev(EPOLLIN, 11), got[4];
	const timespec ms = { 0, 1'000'000 }, ns = { 0, 1 };
	sigset_t none;
	const auto one = [&](long n) {
		EXPECT(n == 1);
		EXPECT(got[0].data.u64 == 11);
		got[0] = {};
	};

	sigemptyset(&none);
	EXPECT(syscall(SYS_epoll_ctl, int(ep), EPOLL_CTL_ADD, int(target), &e) == 0);
	one(epoll_wait(ep, got, 4, -1));
	one(epoll_pwait(ep, got, 4, -1, nullptr));
	one(epoll_pwait(ep, got, 4, 0, &none));
	one(epoll_pwait2(ep, got, 4, nullptr, nullptr));
	one(epoll_pwait2(ep, got, 4, &ms, nullptr));
	one(epoll_pwait2(ep, got, 4, &ns, nullptr));
	one(epoll_pwait2(ep, got, 4, &ns, &none));
	one(syscall(SYS_epoll_wait, int(ep), got, 4, -1));
	one(syscall(SYS_epoll_pwait, int(ep), got, 4, -1, nullptr, 0));
	one(syscall(SYS_epoll_pwait, int(ep), got, 4, -1, &none, 8));
	one(syscall(SYS_epoll_pwait2, int(ep), got, 4, nullptr, nullptr, 0));
	one(syscall(SYS_epoll_pwait2, int(ep), got, 4, &ms, nullptr, 8));
	one(syscall(SYS_epoll_pwait2, int(ep), got, 4, &ns, &none, 8));
	e.data.u64 = 12;
	EXPECT(syscall(SYS_epoll_ctl, int(ep), EPOLL_CTL_MOD, int(target), &e) == 0);
	EXPECT(epoll_wait(ep, got, 4, 0) == 1 && got[0].data.u64 == 12);
	EXPECT(syscall(SYS_epoll_ctl, int(ep), EPOLL_CTL_DEL, int(target), nullptr) == 0);
	EXPECT(epoll_wait(ep, got, 4, 0) == 0);
	EXPECT(result_of([&] { return epoll_ctl(ep, EPOLL_CTL_MOD, other, &e); }) == failed(ENOENT));
	return 0;
}

// What fails and how, one line each: the same text on either epoll
static int errors(const Arguments &)
{
	Fd ep(epoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(1), other = eventfd_with(0);
	Fd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)), path(open("/", O_PATH | O_CLOEXEC));
	Fd null(open("/dev/null", O_RDWR | O_CLOEXEC)), native = native_epoll();
	auto [r, w] = pipe_ends();
	epoll_event e = ev(EPOLLIN), exclusive = ev(EPOLLIN | EPOLLEXCLUSIVE), got[2];
	sigset_t none;
	const long page = sysconf(_SC_PAGESIZE);
	char *pages = static_cast<char *>(
		mmap(nullptr, std::size_t(2 * page), PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	const timespec bad_times[] = { { -1, 0 }, { 0, -1 }, { 0, 1'000'000'000 } }, zero = {};
	std::map<std::string, int> epfds = { { "instance", ep },   { "closed", 1 << 20 }, { "-1", -1 },
					     { "pipe", r },	   { "file", file },	 { "O_PATH", path },
					     { "/dev/null", null }, { "eventfd", other } };
	std::map<std::string, int> fds = { { "target", target }, { "other", other }, { "file", file },
					   { "null", null },	 { "closed", 1 << 20 }, { "O_PATH", path },
					   { "instance", ep },	 { "pipe", w } };
	int line = 0;
	const auto show = [&](const std::string &what, auto call) {
		std::ostringstream text;

		text << result_of(call);
		printf("%d %s: %s\n", ++line, what.c_str(), text.str().c_str());
	};

	sigemptyset(&none);
	EXPECT(pages != MAP_FAILED);
	EXPECT(!munmap(pages + page, std::size_t(page)));
	char *const end = pages + page;
	std::map<std::string, void *> bad = {
		{ "NULL", nullptr },
		{ "8", reinterpret_cast<void *>(8) },
		{ "kernel's", reinterpret_cast<void *>(-4096L) },
		{ "4 bytes too short", end - 4 },
		{ "8 bytes there", end - 8 },
		{ "unmapped", end },
	};

	for (int flags : { 1, O_NONBLOCK, -1 }) {
		show("create1", [&] { return epoll_create1(flags); });
		show("syscall create1", [&] { return syscall(SYS_epoll_create1, flags); });
	}
	for (int size : { 0, -1 }) {
		show("create", [&] { return epoll_create(size); });
		show("syscall create", [&] { return syscall(SYS_epoll_create, size); });
	}

	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	for (const auto &[ep_name, epfd] : epfds) {
		for (const auto &[name, fd] : fds)
			for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 0, 4, -1, MYEPOLL_CTL_SET,
					MYEPOLL_CTL_DISABLE, MYEPOLL_CTL_DROP, INT_MAX }) {
				/* Those that succeed would change what comes after. */
				if (epfd == ep && (op == EPOLL_CTL_ADD || op == EPOLL_CTL_DEL) &&
				    fd != file && fd != null && fd != path && fd != 1 << 20 && fd != ep)
					continue;
				show("ctl " + ep_name + " " + std::to_string(op) + " " + name,
				     [&] { return epoll_ctl(epfd, op, fd, &e); });
				show("syscall ctl", [&] { return syscall(SYS_epoll_ctl, epfd, op, fd, &e); });
			}
		for (const auto &[name, p] : bad)
			for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD, 4, MYEPOLL_CTL_DISABLE }) {
				show("ctl event " + name,
				     [&] { return epoll_ctl(epfd, op, target, static_cast<epoll_event *>(p)); });
				show("syscall ctl",
				     [&] { return syscall(SYS_epoll_ctl, epfd, op, int(target), p); });
			}
		show("DEL of a stranger, event 8", [&] {
			return epoll_ctl(epfd, EPOLL_CTL_DEL, other, reinterpret_cast<epoll_event *>(8));
		});
		show("DROP", [&] { return epoll_ctl(epfd, MYEPOLL_CTL_DROP, -1, &e); });
		show("MOD to exclusive", [&] { return epoll_ctl(epfd, EPOLL_CTL_MOD, other, &exclusive); });

		for (int max : { 0, -1, INT_MIN, INT_MAX }) {
			show("wait", [&] { return epoll_wait(epfd, got, max, 0); });
			show("pwait", [&] { return epoll_pwait(epfd, got, max, 0, &none); });
			show("pwait2", [&] { return epoll_pwait2(epfd, got, max, &zero, &none); });
			show("syscall wait", [&] { return syscall(SYS_epoll_wait, epfd, got, max, 0); });
		}
		for (const auto &[name, p] : bad) {
			auto *events = static_cast<epoll_event *>(p);
			auto *mask = static_cast<sigset_t *>(p);
			auto *time = static_cast<timespec *>(p);

			show("wait into " + name, [&] { return epoll_wait(epfd, events, 1, 0); });
			show("pwait into " + name, [&] { return epoll_pwait(epfd, events, 1, 0, &none); });
			if (!p)
				continue;
			if (name != "8 bytes there") {
				show("pwait mask " + name, [&] { return epoll_pwait(epfd, got, 1, 0, mask); });
				show("syscall pwait mask", [&] {
					return syscall(SYS_epoll_pwait, epfd, got, 1, 0, mask, 8);
				});
				show("pwait2 mask " + name,
				     [&] { return epoll_pwait2(epfd, got, 1, &zero, mask); });
			}
			show("pwait2 timeout " + name,
			     [&] { return epoll_pwait2(epfd, got, 1, time, nullptr); });
			show("syscall pwait2 timeout",
			     [&] { return syscall(SYS_epoll_pwait2, epfd, got, 1, time, nullptr, 8); });
		}
		for (const auto &time : bad_times) {
			show("pwait2", [&] { return epoll_pwait2(epfd, got, 1, &time, nullptr); });
			show("syscall pwait2",
			     [&] { return syscall(SYS_epoll_pwait2, epfd, got, 1, &time, nullptr, 8); });
		}
		for (int size : { 0, 4, 16, 128 }) {
			show("pwait sigsetsize",
			     [&] { return syscall(SYS_epoll_pwait, epfd, got, 1, 0, &none, size); });
			show("pwait2 sigsetsize",
			     [&] { return syscall(SYS_epoll_pwait2, epfd, got, 1, &zero, &none, size); });
			show("no mask, sigsetsize",
			     [&] { return syscall(SYS_epoll_pwait, epfd, got, 1, 0, nullptr, size); });
		}
	}
	return 0;
}

// The kernel's own instances, made behind the preload library's back, in a
// process that has instances of the module's
static int native(const Arguments &)
{
	Fd mine(epoll_create1(EPOLL_CLOEXEC)), native = native_epoll(), target = eventfd_with(1);
	epoll_event e = ev(EPOLLIN, 77), got[2];
	const timespec zero = {}, ns = { 0, 1 };
	sigset_t none;

	sigemptyset(&none);
	check_served(mine, 1);
	check_served(native, 2);
	EXPECT(epoll_ctl(native, EPOLL_CTL_ADD, target, &e) == 0);
	EXPECT(result_of([&] { return epoll_ctl(native, EPOLL_CTL_ADD, target, &e); }) == failed(EEXIST));
	EXPECT(epoll_pwait(native, got, 2, -1, &none) == 1);
	EXPECT(epoll_pwait2(native, got, 2, nullptr, nullptr) == 1);
	EXPECT(epoll_pwait2(native, got, 2, &zero, &none) == 1);
	EXPECT(epoll_pwait2(native, got, 2, &ns, nullptr) == 1);
	EXPECT(syscall(SYS_epoll_wait, int(native), got, 2, 0) == 1);
	EXPECT(syscall(SYS_epoll_pwait, int(native), got, 2, 0, &none, 8) == 1);
	EXPECT(syscall(SYS_epoll_ctl, int(native), EPOLL_CTL_DEL, int(target), nullptr) == 0);

	/* One may watch the other, in one direction. */
	EXPECT(epoll_ctl(mine, EPOLL_CTL_ADD, target, &e) == 0);
	EXPECT(epoll_ctl(native, EPOLL_CTL_ADD, mine, &e) == 0);
	EXPECT(epoll_wait(native, got, 2, 0) == 1);
	printf("%s\n", strerrorname_np(result_of([&] { return epoll_ctl(mine, EPOLL_CTL_ADD, native, &e); }).error));
	return 0;
}

// Descriptors that change what they are
static int numbers(const Arguments &)
{
	Fd ep(epoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(1);
	Fd copy(dup(ep)), moved(fcntl(ep, F_DUPFD_CLOEXEC, 100));
	epoll_event e = ev(EPOLLIN, 1), got[2];

	EXPECT(moved >= 100);
	EXPECT(epoll_ctl(copy, EPOLL_CTL_ADD, target, &e) == 0);
	EXPECT(epoll_wait(moved, got, 2, 0) == 1);
	EXPECT(epoll_wait(ep, got, 2, 0) == 1);

	/* The same number as the kernel's epoll, as nothing of the kind, as ours again */
	EXPECT(dup2(native_epoll(), copy) == copy);
	check_served(copy, 2);
	EXPECT(dup2(target, copy) == copy);
	EXPECT(result_of([&] { return epoll_wait(copy, got, 2, 0); }) == failed(EINVAL));
	EXPECT(dup2(moved, copy) == copy);
	EXPECT(epoll_wait(copy, got, 2, 0) == 1);
	close(copy);
	EXPECT(result_of([&] { return epoll_wait(copy, got, 2, 0); }) == failed(EBADF));
	EXPECT(epoll_create1(EPOLL_CLOEXEC) == copy);
	EXPECT(epoll_wait(copy, got, 2, 0) == 0);
	check_served(copy, 3);

	/* A daemon closes everything and goes on. */
	const int last = dup(2);
	EXPECT(!syscall(SYS_close_range, 3, last - 1, 0));
	EXPECT(!syscall(SYS_close_range, last + 1, ~0U, 0));
	ep.release(), target.release(), copy.release(), moved.release();
	Fd again(epoll_create1(0));
	EXPECT(again == 3 || last == 3);
	check_served(again, 4);
	printf("%s\n", link_of(again).c_str());
	return 0;
}

static int lowest(const Arguments &)
{
	Fd a = eventfd_with(0), b = eventfd_with(0), c = eventfd_with(0);
	const int first = a, second = b;

	a = Fd();
	b = Fd();
	EXPECT(epoll_create1(EPOLL_CLOEXEC) == first);
	EXPECT(epoll_create(1) == second);
	for (const auto &file : open_files())
		EXPECT(file.find("/dev/myepoll") == std::string::npos);
	EXPECT(Fd(dup(2)) == c + 1);
	return 0;
}

static int forking(const Arguments &)
{
	Fd ep(epoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(0);
	epoll_event e = ev(EPOLLIN, 21), got[2];
	auto [r, w] = pipe_ends();

	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	EXPECT(in_child([&] {
		epoll_event mod = ev(EPOLLIN, 22);
		Fd own(epoll_create1(EPOLL_CLOEXEC));

		check_served(own, 1);
		EXPECT(epoll_ctl(ep, EPOLL_CTL_MOD, target, &mod) == 0);
		eventfd_write(target, 1);
		EXPECT(epoll_wait(ep, got, 2, -1) == 1 && got[0].data.u64 == 22);
		return 0;
	}) == 0);
	EXPECT(epoll_wait(ep, got, 2, 0) == 1 && got[0].data.u64 == 22);
	return 0;
}

// For exec: an instance with one edge, at a number that stays open
static int exec(const Arguments &arguments)
{
	const int ep = epoll_create1(0);
	const int target = eventfd(1, 0);
	epoll_event e = ev(EPOLLIN | EPOLLET, 31);
	std::vector<std::string> argv = { program_invocation_name, arguments.at(0), std::to_string(ep) };
	std::vector<char *> args;

	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	for (auto &s : argv)
		args.push_back(s.data());
	args.push_back(nullptr);
	execv("/proc/self/exe", args.data());
	return 1;
}

static int after_exec_wait(const Arguments &arguments)
{
	const int ep = std::stoi(arguments.at(0));
	epoll_event got[2];

	EXPECT(epoll_wait(ep, got, 2, 0) == 1 && got[0].data.u64 == 31);
	EXPECT(epoll_wait(ep, got, 2, 0) == 0);
	check_served(ep, 32);
	printf("%s\n", link_of(ep).c_str());
	return 0;
}

static int after_exec_pwait2(const Arguments &arguments)
{
	const int ep = std::stoi(arguments.at(0));
	const timespec ns = { 0, 1 };
	epoll_event got[2];
	sigset_t none;

	sigemptyset(&none);
	EXPECT(epoll_pwait2(ep, got, 2, &ns, &none) == 1 && got[0].data.u64 == 31);
	return 0;
}

static int after_exec_ctl(const Arguments &arguments)
{
	const int ep = std::stoi(arguments.at(0));
	Fd other = eventfd_with(1);
	epoll_event e = ev(EPOLLIN, 33), got[4];

	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, other, &e) == 0);
	EXPECT(result_of([&] { return epoll_ctl(ep, EPOLL_CTL_ADD, other, &e); }) == failed(EEXIST));
	EXPECT(epoll_pwait(ep, got, 4, 0, nullptr) == 2);
	return 0;
}

static void send_fd(int socket, int fd)
{
	char byte = 0, control[CMSG_SPACE(sizeof(int))] = {};
	iovec iov = { &byte, 1 };
	msghdr msg = {};

	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control;
	msg.msg_controllen = sizeof(control);
	cmsghdr *c = CMSG_FIRSTHDR(&msg);
	c->cmsg_level = SOL_SOCKET;
	c->cmsg_type = SCM_RIGHTS;
	c->cmsg_len = CMSG_LEN(sizeof(int));
	memcpy(CMSG_DATA(c), &fd, sizeof(fd));
	EXPECT(sendmsg(socket, &msg, 0) == 1);
}

static int receive_fd(int socket)
{
	char byte, control[CMSG_SPACE(sizeof(int))];
	iovec iov = { &byte, 1 };
	msghdr msg = {};
	int fd;

	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control;
	msg.msg_controllen = sizeof(control);
	EXPECT(recvmsg(socket, &msg, MSG_CMSG_CLOEXEC) == 1);
	memcpy(&fd, CMSG_DATA(CMSG_FIRSTHDR(&msg)), sizeof(fd));
	return fd;
}

// A process that created nothing gets one of each kind over a socket.
static int rights(const Arguments &)
{
	int s[2];

	EXPECT(!socketpair(AF_UNIX, SOCK_SEQPACKET, 0, s));
	EXPECT(in_child([&] {
		Fd target = eventfd_with(1), ep(epoll_create1(0)), native = native_epoll();
		epoll_event e = ev(EPOLLIN, 41);

		EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
		e.data.u64 = 42;
		EXPECT(epoll_ctl(native, EPOLL_CTL_ADD, target, &e) == 0);
		send_fd(s[0], native);
		send_fd(s[0], ep);
		send_fd(s[0], target); /* which keeps it open */
		return 0;
	}) == 0);
	Fd native(receive_fd(s[1])), ep(receive_fd(s[1])), target(receive_fd(s[1]));
	epoll_event got[2];

	EXPECT(epoll_wait(native, got, 2, 0) == 1 && got[0].data.u64 == 42);
	EXPECT(epoll_wait(ep, got, 2, 0) == 1 && got[0].data.u64 == 41);
	EXPECT(epoll_wait(native, got, 2, 0) == 1 && got[0].data.u64 == 42);
	check_served(Fd(epoll_create1(0)), 43);
	printf("%s\n", link_of(ep).c_str());
	return 0;
}

static int uring(const Arguments &)
{
	io_uring_params p = {};
	const Result shown = result_of([&] { return syscall(SYS_io_uring_setup, 0, &p); });
	const long raw = sys4(SYS_io_uring_setup, 0, reinterpret_cast<long>(&p), 0, 0);

	puts(shown == failed(ENOSYS) ? "ENOSYS" : shown == failed(int(-raw)) ? "kernel's" : "wrong");
	return 0;
}

// Everything else goes through syscall() as it was.
static int passed_on(const Arguments &)
{
	char name[] = "/tmp/program.XXXXXX";
	Fd file(mkstemp(name));

	unlink(name);
	EXPECT(!ftruncate(file, 3 * 4096));
	EXPECT(syscall(SYS_getpid) == getpid());
	EXPECT(result_of([] { return syscall(SYS_close, -1); }) == failed(EBADF));
	EXPECT(result_of([] { return syscall(100000, 1, 2, 3, 4, 5, 6); }) == failed(ENOSYS));
	/* All six arguments, and an address for a result */
	EXPECT(pwrite(file, "x", 1, 2 * 4096) == 1);
	const long p = syscall(SYS_mmap, nullptr, 4096, PROT_READ, MAP_PRIVATE, int(file), 2 * 4096);
	EXPECT(p != -1);
	EXPECT(*reinterpret_cast<char *>(p) == 'x');
	errno = 7;
	EXPECT(syscall(SYS_gettid) > 0 && errno == 7);
	EXPECT(syscall(SYS_lseek, int(file), 1L << 40, SEEK_SET) == 1L << 40);

	/* A stack of its own: the child returns on it, to where its top says. */
	alignas(16) static void *stack[4096];
	int status;
	stack[4000] = reinterpret_cast<void *>(+[] { _exit(42); });
	const long pid = syscall(SYS_clone, SIGCHLD, &stack[4000], 0, 0, 0);
	EXPECT(pid > 0);
	EXPECT(waitpid(pid_t(pid), &status, 0) == pid);
	EXPECT(WIFEXITED(status) && WEXITSTATUS(status) == 42);
	return 0;
}

static int cancel(const Arguments &)
{
	static int ep;
	static std::atomic<bool> started;
	void *(*const ways[])(void *) = {
		[](void *) -> void * {
			epoll_event got[1];
			started = true;
			for (;;)
				epoll_wait(ep, got, 1, -1);
		},
		[](void *) -> void * {
			epoll_event got[1];
			started = true;
			for (;;)
				epoll_wait(ep, got, 1, 0);
		},
		[](void *) -> void * {
			epoll_event got[1];
			sigset_t none;
			sigemptyset(&none);
			started = true;
			for (;;)
				epoll_pwait(ep, got, 1, -1, &none);
		},
		[](void *) -> void * {
			epoll_event got[1];
			started = true;
			for (;;)
				epoll_pwait2(ep, got, 1, nullptr, nullptr);
		},
	};

	for (int fd : { epoll_create1(0), native_epoll().release() })
		for (auto way : ways) {
			pthread_t thread;
			void *result;

			ep = fd;
			started = false;
			EXPECT(!pthread_create(&thread, nullptr, way, nullptr));
			while (!started)
				sched_yield();
			usleep(20'000);
			EXPECT(!pthread_cancel(thread));
			EXPECT(!pthread_join(thread, &result));
			EXPECT(result == PTHREAD_CANCELED);
		}
	return 0;
}

// A thread that is alone has itself to cancel it, and libc's waits act on that.
static int cancel_self(const Arguments &arguments)
{
	Fd ep(epoll_create1(EPOLL_CLOEXEC));
	epoll_event got[1];
	const timespec ages = { 5, 1 };
	sigset_t none;
	struct Guard {
		~Guard() { dprintf(1, "unwound\n"); }
	};

	sigemptyset(&none);
	/*
	 * That this program has the variable is part of the test: it is a copy then,
	 * and what libc does to its own in pthread_cancel() is not seen here.
	 */
	EXPECT(__libc_single_threaded);
	EXPECT(!pthread_cancel(pthread_self()));
	Guard guard;
	switch (std::stoi(arguments.at(0))) {
	case 0:
		epoll_wait(ep, got, 1, 5000);
		break;
	case 1:
		epoll_wait(ep, got, 1, 0);
		break;
	case 2:
		epoll_pwait(ep, got, 1, 5000, &none);
		break;
	case 3:
		epoll_pwait2(ep, got, 1, &ages, nullptr);
		break;
	}
	_exit(1);
}

// Errors that the module gives about an instance of its own: with the kernel's
// calls out of reach. Native, this is nothing but failures.
static int answers(const Arguments &)
{
	Fd ep(epoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(1);
	Fd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	epoll_event e = ev(EPOLLIN), got[1];
	epoll_event *volatile nowhere = reinterpret_cast<epoll_event *>(8);
	sigset_t none;
	const auto ctl = [&](int op, int fd) {
		return result_of([&] { return epoll_ctl(ep, op, fd, &e); });
	};

	sigemptyset(&none);
	for (int nr : { SYS_epoll_ctl, SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2 })
		forbid(nr, ENOTUNIQ);
	EXPECT(ctl(EPOLL_CTL_ADD, target) == success());
	EXPECT(ctl(EPOLL_CTL_ADD, 1 << 20) == failed(EBADF));
	EXPECT(ctl(EPOLL_CTL_DEL, -1) == failed(EBADF));
	EXPECT(ctl(EPOLL_CTL_ADD, file) == failed(EPERM));
	EXPECT(ctl(EPOLL_CTL_ADD, ep) == failed(EINVAL));
	EXPECT(ctl(77, target) == failed(EINVAL));
	EXPECT(result_of([&] { return epoll_wait(ep, got, 0, 0); }) == failed(EINVAL));
	EXPECT(result_of([&] { return epoll_pwait(ep, got, 0, 0, &none); }) == failed(EINVAL));
	EXPECT(result_of([&] { return epoll_wait(ep, nowhere, 1, 0); }) == failed(EFAULT));
	EXPECT(result_of([&] { return epoll_wait(target, got, 1, 0); }) == failed(ENOTUNIQ));
	return 0;
}

// A number that another thread opens and closes: it is open or not, and never
// a reason to say that the instance is none.
static int reuse(const Arguments &)
{
	Fd ep(epoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(0);
	const int number = 200;
	std::atomic<bool> stop = false;
	unsigned open = 0, closed = 0;
	std::thread other([&] {
		while (!stop) {
			dup2(target, number);
			close(number);
		}
	});

	for (int i = 0; i < 5'000'000 && (i < 100'000 || !open || !closed); i++) {
		epoll_event e = ev(EPOLLIN);
		const Result r = result_of([&] { return epoll_ctl(ep, EPOLL_CTL_MOD, number, &e); });

		EXPECT(r == failed(ENOENT) || r == failed(EBADF));
		(r.error == ENOENT ? open : closed)++;
	}
	stop = true;
	other.join();
	EXPECT(open && closed);
	return 0;
}

// An instance of the kernel's own that, like some drivers, has an error for
// every ioctl
static int driver(const Arguments &arguments)
{
	Fd mine(epoll_create1(EPOLL_CLOEXEC)), native = native_epoll();
	epoll_event got[1];
	sigset_t none;

	sigemptyset(&none);
	forbid_ioctl(native, MYEPOLL_IOC_CTL, std::stoi(arguments.at(0)));
	forbid_ioctl(native, MYEPOLL_IOC_WAIT, std::stoi(arguments.at(0)));
	check_served(mine, 1);
	check_served(native, 2);
	EXPECT(epoll_pwait(native, got, 1, 0, &none) == 0);
	return 0;
}

static int threads(const Arguments &)
{
	std::vector<std::thread> all;

	for (int i = 0; i < 8; i++)
		all.emplace_back([] {
			for (int n = 0; n < 50; n++) {
				Fd ep(epoll_create1(EPOLL_CLOEXEC));

				check_served(ep, 1);
				check_served(native_epoll(), 2);
			}
		});
	for (auto &t : all)
		t.join();
	return 0;
}

// For counting: 2 creates, 3 ctls, 4 waits with 3 events; what failed for the
// program's own fault counts for nobody.
static int countable(const Arguments &arguments)
{
	Fd a(epoll_create1(EPOLL_CLOEXEC)), b(epoll_create(1)), one = eventfd_with(1), two = eventfd_with(1);
	epoll_event e = ev(EPOLLIN), got[4];

	EXPECT(epoll_ctl(a, EPOLL_CTL_ADD, one, &e) == 0);
	EXPECT(epoll_ctl(a, EPOLL_CTL_ADD, two, &e) == 0);
	EXPECT(epoll_wait(a, got, 4, -1) == 2);
	EXPECT(epoll_ctl(a, EPOLL_CTL_DEL, two, nullptr) == 0);
	EXPECT(epoll_wait(a, got, 4, -1) == 1);
	EXPECT(epoll_wait(b, got, 4, 0) == 0);
	EXPECT(syscall(SYS_epoll_wait, int(b), got, 4, 0) == 0);
	EXPECT(epoll_wait(-1, got, 4, 0) == -1);
	EXPECT(epoll_create1(1) == -1);
	if (arguments.empty())
		return 0;
	if (arguments[0] == "native") {
		check_served(native_epoll(), 1);
	} else if (arguments[0] == "fork") {
		const pid_t child = fork();

		if (!child) {
			check_served(b, 1);
			exit(0);
		}
		EXPECT(child > 0);
		siginfo_t info;
		EXPECT(!waitid(P_PID, id_t(child), &info, WEXITED));
	} else if (arguments[0] == "stderr") {
		/* A daemon's fd 2 */
		EXPECT(dup2(open(arguments.at(1).c_str(), O_CREAT | O_TRUNC | O_WRONLY, 0600), 2) == 2);
	} else if (arguments[0] == "closed") {
		close(2);
	}
	return 0;
}

static int create(const Arguments &)
{
	for (int i = 0; i < 3; i++) {
		const int ep = epoll_create1(EPOLL_CLOEXEC);

		puts(ep >= 0 ? link_of(ep).c_str() : strerrorname_np(errno));
		if (ep >= 0)
			check_served(ep, 1);
	}
	return 0;
}

// A filter on fadvise64 that comes after the door was chosen
static int sandbox(const Arguments &arguments)
{
	Fd ep(epoll_create1(EPOLL_CLOEXEC));

	check_served(ep, 1);
	forbid(SYS_fadvise64, std::stoi(arguments.at(0)));
	check_served(ep, 2);
	check_served(ep, 3);
	return 0;
}

// The number of system calls that @call makes in a child: what is between two getppid()
static int system_calls(const std::function<void()> &call)
{
	const pid_t pid = fork();
	int status, n = -1;

	if (!pid) {
		EXPECT(!ptrace(PTRACE_TRACEME, 0, nullptr, nullptr));
		raise(SIGSTOP);
		sys4(SYS_getppid, 0, 0, 0, 0);
		call();
		sys4(SYS_getppid, 0, 0, 0, 0);
		_exit(0);
	}
	EXPECT(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
	EXPECT(!ptrace(PTRACE_SETOPTIONS, pid, nullptr, PTRACE_O_TRACESYSGOOD));
	for (;;) {
		__ptrace_syscall_info info;

		EXPECT(!ptrace(PTRACE_SYSCALL, pid, nullptr, nullptr));
		EXPECT(waitpid(pid, &status, 0) == pid);
		if (WIFEXITED(status))
			_exit(2);
		EXPECT(ptrace(static_cast<__ptrace_request>(PTRACE_GET_SYSCALL_INFO), pid, sizeof(info),
			      &info) > 0);
		if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
			continue;
		if (info.entry.nr != SYS_getppid)
			n += n >= 0;
		else if (n < 0)
			n = 0;
		else
			break;
	}
	EXPECT(!ptrace(PTRACE_DETACH, pid, nullptr, nullptr));
	EXPECT(waitpid(pid, &status, 0) == pid && status == 0);
	return n;
}

// What each call costs on an instance of either kind
static int costs(const Arguments &)
{
	Fd mine(epoll_create1(EPOLL_CLOEXEC)), native = native_epoll(), target = eventfd_with(1);
	epoll_event e = ev(EPOLLIN, 1), got[2];
	const timespec ns = { 0, 1 };
	sigset_t none;

	sigemptyset(&none);
	for (int ep : { int(mine), int(native) }) {
		const std::function<void()> add = [&] { EXPECT(!epoll_ctl(ep, EPOLL_CTL_ADD, target, &e)); };
		const std::function<void()> del = [&] { EXPECT(!epoll_ctl(ep, EPOLL_CTL_DEL, target, nullptr)); };
		const std::function<void()> waits[] = {
			[&] { EXPECT(epoll_wait(ep, got, 2, -1) == 1); },
			[&] { EXPECT(epoll_pwait(ep, got, 2, 0, nullptr) == 1); },
			[&] { EXPECT(syscall(SYS_epoll_wait, ep, got, 2, -1) == 1); },
			[&] { EXPECT(epoll_pwait2(ep, got, 2, nullptr, nullptr) == 1); },
			[&] { EXPECT(epoll_pwait2(ep, got, 2, &ns, nullptr) == 1); },
			[&] { EXPECT(epoll_pwait(ep, got, 2, 0, &none) == 1); },
		};

		printf("%d", system_calls(add));
		printf(" %d", system_calls(del));
		add();
		for (const auto &wait : waits)
			printf(" %d", system_calls(wait));
		puts("");
	}
	return 0;
}

// With next.c's library behind: what got there
static int next_library(const Arguments &)
{
	auto *const calls = static_cast<char *>(dlsym(RTLD_DEFAULT, "next_calls"));
	Fd mine(epoll_create1(EPOLL_CLOEXEC)), native = native_epoll(), target = eventfd_with(1);
	epoll_event e = ev(EPOLLIN), got[1];
	const timespec zero = {};
	sigset_t none;

	sigemptyset(&none);
	EXPECT(calls);
	calls[0] = 0;
	check_served(mine, 1);
	EXPECT(calls[0] == 0);
	EXPECT(epoll_ctl(native, EPOLL_CTL_ADD, target, &e) == 0);
	EXPECT(epoll_wait(native, got, 1, 0) == 1);
	EXPECT(epoll_pwait(native, got, 1, 0, &none) == 1);
	EXPECT(epoll_pwait2(native, got, 1, &zero, nullptr) == 1);
	EXPECT(syscall(SYS_epoll_ctl, int(native), EPOLL_CTL_MOD, int(target), &e) == 0);
	EXPECT(syscall(SYS_epoll_wait, int(native), got, 1, 0) == 1);
	EXPECT(syscall(SYS_getpid) == getpid());
	puts(calls);
	return 0;
}

// With sanitizer.c's library in the sanitizers' place
static int told(const Arguments &)
{
	auto *const calls = static_cast<char *>(dlsym(RTLD_DEFAULT, "sanitizer_calls"));
	Fd ep(epoll_create1(EPOLL_CLOEXEC)), one = eventfd_with(1), two = eventfd_with(1);
	epoll_event e = ev(EPOLLIN), got[4];

	EXPECT(calls);
	calls[0] = 0;
	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, one, &e) == 0);
	puts(calls);
	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, two, &e) == 0);
	calls[0] = 0;
	EXPECT(epoll_wait(ep, got, 4, -1) == 2);
	puts(calls);

	EXPECT(epoll_ctl(ep, EPOLL_CTL_DEL, one, nullptr) == 0);
	EXPECT(epoll_ctl(ep, EPOLL_CTL_DEL, two, nullptr) == 0);
	calls[0] = 0;
	signal(SIGALRM, [](int) {});
	alarm(1);
	EXPECT(result_of([&] { return epoll_wait(ep, got, 4, -1); }) == failed(EINTR));
	puts(calls);
	return 0;
}

// With a filter on system calls that this does not make
static int older_calls(const Arguments &)
{
	Fd ep(epoll_create(1));
	epoll_event got;

	EXPECT(ep >= 0);
	EXPECT(epoll_pwait(ep, &got, 1, 0, nullptr) == 0);
	EXPECT(syscall(SYS_epoll_pwait, int(ep), &got, 1, 0, nullptr, 8) == 0);
	puts(link_of(ep).c_str());
	return 0;
}

// The operations of the module's own are none of epoll's, and do nothing.
static int unknown_operations(const Arguments &)
{
	Fd ep(epoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(1), other = eventfd_with(1);
	epoll_event e = ev(EPOLLIN | EPOLLONESHOT, 5), got[2];

	EXPECT(epoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	for (int op : { MYEPOLL_CTL_SET, MYEPOLL_CTL_DISABLE, MYEPOLL_CTL_DROP })
		for (int fd : { int(target), int(other), -1 }) {
			const Result expected = failed(fd < 0 ? EBADF : EINVAL);

			EXPECT(result_of([&] { return epoll_ctl(ep, op, fd, &e); }) == expected);
			EXPECT(result_of([&] { return syscall(SYS_epoll_ctl, int(ep), op, fd, &e); }) == expected);
			EXPECT(result_of([&] { return epoll_ctl(ep, op, fd, nullptr); }) == failed(EFAULT));
		}
	EXPECT(epoll_wait(ep, got, 2, 0) == 1 && got[0].data.u64 == 5);
	EXPECT(epoll_ctl(ep, EPOLL_CTL_MOD, target, &e) == 0);
	return 0;
}

// The options of what each way of creating gives, where it is the module's
static int options(const Arguments &)
{
	for (long fd : { long(epoll_create(1)), long(epoll_create1(0)), syscall(SYS_epoll_create1, 0) }) {
		myepoll_options options = {};

		if (fd < 0)
			puts(strerrorname_np(errno));
		else if (ioctl(int(fd), MYEPOLL_IOC_GET_OPTIONS, &options))
			puts("none");
		else
			printf("%u %u\n", options.flags, options.min_wait);
		if (fd >= 0)
			check_served(int(fd), 1);
	}
	return 0;
}

int main(int argc, char **argv)
{
	const std::map<std::string, int (*)(const Arguments &)> cases = {
		{ "kinds", kinds },
		{ "early", early },
		{ "forms", forms },
		{ "errors", errors },
		{ "native", native },
		{ "numbers", numbers },
		{ "lowest", lowest },
		{ "forking", forking },
		{ "exec", exec },
		{ "after_exec_wait", after_exec_wait },
		{ "after_exec_pwait2", after_exec_pwait2 },
		{ "after_exec_ctl", after_exec_ctl },
		{ "rights", rights },
		{ "uring", uring },
		{ "passed_on", passed_on },
		{ "cancel", cancel },
		{ "cancel_self", cancel_self },
		{ "answers", answers },
		{ "reuse", reuse },
		{ "driver", driver },
		{ "threads", threads },
		{ "countable", countable },
		{ "create", create },
		{ "sandbox", sandbox },
		{ "older_calls", older_calls },
		{ "costs", costs },
		{ "next", next_library },
		{ "told", told },
		{ "unknown_operations", unknown_operations },
		{ "options", options },
	};

	if (argc < 2 || !cases.count(argv[1])) {
		fprintf(stderr, "usage: program CASE [ARGUMENT...]\n");
		return 2;
	}
	return cases.at(argv[1])(Arguments(argv + 2, argv + argc));
}
