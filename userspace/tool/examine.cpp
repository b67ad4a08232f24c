// SPDX-License-Identifier: MIT
#include "examine.hpp"

#include "child.hpp"
#include "ending.hpp"
#include "proc.hpp"
#include "tool.hpp"

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <sstream>

#include <poll.h>
#include <sys/resource.h>
#include <unistd.h>

namespace {

using namespace std::chrono_literals;

/*
 * Of each CPU's buffer: what a loop that spins puts there in a second. A larger one would have
 * to be read to its end, after the time is up.
 */
constexpr std::size_t buffer_kilobytes = 8192;
/* Itself again, as "myepoll run", and then the command */
constexpr unsigned execs_of_a_command = 2;
/* Who comes too late loses events. */
constexpr int niceness = -10;
constexpr auto tick = 50ms;
/* Between two looks at /proc: nine times as long as they take, but a ghost has to be seen often enough. */
constexpr std::chrono::nanoseconds shortest_break = 400ms, longest_break = 1s;
constexpr int breaks = 9;

std::string first_line(const tool::process &of, const char *file)
{
	std::string first;

	of.lines(file, [&first](std::string_view line) {
		first = line;
		return false;
	});
	return first;
}

/* Behind the name in /proc/PID/stat, which may have spaces: the state, the parent, ... */
std::istringstream stat_of(const tool::process &of)
{
	const std::string line = first_line(of, "stat");
	const std::size_t at = line.rfind(')');

	return std::istringstream(at == std::string::npos ? "" : line.substr(at + 1));
}

/* Adds what descends from those in @family. */
void add_descendants(std::set<pid_t> &family)
{
	std::multimap<pid_t, pid_t> children;

	for (const pid_t pid : tool::all_processes()) {
		pid_t parent;
		char state;

		if (stat_of(tool::process(pid)) >> state >> parent)
			children.emplace(parent, pid);
	}

	std::vector<pid_t> todo(family.begin(), family.end());

	while (!todo.empty()) {
		const auto [from, to] = children.equal_range(todo.back());

		todo.pop_back();
		for (auto child = from; child != to; ++child)
			if (family.insert(child->second).second)
				todo.push_back(child->second);
	}
}

/* Those in which loops get stuck, on x86-64. Whether the first argument is a descriptor. */
constexpr struct {
	const char *name;
	int number;
	bool fd;
} calls[] = {
	{ "read", 0, true }, { "write", 1, true }, { "poll", 7, false }, { "ioctl", 16, true },
	{ "pread64", 17, true }, { "readv", 19, true }, { "writev", 20, true }, { "select", 23, false },
	{ "nanosleep", 35, false }, { "connect", 42, true }, { "accept", 43, true },
	{ "sendto", 44, true }, { "recvfrom", 45, true }, { "sendmsg", 46, true },
	{ "recvmsg", 47, true }, { "wait4", 61, false }, { "fcntl", 72, true }, { "flock", 73, true },
	{ "fsync", 74, true }, { "fdatasync", 75, true }, { "futex", 202, false },
	{ "clock_nanosleep", 230, false }, { "epoll_wait", 232, true }, { "waitid", 247, false },
	{ "openat", 257, false }, { "epoll_pwait", 281, true }, { "accept4", 288, true },
};

std::string call_of(const tool::process &thread)
{
	std::istringstream line(first_line(thread, "syscall"));
	std::string argument;
	int number;

	if (!(line >> number) || number < 0)
		return "";
	line >> argument;
	for (const auto &call : calls) {
		if (call.number != number)
			continue;
		if (!call.fd)
			return fmt::format("{}()", call.name);

		const int fd = static_cast<int>(strtoul(argument.c_str(), nullptr, 16));

		return fmt::format("{}() of fd {}, {}", call.name, fd, tool::describe(thread.pid(), fd));
	}
	return fmt::format("system call {}", number);
}

std::optional<tool::thread_look> look_at(pid_t tid)
{
	const tool::process thread(tid); /* /proc has those, too, though it does not list them */
	tool::thread_look look = { tool::now(), tid, 0, 0, thread.command(), call_of(thread), {} };

	if (!(stat_of(thread) >> look.state))
		return {};
	std::istringstream(first_line(thread, "schedstat")) >> look.cpu;

	/* "[<0>] do_nanosleep+0x67/0x170" */
	thread.lines("stack", [&look](std::string_view line) {
		look.stack.emplace_back(line.starts_with("[<0>] ") ? line.substr(6) : line);
		return look.stack.size() < 8;
	});
	return look;
}

/* Of sockets and pipes the number is the file's; of an eventfd, that in fdinfo. */
std::string identity_of(pid_t pid, int fd)
{
	const tool::process of(pid);
	std::string link = of.link(fmt::format("fd/{}", fd));

	if (link.starts_with("socket:") || link.starts_with("pipe:"))
		return link;

	std::string id;

	if (link == "anon_inode:[eventfd]")
		of.lines(fmt::format("fdinfo/{}", fd), [&id](std::string_view line) {
			if (line.starts_with("eventfd-id:"))
				id = line;
			return id.empty();
		});
	return id;
}

class examiner {
public:
	explicit examiner(std::optional<pid_t> root) : session_(buffer_kilobytes), root_(root)
	{
		if (root_)
			family_.insert(*root_);
	}

