// SPDX-License-Identifier: GPL-2.0
#include "op.hpp"

#include <climits>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include <sys/epoll.h>

#include "uapi/myepoll.h"

namespace {

// How an argument is written. A list of names stands for 0, 1, ...
enum class Type { slot, number, mask, events, names };

struct Field {
	const char *name;
	Type type;
	std::vector<const char *> names{};
};

struct Form {
	const char *name;
	std::vector<Field> fields;
};

const Field slot{ "slot", Type::slot };
const Field door{ "door", Type::names, { "ioctl", "fast", "adopt", "turn", "fast-turn" } };
const Field change_op{ "op", Type::names, { "add", "mod", "del", "0", "4", "-1", "set", "drop", "disable" } };
const std::vector<const char *> acts{ "none", "add", "mod", "del", "write", "read", "wait" };

// In the order of Code. The first of the names is the plainest.
const Form forms[] = {
	{ "create", { slot, { "flags", Type::mask }, door } },
	{ "foreign", { slot } },
	{ "eventfd", { slot, { "count", Type::number }, { "semaphore", Type::number } } },
	{ "pipe", { { "r", Type::slot }, { "w", Type::slot }, { "packet", Type::number } } },
	{ "fifo", { slot, { "which", Type::number }, { "mode", Type::names, { "rdwr", "rdonly", "wronly" } } } },
	{ "pair",
	  { { "a", Type::slot }, { "b", Type::slot }, { "type", Type::names, { "stream", "dgram", "seqpacket" } } } },
	{ "tcp", { { "a", Type::slot }, { "b", Type::slot } } },
	{ "listener", { slot } },
	{ "connect", { slot, { "to", Type::slot } } },
	{ "accept", { slot, { "from", Type::slot } } },
	{ "udp", { slot } },
	{ "pty", { { "m", Type::slot }, { "s", Type::slot } } },
	{ "timerfd", { slot } },
	{ "signalfd", { slot, { "set", Type::mask } } },
	{ "pidfd", { slot, { "child", Type::number } } },
	{ "inotify", { slot } },
	{ "plain",
	  { slot,
	    { "what", Type::names, { "file", "dir", "null", "memfd", "opath", "mounts", "device" } } } },
	{ "dup", { { "from", Type::slot }, { "to", Type::slot } } },
	{ "close", { slot } },
	{ "ctl",
	  { { "ep", Type::slot },
	    change_op,
	    { "fd", Type::slot },
	    { "events", Type::events },
	    { "data", Type::number },
	    { "ptr", Type::names, { "ok", "null", "none", "straddle", "kernel", "readonly" } },
	    door } },
	{ "wait",
	  { { "ep", Type::slot },
	    { "form", Type::names, { "wait", "pwait", "pwait2" } },
	    { "max", Type::number },
	    { "timeout", Type::names, { "0", "1ms", "forever", "least", "most" } },
	    { "buf",
	      Type::names,
	      { "ok", "null", "none", "readonly", "kernel", "unaligned", "half", "room0", "room1", "room2", "room3",
		"room4", "room5", "room6", "room7" } },
	    { "mask", Type::mask },
	    door } },
	{ "change",
	  { change_op, { "fd", Type::slot }, { "events", Type::events }, { "data", Type::number } } },
	{ "turn",
	  { { "ep", Type::slot },
	    { "max", Type::number },
	    { "timeout", Type::names, { "0", "1ns" } },
	    { "stop", Type::number },
	    { "mask", Type::mask },
	    door } },
	{ "poll", { slot, { "events", Type::events }, { "other", Type::slot } } },
	{ "fdinfo", { slot } },
	{ "params",
	  { slot,
	    { "get", Type::number },
	    { "usecs", Type::number },
	    { "budget", Type::number },
	    { "prefer", Type::number },
	    { "pad", Type::number } } },
	{ "misc",
	  { slot,
	    { "what",
	      Type::names,
	      { "lseek", "getfl", "setfl", "getfd", "fstat", "ftruncate", "mmap", "unknown-ioctl", "fionbio", "fsync",
		"pread", "fallocate", "pipe-size", "lowat", "linger", "getdents" } } } },
	{ "write", { slot, { "n", Type::number }, { "value", Type::number } } },
	{ "read", { slot, { "n", Type::number } } },
	{ "fill", { slot } },
	{ "drain", { slot } },
	{ "shutdown", { slot, { "how", Type::number } } },
	{ "oob", { slot } },
	{ "timer", { slot, { "how", Type::names, { "disarm", "past", "far" } } } },
	{ "raise", { { "sig", Type::number } } },
	{ "touch", { { "which", Type::number } } },
	{ "fork",
	  { { "close", Type::mask },
	    { "act", Type::names, acts },
	    { "ep", Type::slot },
	    { "fd", Type::slot },
	    { "events", Type::events },
	    { "stay", Type::number },
	    door } },
	{ "kill", { { "child", Type::number } } },
	{ "reap", { { "child", Type::number } } },
	{ "send", { { "via", Type::slot }, { "fd", Type::slot } } },
	{ "recv", { { "via", Type::slot }, { "to", Type::slot } } },
	{ "waiter", { { "n", Type::number }, { "ep", Type::slot }, { "max", Type::number }, door } },
	{ "interrupt", { { "n", Type::number } } },
};
static_assert(std::size(forms) == unsigned(Code::count));

const char *const odd_names[odd_slots] = { "!-1", "!closed", "!cwd", "!max" };

struct Bit {
	std::uint32_t bit;
	const char *name;
};
const Bit event_bits[] = {
	{ 1u << 0, "in" },	{ 1u << 1, "pri" },	  { 1u << 2, "out" },	  { 1u << 3, "err" },
	{ 1u << 4, "hup" },	{ 1u << 5, "nval" },	  { 1u << 6, "rdnorm" },  { 1u << 7, "rdband" },
	{ 1u << 8, "wrnorm" },	{ 1u << 9, "wrband" },	  { 1u << 10, "msg" },	  { 1u << 13, "rdhup" },
	{ 1u << 28, "excl" },	{ 1u << 29, "wakeup" }, { 1u << 30, "oneshot" }, { 1u << 31, "et" },
};

std::string hex(std::uint32_t value)
{
	char text[16];
	std::snprintf(text, sizeof text, "0x%x", value);
	return text;
}

std::string value_text(const Field &field, std::uint32_t value)
{
	switch (field.type) {
	case Type::slot:
		return value < slots ? std::to_string(value) : odd_names[(value - slots) % odd_slots];
	case Type::number:
		return std::to_string(static_cast<std::int32_t>(value));
	case Type::mask:
		return hex(value);
	case Type::events:
		return events_text(value);
	case Type::names:
		return field.names[value % field.names.size()];
	}
	return {};
}

std::uint32_t number(const std::string &text)
{
	std::size_t end = 0;
	long long value = std::stoll(text, &end, 0);
	if (end != text.size())
		throw std::runtime_error("not a number: " + text);
	return static_cast<std::uint32_t>(value);
}

std::uint32_t events_value(const std::string &text)
{
	std::istringstream in(text);
	std::uint32_t events = 0;

	for (std::string word; std::getline(in, word, '|');) {
		const Bit *found = nullptr;
		for (const Bit &b : event_bits)
			if (word == b.name)
				found = &b;
		events |= found ? found->bit : number(word);
	}
	return events;
}

std::uint32_t value_of(const Field &field, const std::string &text)
{
	switch (field.type) {
	case Type::slot:
		for (unsigned i = 0; i < odd_slots; i++)
			if (text == odd_names[i])
				return slots + i;
		return number(text);
	case Type::events:
		return events_value(text);
	case Type::names:
		for (unsigned i = 0; i < field.names.size(); i++)
			if (text == field.names[i])
				return i;
		throw std::runtime_error(std::string(field.name) + "=" + text + "?");
	case Type::number:
	case Type::mask:
		break;
	}
	return number(text);
}

const Form &form_of(Code code)
{
	return forms[unsigned(code)];
}

} // namespace

