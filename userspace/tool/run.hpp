// SPDX-License-Identifier: MIT
/*
 * run.hpp - "myepoll run": execute a program on myepoll
 */
#ifndef MYEPOLL_TOOL_RUN_HPP
#define MYEPOLL_TOOL_RUN_HPP

#include "subcommand.hpp"
#include "ways.hpp"

#include <string>

namespace tool {

class run : public subcommand {
public:
	explicit run(CLI::App &app);

	int cut(int argc, char **argv) override { return cut_command(argc, argv, command_); }

	/* Becomes the command, or throws a failure. */
	[[noreturn]] int execute() override;

private:
	void read_options();
	way choose();
	void look_at_command(way chosen);
	void set_environment() const;

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
