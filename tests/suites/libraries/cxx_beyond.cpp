// SPDX-License-Identifier: GPL-2.0
// The C++ library: what epoll does not have
#include "catch.hpp"
#include "util.hpp"

#include <myepoll/poller.hpp>

#include <array>
#include <csignal>
#include <map>
#include <random>
#include <set>
#include <tuple>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <unistd.h>

using namespace std::chrono_literals;
using myepoll::change;
using myepoll::change_set;
using myepoll::event;
using myepoll::interest;
using myepoll::operation;
using myepoll::poller;
using myepoll::token;

int without_exceptions(int fd);

static_assert(std::is_nothrow_move_constructible_v<change_set> && std::is_nothrow_move_assignable_v<change_set>);
static_assert(noexcept(std::declval<poller &>().apply(std::span<change>(), std::declval<std::error_code &>())));
static_assert(!noexcept(std::declval<poller &>().turn(std::span<change>(), std::span<event>(),
						      std::declval<std::error_code &>())));

template <typename Changes, typename... Arguments>
concept turns = requires(poller p, Changes c, std::span<event> room, Arguments &&...arguments) {
	p.turn(c, room, std::forward<Arguments>(arguments)...);
};
template <typename Poller>
concept turns_for_0 = requires(Poller p, change_set &c, std::span<event> room) { p.turn(c, room, 0); };
static_assert(turns<change_set &> && turns<std::span<change>> && turns<std::array<change, 3> &>);
static_assert(turns<change_set &, std::chrono::seconds, std::error_code &, sigset_t *>);
static_assert(!turns<int &> && !turns<std::span<const change>> && !turns<change_set &, int>);
static_assert(!turns<change_set &, int, std::error_code &> && !turns<change_set &, std::error_code &, int>);
static_assert(!turns_for_0<poller>);
static_assert(!turns<const change_set &>);
static_assert(turns<myepoll::changes_ref, std::chrono::seconds, std::error_code &, sigset_t *>);

using Shown = std::tuple<operation, int, interest, std::uint64_t>;

static std::vector<Shown> shown(change_set &set)
{
	std::vector<Shown> all;

	for (const change &c : set.pending())
		all.emplace_back(c.op(), c.fd(), c.what(), c.token().value());
	return all;
}

TEST_CASE("poller: turn, changes, events and results", "[cxx][beyond]")
{
	poller p;
	Fd a = eventfd_with(1), b = eventfd_with(0);
	std::array<event, 4> room;
	std::array changes = { change::add(a, interest::in, token(1)),
			       change::set(b, interest::in | interest::out, token(2)) };

	auto t = p.turn(changes, room);
	REQUIRE(t.events.size() == 2);
	CHECK(t.events.data() == room.data());
	CHECK(t.events[0].token() == token(1));
	CHECK(t.tried.data() == changes.data());
	CHECK(t.tried.size() == 2);
	CHECK(t.failed == 0);
	CHECK_FALSE(changes[0].failed());
	CHECK_FALSE(changes[0].result());

	/* The second fails, so it does not wait, and what is there is told all the same. */
	std::array again = { change::remove(b), change::add(a, interest::in, token(3)) };
	t = p.turn(again, room, 1h);
	CHECK(t.events.size() == 1);
	CHECK(t.failed == 1);
	CHECK_FALSE(again[0].failed());
	CHECK(again[1].failed());
	CHECK(again[1].result() == std::errc::file_exists);
	CHECK(again[1].token() == token(3));

	std::error_code ec;
	CHECK(p.turn(std::span<change>(), room, 0ms, ec).events.size() == 1);
	CHECK(p.turn_until(std::span<change>(), room, std::chrono::steady_clock::now(), ec).events.size() == 1);
	/* Without room, and by apply(), there is no wait at all. */
	CHECK(p.turn(std::span(changes).first(0), {}).events.empty());
	t = p.apply(std::span(changes).first(1), ec);
	CHECK_FALSE(ec);
	CHECK(t.failed == 1);
	CHECK(t.events.empty());
	CHECK(p.apply(changes).failed == 1);
}

