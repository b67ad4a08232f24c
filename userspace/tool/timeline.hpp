// SPDX-License-Identifier: MIT
/*
 * timeline.hpp - an event as a line that people read, or an object of JSON
 */
#ifndef MYEPOLL_TOOL_TIMELINE_HPP
#define MYEPOLL_TOOL_TIMELINE_HPP

#include "activity.hpp"
#include "events.hpp"
#include "users.hpp"

#include <string>

namespace tool {

class timeline {
public:
	/* @start: what the times of lines are relative to. Names come from @session. */
	timeline(const trace_session &session, const users &users, std::uint64_t start)
		: session_(session), users_(users), start_(start)
	{
	}

	/* Both append to @out, with a newline. */
	void write(std::string &out, const event &e, const activity::meaning &meaning) const;
	void write_json(std::string &out, const event &e, const activity::meaning &meaning) const;

	void write(std::string &out, const loss &l) const;
	void write_json(std::string &out, const loss &l) const;

private:
	const trace_session &session_;
	const users &users_;
	const std::uint64_t start_;
};

/* "850 ns", "12.3 us", "100 ms", "2.5 s" */
std::string time_text(std::uint64_t ns);

} // namespace tool

#endif
