// SPDX-License-Identifier: MIT
/*
 * "myepoll trace": what instances do, a line an event
 */
#include "activity.hpp"
#include "child.hpp"
#include "ending.hpp"
#include "events.hpp"
#include "output.hpp"
#include "scope.hpp"
#include "subcommand.hpp"
#include "timeline.hpp"
#include "tool.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>

#include <climits>
#include <csignal>
#include <memory>
#include <optional>
#include <string>

#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr char about[] =
	"One line for each event: seconds since the start; the thread that makes the call, or for\n"
	"a wakeup the process that the instance belongs to; the instance, by its descriptor and\n"
	"its number; and what happens. Without COMMAND and -p it is the whole system. COMMAND is\n"
	"executed as \"myepoll run\" does it, and what it starts is traced with it.\n";

constexpr char more[] =
	"It ends with COMMAND or the process, or by Ctrl-C. A COMMAND that still runs when it ends\n"
	"gets SIGTERM. Where the buffer was full, a line says how many events are missing there.\n"
	"\n"
	"Exit status: COMMAND's own; 0 where --seconds, --count or a closed pipe came first, and\n"
	"without COMMAND; or\n"
	"  125   myepoll itself failed: no module, no tracefs, no right, a wrong command line\n"
	"  126   COMMAND was found, but cannot be executed\n"
	"  127   COMMAND was not found\n"
	"\n"
	"Examples:\n"
	"  sudo myepoll trace -p \"$(pidof redis-server)\" --seconds 1\n"
	"  sudo myepoll trace -o trace.txt -- python3 server.py\n"
	"  sudo myepoll trace --fd 7 | grep deliver\n"
	"  sudo myepoll trace --json -n 1000 | jq 'select(.since_wakeup > 1000000)'";

class trace : public tool::subcommand {
public:
	explicit trace(CLI::App &application);

	int cut(int argc, char **argv) override { return cut_command(argc, argv, command_); }
	int execute() override;

private:
	bool wanted(const tool::event &e) const;

	char **command_ = nullptr;
	std::optional<pid_t> pid_;
	std::optional<int> fd_;
	std::optional<std::uint32_t> instance_;
	std::optional<double> seconds_;
	std::optional<std::uint64_t> count_;
	std::size_t buffer_ = 4096;
	std::string output_;
	bool json_ = false;
};

trace::trace(CLI::App &application)
	: subcommand(application.add_subcommand("trace", "Show what instances do, a line an event"))
{
	set_usage("[OPTIONS] [-p PID | [--] COMMAND [ARG...]]", about);
	app().footer(more);
	app().add_option("-p,--pid", pid_, "Instances that this process has or calls")
		->check(CLI::Range(1, INT_MAX))->type_name("PID");
	app().add_option("--fd", fd_, "Only what is about the watched descriptor N")
		->check(CLI::Range(0, INT_MAX))->type_name("N");
	app().add_option("--instance", instance_, "Only the instance of this number (that behind #)")
		->check(CLI::Range(1u, UINT_MAX))->type_name("N");
	app().add_option("--seconds", seconds_, "End after so long, as 0.5")
		->check(CLI::Range(0.0, 1e9))->type_name("N");
	app().add_option("-n,--count", count_, "End after so many events")
		->check(CLI::Range(std::uint64_t(1), UINT64_MAX))->type_name("COUNT");
	app().add_option("--buffer", buffer_, "Kilobytes of buffer for each CPU (4096)")
		->check(CLI::Range(8, 1 << 20))->type_name("KB");
	app().add_option("-o,--output", output_, "Write into a file, not to standard output")
		->type_name("FILE");
	app().add_flag("--json", json_, "An object of JSON a line, with times of CLOCK_MONOTONIC in ns");
}

bool trace::wanted(const tool::event &e) const
{
	using tool::point;

	if (instance_ && e.instance != *instance_)
		return false;
	if (!fd_)
		return true;
	return e.fd == *fd_ && (e.what == point::ctl || e.what == point::wake || e.what == point::deliver ||
				e.what == point::not_ready || e.what == point::remove);
}

int trace::execute()
{
	constexpr int tick = 20; /* ms */

	if (command_ && !*command_)
		throw tool::failure(tool::failed, "trace: no command behind \"--\"");
	if (command_ && pid_)
		throw tool::failure(tool::failed, "trace: either a process, by -p, or a command");
	if (pid_)
		pid_ = tool::process_of(*pid_);

	tool::output out(output_);
	std::optional<tool::child> command;

	if (command_)
		command.emplace(command_);
	tool::end_on_signals();

	tool::trace_session session(buffer_);
	tool::scope scope(session);
	tool::activity activity;
	const std::uint64_t start = tool::now();
	const tool::timeline timeline(session, scope.who(), start);
	std::uint64_t shown = 0, said = 0;
	int ended = -1; /* a descriptor that is readable then */

	if (command) {
		/* Itself again, as "myepoll run", and then the command */
		session.follow(command->pid(), 2);
		scope.followed();
		ended = command->pidfd();
	} else if (pid_) {
		scope.process(*pid_);
		ended = static_cast<int>(syscall(SYS_pidfd_open, *pid_, 0));
	}
	scope.look();
	if (command)
		command->go();

	const auto full = [&] { return count_ && shown >= *count_; };
	const auto take = [&](const tool::event &e) {
		const bool ours = scope.has(e);
		const tool::activity::meaning meaning = activity.add(e);

		if (!ours || !wanted(e) || full())
			return;
		shown++;
		json_ ? timeline.write_json(out.text(), e, meaning) : timeline.write(out.text(), e, meaning);
		if (out.text().size() >= 1 << 16)
			out.flush();
	};
	const auto lost = [&](const tool::loss &l) {
		activity.lost();
		said += l.events;
		if (full())
			return;
		json_ ? timeline.write_json(out.text(), l) : timeline.write(out.text(), l);
	};
	bool by_itself = false; /* COMMAND or the process has ended, or somebody has asked for the end */

	for (bool over = false, again = false; !over || again;) {
		pollfd fds[] = { { .fd = ended, .events = POLLIN, .revents = 0 },
				 { .fd = out.fd(), .events = 0, .revents = 0 } };

		if (!over) {
			poll(fds, 2, again ? 0 : tick);
			if (fds[1].revents & POLLERR)
				out.close_early();
			by_itself = tool::end_asked() || (ended >= 0 && fds[0].revents);
			over = by_itself || out.closed() || full() ||
			       (seconds_ && static_cast<double>(tool::now() - start) >= *seconds_ * 1e9);
			if (over)
				session.stop();
		}
		again = session.read(take, lost) && !full();
		activity.begin_interval();
		out.flush();
	}

	const std::uint64_t all_lost = session.lost();

	if (all_lost > said && !full())
		lost({ tool::now(), -1, all_lost - said });
	out.flush();
	if (all_lost && !out.closed())
		tool::say("{} event{} lost; --buffer gives more room", all_lost, all_lost == 1 ? " was" : "s were");
	if (!command || !by_itself)
		return 0;
	if (tool::end_asked())
		kill(command->pid(), SIGTERM);
	return command->wait();
}

} // namespace

std::unique_ptr<tool::subcommand> tool::make_trace(CLI::App &app)
{
	return std::make_unique<trace>(app);
}