int fd_of(std::uint32_t slot)
{
	static constexpr int odd[odd_slots] = { -1, 1000, -100, INT_MAX };
	return slot < slots ? slot_base + static_cast<int>(slot) : odd[(slot - slots) % odd_slots];
}

int operation(std::uint32_t op)
{
	static constexpr int ops[is::ops] = { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 0, 4, -1,
					      MYEPOLL_CTL_SET, MYEPOLL_CTL_DROP, MYEPOLL_CTL_DISABLE };
	return ops[op % is::ops];
}

std::uint32_t *door_in(Op &op)
{
	const auto &fields = form_of(op.code).fields;

	for (unsigned i = 0; i < fields.size(); i++)
		if (fields[i].name == door.name)
			return &op.a[i];
	return nullptr;
}

std::string events_text(std::uint32_t events)
{
	std::string text;

	for (const Bit &b : event_bits)
		if (events & b.bit) {
			text += (text.empty() ? "" : "|") + std::string(b.name);
			events &= ~b.bit;
		}
	if (events || text.empty())
		text += (text.empty() ? "" : "|") + hex(events);
	return text;
}

std::string errno_text(int result)
{
	return result >= 0 ? std::to_string(result) : std::string("-") + strerrorname_np(-result);
}

std::string to_text(const Op &op)
{
	std::string text = form_of(op.code).name;
	unsigned i = 0;

	for (const Field &field : form_of(op.code).fields)
		text += std::string(" ") + field.name + "=" + value_text(field, op.a[i++]);
	return text;
}

