// SPDX-License-Identifier: MIT
/*
 * scope.hpp - which instances somebody wants to see: all, or those that processes use
 */
#ifndef MYEPOLL_TOOL_SCOPE_HPP
#define MYEPOLL_TOOL_SCOPE_HPP

#include "events.hpp"
#include "users.hpp"

#include <cstdint>
#include <deque>
#include <optional>
#include <unordered_set>

#include <sys/types.h>

namespace tool {

class scope {
public:
	explicit scope(const trace_session &session) : session_(session) {}

	/* Those that this process has, and that it is seen to call */
	void process(pid_t pid);

	/* Those that processes call that the session follows */
	void followed() { all_ = false; }

	/* Of each event, in their order: is it of such an instance? */
	bool has(const event &e);

	const users &who() const noexcept { return users_; }

	/* What was there before the first event is found in /proc. */
	void look();

private:
	const trace_session &session_;
	users users_;
	bool all_ = true;
	std::optional<pid_t> pid_;
	std::unordered_set<std::uint32_t> chosen_;
	std::deque<std::uint32_t> gone_;	/* forgotten a while later */
};

/* The process of a thread, which may be itself. A failure if there is none. */
pid_t process_of(pid_t tid);

} // namespace tool

#endif
