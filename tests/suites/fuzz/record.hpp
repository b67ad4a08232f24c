// SPDX-License-Identifier: GPL-2.0
// What a twin observed: a log of records in memory that all processes share.
#pragma once

#include <atomic>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "op.hpp"

// What is behind a slot, as far as the rules and the executor care
enum class Kind : std::uint8_t {
	closed, opath, instance, foreign, pipe, pty, timerfd, unix_socket, tcp, eventfd, pidfd, other
};

enum class Tag : std::uint8_t { answer, handler, child, waiter };

struct Record {
	std::uint32_t op;     // its index in the sequence
	Tag tag;
	Kind ep, fd;	      // of the slots that the operation named, before it
	bool full;	      // the log was full: nothing was recorded from here on
	std::int32_t r;	      // result or -errno; the signal
	std::uint32_t length; // of what follows, padded to 4
	const char *bytes() const { return reinterpret_cast<const char *>(this + 1); }
	std::uint32_t size() const { return sizeof *this + ((length + 3) & ~3u); }
};

// Of a turn. Behind it come as many results as there are changes, and then the events.
struct TurnHead {
	std::uint32_t changes, done, failed, untouched;
	static constexpr std::int32_t none = 12345; // the result of one that was not tried
};

// Append only. It is in shared memory since a forked child appends too.
class Log {
public:
	void init(char *memory, std::uint32_t size)
	{
		memory_ = memory;
		size_ = size;
		used_ = 0;
	}
	std::uint32_t used() const { return used_; }

	void append(Record record, const void *bytes, std::uint32_t length)
	{
		record.length = length;
		if (used_ + record.size() + sizeof(Record) > size_) {
			if (used_ + sizeof record > size_)
				return;
			record.length = length = 0;
			record.full = true;
		}
		std::memcpy(memory_ + used_, &record, sizeof record);
		if (length) {
			std::memset(memory_ + used_ + record.size() - 4, 0, 4);
			std::memcpy(memory_ + used_ + sizeof record, bytes, length);
		}
		used_ += record.size();
		if (record.full)
			size_ = used_; // no more
	}

private:
	char *memory_;
	std::uint32_t size_, used_;
};

// The records of one sequence; a twin that hung or died leaves them cut off.
struct Outcome {
	std::vector<char> bytes;
	enum End : std::uint8_t { finished, hung, died } end = finished;
	bool operator==(const Outcome &) const = default;
};

struct Cursor {
	const char *p, *end;
	const Record *record() const
	{
		return p < end ? reinterpret_cast<const Record *>(p) : nullptr;
	}
	void next() { p += record()->size(); }
};

inline Cursor cursor(std::span<const char> bytes)
{
	return { bytes.data(), bytes.data() + bytes.size() };
}

std::string to_text(const Op &op, const Record &record);
