// SPDX-License-Identifier: GPL-2.0
// What uapi/myepoll.h promises beyond epoll's own behaviour: the device, the
// structures and how they grow, the numbers, the fast door. Needs the module;
// the option --backend does not apply here.
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uapi/myepoll.h"
#include "catch.hpp"
#include "support.hpp"

static_assert(sizeof(myepoll_event) == sizeof(epoll_event));
static_assert(alignof(myepoll_event) == alignof(epoll_event));
static_assert(sizeof(myepoll_create) == 8);
static_assert(sizeof(myepoll_ctl) == 24);
static_assert(sizeof(myepoll_wait) == 32);
static_assert(sizeof(myepoll_change) == 24);
static_assert(sizeof(myepoll_turn) == 56);
static_assert(sizeof(myepoll_watch) == 24);
static_assert(sizeof(myepoll_list) == 16);
static_assert(sizeof(myepoll_options) == 16);
static_assert(sizeof(myepoll_info) == 16);
static_assert(MYEPOLL_CLOEXEC == EPOLL_CLOEXEC);
static_assert(MYEPOLL_IOC_CREATE == 0x4008e700);
static_assert(MYEPOLL_IOC_CTL == 0x4018e701);
static_assert(MYEPOLL_IOC_WAIT == 0x4020e702);
static_assert(MYEPOLL_IOC_FEATURES == 0x8008e703);
static_assert(MYEPOLL_IOC_TURN == 0xc038e704);
static_assert(MYEPOLL_IOC_LIST == 0x4010e705);
static_assert(MYEPOLL_IOC_SET_OPTIONS == 0x4010e706);
static_assert(MYEPOLL_IOC_GET_OPTIONS == 0x8010e707);
static_assert(MYEPOLL_IOC_INFO == 0x8010e708);
static_assert(MYEPOLL_FAST_CTL == 0x6d790001 && MYEPOLL_FAST_WAIT == 0x6d790002 &&
	      MYEPOLL_FAST_TURN == 0x6d790003);
static_assert(MYEPOLL_CTL_SET == 16 && MYEPOLL_CTL_DISABLE == 17 && MYEPOLL_CTL_DROP == 18);

namespace {

template <typename T> struct Longer {
	T known;
	std::uint64_t more;
};

int call(int fd, unsigned long number, const void *argument)
{
	int r = ioctl(fd, number, argument);
	return r < 0 ? -errno : r;
}

int fadvise(int fd, const void *offset, std::int64_t length, unsigned advice)
{
	long r = syscall(SYS_fadvise64, fd, offset, length, advice);
	return r < 0 ? -errno : static_cast<int>(r);
}

// The number of `number`'s call with an argument of another size
constexpr unsigned long sized(unsigned long number, std::size_t size)
{
	return (number & ~(static_cast<unsigned long>(_IOC_SIZEMASK) << _IOC_SIZESHIFT)) |
	       size << _IOC_SIZESHIFT;
}

struct Abi : Tidy {
	Abi()
	{
		myepoll_create arg{ MYEPOLL_CLOEXEC, 0 };
		ep = Fd(must(call(device, MYEPOLL_IOC_CREATE, &arg), "create"));
	}
	int ctl(int op, int fd, std::uint32_t events, std::uint64_t data = 0)
	{
		myepoll_ctl arg{ op, fd, events, 0, data };
		return call(ep, MYEPOLL_IOC_CTL, &arg);
	}
	int wait(std::int64_t timeout_ns = 0)
	{
		myepoll_wait arg = wait_argument(timeout_ns);
		return call(ep, MYEPOLL_IOC_WAIT, &arg);
	}
	myepoll_wait wait_argument(std::int64_t timeout_ns = 0)
	{
		return { reinterpret_cast<std::uintptr_t>(events), timeout_ns, 0, 8, 0 };
	}

	Fd device{ must_libc(open(MYEPOLL_DEVICE, O_RDONLY | O_CLOEXEC), MYEPOLL_DEVICE) };
	Fd ep;
	epoll_event events[8];
};

} // namespace

