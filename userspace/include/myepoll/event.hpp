// SPDX-License-Identifier: MIT
/**
 * @file event.hpp
 * What goes into an instance and comes out of it: interest, token, event, readiness.
 */
#ifndef MYEPOLL_EVENT_HPP
#define MYEPOLL_EVENT_HPP

#include <myepoll/uapi.h>

#include <sys/epoll.h>

#include <bit>
#include <compare>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <type_traits>

namespace myepoll {

/** What to watch for and how: a set of EPOLL* bits. */
enum class interest : std::uint32_t {
	none = 0, /**< readiness::err and readiness::hup are reported all the same */
	in = EPOLLIN,
	pri = EPOLLPRI,
	out = EPOLLOUT,
	rdnorm = EPOLLRDNORM,
	rdband = EPOLLRDBAND,
	wrnorm = EPOLLWRNORM,
	wrband = EPOLLWRBAND,
	msg = EPOLLMSG,
	rdhup = EPOLLRDHUP,
	exclusive = EPOLLEXCLUSIVE, /**< add() only: wake one of the instances that watch a file */
	wakeup = EPOLLWAKEUP,	    /**< hold off system suspend; ignored without CAP_BLOCK_SUSPEND */
	oneshot = EPOLLONESHOT,	    /**< report once, then nothing until modify() or set() */
	edge = EPOLLET,		    /**< edge-triggered: report news, not state */
};

/** What an event reports: a set of EPOLL* bits. */
enum class readiness : std::uint32_t {
	none = 0,
	in = EPOLLIN,
	pri = EPOLLPRI,
	out = EPOLLOUT,
	err = EPOLLERR,
	hup = EPOLLHUP,
	rdnorm = EPOLLRDNORM,
	rdband = EPOLLRDBAND,
	wrnorm = EPOLLWRNORM,
	wrband = EPOLLWRBAND,
	msg = EPOLLMSG,
	rdhup = EPOLLRDHUP,
};

/** What the module can do beyond epoll, see poller::features(). */
enum class feature : std::uint64_t {
	none = 0,
	fast_door = MYEPOLL_FEATURE_FAST_DOOR, /**< was loaded with the fast door open */
	turn = MYEPOLL_FEATURE_TURN,	       /**< poller::turn(), poller::apply() */
	ops = MYEPOLL_FEATURE_OPS,	       /**< set(), disable(), drop(), list() */
	options = MYEPOLL_FEATURE_OPTIONS,     /**< poller::set_options() */
	trace = MYEPOLL_FEATURE_TRACE,	       /**< tracepoints, for the tool myepoll(1) */
};

/**
 * The names of the bits that are set, such as "in|rdhup|edge", for logs. "none" if there is
 * none. Bits without a name are a number behind them. Allocates.
 */
[[nodiscard, gnu::visibility("default")]] std::string to_string(interest set);
[[nodiscard, gnu::visibility("default")]] std::string to_string(readiness set);
[[nodiscard, gnu::visibility("default")]] std::string to_string(feature set);

template <typename T>
concept bit_set = std::same_as<T, interest> || std::same_as<T, readiness> || std::same_as<T, feature>;

template <bit_set Set>
constexpr Set operator|(Set a, Set b) noexcept
{
	using bits = std::underlying_type_t<Set>;
	return static_cast<Set>(static_cast<bits>(a) | static_cast<bits>(b));
}

template <bit_set Set>
constexpr Set operator&(Set a, Set b) noexcept
{
	using bits = std::underlying_type_t<Set>;
	return static_cast<Set>(static_cast<bits>(a) & static_cast<bits>(b));
}

template <bit_set Set>
constexpr Set operator~(Set a) noexcept
{
	return static_cast<Set>(~static_cast<std::underlying_type_t<Set>>(a));
}

template <bit_set Set>
constexpr Set &operator|=(Set &a, Set b) noexcept
{
	return a = a | b;
}

template <bit_set Set>
constexpr Set &operator&=(Set &a, Set b) noexcept
{
	return a = a & b;
}

/** Is any bit of @p set one of @p bits? */
template <bit_set Set>
constexpr bool any(Set set, Set bits = ~Set::none) noexcept
{
	return (set & bits) != Set::none;
}

/**
 * The 64 bits that come back with each event, given by add() and modify().
 *
 * If a token is a pointer, what it points to must outlive every event with that
 * token. Such events are those that a wait has already returned and, if several
 * threads wait, those that another wait is returning while remove() or close(2) runs.
 * Of a one-shot watch, poller::disable() says whether there is such an event.
 */
class token {
public:
	constexpr token() noexcept = default;
	constexpr explicit token(std::uint64_t value) noexcept : value_(value) {}

