// SPDX-License-Identifier: GPL-2.0
#include "backend.hpp"

#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "../../uapi/myepoll.h"

namespace {

constexpr std::size_t kernel_sigset_size = 8;

int result(long r)
{
	return r < 0 ? -errno : static_cast<int>(r);
}

std::uint64_t address(const void *p)
{
	return reinterpret_cast<std::uintptr_t>(p);
}

// Made at the start, like what follows: what is made at the first use can be half made, and
// stay so in the child, when another thread forks.
void *const bad_page = mmap(nullptr, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

Version read_version()
{
	utsname u{};
	Version v{};
	uname(&u);
	// Debian 12 calls its 6.1.192 "6.1.0-56-amd64" and says the rest in the build's
	// description.
	const char *debian = std::strstr(u.version, "Debian ");
	if (!debian || std::sscanf(debian, "Debian %d.%d.%d", &v.major, &v.minor, &v.patch) < 2)
		std::sscanf(u.release, "%d.%d.%d", &v.major, &v.minor, &v.patch);
	return v;
}

const Version version = read_version();

// Opened while options are taken
int device()
{
	static const int fd = [] {
		int r = open(MYEPOLL_DEVICE, O_RDWR | O_CLOEXEC);
		if (r < 0) {
			std::perror(MYEPOLL_DEVICE);
			std::exit(2);
		}
		return r;
	}();
	return fd;
}

int ioctl_wait(int epfd, epoll_event *events, int maxevents, std::int64_t timeout,
	       const std::uint64_t *mask)
{
	myepoll_wait arg{};
	arg.events = address(events);
	arg.timeout = timeout;
	arg.maxevents = maxevents;
	if (mask) {
		arg.flags = MYEPOLL_WAIT_SIGMASK;
		arg.sigmask = *mask;
	}
	return result(ioctl(epfd, MYEPOLL_IOC_WAIT, &arg));
}

std::int64_t nanoseconds(int ms)
{
	return ms < 0 ? -1 : ms * std::int64_t{ 1'000'000 };
}

// As the library does it: an over-long timeout is the longest
std::int64_t nanoseconds(const timespec *ts)
{
	if (!ts)
		return -1;
	if (ts->tv_sec > INT64_MAX / 1'000'000'000 - 1)
		return INT64_MAX;
	return ts->tv_sec * std::int64_t{ 1'000'000'000 } + ts->tv_nsec;
}

std::optional<Door> door_named(const char *name)
{
	if (!std::strcmp(name, "epoll"))
		return Door::epoll;
	if (!std::strcmp(name, "ioctl"))
		return Door::ioctl;
	if (!std::strcmp(name, "fast"))
		return Door::fast;
	return std::nullopt;
}

Backend chosen{ Door::epoll };
const Backend kernels_own{ Door::epoll };

} // namespace

const Backend &be()
{
	return chosen;
}

const Backend &native_epoll()
{
	return kernels_own;
}


const char *take_option(int *argc, char **argv, const char *name)
{
	const std::size_t length = std::strlen(name);
	const char *value = nullptr;
	int kept = 1;

	for (int i = 1; i < *argc; i++) {
		if (!std::strncmp(argv[i], name, length) && argv[i][length] == '=')
			value = argv[i] + length + 1;
		else
			argv[kept++] = argv[i];
	}
	argv[kept] = nullptr;
	*argc = kept;
	return value;
}

extern "C" int take_backend_option(int *argc, char **argv)
{
	const char *name = take_option(argc, argv, "--backend");

	if (!name)
		name = std::getenv("MYEPOLL_TEST_BACKEND");
	if (name) {
		auto door = door_named(name);
		if (!door) {
			std::fprintf(stderr, "%s: no backend %s (epoll, ioctl, fast)\n", argv[0], name);
			return 2;
		}
		chosen = Backend{ *door };
	}
	if (!chosen.native())
		device(); // now, not inside a test that counts descriptors
	return 0;
}

// For the programs that have no option but this.
extern "C" __attribute__((weak)) int take_test_options(int *argc, char **argv);

extern "C" __attribute__((weak)) int take_test_options(int *argc, char **argv)
{
	return take_backend_option(argc, argv);
}

std::string Backend::name() const
{
	return native() ? "epoll" : door_ == Door::ioctl ? "ioctl" : "fast";
}

int Backend::create1(int flags) const
{
	if (native())
		return result(syscall(SYS_epoll_create1, flags));

	myepoll_create arg{};
	arg.flags = static_cast<unsigned>(flags);
	return result(ioctl(device(), MYEPOLL_IOC_CREATE, &arg));
}

int Backend::ctl(int epfd, int op, int fd, const epoll_event *event) const
{
	switch (door_) {
	case Door::epoll:
		return result(syscall(SYS_epoll_ctl, epfd, op, fd, event));
	case Door::fast:
		return result(syscall(SYS_fadvise64, epfd, event, MYEPOLL_FAST_ARGS(fd, op),
				      MYEPOLL_FAST_CTL));
	case Door::ioctl:
		break;
	}

	myepoll_ctl arg{};
	arg.op = op;
	arg.fd = fd;
	if (op != EPOLL_CTL_DEL) {
		if (!event || event == bad_event())
			return result(ioctl(epfd, MYEPOLL_IOC_CTL, event));
		arg.events = event->events;
		arg.data = event->data.u64;
	}
	return result(ioctl(epfd, MYEPOLL_IOC_CTL, &arg));
}

int Backend::wait(int epfd, epoll_event *events, int maxevents, int timeout_ms) const
{
	switch (door_) {
	case Door::epoll:
		return result(syscall(SYS_epoll_wait, epfd, events, maxevents, timeout_ms));
	case Door::fast:
		return result(syscall(SYS_fadvise64, epfd, events,
				      MYEPOLL_FAST_ARGS(maxevents, timeout_ms), MYEPOLL_FAST_WAIT));
	case Door::ioctl:
		break;
	}
	return ioctl_wait(epfd, events, maxevents, nanoseconds(timeout_ms), nullptr);
}

int Backend::pwait(int epfd, epoll_event *events, int maxevents, int timeout_ms,
		   const std::uint64_t *mask) const
{
	if (native())
		return result(syscall(SYS_epoll_pwait, epfd, events, maxevents, timeout_ms, mask,
				      kernel_sigset_size));
	return ioctl_wait(epfd, events, maxevents, nanoseconds(timeout_ms), mask);
}

int Backend::pwait2(int epfd, epoll_event *events, int maxevents, const timespec *timeout,
		    const std::uint64_t *mask) const
{
	if (native())
		return result(syscall(SYS_epoll_pwait2, epfd, events, maxevents, timeout, mask,
				      kernel_sigset_size));
	return ioctl_wait(epfd, events, maxevents, nanoseconds(timeout), mask);
}

int Backend::not_an_instance() const
{
	return door_ == Door::ioctl ? -ENOTTY : -EINVAL;
}

std::string Backend::link_text() const
{
	return native() ? "anon_inode:[eventpoll]" : "anon_inode:[myepoll]";
}

std::string Backend::max_user_watches() const
{
	return native() ? "/proc/sys/fs/epoll/max_user_watches" :
			  "/sys/module/myepoll/parameters/max_user_watches";
}

bool Backend::descriptor_before_maxevents() const
{
	return !native() || kernel_at_least(6, 15);
}

bool Backend::has_busy_poll_params() const
{
	return !native() || kernel_at_least(6, 9);
}

bool Backend::never_a_false_zero() const
{
	return !native() || kernel_has_fix({ 7, 2, 0 }, { 6, 12, 100 });
}

epoll_event *bad_event()
{
	return static_cast<epoll_event *>(bad_page);
}

Version running_kernel()
{
	return version;
}

bool kernel_has_fix(Version mainline, Version backport)
{
	Version v = running_kernel();
	if (v >= mainline)
		return true;
	return v.major == backport.major && v.minor == backport.minor && v.patch >= backport.patch;
}
