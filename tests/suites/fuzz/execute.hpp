// SPDX-License-Identifier: GPL-2.0
// One twin: executes sequences on the kernel's epoll or on myepoll.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <signal.h>
#include <sys/epoll.h>
#include <sys/types.h>

#include "op.hpp"
#include "record.hpp"

// Memory at the same addresses in both twins
struct Hostile {
	char *base; // `room` bytes that can be written, then a page of nothing
	char *none;
	char *readonly;
	static constexpr std::size_t room = 4 * 4096;
};
Hostile map_hostile();

// The signals of a sequence, by their bits
std::uint64_t signal_set(std::uint32_t bits);

class Twin {
public:
	// Opens what it needs above the slots; in the process that is to run it
	Twin(bool native, Hostile hostile, Log &log);
	void run(const Op *ops, std::uint32_t n);

private:
	struct Slot {
		Kind kind;
		std::uint16_t desc; // names the open file description
	};
	struct Inode {
		std::uint64_t ino, sdev; // as fdinfo has them
		std::uint32_t label;
	};
	// A thread that blocks in waits, for others to wake. Made when a sequence
	// first wants one: most run in a process of one thread.
	struct Waiter {
		std::thread thread;
		enum Command : std::uint32_t { idle, go, end };
		std::atomic<std::uint32_t> command{ idle }; // a futex
		std::atomic<bool> done{ false };
		std::atomic<pid_t> tid{ 0 };
		int stat = -1; // /proc/self/task/TID/stat
		bool busy = false;
		bool native;
		int ep, max;
		Kind kind;
		std::uint32_t door;
		long r;
		struct {
			std::uint32_t untouched;
			epoll_event events[8];
		} seen;
	};
	struct Child {
		pid_t pid;
		bool dead;
	};

	const bool native_;
	bool adopted_ = false; // the process has the mark, and the module serves it
	const Hostile hostile_;
	Log &log_;
	int device_ = -1, fdinfo_dir_, listener_, barrier_, touched_[6], inotify_[6], sync_r_, sync_w_;
	std::string dir_;

	std::uint32_t now_ = 0; // index of the operation
	Slot slot_[slots];
	std::vector<std::uint16_t> partner_; // of a pty's end, by desc
	std::vector<Inode> inodes_;
	std::vector<Child> children_;
	std::unique_ptr<Waiter> waiter_[3];
	std::vector<Op> changes_; // for the next turn
	// Who has the watches that are disabled, for an instance of the kernel's
	struct Shadow {
		std::uint16_t desc; // of the instance
		int fd;
	};
	std::vector<Shadow> shadows_;
	unsigned instances_; // created so far
	unsigned inotifies_ = 0;
	unsigned dirty_ = 0; // those whose files were touched
	bool foreign_;	     // there is, or was, an instance of the kernel's epoll
	bool internet_;	     // there is, or was, a socket of the internet's
	bool child_ = false;
	bool sent_ = false;	// some descriptor was on its way through a socket
	bool disabled_ = false; // some watch was

	void reset();
	void step(const Op &op);
	void answer(long r, const void *bytes = nullptr, std::uint32_t length = 0);
	void answer_for(Kind ep, Kind fd, long r, const void *bytes = nullptr, std::uint32_t length = 0);

	Kind kind(std::uint32_t slot) const;
	std::string touched(unsigned n) const; // the file that the nth inotify watches
	std::uint16_t place(int fd, std::uint32_t slot, Kind kind, int partner = -1);
	void make(long fd, std::uint32_t slot, Kind kind);
	void make_two(long r, const int fds[2], std::uint32_t a, std::uint32_t b, Kind kind);
	int peer(std::uint32_t slot) const;
	long put(std::uint32_t slot, const void *bytes, std::size_t length);

	bool be_adopted();
	long create_native(int flags);
	long create(std::uint32_t door, int flags);
	long turn(std::uint32_t door, int ep, void *argument, std::size_t size);
	long turn_of(std::uint32_t door, int ep, int op, int fd, const void *event, bool bad);
	long ctl(bool native, std::uint32_t door, int ep, int op, int fd, const void *event, bool bad);
	long wait(bool native, std::uint32_t door, int ep, std::uint32_t form, void *events, int max,
		  std::uint32_t timeout, const std::uint64_t *mask);

	// A line of an instance's fdinfo
	struct Watch {
		int fd;
		unsigned nth; // of those with this number
		std::uint32_t events;
		std::uint64_t data;
		std::string rest; // of the line
	};
	std::string fdinfo(int fd);
	std::string disabled_lines(int ep);
	std::vector<Watch> watches(int ep);
	bool leads_to(pid_t pid, int fd, int ep, const Watch &watch);
	int reach(int ep, const Watch &watch);
	void remove(int ep, const Watch &watch);
	std::optional<Watch> watch_of(int ep, int fd);
	int shadow_of(int ep);
	int make_shadow(int ep);
	long drop(int ep, std::uint64_t token);
	long disable(int ep, int fd);
	long refused(int op, std::uint32_t events);
	long stand_in(int ep, int op, int fd, const void *event, bool bad);
	bool may(int op, Kind fd) const;
	bool any_waiter() const;

	struct Turn;
	void by_single_calls(Turn &turn);
	void at_once(Turn &turn);
	void do_turn(const Op &op);
	void do_ctl(const Op &op);
	void do_wait(const Op &op);
	void do_poll(const Op &op);
	void do_fdinfo(const Op &op);
	void do_params(const Op &op);
	void do_misc(const Op &op);
	void do_fork(const Op &op);
	void do_fill(const Op &op);
	void do_drain(const Op &op);
	void do_recv(const Op &op);
	void do_waiter(const Op &op);
	void serve(Waiter &waiter);
	bool asleep(const Waiter &waiter) const;
	void settle_internet();
	void settle_waiters();
	void end_waiters();
	bool may_block(int ep, const std::uint64_t *mask);

	friend void on_signal(int, siginfo_t *, void *);
};
