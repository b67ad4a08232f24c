// SPDX-License-Identifier: GPL-2.0
// Hostile callers of 32 bits: what they are answered is what a 64-bit caller is, for
// every wrong number, size, address and descriptor. What they do when nothing is
// wrong is in ../conformance/compat.cpp.
#ifdef __x86_64__

#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "catch.hpp"
#include "hostile.hpp"

namespace {

// Numbers of i386
enum { nr_getpid = 20, nr_ioctl = 54, nr_fadvise64 = 250, nr_fadvise64_64 = 272 };

// The sixth argument goes in %ebp; what is below the stack pointer is left alone.
int call32(int number, std::uint32_t a = 0, std::uint32_t b = 0, std::uint32_t c = 0, std::uint32_t d = 0,
	   std::uint32_t e = 0, std::uint32_t f = 0)
{
	int r;
	asm volatile("leaq -128(%%rsp), %%rsp\n\t"
		     "pushq %%rbp\n\t"
		     "movl %k[f], %%ebp\n\t"
		     "int $0x80\n\t"
		     "popq %%rbp\n\t"
		     "leaq 128(%%rsp), %%rsp"
		     : "=a"(r)
		     : "0"(number), "b"(a), "c"(b), "d"(c), "S"(d), "D"(e), [f] "r"(std::uint64_t(f))
		     : "memory", "cc", "r8", "r9", "r10", "r11");
	return r;
}

bool works()
{
	static const bool answer = in_child([] { return call32(nr_getpid) == getpid() ? 0 : 1; }) == 0;
	return answer;
}

int ioctl32(int fd, unsigned long number, Address argument)
{
	return call32(nr_ioctl, std::uint32_t(fd), std::uint32_t(number), std::uint32_t(argument));
}

int fadvise32(int fd, Address offset, std::uint64_t length, std::uint32_t advice)
{
	return call32(nr_fadvise64_64, std::uint32_t(fd), std::uint32_t(offset), std::uint32_t(offset >> 32),
		      std::uint32_t(length), std::uint32_t(length >> 32), advice);
}

// Memory below 4 GiB: a page, and one that is not there
struct Compat : Books {
	Compat()
	{
		void *p = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
		must_libc(p == MAP_FAILED ? -1 : 0, "mmap(MAP_32BIT)");
		low = static_cast<char *>(p);
		must_libc(mprotect(end(), 4096, PROT_NONE));
	}
	~Compat() { munmap(low, 8192); }

	char *end() const { return low + 4096; }
	// The same of both, twice where the first changed nothing
	void both(int file, unsigned long number, Address argument)
	{
		int wide = raw_ioctl(file, number, argument);
		answers.expect(ioctl32(file, number, argument), wide, "ioctl", number, argument);
	}
	void both_fadvise(int file, Address offset, std::uint64_t length, std::uint32_t advice)
	{
		int wide = raw_fadvise(file, offset, length, advice);
		answers.expect(fadvise32(file, offset, length, advice), wide, "fadvise64", offset, length);
	}

