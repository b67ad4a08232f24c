// SPDX-License-Identifier: MIT
/*
 * diagnosis.hpp - what is wrong with event loops, concluded from what they do
 *
 * Without I/O: it is told events, instances and threads, and says what it found. Each
 * fault is something that a sound program does not do however slow its machine is; the
 * limits are in diagnosis.cpp, each with its reason.
 */
#ifndef MYEPOLL_TOOL_DIAGNOSIS_HPP
#define MYEPOLL_TOOL_DIAGNOSIS_HPP

#include "events.hpp"
#include "instances.hpp"

#include <array>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

namespace tool {

enum class severity : std::uint8_t {
	advice,		/* it works, and could cost less */
	warning,	/* it costs, or will go wrong */
	fault,		/* it is wrong now */
};

struct finding {
	std::string id;		/* what is wrong, in a word: "spin" */
	severity level;
	std::string title;	/* and in a line */
	pid_t pid = 0;		/* whose */
	std::string command;
	std::uint32_t instance = 0;	/* 0: of the kernel's epoll, or several */
	int epfd = -1;			/* its descriptor, if known */
	int fd = -1;			/* the watched one, if it is about one */
	std::string what;		/* and what that is, if known */
	std::vector<std::string> evidence;
	std::string cost;
	std::string advice;
};

/* What can be found, for who asks what was looked for. */
struct complaint {
	const char *id;
	const char *text;
	bool needs_all;		/* not to be concluded where events were lost */
};

const std::vector<complaint> &complaints();

/* A thread that may be stuck, as /proc has it. */
struct thread_look {
	std::uint64_t time;	/* CLOCK_MONOTONIC, in nanoseconds */
	pid_t tid;
	char state;		/* R, S, D, ... */
	std::uint64_t cpu;	/* nanoseconds that it has run up to now */
	std::string command;
	std::string call;	/* the system call that it is in, or "" */
	std::vector<std::string> stack;	/* of the kernel, if it could be read */
};

class diagnosis {
public:
	/* What the watched file is, where two watches of the same file have the same text. */
	using identity = std::function<std::string(pid_t pid, int fd)>;

	/* In the order of time. */
	void take(const event &e);

	/* @n events were lost before what take() is told next, and perhaps after it, too. */
	void gap(std::uint64_t n);

	/* All instances that are looked at, as they are now, at @time. */
	void know(std::uint64_t time, const std::vector<instance> &all, const identity &file);

	/* Threads that keep something waiting at @time, of which look() wants to hear. */
	std::vector<pid_t> suspects(std::uint64_t time) const;
	void look(const thread_look &thread);

	/* Only instances of these processes are judged; all, if it is never called. */
	void only(pid_t tgid) { only_.insert(tgid); }

	/* What was found by @end, the worst first. It began at @start. */
	std::vector<finding> conclude(std::uint64_t start, std::uint64_t end) const;

	struct totals {
		std::uint64_t events = 0, lost = 0, waits = 0, deliveries = 0, changes = 0;
		std::size_t instances = 0; /* that did something */
	};
	/* Of those that findings can be about; but lost is of all */
	totals sum() const;

	struct watch_state {
		std::optional<std::uint32_t> mask;	/* as it was set last, if that is known */
		std::uint64_t data = 0;
		std::uint64_t deliveries = 0;
		double input = 0, output = 0, gone = 0;	/* deliveries on end: see spin_limit */
		std::uint64_t input_since = 0, output_since = 0;
		bool pending = false;			/* woken, and not harvested since */
		std::uint64_t pending_since = 0;
		bool woken = false;			/* since it was delivered last */
		bool woken_with_others = false;		/* ... together with another instance */
		pid_t last_tid = 0;			/* who got it */
		event delivered = {}, called = {};	/* the last delivery and wakeup */
		std::uint64_t twice = 0;		/* got by two threads at once */
		bool rearmed = false;			/* by MOD since then, edge-triggered */
		std::uint64_t rearms = 0, left = 0;	/* such MODs; and it was ready at once */
		std::uint64_t fired = 0;		/* when, one-shot; 0: it is armed */
		std::uint64_t unheard = 0, unheard_since = 0; /* wakeups since */
		std::string file;			/* identity */
		std::string what;
	};

