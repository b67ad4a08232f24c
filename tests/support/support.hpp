// SPDX-License-Identifier: GPL-2.0
// What the tests are written with: descriptors that close themselves, an
// instance, a thread that blocks in a call, a child that answers with a status.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <functional>
#include <initializer_list>
#include <iosfwd>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/types.h>

#include "backend.hpp"
#include "fd.hpp"

using std::chrono::milliseconds;
using Clock = std::chrono::steady_clock;

// Longer than anything takes that is not lost
constexpr int patience_ms = 30'000;

// r as it is, or an exception that names what failed with -errno
int must(int r, const char *what = "a call of the test itself");
// The same for calls that return -1 and set errno
int must_libc(long r, const char *what = "a call of the test itself");

struct Ends {
	Fd r, w;
};
struct Pair {
	Fd a, b;
};

Fd event_fd(unsigned count = 0);	// non-blocking
void put(int eventfd, std::uint64_t n = 1);
void take(int eventfd);			// to 0
Ends make_pipe();			// non-blocking
Pair make_pair(int type);		// AF_UNIX, non-blocking
Pair make_tcp();			// connected over loopback, non-blocking
void send_byte(int fd);
void drain(int fd);
Fd dup_of(int fd);

struct Event {
	std::uint32_t events;
	std::uint64_t data;
	bool operator==(const Event &) const = default;
};
std::ostream &operator<<(std::ostream &, const Event &);

using Events = std::vector<Event>;
using Data = std::vector<std::uint64_t>;

Data data_of(const Events &events);

class Instance {
public:
	explicit Instance(const Backend &backend = be());

	int fd() const { return fd_; }
	void close() { fd_.reset(); }
	int ctl(int op, int fd, std::uint32_t events, std::uint64_t data = 0) const;
	int add(int fd, std::uint32_t events, std::uint64_t data = 0) const
	{
		return ctl(EPOLL_CTL_ADD, fd, events, data);
	}
	int mod(int fd, std::uint32_t events, std::uint64_t data = 0) const
	{
		return ctl(EPOLL_CTL_MOD, fd, events, data);
	}
	int del(int fd) const { return ctl(EPOLL_CTL_DEL, fd, 0); }

	// What a wait gives; an exception where it fails
	Events wait(int timeout_ms = 0, int max = 64) const;
	// The answer alone
	int count(int timeout_ms = 0, int max = 64) const;

private:
	const Backend *backend_;
	Fd fd_;
};

// `outer` watches `inner`
inline int link(const Instance &outer, const Instance &inner)
{
	return outer.add(inner.fd(), EPOLLIN, inner.fd());
}

// A thread inside one call. The destructor joins: a call that never ends is for
// the limit on the whole program's time to find.
class Blocked {
public:
	// A wait on an instance, for at most patience_ms
	explicit Blocked(const Instance &instance, int timeout_ms = patience_ms, int max = 8);
	explicit Blocked(std::function<int()> call);
	Blocked(Blocked &&) = delete;
	~Blocked();

	// Returns when the thread sleeps in the kernel, in a call that waits. A
	// thread that has already returned from it is an exception.
	void asleep() const;
	bool done() const { return done_; }
	bool done_within(int ms) const;
	pid_t tid() const { return tid_; }
	pthread_t thread() { return thread_.native_handle(); }
	int result(); // joins
	const Events &events() const { return events_; }

private:
	std::vector<epoll_event> buffer_;
	Events events_;
	std::atomic<pid_t> tid_{ 0 };
	std::atomic<bool> done_{ false };
	int result_ = 0;
	std::thread thread_;

	void start(std::function<int()> call);
};

// Is this task of this process (or that process) asleep in a call that waits?
bool sleeps_in_wait(pid_t pid, pid_t tid);
void until_asleep_in_wait(pid_t pid);

// Polls a condition; false after patience_ms
bool eventually(const std::function<bool()> &condition, int ms = patience_ms);
// For the absence of an event: time enough for it to happen
void settle(int ms = 60);

// How many of the threads have returned, once `expected` have and it has settled
int returned(std::initializer_list<const Blocked *> threads, int expected);

// fork; the child's answer (0..255) or 256 + the signal that killed it. The
// child must not use Catch2's assertions.
int in_child(const std::function<int()> &body);
pid_t start_child(const std::function<int()> &body);
int child_status(pid_t pid);

milliseconds elapsed_of(const std::function<void()> &call);

int open_descriptors();
std::string slurp(const std::string &path);
void spill(const std::string &path, const std::string &text);

// A setting of the system, such as a sysctl, which is put back when this goes
class Setting {
public:
	explicit Setting(const std::string &file) : file_(file), before_(slurp(file)) {}
	Setting(const std::string &file, const std::string &value) : Setting(file) { spill(file_, value); }
	~Setting() { spill(file_, before_); }
	Setting(const Setting &) = delete;
	void set(long n) { spill(file_, std::to_string(n) + "\n"); }

private:
	std::string file_, before_;
};

// fdinfo, as a list of watches and whole
struct Watch {
	int fd;
	std::uint32_t events;
	std::uint64_t data;
	bool operator==(const Watch &) const = default;
};
std::ostream &operator<<(std::ostream &, const Watch &);
std::vector<Watch> watches(int epfd);
std::string fdinfo(int fd);

// Raises RLIMIT_NOFILE to what a test with many descriptors needs
void allow_descriptors(int n);

// Base of test cases: what a case opens it closes
class Tidy {
public:
	Tidy();
	~Tidy();
	Tidy(const Tidy &) = delete;

private:
	int before_;
};

// Most cases have an instance of their own
struct Case : Tidy {
	Instance ep;
};
