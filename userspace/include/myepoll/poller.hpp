// SPDX-License-Identifier: MIT
/**
 * @file poller.hpp
 * An epoll instance of the myepoll module.
 *
 * Each function has two forms. One takes a std::error_code and sets it, also to
 * no error; the other throws std::system_error. The codes are errno values in
 * std::system_category(), those of epoll_create1(2), epoll_ctl(2) and
 * epoll_pwait2(2); compare them with std::errc. Only an error that is thrown
 * allocates memory.
 *
 * Several threads may call member functions at a time, but not move, close() and
 * release(). Like the lock() of a std::mutex, the functions that several threads may
 * call are not const: they change the instance, and a wait takes events from it.
 */
#ifndef MYEPOLL_POLLER_HPP
#define MYEPOLL_POLLER_HPP

#include <myepoll/event.hpp>

#include <chrono>
#include <concepts>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <ratio>
#include <span>
#include <system_error>
#include <utility>

namespace myepoll {

/** What becomes of an instance when this process runs another program. */
enum class on_exec { close, keep };

class [[gnu::visibility("default")]] poller {
public:
	/**
	 * A new instance. Throws what opening /dev/myepoll (ENOENT, EACCES, ...) and
	 * epoll_create1(2) (EMFILE, ENFILE, ENOMEM) fail with.
	 */
	explicit poller(on_exec exec = on_exec::close);

	/** A new instance, or with @p ec set one that is not open. */
	[[nodiscard]] static poller create(std::error_code &ec,
					   on_exec exec = on_exec::close) noexcept;

	/** Take over a [myepoll] descriptor that came from elsewhere. */
	[[nodiscard]] static poller adopt(int fd) noexcept { return poller(fd, adopted{}); }

	poller(poller &&other) noexcept : fd_(std::exchange(other.fd_, closed)) {}
	poller &operator=(poller &&other) noexcept
	{
		poller(std::move(other)).swap(*this);
		return *this;
	}
	~poller() { close(); }

	void swap(poller &other) noexcept { std::swap(fd_, other.fd_); }
	friend void swap(poller &a, poller &b) noexcept { a.swap(b); }

	/** False after a move, close() or release(); every call then says EBADF. */
	[[nodiscard]] explicit operator bool() const noexcept { return fd_ != closed; }
	/** The descriptor, still owned, or -1. It can itself be polled. */
	[[nodiscard]] int native_handle() const noexcept { return fd_; }
	/** The descriptor, from now on the caller's to close, or -1. */
	[[nodiscard]] int release() noexcept { return std::exchange(fd_, closed); }
	void close() noexcept;

	/** Watch @p fd. Throws EEXIST, EPERM (cannot be polled), ELOOP, ENOSPC, ... */
	void add(int fd, interest what, token t);
	void add(int fd, interest what, token t, std::error_code &ec) noexcept;

	/** Replace interest and token of @p fd; re-arms oneshot and edge. Throws ENOENT, ... */
	void modify(int fd, interest what, token t);
	void modify(int fd, interest what, token t, std::error_code &ec) noexcept;

	/**
	 * Watch @p fd no longer. Throws ENOENT, ... Closing the last descriptor of a
	 * file does this too; closing one of several does not.
	 */
	void remove(int fd);
	void remove(int fd, std::error_code &ec) noexcept;

	/*
	 * Waiting
	 *
	 * Each form fills the front of @p room and returns that part, empty if the
	 * time was up. It blocks for no less than was asked: durations are rounded up
	 * to nanoseconds, negative ones are 0, those of more than 292 years saturate.
	 * Whole milliseconds take the shorter way into the module.
	 *
	 * A wait can also end early with nothing: after a signal handler, and after a
	 * stop and SIGCONT or a debugger that attached, with no handler at all. It is
	 * never restarted, since the caller may want to look at what a handler did. The
	 * forms that throw return an empty part then, as at the end of the time. The
	 * forms with an error_code set std::errc::interrupted (EINTR), for those who want
	 * to know. To go on for the rest of the time, wait_until() again.
	 *
	 * @p mask, if it is not null, is the thread's signal mask for the time of the
	 * call, as in epoll_pwait(2).
	 *
	 * These are cancellation points, and so not noexcept: pthread_cancel(3) unwinds.
	 */

	/** Wait for as long as it takes, but see above for what ends a wait early. */
	[[nodiscard]] std::span<event> wait(std::span<event> room, const sigset_t *mask = nullptr)
	{
		return wait_ns(room, forever, mask);
	}
	[[nodiscard]] std::span<event> wait(std::span<event> room, std::error_code &ec,
					    const sigset_t *mask = nullptr)
	{
		return wait_ns(room, forever, mask, ec);
	}

