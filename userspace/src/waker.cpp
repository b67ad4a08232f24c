// SPDX-License-Identifier: MIT
/*
 * libmyepoll++ - myepoll::waker, see include/myepoll/waker.hpp
 */
#include <myepoll/waker.hpp>

#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <cerrno>
#include <cstdint>

namespace myepoll {

waker waker::create(poller &p, token t, std::error_code &ec) noexcept
{
	waker w(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));

	if (!w) {
		ec.assign(errno, std::system_category());
		return w;
	}
	p.add(w.fd_, interest::in | interest::edge, t, ec);
	return ec ? waker(-1) : std::move(w);
}

waker::waker(poller &p, token t) : fd_(-1)
{
	std::error_code ec;

	*this = create(p, t, ec);
	if (ec)
		throw std::system_error(ec, "myepoll::waker");
}

/* By system calls, since close(3), read(3) and write(3) are cancellation points. */
waker::~waker()
{
	const int saved = errno;

	if (fd_ >= 0)
		::syscall(SYS_close, fd_);
	errno = saved;
}

/* Each write is an edge, whatever the count. It is read only when it is at its end. */
void waker::wake() noexcept
{
	const int saved = errno;
	const std::uint64_t one = 1;
	std::uint64_t count;

	while (fd_ >= 0 && ::syscall(SYS_write, fd_, &one, sizeof(one)) < 0 && errno == EAGAIN)
		::syscall(SYS_read, fd_, &count, sizeof(count));
	errno = saved;
}

} // namespace myepoll
