// SPDX-License-Identifier: GPL-2.0
#include "inject.hpp"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>

#include "support.hpp"

namespace {

const std::string debugfs = "/sys/kernel/debug/";
const char *const kinds[] = { "failslab", "fail_page_alloc", "fail_usercopy" };

// What may want memory, by the names that the kernel gives to such functions, less the
// module's own, what is no call, and what kernels with fault injection do not have.
// Copies that no fault can be injected into, of single
// words, are in tests/suites/hostile.
const std::regex calls(R"(\b((?!item_alloc|myep_alloc|unregister_|trace_|ioctl_create|myep_\w*create|epoll_create1|)"
		       R"(adopted_create|to_create|register_ftrace_direct_multi))"
		       R"((?:\w*alloc\w*|\w*dup\w*|\w*_create\w*|\w*asprintf|KMEM_CACHE|get_unused_fd_flags|)"
		       R"(__get_free_page\w*|anon_inode_get\w*|\w+_register|register_\w+|ftrace_set_filter\w*|)"
		       R"(copy_struct_from_user|copy_from_user|copy_to_user|kobject_\w+|mempool_\w+|kthread_\w+|)"
		       R"(xa_\w+))\()");

} // namespace

std::vector<Site> &sites()
{
	static std::vector<Site> table{
		{ "main.c", "KMEM_CACHE", "myep_init|init_module|myep_caches_init", "kmem_cache_create", 2, true },
		{ "main.c", "alloc_workqueue", "myep_init|init_module", "alloc_workqueue", 1, true },
		{ "index.c", "kvmalloc_array", "myep_index_init|init_module|myep_init", "kvmalloc", 1, true },
		{ "close_hook.c", "ftrace_set_filter", "myep_close_hook_init|myep_trace_only", "ftrace_set", 1, true },
		{ "close_hook.c", "register_ftrace_function", "myep_close_hook_init", "register_ftrace_function", 1,
		  true },
		{ "compat.h", "register_ftrace_direct", "(entry|kind)_hook|adopt_(switch|set)", "register_ftrace_direct",
		  1, true },
		{ "close_hook.c", "anon_inode_getfile", "myep_close_hook_init|close_is_seen|open_probe", "anon_inode|alloc_file",
		  1, true },
		{ "device.c", "misc_register", "myep_device_init|init_module|myep_init", "misc_register", 1, true },
		{ "device.c", "copy_struct_from_user", "turn|ioctl_(create|ctl|wait|list|set_options)|(instance|device)_ioctl_any_size",
		  "copy_from_user|should_fail_usercopy", 1, false },
		{ "device.c", "copy_to_user", "ioctl_get_options", "copy_to_user|should_fail_usercopy", 1, false },
		{ "list.c", "copy_to_user", "myep_list", "copy_to_user|should_fail_usercopy", 1, false },
		{ "device.c", "get_unused_fd_flags", "myep_create|ioctl_create|device_ioctl", "unused_fd|alloc_fd|expand_f", 1,
		  false },
		{ "device.c", "anon_inode_getfile", "myep_create|ioctl_create|device_ioctl", "anon_inode|alloc_file", 1, false },
		{ "instance.c", "kzalloc", "myep_alloc", "kmalloc|kmem_cache_alloc", 1, false },
		{ "quota.c", "kzalloc", "myep_quota_get", "kmalloc|kmem_cache_alloc", 1, false },
		{ "interest.c", "kmem_cache_alloc", "item_alloc|item_add|add_locked|ctl_add|ctl_set|myep_ctl|myep_change_run", "kmem_cache_alloc", 1, false },
		{ "interest.c", "kmem_cache_alloc", "hook_onto", "kmem_cache_alloc", 1, false },
		{ "item.c", "kmalloc", "close_by_worker|__myep_close_dropped", "kmalloc|kmem_cache_alloc", 1,
		  false },
		{ "wakeup_source.c", "wakeup_source_register", "myep_ws_create", "wakeup_source", 1, false },
		{ "busy_poll.c", "copy_from_user", "myep_busy_poll_ioctl|params_set",
		  "copy_from_user|should_fail_usercopy", 1, false },
		{ "busy_poll.c", "copy_to_user", "myep_busy_poll_ioctl|params_get",
		  "copy_to_user|should_fail_usercopy", 1, false },
	};
	return table;
}

std::multiset<std::string> sites_in(const std::string &directory)
{
	std::multiset<std::string> found;
	DIR *dir = opendir(directory.c_str());

	must_libc(dir ? 0 : -1, directory.c_str());
	while (dirent *entry = readdir(dir)) {
		std::string name = entry->d_name;
		if (name.size() < 3 || (name.substr(name.size() - 2) != ".c" && name.substr(name.size() - 2) != ".h"))
			continue;
		std::string source = slurp(directory + "/" + name);
		source = std::regex_replace(source, std::regex(R"(/\*[^*]*\*+([^/*][^*]*\*+)*/)"), "");
		for (std::sregex_iterator i(source.begin(), source.end(), calls), end; i != end; ++i)
			found.insert(name + ": " + (*i)[1].str());
	}
	closedir(dir);
	return found;
}

