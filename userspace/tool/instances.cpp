// SPDX-License-Identifier: MIT
/*
 * How they are found: by the links in /proc/PID/fd, and the watches by fdinfo. One instance
 * may be seen by many descriptors, which kcmp(2) tells. Of those of the module, what fdinfo
 * does not have is asked of the module, by a copy of the descriptor (pidfd_getfd(2)).
 *
 * How a ghost is known: the number is closed, or its inode is another one. Where that says
 * nothing, since anonymous files share an inode, the kernel compares the files. For its own
 * epoll it does so by kcmp(2); the module, where it lists the watches, for the table of the
 * thread that asks. So a thread with a table of its own puts copies of the descriptors at
 * the very numbers, and asks. That holds files of others, but anonymous ones only, and for
 * a moment.
 */
#include "instances.hpp"

#include "describe.hpp"
#include "proc.hpp"
#include "tool.hpp"

#include "../../uapi/myepoll.h"

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <unordered_set>

#include <fcntl.h>
#include <linux/kcmp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

using tool::descriptor;
using tool::process;

/* As in the kernel: bits that ask for no event */
constexpr std::uint32_t private_bits = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;

constexpr char ours_link[] = "anon_inode:[myepoll]", kernels_link[] = "anon_inode:[eventpoll]";

struct seen {
	pid_t pid;
	int fd;
	bool ours;

	auto operator<=>(const seen &) const = default;
};

/* A line of fdinfo */
struct raw_watch {
	int fd = -1;
	std::uint32_t events = 0;
	std::uint64_t data = 0;
	tool::inode inode;
};

/* Where the next field has its value: behind @name, and spaces */
template <typename T>
bool field(std::string_view &text, std::string_view name, T &value, int base)
{
	const std::size_t at = text.find(name);

	if (at == text.npos)
		return false;
	text.remove_prefix(at + name.size());
	text.remove_prefix(std::min(text.find_first_not_of(' '), text.size()));

	const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value, base);

	text.remove_prefix(static_cast<std::size_t>(parsed.ptr - text.data()));
	return parsed.ec == std::errc();
}

bool parse_watch(std::string_view line, raw_watch &to)
{
	return field(line, "tfd:", to.fd, 10) && field(line, "events:", to.events, 16) &&
	       field(line, "data:", to.data, 16) && field(line, "ino:", to.inode.number, 16) &&
	       field(line, "sdev:", to.inode.device, 16);
}

std::string parse_options(std::string_view line)
{
	unsigned fair = 0, balance = 0, min_wait = 0;
	std::string text;

	field(line, "fair:", fair, 10);
	field(line, "balance:", balance, 10);
	field(line, "min_wait:", min_wait, 10);
	if (fair)
		text += " fair";
	if (balance)
		text += " balance";
	if (min_wait)
		text += fmt::format(" min_wait:{}", min_wait);
	return text.empty() ? text : text.substr(1);
}

/* A copy of a descriptor of another process */
descriptor copy_of(int pidfd, int fd)
{
	return descriptor(static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, fd, 0)));
}

descriptor pidfd_of(pid_t pid)
{
	return descriptor(static_cast<int>(syscall(SYS_pidfd_open, pid, 0)));
}

/* The number may mean another file by now, which is not to get an ioctl of ours. */
bool is_ours(int fd)
{
	return process(getpid()).link(fmt::format("fd/{}", fd)) == ours_link;
}

/* Returns the copy of an instance of the module's, or none: errno then says why, if it may */
descriptor copy_of_instance(const process &of, int fd)
{
	if (of.link(fmt::format("fd/{}", fd)) != ours_link) {
		errno = EBADF;
		return {};
	}

	const descriptor pidfd = pidfd_of(of.pid());

	if (!pidfd)
		return {};

	descriptor copy = copy_of(pidfd.get(), fd);

	if (copy && !is_ours(copy.get())) {
		errno = EBADF;
		return {};
	}
	return copy;
}

