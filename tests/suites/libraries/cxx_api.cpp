// SPDX-License-Identifier: GPL-2.0
// The C++ library
#include "catch.hpp"
#include "util.hpp"

#include <myepoll/poller.hpp>

#include <array>
#include <atomic>
#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <fstream>
#include <map>
#include <new>
#include <thread>
#include <type_traits>
#include <unordered_map>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using myepoll::event;
using myepoll::interest;
using myepoll::poller;
using myepoll::readiness;
using myepoll::token;

static std::atomic<unsigned long> allocations;

void *operator new(std::size_t size)
{
	allocations++;
	if (void *p = std::malloc(size ? size : 1))
		return p;
	throw std::bad_alloc();
}

void *operator new(std::size_t size, const std::nothrow_t &) noexcept
{
	allocations++;
	return std::malloc(size ? size : 1);
}

/* Out of line, where the compiler does not wonder whose memory is freed. */
[[gnu::noinline]] void operator delete(void *p) noexcept
{
	std::free(p);
}

[[gnu::noinline]] void operator delete(void *p, std::size_t) noexcept
{
	std::free(p);
}

static_assert(std::is_nothrow_move_constructible_v<poller>);
static_assert(std::is_nothrow_move_assignable_v<poller>);
static_assert(!std::is_copy_constructible_v<poller> && !std::is_copy_assignable_v<poller>);
static_assert(!std::is_convertible_v<int, poller> && !std::is_convertible_v<poller, int>);
static_assert(!std::is_convertible_v<std::uint64_t, token> && !std::is_convertible_v<token, std::uint64_t>);
static_assert(!std::is_convertible_v<interest, std::uint32_t>);
static_assert(sizeof(poller) == sizeof(int));
static_assert(noexcept(std::declval<poller &>().add(0, interest::in, token(), std::declval<std::error_code &>())));
static_assert(!noexcept(std::declval<poller &>().wait(std::span<event>(), std::declval<std::error_code &>())));

// A timeout is a duration: a number, above all 0, must not become a mask.
template <typename... Arguments>
concept waits = requires(poller p, std::span<event> room, Arguments &&...arguments) {
	p.wait(room, std::forward<Arguments>(arguments)...);
};
// In a requires-expression of its own, since a 0 that was passed on is no null pointer.
template <typename Poller>
concept waits_for_0 = requires(Poller p, std::span<event> room) { p.wait(room, 0); };
template <typename Poller>
concept waits_for_false = requires(Poller p, std::span<event> room) { p.wait(room, false); };
template <typename Poller>
concept waits_for_NULL = requires(Poller p, std::span<event> room) { p.wait(room, NULL); };
template <typename Poller>
concept waits_for_0_ec = requires(Poller p, std::span<event> room, std::error_code ec) { p.wait(room, 0, ec); };
template <typename Poller>
concept waits_for_ec_0 = requires(Poller p, std::span<event> room, std::error_code ec) { p.wait(room, ec, 0); };
static_assert(!waits_for_0<poller> && !waits_for_false<poller> && !waits_for_NULL<poller>);
static_assert(!waits_for_0_ec<poller> && !waits_for_ec_0<poller>);
static_assert(!waits<int> && !waits<unsigned long> && !waits<std::nullptr_t> && !waits<double>);
static_assert(!waits<int, std::error_code &> && !waits<std::error_code &, int>);
static_assert(waits<> && waits<std::error_code &> && waits<std::chrono::seconds>);
static_assert(waits<const sigset_t *> && waits<sigset_t *> && waits<std::error_code &, const sigset_t *>);
static_assert(waits<std::chrono::seconds, std::error_code &, sigset_t *>);

// The bits are the system's.
static_assert(static_cast<std::uint32_t>(interest::in | interest::pri | interest::out | interest::rdnorm |
					 interest::rdband | interest::wrnorm | interest::wrband |
					 interest::msg | interest::rdhup | interest::exclusive |
					 interest::wakeup | interest::oneshot | interest::edge) ==
	      (EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLRDNORM | EPOLLRDBAND | EPOLLWRNORM | EPOLLWRBAND |
	       EPOLLMSG | EPOLLRDHUP | EPOLLEXCLUSIVE | EPOLLWAKEUP | EPOLLONESHOT | EPOLLET));
