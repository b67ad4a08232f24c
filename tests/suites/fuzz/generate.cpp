// SPDX-License-Identifier: GPL-2.0
//
// The generator keeps an idea of what is open where, so that most calls mean
// something; the rest are aimed anywhere. Each sequence leaves out some kinds of
// operations altogether: what happens often hides what needs it not to happen.
#include "generate.hpp"

#include <algorithm>
#include <array>
#include <climits>

#include <sys/epoll.h>

using namespace arg;

std::uint64_t Random::next()
{
	std::uint64_t z = state_ += 0x9e3779b97f4a7c15;
	z = (z ^ z >> 30) * 0xbf58476d1ce4e5b9;
	z = (z ^ z >> 27) * 0x94d049bb133111eb;
	return z ^ z >> 31;
}

namespace {

// What an open slot is good for
enum Use : std::uint8_t { shut, epoll, source, unix_end, timer_end, listening };

struct Weight {
	Code code;
	unsigned weight;
};
// What costs the most time (a wait that sleeps, a fork, a TCP connection) is rare.
constexpr Weight weights[] = {
	{ Code::ctl, 300 },	{ Code::wait, 240 },   { Code::write, 130 },  { Code::read, 70 },
	{ Code::poll, 40 },	{ Code::fdinfo, 5 },   { Code::close, 36 },   { Code::dup, 30 },
	{ Code::create, 5 },	{ Code::eventfd, 14 }, { Code::pipe, 8 },     { Code::fifo, 6 },
	{ Code::pair, 10 },	{ Code::tcp, 2 },      { Code::listener, 2 }, { Code::connect, 3 },
	{ Code::accept, 3 },	{ Code::udp, 2 },      { Code::pty, 1 },      { Code::timerfd, 5 },
	{ Code::signalfd, 5 },	{ Code::inotify, 4 },  { Code::plain, 5 },    { Code::pidfd, 2 },
	{ Code::fill, 4 },	{ Code::drain, 12 },   { Code::shutdown, 6 }, { Code::oob, 3 },
	{ Code::timer, 8 },	{ Code::raise, 10 },   { Code::touch, 8 },    { Code::fork, 1 },
	{ Code::kill, 1 },	{ Code::reap, 1 },     { Code::send, 8 },     { Code::recv, 8 },
	{ Code::params, 3 },	{ Code::misc, 12 },    { Code::foreign, 1 },  { Code::waiter, 12 },
	{ Code::interrupt, 3 }, { Code::turn, 36 },
};

// The first of the tokens that watches share
constexpr std::uint32_t shared_token = 0x1000;

// What Twins have room for: 96 runs of a sequence, and close_up() makes it longer.
constexpr std::size_t longest = 400;

class Generator {
public:
	Generator(Random &random, Doors doors) : random_(random), doors_(doors)
	{
		total_ = 0;
		for (unsigned i = 0; i < std::size(weights); i++) {
			// Creation of instances, ctl and wait stay.
			bool may_go = i >= 2 && weights[i].code != Code::create;
			total_ += weight_[i] = may_go && random_.one_in(4) ? 0 : weights[i].weight;
		}
		for (std::uint32_t bit : { EPOLLET, EPOLLONESHOT, EPOLLEXCLUSIVE })
			if (!random_.one_in(3))
				liked_ |= bit;
		// A wakeup source is a device, in sysfs and all: a thousand other calls.
		if (random_.one_in(20))
			liked_ |= EPOLLWAKEUP;
		// A waiter makes all that follows slow, and the process one of many threads.
		waiters_ = random_.one_in(10);
		if (!waiters_) {
			leave_out(Code::waiter);
			leave_out(Code::interrupt);
		}
		// In a process that is adopted these operations are none. What stands in for them
		// on the kernel's epoll cannot reach what is on its way through a socket.
		beyond_ = doors_ < Doors::adopt && random_.one_in(3);
		if (beyond_)
			leave_out(Code::send);
		wild_ = random_.one_in(3) ? 4 : 24;
		many_ = random_.one_in(6);
	}

	// One operation; or all changes of a turn, and that
	void next(Sequence &sequence)
	{
		std::uint32_t at = random_.below(total_);
		unsigned i = 0;
		while (at >= weight_[i])
			at -= weight_[i++];
		if (weights[i].code == Code::turn)
			turn(sequence);
		else
			sequence.push_back(make(weights[i].code));
	}

