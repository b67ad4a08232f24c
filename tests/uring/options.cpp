// SPDX-License-Identifier: GPL-2.0
#include "backend.hpp"

extern "C" int take_test_options(int *argc, char **argv);

extern "C" int take_test_options(int *argc, char **argv)
{
	return take_backend_option(argc, argv);
}
