// SPDX-License-Identifier: GPL-2.0
// Descriptors of every kind through both doors: as the instance, where none but an
// instance is one, and as the target, where the answer is epoll's.
#include <cerrno>
#include <climits>
#include <csignal>
#include <cstring>
#include <functional>

#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/netlink.h>
#include <linux/perf_event.h>
#include <mqueue.h>
#include <netinet/in.h>
#include <sys/fanotify.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "catch.hpp"
#include "hostile.hpp"

namespace {

struct Kind {
	const char *name;
	std::function<int()> open; // or -1, where this kernel has none
	bool needed = true;	   // every kernel has it
};

int path(const char *name, int flags = O_RDONLY)
{
	return open(name, flags | O_CLOEXEC);
}

int one_of_two(int (*make)(int[2]), int which)
{
	int fds[2];
	if (make(fds))
		return -1;
	close(fds[!which]);
	return fds[which];
}

// A descriptor of each kind that the guest can make
const Kind kinds[] = {
	{ "regular file", [] { return path("/proc/self/exe"); } },
	{ "temporary file", [] { return open("/dev/shm", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600); } },
	{ "memfd", [] { return memfd_create("kind", MFD_CLOEXEC); } },
	{ "secret memory", [] { return int(syscall(SYS_memfd_secret, O_CLOEXEC)); }, false },
	{ "directory", [] { return path("/", O_RDONLY | O_DIRECTORY); } },
	{ "/dev/null", [] { return path("/dev/null", O_RDWR); } },
	{ "/dev/zero", [] { return path("/dev/zero", O_RDWR); } },
	{ "/dev/random", [] { return path("/dev/random"); } },
	{ "/dev/kmsg", [] { return path("/dev/kmsg", O_RDONLY | O_NONBLOCK); } },
	{ "/dev/ptmx", [] { return path("/dev/ptmx", O_RDWR | O_NOCTTY); } },
	{ "/proc/self/mounts", [] { return path("/proc/self/mounts"); } },
	{ "/proc/self/status", [] { return path("/proc/self/status"); } },
	{ "/proc/self/ns/net", [] { return path("/proc/self/ns/net"); }, false },
	{ "a parameter in sysfs", [] { return path(be().max_user_watches().c_str()); } },
	{ "the device", [] { return path(MYEPOLL_DEVICE, O_RDWR); } },
	{ "pipe, to read", [] { return one_of_two([](int fds[2]) { return pipe2(fds, O_CLOEXEC); }, 0); } },
	{ "pipe, to write", [] { return one_of_two([](int fds[2]) { return pipe2(fds, O_CLOEXEC); }, 1); } },
	{ "FIFO", [] { mkfifo("/dev/shm/fifo", 0600); return path("/dev/shm/fifo", O_RDWR); } },
	{ "TCP", [] { return socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); } },
	{ "UDP", [] { return socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0); } },
	{ "UNIX", [] { return socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0); } },
	{ "netlink", [] { return socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE); } },
	{ "packet", [] { return socket(AF_PACKET, SOCK_RAW | SOCK_CLOEXEC, 0); }, false },
	{ "eventfd", [] { return event_fd(1).release(); } },
	{ "timerfd", [] { return timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC); } },
	{ "signalfd", [] { sigset_t s; sigfillset(&s); return signalfd(-1, &s, SFD_CLOEXEC); } },
	{ "inotify", [] { return inotify_init1(IN_CLOEXEC); } },
	{ "fanotify", [] { return fanotify_init(FAN_CLOEXEC | FAN_CLASS_NOTIF, O_RDONLY); }, false },
	{ "pidfd", [] { return int(syscall(SYS_pidfd_open, getpid(), 0)); } },
	{ "userfaultfd", [] { return int(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK)); }, false },
	{ "io_uring", [] { io_uring_params p{}; return int(syscall(SYS_io_uring_setup, 4, &p)); }, false },
	{ "perf event",
	  [] {
		  perf_event_attr a{};
		  a.size = sizeof a;
		  a.type = PERF_TYPE_SOFTWARE;
		  a.config = PERF_COUNT_SW_CPU_CLOCK;
		  return int(syscall(SYS_perf_event_open, &a, 0, -1, -1, PERF_FLAG_FD_CLOEXEC));
	  }, false },
	{ "BPF map",
	  [] {
		  bpf_attr a;
		  std::memset(&a, 0, sizeof a);
		  a.map_type = BPF_MAP_TYPE_ARRAY;
		  a.key_size = 4;
		  a.value_size = 8;
		  a.max_entries = 1;
		  return int(syscall(SYS_bpf, BPF_MAP_CREATE, &a, sizeof a));
	  }, false },
	{ "file system context", [] { return int(syscall(SYS_fsopen, "tmpfs", 1)); } },
	{ "message queue",
	  [] {
		  mqd_t q = mq_open("/kind", O_RDWR | O_CREAT | O_CLOEXEC, 0600, nullptr);
		  return q == mqd_t(-1) ? -1 : int(q);
	  }, false },
	{ "epoll", [] { return native_epoll().create1(EPOLL_CLOEXEC); } },
};

} // namespace

