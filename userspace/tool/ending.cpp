// SPDX-License-Identifier: MIT
#include "ending.hpp"

#include <cerrno>
#include <csignal>
#include <ctime>
#include <initializer_list>

namespace {

volatile std::sig_atomic_t asked;

void ask(int)
{
	asked = 1;
}

sigset_t only_sigpipe()
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGPIPE);
	return set;
}

} // namespace

void tool::end_on_signals()
{
	struct sigaction action = {};

	/* Without SA_RESTART: a write(2) that waits for a reader ends. */
	action.sa_handler = ask;
	for (const int signal : { SIGINT, SIGTERM, SIGHUP, SIGQUIT })
		sigaction(signal, &action, nullptr);
}

tool::no_sigpipe::no_sigpipe() noexcept
{
	const sigset_t pipe = only_sigpipe();

	pthread_sigmask(SIG_BLOCK, &pipe, &before_);
}

tool::no_sigpipe::~no_sigpipe()
{
	const sigset_t pipe = only_sigpipe();
	constexpr timespec now{};

	/* What has come meanwhile, unless somebody else waits for it. */
	if (!sigismember(&before_, SIGPIPE))
		while (sigtimedwait(&pipe, nullptr, &now) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before_, nullptr);
}

bool tool::end_asked() noexcept
{
	return asked;
}
