// SPDX-License-Identifier: GPL-2.0
//
// Nothing here may depend on time: a wait blocks only for a millisecond or where
// something is there to end it, timers have expired or never will, and what the
// kernel does in a work item (ptys) is waited for before the next operation.
#include "execute.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <sstream>

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/time.h>
#include <sys/timerfd.h>
#include <sys/ucontext.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.hpp"
#include "uapi/myepoll.h"

using namespace arg;

namespace {

constexpr unsigned max_children = 4;
constexpr unsigned nest_safely = 5; // instances with which no chain is too long
constexpr std::uint64_t unreachable = 0xffff888000000000;

// epoll's ioctls of 6.9, for headers older than that
struct Params {
	std::uint32_t usecs;
	std::uint16_t budget;
	std::uint8_t prefer, pad;
};
constexpr unsigned long set_params = _IOW(0x8A, 0x01, Params);
constexpr unsigned long get_params = _IOR(0x8A, 0x02, Params);

// The signals that sequences send, blocked but for waits with a mask
const int signals[3] = { SIGUSR1, SIGUSR2, SIGRTMIN + 1 };

// Ends a waiter's wait
const int interruption = SIGRTMIN + 2;

std::uint64_t bit(int sig)
{
	return std::uint64_t{ 1 } << (sig - 1);
}

int poll_one(int fd, short events, int ms)
{
	pollfd p{ fd, events, 0 };
	return static_cast<int>(sys(SYS_poll, &p, 1, ms)) == 1 ? p.revents : 0;
}

int unread(int fd)
{
	int n = 0;
	ioctl(fd, FIONREAD, &n);
	return n;
}

std::uint64_t pending_signals()
{
	std::uint64_t set = 0;
	syscall(SYS_rt_sigpending, &set, sizeof set);
	return set;
}

sockaddr_in loopback(std::uint16_t port)
{
	sockaddr_in sin{};
	sin.sin_family = AF_INET;
	sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	sin.sin_port = port;
	return sin;
}

int listen_somewhere(int flags)
{
	int fd = socket(AF_INET, SOCK_STREAM | flags, 0);
	sockaddr_in sin = loopback(0);
	must(bind(fd, reinterpret_cast<sockaddr *>(&sin), sizeof sin), "bind");
	must(listen(fd, 16), "listen");
	return fd;
}

int udp_to_itself(int flags)
{
	int fd = must(socket(AF_INET, SOCK_DGRAM | flags, 0), "socket");
	sockaddr_in sin = loopback(0);
	socklen_t length = sizeof sin;
	must(bind(fd, reinterpret_cast<sockaddr *>(&sin), sizeof sin), "bind");
	getsockname(fd, reinterpret_cast<sockaddr *>(&sin), &length);
	must(::connect(fd, reinterpret_cast<sockaddr *>(&sin), sizeof sin), "connect");
	return fd;
}

bool opens_internet(Code code)
{
	return code == Code::tcp || code == Code::listener || code == Code::connect || code == Code::udp;
}

// May it have an internet socket send something?
bool sends(Code code)
{
	switch (code) {
	case Code::tcp:
	case Code::connect:
	case Code::accept:
	case Code::dup:
	case Code::close:
	case Code::misc:
	case Code::write:
	case Code::read:
	case Code::fill:
	case Code::drain:
	case Code::shutdown:
	case Code::oob:
	case Code::fork:
	case Code::kill:
	case Code::reap:
	case Code::recv:
		return true;
	default:
		return false;
	}
}

// An operation may connect to whatever address a socket in a slot has. What nobody
// accepts would be taken for the other end of a later socket, and fill the queue.
void refuse_pending(int listener)
{
	for (int fd; (fd = accept4(listener, nullptr, nullptr, 0)) >= 0;)
		close(fd);
}

Twin *running;

} // namespace

std::uint64_t signal_set(std::uint32_t bits)
{
	std::uint64_t set = 0;
	for (unsigned i = 0; i < 3; i++)
		if (bits & (1u << i))
			set |= bit(signals[i]);
	return set;
}