// As many arguments as are, in the form that throws and in the other
TEST_CASE("poller: a turn until the first failure", "[cxx][beyond]")
{
	const bool throws = GENERATE(true, false);
	INFO((throws ? "throws" : "error_code"));
	poller p;
	Fd a = eventfd_with(1), b = eventfd_with(1);
	std::array<event, 4> room;
	std::error_code ec = std::make_error_code(std::errc::io_error);
	change_set set(4);
	const auto turn = [&](myepoll::changes_ref changes) {
		return throws ? p.turn(changes, room, 1h) : p.turn(changes, room, 1h, ec);
	};
	const auto apply = [&](myepoll::changes_ref changes) {
		return throws ? p.apply(changes) : p.apply(changes, ec);
	};

	/* The second fails. What is behind it is not made, and stays in the set. */
	REQUIRE(set.add(a, interest::in, token(1)));
	REQUIRE(set.modify(b, interest::in, token(2)));
	REQUIRE(set.drop(token(1)));
	auto t = turn(until_failure(set));
	CHECK((throws || !ec));
	REQUIRE(t.tried.size() == 2);
	CHECK(t.failed == 1);
	CHECK(t.tried[1].result() == std::errc::no_such_file_or_directory);
	REQUIRE(t.events.size() == 1);
	CHECK(t.events[0].token() == token(1));
	CHECK(shown(set) == std::vector<Shown>{ { operation::drop, -1, interest::none, 1 } });

	/* The same without: all are tried. */
	std::array some = { change::modify(b, interest::in, token(2)), change::set(b, interest::in, token(2)) };
	t = apply(until_failure(some));
	CHECK((throws || !ec));
	CHECK(t.tried.size() == 1);
	CHECK(t.failed == 1);
	t = apply(some);
	CHECK(t.tried.size() == 2);
	CHECK(t.failed == 1);

	t = apply(until_failure(set));
	CHECK(t.tried.size() == 1);
	CHECK(t.failed == 0);
	CHECK(set.empty());
	CHECK(p.wait(room, 0ms).size() == 1);
}

TEST_CASE("poller: turn, both forms report the same errors", "[cxx][beyond]")
{
	poller none = poller::adopt(-1);
	Fd pipe = eventfd_with(0);
	poller wrong = poller::adopt(dup(pipe));
	std::array<event, 1> room;
	std::error_code ec;

	for (auto [p, errc] : { std::pair{ &none, std::errc::bad_file_descriptor },
				std::pair{ &wrong, std::errc::invalid_argument } }) {
		change_set set(2);
		REQUIRE(set.add(pipe, interest::in, token()));
		CHECK(p->turn(set, room, ec).tried.empty());
		CHECK(ec == errc);
		CHECK(set.size() == 1); /* to be tried still */
		CHECK(thrown([&] { (void)p->turn(set, room, 1s); }) == ec);
		CHECK(thrown([&] { p->apply(set); }) == ec);
		(void)p->features(ec);
		CHECK(ec == errc);
		CHECK(thrown([&] { (void)p->features(); }) == ec);
		(void)p->list({}, ec);
		CHECK(ec == errc);
		CHECK(thrown([&] { (void)p->list({}); }) == ec);
		(void)p->get_options(ec);
		CHECK(ec == errc);
		CHECK(thrown([&] { p->set_options({}); }) == ec);
		CHECK(ec.category() == std::system_category());
	}
}

TEST_CASE("poller: turn, a signal, and the mask", "[cxx][beyond]")
{
	poller p;
	Fd a = eventfd_with(0);
	std::array<event, 1> room;
	std::error_code ec;
	struct sigaction action = {}, old_action;
	sigset_t usr1, old, open;

	action.sa_handler = [](int) {};
	sigaction(SIGUSR1, &action, &old_action);
	sigemptyset(&usr1);
	sigaddset(&usr1, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &usr1, &old);
	open = old;
	sigdelset(&open, SIGUSR1);

	raise(SIGUSR1);
	change_set set(2);
	REQUIRE(set.add(a, interest::in, token(1)));
	auto t = p.turn(set, room, 1h, ec, &open);
	CHECK(ec == std::errc::interrupted);
	CHECK(t.tried.size() == 1);
	CHECK_FALSE(t.tried[0].failed());
	CHECK(set.empty());
	raise(SIGUSR1);
	REQUIRE(set.modify(a, interest::in, token(2)));
	t = p.turn(set, room, &open);
	CHECK(t.events.empty());
	CHECK(t.tried.size() == 1);

	pthread_sigmask(SIG_SETMASK, &old, nullptr);
	sigaction(SIGUSR1, &old_action, nullptr);
}

