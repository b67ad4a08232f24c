// SPDX-License-Identifier: GPL-2.0
// A user of the C++ library who has switched exceptions and type information off
#include <myepoll/poller.hpp>
#include <myepoll/waker.hpp>

#include <array>
#include <chrono>

#ifdef __cpp_exceptions
#error "this is to be compiled with -fno-exceptions"
#endif

// 0, or the step that went wrong
int without_exceptions(int fd)
{
	using namespace std::chrono_literals;
	using myepoll::interest;
	using myepoll::token;
	std::error_code ec;
	myepoll::poller p = myepoll::poller::create(ec);
	std::array<myepoll::event, 4> room;
	std::array<myepoll::watch, 4> watches;
	myepoll::change_set changes(4);

	if (ec)
		return 1;
	if (!changes.add(fd, interest::in, token(1)))
		return 2;
	if (p.turn(changes, room, 1s, ec).events.size() != 1 || ec)
		return 3;
	p.set(fd, interest::in | interest::oneshot, token(2), ec);
	if (ec || p.wait(room, 1s, ec).size() != 1)
		return 4;
	p.disable(fd, ec);
	if (ec != std::errc::device_or_resource_busy)
		return 5;
	if (p.list(watches, ec).total != 1 || !watches[0].disabled())
		return 6;
	p.drop(token(2), ec);
	if (ec)
		return 7;
	myepoll::change again[] = { myepoll::change::remove(fd) };
	if (p.apply(again, ec).failed != 1 || ec || again[0].result() != std::errc::no_such_file_or_directory)
		return 8;
	myepoll::change both[] = { myepoll::change::remove(fd), myepoll::change::remove(fd) };
	if (p.turn(until_failure(both), room, 0s, ec).tried.size() != 1 || ec)
		return 9;
	p.set_options({ .fair = true, .balance = false, .min_wait = 1us }, ec);
	if (ec || !p.get_options(ec).fair || !any(p.features(ec), myepoll::feature::turn))
		return 10;
	myepoll::waker w = myepoll::waker::create(p, token(3), ec);
	w.wake();
	if (ec || p.wait_until(room, std::chrono::steady_clock::now() + 1s, ec).size() != 1 || ec)
		return 11;
	return 0;
}