	/* A timeout is a duration, such as 0ms: a plain 0 would be a mask, the null one. */
	template <std::integral Number>
	std::span<event> wait(std::span<event>, Number) = delete; /* say 0ms */
	template <std::integral Number>
	std::span<event> wait(std::span<event>, Number, std::error_code &) = delete; /* say 0ms */
	template <std::integral Number>
	std::span<event> wait(std::span<event>, std::error_code &, Number) = delete; /* say 0ms, ec */
	std::span<event> wait(std::span<event>, std::nullptr_t) = delete; /* leave it out */

	/** Wait for @p timeout, of any unit; 0 only looks. */
	template <typename Rep, typename Period>
	[[nodiscard]] std::span<event> wait(std::span<event> room,
					    std::chrono::duration<Rep, Period> timeout,
					    const sigset_t *mask = nullptr)
	{
		return wait_ns(room, round_up(timeout), mask);
	}
	template <typename Rep, typename Period>
	[[nodiscard]] std::span<event> wait(std::span<event> room,
					    std::chrono::duration<Rep, Period> timeout,
					    std::error_code &ec, const sigset_t *mask = nullptr)
	{
		return wait_ns(room, round_up(timeout), mask, ec);
	}

	/**
	 * Wait until @p deadline. The clock is read once: one that is set meanwhile
	 * (std::chrono::system_clock) does not move the end.
	 */
	template <typename Clock, typename Duration>
	[[nodiscard]] std::span<event> wait_until(std::span<event> room,
						  std::chrono::time_point<Clock, Duration> deadline,
						  const sigset_t *mask = nullptr)
	{
		return wait_ns(room, left(deadline, Clock::now()), mask);
	}
	template <typename Clock, typename Duration>
	[[nodiscard]] std::span<event> wait_until(std::span<event> room,
						  std::chrono::time_point<Clock, Duration> deadline,
						  std::error_code &ec, const sigset_t *mask = nullptr)
	{
		return wait_ns(room, left(deadline, Clock::now()), mask, ec);
	}

	/** @p timeout in whole nanoseconds as the functions above pass it on. */
	template <typename Rep, typename Period>
	[[nodiscard]] static constexpr std::int64_t
	round_up(std::chrono::duration<Rep, Period> timeout) noexcept
	{
		using std::chrono::duration;
		/* Converting 300 years of hours to ns would overflow before it could be
		   compared; a double is no more than 1 part in 2^53 off the mark. */
		constexpr double limit = 9.2233720368e9;
		const double seconds = duration<double>(timeout).count();

		if (seconds <= 0)
			return 0;
		if (!(seconds < limit))
			return std::numeric_limits<std::int64_t>::max();
		/* In two parts: 1/44100 s, times what makes it ns, would overflow within a year. */
		const auto whole = std::chrono::floor<duration<std::int64_t>>(timeout);

		return whole.count() * 1'000'000'000 +
		       std::chrono::ceil<duration<std::int64_t, std::nano>>(timeout - whole).count();
	}

private:
	struct adopted {};
	static constexpr int closed = -1;
	static constexpr std::int64_t forever = -1;

	/*
	 * A deadline may be centuries away, and its unit so fine that the present time
	 * does not fit, or that the difference of the two overflows. Even comparing them
	 * would overflow. So seconds in a double decide first.
	 */
	template <typename Deadline, typename Now>
	static constexpr std::int64_t left(Deadline deadline, Now now) noexcept
	{
		using seconds = std::chrono::duration<double>;
		using common = typename std::common_type_t<Deadline, Now>::duration;
		const seconds end(deadline.time_since_epoch()), start(now.time_since_epoch());
		const seconds limit = seconds(common::max()) / 2;

		if (end <= start - std::chrono::seconds(1))
			return 0;
		if (!(end < limit && start < limit && -limit < start))
			return round_up(end - start);
		return deadline > now ? round_up(deadline - now) : 0;
	}

	poller(int fd, adopted) noexcept : fd_(fd) {}

	std::span<event> wait_ns(std::span<event> room, std::int64_t ns, const sigset_t *mask);
	std::span<event> wait_ns(std::span<event> room, std::int64_t ns, const sigset_t *mask,
				 std::error_code &ec);

	int fd_;
};

} // namespace myepoll

#endif // MYEPOLL_POLLER_HPP
