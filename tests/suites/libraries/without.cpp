// SPDX-License-Identifier: GPL-2.0
// A whole program without exceptions and type information
#include <myepoll/poller.hpp>
#include <myepoll/waker.hpp>

#include <cstring>

#include <sys/eventfd.h>

int without_exceptions(int fd);

int main(int argc, char **argv)
{
	/* The form that throws: it ends the program. */
	if (argc > 1 && !std::strcmp(argv[1], "throw"))
		myepoll::poller::adopt(-1).remove(0);
	return without_exceptions(eventfd(1, EFD_CLOEXEC));
}
