// SPDX-License-Identifier: MIT
#include "run.hpp"

#include "program.hpp"
#include "tool.hpp"

#include "../../uapi/myepoll.h"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string_view>

#include <unistd.h>

namespace {

constexpr char about[] =
	"There are two ways. By adoption the module serves epoll's own system calls of COMMAND\n"
	"and of all that it starts. The module's parameter \"adopt\" must be 1; that is root's to\n"
	"decide, and COMMAND needs no privilege then, nor the device, and finds its environment\n"
	"untouched. By preload, libmyepoll-preload.so takes the place of libc's functions, in\n"
	"dynamic programs of glibc, and opens /dev/myepoll. Without --adopt and --preload it is\n"
	"adoption where the module does that, found out by trying, and else preload.\n"
	"\n"
	"COMMAND takes the place of myepoll: same process, descriptors and signals. A line on\n"
	"stderr says which way it went, or that this program will be on the kernel's epoll.\n";

constexpr char more[] =
	"Neither way reaches a program that gains privilege as it is executed, by a set-user-ID\n"
	"or set-group-ID bit or by file capabilities. Preload does not reach static programs,\n"
	"Go, musl, nor 32-bit programs. There is a warning of those; of a script, its interpreter\n"
	"is looked at, and not the programs that it starts.\n"
	"\n"
	"Exit status: COMMAND's own, or\n"
	"  125   myepoll itself failed: neither way works, or the command line is wrong\n"
	"  126   COMMAND was found, but cannot be executed\n"
	"  127   COMMAND was not found\n"
	"\n"
	"Examples:\n"
	"  myepoll run redis-server --port 7000\n"
	"  myepoll run --preload --strict --stats -- nginx -g 'daemon off;'\n"
	"  myepoll run --balance --min-wait=200us -- nginx\n"
	"  myepoll run bash                    # all that is started in that shell\n"
	"  echo 1 | sudo tee /sys/module/myepoll/parameters/adopt    # allow adoption";

void set(const char *variable, const std::string &value)
{
	if (setenv(variable, value.c_str(), 1))
		throw tool::failure(tool::failed, std::string(variable) + ": " + strerror(errno));
}

} // namespace

tool::run::run(CLI::App &application)
	: subcommand(application.add_subcommand("run",
						"Execute a program on myepoll without recompiling it"))
{
	set_usage("[OPTIONS] [--] COMMAND [ARG...]", about);
	app().footer(more);

	auto *adopt = app().add_flag("--adopt", adopt_, "By adoption, or not at all");
	auto *preload = app().add_flag("--preload", preload_,
				       "By the preload library, or not at all");

	adopt->excludes(preload);
	app().add_flag("--strict", strict_,
		       "Rather not run than on the kernel's epoll: refuse where there would be a\n"
		       "warning; with preload, MYEPOLL_STRICT=1");
	app().add_flag("--stats", stats_,
		       "At exit, say what was served by whom (MYEPOLL_STATS=1);\n"
		       "implies --preload");
	app().add_option("--door", door_, "The way into the module (MYEPOLL_DOOR); implies --preload")
		->check(CLI::IsMember({ "fast", "ioctl" }))
		->type_name("DOOR");
	app().add_flag("--fair", options_.fair,
		       "Wake threads that wait by turns, and instances that watch a file\n"
		       "exclusively (MYEPOLL_FAIR=1)");
	app().add_flag("--balance", options_.balance,
		       "Wake one worker for a connection, by turns: processes and threads that\n"
		       "each wait for the same listening socket (MYEPOLL_BALANCE=1)");
	app().add_option("--min-wait", min_wait_,
			 "Gather events for so long, as 200us or 1ms, up to 65535us\n"
			 "(MYEPOLL_MIN_WAIT); by adoption, 1 to 63 times 1, 10, 100 or 1000us")
		->type_name("TIME");
	app().add_flag("-q,--quiet", quiet_, "Say nothing on stderr but why COMMAND is not run");
}

void tool::run::read_options()
{
	if (min_wait_.empty())
		return;

	const int us = parse_min_wait(min_wait_);

	if (us < 0)
		throw failure(failed, fmt::format("--min-wait: {} is no time from 0 to {}us, as 200us or 1ms",
						  min_wait_, MYEPOLL_MAX_MIN_WAIT));
	options_.min_wait = static_cast<unsigned>(us);
}

tool::way tool::run::choose()
{
	const bool preload_alone = preload_ || stats_ || !door_.empty();

	if (adopt_ && preload_alone)
		throw failure(failed,
			      fmt::format("{} is of the preload library, and does not go with --adopt",
					  stats_ ? "--stats" : "--door"));
	if (!preload_alone) {
		no_adoption_ = take_mark(options_);
		if (no_adoption_.empty())
			return way::adoption;
		if (adopt_)
			throw failure(failed, "no adoption: " + no_adoption_);
	}

	library_ = find_library();

	const std::string trouble = try_preload(library_, options_);

	if (!trouble.empty())
		throw failure(failed, (no_adoption_.empty() ? "" :
							      "no adoption: " + no_adoption_ + "; ") +
					      "no preload: " + trouble);
	return way::preload;
}

void tool::run::look_at_command(way chosen)
{
	const std::string path = find_program(command_[0]);

	if (path.empty())
		throw failure(not_found, fmt::format("{}: command not found", command_[0]));

	if (!can_be_executed(path))
		throw failure(cannot_execute, fmt::format("{}: cannot be executed", path));

	const program p = examine(path);
	const std::string reason = passes_by(p, chosen, library_);

	if (!p.missing.empty())
		throw failure(cannot_execute,
			      fmt::format("{}: it needs {}, which is not there", path, p.missing));
	if (!reason.empty()) {
		std::string text = fmt::format("{} {}", p.path, reason);

		/* Only where the other way is better */
		if (!no_adoption_.empty() && p.gains_privilege.empty())
			text += "; no adoption: " + no_adoption_;
		if (strict_)
			throw failure(failed, text);
		if (!quiet_)
			say("warning: {} would be on the kernel's epoll: {}", command_[0], text);
	} else if (!quiet_) {
		say("{} is on myepoll, by {}", command_[0],
		    chosen == way::adoption ? "adoption" : "preload");
	}
}

void tool::run::set_environment() const
{
	set("LD_PRELOAD", with_library(getenv("LD_PRELOAD"), library_));
	if (strict_)
		set("MYEPOLL_STRICT", "1");
	if (stats_)
		set("MYEPOLL_STATS", "1");
	if (!door_.empty())
		set("MYEPOLL_DOOR", door_);
	if (options_.fair)
		set("MYEPOLL_FAIR", "1");
	if (options_.balance)
		set("MYEPOLL_BALANCE", "1");
	if (options_.min_wait)
		set("MYEPOLL_MIN_WAIT", fmt::format("{}us", options_.min_wait));
}

int tool::run::execute()
{
	if (!command_ || !*command_)
		throw failure(failed, "run: no command; see \"myepoll run --help\"");

	read_options();

	const way chosen = choose();

	look_at_command(chosen);
	if (chosen == way::preload)
		set_environment();
	execvp(command_[0], command_);

	const int error = errno;

	throw failure(error == ENOENT ? not_found : cannot_execute,
		      fmt::format("{}: {}", command_[0], strerror(error)));
}

std::unique_ptr<tool::subcommand> tool::make_run(CLI::App &app)
{
	return std::make_unique<run>(app);
}