std::multiset<std::string> sites_in_table()
{
	std::multiset<std::string> all;
	for (const Site &site : sites())
		for (unsigned i = 0; i < site.times; i++)
			all.insert(std::string(site.file) + ": " + site.call);
	return all;
}

std::string unreached(bool at_load)
{
	std::string text;
	for (const Site &site : sites())
		if (site.at_load == at_load && site.reached.size() < site.times)
			text += std::string(site.file) + ": " + site.call + " in " + site.function + "\n";
	return text;
}

Range module_text()
{
	std::istringstream lines(slurp("/proc/modules"));
	std::string line;
	while (std::getline(lines, line)) {
		unsigned long size, start;
		if (std::sscanf(line.c_str(), "myepoll %lu %*s %*s %*s 0x%lx", &size, &start) == 2)
			return { start, start + size };
	}
	throw std::runtime_error("the module is not loaded");
}

Range function_text(const std::string &name)
{
	std::istringstream lines(slurp("/proc/kallsyms"));
	std::string type, symbol, rest;
	unsigned long address, start = 0, end = ~0UL;
	std::vector<unsigned long> all;

	while (lines >> std::hex >> address >> type >> symbol && std::getline(lines, rest)) {
		if (type != "t" && type != "T")
			continue;
		all.push_back(address);
		if (symbol == name && rest.empty())
			start = address;
	}
	for (unsigned long a : all)
		if (a > start)
			end = std::min(end, a);
	if (!start)
		throw std::runtime_error("no function " + name);
	return { start, end };
}

int Fault::operator()(const std::function<int()> &call)
{
	Fd file(must_libc(open("/proc/thread-self/fail-nth", O_RDWR | O_CLOEXEC), "fail-nth"));
	char text[16];
	int n = std::snprintf(text, sizeof text, "%u", n_);

	must_libc(pwrite(file, text, unsigned(n), 0), "fail-nth");
	int r = call();
	std::memset(text, 0, sizeof text);
	must_libc(pread(file, text, sizeof text - 1, 0), "fail-nth");
	must_libc(pwrite(file, "0", 1, 0), "fail-nth");
	hit_ = !std::strtoul(text, nullptr, 10);
	if (hit_)
		injection_.locate(*this);
	return r;
}

bool Injection::possible()
{
	return access("/proc/self/fail-nth", W_OK) == 0 && access((debugfs + "failslab").c_str(), X_OK) == 0;
}

Injection::Injection(Range range)
{
	auto set = [this](const std::string &file, const std::string &value) {
		before_.emplace_back(debugfs + file, slurp(debugfs + file));
		spill(debugfs + file, value);
	};
	for (const char *kind : kinds) {
		std::string dir = std::string(kind) + "/";
		set(dir + "require-start", std::to_string(range.start));
		set(dir + "require-end", std::to_string(range.end));
		set(dir + "stacktrace-depth", "32");
		set(dir + "verbose", "2");
	}
	set("failslab/ignore-gfp-wait", "N");
	set("fail_page_alloc/ignore-gfp-wait", "N");
	set("fail_page_alloc/min-order", "0");
}

Injection::~Injection()
{
	for (auto i = before_.rbegin(); i != before_.rend(); ++i)
		spill(i->first, i->second);
}

void Injection::once(unsigned n, const std::function<void(Fault &)> &body)
{
	Fault fault(*this, n);
	body(fault);
}

int Injection::sweep(const std::function<void(Fault &)> &body)
{
	for (unsigned n = 1;; n++) {
		Fault fault(*this, n);
		body(fault);
		if (!fault.hit())
			return static_cast<int>(n) - 1;
	}
}

// Which kind it was and the first function of the module's on the way to it, with
// that which it had called. No trace is left of faults that the kernel was to expect.
void Injection::locate(Fault &fault)
{
	static const std::regex name(R"(FAULT_INJECTION: .*name (\w+),)");
	static const std::regex frame(R"(^ ([\w.]+)(\+0x[0-9a-f]+)/0x[0-9a-f]+( \[(\w+)\])?)");
	std::string callee;
	std::smatch match;
	bool traced = false;

	for (const std::string &line : log_.news()) {
		if (std::regex_search(line, match, name)) {
			fault.kind_ = match[1];
			traced = true;
			callee.clear();
			fault.where_.clear();
		} else if (traced && fault.where_.empty() && std::regex_search(line, match, frame)) {
			std::string function = match[1];
			if (match[4] != "myepoll") {
				callee = function;
				continue;
			}
			function = function.substr(0, function.find('.'));
			fault.where_ = callee + " from " + match[1].str() + match[2].str();
			bool known = false;
			for (Site &site : sites())
				if (std::regex_match(function, std::regex(site.function)) &&
				    std::regex_search(callee, std::regex(site.callee))) {
					site.reached.insert(match[2]);
					known = true;
				}
			if (!known)
				unknown_ += fault.where_ + "\n";
		}
	}
	if (fault.where_.empty())
		fault.where_ = traced ? "outside the module" : "a fault without a trace";
}

void Injection::look()
{
	Fault any(*this, 0);
	locate(any);
}

std::string Injection::trouble()
{
	log_.news();
	std::string text = unknown_.empty() ? "" : "in no place of the table: " + unknown_;
	return text + log_.complaint();
}