static_assert(static_cast<std::uint32_t>(readiness::in | readiness::pri | readiness::out | readiness::err |
					 readiness::hup | readiness::rdnorm | readiness::rdband |
					 readiness::wrnorm | readiness::wrband | readiness::msg |
					 readiness::rdhup) ==
	      (EPOLLIN | EPOLLPRI | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLRDNORM | EPOLLRDBAND |
	       EPOLLWRNORM | EPOLLWRBAND | EPOLLMSG | EPOLLRDHUP));
// What to watch for is not what was reported.
static_assert(!std::is_same_v<decltype(event().bits()), interest>);
template <typename A, typename B>
concept joins = requires(A a, B b) { a | b; };
static_assert(joins<interest, interest> && joins<readiness, readiness>);
static_assert(!joins<interest, readiness> && !joins<interest, unsigned> && !joins<std::byte, interest>);
static_assert((~interest::none & interest::in) == interest::in);
static_assert(any(interest::in | interest::out, interest::out) && !any(interest::in, interest::out));
static_assert(!any(interest::none) && any(interest::pri));

TEST_CASE("interest: compound assignment", "[cxx]")
{
	interest i = interest::in;

	i |= interest::out;
	CHECK(i == (interest::in | interest::out));
	i &= ~interest::in;
	CHECK(i == interest::out);
}

TEST_CASE("token: a number or a pointer", "[cxx]")
{
	int object = 0;
	const int constant = 0;

	CHECK(token().value() == 0);
	CHECK(token(~0ull).value() == ~0ull);
	CHECK(token::of(&object).as<int>() == &object);
	CHECK(token::of(&constant).as<const int>() == &constant);
	CHECK(token::of(&object) == token(reinterpret_cast<std::uintptr_t>(&object)));
	CHECK(token(1) != token(2));
	CHECK(token(1) < token(2));
	CHECK(token(~0ull) > token(2));
	CHECK(std::map<token, int>{ { token(2), 1 }, { token(1), 2 } }.begin()->second == 2);
	CHECK(std::unordered_map<token, int>{ { token::of(&object), 7 } }.at(token::of(&object)) == 7);
}

TEST_CASE("event: what its bits mean", "[cxx]")
{
	const auto with = [](readiness bits) { return event(bits, token(9)); };

	CHECK(with(readiness::in).readable());
	CHECK_FALSE(with(readiness::in).writable());
	CHECK(with(readiness::out).writable());
	CHECK_FALSE(with(readiness::out).readable());
	CHECK_FALSE(with(readiness::pri).readable());
	CHECK(with(readiness::hup).hangup());
	CHECK(with(readiness::hup).readable());
	CHECK(with(readiness::hup).peer_closed());
	CHECK_FALSE(with(readiness::hup).writable());
	CHECK(with(readiness::rdhup).peer_closed());
	CHECK(with(readiness::rdhup).readable());
	CHECK_FALSE(with(readiness::rdhup).hangup());
	CHECK(with(readiness::err).error());
	CHECK(with(readiness::err).readable());
	CHECK(with(readiness::err).writable());
	CHECK_FALSE(with(readiness::in).error());
	CHECK(with(readiness::in).token() == token(9));
	CHECK(with(readiness::in).raw().data.u64 == 9);
	CHECK(event(ev(EPOLLOUT, 5)).bits() == readiness::out);
	CHECK(event{}.bits() == readiness::none);
}

TEST_CASE("poller: construction", "[cxx]")
{
	poller a, b(myepoll::on_exec::keep);
	std::error_code ec = std::make_error_code(std::errc::io_error);
	poller c = poller::create(ec);

	CHECK_FALSE(ec);
	CHECK(link_of(a.native_handle()) == "anon_inode:[myepoll]");
	CHECK(fcntl(a.native_handle(), F_GETFD) == FD_CLOEXEC);
	CHECK(fcntl(b.native_handle(), F_GETFD) == 0);
	CHECK(fcntl(c.native_handle(), F_GETFD) == FD_CLOEXEC);
	CHECK(bool(c));
}