TEST_CASE("poller: set, disable, drop", "[cxx][beyond]")
{
	poller p;
	Fd a = eventfd_with(1), b = eventfd_with(0);
	std::array<event, 2> room;
	std::error_code ec;

	p.set(a, interest::in | interest::oneshot, token(1));
	p.set(b, interest::in | interest::oneshot, token(2));
	REQUIRE(p.wait(room, 0ms).size() == 1);
	p.disable(b);
	p.disable(a, ec);
	CHECK(ec == std::errc::device_or_resource_busy);
	CHECK(thrown([&] { p.disable(a); }) == std::errc::connection_already_in_progress);
	p.modify(a, interest::in, token(1), ec);
	CHECK(ec == std::errc::operation_canceled);
	CHECK(thrown([&] { p.set(a, interest::in, token(1)); }) == ec);
	p.drop(token(1));
	p.drop(token(1), ec);
	CHECK(ec == std::errc::no_such_file_or_directory);
	CHECK(thrown([&] { p.drop(token(1)); }) == ec);
	p.add(a, interest::in, token(3));
	CHECK(p.wait(room, 0ms).size() == 1);
}

TEST_CASE("poller: list", "[cxx][beyond]")
{
	poller p;
	Fd a = eventfd_with(1), b = eventfd_with(1);
	std::array<event, 2> room;
	std::array<myepoll::watch, 4> watches;

	CHECK(p.list({}).total == 0);
	p.add(a, interest::in | interest::oneshot, token(1));
	REQUIRE(p.wait(room).size() == 1);
	const int number = b, copy = dup(b);
	p.add(b, interest::in, token(2));
	b.reset();
	auto all = p.list(watches);
	REQUIRE(all.watches.size() == 2);
	CHECK(all.total == 2);
	CHECK(all.watches.data() == watches.data());
	CHECK(watches[0].fired());
	CHECK(watches[0].open());
	CHECK_FALSE(watches[0].ready());
	CHECK_FALSE(watches[0].disabled());
	CHECK(watches[0].token() == token(1));
	CHECK(watches[1].fd() == number);
	CHECK_FALSE(watches[1].open());
	CHECK(watches[1].ready());
	CHECK(any(watches[1].what(), interest::in));
	std::error_code ec;
	all = p.list(std::span(watches).first(1), ec);
	CHECK(all.watches.size() == 1);
	CHECK(all.total == 2);
	/* The ghost goes by its token. */
	p.drop(watches[1].token());
	CHECK(p.list({}).total == 1);
	close(copy);
}

TEST_CASE("poller: options and features", "[cxx][beyond]")
{
	poller p;
	std::error_code ec;

	CHECK(p.get_options() == myepoll::options{});
	const myepoll::options all = { .fair = true, .balance = true, .min_wait = 65535us };
	p.set_options(all);
	CHECK(p.get_options() == all);
	p.set_options({ .min_wait = 1ms });
	CHECK(p.get_options(ec) == myepoll::options{ .min_wait = 1000us });
	for (auto wrong : { -1us, 65536us, std::chrono::microseconds(1ll << 32) }) {
		p.set_options({ .min_wait = wrong }, ec);
		CHECK(ec == std::errc::invalid_argument);
		CHECK(ec.category() == std::system_category());
		CHECK(thrown([&] { p.set_options({ .min_wait = wrong }); }) == ec);
	}
	CHECK(p.get_options() == myepoll::options{ .min_wait = 1000us });
	using myepoll::feature;
	CHECK((p.features() & (feature::turn | feature::ops | feature::options)) ==
	      (feature::turn | feature::ops | feature::options));
}

TEST_CASE("without exceptions", "[cxx][beyond]")
{
	Fd a = eventfd_with(1);

	CHECK(without_exceptions(a) == 0);
	CHECK(run({ directory() + "/no-exceptions" }).status == 0);
	CHECK(run({ directory() + "/no-exceptions", "throw" }).status == 128 + SIGABRT);
}

/*
 * The collector
 */