	// Something to start with
	void open_some(Sequence &sequence)
	{
		static constexpr Code sources[] = { Code::eventfd, Code::pipe,	  Code::pair,
						    Code::eventfd, Code::timerfd, Code::signalfd,
						    Code::inotify, Code::fifo };
		for (std::uint32_t n = 1 + random_.below(3); n; n--)
			sequence.push_back(make(Code::create));
		if (random_.one_in(8))
			sequence.push_back(make(Code::foreign));
		for (std::uint32_t n = 2 + random_.below(many_ ? 14 : 6); n; n--)
			sequence.push_back(make(sources[random_.below(std::size(sources))]));
		if (many_ && random_.one_in(4))
			chain(sequence);
		if (waiters_ && random_.one_in(2))
			contend(sequence);
	}

	// What is left, for all to see
	void close_up(Sequence &sequence)
	{
		for (unsigned i = 0; i < slots; i++) {
			if (use_[i] != epoll)
				continue;
			Op op{ Code::fdinfo, { i } };
			if (random_.one_in(2))
				sequence.push_back(op);
			op = { Code::poll, { i, 0x7fff, slots } };
			sequence.push_back(op);
			for (int n = 0; n < 2; n++) {
				op = { Code::wait, { i, 0, 64, 0, 0, 0, a_door() } };
				sequence.push_back(op);
			}
		}
	}

	// Learn what an operation made by others leaves behind
	void follow(const Op &op)
	{
		const std::uint32_t *a = op.a;
		switch (op.code) {
		case Code::create:
		case Code::foreign:
			set(a[0], epoll);
			break;
		case Code::pair:
			set(a[0], unix_end);
			set(a[1], unix_end);
			break;
		case Code::pipe:
		case Code::tcp:
		case Code::pty:
			set(a[0], source);
			set(a[1], source);
			break;
		case Code::eventfd:
		case Code::fifo:
		case Code::signalfd:
		case Code::pidfd:
		case Code::inotify:
		case Code::plain:
		case Code::udp:
		case Code::connect:
		case Code::accept:
			set(a[0], source);
			break;
		case Code::timerfd:
			set(a[0], timer_end);
			break;
		case Code::listener:
			set(a[0], listening);
			break;
		case Code::recv:
			set(a[1], source);
			break;
		case Code::dup:
			if (a[0] < slots && a[0] != a[1] % slots) {
				set(a[1], use_[a[0]]);
				watched_[a[1] % slots] = watched_[a[0]];
			}
			break;
		case Code::ctl:
			note(a[ctl_ep], a[ctl_op], a[ctl_fd], a[ctl_events], a[ctl_data]);
			break;
		case Code::change:
			changes_.push_back(op);
			break;
		case Code::turn:
			for (const Op &change : changes_)
				note(a[turn_ep], change.a[change_op], change.a[change_fd],
				     change.a[change_events], change.a[change_data]);
			changes_.clear();
			break;
		case Code::close:
			if (a[0] < slots)
				set(a[0], shut);
			break;
		default:
			break;
		}
	}

private:
	Random &random_;
	const Doors doors_;
	std::array<unsigned, std::size(weights)> weight_;
	unsigned total_;
	std::uint32_t liked_ = 0;
	std::uint32_t wild_;
	bool many_, waiters_, beyond_;
	std::uint32_t data_ = 0;
	std::array<Use, slots> use_{};
	// What an instance is thought to watch, by the slots of both
	struct Watch {
		bool there, exclusive, one_shot, disabled;
		std::uint32_t token;
	};
	std::array<std::array<Watch, slots>, slots> watched_{};
	Sequence changes_; // of which the turn is to come

	void leave_out(Code code)
	{
		for (unsigned i = 0; i < std::size(weights); i++)
			if (weights[i].code == code) {
				total_ -= weight_[i];
				weight_[i] = 0;
			}
	}

	void set(std::uint32_t slot, Use use)
	{
		slot %= slots;
		use_[slot] = use;
		watched_[slot] = {};
		for (auto &of : watched_)
			of[slot] = {};
	}