TEST_CASE_METHOD(Abi, "the device: mode 0666, a character device, for everybody", "[abi][device]")
{
	struct stat st;
	REQUIRE(stat(MYEPOLL_DEVICE, &st) == 0);
	CHECK(S_ISCHR(st.st_mode));
	CHECK((st.st_mode & 07777) == 0666);
	CHECK(in_child([] {
		      if (setresuid(65534, 65534, 65534))
			      return 200;
		      for (int mode : { O_RDONLY, O_WRONLY, O_RDWR }) {
			      Fd fd(open(MYEPOLL_DEVICE, mode));
			      myepoll_create arg{};
			      Fd instance(call(fd, MYEPOLL_IOC_CREATE, &arg));
			      if (instance < 0)
				      return 1;
		      }
		      return 0;
	      }) == 0);
}

TEST_CASE_METHOD(Abi, "the device is not pollable and no instance: EPERM, ENOTTY, EINVAL", "[abi][device]")
{
	char byte = 0;
	CHECK(ctl(EPOLL_CTL_ADD, device, EPOLLIN) == -EPERM);
	CHECK(read(device, &byte, 1) == -1);
	CHECK(errno == EINVAL);
	myepoll_wait arg = wait_argument();
	CHECK(call(device, MYEPOLL_IOC_WAIT, &arg) == -ENOTTY);
	CHECK(fadvise(device, events, MYEPOLL_FAST_ARGS(8, 0), MYEPOLL_FAST_WAIT) == -EINVAL);
	CHECK(call(device, 0, nullptr) == -ENOTTY);
}

TEST_CASE_METHOD(Abi, "an instance does not need the device to stay open", "[abi][device]")
{
	Fd target = event_fd(1);
	device.reset();
	CHECK(ctl(EPOLL_CTL_ADD, target, EPOLLIN) == 0);
	CHECK(wait() == 1);
}

TEST_CASE_METHOD(Abi, "FEATURES: on the device and on instances alike, and on no other file", "[abi][features]")
{
	std::uint64_t of_device = ~0ULL, of_instance = ~0ULL, none = 0;
	std::string parameter = slurp("/sys/module/myepoll/parameters/fast_door");
	bool open_door = parameter == "1\n" || parameter == "Y\n";

	CHECK(call(device, MYEPOLL_IOC_FEATURES, &of_device) == 0);
	CHECK(call(ep, MYEPOLL_IOC_FEATURES, &of_instance) == 0);
	CHECK(of_device == of_instance);
	CHECK(of_device == (MYEPOLL_FEATURE_TURN | MYEPOLL_FEATURE_OPS | MYEPOLL_FEATURE_OPTIONS | MYEPOLL_FEATURE_TRACE |
			    (open_door ? MYEPOLL_FEATURE_FAST_DOOR : 0)));
	CHECK(call(ep, MYEPOLL_IOC_FEATURES, bad_event()) == -EFAULT);

	Fd event = event_fd(), null(must_libc(open("/dev/null", O_RDWR | O_CLOEXEC)));
	Fd file(must_libc(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));
	Ends pipe = make_pipe();
	Pair pair = make_pair(SOCK_STREAM);
	Instance theirs(native_epoll());
	for (int fd : { int(event), int(null), int(file), int(pipe.r), int(pair.a), theirs.fd() })
		CHECK(call(fd, MYEPOLL_IOC_FEATURES, &none) < 0);
	CHECK(call(-1, MYEPOLL_IOC_FEATURES, &none) == -EBADF);
	CHECK(none == 0);
}

TEST_CASE_METHOD(Abi, "CREATE: EFAULT, then unknown flags and the reserved field: EINVAL", "[abi][create]")
{
	CHECK(call(device, MYEPOLL_IOC_CREATE, bad_event()) == -EFAULT);
	CHECK(call(device, MYEPOLL_IOC_CREATE, nullptr) == -EFAULT);
	myepoll_create reserved{ 0, 1 }, flags{ 1, 0 };
	CHECK(call(device, MYEPOLL_IOC_CREATE, &reserved) == -EINVAL);
	CHECK(call(device, MYEPOLL_IOC_CREATE, &flags) == -EINVAL);
	CHECK(call(ep, MYEPOLL_IOC_CREATE, &flags) == -EINVAL); // not an instance's number
}

