// SPDX-License-Identifier: MIT
/*
 * myepoll - one tool for what people do with the module
 *
 * Each subcommand is a file of its own: it adds its options to the application, and is
 * called when its turn comes. Errors are exceptions (tool.hpp), and have one form, a line
 * "myepoll: TEXT" on stderr.
 */
#include "run.hpp"
#include "tool.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <exception>
#include <new>

#include <unistd.h>

void tool::say_line(const std::string &text) noexcept
{
	try {
		const std::string line = "myepoll: " + text + "\n";

		if (write(STDERR_FILENO, line.data(), line.size()) < 0)
			return;
	} catch (const std::bad_alloc &) {
	}
}

static int parse_and_run(int argc, char **argv)
{
	CLI::App app("Programs on myepoll, the epoll of a kernel module.", "myepoll");

	app.set_version_flag("--version", "myepoll " MYEPOLL_VERSION, "Say which version this is");
	app.require_subcommand(0, 1);
	app.footer("\"myepoll SUBCOMMAND --help\" says more.");

	tool::run run(app);
	const int ours = run.cut(argc, argv);

	try {
		app.parse(ours, argv);
	} catch (const CLI::ParseError &e) {
		/* Help and version are errors to CLI11, with the status 0. */
		if (e.get_exit_code() == 0)
			return app.exit(e);
		throw tool::failure(tool::failed, std::string(e.what()) +
			(run.parsed() ? "; see \"myepoll run --help\"" : "; see \"myepoll --help\""));
	}
	if (!run.parsed())
		throw tool::failure(tool::failed, "no subcommand; see \"myepoll --help\"");
	run.execute();
}

int main(int argc, char **argv)
{
	try {
		return parse_and_run(argc, argv);
	} catch (const tool::failure &e) {
		tool::say_line(e.what());
		return e.status();
	} catch (const std::exception &e) {
		tool::say_line(e.what());
		return tool::failed;
	}
}