TEST_CASE("change_set: what several changes come to", "[change_set]")
{
	const interest in = interest::in, out = interest::out;
	using enum operation;
	const auto after = [](const std::vector<change> &changes) {
		change_set set(8);

		for (const change &c : changes)
			REQUIRE(set.put(c));
		REQUIRE(set.size() == set.pending().size());
		return shown(set);
	};
	const auto a = change::add(5, in, token(1)), m = change::modify(5, out, token(2)),
		   s = change::set(5, out, token(3)), r = change::remove(5), d = change::disable(5),
		   a2 = change::add(5, out, token(4)), m2 = change::modify(5, in, token(5));
	const Shown A = { add, 5, in, 1 }, M = { modify, 5, out, 2 }, S = { set, 5, out, 3 },
		    R = { remove, 5, interest::none, 0 }, D = { disable, 5, interest::none, 0 },
		    A2 = { add, 5, out, 4 }, M2 = { modify, 5, in, 5 };
	using All = std::vector<Shown>;

	CHECK(after({ a, m }) == All{ { add, 5, out, 2 } });
	CHECK(after({ a, s }) == All{ { add, 5, out, 3 } });
	CHECK(after({ a, m, m2 }) == All{ { add, 5, in, 5 } });
	CHECK(after({ a, r }) == All{});
	CHECK(after({ a, m, r }) == All{});
	CHECK(after({ a, r, a2 }) == All{ A2 });
	CHECK(after({ m, m2 }) == All{ M2 });
	CHECK(after({ m, s }) == All{ S });
	CHECK(after({ m, r }) == All{ R });
	CHECK(after({ s, m }) == All{ { set, 5, out, 2 } });
	CHECK(after({ s, r }) == All{ S, R });
	CHECK(after({ r, r }) == All{ R });
	/* A new watch is not the old one changed. */
	CHECK(after({ r, a }) == All{ R, A });
	CHECK(after({ r, s }) == All{ R, S });
	CHECK(after({ r, a, m }) == All{ R, { add, 5, out, 2 } });
	CHECK(after({ r, a, r }) == All{ R });
	CHECK(after({ r, a, r, a2 }) == All{ R, A2 });
	CHECK(after({ m, r, a, m2, r, a2 }) == All{ R, A2 });
	/* Wrong when it is made, and so no less wrong afterwards. */
	CHECK(after({ r, m }) == All{ R, M });
	/* The number was closed and opened again, or the second would be wrong. */
	CHECK(after({ a, a2 }) == All{ A2 });
	CHECK(after({ m, a2 }) == All{ A2 });
	CHECK(after({ s, a2 }) == All{ A2 });
	/* What DISABLE says matters, and so does the mask that MOD refuses. */
	CHECK(after({ a, d, r }) == All{ A, D, R });
	CHECK(after({ d, m }) == All{ D, M });
	CHECK(after({ d, a, r }) == All{ D });
	const auto x = change::add(5, in | interest::exclusive, token(6));
	CHECK(after({ x, m }).size() == 2);
	CHECK(after({ x, r }) == All{});
	/* Other descriptors are other matters. */
	CHECK(after({ a, change::add(6, in, token(9)), m, change::remove(6) }) == All{ { add, 5, out, 2 } });
	/* Before a drop is before it. */
	CHECK(after({ a, change::drop(token(1)), m }) == All{ A, { drop, -1, interest::none, 1 }, M });
	CHECK(after({ a, change::drop(token(1)), r, a2 }) ==
	      All{ A, { drop, -1, interest::none, 1 }, R, A2 });
}

TEST_CASE("change_set: room, and to begin again", "[change_set]")
{
	const interest in = interest::in;
	change_set set(3);

	CHECK(set.capacity() == 3);
	CHECK(set.empty());
	for (int fd : { 1, 2, 3 })
		CHECK(set.add(fd, in, token(1)));
	CHECK_FALSE(set.add(4, in, token(1)));
	CHECK(set.modify(2, in, token(2)));
	CHECK(set.remove(1)); /* which makes room */
	CHECK(set.size() == 2);
	CHECK(set.add(4, in, token(1)));
	CHECK_FALSE(set.disable(2));
	CHECK(shown(set) == std::vector<Shown>{ { operation::add, 2, in, 2 }, { operation::add, 3, in, 1 },
						{ operation::add, 4, in, 1 } });
	set.forget(3);
	set.forget(7);
	CHECK(set.size() == 2);
	set.made(1);
	CHECK(set.size() == 1);
	CHECK(set.remove(4)); /* merged with what is left */
	CHECK(set.empty());
	CHECK(set.add(2, in, token(7))); /* and not with what was made */
	CHECK(shown(set) == std::vector<Shown>{ { operation::add, 2, in, 7 } });
	set.clear();
	CHECK(set.pending().empty());

	change_set none(0);
	CHECK_FALSE(none.add(1, in, token()));
	CHECK(none.pending().empty());
	none.forget(1);

	/* Numbers that fall into the same places, in and out */
	change_set many(64);
	for (int round = 0; round < 3; round++) {
		for (int i = 0; i < 64; i++)
			REQUIRE(many.add(i * 256 + round, in, token(i)));
		CHECK_FALSE(many.add(1 << 20, in, token()));
		for (int i = 0; i < 64; i += 2)
			REQUIRE(many.remove(i * 256 + round));
		for (int i = 1; i < 64; i += 2)
			REQUIRE(many.modify(i * 256 + round, interest::out, token(i)));
		REQUIRE(many.pending().size() == 32);
		for (const change &c : many.pending())
			CHECK(c.op() == operation::add);
		many.clear();
	}
}

