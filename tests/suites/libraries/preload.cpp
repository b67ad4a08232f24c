// SPDX-License-Identifier: GPL-2.0
// The preload library: program.cpp's cases with it, and where that says
// something without it.
#include "catch.hpp"
#include "util.hpp"

#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <sstream>

#include <fcntl.h>
#include <linux/io_uring.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "uapi/myepoll.h"

static const char *const doors[] = { "MYEPOLL_DOOR=", "MYEPOLL_DOOR=ioctl" };

static std::vector<std::string> command(const std::vector<std::string> &arguments)
{
	std::vector<std::string> argv = { directory() + "/preload-program" };

	argv.insert(argv.end(), arguments.begin(), arguments.end());
	return argv;
}

static std::string library()
{
	const char *other = getenv("PRELOAD_LIBRARY");

	return other ? other : directory() + "/../userspace/libmyepoll-preload.so";
}

static Ran preloaded(const std::vector<std::string> &arguments, std::vector<std::string> environment = {},
		     const std::function<void()> &before = {})
{
	environment.push_back("LD_PRELOAD=" + library());
	return run(command(arguments), environment, before);
}

static Ran strictly(const std::vector<std::string> &arguments, const char *door = doors[0],
		    const std::function<void()> &before = {})
{
	return preloaded(arguments, { "MYEPOLL_STRICT=1", door }, before);
}

static void check_silent_success(const Ran &ran)
{
	CHECK(ran.err == "");
	CHECK(ran.status == 0);
}

static std::string door_of(const char *door)
{
	if (std::string(door) == "MYEPOLL_DOOR=ioctl")
		return "ioctl";
	return preloaded({ "early" }, { "MYEPOLL_STATS=1" }).err.find("(fast door)") != std::string::npos ?
		       "fast" :
		       "ioctl";
}

// In the child: an empty /dev, or one where the device is something else
static void hide_device(bool impostor)
{
	const int uid = int(getuid());

	if (unshare(CLONE_NEWNS)) {
		EXPECT(!unshare(CLONE_NEWUSER | CLONE_NEWNS));
		Fd map(open("/proc/self/uid_map", O_WRONLY));
		EXPECT(dprintf(map, "0 %d 1", uid) > 0);
	}
	EXPECT(!mount("none", "/", nullptr, MS_REC | MS_PRIVATE, nullptr));
	EXPECT(!mount("none", "/dev", "tmpfs", 0, nullptr));
	if (impostor)
		Fd(creat("/dev/myepoll", 0666));
	EXPECT(Fd(creat("/dev/null", 0666)) >= 0);
}

TEST_CASE("preload: whatever creates an instance makes one of the module's", "[preload]")
{
	for (auto door : doors) {
		const Ran ran = strictly({ "kinds" }, door);

		check_silent_success(ran);
		CHECK(ran.out == "anon_inode:[myepoll] 0\n"
				 "anon_inode:[myepoll] 0\n"
				 "anon_inode:[myepoll] 1\n"
				 "anon_inode:[myepoll] 0\n"
				 "anon_inode:[myepoll] 1\n");
	}
	/* That without the library it is not so is what makes the rest mean anything. */
	CHECK(run(command({ "kinds" })).out.find("[eventpoll]") != std::string::npos);
}

TEST_CASE("preload: cases of the program", "[preload]")
{
	for (const char *name : { "forms", "lowest", "forking", "passed_on", "cancel", "threads", "answers", "reuse",
				  "unknown_operations" })
		for (auto door : doors) {
			INFO(name << ", " << door);
			check_silent_success(strictly({ name }, door));
		}
}

TEST_CASE("preload: usable before its constructor", "[preload]")
{
	for (auto door : doors) {
		const Ran ran = strictly({ "early" }, door);

		check_silent_success(ran);
		CHECK(ran.out == "anon_inode:[myepoll] 1\n");
	}
}

