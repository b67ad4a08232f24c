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

namespace myepoll {

namespace {

constexpr std::int64_t ns_per_s = 1'000'000'000;
constexpr std::int64_t ns_per_ms = 1'000'000;
/* epoll's limit; a span is rarely that long, but its size need not fit an int */
constexpr std::size_t max_events = std::numeric_limits<int>::max() / sizeof(event);

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
	std::error_code ec;

	add(fd, what, t, ec);
	check(ec, "myepoll::poller::add");
}

void poller::modify(int fd, interest what, token t)
{
	std::error_code ec;

	modify(fd, what, t, ec);
	check(ec, "myepoll::poller::modify");
}

void poller::remove(int fd)
{
	std::error_code ec;

	remove(fd, ec);
	check(ec, "myepoll::poller::remove");
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
	std::error_code ec;
	const auto filled = wait_ns(room, ns, mask, ec);

	/* Not an exception: a stop and continue is enough for it, without any handler. */
	if (ec != std::errc::interrupted)
		check(ec, "myepoll::poller::wait");
	return filled;
}

} // namespace myepoll
