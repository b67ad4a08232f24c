// SPDX-License-Identifier: MIT
/*
 * libmyepoll++ - myepoll::change_set, see include/myepoll/change.hpp
 *
 * Changes are in an array, in their order, as the kernel takes them. One that is taken out
 * leaves a hole (operation::none), since indices are in use; compact() closes the holes
 * before the array is handed out or is full.
 */
#include <myepoll/change.hpp>

#include <algorithm>
#include <bit>

namespace myepoll {

namespace {

enum class outcome { both, second, second_as_first, neither, first };

/* May the mask of a later MOD stand in the place of an earlier one? EPOLLEXCLUSIVE is refused. */
bool plain(const change &a, const change &b) noexcept
{
	return !any((a.what() | b.what()) & interest::exclusive);
}

/* Of two changes for one descriptor, what do they come to? */
outcome merge(const change &first, const change &second) noexcept
{
	const operation before = first.op();

	if (before == operation::disable || second.op() == operation::disable)
		return outcome::both;
	switch (second.op()) {
	case operation::add:
		/* Of a file that is watched this fails. So it is another, and the first is about
		   one that was closed. Only that remove() is right for the same file too. */
		return before == operation::remove ? outcome::both : outcome::second;
	case operation::modify:
		if (before == operation::remove || !plain(first, second))
			return outcome::both;
		return outcome::second_as_first;
	case operation::set:
		if (before == operation::remove || !plain(first, second))
			return outcome::both;
		return before == operation::add ? outcome::second_as_first : outcome::second;
	case operation::remove:
		return before == operation::add	   ? outcome::neither :
		       before == operation::modify ? outcome::second :
		       before == operation::remove ? outcome::first :
						     outcome::both;
	default:
		return outcome::both;
	}
}

change with_op(operation op, const change &c) noexcept
{
	switch (op) {
	case operation::add:
		return change::add(c.fd(), c.what(), c.token());
	case operation::set:
		return change::set(c.fd(), c.what(), c.token());
	default:
		return c;
	}
}

} // namespace

change_set::change_set(std::size_t capacity)
	: changes_(capacity), before_(capacity), slots_(std::bit_ceil(2 * capacity + 1))
{
}

/* The slot of @fd, or the free one that it would get */
change_set::slot *change_set::find(int fd) noexcept
{
	const std::size_t mask = slots_.size() - 1;
	std::size_t i = static_cast<unsigned>(fd) & mask;

	while (slots_[i].era == era_ && slots_[i].fd != fd)
		i = (i + 1) & mask;
	return &slots_[i];
}

/* Those behind that would not be found across a free slot move up. */
void change_set::erase(slot *at) noexcept
{
	const std::size_t mask = slots_.size() - 1;
	auto hole = static_cast<std::size_t>(at - slots_.data());

	for (std::size_t i = (hole + 1) & mask; slots_[i].era == era_; i = (i + 1) & mask) {
		const std::size_t home = static_cast<unsigned>(slots_[i].fd) & mask;

		if (((i - home) & mask) >= ((i - hole) & mask)) {
			slots_[hole] = slots_[i];
			hole = i;
		}
	}
	slots_[hole].era = era_ - 1;
}

void change_set::new_era() noexcept
{
	if (++era_ == 0) {
		std::fill(slots_.begin(), slots_.end(), slot{});
		era_ = 1;
	}
}

/* The change @i is the last, of all and so for its descriptor. */
void change_set::index(std::uint32_t i) noexcept
{
	const change &c = changes_[i];

	if (c.op() == operation::drop) {
		new_era();
		return;
	}

	slot *const s = find(c.fd());

	before_[i] = s->era == era_ ? s->last : none;
	*s = { c.fd(), i, era_ };
}

void change_set::take_out(std::uint32_t i) noexcept
{
	changes_[i] = change();
	holes_++;
	while (size_ && changes_[size_ - 1].op() == operation::none) {
		size_--;
		holes_--;
	}
}

void change_set::compact() noexcept
{
	const std::uint32_t n = size_;

	new_era();
	size_ = holes_ = 0;
	for (std::uint32_t i = 0; i < n; i++)
		if (changes_[i].op() != operation::none) {
			changes_[size_] = changes_[i];
			index(size_++);
		}
}

/* What a turn has made goes. */
void change_set::settle() noexcept
{
	if (!made_)
		return;
	if (made_ >= size_) {
		clear();
		return;
	}
	std::fill_n(changes_.begin(), made_, change());
	made_ = 0;
	compact();
}

bool change_set::put(const change &c) noexcept
{
	settle();
	if (size_ == changes_.size() && holes_)
		compact();

	if (c.op() != operation::drop) {
		slot *const s = find(c.fd());

		if (s->era == era_) {
			change &last = changes_[s->last];

			switch (merge(last, c)) {
			case outcome::second_as_first:
				last = with_op(last.op(), c);
				return true;
			case outcome::second:
				last = c;
				return true;
			case outcome::first:
				return true;
			case outcome::neither: {
				const std::uint32_t gone = s->last;

				if (before_[gone] == none)
					erase(s);
				else
					s->last = before_[gone];
				take_out(gone);
				return true;
			}
			case outcome::both:
				break;
			}
		}
	}
	if (size_ == changes_.size())
		return false;
	changes_[size_] = c;
	index(size_++);
	return true;
}

void change_set::forget(int fd) noexcept
{
	bool found = false;

	settle();
	/* Not by its slot, which does not lead to what is from before a drop(). */
	for (std::uint32_t i = 0; i < size_; i++) {
		const operation op = changes_[i].op();

		if (op != operation::none && op != operation::drop && changes_[i].fd() == fd) {
			take_out(i);
			found = true;
		}
	}
	if (found)
		compact();
}

void change_set::clear() noexcept
{
	size_ = holes_ = made_ = 0;
	new_era();
}

std::span<change> change_set::pending() noexcept
{
	settle();
	if (holes_)
		compact();
	return std::span(changes_).first(size_);
}

} // namespace myepoll
