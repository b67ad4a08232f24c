// SPDX-License-Identifier: MIT
#include "users.hpp"

#include "../../uapi/myepoll.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <filesystem>
#include <optional>
#include <string>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

namespace fs = std::filesystem;

constexpr std::size_t most_users = 64, most_gone = 256;

std::optional<int> number(const fs::path &path)
{
	const std::string name = path.filename();
	int n;
	const auto [end, error] = std::from_chars(name.data(), name.data() + name.size(), n);

	if (error != std::errc() || end != name.data() + name.size())
		return {};
	return n;
}

std::uint32_t number_of(int pidfd, int fd)
{
	const int copy = static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, fd, 0));
	struct myepoll_info info = {};

	if (copy < 0)
		return 0;
	if (ioctl(copy, MYEPOLL_IOC_INFO, &info))
		info.instance = 0;
	close(copy);
	return static_cast<std::uint32_t>(info.instance);
}

} // namespace

void tool::users::look(pid_t pid)
{
	std::error_code ignored;
	const int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));

	if (pidfd < 0)
		return;
	for (const auto &entry : fs::directory_iterator("/proc/" + std::to_string(pid) + "/fd", ignored)) {
		const auto fd = number(entry.path());

		if (!fd || fs::read_symlink(entry.path(), ignored) != "anon_inode:[myepoll]")
			continue;
		if (const std::uint32_t instance = number_of(pidfd, *fd))
			if (!uses(pid, instance))
				set(instance, pid, *fd);
	}
	close(pidfd);
}

void tool::users::look_at_all()
{
	std::error_code ignored;

	for (const auto &entry : fs::directory_iterator("/proc", ignored))
		if (const auto pid = number(entry.path()))
			look(*pid);
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