TEST_CASE_METHOD(Abi, "structures may be longer: zeros are ignored, anything else is E2BIG", "[abi][growth]")
{
	Fd target = event_fd(1);
	Longer<myepoll_create> create{ { MYEPOLL_CLOEXEC, 0 }, 0 };
	Longer<myepoll_ctl> add{ { EPOLL_CTL_ADD, target, EPOLLIN, 0, 5 }, 0 };
	Longer<myepoll_wait> wait{ wait_argument(), 0 };
	auto create_number = sized(MYEPOLL_IOC_CREATE, sizeof create);
	auto ctl_number = sized(MYEPOLL_IOC_CTL, sizeof add);
	auto wait_number = sized(MYEPOLL_IOC_WAIT, sizeof wait);

	Fd other(call(device, create_number, &create));
	CHECK(other >= 0);
	CHECK(call(ep, ctl_number, &add) == 0);
	CHECK(call(ep, wait_number, &wait) == 1);

	create.more = add.more = wait.more = 1;
	CHECK(call(device, create_number, &create) == -E2BIG);
	CHECK(call(ep, ctl_number, &add) == -E2BIG);
	CHECK(call(ep, wait_number, &wait) == -E2BIG);
	create.more = add.more = wait.more = 1ULL << 63;
	CHECK(call(device, create_number, &create) == -E2BIG);
	CHECK(call(ep, ctl_number, &add) == -E2BIG);
	CHECK(call(ep, wait_number, &wait) == -E2BIG);
}

TEST_CASE_METHOD(Abi, "structures shorter than the first version are EINVAL", "[abi][growth]")
{
	Fd target = event_fd(1);
	myepoll_ctl add{ EPOLL_CTL_ADD, target, EPOLLIN, 0, 5 };
	myepoll_wait wait = wait_argument();
	myepoll_create create{};
	for (std::size_t size : { 0, 1, 4, 7 })
		CHECK(call(device, sized(MYEPOLL_IOC_CREATE, size), &create) == -EINVAL);
	for (std::size_t size : { 0, 8, 16, 23 })
		CHECK(call(ep, sized(MYEPOLL_IOC_CTL, size), &add) == -EINVAL);
	for (std::size_t size : { 0, 8, 24, 31 })
		CHECK(call(ep, sized(MYEPOLL_IOC_WAIT, size), &wait) == -EINVAL);
}

TEST_CASE_METHOD(Abi, "numbers of another type, direction or place are unknown", "[abi][numbers]")
{
	myepoll_wait wait = wait_argument();
	myepoll_ctl ctl{ EPOLL_CTL_DEL, 0, 0, 0, 0 };

	CHECK(call(ep, _IOR(MYEPOLL_IOC_MAGIC, 0x02, myepoll_wait), &wait) == -EINVAL);
	CHECK(call(ep, _IOWR(MYEPOLL_IOC_MAGIC, 0x02, myepoll_wait), &wait) == -EINVAL);
	CHECK(call(ep, _IOW(0xE8, 0x02, myepoll_wait), &wait) == -EINVAL);
	for (int nr = 0x08; nr < 0x100; nr++)
		if (call(ep, _IOW(MYEPOLL_IOC_MAGIC, nr, myepoll_wait), &wait) != -EINVAL)
			FAIL("number " << nr);
	CHECK(call(device, MYEPOLL_IOC_CTL, &ctl) == -ENOTTY);
}

TEST_CASE_METHOD(Abi, "CTL: the reserved field is EINVAL before everything that epoll checks", "[abi][ctl]")
{
	Fd target = event_fd();
	for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL }) {
		myepoll_ctl arg{ op, target, EPOLLIN, 1, 0 };
		CHECK(call(ep, MYEPOLL_IOC_CTL, &arg) == -EINVAL);
		arg.fd = -1;
		CHECK(call(ep, MYEPOLL_IOC_CTL, &arg) == -EINVAL);
		arg.reserved = 0;
		CHECK(call(ep, MYEPOLL_IOC_CTL, &arg) == -EBADF);
	}
	// DEL looks neither at events nor at data
	CHECK(ctl(EPOLL_CTL_ADD, target, EPOLLIN) == 0);
	CHECK(ctl(EPOLL_CTL_DEL, target, ~0U, ~0ULL) == 0);
}

