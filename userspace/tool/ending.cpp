// SPDX-License-Identifier: MIT
#include "ending.hpp"

#include <csignal>
#include <initializer_list>

namespace {

volatile std::sig_atomic_t asked;

void ask(int)
{
	asked = 1;
}

} // namespace

void tool::end_on_signals()
{
	struct sigaction action = {};

	/* Without SA_RESTART: a write(2) that waits for a reader ends. */
	action.sa_handler = ask;
	for (const int signal : { SIGINT, SIGTERM, SIGHUP, SIGQUIT })
		sigaction(signal, &action, nullptr);
	action.sa_handler = SIG_IGN;
	sigaction(SIGPIPE, &action, nullptr);
}

bool tool::end_asked() noexcept
{
	return asked;
}
