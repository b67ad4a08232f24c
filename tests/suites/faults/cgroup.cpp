// SPDX-License-Identifier: GPL-2.0
#include "cgroup.hpp"

#include <cerrno>
#include <sstream>
#include <stdexcept>

#include <sys/stat.h>
#include <unistd.h>

#include "support.hpp"

namespace {

const std::string root = "/sys/fs/cgroup";

} // namespace

Cgroup::Cgroup(const std::string &name, const std::string &controller) : dir_(root + "/" + name)
{
	if (!controller.empty())
		spill(root + "/cgroup.subtree_control", "+" + controller);
	must_libc(mkdir(dir_.c_str(), 0755), dir_.c_str());
}

Cgroup::~Cgroup()
{
	// The last to leave may be on its way out
	eventually([this] { return rmdir(dir_.c_str()) == 0 || errno == ENOENT; });
}

void Cgroup::set(const std::string &file, const std::string &value) const
{
	spill(dir_ + "/" + file, value);
}

std::string Cgroup::get(const std::string &file) const
{
	return slurp(dir_ + "/" + file);
}

long Cgroup::get(const std::string &file, const std::string &key) const
{
	std::istringstream words(get(file));
	std::string word;
	long n;

	while (words >> word >> n)
		if (word == key)
			return n;
	throw std::runtime_error("no " + key + " in " + file);
}

void Cgroup::join() const
{
	take(getpid());
}

void Cgroup::take(pid_t pid) const
{
	set("cgroup.procs", std::to_string(pid));
}

long live_watches()
{
	std::string cache = std::string("/sys/kernel/slab/") + (be().native() ? "eventpoll_epi" : "myep_item");

	// Without this, what CPUs keep for themselves counts as used
	spill(cache + "/shrink", "1");
	return std::stol(slurp(cache + "/objects"));
}
