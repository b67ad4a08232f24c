// SPDX-License-Identifier: MIT
/**
 * @file change.hpp
 * Changes to the interest list that are made later, in one call: poller::turn().
 */
#ifndef MYEPOLL_CHANGE_HPP
#define MYEPOLL_CHANGE_HPP

#include <myepoll/event.hpp>

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <system_error>
#include <type_traits>
#include <utility>
#include <vector>

namespace myepoll {

/** What a change does. */
enum class operation : std::int32_t {
	none = 0,
	add = EPOLL_CTL_ADD,
	modify = EPOLL_CTL_MOD,
	remove = EPOLL_CTL_DEL,
	set = MYEPOLL_CTL_SET,
	disable = MYEPOLL_CTL_DISABLE,
	drop = MYEPOLL_CTL_DROP,
};

/** The name of @p op, for logs. */
[[nodiscard, gnu::visibility("default")]] std::string to_string(operation op);

/**
 * One change, in memory a struct myepoll_change: the kernel reads an array of these, and
 * writes their results. Each function makes the change that poller's function of the same
 * name makes at once.
 */
class change {
public:
	change() noexcept = default;

	[[nodiscard]] static change add(int fd, interest what, token t) noexcept
	{
		return change(operation::add, fd, what, t);
	}
	[[nodiscard]] static change modify(int fd, interest what, token t) noexcept
	{
		return change(operation::modify, fd, what, t);
	}
	[[nodiscard]] static change set(int fd, interest what, token t) noexcept
	{
		return change(operation::set, fd, what, t);
	}
	[[nodiscard]] static change remove(int fd) noexcept
	{
		return change(operation::remove, fd, interest::none, myepoll::token());
	}
	[[nodiscard]] static change disable(int fd) noexcept
	{
		return change(operation::disable, fd, interest::none, myepoll::token());
	}
	[[nodiscard]] static change drop(myepoll::token t) noexcept
	{
		return change(operation::drop, -1, interest::none, t);
	}

	[[nodiscard]] operation op() const noexcept { return static_cast<operation>(raw_.op); }
	/** -1 of drop() */
	[[nodiscard]] int fd() const noexcept { return raw_.fd; }
	[[nodiscard]] interest what() const noexcept { return static_cast<interest>(raw_.events); }
	[[nodiscard]] myepoll::token token() const noexcept { return myepoll::token(raw_.data); }

	/** Once a turn has tried it: did it fail? */
	[[nodiscard]] bool failed() const noexcept { return raw_.result != 0; }
	/** Once a turn has tried it: no error, or what poller's function would have set. */
	[[nodiscard]] std::error_code result() const noexcept
	{
		return { -raw_.result, std::system_category() };
	}

	[[nodiscard]] const myepoll_change &raw() const noexcept { return raw_; }

private:
	change(operation op, int fd, interest what, myepoll::token t) noexcept
		: raw_{ static_cast<std::int32_t>(op), fd, static_cast<std::uint32_t>(what), 0, t.value() }
	{
	}

	myepoll_change raw_{};
};

static_assert(sizeof(change) == sizeof(myepoll_change) && std::is_standard_layout_v<change> &&
	      std::is_trivially_copyable_v<change>);

/**
 * Collects changes until a turn makes them, at most one or two for a descriptor: of several, what
 * they come to.
 *
 *	changes.add(fd, ...), then changes.modify(fd, ...)	one add
 *	changes.modify(fd, ...) twice				the last
 *	changes.add(fd, ...), then changes.remove(fd)		nothing
 *	changes.modify(fd, ...), then changes.remove(fd)	one remove
 *	changes.remove(fd), then changes.add(fd, ...)		both, since that is a new watch, with
 *								no edge and no shot used up
 *
 * What disable() says matters, so it stays and nothing is merged across it; nor across drop(),
 * which depends on the tokens of all. An operation whose outcome is open, such as remove() after
 * set(), stays as well.
 *
 * A change is about the file that the number means when the turn is made. Before you close a
 * descriptor, call forget(): what is collected for it goes, and closing ends its watch. (If the
 * file has other descriptors, which keep the watch, remove() it and make a turn before.) An
 * add() for a number that has been closed and opened since takes the place of what was
 * collected for it, with or without forget(). But a remove() would remain, fail with ENOENT, and
 * keep that turn from waiting.
 *
 * Allocates when it is made, and not later. Not for several threads at a time.
 */
class [[gnu::visibility("default")]] change_set {
public:
	/** Room for @p capacity changes. */
	explicit change_set(std::size_t capacity);

