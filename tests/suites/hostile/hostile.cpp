// SPDX-License-Identifier: GPL-2.0
#include "hostile.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <sstream>

#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "catch.hpp"

namespace {

unsigned seed = std::random_device{}();
double seconds = 3;

int result(long r)
{
	return r < 0 ? -errno : static_cast<int>(r);
}

} // namespace

unsigned chosen_seed()
{
	return seed;
}

milliseconds random_time()
{
	return milliseconds(static_cast<long>(seconds * 1000));
}

extern "C" int take_test_options(int *argc, char **argv);

extern "C" int take_test_options(int *argc, char **argv)
{
	if (const char *text = take_option(argc, argv, "--seed"))
		seed = static_cast<unsigned>(std::strtoul(text, nullptr, 0));
	if (const char *text = take_option(argc, argv, "--seconds"))
		seconds = std::atof(text);

	int status = take_backend_option(argc, argv);
	if (!status && be().native()) {
		std::fprintf(stderr, "%s: --backend=ioctl or fast: the doors are what is tried\n", argv[0]);
		return 2;
	}
	return status;
}

int raw_ioctl(int fd, unsigned long number, Address argument)
{
	return result(syscall(SYS_ioctl, fd, number, argument));
}

int raw_fadvise(int fd, Address offset, std::uint64_t length, std::uint32_t advice)
{
	return result(syscall(SYS_fadvise64, fd, offset, length, advice));
}

int ctl_at(int epfd, int op, int fd, Address where)
{
	if (be().door() == Door::fast)
		return raw_fadvise(epfd, where, static_cast<std::uint64_t>(MYEPOLL_FAST_ARGS(fd, op)),
				   MYEPOLL_FAST_CTL);
	return raw_ioctl(epfd, MYEPOLL_IOC_CTL, where);
}

std::vector<char> ctl_image(int op, int fd, std::uint32_t events, std::uint64_t data)
{
	epoll_event event = ev(events, data);
	myepoll_ctl argument{ op, fd, events, 0, data };
	bool fast = be().door() == Door::fast;
	const char *from = fast ? reinterpret_cast<char *>(&event) : reinterpret_cast<char *>(&argument);

	return { from, from + (fast ? sizeof event : sizeof argument) };
}

int wait_at(int epfd, Address where, int max, int ms)
{
	return be().wait(epfd, reinterpret_cast<epoll_event *>(where), max, ms);
}

std::vector<Address> nowhere()
{
	return {
		0,			// NULL, and what lies beside it
		1,
		8,
		4095,
		address_of(bad_event()),
		address_of(bad_event()) + 4090,
		0x7fff'ffff'f000,	// the guard page below the end of the user's half
		0x7fff'ffff'fff8,
		0x8000'0000'0000,	// not canonical
		0x1234'5678'9abc'def0,
		0x8000'0000'0000'0000,
		0xffff'7fff'ffff'fff8,
		0xffff'8000'0000'0000,	// the kernel's: its half, all memory, its text
		0xffff'8880'0000'0000,
		0xffff'ffff'8100'0000,
		0xffff'ffff'ffff'f000,
		0xffff'ffff'ffff'fff8,
		0xffff'ffff'ffff'ffff,
	};
}

