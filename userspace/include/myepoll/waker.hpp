// SPDX-License-Identifier: MIT
/**
 * @file waker.hpp
 * Ends a wait of another thread's.
 */
#ifndef MYEPOLL_WAKER_HPP
#define MYEPOLL_WAKER_HPP

#include <myepoll/event.hpp>
#include <myepoll/poller.hpp>

#include <system_error>
#include <utility>

namespace myepoll {

/**
 * An event that any thread, or a signal handler, sends to whoever waits on an instance. Put the
 * work where the other thread looks for it, then wake() it:
 *
 *	waker w(poller, token(0));		// by the thread that waits
 *	queue.push(work), w.wake();		// by any other, for events with this token
 *	std::stop_callback on_stop(stop, [&] { w.wake(); });
 *
 * A wait that begins after wake() finds the event as well, so none is lost. Several wake() before
 * a wait may be one event. Of several threads that wait, one has it. Nothing has to be read
 * afterwards: the watch is edge-triggered, on an eventfd(2).
 *
 * The waker may outlive its poller, which has no events for it after it has gone. Beyond moving
 * and destroying it, all may be called by several threads at a time.
 */
class [[gnu::visibility("default")]] waker {
public:
	/** Throws what eventfd(2) (EMFILE, ENFILE, ENOMEM) and poller::add() fail with. */
	waker(poller &p, token t);

	/** The same, or with @p ec set one whose wake() does nothing. */
	[[nodiscard]] static waker create(poller &p, token t, std::error_code &ec) noexcept;

	waker(waker &&other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
	waker &operator=(waker &&other) noexcept
	{
		waker moved(std::move(other));

		std::swap(fd_, moved.fd_);
		return *this;
	}
	~waker();

	/** Cannot fail, does not block, leaves errno alone, and is async-signal-safe. */
	void wake() noexcept;

	[[nodiscard]] explicit operator bool() const noexcept { return fd_ >= 0; }
	/** The eventfd, still owned. */
	[[nodiscard]] int native_handle() const noexcept { return fd_; }

private:
	explicit waker(int fd) noexcept : fd_(fd) {}

	int fd_;
};

} // namespace myepoll

#endif // MYEPOLL_WAKER_HPP
