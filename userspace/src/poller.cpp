// SPDX-License-Identifier: MIT
/*
 * libmyepoll++ - myepoll::poller over the C library
 */
#include <myepoll/poller.hpp>

#include <myepoll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <type_traits>

namespace myepoll {

namespace {

constexpr std::int64_t ns_per_s = 1'000'000'000;
constexpr std::int64_t ns_per_ms = 1'000'000;
/* epoll's limit; a span is rarely that long, but its size need not fit an int */
constexpr std::size_t max_events = std::numeric_limits<int>::max() / sizeof(event);
/* Nor need that of changes; a turn that leaves some out says so. */
constexpr std::size_t max_changes = std::numeric_limits<std::uint32_t>::max();

int flags(on_exec exec) noexcept
{
	return exec == on_exec::close ? EPOLL_CLOEXEC : 0;
}

std::error_code code(int result) noexcept
{
	return result < 0 ? std::error_code(errno, std::system_category()) : std::error_code();
}

int ctl(int epfd, int op, int fd, interest what, token t) noexcept
{
	epoll_event event{static_cast<std::uint32_t>(what), {}};

	event.data.u64 = t.value();
	return myepoll_ctl(epfd, op, fd, &event);
}

void check(const std::error_code &ec, const char *what)
{
	if (ec)
		throw std::system_error(ec, what);
}

/* The form that throws of @call, which sets an error_code. */
template <typename Call>
auto throwing(const char *what, Call call)
{
	std::error_code ec;

	if constexpr (std::is_void_v<decltype(call(ec))>) {
		call(ec);
		check(ec, what);
	} else {
		const auto result = call(ec);

		check(ec, what);
		return result;
	}
}

/*
 * The same for a wait. EINTR is no exception: a stop and continue is enough for it, without
 * any handler.
 */
template <typename Call>
auto waiting(const char *what, Call call)
{
	return throwing(what, [&](std::error_code &ec) {
		const auto result = call(ec);

		if (ec == std::errc::interrupted)
			ec.clear();
		return result;
	});
}

} // namespace

poller::poller(on_exec exec) : fd_(myepoll_create1(flags(exec)))
{
	check(code(fd_), "myepoll::poller");
}

poller poller::create(std::error_code &ec, on_exec exec) noexcept
{
	const int fd = myepoll_create1(flags(exec));

	ec = code(fd);
	return adopt(fd);
}

void poller::close() noexcept
{
	if (fd_ == closed)
		return;
	/* Code that a destructor follows may still want its errno. */
	const int saved = errno;
	/* close(3) is a cancellation point: to unwind from here would end the program. */
	::syscall(SYS_close, release());
	errno = saved;
}

void poller::add(int fd, interest what, token t, std::error_code &ec) noexcept
{
	ec = code(ctl(fd_, EPOLL_CTL_ADD, fd, what, t));
}

void poller::modify(int fd, interest what, token t, std::error_code &ec) noexcept
{
	ec = code(ctl(fd_, EPOLL_CTL_MOD, fd, what, t));
}

void poller::remove(int fd, std::error_code &ec) noexcept
{
	ec = code(myepoll_ctl(fd_, EPOLL_CTL_DEL, fd, nullptr));
}

void poller::add(int fd, interest what, token t)
{
	throwing("myepoll::poller::add", [&](auto &ec) { add(fd, what, t, ec); });
}

void poller::modify(int fd, interest what, token t)
{
	throwing("myepoll::poller::modify", [&](auto &ec) { modify(fd, what, t, ec); });
}

void poller::remove(int fd)
{
	throwing("myepoll::poller::remove", [&](auto &ec) { remove(fd, ec); });
}

void poller::set(int fd, interest what, token t, std::error_code &ec) noexcept
{
	ec = code(ctl(fd_, MYEPOLL_CTL_SET, fd, what, t));
}

void poller::disable(int fd, std::error_code &ec) noexcept
{
	/* With an event, which the fast door reads. */
	ec = code(ctl(fd_, MYEPOLL_CTL_DISABLE, fd, interest::none, token()));
}

void poller::drop(token t, std::error_code &ec) noexcept
{
	ec = code(ctl(fd_, MYEPOLL_CTL_DROP, -1, interest::none, t));
}

void poller::set(int fd, interest what, token t)
{
	throwing("myepoll::poller::set", [&](auto &ec) { set(fd, what, t, ec); });
}

void poller::disable(int fd)
{
	throwing("myepoll::poller::disable", [&](auto &ec) { disable(fd, ec); });
}

void poller::drop(token t)
{
	throwing("myepoll::poller::drop", [&](auto &ec) { drop(t, ec); });
}

feature poller::features(std::error_code &ec) const noexcept
{
	std::uint64_t bits = 0;

	ec = code(myepoll_features(fd_, &bits));
	return static_cast<feature>(bits);
}

feature poller::features() const
{
	return throwing("myepoll::poller::features", [&](auto &ec) { return features(ec); });
}

void poller::set_options(const options &o, std::error_code &ec) noexcept
{
	const auto us = o.min_wait.count();
	struct myepoll_options raw{};

	if (us < 0 || us > MYEPOLL_MAX_MIN_WAIT) {
		ec.assign(EINVAL, std::system_category());
		return;
	}
	raw.flags = (o.fair ? MYEPOLL_OPT_FAIR : 0U) | (o.balance ? MYEPOLL_OPT_BALANCE : 0U);
	raw.min_wait = static_cast<std::uint32_t>(us);
	ec = code(myepoll_set_options(fd_, &raw));
}

void poller::set_options(const options &o)
{
	throwing("myepoll::poller::set_options", [&](auto &ec) { set_options(o, ec); });
}

options poller::get_options(std::error_code &ec) const noexcept
{
	struct myepoll_options raw{};
	options o;

	ec = code(myepoll_get_options(fd_, &raw));
	o.fair = raw.flags & MYEPOLL_OPT_FAIR;
	o.balance = raw.flags & MYEPOLL_OPT_BALANCE;
	o.min_wait = std::chrono::microseconds(raw.min_wait);
	return o;
}

options poller::get_options() const
{
	return throwing("myepoll::poller::get_options", [&](auto &ec) { return get_options(ec); });
}

listed poller::list(std::span<watch> room, std::error_code &ec) const noexcept
{
	const auto size = std::min(room.size(), max_changes);
	const int n = myepoll_list(fd_, reinterpret_cast<struct myepoll_watch *>(room.data()),
				   static_cast<unsigned>(size));
	const auto total = static_cast<std::size_t>(std::max(n, 0));

	ec = code(n);
	return { room.first(std::min(total, size)), total };
}

listed poller::list(std::span<watch> room) const
{
	return throwing("myepoll::poller::list", [&](auto &ec) { return list(room, ec); });
}

std::span<event> poller::wait_ns(std::span<event> room, std::int64_t ns, const sigset_t *mask,
				 std::error_code &ec)
{
	auto *const events = reinterpret_cast<epoll_event *>(room.data());
	const int max = static_cast<int>(std::min(room.size(), max_events));
	int n;

	if (!mask && ns <= 0) {
		/* The commonest: for ever, and not at all */
		n = myepoll_wait(fd_, events, max, static_cast<int>(ns));
	} else if (!mask && ns % ns_per_ms == 0 &&
		   ns / ns_per_ms <= std::numeric_limits<int>::max()) {
		n = myepoll_wait(fd_, events, max, static_cast<int>(ns / ns_per_ms));
	} else {
		const timespec timeout{static_cast<std::time_t>(ns / ns_per_s),
				       static_cast<long>(ns % ns_per_s)};

		n = myepoll_pwait2(fd_, events, max, ns < 0 ? nullptr : &timeout, mask);
	}

	ec = code(n);
	return room.first(static_cast<std::size_t>(std::max(n, 0)));
}

std::span<event> poller::wait_ns(std::span<event> room, std::int64_t ns, const sigset_t *mask)
{
	return waiting("myepoll::poller::wait", [&](auto &ec) { return wait_ns(room, ns, mask, ec); });
}

turned poller::turn_ns(changes_ref changes, std::span<event> room, std::int64_t ns,
		       const sigset_t *mask, std::error_code &ec)
{
	const auto all = changes.set_ ? changes.set_->pending() : changes.span_;
	struct myepoll_turn arg{};

	arg.changes = reinterpret_cast<std::uintptr_t>(all.data());
	arg.nchanges = static_cast<std::uint32_t>(std::min(all.size(), max_changes));
	arg.events = reinterpret_cast<std::uintptr_t>(room.data());
	arg.maxevents = static_cast<std::int32_t>(std::min(room.size(), max_events));
	arg.timeout = ns;
	if (mask) {
		std::memcpy(&arg.sigmask, mask, sizeof(arg.sigmask));
		arg.flags = MYEPOLL_TURN_SIGMASK;
	}
	if (changes.stop_)
		arg.flags |= MYEPOLL_TURN_STOP;

	/* A thread that is cancelled while it waits has made them. */
	if (changes.set_)
		changes.set_->made(all.size());

	const int n = myepoll_turn(fd_, &arg);

	ec = code(n);
	if (changes.set_)
		changes.set_->made(arg.done);
	return { room.first(static_cast<std::size_t>(std::max(n, 0))), all.first(arg.done), arg.failed };
}

turned poller::turn_ns(changes_ref changes, std::span<event> room, std::int64_t ns,
		       const sigset_t *mask)
{
	return waiting("myepoll::poller::turn",
		       [&](auto &ec) { return turn_ns(changes, room, ns, mask, ec); });
}

/* Without room for events, a turn is no cancellation point. */
turned poller::apply(changes_ref changes, std::error_code &ec) noexcept
{
	return turn_ns(changes, {}, 0, nullptr, ec);
}

turned poller::apply(changes_ref changes)
{
	return throwing("myepoll::poller::apply", [&](auto &ec) { return apply(changes, ec); });
}

} // namespace myepoll
