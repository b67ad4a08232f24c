// SPDX-License-Identifier: GPL-2.0
//
// What epoll does not have: DROP, DISABLE and turns. For the native twin this file makes
// them of calls that epoll does have, as their definitions in uapi/myepoll.h say. It looks
// at what the kernel itself tells of its instance (fdinfo and kcmp(2)), and keeps no list
// of watches that could be wrong.
#include "execute.hpp"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <sstream>

#include <fcntl.h>
#include <linux/kcmp.h>
#include <poll.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "calls.hpp"
#include "uapi/myepoll.h"

using namespace arg;

namespace {

constexpr std::uint32_t private_bits = EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE;

// A sequence's tokens are 32 bits, twice.
std::uint64_t token_of(std::uint64_t low)
{
	return (low & 0xffffffff) * 0x1'0000'0001;
}

} // namespace

std::vector<Twin::Watch> Twin::watches(int ep)
{
	std::istringstream lines(fdinfo(ep));
	std::vector<Watch> found;

	for (std::string line; std::getline(lines, line);) {
		Watch watch{};
		unsigned long long data;
		int end = 0;
		if (std::sscanf(line.c_str(), "tfd: %d events: %x data: %llx%n", &watch.fd, &watch.events,
				&data, &end) != 3)
			continue;
		watch.data = data;
		watch.rest = line.substr(static_cast<std::size_t>(end));
		for (const Watch &other : found)
			watch.nth += other.fd == watch.fd;
		found.push_back(std::move(watch));
	}
	return found;
}

// Is that descriptor of that process the file that is watched?
bool Twin::leads_to(pid_t pid, int fd, int ep, const Watch &watch)
{
	kcmp_epoll_slot slot{ static_cast<std::uint32_t>(ep), static_cast<std::uint32_t>(watch.fd), watch.nth };
	long r = sys(SYS_kcmp, pid, getpid(), KCMP_EPOLL_TFD, fd, &slot);

	if (r < 0 && r != -EBADF && r != -ESRCH)
		must(r, "kcmp");
	return r == 0;
}

// A new descriptor of a watched file that is open somewhere: here, or in a child
int Twin::reach(int ep, const Watch &watch)
{
	for (unsigned i = 0; i < slots; i++)
		if (leads_to(getpid(), fd_of(i), ep, watch))
			return fcntl(fd_of(i), F_DUPFD_CLOEXEC, high);
	for (int fd : inotify_)
		if (leads_to(getpid(), fd, ep, watch))
			return fcntl(fd, F_DUPFD_CLOEXEC, high);
	for (const Child &child : children_)
		for (unsigned i = 0; i < slots; i++) {
			if (child.dead || !leads_to(child.pid, fd_of(i), ep, watch))
				continue;
			int process = must(sys(SYS_pidfd_open, child.pid, 0), "pidfd_open");
			int fd = must(sys(SYS_pidfd_getfd, process, fd_of(i), 0), "pidfd_getfd");
			::close(process);
			return raised(fd);
		}
	return -1;
}

// DEL. Where the number of the watch is not its file any more, it is so for the moment.
void Twin::remove(int ep, const Watch &watch)
{
	const int fd = watch.fd;

	if (leads_to(getpid(), fd, ep, watch)) {
		must(sys(SYS_epoll_ctl, ep, EPOLL_CTL_DEL, fd, nullptr), "DEL");
		return;
	}
	const int file = must(reach(ep, watch), "a watched file that is open nowhere");
	const int flags = fcntl(fd, F_GETFD);
	const int saved = flags < 0 ? -1 : must(fcntl(fd, F_DUPFD_CLOEXEC, high), "dup");
	must(dup2(file, fd), "dup2");
	must(sys(SYS_epoll_ctl, fd == ep ? saved : ep, EPOLL_CTL_DEL, fd, nullptr), "DEL");
	if (saved < 0) {
		::close(fd);
	} else {
		must(dup3(saved, fd, flags & FD_CLOEXEC ? O_CLOEXEC : 0), "dup3");
		::close(saved);
	}
	::close(file);
}

std::optional<Twin::Watch> Twin::watch_of(int ep, int fd)
{
	for (Watch &watch : watches(ep))
		if (watch.fd == fd && leads_to(getpid(), fd, ep, watch))
			return std::move(watch);
	return {};
}

// A disabled watch lives and dies as any other does, and reports nothing. So it moves to
// an instance that nobody asks, the shadow, which keeps its mask beside its token. Nobody
// watches an instance by a disabled watch (may()): that would be missing in the graph.
int Twin::shadow_of(int ep)
{
	const std::uint16_t desc = slot_[ep - slot_base].desc;

	for (const Shadow &shadow : shadows_)
		if (shadow.desc == desc)
			return shadow.fd;
	return -1;
}

