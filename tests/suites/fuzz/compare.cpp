// SPDX-License-Identifier: GPL-2.0
#include "compare.hpp"

#include <cerrno>
#include <cstdio>
#include <numeric>

#include <sys/epoll.h>

#include "backend.hpp"

using namespace arg;

namespace {

bool ours(const Op &op, const Record &mine)
{
	switch (op.code) {
	case Code::ctl:
	case Code::wait:
	case Code::turn:
	case Code::waiter:
		return true;
	case Code::fork:
		return mine.tag == Tag::child;
	default:
		return false;
	}
}

// By which way a turn comes. Without room for events a wait is none: it goes by ioctl.
std::uint32_t door_of_turn(std::uint32_t door, std::uint32_t max)
{
	return door == is::fast_turn && max ? +is::fast : +is::ioctl;
}

std::uint32_t door_of(const Op &op)
{
	if (op.code == Code::turn) {
		const std::uint32_t door = op.a[turn_door];
		return door == is::adopt ? door : door == is::fast || door == is::fast_turn ? +is::fast : +is::ioctl;
	}
	if (op.code == Code::wait && op.a[wait_door] >= is::turn)
		return door_of_turn(op.a[wait_door], op.a[wait_max]);
	if (op.code == Code::waiter && op.a[waiter_door] >= is::turn)
		return door_of_turn(op.a[waiter_door], op.a[waiter_max]);
	if (op.code == Code::ctl && op.a[ctl_door] >= is::turn)
		return door_of_turn(op.a[ctl_door], 1);
	if (op.code == Code::fork && op.a[fork_door] >= is::turn)
		return door_of_turn(op.a[fork_door], 1);
	if (op.code == Code::wait) {
		// What the fast door does not do the other does.
		bool masked = op.a[wait_form] % is::forms != is::plain && op.a[wait_mask] & 8;
		return op.a[wait_door] == is::fast &&
				       (masked || op.a[wait_form] % is::forms == is::pwait2)
			       ? static_cast<std::uint32_t>(is::ioctl)
			       : op.a[wait_door];
	}
	if (op.code == Code::waiter)
		return op.a[waiter_door];
	return op.code == Code::ctl ? op.a[ctl_door] : op.a[fork_door];
}

// The descriptor leads to the door, so it is looked up first, and what is no
// instance answers for itself.
bool not_an_instance(const Op &op, const Record &native, const Record &mine)
{
	if (!ours(op, mine) || mine.ep == Kind::instance || mine.ep == Kind::foreign || native.r >= 0 ||
	    door_of(op) == is::adopt)
		return false;
	if (mine.ep == Kind::closed || mine.ep == Kind::opath)
		return mine.r == -EBADF;
	if (door_of(op) == is::ioctl)
		return mine.r == -ENOTTY || (mine.ep == Kind::pidfd && mine.r == -EINVAL) ||
		       (mine.ep == Kind::pty && mine.r == -EIO); // hung up
	return mine.r == -EINVAL || (mine.ep == Kind::pipe && mine.r == -ESPIPE);
}

// By epoll's own calls only one thing: since 6.15 a wait looks at the descriptor first.
bool descriptor_first(const Op &op, const Record &native, const Record &mine)
{
	return (op.code == Code::wait || op.code == Code::waiter) && door_of(op) == is::adopt &&
	       !kernel_at_least(6, 15) &&
	       (mine.ep == Kind::closed || mine.ep == Kind::opath) && mine.r == -EBADF &&
	       (native.r == -EINVAL || native.r == -EFAULT);
}

// The kernel's own instance as a target. The native twin takes it out again.
bool foreign_target(const Op &op, const Record &native, const Record &mine)
{
	return ours(op, mine) && mine.ep == Kind::instance && mine.fd == Kind::foreign &&
	       mine.r == -ELOOP && (native.r == 0 || native.r == -ELOOP);
}

// Before 6.9 epoll had no ioctls at all.
bool no_ioctls(const Op &op, const Record &native, const Record &mine)
{
	if (mine.ep != Kind::instance || kernel_at_least(6, 9) || native.r != -ENOTTY)
		return false;
	if (op.code == Code::params)
		return mine.r == 0 || mine.r == -EINVAL;
	return op.code == Code::misc && op.a[1] % is::miscs == is::unknown_ioctl && mine.r == -EINVAL;
}

const Rule rules[] = {
	{ "not-an-instance", not_an_instance },
	{ "descriptor-first", descriptor_first },
	{ "foreign-target", foreign_target },
	{ "no-ioctls", no_ioctls },
};
static_assert(std::size(rules) <= max_rules);

bool same(const Record &a, const Record &b)
{
	return a.op == b.op && a.tag == b.tag && a.ep == b.ep && a.fd == b.fd && a.full == b.full &&
	       a.r == b.r && a.length == b.length && std::memcmp(a.bytes(), b.bytes(), a.length) == 0;
}

std::string event_text(const char *bytes)
{
	char buffer[96];
	epoll_event event;

	std::memcpy(&event, bytes, sizeof event);
	std::snprintf(buffer, sizeof buffer, " {%s %llx}", events_text(event.events).c_str(),
		      static_cast<unsigned long long>(event.data.u64));
	return buffer;
}

std::string turn_text(const Record &record)
{
	TurnHead head;
	std::memcpy(&head, record.bytes(), sizeof head);
	std::string text = ", " + std::to_string(head.done) + " of " + std::to_string(head.changes) + " done, " +
			   std::to_string(head.failed) + " failed:";
	const char *at = record.bytes() + sizeof head, *end = record.bytes() + record.length;

	for (std::uint32_t i = 0; i < head.changes; i++, at += sizeof(std::int32_t)) {
		std::int32_t result;
		std::memcpy(&result, at, sizeof result);
		text += " " + (result == TurnHead::none ? "none" : errno_text(result));
	}
	for (; at < end; at += sizeof(epoll_event))
		text += event_text(at);
	return text + (head.untouched ? "" : " and wrote beyond");
}

const char *end_text(const Outcome &outcome)
{
	switch (outcome.end) {
	case Outcome::hung:
		return "never returned";
	case Outcome::died:
		return "died";
	case Outcome::finished:
		break;
	}
	return "recorded nothing";
}

} // namespace

