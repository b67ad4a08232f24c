// SPDX-License-Identifier: MIT
/*
 * pool-server [PORT [THREADS [IDLE]]] - an echo server on 127.0.0.1, of many threads that wait
 * on one instance, and one that owns the connections
 *
 * A connection that was idle for IDLE milliseconds (10,000) is expelled. Prints the port, which
 * 0 leaves to the kernel to choose. SIGTERM and SIGINT end it, with what it has done.
 *
 * What it shows: when may the memory of a connection be freed? It is the token of a watch, so
 * any of the workers may have it, from an event that a wait has just returned. To remove the
 * watch does not help, since it does not take such an event back. So watches are one-shot, and
 * the owner disables one before it frees:
 *
 *	success		nobody has the connection, and nobody will. It is freed
 *	EBUSY		a worker has it. To arm the watch again will fail for him, with ECANCELED,
 *			and then he hands the connection over to the owner, who frees it
 *
 * A worker who finds that a connection is over hands it over as well. None of them touches it
 * after he has armed its watch or handed it over. So it is freed once, and by the owner, who needs
 * no lock to look at it.
 */
#include <myepoll/poller.hpp>

#include "net.hpp"

#include <sys/eventfd.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <unordered_map>
#include <utility>
#include <vector>

namespace {

using clock = std::chrono::steady_clock;
using myepoll::interest;
using myepoll::token;

class connection : public net::connection {
public:
	using net::connection::connection;

	/* By a worker */
	interest run() noexcept
	{
		const interest next = net::connection::run();

		if (next != interest::none)
			last_used_ = clock::now();
		return next;
	}

	/* By the owner */
	clock::time_point last_used() const noexcept { return last_used_; }
	bool expelled = false;

private:
	std::atomic<clock::time_point> last_used_ = clock::now();
};

/* Connections on their way from workers to the owner */
class handover {
public:
	int fd() const noexcept { return news_.get(); }

	void put(connection *c)
	{
		const std::lock_guard lock(mutex_);

		all_.push_back(c);
		eventfd_write(fd(), 1);
	}
	std::vector<connection *> take()
	{
		const std::lock_guard lock(mutex_);
		eventfd_t n;

		eventfd_read(fd(), &n);
		return std::exchange(all_, {});
	}

private:
	net::unique_fd news_{ net::checked(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd") };
	std::mutex mutex_;
	std::vector<connection *> all_;
};

class server {
public:
	server(std::uint16_t port, unsigned threads, std::chrono::milliseconds idle)
		: idle_(idle), signals_(net::block_signals()), listener_(port)
	{
		own_.add(listener_.get(), interest::in, token::of(&listener_));
		own_.add(signals_.get(), interest::in, token::of(&signals_));
		own_.add(over_.fd(), interest::in, token::of(&over_));
		shared_.add(stop_.get(), interest::in, token::of(&stop_));
		for (unsigned i = 0; i < threads; i++)
			workers_.emplace_back([this] { work(); });
	}

	std::uint16_t port() const { return listener_.port(); }

	/* The owner */
	void run()
	{
		std::array<myepoll::event, 16> room;
		bool stop = false;

		while (!stop) {
			for (const auto &event : own_.wait(room, std::chrono::microseconds(idle_) / 2)) {
				if (event.token() == token::of(&listener_))
					accept_all();
				else if (event.token() == token::of(&over_))
					free_what_is_over();
				else
					stop = true;
			}
			expel_idle();
		}
		eventfd_write(stop_.get(), 1);
		for (auto &worker : workers_)
			worker.join();
		std::printf("pool-server: %lu connections, %lu expelled (%lu of them busy)\n", served_,
			    expelled_, busy_);
	}

private:
	void work()
	{
		std::array<myepoll::event, 4> room;

		for (;;)
			for (const auto &event : shared_.wait(room)) {
				if (event.token() == token::of(&stop_))
					return;
				serve(event.token().as<connection>());
			}
	}

	void serve(connection *c)
	{
		const interest next = c->run();
		std::error_code ec;

		if (next != interest::none) {
			shared_.modify(c->fd(), next | interest::oneshot, token::of(c), ec);
			if (!ec)
				return; /* and it may be gone by now */
			/* ECANCELED: it was expelled meanwhile. */
		}
		over_.put(c);
	}

	void accept_all()
	{
		for (;;) {
			const int fd = net::accept(listener_);

			if (fd < 0)
				return; /* echo-server shows what is to be done without descriptors */

			auto c = std::make_unique<connection>(fd);
			connection *const key = c.get();
			std::error_code ec;

			/* First ours: a worker may hand it over before the next line. */
			connections_.emplace(key, std::move(c));
			shared_.add(fd, interest::in | interest::oneshot, token::of(key), ec);
			if (ec)
				connections_.erase(key);
			else
				served_++;
		}
	}

	void free_what_is_over()
	{
		for (connection *c : over_.take())
			connections_.erase(c);
	}

	void expel_idle()
	{
		const auto limit = clock::now() - idle_;

		for (auto i = connections_.begin(); i != connections_.end();) {
			connection *const c = i->first;
			std::error_code ec;

			if (c->expelled || c->last_used() > limit) {
				++i;
				continue;
			}
			expelled_++;
			shared_.disable(c->fd(), ec);
			if (!ec) {
				i = connections_.erase(i);
				continue;
			}
			/* EBUSY: it will be handed over. */
			c->expelled = true;
			busy_++;
			++i;
		}
	}

	const std::chrono::milliseconds idle_;
	myepoll::poller own_, shared_;
	net::unique_fd signals_;
	net::listener listener_;
	net::unique_fd stop_{ net::checked(eventfd(0, EFD_CLOEXEC), "eventfd") };
	handover over_;
	std::unordered_map<connection *, std::unique_ptr<connection>> connections_;
	unsigned long served_ = 0, expelled_ = 0, busy_ = 0;
	std::vector<std::thread> workers_;
};

} // namespace

int main(int argc, char **argv)
{
	const int port = argc > 1 ? std::atoi(argv[1]) : 7777;
	const int threads = argc > 2 ? std::atoi(argv[2]) : 4;
	const int idle = argc > 3 ? std::atoi(argv[3]) : 10'000;

	if (argc > 4 || port < 0 || port > 65535 || threads < 1 || idle < 1) {
		std::fprintf(stderr, "usage: pool-server [PORT [THREADS [IDLE]]]\n");
		return 2;
	}
	try {
		server s(static_cast<std::uint16_t>(port), static_cast<unsigned>(threads),
			 std::chrono::milliseconds(idle));

		std::printf("pool-server: port %u\n", s.port());
		std::fflush(stdout);
		s.run();
	} catch (const std::exception &e) {
		std::fprintf(stderr, "pool-server: %s\n", e.what());
		return 1;
	}
	return 0;
}
