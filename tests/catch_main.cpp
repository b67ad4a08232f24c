// SPDX-License-Identifier: GPL-2.0
// main() of every test program.
//
// A program with options of its own defines take_test_options(): it is called
// with the command line before Catch2 sees it, removes what it took, and
// returns 0, or an exit status with which the program ends there.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_RUNNER
#endif
#include "catch.hpp"

extern "C" __attribute__((weak)) int take_test_options(int *argc, char **argv);

int main(int argc, char **argv)
{
	if (take_test_options) {
		int status = take_test_options(&argc, argv);
		if (status)
			return status;
	}
	return Catch::Session().run(argc, argv);
}