unsigned rule_count()
{
	return std::size(rules);
}

const Rule &rule(unsigned n)
{
	return rules[n];
}

std::uint64_t Tally::sum() const
{
	return std::accumulate(by_rule.begin(), by_rule.end(), std::uint64_t{ 0 });
}

std::optional<Difference> compare(const Sequence &sequence, const Outcome &native, const Outcome &mine,
				  Tally *tally)
{
	if (native == mine)
		return {};

	Cursor a = cursor(native.bytes), b = cursor(mine.bytes);
	std::uint32_t last = 0;
	for (;;) {
		const Record *x = a.record(), *y = b.record();
		if (!x && !y)
			break;
		if (x)
			last = x->op;
		if (y && (!x || y->op < last))
			last = y->op;
		if (!x || !y)
			return Difference{ last, x ? to_text(sequence[x->op], *x) : end_text(native),
					   y ? to_text(sequence[y->op], *y) : end_text(mine) };
		if (!same(*x, *y)) {
			unsigned n = 0;
			bool comparable = x->op == y->op && x->tag == y->tag && x->ep == y->ep &&
					  x->fd == y->fd;
			while (comparable && n < std::size(rules) &&
			       !rules[n].allows(sequence[x->op], *x, *y))
				n++;
			if (!comparable || n == std::size(rules))
				return Difference{ last, to_text(sequence[x->op], *x),
						   to_text(sequence[y->op], *y) };
			if (tally)
				tally->by_rule[n]++;
		}
		a.next();
		b.next();
	}
	if (native.end == mine.end)
		return {};
	std::uint32_t next =
		std::min<std::uint32_t>(last + 1, static_cast<std::uint32_t>(sequence.size() - 1));
	return Difference{ next, native.end ? end_text(native) : "went on",
			   mine.end ? end_text(mine) : "went on" };
}

std::string to_text(const Op &op, const Record &record)
{
	// In the order of Kind, where it is worth a word
	static const char *const kinds[] = {
		"a closed descriptor", "an O_PATH descriptor", "", "the kernel's epoll", "a pipe", "a tty",
		"a timer", "a unix socket", "TCP", "", "a pidfd", "",
	};
	std::string text;
	char buffer[96];

	if (record.tag == Tag::handler) {
		std::uint64_t masks[2];
		std::memcpy(masks, record.bytes(), sizeof masks);
		std::snprintf(buffer, sizeof buffer, "handler of signal %d, blocked %llx, then %llx",
			      record.r, static_cast<unsigned long long>(masks[0]),
			      static_cast<unsigned long long>(masks[1]));
		return buffer;
	}
	if (record.tag == Tag::child)
		text = "in the child ";
	if (record.tag == Tag::waiter)
		text = "in a waiter ";
	text += errno_text(record.r);
	if (*kinds[unsigned(record.ep)])
		text += std::string(" on ") + kinds[unsigned(record.ep)];
	if (record.full)
		text += " (log full)";
	if (op.code == Code::turn && record.tag == Tag::answer && record.length)
		return text + turn_text(record);
	bool wait = op.code == Code::wait || record.tag == Tag::waiter ||
		    (op.code == Code::fork && record.length > 4);
	if (wait && record.length >= 4) {
		std::uint32_t untouched;
		std::memcpy(&untouched, record.bytes(), 4);
		for (std::uint32_t at = 4; at + sizeof(epoll_event) <= record.length;
		     at += sizeof(epoll_event))
			text += event_text(record.bytes() + at);
		if (!untouched)
			text += " and wrote beyond";
	} else if (op.code == Code::fdinfo) {
		text += "\n" + std::string(record.bytes(), record.length);
	} else if (record.length) {
		text += " [";
		for (std::uint32_t i = 0; i < record.length; i++) {
			std::snprintf(buffer, sizeof buffer, "%02x",
				      static_cast<unsigned char>(record.bytes()[i]));
			text += buffer;
		}
		text += "]";
	}
	return text;
}
