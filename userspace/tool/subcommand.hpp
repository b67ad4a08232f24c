// SPDX-License-Identifier: MIT
/*
 * subcommand.hpp - what main() knows of a subcommand
 */
#ifndef MYEPOLL_TOOL_SUBCOMMAND_HPP
#define MYEPOLL_TOOL_SUBCOMMAND_HPP

#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace tool {

class subcommand {
public:
	/* @app: the subcommand's own, added to the application */
	explicit subcommand(CLI::App *app) : app_(app) {}
	subcommand(const subcommand &) = delete;
	subcommand &operator=(const subcommand &) = delete;
	virtual ~subcommand() = default;

	/* Is it the one that was asked for? */
	bool parsed() const;

	/* Returns the exit status, or throws a failure. */
	virtual int execute() = 0;

	/*
	 * Where a subcommand ends with a COMMAND of somebody else's: takes it off the end of
	 * main()'s arguments, if they are of this subcommand, and returns how many are left.
	 * CLI11 must not see it: it drops a "--", takes "[a]" for a list, and the name of
	 * another subcommand for that.
	 */
	virtual int cut(int argc, char **) { return argc; }

protected:
	CLI::App &app() const noexcept { return *app_; }

	/* What --help begins with: @synopsis behind the name, and a paragraph. */
	void set_usage(const std::string &synopsis, const std::string &about);

	/* cut() for those that have a command, which is found in @command. */
	int cut_command(int argc, char **argv, char **&command) const;

private:
	CLI::App *app_;
};

std::unique_ptr<subcommand> make_run(CLI::App &app);
std::unique_ptr<subcommand> make_ls(CLI::App &app);
std::unique_ptr<subcommand> make_top(CLI::App &app);
std::unique_ptr<subcommand> make_trace(CLI::App &app);
std::unique_ptr<subcommand> make_doctor(CLI::App &app);
std::unique_ptr<subcommand> make_tour(CLI::App &app);

} // namespace tool

#endif