Island::Island(Shore shore)
{
	void *base = mmap(nullptr, 3 * page, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	must_libc(base == MAP_FAILED ? -1 : 0, "mmap");
	base_ = static_cast<char *>(base);

	if (shore == Shore::past_the_end) {
		Fd file(must_libc(memfd_create("island", MFD_CLOEXEC), "memfd_create"));
		must_libc(ftruncate(file, page), "ftruncate");
		base = mmap(begin(), 2 * page, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_FIXED, file, 0);
		must_libc(base == MAP_FAILED ? -1 : 0, "mmap");
		return;
	}
	must_libc(mprotect(begin(), page, PROT_READ | PROT_WRITE), "mprotect");
	if (shore == Shore::read_only)
		must_libc(mprotect(end(), page, PROT_READ), "mprotect");
	if (shore == Shore::hole)
		must_libc(munmap(end(), page), "munmap");
}

Island::~Island()
{
	munmap(base_, 3 * page);
}

std::ostream &operator<<(std::ostream &out, Island::Shore shore)
{
	static const char *const names[] = { "PROT_NONE", "a hole", "read-only", "past the end of a file" };
	return out << names[static_cast<int>(shore)];
}

void Answers::expect(int got, int wanted, const char *what, Address a, Address b)
{
	asked_++;
	if (got == wanted)
		return;
	std::ostringstream text;
	text << what << " (0x" << std::hex << a << ", 0x" << b << std::dec << "): " << got << ", not " << wanted;
	wrong(text.str());
}

void Answers::wrong(const std::string &text)
{
	if (wrong_++ < 8)
		text_ += text + "\n";
}

std::string Answers::verdict() const
{
	if (wrong_)
		return std::to_string(wrong_) + " of " + std::to_string(asked_) + " are wrong:\n" + text_;
	return asked_ ? "" : "nothing was asked";
}

// The level-triggered ones first: what a wait and rearm() leave is the same order.
Books::Books()
	: level_(event_fd(1)), idle_(event_fd()), alone_(event_fd(1)), edge_(event_fd(1)), once_(event_fd(1)),
	  spent_(event_fd(1)), leaf_(event_fd(1)), pair_(make_pair(SOCK_STREAM))
{
	auto add = [this](const Instance &ep, int fd, std::uint32_t events, std::uint64_t data) {
		must(ep.add(fd, events, data), "ADD");
		charged_++;
	};
	add(inner_, leaf_, EPOLLIN, 100);
	add(ep_, spent_, EPOLLIN | EPOLLONESHOT, 99);
	if (ep_.wait() != Events{ { EPOLLIN, 99 } })
		throw std::runtime_error("the instance does not work");
	add(ep_, level_, EPOLLIN, level_data);
	add(ep_, pair_.a, EPOLLIN | EPOLLOUT | EPOLLRDHUP, 0xfedc'ba98'7654'3210);
	add(ep_, inner_.fd(), EPOLLIN, 3);
	add(ep_, alone_, EPOLLIN | EPOLLEXCLUSIVE, ~0ULL);
	add(ep_, idle_, EPOLLIN | EPOLLPRI, 98);
	add(ep_, edge_, EPOLLIN | EPOLLET, 4);
	add(ep_, once_, EPOLLIN | EPOLLONESHOT, 5);
	expected_ = { { EPOLLIN, level_data }, { EPOLLOUT, 0xfedc'ba98'7654'3210 }, { EPOLLIN, 3 },
		      { EPOLLIN, ~0ULL }, { EPOLLIN, 4 }, { EPOLLIN, 5 } };
	fdinfo_ = fdinfo(fd());
}

void Books::rearm() const
{
	must(ep_.mod(edge_, EPOLLIN | EPOLLET, 4), "MOD");
	must(ep_.mod(once_, EPOLLIN | EPOLLONESHOT, 5), "MOD");
}

std::string Books::changed() const
{
	std::string now = fdinfo(fd());
	if (now != fdinfo_)
		return "fdinfo was\n" + fdinfo_ + "and is\n" + now;

	Events events = ep_.wait();
	if (events != expected_)
		return "a wait gives " + Catch::Detail::stringify(events);
	rearm();
	return "";
}

std::string Books::miscounted(int more) const
{
	std::string before = slurp(be().max_user_watches());
	Fd one = event_fd(), beyond = event_fd();
	Instance other;

	spill(be().max_user_watches(), std::to_string(charged_ + more + 1) + "\n");
	int a = other.add(one, EPOLLIN);
	int b = other.add(beyond, EPOLLIN);
	spill(be().max_user_watches(), before);
	if (a == 0 && b == -ENOSPC)
		return "";
	return "with room for one watch: " + std::to_string(a) + ", and for none: " + std::to_string(b);
}
