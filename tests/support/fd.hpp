// SPDX-License-Identifier: GPL-2.0
// A descriptor that closes itself, and an event in one expression
#pragma once

#include <cstdint>
#include <utility>

#include <sys/epoll.h>
#include <unistd.h>

class Fd {
public:
	Fd() = default;
	explicit Fd(int fd) : fd_(fd) {}
	Fd(Fd &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
	Fd &operator=(Fd &&other) noexcept
	{
		reset(std::exchange(other.fd_, -1));
		return *this;
	}
	~Fd() { reset(); }

	operator int() const { return fd_; }
	int release() { return std::exchange(fd_, -1); }
	void reset(int fd = -1)
	{
		if (fd_ >= 0)
			close(fd_);
		fd_ = fd;
	}

private:
	int fd_ = -1;
};

inline epoll_event ev(std::uint32_t events, std::uint64_t data = 0)
{
	epoll_event e{};
	e.events = events;
	e.data.u64 = data;
	return e;
}