	/*
	 * Each returns false where there is no room: make a turn first. (For a descriptor with
	 * a change that this one is merged with, there is.)
	 */
	[[nodiscard]] bool add(int fd, interest what, token t) noexcept
	{
		return put(change::add(fd, what, t));
	}
	[[nodiscard]] bool modify(int fd, interest what, token t) noexcept
	{
		return put(change::modify(fd, what, t));
	}
	[[nodiscard]] bool set(int fd, interest what, token t) noexcept
	{
		return put(change::set(fd, what, t));
	}
	[[nodiscard]] bool remove(int fd) noexcept { return put(change::remove(fd)); }
	[[nodiscard]] bool disable(int fd) noexcept { return put(change::disable(fd)); }
	[[nodiscard]] bool drop(token t) noexcept { return put(change::drop(t)); }
	[[nodiscard]] bool put(const change &c) noexcept;

	/** Take back all that is collected for @p fd, which is about to be closed. */
	void forget(int fd) noexcept;
	/** Take back everything. */
	void clear() noexcept;

	/**
	 * What is to be made, in the order in which it came. The poller makes it, by turn(set, ...):
	 * the results are in turned::tried, until the set is used again.
	 */
	[[nodiscard]] std::span<change> pending() noexcept;
	/** The first @p n of pending() have been made. For who makes them by other means. */
	void made(std::size_t n) noexcept { made_ = static_cast<std::uint32_t>(n); }

	[[nodiscard]] std::size_t size() const noexcept { return size_ - holes_ - made_; }
	[[nodiscard]] bool empty() const noexcept { return size() == 0; }
	[[nodiscard]] std::size_t capacity() const noexcept { return changes_.size(); }

private:
	/* Of a table of descriptors: where the last change for it is. Void if of another era. */
	struct slot {
		int fd;
		std::uint32_t last, era;
	};
	static constexpr std::uint32_t none = ~std::uint32_t(0);

	slot *find(int fd) noexcept;
	void erase(slot *at) noexcept;
	void index(std::uint32_t i) noexcept;
	void new_era() noexcept;
	void take_out(std::uint32_t i) noexcept;
	void settle() noexcept;
	void compact() noexcept;

	std::vector<change> changes_;
	std::vector<std::uint32_t> before_; /* the change for the same descriptor before, or none */
	std::vector<slot> slots_;	    /* open addressing, a power of 2, at most half full */
	std::uint32_t size_ = 0, holes_ = 0, made_ = 0, era_ = 1;
};

/**
 * The changes that poller::turn() and apply() make: a span or array of change, or a change_set.
 * Converts from these, and is only a reference to them.
 */
class changes_ref {
public:
	template <std::convertible_to<std::span<change>> Changes>
	changes_ref(Changes &&changes) noexcept : span_(std::forward<Changes>(changes))
	{
	}
	changes_ref(change_set &changes) noexcept : set_(&changes) {}

private:
	friend class poller;
	friend changes_ref until_failure(changes_ref changes) noexcept;

	std::span<change> span_;
	change_set *set_ = nullptr;
	bool stop_ = false;
};

/**
 * The same changes, of which the first that fails is the last that is tried
 * (MYEPOLL_TURN_STOP):
 *
 *	poller.turn(until_failure(changes), room, 1s);
 *
 * It is the last of turned::tried then. Those behind it are not made: in a change_set they
 * stay for the next turn. Without until_failure() all are tried.
 */
[[nodiscard]] inline changes_ref until_failure(changes_ref changes) noexcept
{
	changes.stop_ = true;
	return changes;
}

} // namespace myepoll

#endif // MYEPOLL_CHANGE_HPP
