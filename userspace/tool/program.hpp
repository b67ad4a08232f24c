// SPDX-License-Identifier: MIT
/*
 * program.hpp - what can be known of a program before it runs
 */
#ifndef MYEPOLL_TOOL_PROGRAM_HPP
#define MYEPOLL_TOOL_PROGRAM_HPP

#include "ways.hpp"

#include <string>

namespace tool {

/*
 * A file that execve(2) would execute. Of a script, what follows is about its interpreter;
 * of what it starts in turn nothing is known. All is false where the file cannot be read.
 */
struct program {
	std::string path;		/* of the interpreter, for a script */
	std::string missing;		/* an interpreter or dynamic linker that is not there */
	std::string gains_privilege;	/* by what */
	std::string linker;		/* the dynamic linker */
	bool is_elf = false;
	bool is_static = false;
	bool is_go = false;
	int bits = 0;			/* 32 or 64 */
	unsigned machine = 0;		/* as in <elf.h> */
};

/* The file that execvp(3) takes for @command, or fails with; "" if there is none. */
std::string find_program(const std::string &command);

bool can_be_executed(const std::string &path);

program examine(const std::string &path);

/* Returns "", or why a @way (with this @library) does not reach the program. */
std::string passes_by(const program &p, way way, const std::string &library);

} // namespace tool

#endif
