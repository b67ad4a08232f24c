// SPDX-License-Identifier: MIT
/*
 * asio-echo-server [PORT] - an echo server on 127.0.0.1, whose poller runs in Asio's loop
 *
 * For programs that have a loop already and want what a poller can do for some of their
 * descriptors. Its own descriptor is readable while a wait would find events, so the loop watches
 * that, and then the poller is asked without waiting. Here the clients are the poller's; the
 * signals and a timer are Asio's.
 *
 * Asio itself watches edges. async_wait() looks anew each time, so events for which there was no
 * room are not forgotten.
 *
 * This is the Asio that stands alone (Debian: libasio-dev). With Boost.Asio, the headers are
 * <boost/asio/...>, the namespace is boost::asio and error codes are boost::system's.
 */
#define ASIO_STANDALONE
#include <asio/io_context.hpp>
#include <asio/posix/stream_descriptor.hpp>
#include <asio/signal_set.hpp>
#include <asio/steady_timer.hpp>

#include <myepoll/poller.hpp>

#include "net.hpp"

#include <fcntl.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <memory>
#include <unordered_map>

namespace {

using namespace std::chrono_literals;
using myepoll::interest;
using myepoll::token;
using net::connection;

class server {
public:
	explicit server(std::uint16_t port) : listener_(port)
	{
		poller_.add(listener_.get(), interest::in, token::of(&listener_));
		stop_.async_wait([this](const std::error_code &, int) { io_.stop(); });
		look_when_ready();
	}

	std::uint16_t port() const { return listener_.port(); }

	unsigned long run()
	{
		io_.run();
		return served_;
	}

private:
	void look_when_ready()
	{
		ready_.async_wait(asio::posix::stream_descriptor::wait_read, [this](const std::error_code &ec) {
			if (ec)
				return;
			look();
			look_when_ready();
		});
	}

	/* The rest, if there are more, is there at once when we ask again, after what Asio has to do. */
	void look()
	{
		std::array<myepoll::event, 16> room;

		for (const auto &event : poller_.wait(room, 0ms)) {
			if (event.token() == token::of(&listener_)) {
				accept_all();
				continue;
			}
			auto *const c = event.token().as<connection>();

			if (c->run() == interest::none)
				connections_.erase(c);
		}
	}

	void accept_all()
	{
		int fd;

		while ((fd = net::accept(listener_)) >= 0) {
			auto c = std::make_unique<connection>(fd);
			std::error_code ec;

			poller_.add(fd, interest::in | interest::out | interest::rdhup | interest::edge,
				    token::of(c.get()), ec);
			if (ec) /* ENOSPC: the user's watches are used up. This one closes. */
				continue;
			connections_.emplace(c.get(), std::move(c));
			served_++;
		}
		if (errno != EAGAIN)
			accept_later();
	}

	/* The listener stays ready while there is no descriptor for its next client. */
	void accept_later()
	{
		poller_.modify(listener_.get(), interest::none, token::of(&listener_));
		retry_.expires_after(200ms);
		retry_.async_wait([this](const std::error_code &) {
			poller_.modify(listener_.get(), interest::in, token::of(&listener_));
		});
	}

	/* Asio closes what it is given, so it has a descriptor of its own. */
	int descriptor() const
	{
		return net::checked(fcntl(poller_.native_handle(), F_DUPFD_CLOEXEC, 0), "fcntl");
	}

	net::listener listener_;
	myepoll::poller poller_;
	std::unordered_map<connection *, std::unique_ptr<connection>> connections_;
	unsigned long served_ = 0;
	asio::io_context io_{1};
	asio::signal_set stop_{io_, SIGINT, SIGTERM};
	asio::steady_timer retry_{io_};
	asio::posix::stream_descriptor ready_{io_, descriptor()};
};

} // namespace

int main(int argc, char **argv)
{
	return net::serve<server>("asio-echo-server", "[PORT]", argc, argv, 1);
}