	void note(std::uint32_t ep, std::uint32_t op, std::uint32_t fd, std::uint32_t events,
		  std::uint32_t token)
	{
		if (ep >= slots || use_[ep] != epoll)
			return;
		if (op == is::drop) {
			for (Watch &watch : watched_[ep])
				if (watch.token == token)
					watch = {};
			return;
		}
		if (fd >= slots || fd == ep || use_[fd] == shut)
			return;
		Watch &watch = watched_[ep][fd];
		if (op == is::del)
			watch = {};
		else if (op == is::disable)
			watch.disabled = watch.there;
		else if (watch.there ? !watch.disabled && (op == is::mod || op == is::set)
				     : op == is::add || op == is::set)
			watch = { true, watch.exclusive || events & EPOLLEXCLUSIVE,
				  (events & EPOLLONESHOT) != 0, false, token };
	}

	std::uint32_t anything() { return random_.below(slots + odd_slots); }

	template <typename Pred> std::uint32_t one_that(Pred pred)
	{
		std::uint32_t start = random_.below(slots);
		for (std::uint32_t i = 0; i < slots; i++)
			if (pred(use_[(start + i) % slots]))
				return (start + i) % slots;
		return start;
	}
	std::uint32_t one_of(Use use)
	{
		return one_that([=](Use u) { return u == use; });
	}
	std::uint32_t open_one()
	{
		return one_that([](Use u) { return u != shut; });
	}
	std::uint32_t a_source()
	{
		return one_that([](Use u) { return u != shut && u != epoll; });
	}
	std::uint32_t an_epoll() { return random_.one_in(40) ? anything() : one_of(epoll); }
	std::uint32_t room() { return random_.one_in(8) ? random_.below(slots) : one_of(shut); }
	std::uint32_t a_door()
	{
		const bool turn = random_.one_in(4);

		switch (doors_) {
		case Doors::mixed: // of the module's own
			return turn ? is::turn + random_.below(2) : random_.below(2);
		case Doors::all:
			return random_.below(is::doors);
		case Doors::fast:
			return turn ? +is::fast_turn : +is::fast;
		case Doors::adopt:
			return is::adopt;
		case Doors::ioctl:
			break;
		}
		return turn ? +is::turn : +is::ioctl;
	}

	// Of the module's own two, only one makes instances.
	std::uint32_t door_to_create() { return doors_ == Doors::mixed ? +is::ioctl : a_door(); }

	void push(Sequence &sequence, const Op &op)
	{
		follow(op);
		sequence.push_back(op);
	}

	Op add(std::uint32_t ep, std::uint32_t target, std::uint32_t events)
	{
		return { Code::ctl, { ep, is::add, target, events, a_token(), is::ptr_ok, a_door() } };
	}

	// Instances that watch one another, up to the longest chain allowed, or longer
	void chain(Sequence &sequence)
	{
		std::uint32_t below = one_of(epoll);

		for (std::uint32_t links = 3 + random_.below(4); links; links--) {
			std::uint32_t above = one_of(shut);
			push(sequence, { Code::create, { above, 0, door_to_create() } });
			push(sequence, add(above, below, EPOLLIN));
			below = above;
		}
	}

	// A waiter asleep in each instance, and one file that wakes them: who hears of it?
	void contend(Sequence &sequence)
	{
		std::uint32_t target = a_source(), n = 0;
		bool exclusive = liked_ & EPOLLEXCLUSIVE && random_.one_in(2);

		for (std::uint32_t i = 0; i < slots && n < 3; i++) {
			if (use_[i] != epoll)
				continue;
			std::uint32_t events = exclusive ? EPOLLIN | EPOLLEXCLUSIVE : some_events();
			push(sequence, add(i, target, events));
			push(sequence, { Code::waiter, { n++, i, 1 + random_.below(3), a_door() } });
		}
	}

	// Of their own, mostly; or shared, where DROP is to remove several
	std::uint32_t a_token()
	{
		return beyond_ && random_.one_in(2) ? shared_token + random_.below(3) : ++data_;
	}

	// The slot of some such watch of an instance, or none of the slots
	std::uint32_t watched_by(std::uint32_t ep, bool Watch::*is_so)
	{
		const std::uint32_t start = random_.below(slots);

		for (std::uint32_t i = 0; ep < slots && i < slots; i++)
			if (watched_[ep][(start + i) % slots].*is_so)
				return (start + i) % slots;
		return slots;
	}

	std::uint32_t token_to_drop(std::uint32_t ep)
	{
		const std::uint32_t fd = random_.one_in(2) ? slots : watched_by(ep, &Watch::there);
		if (fd < slots)
			return watched_[ep][fd].token;
		return random_.one_in(6) ? random_.below(data_ + 1) : shared_token + random_.below(3);
	}

