// SPDX-License-Identifier: GPL-2.0
// An io_uring, for programs that link liburing
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>
#include <ostream>

#include <liburing.h>
#include <poll.h>

#include "support.hpp"

struct Completion {
	std::uint64_t data;
	int result;
	bool more;
	bool operator==(const Completion &) const = default;
};

inline std::ostream &operator<<(std::ostream &out, const Completion &c)
{
	return out << "{" << c.data << ", " << c.result << (c.more ? ", more}" : "}");
}

class Ring {
public:
	static constexpr int entries = 64, completions = 2 * entries; // of which the kernel has room
	Ring() { must(io_uring_queue_init(entries, &ring_, 0), "io_uring_queue_init"); }
	~Ring() { io_uring_queue_exit(&ring_); }
	Ring(const Ring &) = delete;

	int fd() const { return ring_.ring_fd; }
	io_uring_sqe *sqe(std::uint64_t data)
	{
		io_uring_sqe *sqe = io_uring_get_sqe(&ring_);
		std::memset(static_cast<void *>(sqe), 0, sizeof *sqe);
		last_ = sqe;
		data_ = data;
		return sqe;
	}
	io_uring_sqe *sqe() const { return last_; } // the one that was given out last
	// After io_uring_prep_*, which overwrites the rest
	void named(unsigned flags = 0)
	{
		last_->flags |= flags;
		last_->user_data = data_;
	}
	void submit() { must(io_uring_submit(&ring_), "io_uring_submit"); }

	void poll(int fd, std::uint64_t data, unsigned events = POLLIN)
	{
		io_uring_prep_poll_add(sqe(data), fd, events);
		named();
		submit();
	}
	void poll_multishot(int fd, std::uint64_t data)
	{
		io_uring_prep_poll_multishot(sqe(data), fd, POLLIN);
		named();
		submit();
	}
	void nop(std::uint64_t data)
	{
		io_uring_prep_nop(sqe(data));
		named();
		submit();
	}

	void register_file(int fd)
	{
		must(io_uring_register_files(&ring_, &fd, 1), "io_uring_register_files");
	}
	void unregister_files() { must(io_uring_unregister_files(&ring_), "io_uring_unregister_files"); }

	Completion next(int ms = patience_ms)
	{
		io_uring_cqe *cqe = nullptr;
		__kernel_timespec timeout{ ms / 1000, ms % 1000 * 1'000'000 };
		int r = io_uring_wait_cqe_timeout(&ring_, &cqe, &timeout);
		if (r < 0)
			return { ~0ULL, r, false };
		Completion c{ cqe->user_data, cqe->res, (cqe->flags & IORING_CQE_F_MORE) != 0 };
		io_uring_cqe_seen(&ring_, cqe);
		return c;
	}
	bool idle() { return next(40).result == -ETIME; }
	// Without entering the kernel
	int seen_now()
	{
		io_uring_cqe *cqe;
		int n = 0;
		while (io_uring_peek_cqe(&ring_, &cqe) == 0) {
			io_uring_cqe_seen(&ring_, cqe);
			n++;
		}
		return n;
	}

private:
	io_uring ring_;
	io_uring_sqe *last_ = nullptr;
	std::uint64_t data_ = 0;
};
