// SPDX-License-Identifier: MIT
/*
 * coro-echo-server [PORT] - an echo server on 127.0.0.1, of coroutines over myepoll::poller
 *
 * co_await loop.readable(fd) suspends a coroutine until that is so. It is a one-shot watch whose
 * token is the awaiter, in the coroutine's own frame. Watches are collected and armed by the call
 * that waits: a round is one system call, however many coroutines it resumes. A descriptor is
 * awaited by one coroutine at a time, which alone closes it.
 */
#include <myepoll/poller.hpp>

#include "net.hpp"

#include <sys/timerfd.h>
#include <coroutine>
#include <unordered_set>
#include <vector>

namespace {

using myepoll::interest;
using myepoll::token;

class loop {
public:
	/* What co_await gives: no error, or why the descriptor cannot be watched */
	struct awaiter {
		loop &in;
		const int fd;
		const interest what;
		std::coroutine_handle<> who{};
		std::error_code error{};

		bool await_ready() const noexcept { return false; }
		void await_suspend(std::coroutine_handle<> h)
		{
			for (who = h; !in.changes_.set(fd, what | interest::oneshot, token::of(this));)
				in.look_at(in.poller_.apply(in.changes_)); /* which makes room */
		}
		std::error_code await_resume() const noexcept { return error; }
	};
	awaiter readable(int fd) noexcept { return { *this, fd, interest::in }; }
	awaiter writable(int fd) noexcept { return { *this, fd, interest::out }; }

	/* A coroutine whose first parameter is a loop, which destroys it if it outlives the loop */
	struct task {
		struct promise_type {
			explicit promise_type(loop &l, auto &&...) : in(l) { in.tasks_.insert(this); }
			~promise_type() { in.tasks_.erase(this); }
			task get_return_object() const noexcept { return {}; }
			std::suspend_never initial_suspend() const noexcept { return {}; }
			std::suspend_never final_suspend() const noexcept { return {}; }
			void return_void() const noexcept {}
			[[noreturn]] void unhandled_exception() const { throw; } /* out of run() */
			loop &in;
		};
	};

	/* It runs until @stop is readable. */
	explicit loop(int stop) { poller_.add(stop, interest::in, token()); }
	~loop()
	{
		for (auto all = tasks_; task::promise_type *const t : all)
			std::coroutine_handle<task::promise_type>::from_promise(*t).destroy();
	}
	void run()
	{
		for (std::array<myepoll::event, 64> room;;) {
			const auto turned = poller_.turn(changes_, room);
			look_at(turned);
			for (const auto &event : turned.events) {
				if (event.token() == token())
					return;
				event.token().as<awaiter>()->who.resume();
			}
			while (!failed_.empty())
				for (awaiter *const a : std::exchange(failed_, {}))
					a->who.resume();
		}
	}

private:
	/* They go on from run(), since what they do uses the set that @turned is a part of. */
	void look_at(const myepoll::turned &turned)
	{
		for (const auto &change : turned.tried)
			if (change.failed())
				failed_.emplace_back(change.token().as<awaiter>())->error = change.result();
	}

	myepoll::poller poller_;
	myepoll::change_set changes_{ 256 };
	std::vector<awaiter *> failed_;
	std::unordered_set<task::promise_type *> tasks_;
};

loop::task session(loop &l, int number)
{
	const net::unique_fd fd(number);
	std::array<char, 4096> buffer;
	while (!co_await l.readable(fd.get())) {
		const ssize_t n = read(fd.get(), buffer.data(), buffer.size());
		if (n == 0 || (n < 0 && errno != EAGAIN))
			co_return;
		for (ssize_t sent = 0; sent < n;) {
			const ssize_t m = send(fd.get(), &buffer[sent], n - sent, MSG_NOSIGNAL);
			if (m < 0 && (errno != EAGAIN || co_await l.writable(fd.get())))
				co_return;
			sent += m < 0 ? 0 : m;
		}
	}
}

loop::task accept_all(loop &l, const net::listener &from, unsigned long &served)
{
	const net::unique_fd timer(net::checked(timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC), "timerfd"));
	const itimerspec later{ {}, { 0, 200'000'000 } };

	for (int fd;;) {
		if (const auto ec = co_await l.readable(from.get())) /* its watch, before any client's */
			throw std::system_error(ec, "the listening socket");
		while ((fd = net::accept(from)) >= 0 || errno != EAGAIN) {
			if (fd >= 0)
				session(l, fd), served++;
			else if (!timerfd_settime(timer.get(), 0, &later, nullptr))
				co_await l.readable(timer.get()); /* a while later there may be a descriptor */
		}
	}
}

struct server : net::listener {
	using listener::listener;
	unsigned long run()
	{
		unsigned long served = 0;
		loop l(signals.get());

		accept_all(l, *this, served);
		return l.run(), served;
	}
	net::unique_fd signals{ net::block_signals() };
};

} // namespace

int main(int argc, char **argv)
{
	return net::serve<server>("coro-echo-server", "[PORT]", argc, argv, 1);
}