Hostile map_hostile()
{
	constexpr std::size_t page = 4096, pages = Hostile::room + 3 * page;
	auto *base = static_cast<char *>(
		mmap(nullptr, pages, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
	if (base == MAP_FAILED || mprotect(base + Hostile::room, page, PROT_NONE) ||
	    mprotect(base + Hostile::room + page, page, PROT_READ) ||
	    mprotect(base + Hostile::room + 2 * page, page, PROT_NONE)) {
		std::perror("mmap");
		std::exit(3);
	}
	return { base, base + Hostile::room, base + Hostile::room + page };
}

// The order of handlers and the mask they run under are epoll_pwait's matter.
void on_signal(int sig, siginfo_t *, void *context)
{
	std::uint64_t mask, old;
	auto *uc = static_cast<ucontext_t *>(context);
	syscall(SYS_rt_sigprocmask, SIG_BLOCK, nullptr, &mask, sizeof mask);
	std::memcpy(&old, &uc->uc_sigmask, sizeof old);
	std::uint64_t all = signal_set(7), seen[2] = { mask & all, old & all };
	Record record{};
	record.op = running->now_;
	record.tag = Tag::handler;
	record.r = sig;
	running->log_.append(record, seen, sizeof seen);
}

Twin::Twin(bool native, Hostile hostile, Log &log) : native_(native), hostile_(hostile), log_(log)
{
	char dir[] = "/tmp/fuzz-XXXXXX";
	if (!mkdtemp(dir))
		must(-errno, dir);
	dir_ = dir;
	running = this;

	if (!native_) {
		device_ = raised(must(open(MYEPOLL_DEVICE, O_RDWR | O_CLOEXEC), MYEPOLL_DEVICE));
		adopted_ = be_adopted();
	}
	fdinfo_dir_ =
		raised(must(open("/proc/self/fdinfo", O_RDONLY | O_DIRECTORY), "/proc/self/fdinfo"));
	// A file for each: those who watch the same are told in the order of
	// addresses. They are made once since the last close of one takes its time.
	for (unsigned i = 0; i < std::size(touched_); i++) {
		touched_[i] = raised(must(open(touched(i).c_str(), O_RDWR | O_CREAT, 0600), "a file"));
		inotify_[i] = raised(must(inotify_init1(IN_NONBLOCK), "inotify_init"));
		must(inotify_add_watch(inotify_[i], touched(i).c_str(), IN_MODIFY), "inotify_add_watch");
	}
	must(mkfifo((dir_ + "/fifo0").c_str(), 0600), "mkfifo");
	must(mkfifo((dir_ + "/fifo1").c_str(), 0600), "mkfifo");
	listener_ = raised(listen_somewhere(SOCK_NONBLOCK));
	barrier_ = raised(udp_to_itself(0));
	timeval limit{ 0, 100'000 };
	must(setsockopt(barrier_, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), "SO_RCVTIMEO");
	int ends[2];
	must(::pipe2(ends, O_CLOEXEC), "pipe");
	sync_r_ = raised(ends[0]);
	sync_w_ = raised(ends[1]);

	std::uint64_t all = signal_set(7);
	must(syscall(SYS_rt_sigprocmask, SIG_SETMASK, &all, nullptr, sizeof all), "sigprocmask");
	for (int sig : signals) {
		struct sigaction sa {
		};
		sa.sa_sigaction = on_signal;
		sa.sa_flags = SA_SIGINFO | SA_RESTART;
		sigfillset(&sa.sa_mask);
		sigaction(sig, &sa, nullptr);
	}
	struct sigaction sa {
	};
	sa.sa_handler = [](int) {};
	sigaction(interruption, &sa, nullptr);
	signal(SIGPIPE, SIG_IGN);
	signal(SIGHUP, SIG_IGN);
	reset();
}

void Twin::reset()
{
	end_waiters();
	for (Child &child : children_) {
		kill(child.pid, SIGKILL);
		waitpid(child.pid, nullptr, 0);
	}
	children_.clear();
	syscall(SYS_close_range, 3, slot_base + slots - 1, 0);
	for (const Shadow &shadow : shadows_)
		::close(shadow.fd);
	shadows_.clear();
	changes_.clear();
	sent_ = disabled_ = false;
	refuse_pending(listener_);
	while (std::uint64_t set = pending_signals() & signal_set(7)) {
		timespec none{};
		syscall(SYS_rt_sigtimedwait, &set, nullptr, &none, sizeof set);
	}
	for (Slot &s : slot_)
		s = { Kind::closed, 0 };
	partner_.clear();
	inodes_.clear();
	instances_ = 0;
	foreign_ = false;
	internet_ = false;
	inotifies_ = 0;
	for (unsigned i = 0; dirty_; i++, dirty_ >>= 1)
		for (char bytes[1024]; dirty_ & 1 && ::read(inotify_[i], bytes, sizeof bytes) > 0;)
			;
}

void Twin::run(const Op *ops, std::uint32_t n)
{
	for (now_ = 0; now_ < n; now_++) {
		step(ops[now_]);
		internet_ |= opens_internet(ops[now_].code);
		if (internet_ && sends(ops[now_].code))
			settle_internet();
		settle_waiters();
	}
	reset();
}

void Twin::answer_for(Kind ep, Kind fd, long r, const void *bytes, std::uint32_t length)
{
	Record record{};
	record.op = now_;
	record.tag = child_ ? Tag::child : Tag::answer;
	record.ep = ep;
	record.fd = fd;
	record.r = static_cast<int>(r);
	log_.append(record, bytes, length);
}

void Twin::answer(long r, const void *bytes, std::uint32_t length)
{
	answer_for(Kind::other, Kind::other, r, bytes, length);
}

std::string Twin::touched(unsigned n) const
{
	return dir_ + "/touched" + std::to_string(n);
}

Kind Twin::kind(std::uint32_t slot) const
{
	return slot < slots ? slot_[slot].kind : Kind::closed;
}

std::uint16_t Twin::place(int fd, std::uint32_t slot, Kind kind, int partner)
{
	auto desc = static_cast<std::uint16_t>(partner_.size());

	slot %= slots;
	must(dup3(fd, fd_of(slot), O_CLOEXEC), "dup3");
	::close(fd);
	partner_.push_back(static_cast<std::uint16_t>(partner));
	slot_[slot] = { kind, desc };

	// Only fdinfo of an instance shows it, and these have one of their own.
	switch (kind) {
	case Kind::pipe:
	case Kind::unix_socket:
	case Kind::tcp:
	case Kind::pty:
	case Kind::pidfd:
	case Kind::other: {
		struct stat st;
		if (fstat(fd_of(slot), &st) == 0)
			inodes_.push_back({ st.st_ino, major(st.st_dev) << 20 | minor(st.st_dev), desc });
		break;
	}
	default:
		break;
	}
	return desc;
}

void Twin::make(long fd, std::uint32_t slot, Kind kind)
{
	if (fd >= 0)
		place(static_cast<int>(fd), slot, kind);
	answer(fd < 0 ? fd : 0);
}

void Twin::make_two(long r, const int fds[2], std::uint32_t a, std::uint32_t b, Kind kind)
{
	if (r >= 0) {
		a %= slots;
		b %= slots;
		if (a == b)
			b = (b + 1) % slots;
		std::uint16_t first = place(fds[0], a, kind);
		partner_[first] = place(fds[1], b, kind, first);
	}
	answer(r < 0 ? r : 0);
}

// The other end of a pty, where it has a slot
int Twin::peer(std::uint32_t slot) const
{
	if (kind(slot) == Kind::pty)
		for (unsigned i = 0; i < slots; i++)
			if (slot_[i].kind == Kind::pty && slot_[i].desc == partner_[slot_[slot].desc])
				return fd_of(i);
	return -1;
}

// What was written to one end of a pty comes to the other by a work item, and its
// wakeup with it. That there is something to read does not tell: it may be older.
long Twin::put(std::uint32_t slot, const void *bytes, std::size_t length)
{
	int reader = peer(slot), before = reader < 0 ? 0 : unread(reader);
	long r = sys(SYS_write, fd_of(slot), bytes, length);

	if (kind(slot) != Kind::pty || r <= 0)
		return r;
	if (reader < 0) { // in a child, perhaps
		usleep(2000);
		return r;
	}
	poll_one(reader, POLLIN, 100);
	for (int ms = 0; ms < 20 && unread(reader) < before + r; ms++)
		usleep(1000);
	return r;
}

// Takes the mark for good, if that is of use.
bool Twin::be_adopted()
{
	const unsigned long before = static_cast<unsigned>(personality(0xffffffff));
	std::uint64_t features;

	personality(before | MYEPOLL_PERSONALITY);
	int ep = must(sys(SYS_epoll_create1, EPOLL_CLOEXEC), "epoll_create1");
	bool ours = !::ioctl(ep, MYEPOLL_IOC_FEATURES, &features);
	::close(ep);
	if (!ours)
		personality(before);
	return ours;
}

// Of a marked process too: without the mark for the moment
long Twin::create_native(int flags)
{
	if (!adopted_)
		return sys(SYS_epoll_create1, flags);
	const unsigned long marked = static_cast<unsigned>(personality(0xffffffff));
	personality(marked & ~static_cast<unsigned long>(MYEPOLL_PERSONALITY));
	long r = sys(SYS_epoll_create1, flags);
	personality(marked);
	return r;
}

long Twin::create(std::uint32_t door, int flags)
{
	if (native_)
		return create_native(flags);
	if (door == is::adopt) {
		must(adopted_ ? 0 : -ENOTSUP, "adoption, which is off");
		return sys(SYS_epoll_create1, flags);
	}
	myepoll_create arg{};
	arg.flags = static_cast<unsigned>(flags);
	return sys(SYS_ioctl, device_, MYEPOLL_IOC_CREATE, &arg);
}

long Twin::turn(std::uint32_t door, int ep, void *argument, std::size_t size)
{
	if (door == is::fast_turn)
		return sys(SYS_fadvise64, ep, argument, size, MYEPOLL_FAST_TURN);
	return sys(SYS_ioctl, ep, MYEPOLL_IOC_TURN, argument);
}

// A change as the last of a turn. Those before it fail, at the beginning of a run of changes
// that the module makes at once, in it, and beyond.
long Twin::turn_of(std::uint32_t door, int ep, int op, int fd, const void *event, bool bad)
{
	constexpr int none = 12345;
	const unsigned before = static_cast<unsigned>(op + fd) % 20;
	myepoll_change changes[20];
	myepoll_turn arg{};

	for (unsigned i = 0; i < before; i++)
		changes[i] = { EPOLL_CTL_ADD, fd_of(slots), 0, none, 0 };
	changes[before] = { op, fd, 0, none, 0 };
	if (!bad) {
		epoll_event e;
		std::memcpy(&e, event, sizeof e);
		changes[before].events = e.events;
		changes[before].data = e.data.u64;
	}
	arg.changes = bad && op != EPOLL_CTL_DEL ? address(event) : address(changes);
	arg.nchanges = before + 1;
	long r = turn(door, ep, &arg, sizeof arg);
	if (r < 0)
		return r;
	bool counted = !r && arg.done == before + 1 && arg.failed == before + !!changes[before].result;
	for (unsigned i = 0; i < before; i++)
		counted &= changes[i].result == -EBADF;
	return counted ? changes[before].result : none;
}

// bad: the address is part of the test, not what is there
long Twin::ctl(bool native, std::uint32_t door, int ep, int op, int fd, const void *event, bool bad)
{
	if (native_ && kind(static_cast<std::uint32_t>(ep - slot_base)) == Kind::instance &&
	    (disabled_ || op == MYEPOLL_CTL_DROP || op == MYEPOLL_CTL_DISABLE))
		return stand_in(ep, op, fd, event, bad);
	// What it stands for; an instance of an adopted process has no SET.
	if (op == MYEPOLL_CTL_SET && (native || adopted_)) {
		long r = sys(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, fd, event);
		return r == -EEXIST ? sys(SYS_epoll_ctl, ep, EPOLL_CTL_MOD, fd, event) : r;
	}
	if (native || door == is::adopt)
		return sys(SYS_epoll_ctl, ep, op, fd, event);
	if (door >= is::turn)
		return turn_of(door, ep, op, fd, event, bad);
	if (door == is::fast)
		return sys(SYS_fadvise64, ep, event, MYEPOLL_FAST_ARGS(fd, op), MYEPOLL_FAST_CTL);
	if (bad && op != EPOLL_CTL_DEL)
		return sys(SYS_ioctl, ep, MYEPOLL_IOC_CTL, event);
	myepoll_ctl arg{};
	arg.op = op;
	arg.fd = fd;
	if (!bad) {
		epoll_event e;
		std::memcpy(&e, event, sizeof e);
		arg.events = e.events;
		arg.data = e.data.u64;
	}
	return sys(SYS_ioctl, ep, MYEPOLL_IOC_CTL, &arg);
}

long Twin::wait(bool native, std::uint32_t door, int ep, std::uint32_t form, void *events, int max,
		std::uint32_t timeout, const std::uint64_t *mask)
{
	static const int ms[is::timeouts] = { 0, 1, -1, INT_MIN, INT_MAX };
	static const timespec spans[is::timeouts] = {
		{ 0, 0 }, { 0, 1 }, {}, { 0, 400'000 }, { LONG_MAX, 999'999'999 }
	};
	static const std::int64_t ns[is::timeouts] = { 0, 1, -1, 400'000, INT64_MAX };
	const timespec *span = timeout == is::forever ? nullptr : &spans[timeout];

	if (form == is::plain)
		mask = nullptr;
	if (native || door == is::adopt) {
		if (form == is::plain)
			return sys(SYS_epoll_wait, ep, events, max, ms[timeout]);
		if (form == is::pwait)
			return sys(SYS_epoll_pwait, ep, events, max, ms[timeout], mask, sizeof *mask);
		return sys(SYS_epoll_pwait2, ep, events, max, span, mask, sizeof *mask);
	}
	if (door == is::fast && form != is::pwait2 && !mask)
		return sys(SYS_fadvise64, ep, events, MYEPOLL_FAST_ARGS(max, ms[timeout]),
			   MYEPOLL_FAST_WAIT);
	const std::int64_t duration = form == is::pwait2 ? ns[timeout] : ms[timeout] * std::int64_t{ 1'000'000 };
	// A turn without room for events does not wait.
	if (door >= is::turn && max) {
		myepoll_turn arg{};
		arg.events = address(events);
		arg.maxevents = max;
		arg.timeout = duration;
		if (mask) {
			arg.flags = MYEPOLL_TURN_SIGMASK;
			arg.sigmask = *mask;
		}
		return turn(door, ep, &arg, sizeof arg);
	}
	myepoll_wait arg{};
	arg.events = address(events);
	arg.maxevents = max;
	arg.timeout = duration;
	if (mask) {
		arg.flags = MYEPOLL_WAIT_SIGMASK;
		arg.sigmask = *mask;
	}
	return sys(SYS_ioctl, ep, MYEPOLL_IOC_WAIT, &arg);
}

void Twin::do_ctl(const Op &op)
{
	int what = operation(op.a[ctl_op]);
	Kind ep = kind(op.a[ctl_ep]), fd = kind(op.a[ctl_fd]);
	bool native = native_ || ep == Kind::foreign;
	if (ep == Kind::instance && !may(what, fd)) {
		answer(-EOPNOTSUPP);
		return;
	}
	epoll_event event{};
	event.events = op.a[ctl_events];
	event.data.u64 = op.a[ctl_data] * std::uint64_t{ 0x1'0000'0001 };
	const void *p = &event;

	// The kernel's epoll does not take EXCLUSIVE for its own kind, and cannot
	// know that ours is of that kind.
	if (ep == Kind::foreign && fd == Kind::instance)
		event.events &= ~EPOLLEXCLUSIVE;

	switch (op.a[ctl_ptr] % is::ptrs) {
	case is::ptr_ok:
		break;
	case is::ptr_null:
		p = nullptr;
		break;
	case is::ptr_none:
		p = hostile_.none;
		break;
	case is::ptr_straddle:
		p = hostile_.none - sizeof event / 2;
		break;
	case is::ptr_kernel:
		p = reinterpret_cast<void *>(unreachable);
		break;
	case is::ptr_readonly:
		p = hostile_.readonly;
		break;
	}
	bool bad = p != &event && p != hostile_.readonly;
	int on = fd_of(op.a[ctl_ep]), target = fd_of(op.a[ctl_fd]);

	// ELOOP in myepoll. For epoll's answer an instance of no consequence will do: in
	// this one the watch would wake who watches it, even if taken out again.
	bool refused = (what == EPOLL_CTL_ADD || what == MYEPOLL_CTL_SET) && ep == Kind::instance && fd == Kind::foreign;
	int other = -1;
	if (refused && native_)
		on = other = must(create_native(0), "an instance");
	long r = ctl(native, op.a[ctl_door], on, what, target, p, bad);
	if (other >= 0)
		close(other);
	if (ep == Kind::instance)
		disabled_ |= what == MYEPOLL_CTL_DISABLE;
	if (refused || what == MYEPOLL_CTL_DISABLE) {
		// The ADD has polled it, so that what is not ready has lost its place there;
		// where it was refused, this does. What stands in for DISABLE is an ADD, too.
		pollfd polled{ target, POLLIN, 0 };
		poll(&polled, 1, 0);
	}
	answer_for(ep, fd, r);
}

// Is there what ends a wait without a deadline?
bool Twin::may_block(int ep, const std::uint64_t *mask)
{
	std::uint64_t blocked = mask ? *mask : signal_set(7);
	return pending_signals() & ~blocked & signal_set(7) || poll_one(ep, POLLIN, 0) & POLLIN;
}

void Twin::do_wait(const Op &op)
{
	constexpr std::size_t watched = 1024;
	constexpr char poison = '\xa5';
	int ep = fd_of(op.a[wait_ep]), max = static_cast<int>(op.a[wait_max]);
	Kind k = kind(op.a[wait_ep]);
	std::uint32_t buf = op.a[wait_buf] % is::bufs, timeout = op.a[wait_timeout] % is::timeouts;
	std::uint32_t form = op.a[wait_form] % is::forms;
	std::uint64_t mask = signal_set(op.a[wait_mask]);
	const std::uint64_t *maskp = op.a[wait_mask] & 8 && form != is::plain ? &mask : nullptr;
	char *p = hostile_.base, *window = hostile_.base;
	std::size_t size = watched;

	switch (buf) {
	case is::buf_ok:
		break;
	case is::buf_unaligned:
		p++;
		break;
	case is::buf_null:
		p = nullptr;
		break;
	case is::buf_none:
		p = hostile_.none;
		break;
	case is::buf_readonly:
		p = hostile_.readonly;
		break;
	case is::buf_kernel:
		p = reinterpret_cast<char *>(unreachable);
		break;
	default:
		size = buf == is::buf_half ? sizeof(epoll_event) * 3 / 2
					   : (buf - is::buf_room0) * sizeof(epoll_event);
		p = window = hostile_.none - size;
		break;
	}
	std::memset(window, poison, size);

	// What keeps an unfired timer or a broken epoll from blocking for good is
	// the parent's patience.
	if (timeout >= is::forever && !(form == is::pwait2 && timeout == is::least) &&
	    !may_block(ep, maskp))
		timeout = is::ms;
	long r = wait(native_ || k == Kind::foreign, op.a[wait_door], ep, form, p, max, timeout, maskp);

	// The events, and whether anything else was written
	struct {
		std::uint32_t untouched;
		char events[watched];
	} seen;
	std::size_t bytes = r > 0 ? static_cast<std::size_t>(r) * sizeof(epoll_event) : 0;
	if (r > 0 && p >= window && bytes <= size) {
		std::size_t from = static_cast<std::size_t>(p - window);
		std::size_t end = size;
		while (end > from + bytes && window[end - 1] == poison)
			end--;
		seen.untouched = end == from + bytes && (!from || window[0] == poison);
		std::memcpy(seen.events, p, bytes);
		answer_for(k, Kind::other, r, &seen,
			   static_cast<std::uint32_t>(sizeof seen.untouched + bytes));
	} else {
		answer_for(k, Kind::other, r);
	}
}

void Twin::do_poll(const Op &op)
{
	pollfd p[2] = { { fd_of(op.a[0]), static_cast<short>(op.a[1]), 0 },
			{ fd_of(op.a[2]), 0x7fff, 0 } };
	long r = sys(SYS_poll, p, 2, 0);
	short seen[2] = { p[0].revents, p[1].revents };
	answer(r, seen, sizeof seen);
}

void Twin::do_fdinfo(const Op &op)
{
	if (kind(op.a[slot]) != Kind::instance) { // pids, ports and the like
		std::string name = std::to_string(fd_of(op.a[slot]));
		answer(sys(SYS_faccessat, fdinfo_dir_, name.c_str(), F_OK));
		return;
	}
	// Numbers of inodes are the kernel's to choose. The watches are sorted,
	// since epoll has them in the order of addresses.
	std::vector<std::string> lines;
	std::istringstream in(fdinfo(fd_of(op.a[slot])) + disabled_lines(fd_of(op.a[slot])));
	for (std::string line; std::getline(in, line);) {
		std::size_t at = line.find(" ino:");
		if (at != line.npos) {
			// A number alone may be that of a pty as well as of /dev/null.
			unsigned long ino = 0, sdev = 0;
			std::sscanf(line.c_str() + at, " ino:%lx sdev:%lx", &ino, &sdev);
			auto known = std::find_if(inodes_.rbegin(), inodes_.rend(), [=](const Inode &inode) {
				return inode.ino == ino && inode.sdev == sdev;
			});
			if (known != inodes_.rend())
				line.replace(at + 5, line.find(' ', at + 1) - at - 5,
					     "#" + std::to_string(known->label));
		}
		lines.push_back(std::move(line));
	}
	std::string all;
	auto watches = lines.begin();
	while (watches != lines.end() && watches->compare(0, 4, "tfd:"))
		++watches;
	std::sort(watches, lines.end());
	for (const std::string &line : lines)
		all += line + "\n";
	answer(0, all.data(), static_cast<std::uint32_t>(all.size()));
}

// Of an open descriptor of this process, or of the parent where a child asks
std::string Twin::fdinfo(int fd)
{
	char text[8192];
	std::size_t n = 0;
	std::string name = std::to_string(fd);
	int file = openat(fdinfo_dir_, name.c_str(), O_RDONLY | O_CLOEXEC);

	for (ssize_t got; n < sizeof text && (got = ::read(file, text + n, sizeof text - n)) > 0;)
		n += static_cast<std::size_t>(got);
	::close(file);
	return { text, n };
}

void Twin::do_params(const Op &op)
{
	Params params{ op.a[2], static_cast<std::uint16_t>(op.a[3]), static_cast<std::uint8_t>(op.a[4]),
		       static_cast<std::uint8_t>(op.a[5]) };
	Kind k = kind(op.a[slot]);
	// On others these may mean anything.
	long r = k == Kind::instance || k == Kind::closed
			 ? sys(SYS_ioctl, fd_of(op.a[slot]), op.a[1] ? get_params : set_params, &params)
			 : 0;
	answer_for(k, Kind::other, r, &params, sizeof params);
}

void Twin::do_misc(const Op &op)
{
	int fd = fd_of(op.a[slot]), one = 1;
	Kind k = kind(op.a[slot]);
	char byte[256] = {};
	struct stat st {
	};
	std::uint32_t seen = 0;
	long r = 0;

	switch (op.a[1] % is::miscs) {
	case is::lseek:
		r = sys(SYS_lseek, fd, 1, SEEK_SET);
		break;
	case is::getfl:
		r = sys(SYS_fcntl, fd, F_GETFL);
		break;
	case is::setfl: // never to blocking, where it matters
		r = sys(SYS_fcntl, fd, F_SETFL, O_NONBLOCK | (k == Kind::instance ? O_APPEND : 0));
		break;
	case is::getfd:
		r = sys(SYS_fcntl, fd, F_GETFD);
		break;
	case is::fstat:
		r = ::fstat(fd, &st) ? -errno : 0;
		seen = st.st_mode;
		break;
	case is::ftruncate:
		r = sys(SYS_ftruncate, fd, 0);
		break;
	case is::mmap: {
		void *p = ::mmap(nullptr, 4096, PROT_READ, MAP_PRIVATE, fd, 0);
		r = p == MAP_FAILED ? -errno : 0;
		if (p != MAP_FAILED)
			munmap(p, 4096);
		break;
	}
	case is::unknown_ioctl:
		r = sys(SYS_ioctl, fd, 0x5abcUL, byte);
		break;
	case is::fionbio:
		r = sys(SYS_ioctl, fd, FIONBIO, &one);
		break;
	case is::fsync:
		r = sys(SYS_fsync, fd);
		break;
	case is::pread:
		r = sys(SYS_pread64, fd, byte, 1, 0);
		break;
	case is::fallocate:
		r = sys(SYS_fallocate, fd, 0, 0, 16);
		break;
	case is::pipe_size:
		r = sys(SYS_fcntl, fd, F_SETPIPE_SZ, 4096);
		break;
	case is::lowat: {
		int bytes = 4;
		r = setsockopt(fd, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes) ? -errno : 0;
		break;
	}
	case is::linger: {
		struct linger l {
			1, 0
		};
		r = setsockopt(fd, SOL_SOCKET, SO_LINGER, &l, sizeof l) ? -errno : 0;
		break;
	}
	case is::getdents:
		r = k == Kind::other ? 0 : sys(SYS_getdents64, fd, byte, sizeof byte);
		break;
	}
	answer_for(k, Kind::other, r, &seen, sizeof seen);
}

// A child with a copy of the descriptors: it closes some, acts once, and exits
// or stays. The parent goes on when it has acted.
void Twin::do_fork(const Op &op)
{
	if (children_.size() >= max_children) {
		answer(-EAGAIN);
		return;
	}
	pid_t pid = ::fork();
	if (pid < 0) {
		answer(-errno);
		return;
	}
	if (pid) {
		char byte;
		children_.push_back({ pid, false });
		if (op.a[fork_stay])
			must(::read(sync_r_, &byte, 1), "a child");
		else
			waitid(P_PID, static_cast<id_t>(pid), nullptr, WEXITED | WNOWAIT);
		children_.back().dead = !op.a[fork_stay];
		answer(0);
		return;
	}

	prctl(PR_SET_PDEATHSIG, SIGKILL);
	child_ = true;
	for (unsigned i = 0; i < slots; i++)
		if (op.a[fork_close] & (1u << i)) {
			::close(fd_of(i));
			slot_[i].kind = Kind::closed;
		}
	Op act{};
	switch (op.a[fork_act] % is::acts) {
	case is::act_add:
	case is::act_mod:
	case is::act_del:
		act.code = Code::ctl;
		act.a[ctl_ep] = op.a[fork_ep];
		act.a[ctl_op] = op.a[fork_act] - is::act_add;
		act.a[ctl_fd] = op.a[fork_fd];
		act.a[ctl_events] = op.a[fork_events];
		act.a[ctl_data] = 0xc0000000 + now_;
		act.a[ctl_door] = op.a[fork_door];
		do_ctl(act);
		break;
	case is::act_write:
		act.code = Code::write;
		act.a[slot] = op.a[fork_fd];
		act.a[1] = 8;
		act.a[2] = 1;
		step(act);
		break;
	case is::act_read:
		act.code = Code::read;
		act.a[slot] = op.a[fork_fd];
		act.a[1] = 8;
		step(act);
		break;
	case is::act_wait:
		act.code = Code::wait;
		act.a[wait_ep] = op.a[fork_ep];
		act.a[wait_max] = 2;
		act.a[wait_door] = op.a[fork_door];
		do_wait(act);
		break;
	}
	if (op.a[fork_stay]) {
		if (::write(sync_w_, "", 1) == 1)
			for (;;)
				pause();
	}
	_exit(0);
}

void Twin::do_fill(const Op &op)
{
	static char bytes[4096];
	// Buffers of TCP and ttys grow and empty by themselves.
	bool once = kind(op.a[slot]) == Kind::tcp || kind(op.a[slot]) == Kind::pty;
	long r = 0;
	int n = 0;

	std::memset(bytes, 0x5a, sizeof bytes);
	while (n < 20) {
		r = put(op.a[slot], bytes, sizeof bytes);
		// Or the next comes before or after a waiter has taken this one.
		settle_waiters();
		n++;
		if (r <= 0 || once)
			break;
	}
	answer(r, &n, sizeof n);
}

void Twin::do_drain(const Op &op)
{
	static char bytes[4096];
	long r = 0, total = 0;

	for (int n = 0; n < 160; n++) {
		r = sys(SYS_read, fd_of(op.a[slot]), bytes, sizeof bytes);
		if (r <= 0)
			break;
		total += r;
	}
	answer(r, &total, sizeof total);
}

void Twin::serve(Waiter &waiter)
{
	waiter.tid = gettid();
	for (;;) {
		std::uint32_t command;
		while ((command = waiter.command) == Waiter::idle)
			syscall(SYS_futex, &waiter.command, FUTEX_WAIT_PRIVATE, Waiter::idle, nullptr,
				nullptr, 0);
		if (command == Waiter::end)
			return;
		waiter.command = Waiter::idle;
		waiter.r = wait(waiter.native, waiter.door, waiter.ep, is::plain, waiter.seen.events,
				waiter.max, is::forever, nullptr);
		waiter.done = true;
	}
}

static void command(std::atomic<std::uint32_t> &word, std::uint32_t value)
{
	word = value;
	syscall(SYS_futex, &word, FUTEX_WAKE_PRIVATE, 1, nullptr, nullptr, 0);
}

void Twin::do_waiter(const Op &op)
{
	std::unique_ptr<Waiter> &waiter = waiter_[op.a[waiter_n] % std::size(waiter_)];
	Kind k = kind(op.a[waiter_ep]);

	if (child_ || (waiter && waiter->busy)) {
		answer(-EBUSY);
		return;
	}
	if (!waiter) {
		waiter = std::make_unique<Waiter>();
		waiter->thread = std::thread([this, w = waiter.get()] { serve(*w); });
		while (!waiter->tid)
			sched_yield();
		std::string path = "/proc/self/task/" + std::to_string(waiter->tid) + "/stat";
		waiter->stat = raised(must(open(path.c_str(), O_RDONLY | O_CLOEXEC), path.c_str()));
	}
	waiter->native = native_ || k == Kind::foreign;
	waiter->kind = k;
	waiter->ep = fd_of(op.a[waiter_ep]);
	waiter->max = std::min(static_cast<int>(op.a[waiter_max] % 16), 8);
	waiter->door = op.a[waiter_door];
	waiter->seen.untouched = 1;
	waiter->busy = true;
	command(waiter->command, Waiter::go);
	answer(0);
}

// Asleep is either in its wait or, that over, for want of a command: from the
// moment that something wakes it, it is running.
bool Twin::asleep(const Waiter &waiter) const
{
	char text[128];
	ssize_t n = ::pread(waiter.stat, text, sizeof text - 1, 0);
	text[n > 0 ? n : 0] = 0;
	const char *end = std::strrchr(text, ')');
	return end && end[1] == ' ' && end[2] == 'S' && waiter.command == Waiter::idle;
}

// What goes over loopback waits in a queue of the CPU: for a moment mostly, but on a
// busy machine for a thread. When a packet of ours has come, those before it have;
// what they made others send is before the next.
void Twin::settle_internet()
{
	constexpr int hops = 3; // SYN, SYN|ACK, ACK
	char byte = 0;

	for (int i = 0; i < hops; i++)
		if (::send(barrier_, &byte, 1, 0) == 1)
			::recv(barrier_, &byte, 1, 0);
}

bool Twin::any_waiter() const
{
	return std::any_of(std::begin(waiter_), std::end(waiter_),
			   [](const auto &waiter) { return waiter && waiter->busy; });
}

void Twin::settle_waiters()
{
	constexpr int patient = 20'000;
	if (!any_waiter())
		return;

	// One that was found asleep may have been woken by another since.
	int calm = 0;
	for (int tries = 0; calm < 2 && tries < patient; tries++) {
		calm++;
		for (auto &waiter : waiter_)
			if (waiter && waiter->busy && !asleep(*waiter)) {
				calm = 0;
				sched_yield();
			}
	}
	for (auto &waiter : waiter_) {
		if (!waiter || !waiter->busy || !waiter->done.exchange(false))
			continue;
		waiter->busy = false;
		Record record{};
		record.op = now_;
		record.tag = Tag::waiter;
		record.ep = waiter->kind;
		record.fd = Kind(&waiter - waiter_); // which
		record.r = static_cast<int>(waiter->r);
		std::size_t events =
			waiter->r > 0 ? static_cast<std::size_t>(waiter->r) * sizeof(epoll_event) : 0;
		log_.append(record, &waiter->seen,
			    static_cast<std::uint32_t>(sizeof waiter->seen.untouched + events));
	}
}

void Twin::end_waiters()
{
	for (auto &waiter : waiter_) {
		if (!waiter)
			continue;
		// One by one: in a flood of signals it would get nowhere.
		while (waiter->busy && !waiter->done) {
			if (asleep(*waiter))
				syscall(SYS_tgkill, getpid(), waiter->tid.load(), interruption);
			sched_yield();
		}
		command(waiter->command, Waiter::end);
		waiter->thread.join();
		::close(waiter->stat);
		waiter.reset();
	}
}

// The kind is not in the message, whose bytes may have been read by others.
static Kind kind_by_link(int fd)
{
	char path[32], text[64];
	std::snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
	ssize_t n = readlink(path, text, sizeof text - 1);
	text[n < 0 ? 0 : n] = 0;
	if (!std::strcmp(text, "anon_inode:[eventpoll]") || !std::strcmp(text, "anon_inode:[myepoll]"))
		return Kind::instance;
	return !std::strncmp(text, "pipe:", 5) || std::strstr(text, "/fifo") ? Kind::pipe : Kind::other;
}

void Twin::do_recv(const Op &op)
{
	char bytes[64] = {};
	alignas(cmsghdr) char control[CMSG_SPACE(sizeof(int) * 4)];
	iovec iov{ bytes, sizeof bytes };
	msghdr msg{};
	msg.msg_iov = &iov;
	msg.msg_iovlen = 1;
	msg.msg_control = control;
	msg.msg_controllen = sizeof control;
	long r = sys(SYS_recvmsg, fd_of(op.a[slot]), &msg, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
	for (cmsghdr *c = r < 0 ? nullptr : CMSG_FIRSTHDR(&msg); c; c = CMSG_NXTHDR(&msg, c)) {
		if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
			continue;
		int fd;
		std::memcpy(&fd, CMSG_DATA(c), sizeof fd);
		place(fd, op.a[1], kind_by_link(fd));
		bytes[63] = 1;
	}
	answer(r, bytes, sizeof bytes);
}

void Twin::step(const Op &op)
{
	const std::uint32_t *a = op.a;
	int fds[2];
	long r;

	switch (op.code) {
	case Code::create:
		if (foreign_ && instances_ >= nest_safely) {
			answer(-EDQUOT);
			break;
		}
		r = create(a[create_door], static_cast<int>(a[create_flags]));
		instances_ += r >= 0;
		make(r, a[slot], Kind::instance);
		break;
	case Code::foreign:
		if (instances_ >= nest_safely) {
			answer(-EDQUOT);
			break;
		}
		instances_++;
		foreign_ = true;
		make(create_native(0), a[slot], Kind::foreign);
		break;
	case Code::eventfd:
		make(sys(SYS_eventfd2, a[1], O_NONBLOCK | (a[2] ? 1 : 0)), a[slot], Kind::eventfd);
		break;
	case Code::pipe:
		r = sys(SYS_pipe2, fds, O_NONBLOCK | (a[2] ? O_DIRECT : 0));
		if (r == 0) // a page: soon full
			fcntl(fds[1], F_SETPIPE_SZ, 4096);
		make_two(r, fds, a[0], a[1], Kind::pipe);
		break;
	case Code::fifo: {
		static const int modes[] = { O_RDWR, O_RDONLY, O_WRONLY };
		make(sys(SYS_open, (dir_ + (a[1] & 1 ? "/fifo1" : "/fifo0")).c_str(),
			 modes[a[2] % 3] | O_NONBLOCK),
		     a[slot], Kind::pipe);
		break;
	}
	case Code::pair: {
		static const int types[] = { SOCK_STREAM, SOCK_DGRAM, SOCK_SEQPACKET };
		int small = 4096;
		r = sys(SYS_socketpair, AF_UNIX, types[a[2] % 3] | SOCK_NONBLOCK, 0, fds);
		for (int i = 0; r == 0 && i < 2; i++)
			setsockopt(fds[i], SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
		make_two(r, fds, a[0], a[1], Kind::unix_socket);
		break;
	}
	case Code::tcp: {
		sockaddr_in sin;
		socklen_t length = sizeof sin;
		getsockname(listener_, reinterpret_cast<sockaddr *>(&sin), &length);
		refuse_pending(listener_);
		fds[0] = must(socket(AF_INET, SOCK_STREAM, 0), "socket");
		r = sys(SYS_connect, fds[0], &sin, sizeof sin);
		if (r < 0) {
			::close(fds[0]);
			answer(r);
			break;
		}
		poll_one(listener_, POLLIN, 1000);
		fds[1] = must(accept4(listener_, nullptr, nullptr, SOCK_NONBLOCK), "accept");
		fcntl(fds[0], F_SETFL, O_NONBLOCK);
		make_two(0, fds, a[0], a[1], Kind::tcp);
		break;
	}
	case Code::listener:
		make(listen_somewhere(SOCK_NONBLOCK), a[slot], Kind::tcp);
		break;
	case Code::connect: {
		// A listener or not, an address is what it takes.
		sockaddr_in sin = loopback(1);
		socklen_t length = sizeof sin;
		getsockname(fd_of(a[1]), reinterpret_cast<sockaddr *>(&sin), &length);
		if (kind(a[1]) != Kind::tcp || sin.sin_family != AF_INET)
			sin = loopback(1);
		int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");
		r = sys(SYS_connect, fd, &sin, sizeof sin);
		place(fd, a[slot], Kind::tcp);
		poll_one(fd_of(a[slot] % slots), POLLOUT, 20);
		answer(r);
		break;
	}
	case Code::accept:
		make(sys(SYS_accept4, fd_of(a[1]), nullptr, nullptr, SOCK_NONBLOCK), a[slot], Kind::tcp);
		break;
	case Code::udp:
		make(udp_to_itself(SOCK_NONBLOCK), a[slot], Kind::other);
		break;
	case Code::pty: {
		int unlock = 0;
		fds[0] = must(open("/dev/ptmx", O_RDWR | O_NOCTTY | O_NONBLOCK), "/dev/ptmx");
		must(ioctl(fds[0], TIOCSPTLCK, &unlock), "TIOCSPTLCK");
		fds[1] = must(ioctl(fds[0], TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK), "TIOCGPTPEER");
		// Raw, or an echo would come back whenever the work item runs
		struct {
			std::uint32_t iflag, oflag, cflag, lflag;
			unsigned char line, cc[19];
		} raw{};
		static_assert(sizeof raw == 36);
		must(syscall(SYS_ioctl, fds[1], TCGETS, &raw), "TCGETS");
		raw.iflag = raw.oflag = raw.lflag = 0;
		raw.cc[6] = 1; // VMIN
		must(syscall(SYS_ioctl, fds[1], TCSETS, &raw), "TCSETS");
		make_two(0, fds, a[0], a[1], Kind::pty);
		break;
	}
	case Code::timerfd:
		make(sys(SYS_timerfd_create, CLOCK_MONOTONIC, O_NONBLOCK), a[slot], Kind::timerfd);
		break;
	case Code::signalfd: {
		std::uint64_t set = signal_set(a[1]);
		r = sys(SYS_signalfd4, -1, &set, sizeof set, O_NONBLOCK);
		make(r, a[slot], Kind::eventfd);
		break;
	}
	case Code::pidfd:
		r = a[1] < children_.size() ? sys(SYS_pidfd_open, children_[a[1]].pid, O_NONBLOCK)
					    : -ESRCH;
		make(r, a[slot], Kind::pidfd);
		break;
	case Code::inotify:
		make(inotifies_ < std::size(inotify_) ? fcntl(inotify_[inotifies_++], F_DUPFD_CLOEXEC, 0)
						      : -EDQUOT,
		     a[slot], Kind::eventfd);
		break;
	case Code::plain: {
		std::string file = touched(0);
		static const char *const paths[is::plains] = { nullptr,	      "/dev",
							       "/dev/null",   nullptr,
							       nullptr,	      "/proc/self/mounts",
							       MYEPOLL_DEVICE };
		std::uint32_t what = a[1] % is::plains;
		if (what == is::memfd)
			make(sys(SYS_memfd_create, "fuzz", 0), a[slot], Kind::other);
		else
			make(sys(SYS_open, paths[what] ? paths[what] : file.c_str(),
				 what == is::opath ? O_PATH : O_RDONLY),
			     a[slot], what == is::opath ? Kind::opath : Kind::other);
		break;
	}
	case Code::dup: {
		std::uint32_t to = a[1] % slots;
		r = sys(SYS_dup2, fd_of(a[0]), fd_of(to));
		if (r >= 0)
			slot_[to] = slot_[a[0]];
		answer(r);
		break;
	}
	case Code::close:
		r = sys(SYS_close, fd_of(a[slot]));
		if (a[slot] < slots)
			slot_[a[slot]].kind = Kind::closed;
		answer(r);
		break;

	case Code::ctl:
		do_ctl(op);
		break;
	case Code::wait:
		do_wait(op);
		break;
	case Code::change:
		if (changes_.size() < max_changes)
			changes_.push_back(op);
		break;
	case Code::turn:
		do_turn(op);
		break;
	case Code::poll:
		do_poll(op);
		break;
	case Code::fdinfo:
		do_fdinfo(op);
		break;
	case Code::params:
		do_params(op);
		break;
	case Code::misc:
		do_misc(op);
		break;

	case Code::write: {
		char bytes[64];
		std::uint64_t value = a[2];
		std::memset(bytes, static_cast<int>(a[2]), sizeof bytes);
		std::memcpy(bytes, &value, sizeof value);
		answer(put(a[slot], bytes, std::min<std::size_t>(a[1], sizeof bytes)));
		break;
	}
	case Code::read: {
		char bytes[64] = {};
		r = sys(SYS_read, fd_of(a[slot]), bytes, std::min<std::size_t>(a[1], sizeof bytes));
		// What signalfd and the like tell of pids is not for comparison.
		answer(r, bytes, 12);
		break;
	}
	case Code::fill:
		do_fill(op);
		break;
	case Code::drain:
		do_drain(op);
		break;
	case Code::shutdown:
		answer(sys(SYS_shutdown, fd_of(a[slot]), a[1] % 4));
		break;
	case Code::oob:
		answer(sys(SYS_sendto, fd_of(a[slot]), "!", 1, MSG_OOB | MSG_DONTWAIT | MSG_NOSIGNAL,
			   nullptr, 0));
		break;
	case Code::timer: {
		itimerspec its{};
		its.it_value.tv_nsec = a[1] % 3 == is::past;
		its.it_value.tv_sec = a[1] % 3 == is::far ? 1'000'000'000 : 0;
		r = sys(SYS_timerfd_settime, fd_of(a[slot]), TFD_TIMER_ABSTIME, &its, nullptr);
		// It expires by an interrupt.
		if (r == 0 && a[1] % 3 == is::past)
			poll_one(fd_of(a[slot]), POLLIN, 100);
		answer(r);
		break;
	}
	case Code::raise:
		answer(sys(SYS_kill, getpid(), signals[a[0] % 3]));
		break;
	case Code::touch: {
		std::uint32_t which = a[0] % std::size(touched_);
		dirty_ |= 1u << which;
		answer(sys(SYS_pwrite64, touched_[which], "", 1, 0));
		break;
	}
	case Code::fork:
		do_fork(op);
		break;
	case Code::kill:
		if (a[0] >= children_.size() || children_[a[0]].dead) {
			answer(-ESRCH);
			break;
		}
		::kill(children_[a[0]].pid, SIGKILL);
		waitid(P_PID, static_cast<id_t>(children_[a[0]].pid), nullptr, WEXITED | WNOWAIT);
		children_[a[0]].dead = true;
		answer(0);
		break;
	case Code::reap:
		if (a[0] >= children_.size() || !children_[a[0]].dead) {
			answer(-ECHILD);
			break;
		}
		waitpid(children_[a[0]].pid, nullptr, 0);
		children_.erase(children_.begin() + a[0]);
		answer(0);
		break;
	case Code::send: {
		// A unix socket inside another is the garbage collector's, and comes
		// and goes when that likes. What a received one is, nobody knows.
		Kind k = kind(a[1]);
		if (k == Kind::unix_socket || k == Kind::foreign || k == Kind::pty ||
		    k == Kind::timerfd || k == Kind::opath || kind(a[0]) != Kind::unix_socket || disabled_) {
			answer(-EOPNOTSUPP);
			break;
		}
		int fd = fd_of(a[1]);
		char byte = 's';
		alignas(cmsghdr) char control[CMSG_SPACE(sizeof fd)] = {};
		iovec iov{ &byte, 1 };
		msghdr msg{};
		msg.msg_iov = &iov;
		msg.msg_iovlen = 1;
		msg.msg_control = control;
		msg.msg_controllen = sizeof control;
		cmsghdr *c = CMSG_FIRSTHDR(&msg);
		c->cmsg_level = SOL_SOCKET;
		c->cmsg_type = SCM_RIGHTS;
		c->cmsg_len = CMSG_LEN(sizeof fd);
		std::memcpy(CMSG_DATA(c), &fd, sizeof fd);
		r = sys(SYS_sendmsg, fd_of(a[0]), &msg, MSG_DONTWAIT | MSG_NOSIGNAL);
		sent_ |= r >= 0;
		answer(r);
		break;
	}
	case Code::recv:
		do_recv(op);
		break;
	case Code::waiter:
		do_waiter(op);
		break;
	case Code::interrupt: {
		Waiter *waiter = waiter_[a[0] % std::size(waiter_)].get();
		answer(waiter && waiter->busy
			       ? sys(SYS_tgkill, getpid(), waiter->tid.load(), interruption)
			       : -ESRCH);
		break;
	}
	case Code::count:
		break;
	}
}