/* The whole list, or false. */
bool list(int fd, std::vector<myepoll_watch> &to)
{
	for (std::size_t room = std::max<std::size_t>(to.size(), 16);; room += room / 2) {
		to.resize(room);

		const myepoll_list arg = {
			.watches = reinterpret_cast<std::uintptr_t>(to.data()),
			.room = static_cast<__u32>(room),
			.size = sizeof(myepoll_watch),
		};
		const int n = ioctl(fd, MYEPOLL_IOC_LIST, &arg);

		if (n < 0)
			return false;
		if (static_cast<std::size_t>(n) <= room) {
			to.resize(static_cast<std::size_t>(n));
			return true;
		}
		room = std::max(room, static_cast<std::size_t>(n));
	}
}

/*
 * The states of @raws, in their order. Both lists have the oldest first, and may have changed
 * in between: a watch is found again by its number and token.
 */
std::vector<std::optional<std::uint32_t>> states_of(const std::vector<raw_watch> &raws,
						    const std::vector<myepoll_watch> &listed)
{
	std::vector<std::optional<std::uint32_t>> states(raws.size());
	std::unordered_map<int, std::vector<const myepoll_watch *>> by_number;

	/* Backwards, so that the oldest one is at the end, where it is taken off. */
	for (auto w = listed.rbegin(); w != listed.rend(); ++w)
		by_number[w->fd].push_back(&*w);
	for (std::size_t i = 0; i < raws.size(); i++) {
		const auto at = by_number.find(raws[i].fd);

		if (at == by_number.end())
			continue;

		auto &same = at->second;
		const auto found = std::find_if(same.rbegin(), same.rend(), [&](const auto *w) {
			return w->data == raws[i].data;
		});

		if (found != same.rend()) {
			states[i] = (*found)->state;
			same.erase(std::next(found).base());
		}
	}
	return states;
}

/* Room for descriptors up to a number, until it is destroyed. */
class more_descriptors {
public:
	explicit more_descriptors(int highest)
	{
		const auto wanted = static_cast<rlim_t>(highest) + 16;

		getrlimit(RLIMIT_NOFILE, &before_);
		if (before_.rlim_cur >= wanted)
			return;

		rlimit more = { wanted, std::max(wanted, before_.rlim_max) };

		changed_ = !setrlimit(RLIMIT_NOFILE, &more);
		if (!changed_) {
			more.rlim_cur = more.rlim_max = before_.rlim_max;
			changed_ = !setrlimit(RLIMIT_NOFILE, &more);
		}
	}
	more_descriptors(const more_descriptors &) = delete;
	more_descriptors &operator=(const more_descriptors &) = delete;
	~more_descriptors()
	{
		if (changed_)
			setrlimit(RLIMIT_NOFILE, &before_);
	}

private:
	rlimit before_{};
	bool changed_ = false;
};

/* Moves @fd to a number that is not in @taken; -1 if there is none. */
int out_of_the_way(int fd, const std::unordered_set<int> &taken, int highest)
{
	while (fd >= 0 && taken.count(fd))
		fd = fcntl(fd, F_DUPFD_CLOEXEC, highest + 1);
	return fd;
}

/*
 * Lists the instance @fd, with the descriptors @numbers of a process at the same numbers.
 * In a thread of its own, whose table ends with it.
 */
bool list_in_table_of(int fd, int pidfd, const std::unordered_set<int> &numbers,
		      std::vector<myepoll_watch> &to)
{
	const int highest = *std::max_element(numbers.begin(), numbers.end());
	bool good = false;

	std::thread([&] {
		if (unshare(CLONE_FILES))
			return;
		fd = out_of_the_way(fd, numbers, highest);
		pidfd = out_of_the_way(pidfd, numbers, highest);
		if (fd < 0 || pidfd < 0)
			return;
		for (const int number : numbers) {
			const int got = static_cast<int>(syscall(SYS_pidfd_getfd, pidfd, number, 0));

			/* What is not open there is not to be open here. */
			if (got < 0)
				close(number);
			else if (got != number) {
				dup2(got, number);
				close(got);
			}
		}
		try {
			good = list(fd, to);
		} catch (const std::bad_alloc &) {
		}
	}).join();
	return good;
}

