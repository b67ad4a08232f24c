// SPDX-License-Identifier: MIT
/*
 * echo-server [--turn] [PORT] - an echo server on 127.0.0.1, on myepoll::poller
 *
 * Prints the port, which 0 leaves to the kernel to choose. Edge-triggered, one
 * thread. SIGTERM and SIGINT end it, with the number of connections it served.
 *
 * With --turn it makes no change at once. It collects them, and makes them in the call that
 * waits: one system call a round, however many clients have come. What becomes of a change
 * is known when the call returns.
 *
 * What an edge-triggered server must get right and this one shows: read and
 * accept until EAGAIN; stop reading while the peer does not take what was
 * written (a client that only sends must not fill our memory); answer a client
 * that shut its sending side down to the last byte before closing; and, out of
 * descriptors or watches, go on for those that are there.
 */
#include <myepoll/poller.hpp>

#include "net.hpp"

#include <array>
#include <cerrno>
#include <chrono>
#include <cstring>
#include <memory>
#include <unordered_map>

namespace {

using myepoll::interest;
using net::connection;

class server {
	using clock = std::chrono::steady_clock;

public:
	server(std::uint16_t port, bool by_turns)
		: by_turns_(by_turns),
		  listener_(port), signals_(net::block_signals())
	{
		/* Level-triggered: when we are out of descriptors, clients that wait are reported again. */
		poller_.add(listener_.get(), interest::in, myepoll::token::of(&listener_));
		poller_.add(signals_.get(), interest::in, myepoll::token::of(&signals_));
	}

	std::uint16_t port() const { return listener_.port(); }

	/* Returns the number of connections served. */
	unsigned long run()
	{
		std::array<myepoll::event, 64> room;

		for (;;) {
			const auto events = by_turns_ ? turn(room) : wait(room);

			if (!accepting_ && clock::now() >= retry_at_)
				accept_again();
			for (const auto &event : events) {
				if (event.token() == myepoll::token::of(&signals_))
					return served_;
				if (event.token() == myepoll::token::of(&listener_))
					accept_all();
				else
					serve(event.token().as<connection>());
			}
		}
	}

private:
	std::span<myepoll::event> wait(std::span<myepoll::event> room)
	{
		return accepting_ ? poller_.wait(room) : poller_.wait_until(room, retry_at_);
	}

	/* The same, and what is collected is made before. */
	std::span<myepoll::event> turn(std::span<myepoll::event> room)
	{
		const auto turned = accepting_ ? poller_.turn(changes_, room) :
						 poller_.turn_until(changes_, room, retry_at_);

		look_at(turned);
		return turned.events;
	}

	void look_at(const myepoll::turned &turned)
	{
		if (!turned.failed)
			return;
		for (const auto &change : turned.tried) {
			if (!change.failed())
				continue;
			if (change.op() != myepoll::operation::add)
				throw std::system_error(change.result(), "echo-server: a change");
			/* ENOSPC: the user's watches are used up. This client's connection closes. */
			connections_.erase(change.token().as<connection>());
			served_--;
		}
	}

	void collect(const myepoll::change &change)
	{
		if (changes_.put(change))
			return;
		look_at(poller_.apply(changes_));
		static_cast<void>(changes_.put(change)); /* all of it is free now */
	}

	void watch_listener(interest what)
	{
		const auto token = myepoll::token::of(&listener_);

		if (by_turns_)
			collect(myepoll::change::modify(listener_.get(), what, token));
		else
			poller_.modify(listener_.get(), what, token);
	}

	void accept_all()
	{
		for (;;) {
			const int fd = net::accept(listener_);

			if (fd < 0) {
				if (errno != EAGAIN)
					accept_later();
				return;
			}
			watch(std::make_unique<connection>(fd));
		}
	}

	void watch(std::unique_ptr<connection> c)
	{
		constexpr auto what = interest::in | interest::out | interest::rdhup | interest::edge;
		const auto token = myepoll::token::of(c.get());
		std::error_code ec;

		if (by_turns_)
			collect(myepoll::change::add(c->fd(), what, token));
		else
			poller_.add(c->fd(), what, token, ec);
		if (ec) /* ENOSPC: the user's watches are used up. This one closes. */
			return;
		connections_.emplace(c.get(), std::move(c));
		served_++;
	}

	/*
	 * There is no descriptor or no memory for the next client. It stays in the
	 * queue, the listener stays ready, and to watch it would be a busy loop. So it
	 * is not watched until one of our connections ends, or some time has passed:
	 * other processes give back what they have as well.
	 */
	void accept_later()
	{
		if (accepting_)
			watch_listener(interest::none);
		accepting_ = false;
		retry_at_ = clock::now() + std::chrono::milliseconds(200);
	}

	void accept_again()
	{
		if (!accepting_)
			watch_listener(interest::in);
		accepting_ = true;
	}

	/*
	 * The event need not be looked at, since the socket says the rest: after RDHUP
	 * read() returns 0 once the data is gone, and after an error either call fails.
	 * It is safe to close here: there is one thread, and a descriptor comes once a wait.
	 */
	void serve(connection *c)
	{
		if (c->run() != interest::none)
			return;
		connections_.erase(c);
		accept_again();
	}

	const bool by_turns_;
	myepoll::poller poller_;
	myepoll::change_set changes_{64};
	net::listener listener_;
	net::unique_fd signals_;
	std::unordered_map<connection *, std::unique_ptr<connection>> connections_;
	unsigned long served_ = 0;
	bool accepting_ = true;
	clock::time_point retry_at_;
};

} // namespace

int main(int argc, char **argv)
{
	const bool by_turns = argc > 1 && !std::strcmp(argv[1], "--turn");

	return net::serve<server>("echo-server", "[--turn] [PORT]", argc, argv, 1 + by_turns, by_turns);
}