	// A change that succeeds, if the instance is as it is thought to be
	Op good_change(std::uint32_t ep, std::uint32_t fd)
	{
		const bool sets = doors_ < Doors::adopt;
		std::uint32_t events = some_events();

		if (ep >= slots || fd >= slots || !watched_[ep][fd].there) {
			if (fd < slots && use_[fd] == epoll)
				events &= ~EPOLLEXCLUSIVE;
			if (events & EPOLLEXCLUSIVE)
				events &= exclusive_bits;
			return { Code::change,
				 { sets && random_.one_in(3) ? +is::set : +is::add, fd, events, a_token() } };
		}
		const Watch &watch = watched_[ep][fd];
		if (watch.exclusive || watch.disabled || random_.one_in(4))
			return { Code::change, { is::del, fd, 0, a_token() } };
		if (beyond_ && random_.one_in(watch.one_shot ? 3 : 30))
			return { Code::change, { is::disable, fd, 0, a_token() } };
		return { Code::change,
			 { sets && random_.one_in(3) ? +is::set : +is::mod, fd, events & ~EPOLLEXCLUSIVE,
			   a_token() } };
	}

	Op change(std::uint32_t ep, std::uint32_t fd)
	{
		if (beyond_ && random_.one_in(12))
			return { Code::change, { is::drop, slots, 0, token_to_drop(ep) } };
		Op op = good_change(ep, fd);
		if (random_.one_in(wild_ * 4))
			op.a[change_op] = random_.below(is::usual_ops);
		if (random_.one_in(wild_ * 4))
			op.a[change_fd] = anything();
		return op;
	}

	void turn(Sequence &sequence)
	{
		static constexpr std::uint32_t max[] = { 0, 0, 1, 2, 8, 64 };
		const std::uint32_t ep = an_epoll();
		std::uint32_t fd = a_source(), left = 2 + random_.below(random_.one_in(3) ? 23 : 8);

		for (; left; left--) {
			// Often the one that was changed last
			if (!random_.one_in(4))
				fd = random_.one_in(16) ? an_epoll() : a_source();
			const Op op = change(ep, fd);
			sequence.push_back(op);
			note(ep, op.a[change_op], op.a[change_fd], op.a[change_events],
			     op.a[change_data]);
		}
		sequence.push_back({ Code::turn,
				     { ep, max[random_.below(std::size(max))], random_.one_in(30),
				       random_.one_in(4), random_.one_in(6) ? random_.below(16) : 0,
				       a_door() } });
	}

	std::uint32_t some_events()
	{
		std::uint32_t events = likely_events();
		return liked_ & EPOLLWAKEUP ? events : events & ~static_cast<std::uint32_t>(EPOLLWAKEUP);
	}

	std::uint32_t likely_events()
	{
		if (random_.one_in(wild_ * 4))
			return static_cast<std::uint32_t>(random_.next());
		static constexpr std::uint32_t bits[] = {
			EPOLLIN,     EPOLLIN,	  EPOLLIN,     EPOLLOUT,    EPOLLOUT,	EPOLLPRI,
			EPOLLRDNORM, EPOLLWRNORM, EPOLLRDBAND, EPOLLWRBAND, EPOLLRDHUP, EPOLLMSG,
			EPOLLERR,    EPOLLHUP,	  0x20,	       1u << 16,    1u << 27
		};
		std::uint32_t events = random_.one_in(12) ? 0 : static_cast<std::uint32_t>(EPOLLIN);
		for (std::uint32_t n = random_.below(4); n; n--)
			events |= bits[random_.below(random_.one_in(4) ? std::size(bits) : 5)];
		if (liked_ & EPOLLET && random_.one_in(2))
			events |= EPOLLET;
		if (liked_ & EPOLLONESHOT && random_.one_in(beyond_ ? 2 : 4))
			events |= EPOLLONESHOT;
		if (liked_ & EPOLLWAKEUP && random_.one_in(6))
			events |= EPOLLWAKEUP;
		if (liked_ & EPOLLEXCLUSIVE && random_.one_in(6)) {
			events |= EPOLLEXCLUSIVE;
			if (!random_.one_in(4))
				events &= EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP |
					  EPOLLET | EPOLLEXCLUSIVE;
		}
		return events;
	}

