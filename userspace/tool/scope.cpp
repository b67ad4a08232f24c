// SPDX-License-Identifier: MIT
#include "scope.hpp"

#include "tool.hpp"

#include <fstream>
#include <string>

void tool::scope::process(pid_t pid)
{
	all_ = false;
	pid_ = pid;
}

void tool::scope::look()
{
	if (pid_) {
		users_.look(*pid_);
		for (const std::uint32_t instance : users_.of(*pid_))
			chosen_.insert(instance);
	} else if (all_) {
		users_.look_at_all();
	}
}

bool tool::scope::has(const event &e)
{
	constexpr std::size_t most_gone = 256;
	const bool calls = e.what != point::wake && e.what != point::release && e.what != point::remove;

	users_.note(e);
	if (all_)
		return true;
	/* The end of an instance or a watch may be anybody's call. */
	if (calls && (pid_ ? e.tgid == *pid_ : session_.followed(e.tgid)))
		chosen_.insert(e.instance);

	const bool ours = chosen_.contains(e.instance);

	/* Its watches go next. */
	if (e.what == point::release && ours) {
		gone_.push_back(e.instance);
		if (gone_.size() > most_gone) {
			chosen_.erase(gone_.front());
			gone_.pop_front();
		}
	}
	return ours;
}

pid_t tool::process_of(pid_t tid)
{
	std::ifstream status("/proc/" + std::to_string(tid) + "/status");
	std::string line;

	while (std::getline(status, line))
		if (line.starts_with("Tgid:"))
			return static_cast<pid_t>(std::stol(line.substr(5)));
	throw failure(failed, fmt::format("there is no process {}", tid));
}