TEST_CASE("change_set: a turn empties it, and its results stay until then", "[cxx][beyond]")
{
	poller p;
	Fd a = eventfd_with(1), file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	std::array<event, 4> room;
	change_set set(4);

	REQUIRE(set.add(a, interest::in, token(1)));
	REQUIRE(set.add(file, interest::in, token(2)));
	auto t = p.turn(set, room);
	CHECK(t.failed == 1);
	REQUIRE(t.tried.size() == 2);
	CHECK(t.tried[1].token() == token(2));
	CHECK(t.tried[1].result() == std::errc::operation_not_permitted);
	CHECK(set.empty());
	REQUIRE(set.modify(a, interest::in, token(3)));
	CHECK(set.size() == 1);
	t = p.turn(set, room, 1h);
	CHECK(t.failed == 0);
	REQUIRE(t.events.size() == 1);
	CHECK(t.events[0].token() == token(3));
	CHECK(p.turn(set, room, 1h).tried.empty());
}

// A program does right things in any order, at once on one poller, collected on another:
// both then watch the same.
TEST_CASE("change_set: collected or at once, it comes to the same", "[cxx][beyond]")
{
	const unsigned seed = 4711;
	std::mt19937 random(seed);
	poller at_once, later;
	change_set set(16);
	std::vector<Fd> files(6);
	std::set<int> watched;
	std::uint64_t next = 1;
	unsigned turns = 0, saved = 0;
	const auto all = [](poller &p) {
		std::array<myepoll::watch, 16> room;
		std::map<int, std::pair<std::uint64_t, std::uint32_t>> watches;

		for (const auto &w : p.list(room).watches)
			watches[w.fd()] = { w.token().value(), w.raw().events };
		return watches;
	};
	const auto put = [&](const change &c) {
		saved++;
		if (set.put(c))
			return;
		const auto t = later.apply(set);
		REQUIRE(t.failed == 0);
		REQUIRE(all(later) == all(at_once));
		turns++;
		saved -= static_cast<unsigned>(t.tried.size());
		REQUIRE(set.put(c));
	};
	const auto both = [&](change c) {
		put(c); /* which may compare, before the other has it */
		std::array one = { c };
		REQUIRE(at_once.apply(one).failed == 0);
	};

	for (int step = 0; step < 20'000; step++) {
		auto &file = files[random() % files.size()];
		const interest what = random() % 2 ? interest::in : interest::out | interest::edge;
		const token t(next++);

		INFO("seed " << seed << ", step " << step);
		if (file < 0)
			file = eventfd_with(0);
		const bool is_watched = watched.count(file);
		switch (random() % 8) {
		case 0:
		case 1:
			both(change::set(file, what, t));
			watched.insert(file);
			break;
		case 2: { /* the number is used anew */
			set.forget(file);
			watched.erase(file);
			file.reset();
			break;
		}
		case 3: {
			if (step % 16)
				break;
			const auto made = later.apply(set);
			REQUIRE(made.failed == 0);
			saved -= static_cast<unsigned>(made.tried.size());
			REQUIRE(all(later) == all(at_once));
			turns++;
			break;
		}
		default:
			if (!is_watched) {
				both(change::add(file, what, t));
				watched.insert(file);
			} else if (random() % 2) {
				both(change::modify(file, what, t));
			} else {
				both(change::remove(file));
				watched.erase(file);
			}
		}
	}
	CHECK(turns > 100);
	CHECK(saved > 1000);
}