	Fd device{ must_libc(open(MYEPOLL_DEVICE, O_RDWR | O_CLOEXEC), MYEPOLL_DEVICE) };
	char *low;
	Answers answers;
};

std::vector<Address> low_nowhere(const Compat &c)
{
	return { 0, 1, 4095, address_of(c.end()), address_of(c.end()) + 1, 0xffff'f000, 0xffff'fff8, 0xffff'ffff };
}

} // namespace

#define NEEDS_32_BIT()                                                        \
	if (skip_unless(works(), "this kernel does not run 32-bit programs")) \
		return;

TEST_CASE_METHOD(Compat, "32-bit: every number, in sizes around the calls' own, is answered as in 64", "[compat][numbers]")
{
	NEEDS_32_BIT();
	Fd plain = event_fd();
	for (unsigned type : { 0x00U, 0x54U, 0x8aU, 0xe6U, 0xe8U, unsigned(MYEPOLL_IOC_MAGIC) })
		for (unsigned nr = 0; nr < 256; nr++)
			for (unsigned dir = 0; dir < 4; dir++)
				for (std::size_t size : { 0UL, 7UL, 8UL, 23UL, 24UL, 31UL, 32UL, 33UL, 16383UL }) {
					unsigned long number = _IOC(dir, type, nr, size);
					// What the kernel answers for every file need not be the same
					if (raw_ioctl(plain, number, 1) == -ENOTTY && number != FIOQSIZE) {
						both(fd(), number, 1);
						both(device, number, 1);
					}
				}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Compat, "32-bit: arguments from nowhere, and that end too soon, are EFAULT; nothing is spent",
		 "[compat][memory]")
{
	NEEDS_32_BIT();
	auto fast_ctl = [&](Address from, int op, int target) {
		return fadvise32(fd(), from, std::uint64_t(MYEPOLL_FAST_ARGS(target, op)), MYEPOLL_FAST_CTL);
	};
	auto fast_wait = [&](Address to, int max, int ms) {
		return fadvise32(fd(), to, std::uint64_t(MYEPOLL_FAST_ARGS(max, ms)), MYEPOLL_FAST_WAIT);
	};
	for (Address address : low_nowhere(*this)) {
		for (unsigned long number : { MYEPOLL_IOC_CTL, MYEPOLL_IOC_WAIT, MYEPOLL_IOC_FEATURES })
			answers.expect(ioctl32(fd(), number, address), -EFAULT, "ioctl", number, address);
		for (unsigned long number : { MYEPOLL_IOC_CREATE, MYEPOLL_IOC_FEATURES })
			answers.expect(ioctl32(device, number, address), -EFAULT, "ioctl", number, address);
		answers.expect(fast_ctl(address, EPOLL_CTL_ADD, level()), -EFAULT, "CTL", address);
		answers.expect(fast_wait(address, 64, -1), -EFAULT, "WAIT", address);

		auto *wait = reinterpret_cast<myepoll_wait *>(low);
		*wait = { address, -1, 0, 64, 0 };
		answers.expect(ioctl32(fd(), MYEPOLL_IOC_WAIT, address_of(low)), -EFAULT, "WAIT into", address);
	}
	// The whole 64 bits of an address in an argument or an offset count
	for (Address address : nowhere()) {
		auto *wait = reinterpret_cast<myepoll_wait *>(low);
		*wait = { address, -1, 0, 64, 0 };
		answers.expect(ioctl32(fd(), MYEPOLL_IOC_WAIT, address_of(low)), -EFAULT, "WAIT into", address);
		answers.expect(fast_wait(address, 64, -1), -EFAULT, "WAIT into", address);
		answers.expect(fast_ctl(address, EPOLL_CTL_ADD, level()), -EFAULT, "CTL from", address);
	}
	Address above = 1ULL << 32 | address_of(low);
	answers.expect(fast_wait(above, 64, -1), -EFAULT, "WAIT into", above);
	for (std::size_t there = 0; there < 32; there++) {
		Address at = address_of(end()) - there;
		myepoll_ctl ctl{ EPOLL_CTL_ADD, level(), EPOLLIN, 0, 0 };
		myepoll_wait wait{ address_of(low), 0, 0, 0, 0 };
		epoll_event event = ev(EPOLLIN);
		std::memcpy(end() - there, &ctl, std::min(there, sizeof ctl));
		answers.expect(ioctl32(fd(), MYEPOLL_IOC_CTL, at), there < sizeof ctl ? -EFAULT : -EEXIST, "CTL", there);
		std::memcpy(end() - there, &wait, std::min(there, sizeof wait));
		answers.expect(ioctl32(fd(), MYEPOLL_IOC_WAIT, at), there < sizeof wait ? -EFAULT : -EINVAL, "WAIT", there);
		std::memcpy(end() - there, &event, std::min(there, sizeof event));
		answers.expect(fast_ctl(at, EPOLL_CTL_ADD, level()), there < sizeof event ? -EFAULT : -EEXIST, "CTL",
			       there);
	}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Compat, "32-bit: a buffer whose k-th entry is not there", "[compat][memory][partial]")
{
	NEEDS_32_BIT();
	for (bool fast : { false, true })
		for (std::size_t room = 0; room <= size(); room++)
			for (std::size_t more : { 0, 1, 11 }) {
				Books books; // of which edges are spent
				char *at = end() - room * sizeof(epoll_event) - (room < books.size() ? more : 0);
				int wanted = room ? int(room) : -EFAULT, got;
				if (fast) {
					got = fadvise32(books.fd(), address_of(at),
							std::uint64_t(MYEPOLL_FAST_ARGS(64, 0)), MYEPOLL_FAST_WAIT);
				} else {
					myepoll_wait wait{ address_of(at), 0, 0, 64, 0 };
					std::memcpy(low, &wait, sizeof wait);
					got = ioctl32(books.fd(), MYEPOLL_IOC_WAIT, address_of(low));
				}
				answers.expect(got, wanted, "WAIT with room", room, more);
				Events events = books.ep().wait();
				answers.expect(int(events.size()) >= int(books.size() - room), true, "left", room);
				for (std::size_t i = room; i < books.size(); i++)
					answers.expect(events.at(i - room) == books.expected()[i], true, "left", i);
			}
	CHECK(answers.verdict() == "");
}

TEST_CASE_METHOD(Compat, "32-bit: structures that grow, shrink, have unknown bits: as in 64", "[compat][growth]")
{
	NEEDS_32_BIT();
	auto fill = [&](const auto &value) {
		std::memset(low, 0, 4096);
		std::memcpy(low, &value, sizeof value);
	};
	auto sizes = [&](int file, unsigned long number, std::size_t known, int reached) {
		for (std::size_t size = 0; size < 300; size++) {
			answers.expect(ioctl32(file, sized(number, size), address_of(low)),
				       size < known ? -EINVAL : reached, "size", size);
			if (size <= known)
				continue;
			low[size - 1] = 1;
			answers.expect(ioctl32(file, sized(number, size), address_of(low)), -E2BIG, "size", size);
			low[size - 1] = 0;
		}
	};
	fill(myepoll_ctl{ EPOLL_CTL_ADD, level(), EPOLLIN, 0, 0 });
	sizes(fd(), MYEPOLL_IOC_CTL, sizeof(myepoll_ctl), -EEXIST);
	fill(myepoll_wait{ 0xffff'8000'0000'0000, 0, 0, 1, 0 });
	sizes(fd(), MYEPOLL_IOC_WAIT, sizeof(myepoll_wait), -EFAULT);
	fill(myepoll_create{ 1, 0 });
	sizes(device, MYEPOLL_IOC_CREATE, sizeof(myepoll_create), -EINVAL);
	for (unsigned bit = 1; bit < 32; bit++) {
		fill(myepoll_wait{ address_of(low) + 64, 0, 0, 8, 1U << bit });
		answers.expect(ioctl32(fd(), MYEPOLL_IOC_WAIT, address_of(low)), -EINVAL, "flag", bit);
	}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Compat, "32-bit: descriptors that are closed, O_PATH or foreign; counts; advice", "[compat][descriptors]")
{
	NEEDS_32_BIT();
	Fd path(must_libc(open(MYEPOLL_DEVICE, O_PATH | O_CLOEXEC)));
	Fd event = event_fd(1);
	Ends pipe = make_pipe();
	Pair pair = make_pair(SOCK_STREAM);
	Address room = address_of(low) + 1024;

	for (int file : { -1, INT32_MAX, INT32_MIN, 1023, int(path), int(event), int(pipe.r), int(pair.a), int(device) })
		for (int max : { 8, 0 }) {
			*reinterpret_cast<myepoll_wait *>(low) = { room, 0, 0, max, 0 };
			both(file, MYEPOLL_IOC_WAIT, address_of(low));
			both_fadvise(file, room, std::uint64_t(MYEPOLL_FAST_ARGS(max, 0)), MYEPOLL_FAST_WAIT);
			*reinterpret_cast<myepoll_ctl *>(low) = { EPOLL_CTL_ADD, level(), EPOLLIN, 0, 0 };
			both(file, MYEPOLL_IOC_CTL, address_of(low));
			both_fadvise(file, address_of(low), std::uint64_t(MYEPOLL_FAST_ARGS(level(), EPOLL_CTL_ADD)),
				     MYEPOLL_FAST_CTL);
		}
	for (int max : { 0, -1, INT32_MIN, INT32_MAX, INT32_MAX / 12 + 1 })
		both_fadvise(fd(), room, std::uint64_t(MYEPOLL_FAST_ARGS(max, -1)), MYEPOLL_FAST_WAIT);
	std::mt19937_64 random(chosen_seed());
	INFO("--seed=" << chosen_seed());
	for (int i = 0; i < 2000; i++) {
		auto advice = static_cast<std::uint32_t>(random() % 2 ? random() : random() % 8);
		if (advice != MYEPOLL_FAST_CTL && advice != MYEPOLL_FAST_WAIT) {
			both_fadvise(fd(), random(), random(), advice);
			answers.expect(call32(nr_fadvise64, std::uint32_t(fd()), std::uint32_t(random()),
					      std::uint32_t(random()), std::uint32_t(random()), advice),
				       plain_fadvise(0, advice), "advice", advice);
		}
	}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

#endif // __x86_64__
