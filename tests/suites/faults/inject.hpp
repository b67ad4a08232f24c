// SPDX-License-Identifier: GPL-2.0
// Faults made to order, with the kernel's fault injection (FAULT_INJECTION, FAILSLAB,
// FAIL_PAGE_ALLOC, FAULT_INJECTION_USERCOPY): the n-th allocation or copy of one call
// fails, counting only those that certain functions lead to; and where it was, from
// the trace that the kernel leaves in its log.
#pragma once

#include <cerrno>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "klog.hpp"

// A call of the module that can fail for want of memory, or of a page of the user's
struct Site {
	const char *file, *call;	// as they stand in the module's source
	const char *function;		// regex: who calls, as traces name it
	const char *callee;		// regex: the first function of the kernel's
	unsigned times;			// such calls in that function
	bool at_load;
	std::set<std::string> reached{};	// by which instructions
};

// All of them. The calls of this table are those that sites_in() finds.
std::vector<Site> &sites();
// "file: call" of each place in the source at `directory` (module/)
std::multiset<std::string> sites_in(const std::string &directory);
std::multiset<std::string> sites_in_table();
// Those of the table that no fault has been in
std::string unreached(bool at_load);

struct Range {
	unsigned long start, end;
};
Range module_text();				// of the loaded module
Range function_text(const std::string &name);	// of the kernel

class Fault {
public:
	// Makes the call, and one thing in it fail. Once in a Fault.
	int operator()(const std::function<int()> &call);
	bool hit() const { return hit_; }
	// Is this the right answer? Faults that leave no trace are of allocations that
	// the kernel has another way for, or of the checks in this kernel themselves.
	bool answered(int r, int success = 0) const
	{
		if (!hit_ || (kind_.empty() && r == success))
			return r == success;
		return r == (kind_ == "fail_usercopy" ? -EFAULT : -ENOMEM);
	}
	const std::string &where() const { return where_; } // for messages

private:
	friend class Injection;
	Fault(class Injection &injection, unsigned n) : injection_(injection), n_(n) {}
	Injection &injection_;
	unsigned n_;
	bool hit_ = false;
	std::string kind_, where_;
};

class Injection {
public:
	static bool possible();

	explicit Injection(Range range);
	~Injection();
	Injection(const Injection &) = delete;

	// body(fault) with the first thing failing, the second, ... until nothing was left
	// to fail. How many were.
	int sweep(const std::function<void(Fault &)> &body);
	void once(unsigned n, const std::function<void(Fault &)> &body);
	// Takes note of faults that were not a Fault's
	void look();
	// What no Site of the table explains, or the kernel complained about
	std::string trouble();

private:
	friend class Fault;
	void locate(Fault &fault);

	KernelLog log_;
	std::string unknown_;
	std::vector<std::pair<std::string, std::string>> before_;
};