	Op ctl()
	{
		Op op{ Code::ctl, {} };
		std::uint32_t *a = op.a;
		a[ctl_ep] = an_epoll();
		static constexpr std::uint32_t usual[] = { is::add, is::add, is::add, is::set,
							   is::mod, is::mod, is::del };
		a[ctl_op] = random_.one_in(wild_ * 2) ? random_.below(is::usual_ops)
						      : usual[random_.below(std::size(usual))];
		a[ctl_fd] = random_.one_in(wild_) ? anything()
			    : random_.one_in(12)  ? an_epoll()
						  : a_source();
		a[ctl_events] = some_events();
		a[ctl_data] = a_token();
		if (beyond_ && random_.one_in(8)) {
			a[ctl_op] = is::drop;
			a[ctl_data] = token_to_drop(a[ctl_ep]);
			if (!random_.one_in(wild_))
				a[ctl_fd] = slots; // -1
		} else if (beyond_ && random_.one_in(10)) {
			const std::uint32_t fd = watched_by(a[ctl_ep], &Watch::one_shot);
			a[ctl_op] = is::disable;
			if (fd < slots && !random_.one_in(4))
				a[ctl_fd] = fd;
		}
		a[ctl_ptr] = random_.one_in(wild_ * 2) ? random_.below(is::ptrs) : +is::ptr_ok;
		a[ctl_door] = a_door();
		return op;
	}

	Op wait()
	{
		static constexpr std::uint32_t odd_max[] = { 0,		  UINT_MAX,    1u << 31, INT_MAX,
							     178'956'970, 178'956'971, 1000 };
		static constexpr std::uint32_t max[] = { 1, 2, 3, 8, 64, 64 };
		Op op{ Code::wait, {} };
		std::uint32_t *a = op.a;
		a[wait_ep] = an_epoll();
		a[wait_form] = random_.below(is::forms);
		a[wait_max] = random_.one_in(wild_ * 2) ? odd_max[random_.below(std::size(odd_max))]
							: max[random_.below(std::size(max))];
		// Most sleep in vain, and for a whole tick.
		a[wait_timeout] = random_.one_in(60) ? 1 + random_.below(is::timeouts - 1) : +is::now;
		a[wait_buf] = random_.one_in(wild_) ? random_.below(is::bufs) : +is::buf_ok;
		a[wait_mask] = random_.one_in(3) ? random_.below(16) : 0;
		a[wait_door] = a_door();
		return op;
	}

	Op fork()
	{
		Op op{ Code::fork, {} };
		std::uint32_t *a = op.a;
		a[fork_close] = random_.one_in(2) ? 0
						  : static_cast<std::uint32_t>(random_.next()) &
							    ((1u << slots) - 1);
		a[fork_act] = random_.below(is::acts);
		a[fork_ep] = an_epoll();
		a[fork_fd] = a_source();
		a[fork_events] = some_events();
		a[fork_stay] = random_.below(2);
		a[fork_door] = a_door();
		return op;
	}

	Op make(Code code)
	{
		Op op = args(code);
		follow(op);
		return op;
	}

