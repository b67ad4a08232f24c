// SPDX-License-Identifier: GPL-2.0
// The epoll under test, reached by system calls alone.
//
// Every call answers what the kernel answered: the result, or -errno. No
// library of this repository is involved, so a test sees the module's own
// errno. The program's option --backend=epoll|ioctl|fast, or the environment
// variable MYEPOLL_TEST_BACKEND, chooses; the default is epoll.
#pragma once

#include <cstdint>
#include <ctime>
#include <string>

#include <sys/epoll.h>

enum class Door { epoll, ioctl, fast };

class Backend {
public:
	explicit Backend(Door door) : door_(door) {}

	Door door() const { return door_; }
	bool native() const { return door_ == Door::epoll; }
	std::string name() const;

	int create1(int flags) const;

	// event may be bad_event(); a door that copies events passes a bad
	// argument pointer then.
	int ctl(int epfd, int op, int fd, const epoll_event *event) const;
	int wait(int epfd, epoll_event *events, int maxevents, int timeout_ms) const;

	// mask: bit n-1 for signal n, nullptr: the mask stays
	int pwait(int epfd, epoll_event *events, int maxevents, int timeout_ms,
		  const std::uint64_t *mask) const;
	int pwait2(int epfd, epoll_event *events, int maxevents, const timespec *timeout,
		   const std::uint64_t *mask = nullptr) const;

	// Where the doors of the module cannot be epoll's system calls:

	// CTL's event is inside the argument (ioctl): DEL has no event pointer
	// of which to ignore the value.
	bool copies_event() const { return door_ == Door::ioctl; }

	// The descriptor leads to the door: it is looked up before anything else,
	// and another kind of file answers for itself.
	bool descriptor_first() const { return !native(); }

	// What CTL and WAIT answer on an open file that is no instance. The file
	// has no ->fadvise, no matching ioctl, and is no FIFO.
	int not_an_instance() const;

	// The instance, as /proc/PID/fd calls it
	std::string link_text() const;

	// The file with the limit on watches per user
	std::string max_user_watches() const;

	// Rules that changed with a version of the kernel; the module follows the
	// newest on every kernel.
	bool descriptor_before_maxevents() const; // 6.15
	bool has_busy_poll_params() const;	  // 6.9: EPIOCSPARAMS; unknown ioctl is EINVAL
	bool never_a_false_zero() const;	  // 7.2, 6.12.100

private:
	Door door_;
};

// Takes NAME=VALUE off the command line; the last VALUE, or nullptr
const char *take_option(int *argc, char **argv, const char *name);

// Takes --backend off the command line; 0, or the status to exit with
extern "C" int take_backend_option(int *argc, char **argv);

// The backend chosen for this run, and another for a mixture
const Backend &be();
const Backend &native_epoll();

// An address that holds no event and never will
epoll_event *bad_event();

struct Version {
	int major, minor, patch;
	auto operator<=>(const Version &) const = default;
};

// The upstream version of the running kernel, Debian's naming seen through
Version running_kernel();
inline bool kernel_at_least(int major, int minor, int patch = 0)
{
	return running_kernel() >= Version{ major, minor, patch };
}
// A fix that landed in mainline.minor and was backported to one stable series
bool kernel_has_fix(Version mainline, Version backport);
