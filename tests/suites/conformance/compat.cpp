// SPDX-License-Identifier: GPL-2.0
// The calls of 32-bit programs on a 64-bit kernel, made from this 64-bit one: those of
// i386 through int $0x80, those of x32 by their numbers, with everything they point at
// below 4 GiB.
#ifdef __x86_64__

#include <array>
#include <cerrno>
#include <csignal>
#include <new>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "uapi/myepoll.h"
#include "catch.hpp"
#include "support.hpp"

extern "C" int int80_call(int number, const std::uint32_t *six_arguments);

asm(R"(
	.pushsection .text
	.type int80_call, @function
int80_call:
	pushq	%rbx
	pushq	%rbp
	movl	%edi, %eax
	movl	0(%rsi), %ebx
	movl	4(%rsi), %ecx
	movl	8(%rsi), %edx
	movl	16(%rsi), %edi
	movl	20(%rsi), %ebp
	movl	12(%rsi), %esi
	int	$0x80
	popq	%rbp
	popq	%rbx
	ret
	.size int80_call, . - int80_call
	.popsection
)");

namespace {

// Numbers of the system calls, and how a program makes one: six arguments, the
// result as the kernel returns it.
struct I386 {
	enum { getpid = 20, ioctl = 54, epoll_ctl = 255, epoll_wait = 256, epoll_pwait = 319, epoll_create1 = 329 };
	enum { fadvise64 = 250, fadvise64_64 = 272 };

	static long call(int number, std::array<std::uint32_t, 6> arguments)
	{
		return int80_call(number, arguments.data());
	}
	static long fadvise(int fd, std::uint32_t pointer, std::uint64_t args, int advice)
	{
		return call(fadvise64_64, { std::uint32_t(fd), pointer, 0, std::uint32_t(args),
					    std::uint32_t(args >> 32), std::uint32_t(advice) });
	}
};

// Registers of 64 bits, pointers of 32. Debian's kernels want syscall.x32=y for it.
struct X32 {
	enum { bit = 0x40000000 };
	enum { getpid = 39, ioctl = 514, epoll_ctl = 233, epoll_wait = 232, epoll_pwait = 281, epoll_create1 = 291 };
	enum { fadvise64 = 221 };