TEST_CASE_METHOD(Abi, "WAIT: unknown flags are EINVAL; the mask counts only with its flag", "[abi][wait]")
{
	for (int bit = 1; bit < 32; bit++) {
		myepoll_wait arg = wait_argument();
		arg.flags = 1U << bit;
		CHECK(call(ep, MYEPOLL_IOC_WAIT, &arg) == -EINVAL);
	}

	struct sigaction action {}, old;
	action.sa_handler = [](int) {};
	sigaction(SIGUSR1, &action, &old);
	sigset_t set, before;
	sigemptyset(&set);
	sigaddset(&set, SIGUSR1);
	pthread_sigmask(SIG_BLOCK, &set, &before);
	raise(SIGUSR1);
	myepoll_wait arg = wait_argument(10'000'000);
	arg.sigmask = 0;
	CHECK(call(ep, MYEPOLL_IOC_WAIT, &arg) == 0);
	arg.flags = MYEPOLL_WAIT_SIGMASK;
	CHECK(call(ep, MYEPOLL_IOC_WAIT, &arg) == -EINTR);
	pthread_sigmask(SIG_SETMASK, &before, nullptr);
	sigaction(SIGUSR1, &old, nullptr);
}

TEST_CASE_METHOD(Abi, "WAIT: nanoseconds; negative waits forever, also the most negative, and the most is long",
		 "[abi][wait]")
{
	Fd target = event_fd();
	REQUIRE(ctl(EPOLL_CTL_ADD, target, EPOLLIN | EPOLLET) == 0);
	CHECK(wait(0) == 0);
	CHECK(wait(1) == 0);
	auto start = Clock::now();
	CHECK(wait(1'500'000) == 0);
	CHECK(Clock::now() - start >= std::chrono::microseconds(1500));
	for (std::int64_t timeout : { std::int64_t{ -1 }, INT64_MIN, INT64_MAX, INT64_MAX - 1 }) {
		CAPTURE(timeout);
		Blocked waiter([&] { return wait(timeout); });
		waiter.asleep();
		settle(20);
		CHECK_FALSE(waiter.done());
		put(target);
		CHECK(waiter.result() == 1);
	}
}

TEST_CASE_METHOD(Abi, "events cross in the layout of struct epoll_event", "[abi][wait]")
{
	Fd target = event_fd(1);
	unsigned char raw[2 * sizeof(epoll_event)];
	std::memset(raw, 0xaa, sizeof raw);
	REQUIRE(ctl(EPOLL_CTL_ADD, target, EPOLLIN, 0x1122334455667788) == 0);
	myepoll_wait arg{ reinterpret_cast<std::uintptr_t>(raw), 0, 0, 2, 0 };
	CHECK(call(ep, MYEPOLL_IOC_WAIT, &arg) == 1);
	epoll_event got;
	std::memcpy(static_cast<void *>(&got), raw, sizeof got);
	CHECK(got.events + 0 == EPOLLIN);
	CHECK(got.data.u64 + 0 == 0x1122334455667788);
	for (std::size_t i = sizeof got; i < sizeof raw; i++)
		CHECK(raw[i] == 0xaa);
}