TEST_CASE("preload: every error is the kernel's, in its order", "[preload]")
{
	const Ran native = run(command({ "errors" }));

	check_silent_success(native);
	CHECK(native.out.size() > 10'000);
	for (auto door : doors) {
		const Ran ran = strictly({ "errors" }, door);
		std::istringstream expected(native.out), got(ran.out);
		std::string a, b;

		INFO(door);
		check_silent_success(ran);
		/* Line by line: the whole is too long to look at. */
		while (std::getline(expected, a) && std::getline(got, b))
			if (a != b)
				CHECK(b == a);
		CHECK(ran.out.size() == native.out.size());
	}
}

TEST_CASE("preload: instances of the kernel's own work beside", "[preload]")
{
	for (auto door : doors) {
		const Ran ran = strictly({ "native" }, door);

		check_silent_success(ran);
		CHECK(ran.out == "ELOOP\n");
	}
}

TEST_CASE("preload: what a call costs in system calls, a wait on the kernel's own instances two at most", "[preload]")
{
	for (auto door : doors) {
		const bool fast = door_of(door) == "fast";
		const Ran ran = strictly({ "costs" }, door);

		INFO(door);
		check_silent_success(ran);
		/*
		 * Of ctl: ADD, whose event has to be found readable for the ioctl door,
		 * and DEL. Of waits: four with nothing to read, with a timespec, with a mask.
		 */
		CHECK(ran.out == (fast ? "1 1 1 1 1 1 2 2\n2 2 2 2 2 2 1 1\n" :
					 "2 1 1 1 1 1 2 2\n3 2 2 2 2 2 1 1\n"));
	}
}

TEST_CASE("preload: another library's functions come next", "[preload]")
{
	const std::vector<std::string> both = { "LD_PRELOAD=" + library() + ":" + directory() +
						"/libpreload-next.so" };
	std::vector<std::string> environment = both;

	environment.push_back("MYEPOLL_STRICT=1");
	const Ran ran = run(command({ "next" }), environment);
	check_silent_success(ran);
	/* What is the module's does not get there; what is the kernel's does. */
	CHECK(ran.out == "epoll_ctl epoll_wait epoll_pwait epoll_pwait2 syscall:233 syscall:232 syscall:39 \n");

	const Ran absent = run(command({ "create" }), both, [] { hide_device(false); });
	CHECK(absent.out == "anon_inode:[eventpoll]\nanon_inode:[eventpoll]\nanon_inode:[eventpoll]\n");
}

TEST_CASE("preload: sanitizers are told what the module did", "[preload]")
{
	const Ran ran = run(command({ "told" }), { "LD_PRELOAD=" + library() + ":" + directory() +
						   "/libpreload-sanitizer.so" });

	check_silent_success(ran);
	CHECK(ran.out == "released \nhandled unpoisoned 24 acquired \nhandled handled \n");
}

TEST_CASE("preload: dup, close and reuse, close of everything", "[preload]")
{
	for (auto door : doors) {
		const Ran ran = strictly({ "numbers" }, door);

		check_silent_success(ran);
		CHECK(ran.out == "anon_inode:[myepoll]\n");
	}
}

TEST_CASE("preload: across exec no event is lost", "[preload]")
{
	for (const char *after : { "after_exec_wait", "after_exec_pwait2", "after_exec_ctl" })
		for (auto door : doors) {
			INFO(after << ", " << door);
			check_silent_success(strictly({ "exec", after }, door));
		}
}

TEST_CASE("preload: instances received over a socket", "[preload]")
{
	for (auto door : doors) {
		const Ran ran = strictly({ "rights" }, door);

		check_silent_success(ran);
		CHECK(ran.out == "anon_inode:[myepoll]\n");
	}
}

TEST_CASE("preload: an unknown door is said to be unknown, once", "[preload]")
{
	const Ran ran = strictly({ "kinds" }, "MYEPOLL_DOOR=iocl");

	CHECK(ran.status == 0);
	CHECK(ran.err == "myepoll: MYEPOLL_DOOR is ignored: it can be \"ioctl\"\n");
	/* Where there is no epoll, nobody cares. */
	CHECK(run({ "/bin/true" }, { "MYEPOLL_DOOR=iocl", "LD_PRELOAD=" + library() }).err == "");
}

TEST_CASE("preload: options of the instances that a program makes", "[preload]")
{
	const auto three = [](const std::string &line) { return line + "\n" + line + "\n" + line + "\n"; };
	const auto with = [](const std::vector<std::string> &variables) {
		const Ran ran = preloaded({ "options" }, variables);

		check_silent_success(ran);
		return ran.out;
	};

	/* Of FAIR and BALANCE, the bits; and microseconds */
	CHECK(with({}) == three("0 0"));
	CHECK(with({ "MYEPOLL_FAIR=1" }) == three("1 0"));
	CHECK(with({ "MYEPOLL_BALANCE=yes" }) == three("2 0"));
	CHECK(with({ "MYEPOLL_FAIR=1", "MYEPOLL_BALANCE=1", "MYEPOLL_MIN_WAIT=200us", "MYEPOLL_STRICT=1" }) ==
	      three("3 200"));
	CHECK(with({ "MYEPOLL_FAIR=0", "MYEPOLL_BALANCE=", "MYEPOLL_MIN_WAIT=" }) == three("0 0"));
	for (auto [text, us] : { std::pair{ "65535us", "65535" }, { "65ms", "65000" }, { "0", "0" },
				 { "0s", "0" }, { "007us", "7" } })
		CHECK(with({ std::string("MYEPOLL_MIN_WAIT=") + text }) == three(std::string("0 ") + us));

	for (const char *wrong : { "1", "1s", "66ms", "65536us", "-1us", "us", "1 us", "1.5ms", "200ns", " 1us",
				   "99999999999999999999us", "1us " }) {
		const Ran ran = preloaded({ "options" }, { std::string("MYEPOLL_MIN_WAIT=") + wrong,
							   "MYEPOLL_FAIR=1", "MYEPOLL_STRICT=1" });

		INFO(wrong);
		CHECK(ran.status == 0);
		CHECK(ran.out == three("1 0"));
		CHECK(ran.err == "myepoll: MYEPOLL_MIN_WAIT is ignored: it can be a number and us, ms or s, "
				 "up to 65535us\n");
	}
	/* Where there is no epoll, nobody cares. */
	CHECK(run({ "/bin/true" }, { "MYEPOLL_MIN_WAIT=1", "LD_PRELOAD=" + library() }).err == "");
}

TEST_CASE("preload: options, and a module that has none", "[preload]")
{
	const auto older = [](int error) {
		return [error] { forbid_ioctl_everywhere(MYEPOLL_IOC_SET_OPTIONS, error); };
	};
	const std::string zeros = "0 0\n0 0\n0 0\n", what = "myepoll: MYEPOLL_FAIR, _BALANCE and _MIN_WAIT are ignored: ";
	Ran ran = preloaded({ "options" }, { "MYEPOLL_MIN_WAIT=1ms" }, older(EINVAL));

	CHECK(ran.status == 0);
	CHECK(ran.out == zeros);
	CHECK(ran.err == what + "the module that is loaded is older\n");
	ran = preloaded({ "options" }, { "MYEPOLL_BALANCE=1" }, older(EPERM));
	CHECK(ran.out == zeros);
	CHECK(ran.err == what + "Operation not permitted\n");

	ran = preloaded({ "options" }, { "MYEPOLL_FAIR=1", "MYEPOLL_STRICT=1" }, older(EINVAL));
	check_silent_success(ran);
	CHECK(ran.out == "ENOTTY\nENOTTY\nENOTTY\n");
	ran = preloaded({ "options" }, { "MYEPOLL_STRICT=1" }, older(EINVAL));
	check_silent_success(ran);
	CHECK(ran.out == zeros);
}

TEST_CASE("preload: a filter on fadvise64", "[preload]")
{
	for (int error : { ENOSYS, EPERM }) {
		const Ran ran = strictly({ "forms" }, doors[0], [&] { forbid(SYS_fadvise64, error); });

		INFO("filter says " << error);
		check_silent_success(ran);
	}
	for (int error : { ENOSYS, EPERM, EINVAL }) {
		INFO("a later filter says " << error);
		check_silent_success(strictly({ "sandbox", std::to_string(error) }));
	}
}

TEST_CASE("preload: where the device may be opened and not used, the kernel's epoll", "[preload]")
{
	const std::string epolls = "anon_inode:[eventpoll]\nanon_inode:[eventpoll]\nanon_inode:[eventpoll]\n";

	for (int nr : { SYS_ioctl, SYS_dup3 }) {
		const Ran ran = preloaded({ "create" }, {}, [&] { forbid(nr, EPERM); });

		INFO("system call " << nr);
		CHECK(ran.status == 0);
		CHECK(ran.out == epolls);
		CHECK(ran.err == "myepoll: /dev/myepoll: Operation not permitted; using the kernel's epoll\n");
	}
}

TEST_CASE("preload: a driver's errors are not the module's", "[preload]")
{
	for (int error : { EFAULT, ENOMEM, ENOENT, ENOSPC })
		for (auto door : doors) {
			INFO(door << ", " << error);
			check_silent_success(strictly({ "driver", std::to_string(error) }, door));
		}
}

TEST_CASE("preload: a thread that is alone and cancelled itself ends in its next wait", "[preload]")
{
	for (auto way : { "0", "1", "2", "3" }) {
		INFO("way " << way);
		CHECK(run(command({ "cancel_self", way })).out == "unwound\n");
		for (auto door : doors) {
			const Ran ran = strictly({ "cancel_self", way }, door);

			INFO(door);
			check_silent_success(ran);
			CHECK(ran.out == "unwound\n");
		}
	}
}

TEST_CASE("preload: io_uring", "[preload]")
{
	CHECK(preloaded({ "uring" }).out == "ENOSYS\n");
	CHECK(preloaded({ "uring" }, { "MYEPOLL_IO_URING=0" }).out == "ENOSYS\n");
	for (const char *off : { "", "false", "no", "OFF", "False" }) {
		INFO(off);
		CHECK(preloaded({ "uring" }, { std::string("MYEPOLL_IO_URING=") + off }).out == "ENOSYS\n");
	}
	for (const char *on : { "1", "true", "yes", "on" }) {
		INFO(on);
		CHECK(preloaded({ "uring" }, { std::string("MYEPOLL_IO_URING=") + on }).out == "kernel's\n");
	}
}

/* Nobody can preload a library before ASan's. */
#ifndef __SANITIZE_ADDRESS__
CHILD(uring_first)
{
	io_uring_params p = {};
	const auto before = open_files();

	EXPECT(result_of([&] { return syscall(SYS_io_uring_setup, 0, &p); }) == failed(ENOSYS));
	EXPECT(open_files() == before);
	return 0;
}

TEST_CASE("preload: io_uring before any epoll", "[preload]")
{
	check_silent_success(again("uring_first", {}, { "LD_PRELOAD=" + library() }));
}
#endif

/*
 * Without the device
 */

TEST_CASE("preload: without the device the kernel's epoll, and one line that says so", "[preload][nodevice]")
{
	const std::string epolls = "anon_inode:[eventpoll]\nanon_inode:[eventpoll]\nanon_inode:[eventpoll]\n";
	const Ran gone = preloaded({ "create" }, {}, [] { hide_device(false); });

	CHECK(gone.status == 0);
	CHECK(gone.out == epolls);
	CHECK(gone.err == "myepoll: /dev/myepoll: No such file or directory; using the kernel's epoll\n");

	const Ran wrong = preloaded({ "create" }, {}, [] { hide_device(true); });
	CHECK(wrong.status == 0);
	CHECK(wrong.out == epolls);
	CHECK(wrong.err == "myepoll: /dev/myepoll: Inappropriate ioctl for device; using the kernel's epoll\n");
}

TEST_CASE("preload: without the device, strictly, the error", "[preload][nodevice]")
{
	const Ran gone = strictly({ "create" }, doors[0], [] { hide_device(false); });

	check_silent_success(gone);
	CHECK(gone.out == "ENOENT\nENOENT\nENOENT\n");

	const Ran wrong = strictly({ "create" }, doors[0], [] { hide_device(true); });
	check_silent_success(wrong);
	CHECK(wrong.out == "ENOTTY\nENOTTY\nENOTTY\n");
}

TEST_CASE("preload: without the device every call is native", "[preload][nodevice]")
{
	/* "early" is the program that complains before anything of ours has started. */
	for (const char *name : { "forms", "forking", "passed_on", "cancel", "threads", "lowest", "early" }) {
		const Ran ran = preloaded({ name }, {}, [] { hide_device(false); });

		INFO(name);
		CHECK(ran.status == 0);
		CHECK(ran.err == "myepoll: /dev/myepoll: No such file or directory; using the kernel's epoll\n");
	}
	CHECK(preloaded({ "errors" }, {}, [] { hide_device(false); }).out == run(command({ "errors" })).out);
}

TEST_CASE("preload: without the device, the system calls that the program means", "[preload][nodevice]")
{
	const Ran ran = preloaded({ "older_calls" }, {}, [] {
		hide_device(false);
		forbid(SYS_epoll_create1, EPERM);
		forbid(SYS_epoll_wait, EPERM);
	});

	CHECK(ran.status == 0);
	CHECK(ran.out == "anon_inode:[eventpoll]\n");
}

TEST_CASE("preload: a stderr that takes nothing does no harm", "[preload][nodevice]")
{
	for (bool full : { false, true }) {
		const Ran ran = preloaded({ "create" }, {}, [&] {
			int ends[2];
			char byte = 0;

			hide_device(false);
			EXPECT(!pipe(ends));
			if (full) {
				fcntl(ends[1], F_SETFL, O_NONBLOCK);
				while (write(ends[1], &byte, 1) == 1)
					;
				fcntl(ends[1], F_SETFL, 0);
			} else {
				close(ends[0]);
			}
			dup2(ends[1], 2);
			close(ends[1]);
		});

		INFO((full ? "full" : "without a reader"));
		CHECK(ran.status == 0);
	}
}

TEST_CASE("preload: nothing is said into a closed stderr or somebody's file", "[preload][nodevice]")
{
	const Ran ran = preloaded({ "create" }, { "MYEPOLL_STATS=1" }, [] {
		hide_device(false);
		close(2);
	});

	CHECK(ran.status == 0);
	CHECK(ran.err == "");
}

TEST_CASE("preload: without the device io_uring is the kernel's", "[preload][nodevice]")
{
	CHECK(preloaded({ "uring" }, {}, [] { hide_device(false); }).out == "kernel's\n");
	CHECK(preloaded({ "uring" }, {}, [] { hide_device(true); }).out == "kernel's\n");
	CHECK(strictly({ "uring" }, doors[0], [] { hide_device(false); }).out == "kernel's\n");
}

/*
 * MYEPOLL_STATS
 */

// Without the pid; the early library's 1 create, 1 ctl, 1 wait, 1 event is in it.
static std::string stats(const Ran &ran)
{
	std::string text;
	for (std::size_t i = 0; i < ran.err.size(); i++) {
		text += ran.err[i];
		std::size_t end = ran.err.find_first_not_of("0123456789", i + 1);
		if (ran.err[i] == '[' && end != std::string::npos && end > i + 1 && ran.err[end] == ' ') {
			text += "PID";
			i = end - 1;
		}
	}
	return text;
}

TEST_CASE("preload: MYEPOLL_STATS counts what was served, and by whom", "[preload]")
{
	for (auto door : doors) {
		const std::string by = " by myepoll (" + door_of(door) + " door); ";
		const std::string counted =
			"myepoll[PID preload-program]: create 3 ctl 4 wait 5 events 4" + by;

		CHECK(stats(preloaded({ "countable" }, { "MYEPOLL_STATS=1", door })) ==
		      counted + "create 0 ctl 0 wait 0 events 0 by epoll\n");
		CHECK(stats(preloaded({ "countable", "native" }, { "MYEPOLL_STATS=1", door })) ==
		      counted + "create 0 ctl 2 wait 2 events 1 by epoll\n");
		/* A child starts from nothing. */
		CHECK(stats(preloaded({ "countable", "fork" }, { "MYEPOLL_STATS=1", door })) ==
		      "myepoll[PID preload-program]: create 0 ctl 2 wait 2 events 1" + by +
			      "create 0 ctl 0 wait 0 events 0 by epoll\n" + counted +
			      "create 0 ctl 0 wait 0 events 0 by epoll\n");
	}
}

TEST_CASE("preload: MYEPOLL_STATS without the device", "[preload][nodevice]")
{
	CHECK(stats(preloaded({ "countable" }, { "MYEPOLL_STATS=1" }, [] { hide_device(false); })) ==
	      "myepoll: /dev/myepoll: No such file or directory; using the kernel's epoll\n"
	      "myepoll[PID preload-program]: create 0 ctl 0 wait 0 events 0 by myepoll (no door); "
	      "create 3 ctl 4 wait 5 events 4 by epoll\n");
}

TEST_CASE("preload: no statistics unasked, nor where stderr is no longer ours", "[preload]")
{
	char name[] = "/tmp/preload.XXXXXX";
	Fd file(mkstemp(name));

	REQUIRE(file >= 0);
	CHECK(run({ "/bin/true" }, { "MYEPOLL_STATS=1", "LD_PRELOAD=" + library() }).err == "");
	CHECK(preloaded({ "countable" }).err == "");
	CHECK(preloaded({ "countable" }, { "MYEPOLL_STATS=0" }).err == "");
	CHECK(preloaded({ "countable", "closed" }, { "MYEPOLL_STATS=1" }).status == 0);
	CHECK(preloaded({ "countable", "stderr", name }, { "MYEPOLL_STATS=1" }).err == "");
	CHECK(lseek(file, 0, SEEK_END) == 0);
	unlink(name);
}

/* libraries-asan would do it with the same two libraries. */
#ifndef __SANITIZE_ADDRESS__
TEST_CASE("the preload library's tests again, under UBSan", "[ubsan]")
{
	const Ran ran = run({ directory() + "/" + program_invocation_short_name, "[preload]" },
			    { "PRELOAD_LIBRARY=" + directory() + "/libmyepoll-preload-ubsan.so" });

	INFO(ran.out << ran.err);
	CHECK(ran.status == 0);
}
#endif