int Twin::make_shadow(int ep)
{
	const int there = shadow_of(ep);

	if (there >= 0)
		return there;
	shadows_.push_back({ slot_[ep - slot_base].desc, raised(must(create_native(0), "a shadow")) });
	return shadows_.back().fd;
}

// What fdinfo is to show of disabled watches
std::string Twin::disabled_lines(int ep)
{
	const int shadow = native_ ? shadow_of(ep) : -1;
	std::string text;

	if (shadow < 0)
		return text;
	for (const Watch &watch : watches(shadow)) {
		char start[64];
		std::snprintf(start, sizeof start, "tfd: %8d events: %8x data: %16llx", watch.fd,
			      static_cast<unsigned>(watch.data >> 32),
			      static_cast<unsigned long long>(token_of(watch.data)));
		text += start + watch.rest + "\n";
	}
	return text;
}

long Twin::drop(int ep, std::uint64_t token)
{
	const int shadow = shadow_of(ep);
	long r = -ENOENT;

	// One after the other, since what is left is counted anew.
	for (const int from : { ep, shadow })
		for (bool again = from >= 0; again;) {
			again = false;
			for (const Watch &watch : watches(from)) {
				if ((from == ep ? watch.data : token_of(watch.data)) != token)
					continue;
				remove(from, watch);
				r = 0;
				again = true;
				break;
			}
		}
	return r;
}

long Twin::disable(int ep, int fd)
{
	const std::optional<Watch> watch = watch_of(ep, fd);

	if (!watch)
		return -ENOENT;
	if (!(watch->events & EPOLLONESHOT))
		return -EINVAL;
	const std::uint32_t mask = watch->events & private_bits;
	epoll_event event{};
	event.events = mask;
	event.data.u64 = std::uint64_t{ mask } << 32 | (watch->data & 0xffffffff);
	const int shadow = make_shadow(ep);
	must(sys(SYS_epoll_ctl, ep, EPOLL_CTL_DEL, fd, nullptr), "DEL");
	must(sys(SYS_epoll_ctl, shadow, EPOLL_CTL_ADD, fd, &event), "ADD to a shadow");
	return watch->events & ~private_bits ? 0 : -EBUSY;
}

// What a disabled watch answers
long Twin::refused(int op, std::uint32_t events)
{
	const bool exclusive = events & EPOLLEXCLUSIVE;

	switch (op) {
	case EPOLL_CTL_ADD:
		return exclusive && events & ~exclusive_bits ? -EINVAL : -EEXIST;
	case EPOLL_CTL_MOD:
	case MYEPOLL_CTL_SET:
		return exclusive ? -EINVAL : -ECANCELED;
	case MYEPOLL_CTL_DISABLE:
		return -EALREADY;
	}
	return -EINVAL;
}

// An operation on the kernel's epoll that has, or may meet, what epoll does not have
long Twin::stand_in(int ep, int op, int fd, const void *event, bool bad)
{
	constexpr int unknown = 4;

	// An operation that epoll does not know fails last, after all that is checked first.
	const long first = sys(SYS_epoll_ctl, ep, op == EPOLL_CTL_DEL ? op : unknown, fd, event);
	epoll_event given{};
	if (!bad && event)
		std::memcpy(&given, event, sizeof given);

	if (op == MYEPOLL_CTL_DROP) {
		if (first != -EBADF)
			return first;
		return fd == -1 ? drop(ep, given.data.u64) : -EINVAL;
	}
	const int shadow = shadow_of(ep);
	if (op == EPOLL_CTL_DEL)
		return first == -ENOENT && shadow >= 0 ? sys(SYS_epoll_ctl, shadow, op, fd, event) : first;
	if (first != -EINVAL)
		return first;
	if (shadow >= 0 && watch_of(shadow, fd))
		return refused(op, given.events);
	if (op == MYEPOLL_CTL_DISABLE)
		return disable(ep, fd);
	if (op != MYEPOLL_CTL_SET)
		return sys(SYS_epoll_ctl, ep, op, fd, event);
	long r = sys(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, fd, event);
	return r == -EEXIST ? sys(SYS_epoll_ctl, ep, EPOLL_CTL_MOD, fd, event) : r;
}

// Where something can stand in for it. A file that is on its way through a socket, or
// is held by a thread's call alone, is nowhere to be reached; and a received instance is
// not known for what it is.
bool Twin::may(int op, Kind fd) const
{
	if (op == MYEPOLL_CTL_DROP)
		return !sent_ && !any_waiter();
	if (op == MYEPOLL_CTL_DISABLE)
		return !sent_ && fd != Kind::instance && fd != Kind::foreign;
	return true;
}

// struct Turn - one turn, and what came of it
struct Twin::Turn {
	std::uint32_t door;
	int ep;
	Kind kind;
	bool stop;
	std::vector<myepoll_change> changes;
	void *events;
	int max;
	std::uint32_t timeout;
	const std::uint64_t *mask;
	long r = 0;
	std::uint32_t done = 0, failed = 0;
};