	/** A token that is the address of @p object; see as(). */
	template <typename T>
	[[nodiscard]] static token of(T *object) noexcept
	{
		return token(static_cast<std::uint64_t>(std::bit_cast<std::uintptr_t>(object)));
	}

	[[nodiscard]] constexpr std::uint64_t value() const noexcept { return value_; }

	/** The pointer that of() was given. */
	template <typename T>
	[[nodiscard]] T *as() const noexcept
	{
		return std::bit_cast<T *>(static_cast<std::uintptr_t>(value_));
	}

	friend constexpr bool operator==(token, token) noexcept = default;
	/** By value(). */
	friend constexpr auto operator<=>(token, token) noexcept = default;

private:
	std::uint64_t value_ = 0;
};

/**
 * One event, in memory a struct epoll_event: poller::wait() lets the kernel
 * write an array of these. One that no wait has filled has no defined value,
 * unless it was value-initialized.
 */
class event {
public:
	event() noexcept = default;
	explicit event(epoll_event raw) noexcept : raw_(raw) {}
	event(readiness bits, myepoll::token t) noexcept
		: raw_{static_cast<std::uint32_t>(bits), {}}
	{
		raw_.data.u64 = t.value();
	}

	/** The token of the descriptor that this is about. */
	[[nodiscard]] myepoll::token token() const noexcept
	{
		return myepoll::token(raw_.data.u64);
	}
	/** All bits that were reported. */
	[[nodiscard]] readiness bits() const noexcept { return static_cast<readiness>(raw_.events); }

	/** read(2) will not block: data, a peer that is gone, or an error to collect. */
	[[nodiscard]] bool readable() const noexcept
	{
		return any(bits(), readiness::in | readiness::rdnorm | readiness::rdhup |
					   readiness::hup | readiness::err);
	}
	/** write(2) will not block: room, or an error to collect. */
	[[nodiscard]] bool writable() const noexcept
	{
		return any(bits(), readiness::out | readiness::wrnorm | readiness::err);
	}
	/** Both directions are closed (EPOLLHUP). */
	[[nodiscard]] bool hangup() const noexcept { return any(bits(), readiness::hup); }
	/** An error is pending; on a pipe's write end, the reader is gone (EPOLLERR). */
	[[nodiscard]] bool error() const noexcept { return any(bits(), readiness::err); }
	/** Urgent data (EPOLLPRI), if that was asked for. */
	[[nodiscard]] bool priority() const noexcept { return any(bits(), readiness::pri); }
	/**
	 * The peer will send no more: EPOLLRDHUP, if it was asked for, or EPOLLHUP.
	 * What it sent before may still be there to read.
	 */
	[[nodiscard]] bool peer_closed() const noexcept
	{
		return any(bits(), readiness::rdhup | readiness::hup);
	}

	[[nodiscard]] const epoll_event &raw() const noexcept { return raw_; }

private:
	epoll_event raw_;
};

static_assert(sizeof(event) == sizeof(epoll_event) && alignof(event) == alignof(epoll_event) &&
	      std::is_standard_layout_v<event> && std::is_trivially_copyable_v<event>);

} // namespace myepoll

template <>
struct std::hash<myepoll::token> {
	std::size_t operator()(myepoll::token t) const noexcept
	{
		return std::hash<std::uint64_t>()(t.value());
	}
};

#endif // MYEPOLL_EVENT_HPP