	struct thread_state {
		bool waiting = false;
		std::uint64_t entered = 0, left = 0;
		std::int64_t timeout = 0;
		int maxevents = 0;
		bool timed_out = false;			/* the last but those with timeout 0 */
		std::uint64_t empty = 0, empty_since = 0; /* waits for nothing, on end */
	};

	/* Durations by their binary logarithm */
	struct histogram {
		std::array<std::uint64_t, 64> of{};
		void add(std::uint64_t ns);
		double median() const;
	};

	struct spin_record {
		std::uint64_t deliveries;
		std::uint64_t since, until;
		event last;
	};

	struct ghost_record {
		watch seen;
		std::uint64_t first, last;	/* without a change between */
		unsigned times;
		std::uint64_t deliveries;
	};

	struct instance_state {
		pid_t tgid = 0;
		pid_t pid = 0;			/* as find_instances() has it */
		int epfd = -1;
		std::string command, options;
		std::map<int, watch_state> watches;
		std::map<pid_t, thread_state> threads;
		std::uint64_t events = 0, waits = 0, deliveries = 0, changes = 0, last_harvest = 0;
		std::uint64_t mods = 0, same = 0;
		int same_fd = -1;
		std::uint64_t full = 0;		/* waits that left something ready */
		int full_with = 0;		/* ... and their room */
		std::size_t pending = 0;
		pid_t last_tid = 0;		/* who waited last */
		/* Waits with timeout 0 that returned nothing */
		std::uint64_t polls = 0, poll_time = 0;		/* in runs that never end */
		std::uint64_t early = 0, early_runs = 0;	/* in those before a timer */
		histogram inside, outside;
		std::map<std::pair<int, int>, spin_record> spins; /* by fd and sort */
		std::map<int, ghost_record> ghosts;
	};

	struct file_state {
		std::string what;
		std::uint64_t wakes = 0, woken = 0;	/* calls; threads woken by them */
		std::uint64_t vain = 0, useful = 0;	/* of those woken together */
		std::set<std::uint32_t> together;
		std::map<std::uint32_t, std::uint64_t> exclusive; /* deliveries, by instance */
		std::vector<event> example;		/* of wakeups together */
	};

private:
	struct burst {
		std::uint32_t key = 0;
		std::vector<event> wakes;
	};

	instance_state &of(const event &e);
	bool judged(const instance_state &i) const;
	void take_wake(instance_state &i, const event &e);
	void take_delivery(instance_state &i, const event &e);
	void take_not_ready(instance_state &i, const event &e);
	void take_ctl(instance_state &i, const event &e);
	void take_exit(instance_state &i, const event &e);
	void end_empty(instance_state &i, thread_state &t, std::uint64_t now);
	void close_burst(burst &b);
	void note_spin(instance_state &i, const event &e, int sort, double deliveries,
		       std::uint64_t since);
	static void not_pending(instance_state &i, watch_state &w);

	void conclude_spins(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
			    std::uint64_t start) const;
	void conclude_waits(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
			    double seconds) const;
	void conclude_changes(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
			      double seconds) const;
	void conclude_watches(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
			      std::uint64_t start, std::uint64_t end) const;
	void conclude_stuck(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
			    std::uint64_t start, std::uint64_t end) const;
	void conclude_ghosts(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
			     double seconds) const;
	void conclude_files(std::vector<finding> &to, std::uint64_t start, std::uint64_t end) const;
	std::optional<std::pair<int, std::uint64_t>> kept_waiting(const instance_state &i,
								  std::uint64_t time) const;

	std::map<std::uint32_t, instance_state> instances_;
	std::map<std::pair<pid_t, int>, instance_state> foreign_; /* the kernel's, by process and fd */
	std::map<std::string, file_state> files_;
	std::map<int, burst> bursts_;		/* by CPU */
	std::map<pid_t, std::deque<thread_look>> looks_;
	std::set<pid_t> only_;
	std::uint64_t lost_ = 0;
};

} // namespace tool

#endif
