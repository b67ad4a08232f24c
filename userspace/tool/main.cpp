// SPDX-License-Identifier: MIT
/*
 * myepoll - one tool for what people do with the module
 *
 * Each subcommand is a file of its own: it adds its options to the application, and is
 * called when its turn comes. Errors are exceptions (tool.hpp), and have one form, a line
 * "myepoll: TEXT" on stderr.
 */
#include "subcommand.hpp"
#include "tool.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>

#include <exception>
#include <memory>
#include <new>
#include <string_view>
#include <utility>

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

namespace {

class formatter : public CLI::Formatter {
public:
	formatter(std::string synopsis, std::string about)
		: synopsis_(std::move(synopsis)), about_(std::move(about))
	{
	}
	std::string make_usage(const CLI::App *, std::string name) const override
	{
		return "Usage: " + name + " " + synopsis_ + "\n\n" + about_;
	}

private:
	std::string synopsis_, about_;
};

} // namespace

void tool::subcommand::set_usage(const std::string &synopsis, const std::string &about)
{
	app_->formatter(std::make_shared<formatter>(synopsis, about));
}

bool tool::subcommand::parsed() const
{
	return app_->parsed();
}

int tool::subcommand::cut_command(int argc, char **argv, char **&command) const
{
	if (argc < 2 || argv[1] != app_->get_name())
		return argc;
	for (int i = 2; i < argc; i++) {
		const std::string_view word = argv[i];

		if (word == "--" || !word.starts_with('-') || word == "-") {
			command = argv + i + (word == "--");
			return i;
		}

		const CLI::Option *option = app_->get_option_no_throw(argv[i]);

		/* "--door ioctl" is two words */
		if (option && option->get_items_expected_min() > 0)
			i++;
	}
	return argc;
}

static int parse_and_run(int argc, char **argv)
{
	CLI::App app("Programs on myepoll, the epoll of a kernel module.", "myepoll");

	app.set_version_flag("--version", "myepoll " MYEPOLL_VERSION, "Say which version this is");
	app.require_subcommand(0, 1);
	app.footer("\"myepoll SUBCOMMAND --help\" says more.");

	std::vector<std::unique_ptr<tool::subcommand>> all;

	for (auto make : { tool::make_run, tool::make_ls, tool::make_top, tool::make_trace,
			   tool::make_doctor, tool::make_tour })
		all.push_back(make(app));
	for (const auto &one : all)
		argc = one->cut(argc, argv);

	const auto chosen = [&all]() -> tool::subcommand * {
		for (const auto &one : all)
			if (one->parsed())
				return one.get();
		return nullptr;
	};

	try {
		app.parse(argc, argv);
	} catch (const CLI::ParseError &e) {
		/* Help and version are errors to CLI11, with the status 0. */
		if (e.get_exit_code() == 0)
			return app.exit(e);

		const auto asked = app.get_subcommands();

		throw tool::failure(tool::failed,
				    fmt::format("{}; see \"myepoll {}--help\"", e.what(),
						asked.empty() ? "" : asked[0]->get_name() + " "));
	}
	if (tool::subcommand *one = chosen())
		return one->execute();
	throw tool::failure(tool::failed, "no subcommand; see \"myepoll --help\"");
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