long compare_files(pid_t a, int fd_a, pid_t b, int fd_b)
{
	return syscall(SYS_kcmp, a, b, KCMP_FILE, fd_a, fd_b);
}

/* One instance, seen by all of its descriptors: the first is the one that is named. */
class examination {
public:
	examination(const std::vector<seen> &all, tool::describer &describer, tool::unseen &hidden)
		: all_(all), describer_(describer), hidden_(hidden), of_(all[0].pid)
	{
	}

	/* None if it is gone. */
	std::optional<tool::instance> result()
	{
		if (!read_watches())
			return {};
		result_.pid = all_[0].pid;
		result_.fd = all_[0].fd;
		result_.command = of_.command();
		result_.ours = all_[0].ours;
		for (auto one = all_.begin() + 1; one != all_.end(); ++one)
			result_.also.push_back({ one->pid, one->fd });
		if (result_.ours)
			ask_module();
		for (const raw_watch &raw : raws_)
			if (!result_.ours && raw.events & EPOLLONESHOT)
				result_.watches[static_cast<std::size_t>(&raw - raws_.data())].fired =
					!(raw.events & ~private_bits);
		look_at_descriptors();
		if (of_.link(fmt::format("fd/{}", result_.fd)).empty())
			return {};
		return std::move(result_);
	}

private:
	bool read_watches()
	{
		const int error = of_.lines(fmt::format("fdinfo/{}", all_[0].fd), [this](auto line) {
			raw_watch raw;

			if (line.starts_with("myepoll:")) {
				result_.options = parse_options(line);
			} else if (line.starts_with("tfd:") && parse_watch(line, raw)) {
				raws_.push_back(raw);
				result_.watches.push_back({ raw.fd, raw.events, raw.data, {}, false, 0, {}, {}, {} });
			}
			return true;
		});

		return !error;
	}

	void ask_module()
	{
		std::vector<myepoll_watch> listed;
		myepoll_info info{};

		copy_ = copy_of_instance(of_, result_.fd);
		if (!copy_) {
			if (errno != EBADF && errno != ESRCH)
				hidden_.instances++;
			return;
		}
		if (!ioctl(copy_.get(), MYEPOLL_IOC_INFO, &info)) {
			result_.number = static_cast<std::uint32_t>(info.instance);
			result_.adopted = info.flags & MYEPOLL_INFO_ADOPTED;
		}
		listed.resize(raws_.size());
		if (!list(copy_.get(), listed))
			return;

		const auto states = states_of(raws_, listed);

		for (std::size_t i = 0; i < states.size(); i++) {
			if (!states[i])
				continue;

			tool::watch &watch = result_.watches[i];

			watch.ready = *states[i] & MYEPOLL_WATCH_READY;
			watch.fired = *states[i] & MYEPOLL_WATCH_FIRED;
			watch.disabled = *states[i] & MYEPOLL_WATCH_DISABLED;
		}
	}

	/* In each process that has the instance, until all are found. */
	void look_at_descriptors()
	{
		std::vector<bool> found(raws_.size());
		std::vector<std::string> now(raws_.size());
		pid_t last = 0;

		for (const seen &one : all_) {
			if (one.pid == last)
				continue;
			last = one.pid;
			look_in(process(one.pid), found, now);
			if (std::find(found.begin(), found.end(), false) == found.end())
				return;
		}

		for (std::size_t i = 0; i < raws_.size(); i++) {
			if (found[i])
				continue;
			result_.watches[i].ghost = true;
			result_.watches[i].what = describer_.without_descriptor(of_, raws_[i].inode) +
						  (now[i].empty() ? "; closed" : "; now " + now[i]);
		}
	}

