// SPDX-License-Identifier: GPL-2.0
// A cgroup (v2) of one's own, for as long as it lives, and what of the module's
// memory is in use.
#pragma once

#include <string>

#include <sys/types.h>

class Cgroup {
public:
	explicit Cgroup(const std::string &name, const std::string &controller = "");
	~Cgroup();
	Cgroup(const Cgroup &) = delete;

	void set(const std::string &file, const std::string &value) const;
	std::string get(const std::string &file) const;
	// The number after `key` in a file of keys and numbers
	long get(const std::string &file, const std::string &key) const;
	void join() const; // the caller
	void take(pid_t pid) const;

private:
	std::string dir_;
};

// Watches that the kernel has memory for, of all instances there are
long live_watches();
