// SPDX-License-Identifier: MIT
#include "users.hpp"

#include "instances.hpp"
#include "proc.hpp"

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <string>

namespace {

constexpr std::size_t most_users = 64, most_gone = 256;

} // namespace

void tool::users::look(pid_t pid)
{
	const process one(pid);
	int ignored;

	for (const int fd : one.descriptors(ignored)) {
		if (one.link("fd/" + std::to_string(fd)) != "anon_inode:[myepoll]")
			continue;
		if (const auto instance = number_of(pid, fd))
			if (!uses(pid, *instance))
				set(*instance, pid, fd);
	}
}

void tool::users::look_at_all()
{
	for (const pid_t pid : all_processes())
		look(pid);
}

void tool::users::set(std::uint32_t instance, pid_t pid, int fd)
{
	std::vector<user> &all = of_[instance];
	const auto at = std::find_if(all.begin(), all.end(), [pid](const user &u) { return u.pid == pid; });

	if (at == all.end()) {
		if (all.size() >= most_users)
			all.erase(all.begin());
		all.push_back({ pid, fd });
		return;
	}
	if (fd >= 0)
		at->fd = fd;
	std::rotate(at, at + 1, all.end());
}

bool tool::users::uses(pid_t pid, std::uint32_t instance) const
{
	const auto at = of_.find(instance);

	return at != of_.end() && std::any_of(at->second.begin(), at->second.end(),
					      [pid](const user &u) { return u.pid == pid; });
}

std::vector<std::uint32_t> tool::users::of(pid_t pid) const
{
	std::vector<std::uint32_t> found;

	for (const auto &one : of_)
		if (uses(pid, one.first))
			found.push_back(one.first);
	return found;
}

const tool::users::user *tool::users::last(std::uint32_t instance) const
{
	const auto at = of_.find(instance);

	return at == of_.end() || at->second.empty() ? nullptr : &at->second.back();
}

void tool::users::note(const event &e)
{
	switch (e.what) {
	case point::create:
		of_.erase(e.instance);
		set(e.instance, e.tgid, e.fd);
		break;
	case point::release:
		/* Its watches go next, and are told with its descriptor. */
		gone_.push_back(e.instance);
		if (gone_.size() > most_gone) {
			of_.erase(gone_.front());
			gone_.pop_front();
		}
		break;
	case point::ctl:
	case point::wait_enter:
	case point::wait_exit:
	case point::deliver:
	case point::not_ready: {
		const user *before = last(e.instance);

		if (before && before->pid == e.tgid)
			break;
		/* As one that a child has inherited, or that came by a socket */
		if (!uses(e.tgid, e.instance)) {
			const int fd = before ? before->fd : -1;

			look(e.tgid);
			/* A child that has ended already had the same. */
			if (!uses(e.tgid, e.instance) && kill(e.tgid, 0) && errno == ESRCH)
				set(e.instance, e.tgid, fd);
		}
		set(e.instance, e.tgid, -1);
		break;
	}
	case point::wake:
	case point::remove:
		break;
	}
}