	Op args(Code code)
	{
		auto r = [this](std::uint32_t n) { return random_.below(n); };
		switch (code) {
		case Code::create: {
			static constexpr std::uint32_t odd[] = { 1, 0x800, EPOLL_CLOEXEC | 1, 1u << 31 };
			std::uint32_t flags = random_.one_in(6)	  ? odd[r(4)]
					      : random_.one_in(2) ? EPOLL_CLOEXEC
								  : 0;
			return { code, { room(), flags, door_to_create() } };
		}
		case Code::eventfd:
			return { code, { room(), random_.one_in(3) ? 1 + r(3) : 0, r(2) } };
		case Code::pipe: {
			std::uint32_t first = room();
			return { code, { first, (first + 1 + r(3)) % slots, random_.one_in(4) } };
		}
		case Code::pair: {
			std::uint32_t first = room();
			return { code,
				 { first, (first + 1 + r(3)) % slots, random_.one_in(2) ? 0 : r(3) } };
		}
		case Code::tcp:
		case Code::pty: {
			std::uint32_t first = room();
			return { code, { first, (first + 1) % slots } };
		}
		case Code::fifo:
			return { code, { room(), r(2), r(3) } };
		case Code::connect:
		case Code::accept:
			return { code, { room(), one_of(listening) } };
		case Code::signalfd:
			return { code, { room(), 1 + r(7) } };
		case Code::pidfd:
			return { code, { room(), r(2) } };
		case Code::plain:
			return { code, { room(), r(is::plains) } };
		case Code::foreign:
		case Code::listener:
		case Code::udp:
		case Code::timerfd:
		case Code::inotify:
			return { code, { room() } };
		case Code::dup:
			return { code, { open_one(), random_.one_in(3) ? r(slots) : room() } };
		case Code::close:
			return { code,
				 { random_.one_in(20)  ? anything()
				   : random_.one_in(6) ? open_one()
						       : a_source() } };
		case Code::ctl:
			return ctl();
		case Code::wait:
			return wait();
		case Code::poll:
			return { code,
				 { random_.one_in(3) ? open_one() : one_of(epoll),
				   random_.one_in(4) ? r(0x8000) : 0x7fff,
				   random_.one_in(2) ? slots : open_one() } };
		case Code::fdinfo:
			return { code, { random_.one_in(20) ? open_one() : one_of(epoll) } };
		case Code::params:
			return { code,
				 { an_epoll(), r(2),
				   random_.one_in(4) ? static_cast<std::uint32_t>(random_.next()) : r(64),
				   random_.one_in(4) ? r(1000) : r(64), random_.one_in(4) ? r(4) : r(2),
				   random_.one_in(6) ? 1 : 0u } };
		case Code::misc:
			return { code, { random_.one_in(3) ? open_one() : one_of(epoll), r(is::miscs) } };
		case Code::write:
			return { code,
				 { a_source(), random_.one_in(6) ? r(64) : 8,
				   random_.one_in(20) ? r(1u << 31) : 1 + r(3) } };
		case Code::read:
			return { code, { a_source(), random_.one_in(6) ? r(64) : 8 } };
		case Code::fill:
		case Code::drain:
		case Code::oob:
			return { code, { a_source() } };
		case Code::shutdown:
			return { code, { a_source(), r(random_.one_in(10) ? 4 : 3) } };
		case Code::timer:
			return { code, { one_of(timer_end), random_.one_in(2) ? +is::past : r(3) } };
		case Code::raise:
			return { code, { r(3) } };
		case Code::fork:
			return fork();
		case Code::waiter:
			return { code,
				 { r(3), an_epoll(), random_.one_in(8) ? r(16) : 1 + r(3), a_door() } };
		case Code::interrupt:
			return { code, { r(3) } };
		case Code::kill:
		case Code::reap:
			return { code, { r(2) } };
		case Code::send:
			return { code,
				 { one_of(unix_end), random_.one_in(3) ? one_of(epoll) : open_one() } };
		case Code::recv:
			return { code, { one_of(unix_end), room() } };
		case Code::touch:
			return { code, { r(random_.one_in(3) ? 6 : 2) } };
		case Code::change:
		case Code::turn: // next()
		case Code::count:
			break;
		}
		return { code, {} };
	}
};

} // namespace

Sequence generate(std::uint64_t seed, std::uint64_t n, Doors doors)
{
	Random random(seed * 0x100000001b3 + n);
	random = Random(random.next());
	Generator generator(random, doors);
	Sequence sequence;

	generator.open_some(sequence);
	for (std::uint32_t left = 20 + random.below(random.one_in(4) ? 300 : 120);
	     left && sequence.size() < longest; left--)
		generator.next(sequence);
	generator.close_up(sequence);
	return sequence;
}

Sequence mutate(const Sequence &from, const Sequence &other, Random &random, Doors doors)
{
	Generator generator(random, doors);
	Sequence sequence;
	std::size_t cut = from.size();

	for (const Op &op : from)
		generator.follow(op);
	if (random.one_in(3)) // the start of one and the end of another
		cut = random.below(static_cast<std::uint32_t>(from.size() + 1));
	for (std::size_t i = 0; i < cut; i++) {
		if (random.one_in(20))
			continue;
		if (random.one_in(15))
			generator.next(sequence);
		sequence.push_back(from[i]);
		if (random.one_in(60))
			sequence.push_back(from[i]);
	}
	if (cut < from.size())
		for (std::size_t i = random.below(static_cast<std::uint32_t>(other.size()));
		     i < other.size(); i++)
			sequence.push_back(other[i]);
	if (sequence.size() > longest)
		sequence.resize(longest);
	generator.close_up(sequence);
	return sequence;
}
