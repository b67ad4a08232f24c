// SPDX-License-Identifier: MIT
/*
 * events.hpp - the module's tracepoints, as they happen
 *
 * myepoll(4) says what each of them tells.
 */
#ifndef MYEPOLL_TOOL_EVENTS_HPP
#define MYEPOLL_TOOL_EVENTS_HPP

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <sys/types.h>

namespace tool {

enum class point : std::uint8_t {
	create, release, ctl, wake, deliver, not_ready, wait_enter, wait_exit, remove,
};

/* "create" and so on: the tracepoint's name without "myepoll_" */
std::string_view name_of(point p) noexcept;

/* "ADD", of a ctl's op */
std::string op_text(int op);

/* The time, by the clock of events: nanoseconds of CLOCK_MONOTONIC */
std::uint64_t now() noexcept;

/* One event. Fields that its point does not have are 0. */
struct event {
	std::uint64_t time;	/* nanoseconds of CLOCK_MONOTONIC */
	point what;
	int cpu;
	pid_t tid;		/* the thread that was running: for a wake, any */
	pid_t tgid;		/* its process, where it makes a call */
	std::uint32_t instance;
	int fd;
	std::uint64_t data;
	std::uint32_t events;	/* of ctl: the mask; of deliver: what there is; of wake: the key */
	std::uint32_t mask;	/* deliver, not_ready */
	int op;			/* ctl */
	int ret;		/* ctl, wait_exit */
	int how;		/* wake: "what"; remove: "why" */
	pid_t waiter;		/* wake: who is woken, or 0 */
	int maxevents;		/* wait_enter */
	std::int64_t timeout;	/* wait_enter; nanoseconds, negative: none */
	bool adopted;		/* create */
};

/* So many events are missing here, of one CPU (-1: not known of which). */
struct loss {
	std::uint64_t time;	/* of the event behind the gap */
	int cpu;
	std::uint64_t events;
};

/*
 * Switches the tracepoints on, in a buffer of its own (an instance of tracefs), until it is
 * destroyed. Needs root, or the rights to tracefs; else throws a failure that says what
 * is missing: the module, tracefs, the right.
 */
class trace_session {
public:
	/* @kilobytes: of buffer, for each CPU */
	explicit trace_session(std::size_t kilobytes = 4096);
	trace_session(const trace_session &) = delete;
	trace_session &operator=(const trace_session &) = delete;
	~trace_session();

	/*
	 * Calls @take for each event that has happened up to now, in the order of time, and
	 * @lost where some are missing. What other CPUs may still put before it is kept back
	 * until the next call. Does not wait. Returns whether there is more already.
	 */
	bool read(const std::function<void(const event &)> &take,
		  const std::function<void(const loss &)> &lost = {});

	/*
	 * Remembers from now on whom this process starts, and whom those start in turn. It
	 * counts itself after so many execve(2) of its own.
	 */
	void follow(pid_t pid, unsigned execs);

	/* Is it one of those, at the time of the event that is being taken? */
	bool followed(pid_t tgid) const;

	/* Switches the tracepoints off. A read() after it gets all that is left. */
	void stop();

	/* How many events have been lost since the start, because the buffer was full */
	std::uint64_t lost() const;

	/* The name of a thread that was seen running, or "" */
	std::string command_of(pid_t tid) const;

private:
	struct state;
	std::unique_ptr<state> state_;
};

} // namespace tool

#endif
