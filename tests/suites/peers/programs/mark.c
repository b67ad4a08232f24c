// SPDX-License-Identifier: GPL-2.0
// Run a command that is adopted, and so is all that it starts.
//
// usage: mark COMMAND [ARG...]
//
// Nothing else of the process changes, so its id is the command's. Says it on standard
// error, for check_served() in common.sh. Status 127: the command could not be run.
#include <stdio.h>
#include <sys/personality.h>
#include <unistd.h>

#include "uapi/myepoll.h"

int main(int argc, char **argv)
{
	if (argc < 2) {
		fprintf(stderr, "usage: mark COMMAND [ARG...]\n");
		return 127;
	}
	if (personality((unsigned int)personality(0xffffffff) | MYEPOLL_PERSONALITY) < 0) {
		perror("mark: personality");
		return 127;
	}
	fprintf(stderr, "mark: adopted %d\n", getpid());
	execvp(argv[1], argv + 1);
	perror(argv[1]);
	return 127;
}