	void look_in(const process &in, std::vector<bool> &found, std::vector<std::string> &now)
	{
		std::vector<std::size_t> unsure;
		std::vector<std::string> what(raws_.size());

		for (std::size_t i = 0; i < raws_.size(); i++) {
			if (found[i])
				continue;

			const auto target = describer_.look(in, raws_[i].fd);

			if (!target)
				continue;
			what[i] = target->what;
			if (in.pid() == of_.pid())
				now[i] = target->what;
			if (!describer_.may_be(*target, raws_[i].inode))
				continue;
			found[i] = true;
			if (target->kind == tool::kind::anonymous ||
			    (!result_.ours && target->kind != tool::kind::socket))
				unsure.push_back(i);
		}
		if (result_.ours)
			compare_by_module(in, unsure, found);
		else
			compare_by_kernel(in, unsure, found);
		for (std::size_t i = 0; i < raws_.size(); i++) {
			tool::watch &watch = result_.watches[i];

			if (!found[i] || watch.pid)
				continue;
			watch.pid = in.pid();
			watch.what = std::move(what[i]);
		}
	}

	/* Who is unsure, and is another file, is not found after all. */
	void compare_by_module(const process &in, const std::vector<std::size_t> &unsure,
			       std::vector<bool> &found)
	{
		/* So many files of others are held at once. */
		constexpr std::size_t most = 16384;
		const descriptor pidfd = copy_ && !unsure.empty() ? pidfd_of(in.pid()) : descriptor();
		std::vector<myepoll_watch> listed;

		if (!pidfd)
			return;
		for (std::size_t begin = 0; begin < unsure.size(); begin += most) {
			const std::size_t end = std::min(unsure.size(), begin + most);
			std::unordered_set<int> numbers;

			for (std::size_t i = begin; i < end; i++)
				numbers.insert(raws_[unsure[i]].fd);

			const more_descriptors room(
				*std::max_element(numbers.begin(), numbers.end()));

			listed.resize(raws_.size());
			if (!list_in_table_of(copy_.get(), pidfd.get(), numbers, listed))
				return;

			const auto states = states_of(raws_, listed);

			for (std::size_t i = begin; i < end; i++) {
				const auto &state = states[unsure[i]];

				if (state && !(*state & MYEPOLL_WATCH_OPEN))
					found[unsure[i]] = false;
			}
		}
	}

	void compare_by_kernel(const process &in, const std::vector<std::size_t> &unsure,
			       std::vector<bool> &found)
	{
		/* The kernel looks for a watch from the first one on, so this is a square. */
		constexpr std::size_t most = 50000000;
		std::unordered_map<int, std::vector<std::size_t>> by_number;

		if (unsure.size() * raws_.size() > most)
			return;
		for (std::size_t i = 0; i < raws_.size(); i++)
			by_number[raws_[i].fd].push_back(i);
		for (const std::size_t i : unsure) {
			const auto &same = by_number[raws_[i].fd];
			/* Which of those with this number, in the order of fdinfo */
			const auto which = std::find(same.begin(), same.end(), i) - same.begin();
			const kcmp_epoll_slot slot = {
				.efd = static_cast<__u32>(all_[0].fd),
				.tfd = static_cast<__u32>(raws_[i].fd),
				.toff = static_cast<__u32>(which),
			};

			if (syscall(SYS_kcmp, in.pid(), of_.pid(), KCMP_EPOLL_TFD, raws_[i].fd, &slot) > 0)
				found[i] = false;
		}
	}

	const std::vector<seen> &all_;
	tool::describer &describer_;
	tool::unseen &hidden_;
	process of_;
	descriptor copy_;	/* of an instance of the module's, if we may have one */
	tool::instance result_{};
	std::vector<raw_watch> raws_;
};

/* All descriptors that are instances, in order. */
std::vector<seen> look_everywhere(std::optional<pid_t> of, tool::unseen &hidden)
{
	std::vector<seen> found;

	for (const pid_t pid : tool::all_processes()) {
		const process one(pid);
		int error;

		for (const int fd : one.descriptors(error)) {
			const std::string link = one.link(fmt::format("fd/{}", fd));

			if (link == ours_link || link == kernels_link)
				found.push_back({ pid, fd, link == ours_link });
		}
		/* Threads of the kernel have no descriptors. */
		if ((error == EACCES || error == EPERM) && !of)
			hidden.processes++;
	}
	return found;
}

