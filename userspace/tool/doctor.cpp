// SPDX-License-Identifier: MIT
/*
 * doctor.cpp - "myepoll doctor": what is wrong with event loops
 */
#include "doctor_report.hpp"
#include "examine.hpp"
#include "output.hpp"
#include "subcommand.hpp"
#include "tool.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <memory>
#include <optional>

namespace {

constexpr char about[] =
	"Looks at what event loops do, for a while, and says what is wrong with them: each finding\n"
	"with its evidence, what it costs, and what to do. It looks at a process and its\n"
	"descendants (-p), at COMMAND, which it executes as \"myepoll run\" does, until it ends,\n"
	"or else at all processes. Of programs on the kernel's own epoll only the watches can be\n"
	"seen, and ghosts among them.\n"
	"\n"
	"The report comes at the end: on standard output; with COMMAND, whose output that is, on\n"
	"standard error. Ctrl-C ends it early.\n";

constexpr char more[] =
	"Exit status:\n"
	"  0     nothing found\n"
	"  1     something found\n"
	"  125   myepoll itself failed: no right, no module, or a wrong command line; or there was\n"
	"        no event loop to look at\n"
	"  126   COMMAND was found, but cannot be executed\n"
	"  127   COMMAND was not found\n"
	"\n"
	"Examples:\n"
	"  myepoll doctor -p $(pidof redis-server)\n"
	"  myepoll doctor --seconds 30 -o report -- nginx -g 'daemon off;'\n"
	"  myepoll doctor --json --seconds 5 | jq '.findings[].title'";

class doctor : public tool::subcommand {
public:
	explicit doctor(CLI::App &app);

	int cut(int argc, char **argv) override { return cut_command(argc, argv, command_); }
	int execute() override;

private:

	char **command_ = nullptr;
	std::optional<int> pid_;
	std::optional<double> seconds_;
	std::string output_;
	bool json_ = false;
};

doctor::doctor(CLI::App &application)
	: subcommand(application.add_subcommand("doctor", "Say what is wrong with event loops"))
{
	set_usage("[OPTIONS] [-p PID | [--] COMMAND [ARG...]]", about);
	app().footer(more);
	app().add_option("-p,--pid", pid_, "The process to look at, with its descendants")->type_name("PID");
	app().add_option("--seconds", seconds_,
			 "Look for so long (default: 10; with COMMAND, until it ends). What is\n"
			 "left of COMMAND then is ended by SIGTERM")
		->type_name("N");
	app().add_option("-o,--output", output_, "Write the report to this file")->type_name("FILE");
	app().add_flag("--json", json_, "The report as JSON");
}

int doctor::execute()
{
	if (command_ && !*command_)
		throw tool::failure(tool::failed, "doctor: no command behind --; see \"myepoll doctor --help\"");
	if (command_ && pid_)
		throw tool::failure(tool::failed, "doctor: -p and a command do not go together");
	if (pid_ && *pid_ < 1)
		throw tool::failure(tool::failed, fmt::format("-p: {} is no process", *pid_));
	if (seconds_ && !(*seconds_ > 0 && *seconds_ <= 1e6))
		throw tool::failure(tool::failed, "--seconds: a number above 0 is needed, such as 10");
	if (!seconds_ && !command_)
		seconds_ = 10;

	tool::output out(output_, command_ ? STDERR_FILENO : STDOUT_FILENO);
	const tool::examination e = tool::examine_loops(pid_, command_, seconds_);

	/* Then it is "run" that has said why. */
	if (e.status && !e.ours && *e.status >= tool::failed && *e.status <= tool::not_found)
		return *e.status;
	if ((pid_ || command_) && !e.ours && e.foreign.empty())
		throw tool::failure(tool::failed,
				    fmt::format("{}: there is no event loop: neither myepoll nor epoll", e.subject));
	out.text() = json_ ? tool::report_json(e) : tool::report_text(e);
	out.flush();
	return !e.findings.empty();
}

} // namespace

std::unique_ptr<tool::subcommand> tool::make_doctor(CLI::App &app)
{
	return std::make_unique<doctor>(app);
}