	/* The root starts others, which may end before /proc is looked at. */
	void follow() { session_.follow(*root_, execs_of_a_command); }

	/* What has happened up to now. Returns whether there is more already. */
	bool read()
	{
		return session_.read([this](const tool::event &e) { take(e); },
				     [this](const tool::loss &l) { diagnosis_.gap(l.events); });
	}

	/* What /proc says */
	void know()
	{
		const std::uint64_t time = tool::now();
		std::vector<tool::instance> all;

		if (root_) {
			add_descendants(family_);
			for (const pid_t pid : family_) {
				diagnosis_.only(pid);
				add_instances(all, pid);
			}
		} else {
			all = tool::find_instances();
		}
		diagnosis_.know(time, all, identity_of);
		if (all.empty())
			return; /* those that were there before are of interest still */
		ours_.clear();
		foreign_.clear();
		for (const tool::instance &i : all) {
			if (i.ours)
				ours_.insert({ i.pid, i.fd });
			else
				foreign_.push_back({ i.pid, i.fd, i.command, i.watches.size() });
		}
	}

	void look()
	{
		for (const pid_t tid : diagnosis_.suspects(tool::now()))
			if (const auto look = look_at(tid))
				diagnosis_.look(*look);
	}

	tool::examination end(std::uint64_t start)
	{
		tool::examination e;

		session_.stop();

		const std::uint64_t end = tool::now();

		while (read())
			;
		e.findings = diagnosis_.conclude(start, end);
		e.totals = diagnosis_.sum();
		e.seconds = static_cast<double>(end - start) / 1e9;
		e.foreign = foreign_;
		e.ours = std::max(ours_.size(), e.totals.instances);
		return e;
	}

private:
	void take(const tool::event &e)
	{
		if (e.tgid && session_.followed(e.tgid) && family_.insert(e.tgid).second)
			diagnosis_.only(e.tgid);
		diagnosis_.take(e);
	}

	void add_instances(std::vector<tool::instance> &all, pid_t pid) const
	{
		try {
			for (tool::instance &i : tool::find_instances(pid))
				all.push_back(std::move(i));
		} catch (const tool::failure &) {
			/* It has ended since it was seen. */
		}
	}

	tool::trace_session session_;
	tool::diagnosis diagnosis_;
	std::optional<pid_t> root_;
	std::set<pid_t> family_;
	std::set<std::pair<pid_t, int>> ours_;
	std::vector<tool::foreign_instance> foreign_;
};

} // namespace

tool::examination tool::examine_loops(std::optional<pid_t> pid, char **command, std::optional<double> seconds)
{
	std::optional<process> given;
	std::optional<child> started;

	if (pid && !given.emplace(*pid).there())
		throw failure(failed, fmt::format("there is no process {}", *pid));
	if (command)
		started.emplace(command);
	end_on_signals();

	examiner examiner(started ? started->pid() : pid);

	/* After the command's process is there, which is not to have it. Without the right, so be it. */
	if (setpriority(PRIO_PROCESS, 0, niceness))
		errno = 0;

	const std::string name = started ? command[0] : given ? given->command() : "";
	const std::uint64_t start = tool::now();
	const std::uint64_t end = seconds ? start + static_cast<std::uint64_t>(*seconds * 1e9) : UINT64_MAX;
	std::uint64_t next = start;
	bool gone = false;

	if (started) {
		examiner.follow();
		started->go();
	}
	while (!end_asked() && !gone && tool::now() < end) {
		pollfd ended = { started ? started->pidfd() : -1, POLLIN, 0 };

		examiner.read();
		examiner.look();
		if (tool::now() >= next) {
			const std::uint64_t before = tool::now();

			examiner.know();

			const std::uint64_t after = tool::now();
			const std::chrono::nanoseconds took(after - before);

			next = after + static_cast<std::uint64_t>(
					       std::clamp(breaks * took, shortest_break, longest_break).count());
		}
		if (poll(&ended, 1, static_cast<int>(tick.count())) > 0)
			gone = true;
		if (given && !given->there())
			gone = true;
	}

	if (!gone)
		examiner.know();

	examination e = examiner.end(start);

	e.subject = pid || started ? fmt::format("{} ({})", name, started ? started->pid() : *pid) : "all processes";
	if (started && gone)
		e.status = started->wait();
	return e;
}