// What a turn is: its changes one after the other, and the wait
void Twin::by_single_calls(Turn &turn)
{
	const bool native = native_ || turn.kind == Kind::foreign;

	for (myepoll_change &change : turn.changes) {
		epoll_event event{};
		event.events = change.events;
		event.data.u64 = change.data;
		change.result = static_cast<int>(
			ctl(native, turn.door, turn.ep, change.op, change.fd, &event, false));
		turn.done++;
		turn.failed += change.result < 0;
		settle_waiters();
		if (turn.stop && turn.failed)
			break;
	}
	if (turn.max)
		turn.r = wait(native, turn.door, turn.ep, is::pwait2, turn.events, turn.max,
			      turn.failed ? +is::now : turn.timeout, turn.mask);
}

void Twin::at_once(Turn &turn)
{
	const bool fast = turn.door == is::fast || turn.door == is::fast_turn;
	myepoll_turn argument{};

	argument.changes = address(turn.changes.data());
	argument.nchanges = static_cast<std::uint32_t>(turn.changes.size());
	argument.events = address(turn.events);
	argument.maxevents = turn.max;
	argument.timeout = turn.timeout == is::now ? 0 : 1;
	argument.flags = (turn.stop ? MYEPOLL_TURN_STOP : 0) | (turn.mask ? MYEPOLL_TURN_SIGMASK : 0);
	argument.sigmask = turn.mask ? *turn.mask : 0;
	argument.done = argument.failed = TurnHead::none;
	turn.r = this->turn(fast ? is::fast_turn : is::turn, turn.ep, &argument, sizeof argument);
	turn.done = argument.done;
	turn.failed = argument.failed;
}

void Twin::do_turn(const Op &op)
{
	constexpr int most = 64;
	constexpr char poison = '\xa5';
	constexpr std::size_t watched = (most + 1) * sizeof(epoll_event);
	const Kind k = kind(op.a[turn_ep]);
	const std::uint64_t mask = signal_set(op.a[turn_mask]);
	std::vector<int> disabled;
	Turn turn{};

	turn.door = op.a[turn_door];
	turn.ep = fd_of(op.a[turn_ep]);
	turn.kind = k;
	turn.stop = op.a[turn_stop];
	turn.events = hostile_.base;
	turn.max = static_cast<int>(op.a[turn_max] % (most + 1));
	turn.timeout = op.a[turn_timeout] % 2 ? +is::ms : +is::now; // a nanosecond
	turn.mask = op.a[turn_mask] & 8 ? &mask : nullptr;
	std::memset(hostile_.base, poison, watched);

	for (const Op &change : changes_) {
		const Kind fd = kind(change.a[change_fd]);
		const int what = operation(change.a[change_op]);
		// do_ctl() says what is to be done with an instance of the kernel's as target.
		if (k == Kind::instance && (fd == Kind::foreign || !may(what, fd)))
			continue;
		std::uint32_t events = change.a[change_events];
		if (k == Kind::foreign && fd == Kind::instance)
			events &= ~EPOLLEXCLUSIVE;
		turn.changes.push_back({ what, fd_of(change.a[change_fd]), events, TurnHead::none,
					 token_of(change.a[change_data]) });
		if (k == Kind::instance && what == MYEPOLL_CTL_DISABLE)
			disabled.push_back(turn.changes.back().fd);
	}
	changes_.clear();
	disabled_ |= !disabled.empty();

	const bool an_instance = k == Kind::instance || k == Kind::foreign;
	const bool single = native_ || k == Kind::foreign || turn.door == is::adopt;
	if (!an_instance && single)
		turn.r = sys(SYS_epoll_wait, turn.ep, turn.events, 1, 0);
	// A waiter may have its event before the next change, or after all of them.
	else if (single || (an_instance && any_waiter()))
		by_single_calls(turn);
	else
		at_once(turn);
	// As in do_ctl()
	for (int fd : disabled) {
		pollfd polled{ fd, POLLIN, 0 };
		poll(&polled, 1, 0);
	}
	if (!an_instance) {
		answer_for(k, Kind::other, turn.r);
		return;
	}

	TurnHead head{ static_cast<std::uint32_t>(turn.changes.size()), turn.done, turn.failed, 1 };
	const std::size_t bytes = turn.r > 0 ? static_cast<std::size_t>(turn.r) * sizeof(epoll_event) : 0;
	for (std::size_t i = std::min(bytes, watched); i < watched; i++)
		head.untouched &= hostile_.base[i] == poison;
	std::string seen(reinterpret_cast<const char *>(&head), sizeof head);
	for (const myepoll_change &change : turn.changes)
		seen.append(reinterpret_cast<const char *>(&change.result), sizeof change.result);
	seen.append(hostile_.base, std::min(bytes, watched));
	answer_for(k, Kind::other, turn.r, seen.data(), static_cast<std::uint32_t>(seen.size()));
}