TEST_CASE_METHOD(Books, "no file of another kind is an instance, by CTL or WAIT, nor does it mind", "[descriptors]")
{
	Answers answers;
	Fd target = event_fd(1);
	int made = 0;

	for (const Kind &kind : kinds) {
		CAPTURE(kind.name);
		Fd file(kind.open());
		if (file < 0) {
			CHECK_FALSE(kind.needed);
			continue;
		}
		made++;
		struct stat st;
		must_libc(fstat(file, &st));
		// The kernel sees a FIFO before the advice
		int fast = S_ISFIFO(st.st_mode) ? -ESPIPE : -EINVAL;
		epoll_event room[8], event = ev(EPOLLIN, 1);
		std::memset(static_cast<void *>(room), 0x55, sizeof room);

		for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 0 })
			for (Address from : { address_of(&event), Address(0) })
				answers.expect(raw_fadvise(file, from,
							   std::uint64_t(MYEPOLL_FAST_ARGS(target, op)),
							   MYEPOLL_FAST_CTL),
					       fast, kind.name);
		for (int ms : { 0, -1 })
			answers.expect(raw_fadvise(file, address_of(room), std::uint64_t(MYEPOLL_FAST_ARGS(8, ms)),
						   MYEPOLL_FAST_WAIT),
				       fast, kind.name);

		// An ioctl of another file may say what it likes, but not yes
		myepoll_ctl ctl{ EPOLL_CTL_ADD, target, EPOLLIN, 0, 0 };
		myepoll_wait wait{ address_of(room), -1, 0, 8, 0 };
		std::uint64_t features = 0x55;
		bool device = !std::strcmp(kind.name, "the device");
		answers.expect(raw_ioctl(file, MYEPOLL_IOC_CTL, address_of(&ctl)) < 0, true, kind.name, 1);
		answers.expect(raw_ioctl(file, MYEPOLL_IOC_WAIT, address_of(&wait)) < 0, true, kind.name, 2);
		answers.expect(raw_ioctl(file, MYEPOLL_IOC_FEATURES, address_of(&features)) < 0, !device, kind.name, 3);
		answers.expect(features != 0x55, device, kind.name, 4);
		for (const epoll_event &e : room)
			answers.expect(e.events + 0 == 0x5555'5555, true, kind.name, 5);
	}
	mq_unlink("/kind");
	unlink("/dev/shm/fifo");
	CHECK(made >= 25);
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "a file of every kind as the target: ADD, MOD and DEL answer as epoll's do", "[descriptors][ctl]")
{
	Answers answers;

	for (const Kind &kind : kinds) {
		CAPTURE(kind.name);
		Fd file(kind.open());
		if (file < 0) {
			CHECK_FALSE(kind.needed);
			continue;
		}
		if (!std::strcmp(kind.name, "epoll")) {
			answers.expect(ep().add(file, EPOLLIN), -ELOOP, kind.name);
			answers.expect(ep().mod(file, EPOLLIN), -ENOENT, kind.name);
			answers.expect(ep().del(file), -ENOENT, kind.name);
			continue;
		}
		Instance theirs(native_epoll());
		// Edge-triggered, that a file may be ready and Books need not know
		for (int op : { EPOLL_CTL_MOD, EPOLL_CTL_DEL, EPOLL_CTL_ADD, EPOLL_CTL_ADD, EPOLL_CTL_MOD, 0,
				EPOLL_CTL_DEL, EPOLL_CTL_DEL })
			answers.expect(ep().ctl(op, file, EPOLLPRI | EPOLLET, 9),
				       theirs.ctl(op, file, EPOLLPRI | EPOLLET, 9), kind.name, unsigned(op));
	}
	mq_unlink("/kind");
	unlink("/dev/shm/fifo");
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "closed, O_PATH and impossible numbers are EBADF, as instance and as target", "[descriptors]")
{
	Answers answers;
	Fd path_of_file(path("/proc/self/mounts", O_PATH));
	Fd path_of_device(path(MYEPOLL_DEVICE, O_PATH));
	Fd path_of_pipe(path("/dev/ptmx", O_PATH));
	int closed = dup_of(level()).release();
	epoll_event room[8];

	close(closed);
	for (int bad : { -1, -2, INT_MIN, INT_MAX, 1 << 20, 1023, closed, int(path_of_file), int(path_of_device),
			 int(path_of_pipe) }) {
		auto b = static_cast<unsigned>(bad);
		for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 0, 77 }) {
			auto image = ctl_image(op, level(), EPOLLIN, 0);
			answers.expect(ctl_at(bad, op, level(), address_of(image.data())), -EBADF, "CTL on", b, op);
			image = ctl_image(op, bad, EPOLLIN, 0);
			answers.expect(ctl_at(fd(), op, bad, address_of(image.data())), -EBADF, "CTL of", b, op);
			// The descriptor leads to the door: nothing else is looked at before
			answers.expect(ctl_at(bad, op, bad, address_of(bad_event())), -EBADF, "CTL on", b, op);
		}
		for (int max : { 8, 0, -1 })
			for (Address to : { address_of(room), Address(~0ULL) })
				answers.expect(wait_at(bad, to, max, -1), -EBADF, "WAIT on", b, max);
		myepoll_create create{};
		answers.expect(raw_ioctl(bad, MYEPOLL_IOC_CREATE, address_of(&create)), -EBADF, "CREATE on", b);
	}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "an instance cannot be opened again by its name in /proc, nor mapped, read, written or sought",
		 "[descriptors]")
{
	std::string name = "/proc/self/fd/" + std::to_string(fd());
	char byte = 0;

	CHECK(open(name.c_str(), O_RDWR) == -1);
	CHECK(errno == ENXIO);
	CHECK(mmap(nullptr, 4096, PROT_READ, MAP_SHARED, fd(), 0) == MAP_FAILED);
	CHECK(errno == ENODEV);
	for (int r : { int(read(fd(), &byte, 1)), int(write(fd(), &byte, 1)), int(pread(fd(), &byte, 1, 0)) }) {
		CHECK(r == -1);
		CHECK((errno == EINVAL || errno == ESPIPE));
	}
	CHECK(lseek(fd(), 77, SEEK_SET) == 0);
	CHECK(lseek(fd(), -1, SEEK_END) == 0);
	CHECK(ftruncate(fd(), 0) == -1);
	CHECK(fallocate(fd(), 0, 0, 1) == -1);
	CHECK(readahead(fd(), 0, 4096) == -1);
	CHECK(splice(fd(), nullptr, fd(), nullptr, 1, 0) == -1);
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}
