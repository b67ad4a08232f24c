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
 *
 * With -fno-exceptions the forms with a std::error_code are the ones to use: an error of
 * the others ends the program, as the library throws and nobody can catch.
 */
#ifndef MYEPOLL_POLLER_HPP
#define MYEPOLL_POLLER_HPP

#include <myepoll/change.hpp>
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
#include <type_traits>
#include <utility>

namespace myepoll {

/** What becomes of an instance when this process runs another program. */
enum class on_exec { close, keep };

/** How an instance differs from epoll's. Beside min_wait, they hold for what is added from then on. */
struct options {
	/**
	 * Threads that wait are woken in the order in which they fell asleep; instances that
	 * watch a file with interest::exclusive take turns.
	 */
	bool fair = false;
	/** Listening sockets are watched as if with interest::exclusive, and by turns. */
	bool balance = false;
	/**
	 * A wait that may sleep gathers events for that long, unless its room is full before.
	 * 0 to 65535 us.
	 */
	std::chrono::microseconds min_wait{0};

	friend bool operator==(const options &, const options &) = default;
};

/** One watch, in memory a struct myepoll_watch; see poller::list(). */
class watch {
public:
	[[nodiscard]] myepoll::token token() const noexcept { return myepoll::token(raw_.data); }
	/** The number that it was added under. */
	[[nodiscard]] int fd() const noexcept { return raw_.fd; }
	/** What it is watched for, with EPOLLERR and EPOLLHUP, which always are. */
	[[nodiscard]] interest what() const noexcept { return static_cast<interest>(raw_.events); }
	/** The next wait looks at it. */
	[[nodiscard]] bool ready() const noexcept { return raw_.state & MYEPOLL_WATCH_READY; }
	/** One-shot, has fired, and is not armed again. */
	[[nodiscard]] bool fired() const noexcept { return raw_.state & MYEPOLL_WATCH_FIRED; }
	[[nodiscard]] bool disabled() const noexcept { return raw_.state & MYEPOLL_WATCH_DISABLED; }
	/** fd() still means that file, in this process. If not, drop() removes the watch. */
	[[nodiscard]] bool open() const noexcept { return raw_.state & MYEPOLL_WATCH_OPEN; }

	[[nodiscard]] const myepoll_watch &raw() const noexcept { return raw_; }

private:
	myepoll_watch raw_{};
};

static_assert(sizeof(watch) == sizeof(myepoll_watch) && std::is_standard_layout_v<watch> &&
	      std::is_trivially_copyable_v<watch>);

/** What poller::list() found: as many as there was room for, of so many. */
struct listed {
	std::span<watch> watches;
	std::size_t total = 0;
};

/** What a turn did. */
struct turned {
	std::span<event> events; /**< the front of the room, filled */
	std::span<change> tried; /**< the changes that were made or tried, with their results */
	std::size_t failed = 0;	 /**< so many of these have failed */
};

/**
 * An instance, with what epoll can do and the module beyond that. It says what is ready, and whoever
 * calls it acts. What event loops have besides is left to them:
 *
 *	callbacks, executors, run()	are what a loop is made of, and each has its own. One that
 *					is there already runs a poller by its native_handle(), which
 *					is readable while a wait would find events
 *					(examples/asio-echo-server.cpp).
 *	co_await			A coroutine is resumed by whoever owns it, which is again
 *					the loop. It takes a page: examples/coro-echo-server.cpp.
 *	timers				wait_until() takes the nearest deadline. The heap or wheel
 *					that knows it depends on how many there are.
 *	signals				A signalfd(2) can be watched, and waits take a mask.
 *	a watch that ends in a		Closing the descriptor ends it. An object would have to know
 *	destructor			that its number is not another file's meanwhile; drop()
 *					removes what is left by its token.
 *	a handle for other threads	They use the poller itself. waker ends a wait of theirs.
 *	a hook for fork()		The child has the same instance, and what it changes is
 *					changed for both. If it is not meant to, it makes one of its
 *					own and closes this one.
 *	refusal of a descriptor that	interest::exclusive and options::balance are for just that.
 *	another instance watches
 *	std::expected			The libraries are C++20.
 *	busy polling			is for few: ioctl(2) with EPIOCSPARAMS on native_handle().
 */
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
	 * What epoll does not have. A module that is older says EINVAL to set(), disable() and
	 * drop(), and ENOTTY to what comes later; features() says beforehand.
	 */

	/** add(), or modify() if @p fd is watched already. */
	void set(int fd, interest what, token t);
	void set(int fd, interest what, token t, std::error_code &ec) noexcept;

