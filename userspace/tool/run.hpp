// SPDX-License-Identifier: MIT
/*
 * run.hpp - "myepoll run": execute a program on myepoll
 */
#ifndef MYEPOLL_TOOL_RUN_HPP
#define MYEPOLL_TOOL_RUN_HPP

#include "ways.hpp"

#include <string>

namespace CLI {
class App;
}

namespace tool {

class run {
public:
	explicit run(CLI::App &app);
	run(const run &) = delete;
	run &operator=(const run &) = delete;

	/*
	 * Takes the command off the end of main()'s arguments, if they are those of "run",
	 * and returns how many are left. CLI11 must not see it: it drops a "--", takes "[a]"
	 * for a list, and the name of another subcommand for that.
	 */
	int cut(int argc, char **argv);

	bool parsed() const;

	/* Becomes the command, or throws a failure. */
	[[noreturn]] void execute();

private:
	void read_options();
	way choose();
	void look_at_command(way chosen);
	void set_environment() const;

	CLI::App *app_;
	char **command_ = nullptr;
	bool adopt_ = false, preload_ = false;
	bool strict_ = false, stats_ = false, quiet_ = false;
	std::string door_, min_wait_;
	instance_options options_;
	std::string library_;
	std::string no_adoption_;	/* why not, if it was tried */
};

} // namespace tool

#endif