TEST_CASE("poller: construction that fails", "[cxx]")
{
	const int status = in_child([] {
		rlimit limit;
		std::error_code ec;

		getrlimit(RLIMIT_NOFILE, &limit);
		limit.rlim_cur = 3;
		setrlimit(RLIMIT_NOFILE, &limit);
		const poller p = poller::create(ec);
		EXPECT(ec == std::errc::too_many_files_open);
		EXPECT(!p);
		EXPECT(p.native_handle() == -1);
		try {
			poller thrown;
		} catch (const std::system_error &e) {
			EXPECT(e.code() == std::errc::too_many_files_open);
			return 0;
		}
		return 2;
	});

	CHECK(status == 0);
}

TEST_CASE("poller: moving, releasing, adopting, closing", "[cxx]")
{
	const auto before = open_files();
	{
		poller a;
		const int fd = a.native_handle();
		poller b = std::move(a);

		CHECK_FALSE(bool(a));
		CHECK(a.native_handle() == -1);
		CHECK(b.native_handle() == fd);

		poller c;
		const int replaced = c.native_handle();
		c = std::move(b);
		CHECK(c.native_handle() == fd);
		CHECK(fcntl(replaced, F_GETFD) == -1);

		poller &alias = c;
		c = std::move(alias);
		CHECK(c.native_handle() == fd);
		CHECK(fcntl(fd, F_GETFD) >= 0);

		swap(b, c);
		CHECK(b.native_handle() == fd);
		CHECK_FALSE(bool(c));

		CHECK(b.release() == fd);
		CHECK_FALSE(bool(b));
		CHECK(b.release() == -1);
		CHECK(fcntl(fd, F_GETFD) >= 0);

		poller d = poller::adopt(fd);
		CHECK(d.native_handle() == fd);
		errno = ERANGE;
		d.close();
		CHECK(errno == ERANGE);
		CHECK_FALSE(bool(d));
		CHECK(fcntl(fd, F_GETFD) == -1);
		d.close();

		std::error_code ec;
		std::array<event, 1> room;
		d.add(0, interest::in, token(), ec);
		CHECK(ec == std::errc::bad_file_descriptor);
		CHECK(d.wait(room, 0ms, ec).empty());
		CHECK(ec == std::errc::bad_file_descriptor);
	}
	CHECK(open_files() == before);
}

TEST_CASE("poller: add, modify, remove, wait", "[cxx]")
{
	poller p;
	Fd a = eventfd_with(1), b = eventfd_with(0);
	std::array<event, 4> room;

	p.add(a, interest::in, token(1));
	p.add(b, interest::in | interest::out, token(2));
	auto got = p.wait(room);

	REQUIRE(got.size() == 2);
	CHECK(got.data() == room.data());
	CHECK(got[0].token() == token(1));
	CHECK(got[0].readable());
	CHECK(got[1].token() == token(2));
	CHECK(got[1].writable());
	CHECK_FALSE(got[1].readable());

	p.modify(b, interest::in, token(3));
	p.remove(a);
	CHECK(p.wait(room, 0s).empty());
	eventfd_write(b, 1);
	got = p.wait(std::span(room).subspan(2), 1h);
	REQUIRE(got.size() == 1);
	CHECK(got.data() == &room[2]);
	CHECK(got[0].token() == token(3));
}

TEST_CASE("poller: both forms report the same errors", "[cxx]")
{
	poller p;
	Fd fd = eventfd_with(0), other = eventfd_with(0), file(open("/proc/self/exe", O_RDONLY));
	std::error_code ec;

	p.add(fd, interest::in, token());
	p.add(fd, interest::in, token(), ec);
	CHECK(ec == std::errc::file_exists);
	CHECK(thrown([&] { p.add(fd, interest::in, token()); }) == ec);
	p.add(file, interest::in, token(), ec);
	CHECK(ec == std::errc::operation_not_permitted);
	CHECK(thrown([&] { p.add(file, interest::in, token()); }) == ec);
	p.modify(other, interest::in, token(), ec);
	CHECK(ec == std::errc::no_such_file_or_directory);
	CHECK(thrown([&] { p.modify(other, interest::in, token()); }) == ec);
	p.remove(other, ec);
	CHECK(ec == std::errc::no_such_file_or_directory);
	CHECK(thrown([&] { p.remove(other); }) == ec);
	p.remove(fd, ec);
	CHECK_FALSE(ec);
	CHECK(p.wait(std::span<event>(), 0s, ec).empty());
	CHECK(ec == std::errc::invalid_argument);
	CHECK(thrown([&] { (void)p.wait(std::span<event>(), 0s); }) == ec);
	CHECK(ec.category() == std::system_category());
}