	/**
	 * No wait returns an event of this one-shot watch from now on. Afterwards nobody has one
	 * either, and what the token points to may be freed; or it throws EBUSY, and somebody has:
	 * he learns of it when he arms it again, by modify() or set(), which throw ECANCELED. Throws
	 * EALREADY (was disabled before), ENOENT, EINVAL (not one-shot).
	 */
	void disable(int fd);
	void disable(int fd, std::error_code &ec) noexcept;

	/**
	 * Remove all watches with this token, of open descriptors or not. Throws ENOENT. Takes
	 * time in proportion to the number of watches.
	 */
	void drop(token t);
	void drop(token t, std::error_code &ec) noexcept;

	/** What the module can do; throws EINVAL where this is no [myepoll] instance. */
	[[nodiscard]] feature features() const;
	[[nodiscard]] feature features(std::error_code &ec) const noexcept;

	/** Replace all options. Throws EINVAL for a min_wait out of its range. */
	void set_options(const options &o);
	void set_options(const options &o, std::error_code &ec) noexcept;
	[[nodiscard]] options get_options() const;
	[[nodiscard]] options get_options(std::error_code &ec) const noexcept;

	/** The watches, oldest first, into @p room; an empty one only counts. */
	[[nodiscard]] listed list(std::span<watch> room) const;
	[[nodiscard]] listed list(std::span<watch> room, std::error_code &ec) const noexcept;

	/**
	 * Make changes, in their order, without waiting. One that fails is no error of the call:
	 * turned::failed and turned::tried say.
	 */
	turned apply(changes_ref changes);
	turned apply(changes_ref changes, std::error_code &ec) noexcept;

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

	/*
	 * Turns
	 *
	 * Make changes as by apply(), and then wait as by wait(), in one call. @p changes are a
	 * span or array of change, or a change_set, which is empty when it is used again. If a change
	 * fails the wait only looks: turned::failed is not 0 then, the events are there as well,
	 * and nothing is thrown for it. until_failure(changes) makes none behind the first that
	 * fails. If a signal ends the wait, all changes have been tried. With an empty @p room the
	 * changes are all.
	 *
	 * turn(changes, room, ...) takes what wait(room, ...) takes.
	 */

	[[nodiscard]] turned turn(changes_ref changes, std::span<event> room, const sigset_t *mask = nullptr)
	{
		return turn_ns(changes, room, forever, mask);
	}
	[[nodiscard]] turned turn(changes_ref changes, std::span<event> room, std::error_code &ec,
				  const sigset_t *mask = nullptr)
	{
		return turn_ns(changes, room, forever, mask, ec);
	}

	template <std::integral Number>
	turned turn(changes_ref, std::span<event>, Number) = delete; /* say 0ms */
	template <std::integral Number>
	turned turn(changes_ref, std::span<event>, Number, std::error_code &) = delete; /* say 0ms */
	template <std::integral Number>
	turned turn(changes_ref, std::span<event>, std::error_code &, Number) = delete; /* say 0ms, ec */
	turned turn(changes_ref, std::span<event>, std::nullptr_t) = delete; /* leave it out */

	template <typename Rep, typename Period>
	[[nodiscard]] turned turn(changes_ref changes, std::span<event> room,
				  std::chrono::duration<Rep, Period> timeout, const sigset_t *mask = nullptr)
	{
		return turn_ns(changes, room, round_up(timeout), mask);
	}
	template <typename Rep, typename Period>
	[[nodiscard]] turned turn(changes_ref changes, std::span<event> room,
				  std::chrono::duration<Rep, Period> timeout, std::error_code &ec,
				  const sigset_t *mask = nullptr)
	{
		return turn_ns(changes, room, round_up(timeout), mask, ec);
	}

	template <typename Clock, typename Duration>
	[[nodiscard]] turned turn_until(changes_ref changes, std::span<event> room,
					std::chrono::time_point<Clock, Duration> deadline,
					const sigset_t *mask = nullptr)
	{
		return turn_ns(changes, room, left(deadline, Clock::now()), mask);
	}
	template <typename Clock, typename Duration>
	[[nodiscard]] turned turn_until(changes_ref changes, std::span<event> room,
					std::chrono::time_point<Clock, Duration> deadline, std::error_code &ec,
					const sigset_t *mask = nullptr)
	{
		return turn_ns(changes, room, left(deadline, Clock::now()), mask, ec);
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

	turned turn_ns(changes_ref changes, std::span<event> room, std::int64_t ns,
		       const sigset_t *mask);
	turned turn_ns(changes_ref changes, std::span<event> room, std::int64_t ns,
		       const sigset_t *mask, std::error_code &ec);

	int fd_;
};

} // namespace myepoll

#endif // MYEPOLL_POLLER_HPP
