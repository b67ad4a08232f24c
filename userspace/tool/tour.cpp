// SPDX-License-Identifier: MIT
/*
 * "myepoll tour": one turn of a small program, step by step, beside the trace that it leaves
 *
 * The program is this one, executed once more with --program, on myepoll like any other.
 * docs/tour.md tells the same with more words; scripts/check-tour compares the places of both
 * with the sources.
 */
#include "activity.hpp"
#include "child.hpp"
#include "events.hpp"
#include "output.hpp"
#include "subcommand.hpp"
#include "timeline.hpp"
#include "tool.hpp"
#include "users.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <array>
#include <cerrno>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/timerfd.h>
#include <unistd.h>

namespace {

using tool::point;

struct step {
	std::string_view title;
	std::string_view code;		/* the line of the program, or "" */
	std::string_view text;
	std::string_view ours;		/* where it happens: file and functions of module/ */
	std::string_view theirs;	/* ... and in fs/eventpoll.c */
	std::vector<point> trace;
};

const std::array<step, 7> &steps()
{
	static const std::array<step, 7> all{ {
		{ "Create", "int ep = epoll_create1(0);",
		  "An instance: an interest list, a ready list, a queue for threads that wait.\n"
		  "Its file's operations are the doors by which all later calls come in.",
		  "device.c myep_create(), instance.c myep_alloc()",
		  "do_epoll_create(), ep_alloc()", { point::create } },
		{ "ADD", "epoll_ctl(ep, EPOLL_CTL_ADD, fd, { EPOLLIN, fd });",
		  "An item for (file, number) goes into the index. Then the file's own ->poll is\n"
		  "called: it names its wait queue, where an entry of the item is put, and says\n"
		  "what is ready now: nothing, since the timer has not expired.",
		  "interest.c myep_ctl(), item_insert(), item_start(), hook_onto()",
		  "ep_insert(), ep_ptable_queue_proc()", { point::ctl } },
		{ "The wait goes to sleep", "int n = epoll_wait(ep, events, 8, -1);",
		  "Nothing is pending. The thread joins the queue of waiters under the lock under\n"
		  "which items are queued, so no event can come between its look and its sleep.",
		  "wait.c myep_wait(), wait_sleep()", "ep_poll()", { point::wait_enter } },
		{ "The timer expires", "",
		  "In an interrupt, the timer wakes its wait queue, and so calls the item. It asks\n"
		  "for this event, so it goes onto the ready list, and one waiter is woken.",
		  "ready.c myep_wake(), item_link_ready(), wake_waiter_locked()",
		  "ep_poll_callback()", { point::wake } },
		{ "The harvest", "",
		  "The thread asks the file once more: a wakeup is a hint, and only what ->poll says\n"
		  "now is an event. It is written to the program's buffer. Being level-triggered the\n"
		  "item stays on the ready list, for the next wait to ask again.",
		  "ready.c myep_harvest(), item_hold(), put_event(), item_mark_delivered()",
		  "ep_send_events()", { point::deliver, point::wait_exit } },
		{ "The watched descriptor is closed", "close(fd);",
		  "Nobody said DEL. The close is seen at the entry of __fput(), before the timer's\n"
		  "memory goes. Whoever takes the item out of the index is its one remover.",
		  "close_hook.c fput_entered(), item.c myep_file_closing(), index.c myep_index_take_any()",
		  "eventpoll_release_file(), ep_remove()", { point::remove } },
		{ "The instance is closed", "close(ep);",
		  "What it still watches would be removed now. Its memory goes with the last reference.",
		  "instance.c myep_release(), item.c myep_release_items()",
		  "ep_clear_and_put()", { point::release } },
	} };

	return all;
}

[[noreturn]] void fail(const char *what)
{
	throw tool::failure(tool::failed, fmt::format("{}: {}", what, strerror(errno)));
}

/* The five lines. */
int program()
{
	constexpr itimerspec soon{ {}, { 0, 20'000'000 } };
	epoll_event events[8], event{};
	int ep = epoll_create1(0);
	int fd = timerfd_create(CLOCK_MONOTONIC, 0);

	if (ep < 0 || fd < 0 || timerfd_settime(fd, 0, &soon, nullptr))
		fail("epoll_create1 and timerfd_create");
	event.events = EPOLLIN;
	event.data.fd = fd;
	if (epoll_ctl(ep, EPOLL_CTL_ADD, fd, &event))
		fail("epoll_ctl");

	int n;

	/* A debugger, or Ctrl-Z, may interrupt it. */
	while ((n = epoll_wait(ep, events, 8, -1)) < 0 && errno == EINTR)
		;
	if (n != 1 || events[0].data.fd != fd)
		fail("epoll_wait");
	close(fd);
	close(ep);
	return 0;
}

class tour : public tool::subcommand {
public:
	explicit tour(CLI::App &application)
		: subcommand(application.add_subcommand(
			  "tour", "See how an epoll works: one turn of a program, step by step"))
	{
		app().footer(
			"Runs a program of five lines on myepoll and prints what happens, each step with the\n"
			"lines that it left in the trace and its place in the sources. Needs root.\n"
			"The file docs/tour.md of the sources tells the same in half an hour.\n"
			"\n"
			"Exit status: 0, or 125 where it cannot be run.");
		/* What the child is told. */
		app().add_flag("--program", program_, "Be the program")->group("");
	}

