// SPDX-License-Identifier: MIT
/*
 * ls.cpp - "myepoll ls": the epoll instances of the system, and what they watch
 */
#include "instances.hpp"
#include "listing.hpp"
#include "subcommand.hpp"
#include "tool.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <charconv>

#include <unistd.h>

namespace {

constexpr char more[] =
	"Each instance has a line: its process, its descriptor, [myepoll] with the number by which\n"
	"tracepoints call it, or [eventpoll], the kernel's own. Below are its watches: the number\n"
	"that is watched, the mask (ERR and HUP, which are always watched, are left out), the state\n"
	"and what the descriptor is. States are:\n"
	"  ready     on the ready list: the next wait looks at it\n"
	"  fired     one-shot, has fired, and has not been armed again\n"
	"  disabled  by DISABLE\n"
	"  ghost     the number is closed, or means another file by now, and yet it is watched\n"
	"\"-\" is none of these, and \"?\" not known: a line at the end says why.\n"
	"\n"
	"Processes of other users can be seen by root, or by who may trace them.\n"
	"\n"
	"Exit status:\n"
	"  0     also where there is no instance\n"
	"  125   myepoll failed: there is no such process, or the command line is wrong\n"
	"\n"
	"Examples:\n"
	"  sudo myepoll ls                       # all of the system\n"
	"  myepoll ls -p $(pidof redis-server)\n"
	"  sudo myepoll ls --json | jq '.[] | .pid as $p | .watches[] | select(.ghost) | [$p, .fd]'";

class ls : public tool::subcommand {
public:
	explicit ls(CLI::App &application)
		: subcommand(application.add_subcommand(
			  "ls", "List epoll instances, and what each of them watches"))
	{
		app().footer(more);
		app().add_option("-p,--pid", pid_, "Of this process alone")->type_name("PID");
		app().add_flag("--json", json_, "An array of objects, for programs");
	}

	int execute() override
	{
		const std::optional<pid_t> of = process();
		tool::unseen hidden;
		const auto found = tool::find_instances(of, &hidden);

		tool::output out;

		if (json_)
			tool::print_json(out, found, hidden);
		else
			tool::print_list(out, found, hidden, of, isatty(STDOUT_FILENO));
		out.flush();
		return 0;
	}

private:
	std::optional<pid_t> process() const
	{
		const char *end = pid_.data() + pid_.size();
		pid_t pid = 0;

		if (pid_.empty())
			return {};

		const auto parsed = std::from_chars(pid_.data(), end, pid);

		if (parsed.ec != std::errc() || parsed.ptr != end || pid <= 0)
			throw tool::failure(tool::failed, fmt::format("--pid: {} is not the number of a process",
								      pid_));
		return pid;
	}

	std::string pid_;
	bool json_ = false;
};

} // namespace

std::unique_ptr<tool::subcommand> tool::make_ls(CLI::App &app)
{
	return std::make_unique<ls>(app);
}