TEST_CASE("poller: durations are rounded up", "[cxx]")
{
	using std::chrono::duration;
	constexpr auto max = std::numeric_limits<std::int64_t>::max();

	STATIC_REQUIRE(poller::round_up(0s) == 0);
	STATIC_REQUIRE(poller::round_up(1s) == 1'000'000'000);
	STATIC_REQUIRE(poller::round_up(3ms) == 3'000'000);
	STATIC_REQUIRE(poller::round_up(1ns) == 1);
	STATIC_REQUIRE(poller::round_up(-1ns) == 0);
	STATIC_REQUIRE(poller::round_up(-1h) == 0);
	/* Finer than the kernel's unit */
	STATIC_REQUIRE(poller::round_up(duration<int, std::pico>(1)) == 1);
	STATIC_REQUIRE(poller::round_up(duration<int, std::pico>(1000)) == 1);
	STATIC_REQUIRE(poller::round_up(duration<int, std::pico>(1001)) == 2);
	STATIC_REQUIRE(poller::round_up(duration<double>(1.5e-9)) == 2);
	STATIC_REQUIRE(poller::round_up(duration<float, std::milli>(0.5f)) == 500'000);
	/* Coarser than it can count */
	STATIC_REQUIRE(poller::round_up(std::chrono::hours::max()) == max);
	STATIC_REQUIRE(poller::round_up(std::chrono::hours::min()) == 0);
	STATIC_REQUIRE(poller::round_up(std::chrono::nanoseconds::max()) == max);
	STATIC_REQUIRE(poller::round_up(duration<double>(1e300)) == max);
	STATIC_REQUIRE(poller::round_up(duration<double>(std::numeric_limits<double>::quiet_NaN())) == max);
	STATIC_REQUIRE(poller::round_up(std::chrono::years(200)) == 200 * 31556952ll * 1'000'000'000);
	/* Neither a multiple nor a fraction of it */
	STATIC_REQUIRE(poller::round_up(duration<std::int64_t, std::ratio<1, 44100>>(44'100ll * 31'536'000)) ==
		       31'536'000'000'000'000);
	STATIC_REQUIRE(poller::round_up(duration<std::int64_t, std::ratio<1, 44100>>(44'101)) == 1'000'022'676);
}

TEST_CASE("poller: a wait lasts no less than it was to", "[cxx]")
{
	using std::chrono::steady_clock;
	poller p;
	std::array<event, 1> room;
	std::error_code ec;
	const auto time = [](auto call) {
		const auto start = steady_clock::now();

		call();
		return steady_clock::now() - start;
	};

	CHECK(time([&] { (void)p.wait(room, 20ms); }) >= 20ms);
	CHECK(time([&] { (void)p.wait(room, 20'500us, ec); }) >= 20'500us);
	CHECK(time([&] { (void)p.wait(room, std::chrono::duration<double>(0.02)); }) >= 20ms);
	CHECK(time([&] { (void)p.wait_until(room, steady_clock::now() + 20ms); }) >= 20ms);
	CHECK(time([&] { (void)p.wait_until(room, std::chrono::system_clock::now() + 20ms, ec); }) >= 19ms);
	CHECK(time([&] { (void)p.wait(room, -1h); }) < 10s);
	CHECK(time([&] { (void)p.wait_until(room, steady_clock::now() - 1h); }) < 10s);
	CHECK(time([&] { (void)p.wait_until(room, steady_clock::time_point::min()); }) < 10s);
}

TEST_CASE("poller: no deadline is too far", "[cxx]")
{
	using std::chrono::steady_clock;
	poller p;
	Fd fd = eventfd_with(1);
	std::array<event, 1> room;

	p.add(fd, interest::in, token());
	CHECK(p.wait_until(room, steady_clock::time_point::max()).size() == 1);
	CHECK(p.wait(room, std::chrono::hours::max()).size() == 1);
}

TEST_CASE("poller: deadlines in units in which now cannot be told", "[cxx]")
{
	using namespace std::chrono;
	using floating = time_point<steady_clock, duration<double>>;
	poller p;
	Fd fd = eventfd_with(0);
	std::array<event, 1> room;
	const auto far = [&](auto deadline) {
		eventfd_t drained;

		eventfd_read(fd, &drained);
		std::thread writer([&] {
			std::this_thread::sleep_for(20ms);
			eventfd_write(fd, 1);
		});
		const auto n = p.wait_until(room, deadline).size();
		writer.join();
		return n == 1;
	};
	const auto past = [&](auto deadline) {
		const auto start = steady_clock::now();

		return p.wait_until(room, deadline).empty() && steady_clock::now() - start < 10s;
	};

	p.add(fd, interest::in, token());
	CHECK(far(time_point<steady_clock, seconds>::max()));
	CHECK(far(time_point<steady_clock, hours>::max()));
	CHECK(far(time_point<steady_clock, duration<int, std::ratio<86400>>>::max()));
	CHECK(far(steady_clock::time_point::max()));
	CHECK(far(floating(duration<double>(1e300))));
	CHECK(far(sys_days(year(2200) / 1 / 1)));
	CHECK(far(sys_days(year(9999) / 12 / 31)));
	CHECK(far(sys_days::max()));
	CHECK(far(system_clock::time_point::max()));
	CHECK(far(time_point_cast<duration<double>>(steady_clock::now() + 1h)));

	eventfd_t drained;
	eventfd_read(fd, &drained);
	CHECK(past(time_point<steady_clock, seconds>::min()));
	CHECK(past(time_point<steady_clock, hours>::min()));
	CHECK(past(floating(duration<double>(-1e300))));
	CHECK(past(sys_days(year(1600) / 1 / 1)));
	CHECK(past(sys_days::min()));
	CHECK(past(system_clock::time_point::min()));
	CHECK(past(time_point<system_clock, duration<std::int64_t, std::pico>>::max())); /* in 1970 */
}

TEST_CASE("poller: a signal is errc::interrupted or an empty span, and the mask is for the wait", "[cxx]")
{
	static volatile sig_atomic_t handled;
	poller p;
	std::array<event, 1> room;
	std::error_code ec;
	struct sigaction action = {}, old_action;
	sigset_t usr1, old, open;

	action.sa_handler = [](int) { handled = 1; };
	sigaction(SIGUSR1, &action, &old_action);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, &old);
	open = old;
	sigdelset(&open, SIGUSR1);

	raise(SIGUSR1);
	CHECK(p.wait(room, 1ms, ec).empty());
	CHECK_FALSE(ec);
	CHECK_FALSE(handled);
	CHECK(p.wait(room, 1h, ec, &open).empty());
	CHECK(ec == std::errc::interrupted);
	CHECK(handled);
	raise(SIGUSR1);
	CHECK(p.wait_until(room, std::chrono::steady_clock::now() + 1h, ec, &open).empty());
	CHECK(ec == std::errc::interrupted);
	for (int way = 0; way < 3; way++) {
		INFO("way " << way);
		handled = 0;
		raise(SIGUSR1);
		const auto got = way == 0 ? p.wait(room, &open) :
				 way == 1 ? p.wait(room, 1h, &open) :
					    p.wait_until(room, std::chrono::steady_clock::now() + 1h, &open);
		CHECK(got.empty());
		CHECK(handled);
	}

	pthread_sigmask(SIG_SETMASK, &old, nullptr);
	sigaction(SIGUSR1, &old_action, nullptr);
}

/* No handler is needed for EINTR. */
TEST_CASE("poller: a loop survives a stop and continue", "[cxx]")
{
	Fd more = eventfd_with(0);
	const pid_t pid = fork();

	REQUIRE(pid >= 0);
	if (!pid) {
		int empty = 0;
		try {
			poller p;
			std::array<event, 1> room;

			p.add(more, interest::in, token(1));
			for (;;)
				if (p.wait(room).empty())
					empty++;
				else
					break;
		} catch (...) {
			_exit(100);
		}
		_exit(empty);
	}
	const auto state_of = [&] {
		std::ifstream stat("/proc/" + std::to_string(pid) + "/stat");
		std::string number, name, state;

		stat >> number >> name >> state;
		return state;
	};
	for (int i = 0; i < 3; i++) {
		/* It sleeps in its wait only; or it has ended. */
		while (state_of() == "R" || state_of() == "D")
			std::this_thread::sleep_for(1ms);
		kill(pid, SIGSTOP);
		while (state_of() != "T" && state_of() != "Z")
			std::this_thread::sleep_for(1ms);
		kill(pid, SIGCONT);
		while (state_of() == "T")
			std::this_thread::sleep_for(1ms);
	}
	eventfd_write(more, 1);
	int status;
	REQUIRE(waitpid(pid, &status, 0) == pid);
	REQUIRE(WIFEXITED(status));
	CHECK(WEXITSTATUS(status) >= 1);
	CHECK(WEXITSTATUS(status) <= 3);
}

TEST_CASE("poller: nothing is allocated after construction", "[cxx]")
{
	poller p;
	Fd fd = eventfd_with(1);
	std::array<event, 8> room;
	std::error_code ec;
	std::size_t events = 0;
	std::string counted;
	myepoll::change_set changes(8);
	std::array<myepoll::watch, 8> watches;

	const auto before = allocations.load();
	for (int i = 0; i < 10; i++) {
		p.add(fd, interest::in, token::of(&p));
		p.modify(fd, interest::in | interest::out, token::of(&p));
		p.add(fd, interest::in, token(), ec); /* EEXIST */
		events += p.wait(room).size();
		events += p.wait(room, 1ms).size();
		events += p.wait_until(room, std::chrono::steady_clock::now() + 1ms).size();
		p.remove(fd);
		events += p.wait(room, 1us, ec).size();
		(void)changes.add(fd, interest::in, token::of(&p));
		(void)changes.add(fd + 1000, interest::in, token::of(&p)); /* EBADF */
		events += p.turn(changes, room, 1ms, ec).events.size();
		p.set(fd, interest::in, token());
		p.set_options({}, ec);
		(void)p.list(watches);
		(void)changes.remove(fd);
		p.apply(changes);
		poller moved = std::move(p);
		p = std::move(moved);
	}
	const auto after = allocations.load();

	CHECK(events == 40);
	CHECK(after == before);
	std::string(1000, 'x').swap(counted); /* The counter counts. */
	CHECK(allocations.load() > after);
}

/* To ASan a forced unwind is a stack in disorder. */
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("poller: cancellation unwinds through a wait", "[cxx]")
{
	static poller p;
	static std::atomic<bool> unwound, started;
	pthread_t thread;
	void *result;

	REQUIRE_FALSE(pthread_create(
		&thread, nullptr,
		[](void *) -> void * {
			struct Guard {
				~Guard() { unwound = true; }
			} guard;
			std::array<event, 1> room;
			std::error_code ec;

			started = true;
			for (;;)
				(void)p.wait(room, ec);
		},
		nullptr));
	while (!started)
		std::this_thread::yield();
	std::this_thread::sleep_for(20ms);
	pthread_cancel(thread);
	REQUIRE_FALSE(pthread_join(thread, &result));
	CHECK(result == PTHREAD_CANCELED);
	CHECK(unwound);
	p.close();
}

TEST_CASE("poller: a pending cancellation does not act in a destructor", "[cxx]")
{
	static std::atomic<bool> survived;
	pthread_t thread;
	void *result;

	REQUIRE_FALSE(pthread_create(
		&thread, nullptr,
		[](void *) -> void * {
			pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, nullptr);
			{
				poller p;

				pthread_cancel(pthread_self());
				pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, nullptr);
			}
			survived = true;
			pthread_testcancel();
			return nullptr;
		},
		nullptr));
	REQUIRE_FALSE(pthread_join(thread, &result));
	CHECK(survived);
	CHECK(result == PTHREAD_CANCELED);
}
#endif