	static long call(int number, std::array<std::uint64_t, 6> a)
	{
		long result = syscall(bit | number, a[0], a[1], a[2], a[3], a[4], a[5]);
		return result == -1 ? -errno : result;
	}
	static long fadvise(int fd, std::uint32_t pointer, std::uint64_t args, int advice)
	{
		return call(fadvise64, { std::uint32_t(fd), pointer, args, std::uint32_t(advice) });
	}
};

// Below 4 GiB
struct Low {
	epoll_event event;
	epoll_event events[8];
	std::uint64_t mask;
	myepoll_create create;
	myepoll_ctl ctl;
	myepoll_wait wait;
};

std::uint32_t low(const void *p)
{
	auto address = reinterpret_cast<std::uintptr_t>(p);
	if (address >> 32)
		throw std::runtime_error("not below 4 GiB");
	return static_cast<std::uint32_t>(address);
}

template <class Abi>
struct Compat : Tidy {
	Compat()
	{
		void *page = mmap(nullptr, sizeof(Low), PROT_READ | PROT_WRITE,
				  MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
		must_libc(page == MAP_FAILED ? -1 : 0, "mmap(MAP_32BIT)");
		m = new (page) Low();
	}
	~Compat() { munmap(m, sizeof(Low)); }

	static bool missing()
	{
		static const bool works =
			in_child([] { return Abi::call(Abi::getpid, {}) == getpid() ? 0 : 1; }) == 0;
		return skip_unless(works, "this kernel does not run such programs");
	}

	int create1(int flags) const
	{
		if (be().system_calls())
			return Abi::call(Abi::epoll_create1, { std::uint32_t(flags) });
		Fd device(must_libc(open(MYEPOLL_DEVICE, O_RDWR | O_CLOEXEC)));
		m->create = { std::uint32_t(flags), 0 };
		return Abi::call(Abi::ioctl, { std::uint32_t(device), MYEPOLL_IOC_CREATE, low(&m->create) });
	}
	int ctl(int ep, int op, int fd, std::uint32_t events, std::uint64_t data) const
	{
		std::uint64_t args = MYEPOLL_FAST_ARGS(fd, op);
		m->event = ev(events, data);
		switch (be().door()) {
		case Door::epoll:
		case Door::adopt:
			return Abi::call(Abi::epoll_ctl,
				      { std::uint32_t(ep), std::uint32_t(op), std::uint32_t(fd), low(&m->event) });
		case Door::fast:
			return Abi::fadvise(ep, low(&m->event), args, MYEPOLL_FAST_CTL);
		case Door::ioctl:
			break;
		}
		m->ctl = { op, fd, events, 0, data };
		return Abi::call(Abi::ioctl, { std::uint32_t(ep), MYEPOLL_IOC_CTL, low(&m->ctl) });
	}
	int wait(int ep, int max, int timeout) const
	{
		std::uint64_t args = MYEPOLL_FAST_ARGS(max, timeout);
		switch (be().door()) {
		case Door::epoll:
		case Door::adopt:
			return Abi::call(Abi::epoll_wait, { std::uint32_t(ep), low(m->events), std::uint32_t(max),
						       std::uint32_t(timeout) });
		case Door::fast:
			return Abi::fadvise(ep, low(m->events), args, MYEPOLL_FAST_WAIT);
		case Door::ioctl:
			break;
		}
		m->wait = { low(m->events), timeout < 0 ? -1 : timeout * 1'000'000LL, 0, max, 0 };
		return Abi::call(Abi::ioctl, { std::uint32_t(ep), MYEPOLL_IOC_WAIT, low(&m->wait) });
	}
	int pwait(int ep, int max, int timeout, std::uint64_t mask) const
	{
		m->mask = mask;
		if (be().system_calls())
			return Abi::call(Abi::epoll_pwait, { std::uint32_t(ep), low(m->events), std::uint32_t(max),
							std::uint32_t(timeout), low(&m->mask), 8 });
		m->wait = { low(m->events), timeout < 0 ? -1 : timeout * 1'000'000LL, mask, max,
			    MYEPOLL_WAIT_SIGMASK };
		return Abi::call(Abi::ioctl, { std::uint32_t(ep), MYEPOLL_IOC_WAIT, low(&m->wait) });
	}
	Event event(int i) const { return { m->events[i].events, m->events[i].data.u64 }; }

	Low *m;
};

} // namespace

TEMPLATE_TEST_CASE("32-bit: create, ctl and wait, on events of 12 bytes", "[compat]", I386, X32)
{
	Compat<TestType> c;
	if (c.missing())
		return;
	Fd ep(c.create1(EPOLL_CLOEXEC));
	REQUIRE(ep >= 0);
	Fd a = event_fd(1), b = event_fd(1);
	constexpr std::uint64_t wide = 0xfedcba9876543210;

	CHECK(c.create1(O_NONBLOCK) == -EINVAL);
	CHECK(fcntl(ep, F_GETFD) == FD_CLOEXEC);
	CHECK(c.ctl(ep, EPOLL_CTL_ADD, a, EPOLLIN, wide) == 0);
	CHECK(c.ctl(ep, EPOLL_CTL_ADD, b, EPOLLIN | EPOLLOUT, 2) == 0);
	CHECK(c.ctl(ep, EPOLL_CTL_ADD, b, EPOLLIN, 2) == -EEXIST);
	CHECK(c.ctl(ep, EPOLL_CTL_ADD, -1, EPOLLIN, 2) == -EBADF);
	CHECK(c.wait(ep, 8, 0) == 2);
	CHECK(c.event(0) == Event{ EPOLLIN, wide });
	CHECK(c.event(1) == Event{ EPOLLIN | EPOLLOUT, 2 });
	CHECK(c.ctl(ep, EPOLL_CTL_MOD, b, EPOLLOUT | EPOLLET, 3) == 0);
	CHECK(c.ctl(ep, EPOLL_CTL_DEL, a, 0, 0) == 0);
	CHECK(c.wait(ep, 8, 0) == 1);
	CHECK(c.event(0) == Event{ EPOLLOUT, 3 });
	CHECK(c.wait(ep, 8, 0) == 0);
	CHECK(c.wait(ep, 0, 0) == -EINVAL);
	CHECK(elapsed_of([&] { c.wait(ep, 8, 20); }) >= milliseconds(20));
}

TEMPLATE_TEST_CASE("32-bit: a negative timeout waits for an event", "[compat]", I386, X32)
{
	Compat<TestType> c;
	if (c.missing())
		return;
	Fd ep(c.create1(EPOLL_CLOEXEC));
	Fd target = event_fd();
	REQUIRE(c.ctl(ep, EPOLL_CTL_ADD, target, EPOLLIN | EPOLLET, 1) == 0);
	for (int forever : { -1, INT32_MIN }) {
		Blocked waiter([&] { return c.wait(ep, 8, forever); });
		settle();
		CHECK_FALSE(waiter.done());
		put(target);
		CHECK(waiter.result() == 1);
	}
}

TEMPLATE_TEST_CASE("32-bit: a pwait's mask", "[compat][signals]", I386, X32)
{
	Compat<TestType> c;
	if (c.missing())
		return;
	struct sigaction action {}, old;
	action.sa_handler = [](int) {};
	sigaction(SIGUSR1, &action, &old);
	sigset_t set, before;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	Fd ep(c.create1(EPOLL_CLOEXEC));

	raise(SIGUSR1);
	CHECK(c.pwait(ep, 8, 10, 1ULL << (SIGUSR1 - 1)) == 0);
	CHECK(c.pwait(ep, 8, 0, 0) == 0);
	CHECK(c.pwait(ep, 8, patience_ms, 0) == -EINTR);
	pthread_sigmask(SIG_SETMASK, &before, nullptr);
	sigaction(SIGUSR1, &old, nullptr);
}

TEMPLATE_TEST_CASE("32-bit and 64-bit programs share an instance", "[compat]", I386, X32)
{
	Compat<TestType> c;
	if (c.missing())
		return;
	Instance ep;
	Fd a = event_fd(1), b = event_fd(1);
	REQUIRE(ep.add(a, EPOLLIN, 1ULL << 40) == 0);
	REQUIRE(c.ctl(ep.fd(), EPOLL_CTL_ADD, b, EPOLLIN, 1ULL << 41) == 0);
	CHECK(data_of(ep.wait()) == Data{ 1ULL << 40, 1ULL << 41 });
	CHECK(c.wait(ep.fd(), 8, 0) == 2);
	CHECK(c.event(0).data == 1ULL << 40);
	CHECK(c.event(1).data == 1ULL << 41);
}

TEST_CASE("32-bit: the fast door through i386's short form of fadvise64; foreign files refuse it", "[compat]")
{
	Compat<I386> c;
	if (c.missing())
		return;
	// A length of 32 bits: maxevents, and so a timeout of 0
	Instance ep;
	Fd target = event_fd(1);
	REQUIRE(ep.add(target, EPOLLIN, 5) == 0);
	auto fadvise = [&](int fd) {
		return I386::call(I386::fadvise64, { std::uint32_t(fd), low(c.m->events), 0, 8, MYEPOLL_FAST_WAIT });
	};
	CHECK(fadvise(ep.fd()) == (be().native() ? -EINVAL : 1));
	CHECK(fadvise(target) == -EINVAL);
	CHECK(fadvise(-1) == -EBADF);
	if (!be().native())
		CHECK(c.event(0) == Event{ EPOLLIN, 5 });
}

#endif // __x86_64__