std::string to_text(const Sequence &sequence)
{
	std::string text;
	for (const Op &op : sequence)
		text += to_text(op) + "\n";
	return text;
}

Sequence from_text(const std::string &text)
{
	std::istringstream lines(text);
	Sequence sequence;
	int n = 0;

	for (std::string line; std::getline(lines, line);) {
		n++;
		std::istringstream words(line.substr(0, line.find('#')));
		std::string word;
		if (!(words >> word))
			continue;
		try {
			Op op{};
			unsigned code = 0;
			while (code < unsigned(Code::count) && word != forms[code].name)
				code++;
			if (code == unsigned(Code::count))
				throw std::runtime_error("no operation " + word);
			op.code = Code(code);
			while (words >> word) {
				std::size_t eq = word.find('=');
				std::string key = word.substr(0, eq);
				const auto &fields = forms[code].fields;
				unsigned i = 0;
				while (i < fields.size() && key != fields[i].name)
					i++;
				if (eq == word.npos || i == fields.size())
					throw std::runtime_error(std::string(forms[code].name) + " has no " + key);
				op.a[i] = value_of(fields[i], word.substr(eq + 1));
			}
			sequence.push_back(op);
		} catch (const std::exception &e) {
			throw std::runtime_error("line " + std::to_string(n) + ": " + e.what());
		}
	}
	return sequence;
}

std::vector<Op> simpler(const Op &op)
{
	std::vector<Op> tries;
	unsigned i = 0;

	auto with = [&](std::uint32_t value) {
		if (op.a[i] == value)
			return;
		Op other = op;
		other.a[i] = value;
		tries.push_back(other);
	};
	for (const Field &field : form_of(op.code).fields) {
		std::uint32_t value = op.a[i];
		switch (field.type) {
		case Type::slot:
			break;
		case Type::number:
			if (value > 1) {
				with(0);
				with(1);
				if (value > 8)
					with(8);
			}
			break;
		case Type::mask:
		case Type::events:
			if (value)
				with(0);
			for (std::uint32_t bit = 1; bit; bit <<= 1)
				if (value & bit && value != bit)
					with(value & ~bit);
			break;
		case Type::names:
			if (value)
				with(0);
			break;
		}
		i++;
	}
	return tries;
}