TEST_CASE_METHOD(Abi, "the fast door: both operations, with negative numbers in either half", "[abi][fast]")
{
	Fd target = event_fd();
	epoll_event e = ev(EPOLLIN | EPOLLET, 9);

	CHECK(fadvise(ep, &e, MYEPOLL_FAST_ARGS(target, EPOLL_CTL_ADD), MYEPOLL_FAST_CTL) == 0);
	CHECK(fadvise(ep, &e, MYEPOLL_FAST_ARGS(-1, EPOLL_CTL_ADD), MYEPOLL_FAST_CTL) == -EBADF);
	CHECK(fadvise(ep, &e, MYEPOLL_FAST_ARGS(target, -1), MYEPOLL_FAST_CTL) == -EINVAL);
	CHECK(fadvise(ep, events, MYEPOLL_FAST_ARGS(8, 0), MYEPOLL_FAST_WAIT) == 0);
	CHECK(fadvise(ep, events, MYEPOLL_FAST_ARGS(-8, 0), MYEPOLL_FAST_WAIT) == -EINVAL);
	CHECK(fadvise(ep, events, MYEPOLL_FAST_ARGS(-8, -1), MYEPOLL_FAST_WAIT) == -EINVAL);
	Blocked waiter([&] { return fadvise(ep, events, MYEPOLL_FAST_ARGS(8, -1), MYEPOLL_FAST_WAIT); });
	waiter.asleep();
	put(target);
	CHECK(waiter.result() == 1);
	CHECK(events[0].data.u64 + 0 == 9);
	CHECK(fadvise(ep, bad_event(), MYEPOLL_FAST_ARGS(target, EPOLL_CTL_DEL), MYEPOLL_FAST_CTL) == 0);

	auto *kernel = reinterpret_cast<void *>(0xffff'8000'0000'0000);
	CHECK(fadvise(ep, kernel, MYEPOLL_FAST_ARGS(target, EPOLL_CTL_ADD), MYEPOLL_FAST_CTL) == -EFAULT);
	CHECK(fadvise(ep, kernel, MYEPOLL_FAST_ARGS(8, 0), MYEPOLL_FAST_WAIT) == -EFAULT);
}

TEST_CASE_METHOD(Abi, "the fast door: any other advice is what it is on any file", "[abi][fast]")
{
	for (unsigned advice : { 0U, 1U, 2U, 3U, 4U, 5U })
		CHECK(fadvise(ep, events, MYEPOLL_FAST_ARGS(8, 0), advice) == 0);
	for (unsigned advice : { 6U, 0x6d790000U, 0x6d790003U, 0x6d790004U,
				 unsigned(INT_MAX), unsigned(INT_MIN), UINT_MAX })
		CHECK(fadvise(ep, events, MYEPOLL_FAST_ARGS(8, 0), advice) == -EINVAL);
}

TEST_CASE_METHOD(Abi, "the fast door: other files answer EINVAL, ESPIPE or EBADF, never success", "[abi][fast]")
{
	Fd event = event_fd(1), null(must_libc(open("/dev/null", O_RDWR | O_CLOEXEC)));
	Fd file(must_libc(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));
	Fd memory(must_libc(memfd_create("test", MFD_CLOEXEC)));
	Fd directory(must_libc(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
	Fd path(must_libc(open("/", O_PATH | O_CLOEXEC)));
	Ends pipe = make_pipe();
	Pair pair = make_pair(SOCK_STREAM);
	Instance theirs(native_epoll());
	epoll_event e = ev(EPOLLIN, 9);

	auto check = [&](int fd, int expected) {
		CAPTURE(fd);
		CHECK(fadvise(fd, events, MYEPOLL_FAST_ARGS(8, 0), MYEPOLL_FAST_WAIT) == expected);
		CHECK(fadvise(fd, &e, MYEPOLL_FAST_ARGS(event, EPOLL_CTL_ADD), MYEPOLL_FAST_CTL) == expected);
	};
	for (int fd : { int(event), int(null), int(file), int(memory), int(directory), int(pair.a), theirs.fd() })
		check(fd, -EINVAL);
	check(pipe.r, -ESPIPE);
	check(path, -EBADF);
	check(-1, -EBADF);
	CHECK(theirs.count(0) == 0);
}

TEST_CASE_METHOD(Abi, "both doors lead into the same instance", "[abi][fast]")
{
	Fd a = event_fd(1), b = event_fd(1);
	epoll_event e = ev(EPOLLIN, 2);
	REQUIRE(ctl(EPOLL_CTL_ADD, a, EPOLLIN, 1) == 0);
	REQUIRE(fadvise(ep, &e, MYEPOLL_FAST_ARGS(b, EPOLL_CTL_ADD), MYEPOLL_FAST_CTL) == 0);
	CHECK(fadvise(ep, &e, MYEPOLL_FAST_ARGS(a, EPOLL_CTL_ADD), MYEPOLL_FAST_CTL) == -EEXIST);
	CHECK(wait() == 2);
	CHECK(fadvise(ep, events, MYEPOLL_FAST_ARGS(8, 0), MYEPOLL_FAST_WAIT) == 2);
	CHECK(ctl(EPOLL_CTL_DEL, b, 0) == 0);
	CHECK(fadvise(ep, events, MYEPOLL_FAST_ARGS(8, 0), MYEPOLL_FAST_WAIT) == 1);
}
