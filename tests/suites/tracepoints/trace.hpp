// SPDX-License-Identifier: GPL-2.0
// What the module's tracepoints tell, read from tracefs as text.
#pragma once

#include <string>
#include <vector>

#include <sys/types.h>

#include "support.hpp"

inline const std::string tracefs = "/sys/kernel/tracing/";

// The number by which tracepoints call an instance, from MYEPOLL_IOC_INFO
unsigned number_of(int epfd);

// What was told, in order: "wake: instance=1 fd=5 ...", without the prefix "myepoll_"
using Lines = std::vector<std::string>;

// The tracepoints, all of them on, into a buffer of its own. What others of this guest
// call is in it, too: ask for one instance.
class Trace {
public:
	explicit Trace(bool on = true);
	~Trace();
	Trace(const Trace &) = delete;

	void write(const std::string &file, const std::string &text) const { spill(dir_ + file, text); }
	void on(bool on) const { write("events/myepoll/enable", on ? "1" : "0"); }
	// Since the last time, of one instance (0: of all)
	Lines read(unsigned instance = 0) const;
	Lines of(const Instance &ep) const { return read(number_of(ep.fd())); }
	// The same, with who told each before it: "1234 wake: ..."
	Lines with_threads(unsigned instance) const;
	const std::string &dir() const { return dir_; }

private:
	std::string dir_;

	Lines take(unsigned instance, bool threads) const;
};
