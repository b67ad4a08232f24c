// SPDX-License-Identifier: GPL-2.0
// aio's IOCB_CMD_POLL, by system calls alone
#pragma once

#include <cerrno>
#include <cstdint>
#include <cstring>

#include <linux/aio_abi.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support.hpp"

class Aio {
public:
	Aio() { must_libc(syscall(SYS_io_setup, 16, &context_), "io_setup"); }
	~Aio() { syscall(SYS_io_destroy, context_); }
	Aio(const Aio &) = delete;

	// resfd: an eventfd to signal at the completion, or -1
	void poll(int fd, std::uint64_t data, int resfd = -1)
	{
		iocb *list[] = { &iocb_ };
		std::memset(&iocb_, 0, sizeof iocb_);
		iocb_.aio_lio_opcode = IOCB_CMD_POLL;
		iocb_.aio_fildes = static_cast<std::uint32_t>(fd);
		iocb_.aio_buf = POLLIN;
		iocb_.aio_data = data;
		if (resfd >= 0) {
			iocb_.aio_flags = IOCB_FLAG_RESFD;
			iocb_.aio_resfd = static_cast<std::uint32_t>(resfd);
		}
		must_libc(syscall(SYS_io_submit, context_, 1, list), "io_submit");
	}
	// The result of the next completion, 0 if there is none in time
	long next(std::uint64_t data, int ms = patience_ms)
	{
		io_event event{};
		timespec timeout{ ms / 1000, ms % 1000 * 1'000'000 };
		int n = must_libc(syscall(SYS_io_getevents, context_, 1, 1, &event, &timeout));
		return n == 0 ? 0 : event.data == data ? static_cast<long>(event.res) : -1000;
	}
	int cancel()
	{
		io_event event{};
		return syscall(SYS_io_cancel, context_, &iocb_, &event) < 0 ? -errno : 0;
	}

private:
	aio_context_t context_ = 0;
	iocb iocb_;
};

constexpr char deadlocks[] = "this kernel's epoll and aio deadlock here; fixed in 6.12.117";

// aio -> eventfd -> instance -> aio, in one wake-up: the kernel's epoll
// deadlocked on it before aio was taught not to.
inline bool circle_is_safe()
{
	return !be().native() || kernel_has_fix({ 7, 1, 0 }, { 6, 12, 117 });
}