/*
 * Puts those together that are one instance. The kernel orders files, but answers with an
 * error where a process has ended, so this is no comparison for std::sort().
 */
std::vector<std::vector<seen>> put_together(const std::vector<seen> &all)
{
	std::vector<std::vector<seen>> groups;
	std::vector<std::size_t> sorted; /* groups, in the kernel's order */

	for (const seen &one : all) {
		std::size_t low = 0, high = sorted.size();
		long order = 1;

		while (low < high) {
			const std::size_t middle = (low + high) / 2;
			const seen &other = groups[sorted[middle]][0];

			order = compare_files(one.pid, one.fd, other.pid, other.fd);
			if (order == 0) {
				groups[sorted[middle]].push_back(one);
				break;
			}
			if (order == 1)
				high = middle;
			else if (order == 2)
				low = middle + 1;
			else
				break;
		}
		if (order == 0)
			continue;
		if (low == high)
			sorted.insert(sorted.begin() + static_cast<std::ptrdiff_t>(low), groups.size());
		groups.push_back({ one });
	}
	return groups;
}

} // namespace

std::vector<tool::instance> tool::find_instances(std::optional<pid_t> of, unseen *hidden)
{
	std::vector<instance> found;
	unseen ignored;
	unseen &missed = hidden ? *hidden : ignored;
	describer describer;

	if (of) {
		const process one(*of);
		int error;

		one.descriptors(error);
		if (!one.there() || error == ESRCH || error == ENOENT)
			throw failure(failed, fmt::format("there is no process {}", *of));
		if (error)
			throw failure(failed, fmt::format("process {}: {}: it takes root, or its user",
							  *of, strerror(error)));
	}
	for (std::vector<seen> &group : put_together(look_everywhere(of, missed))) {
		if (of) {
			const auto first = std::find_if(group.begin(), group.end(),
							[&](const seen &one) { return one.pid == *of; });

			if (first == group.end())
				continue;
			std::rotate(group.begin(), first, first + 1);
		}
		if (auto one = examination(group, describer, missed).result())
			found.push_back(std::move(*one));
	}
	std::sort(found.begin(), found.end(), [](const instance &a, const instance &b) {
		return a.pid != b.pid ? a.pid < b.pid : a.fd < b.fd;
	});
	return found;
}

std::optional<std::uint32_t> tool::number_of(pid_t pid, int fd)
{
	const descriptor copy = copy_of_instance(process(pid), fd);
	myepoll_info info{};

	if (!copy || ioctl(copy.get(), MYEPOLL_IOC_INFO, &info))
		return {};
	return static_cast<std::uint32_t>(info.instance);
}

std::string tool::mask_text(std::uint32_t events)
{
	constexpr struct {
		std::uint32_t bit;
		const char *name;
	} names[] = {
		{ EPOLLIN, "IN" },		 { EPOLLPRI, "PRI" },	    { EPOLLOUT, "OUT" },
		{ EPOLLERR, "ERR" },		 { EPOLLHUP, "HUP" },	    { EPOLLRDNORM, "RDNORM" },
		{ EPOLLRDBAND, "RDBAND" },	 { EPOLLWRNORM, "WRNORM" }, { EPOLLWRBAND, "WRBAND" },
		{ EPOLLMSG, "MSG" },		 { EPOLLRDHUP, "RDHUP" },   { EPOLLEXCLUSIVE, "EXCLUSIVE" },
		{ EPOLLWAKEUP, "WAKEUP" },	 { EPOLLONESHOT, "ONESHOT" }, { EPOLLET, "ET" },
	};
	std::string text;

	for (const auto &one : names) {
		if (events & one.bit)
			text += fmt::format("|{}", one.name);
		events &= ~one.bit;
	}
	if (events)
		text += fmt::format("|{:#x}", events);
	return text.empty() ? "0" : text.substr(1);
}