	int execute() override
	{
		if (program_)
			return program();
		watch();
		return 0;
	}

private:
	static void watch()
	{
		std::string self(4096, '\0');
		const ssize_t length = readlink("/proc/self/exe", self.data(), self.size() - 1);

		if (length < 0)
			fail("/proc/self/exe");
		self.resize(static_cast<std::size_t>(length));

		char subcommand[] = "tour", option[] = "--program";
		char *command[] = { self.data(), subcommand, option, nullptr };
		tool::child child(command);
		tool::trace_session session;
		std::vector<tool::event> events;
		pollfd end{ child.pidfd(), POLLIN, 0 };
		const auto keep = [&](const tool::event &e) { events.push_back(e); };

		child.go();
		while (poll(&end, 1, 50) == 0)
			session.read(keep);
		session.stop();
		session.read(keep);
		if (const int status = child.wait())
			throw tool::failure(tool::failed,
					    fmt::format("the program could not be run on myepoll ({})", status));
		if (session.lost())
			throw tool::failure(tool::failed, "events were lost: try once more");
		print(session, own(events, child.pid()));
	}

	/* Of the instance that the program uses: the launcher has made some to try. */
	static std::vector<tool::event> own(const std::vector<tool::event> &events, pid_t pid)
	{
		std::uint32_t instance = 0;
		std::vector<tool::event> found;

		for (const tool::event &e : events)
			if (e.what == point::ctl && e.tgid == pid)
				instance = e.instance;
		for (const tool::event &e : events)
			if (instance && e.instance == instance)
				found.push_back(e);
		if (found.empty())
			throw tool::failure(tool::failed, "the program has left no trace");
		return found;
	}

	static void print(const tool::trace_session &session, const std::vector<tool::event> &events)
	{
		tool::users users;
		tool::activity activity;
		const tool::timeline timeline(session, users, events.front().time);
		auto e = events.begin();
		int number = 0;
		tool::output out;

		for (const step &s : steps()) {
			out.print("{}{}. {}\n", number ? "\n" : "", number + 1, s.title);
			number++;
			if (!s.code.empty())
				out.print("\n        {}\n", s.code);
			out.print("\n{}\n\n", s.text);
			for (; e != events.end() && belongs(s, e->what); ++e) {
				users.note(*e);
				timeline.write(out.text(), *e, activity.add(*e));
			}
			out.print("\n  module/{}\n  fs/eventpoll.c {}\n", s.ours, s.theirs);
		}
		if (e != events.end())
			throw tool::failure(tool::failed, fmt::format("an event that belongs to no step: {}",
								      tool::name_of(e->what)));
		out.flush();
	}

	static bool belongs(const step &s, point what)
	{
		for (point p : s.trace)
			if (p == what)
				return true;
		return false;
	}

	bool program_ = false;
};

} // namespace

std::unique_ptr<tool::subcommand> tool::make_tour(CLI::App &app)
{
	return std::make_unique<tour>(app);
}
