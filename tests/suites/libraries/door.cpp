// SPDX-License-Identifier: GPL-2.0
// Which door a process takes. Each case is a process of its own.
#include "catch.hpp"
#include "util.hpp"

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <thread>

#include <fcntl.h>
#include <pthread.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/single_threaded.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "myepoll.h"
#include "uapi/myepoll.h"

// The module may have been loaded with fast_door=0.
static bool module_has_fast_door()
{
	Fd device(open(MYEPOLL_DEVICE, O_RDWR | O_CLOEXEC));
	__u64 features = 0;

	REQUIRE(device >= 0);
	REQUIRE(ioctl(device, MYEPOLL_IOC_FEATURES, &features) == 0);
	return features & MYEPOLL_FEATURE_FAST_DOOR;
}

static std::string best()
{
	return module_has_fast_door() ? "fast\n" : "ioctl\n";
}

static const char *door_name()
{
	switch (myepoll_door()) {
	case MYEPOLL_DOOR_FAST:
		return "fast";
	case MYEPOLL_DOOR_IOCTL:
		return "ioctl";
	default:
		return "unknown";
	}
}

// An instance with one event, through everything that has a door
static void exercise(int ep)
{
	Fd target = eventfd_with(1), file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	epoll_event e = ev(EPOLLIN, 3), got[1];
	const timespec ms = { 0, 1'000'000 }, ns = { 0, 1 };
	sigset_t none;

	sigemptyset(&none);
	EXPECT(myepoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	EXPECT(myepoll_wait(ep, got, 1, -1) == 1 && got[0].data.u64 == 3);
	EXPECT(myepoll_pwait(ep, got, 1, 0, &none) == 1);
	EXPECT(myepoll_pwait2(ep, got, 1, &ms, nullptr) == 1);
	EXPECT(myepoll_pwait2(ep, got, 1, &ns, &none) == 1);
	EXPECT(result_of([&] { return myepoll_ctl(ep, EPOLL_CTL_ADD, target, &e); }) == failed(EEXIST));
	EXPECT(result_of([&] { return myepoll_ctl(ep, EPOLL_CTL_ADD, file, &e); }) == failed(EPERM));
	EXPECT(result_of([&] { return myepoll_ctl(ep, EPOLL_CTL_ADD, ep, &e); }) == failed(EINVAL));
	EXPECT(result_of([&] { return myepoll_ctl(ep, EPOLL_CTL_ADD, target, nullptr); }) == failed(EFAULT));
	EXPECT(myepoll_ctl(ep, EPOLL_CTL_DEL, target, nullptr) == 0);
	EXPECT(myepoll_wait(ep, got, 1, 0) == 0);
	EXPECT(result_of([&] { return myepoll_wait(ep, got, 0, 0); }) == failed(EINVAL));

	/* Done once, whichever way was tried first */
	struct myepoll_change changes[3];
	struct myepoll_turn turn = {};

	changes[0] = { EPOLL_CTL_ADD, target, EPOLLIN | EPOLLONESHOT, 0, 4 };
	changes[1] = { EPOLL_CTL_ADD, file, EPOLLIN, 0, 5 };
	changes[2] = { EPOLL_CTL_ADD, ep, EPOLLIN, 0, 6 };
	turn.changes = reinterpret_cast<std::uintptr_t>(changes);
	turn.events = reinterpret_cast<std::uintptr_t>(got);
	turn.timeout = -1;
	turn.nchanges = 3;
	turn.maxevents = 1;
	EXPECT(myepoll_turn(ep, &turn) == 1 && got[0].data.u64 == 4);
	EXPECT(turn.done == 3 && turn.failed == 2);
	EXPECT(!changes[0].result && changes[1].result == -EPERM && changes[2].result == -EINVAL);
	EXPECT(result_of([&] { return myepoll_ctl(ep, MYEPOLL_CTL_DISABLE, target, nullptr); }) ==
	       failed(EBUSY));
	EXPECT(result_of([&] { return myepoll_ctl(ep, MYEPOLL_CTL_DISABLE, target, nullptr); }) ==
	       failed(EALREADY));
	EXPECT(result_of([&] { return myepoll_ctl(ep, MYEPOLL_CTL_SET, target, &e); }) == failed(ECANCELED));
	e.data.u64 = 4;
	EXPECT(myepoll_ctl(ep, MYEPOLL_CTL_DROP, -1, &e) == 0);
	EXPECT(result_of([&] { return myepoll_ctl(ep, MYEPOLL_CTL_DROP, -1, &e); }) == failed(ENOENT));
	turn.flags = 1u << 31;
	EXPECT(result_of([&] { return myepoll_turn(ep, &turn); }) == failed(EINVAL));
}

static void print_door()
{
	puts(door_name());
}

CHILD(create)
{
	EXPECT(myepoll_door() == MYEPOLL_DOOR_UNKNOWN);
	Fd ep(myepoll_create1(EPOLL_CLOEXEC));

	EXPECT(ep >= 0);
	exercise(ep);
	print_door();
	return 0;
}

CHILD(create_failed)
{
	EXPECT(result_of([] { return myepoll_create1(1); }) == failed(EINVAL));
	print_door();
	return 0;
}

TEST_CASE("the fast door is taken where it is open", "[door]")
{
	const Ran ran = again("create");

	CHECK(ran.err == "");
	CHECK(ran.out == best());
	CHECK(ran.status == 0);
	CHECK(again("create_failed").out == "unknown\n");
}

TEST_CASE("MYEPOLL_DOOR=ioctl", "[door]")
{
	const Ran ran = again("create", {}, { "MYEPOLL_DOOR=ioctl" });

	CHECK(ran.err == "");
	CHECK(ran.out == "ioctl\n");
	CHECK(ran.status == 0);
	CHECK(again("create", {}, { "MYEPOLL_DOOR=" }).out == best());
}

TEST_CASE("a door that does not exist is complained of, once and where it matters", "[door]")
{
	const Ran ran = again("many", {}, { "MYEPOLL_DOOR=iotcl" });

	CHECK(ran.err == "myepoll: MYEPOLL_DOOR is ignored: it can be \"ioctl\"\n");
	CHECK(ran.out == best());
	CHECK(ran.status == 0);
	CHECK(again("create", {}, { "MYEPOLL_DOOR=fast" }).err == "");
	CHECK(again("create_failed", {}, { "MYEPOLL_DOOR=iotcl" }).err == "");
}

TEST_CASE("a kernel or a filter without fadvise64 shuts the fast door", "[door]")
{
	for (int error : { ENOSYS, EPERM, EACCES, EINVAL }) {
		const Ran ran = again("create", {}, {}, [&] { forbid(SYS_fadvise64, error); });

		INFO("filter says " << error);
		CHECK(ran.err == "");
		CHECK(ran.out == "ioctl\n");
		CHECK(ran.status == 0);
	}
}

CHILD(sandbox)
{
	Fd ep(myepoll_create1(EPOLL_CLOEXEC));

	EXPECT(ep >= 0);
	forbid(SYS_fadvise64, std::stoi(arguments.at(0)));
	exercise(ep);
	return 0;
}

TEST_CASE("a filter that comes later is no end either", "[door]")
{
	for (int error : { ENOSYS, EPERM, EINVAL }) {
		const Ran ran = again("sandbox", { std::to_string(error) });

		INFO("filter says " << error);
		CHECK(ran.err == "");
		CHECK(ran.status == 0);
	}
}

CHILD(setenv_later)
{
	EXPECT(!setenv("MYEPOLL_DOOR", "ioctl", 1));
	Fd ep(myepoll_create1(EPOLL_CLOEXEC));

	EXPECT(ep >= 0);
	print_door();
	return 0;
}

TEST_CASE("the environment is that at the start", "[door]")
{
	CHECK(again("setenv_later").out == best());
}

CHILD(answers)
{
	Fd ep(myepoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(1);
	Fd file(open("/proc/self/exe", O_RDONLY | O_CLOEXEC));
	epoll_event e = ev(EPOLLIN);
	const auto ctl = [&](int op, int fd) {
		return result_of([&] { return myepoll_ctl(ep, op, fd, &e); });
	};

	EXPECT(ep >= 0);
	forbid(SYS_epoll_ctl, ENOTUNIQ);
	EXPECT(ctl(EPOLL_CTL_ADD, target) == success());
	EXPECT(ctl(EPOLL_CTL_ADD, 1 << 20) == failed(EBADF));
	EXPECT(ctl(EPOLL_CTL_ADD, -1) == failed(EBADF));
	EXPECT(ctl(EPOLL_CTL_DEL, -1) == failed(EBADF));
	EXPECT(ctl(EPOLL_CTL_ADD, file) == failed(EPERM));
	EXPECT(ctl(EPOLL_CTL_ADD, ep) == failed(EINVAL));
	EXPECT(ctl(77, target) == failed(EINVAL));
	/* Where it is not the module's, the kernel is asked. */
	EXPECT(result_of([&] { return myepoll_ctl(target, EPOLL_CTL_ADD, ep, &e); }) == failed(ENOTUNIQ));
	return 0;
}

TEST_CASE("what the module said of its own is not asked of the kernel", "[door]")
{
	for (auto door : { "MYEPOLL_DOOR=", "MYEPOLL_DOOR=ioctl" }) {
		const Ran ran = again("answers", {}, { door });

		INFO(door);
		CHECK(ran.err == "");
		CHECK(ran.status == 0);
	}
}

CHILD(driver)
{
	Fd ep(myepoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(1);
	const int foreign = eventfd(0, EFD_CLOEXEC), error = std::stoi(arguments.at(0));
	epoll_event e = ev(EPOLLIN), got[1];
	sigset_t none;

	sigemptyset(&none);
	forbid_ioctl(foreign, MYEPOLL_IOC_CTL, error);
	forbid_ioctl(foreign, MYEPOLL_IOC_WAIT, error);
	forbid_ioctl(foreign, MYEPOLL_IOC_TURN, error);
	forbid_ioctl(foreign, MYEPOLL_IOC_LIST, error);
	exercise(ep);
	EXPECT(result_of([&] { return myepoll_ctl(foreign, EPOLL_CTL_ADD, target, &e); }) == failed(EINVAL));
	EXPECT(result_of([&] { return myepoll_wait(foreign, got, 1, 0); }) == failed(EINVAL));
	EXPECT(result_of([&] { return myepoll_pwait(foreign, got, 1, 0, &none); }) == failed(EINVAL));
	struct myepoll_turn turn = {};
	EXPECT(result_of([&] { return myepoll_turn(foreign, &turn); }) == failed(EINVAL));
	EXPECT(result_of([&] { return myepoll_list(foreign, nullptr, 0); }) == failed(EINVAL));
	return 0;
}

TEST_CASE("a driver's errors are not the module's", "[door]")
{
	for (auto door : { "MYEPOLL_DOOR=", "MYEPOLL_DOOR=ioctl" })
		for (int error : { EFAULT, ENOMEM, ENOENT, ENOSPC }) {
			const Ran ran = again("driver", { std::to_string(error) }, { door });

			INFO(door << ", " << error);
			CHECK(ran.err == "");
			CHECK(ran.status == 0);
		}
}

// One thread adds and deletes, the other gets EINVAL or ENOENT for its MOD.
CHILD(changing)
{
	Fd ep(myepoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(0);
	std::atomic<bool> stop = false;
	std::thread other([&] {
		epoll_event exclusive = ev(EPOLLIN | EPOLLEXCLUSIVE);

		while (!stop) {
			myepoll_ctl(ep, EPOLL_CTL_ADD, target, &exclusive);
			myepoll_ctl(ep, EPOLL_CTL_DEL, target, nullptr);
		}
	});

	for (int i = 0; i < 50'000; i++) {
		epoll_event e = ev(EPOLLIN);
		const Result r = result_of([&] { return myepoll_ctl(ep, EPOLL_CTL_MOD, target, &e); });

		EXPECT(r == failed(EINVAL) || r == failed(ENOENT));
	}
	stop = true;
	other.join();
	print_door();
	return 0;
}

TEST_CASE("an answer that changes meanwhile does not change the door", "[door]")
{
	const Ran ran = again("changing");

	CHECK(ran.err == "");
	CHECK(ran.out == best());
	CHECK(ran.status == 0);
}

/* ASan and Valgrind do not run one on the other. */
#ifndef __SANITIZE_ADDRESS__
CHILD(watched)
{
	Fd ep(myepoll_create1(EPOLL_CLOEXEC)), target = eventfd_with(1);
	epoll_event e = ev(EPOLLIN), got[1];

	exercise(ep);
	EXPECT(myepoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
	EXPECT(result_of([&] { return myepoll_ctl(ep, EPOLL_CTL_ADD, target, &e); }) == failed(EEXIST));
	EXPECT(result_of([&] { return myepoll_wait(ep, got, 0, 0); }) == failed(EINVAL));
	EXPECT(myepoll_is_instance(ep) == 1);

	/* What the module writes is defined from then on, to be decided by. */
	std::unique_ptr<struct myepoll_change[]> changes(new struct myepoll_change[2]);
	std::unique_ptr<struct myepoll_watch[]> watches(new struct myepoll_watch[2]);
	std::unique_ptr<epoll_event[]> events(new epoll_event[2]);
	struct myepoll_turn turn = {};

	for (int i = 0; i < 2; i++) {
		changes[i].op = MYEPOLL_CTL_SET;
		changes[i].fd = target;
		changes[i].events = EPOLLIN;
		changes[i].data = 8;
	}
	turn.changes = reinterpret_cast<std::uintptr_t>(changes.get());
	turn.events = reinterpret_cast<std::uintptr_t>(events.get());
	turn.nchanges = turn.maxevents = 2;
	EXPECT(myepoll_turn(ep, &turn) == 1 && events[0].data.u64 == 8);
	EXPECT(!turn.failed && !changes[0].result && !changes[1].result);
	EXPECT(myepoll_list(ep, watches.get(), 2) == 1 && watches[0].data == 8);
	print_door();
	return 0;
}

TEST_CASE("Valgrind sees no fault in the libraries", "[door]")
{
	const std::string valgrind = "/usr/bin/valgrind";

	if (skip_unless(!access(valgrind.c_str(), X_OK), "there is no Valgrind"))
		return;
	const Ran ran = run({ valgrind, "-q", directory() + "/" + program_invocation_short_name, "--child",
			      "watched" });

	CHECK(ran.err == "");
	CHECK(ran.out == "ioctl\n");
	CHECK(ran.status == 0);
}
#endif

/* To ASan a forced unwind is a stack in disorder. */
#ifndef __SANITIZE_ADDRESS__
CHILD(cancel_self)
{
	Fd ep(myepoll_create1(EPOLL_CLOEXEC));
	epoll_event got[1];
	const timespec ages = { 5, 1 };
	sigset_t none;
	struct Guard {
		~Guard() { dprintf(1, "unwound\n"); }
	};

	sigemptyset(&none);
	EXPECT(__libc_single_threaded);
	EXPECT(myepoll_wait(ep, got, 1, 0) == 0);
	EXPECT(!pthread_cancel(pthread_self()));
	Guard guard;
	switch (std::stoi(arguments.at(0))) {
	case 0:
		myepoll_wait(ep, got, 1, 5000);
		break;
	case 1:
		myepoll_wait(ep, got, 1, 0);
		break;
	case 2:
		myepoll_pwait(ep, got, 1, 5000, &none);
		break;
	case 3:
		myepoll_pwait2(ep, got, 1, &ages, nullptr);
		break;
	case 4:
		struct myepoll_turn turn = {};
		EXPECT(myepoll_turn(ep, &turn) == 0); /* does not wait, and is none */
		EXPECT(syscall(SYS_write, 1, "not yet\n", 8) == 8); /* write(2) would be one */
		turn.events = reinterpret_cast<std::uintptr_t>(got);
		turn.maxevents = 1;
		myepoll_turn(ep, &turn);
		break;
	}
	_exit(1);
}

TEST_CASE("a thread that is alone and cancelled itself ends in its next wait", "[door]")
{
	for (auto door : { "MYEPOLL_DOOR=", "MYEPOLL_DOOR=ioctl" })
		for (auto way : { "0", "1", "2", "3", "4" }) {
			const Ran ran = again("cancel_self", { way }, { door });

			INFO(door << ", way " << way);
			CHECK(ran.err == "");
			CHECK(ran.out == std::string(*way == '4' ? "not yet\n" : "") + "unwound\n");
			CHECK(ran.status == 0);
		}
}
#endif

/*
 * An instance that came from elsewhere
 */

CHILD(inherited_wait)
{
	const int ep = std::stoi(arguments.at(0));
	epoll_event got[2];

	EXPECT(myepoll_door() == MYEPOLL_DOOR_UNKNOWN);
	EXPECT(myepoll_wait(ep, got, 2, 0) == 1);
	EXPECT(got[0].data.u64 == 42);
	EXPECT(myepoll_wait(ep, got, 2, 0) == 0);
	print_door();
	return 0;
}

CHILD(inherited_pwait2)
{
	const int ep = std::stoi(arguments.at(0));
	const timespec ns = { 0, 1 };
	epoll_event got[2];

	EXPECT(myepoll_pwait2(ep, got, 2, &ns, nullptr) == 1);
	print_door();
	return 0;
}

CHILD(inherited_ctl)
{
	const int ep = std::stoi(arguments.at(0));
	Fd other = eventfd_with(1);
	epoll_event e = ev(EPOLLIN, 43), got[3];

	EXPECT(myepoll_ctl(ep, EPOLL_CTL_ADD, other, &e) == 0);
	EXPECT(myepoll_wait(ep, got, 3, 0) == 2);
	print_door();
	return 0;
}

CHILD(inherited_foreign)
{
	Fd native = native_epoll(), target = eventfd_with(0);
	epoll_event e = ev(EPOLLIN), got[1];

	EXPECT(result_of([&] { return myepoll_wait(native, got, 1, -1); }) == failed(EINVAL));
	EXPECT(result_of([&] { return myepoll_ctl(native, EPOLL_CTL_ADD, target, &e); }) == failed(EINVAL));
	EXPECT(result_of([&] { return myepoll_ctl(-1, EPOLL_CTL_ADD, target, nullptr); }) == failed(EFAULT));
	EXPECT(result_of([&] { return myepoll_wait(-1, got, 1, 0); }) == failed(EBADF));
	print_door();
	return 0;
}

TEST_CASE("the door is found by an inherited instance, whose events stay", "[door]")
{
	for (const char *child : { "inherited_wait", "inherited_pwait2", "inherited_ctl" })
		for (bool by_ioctl : { false, true }) {
			Fd ep(myepoll_create1(0));
			Fd target(eventfd(1, EFD_NONBLOCK));
			epoll_event e = ev(EPOLLIN | EPOLLET, 42);

			REQUIRE(ep >= 0);
			REQUIRE(myepoll_ctl(ep, EPOLL_CTL_ADD, target, &e) == 0);
			const Ran ran = again(child, { std::to_string(ep) },
					      { by_ioctl ? "MYEPOLL_DOOR=ioctl" : "MYEPOLL_DOOR=" });

			INFO(child << (by_ioctl ? ", ioctl" : ""));
			CHECK(ran.err == "");
			CHECK(ran.out == (by_ioctl ? "ioctl\n" : best()));
			CHECK(ran.status == 0);
		}
	const Ran ran = again("inherited_foreign");

	CHECK(ran.err == "");
	CHECK(ran.out == "unknown\n");
}

CHILD(many)
{
	std::vector<std::thread> threads;

	for (int i = 0; i < 8; i++)
		threads.emplace_back([] {
			for (int n = 0; n < 50; n++) {
				Fd ep(myepoll_create1(EPOLL_CLOEXEC));

				EXPECT(ep >= 0);
				exercise(ep);
			}
		});
	for (auto &t : threads)
		t.join();
	print_door();
	return 0;
}

TEST_CASE("threads that create at once agree on the door", "[door]")
{
	const auto before = open_files();
	const Ran ran = again("many");

	CHECK(ran.err == "");
	CHECK(ran.out == best());
	CHECK(ran.status == 0);
	CHECK(open_files() == before);
}

TEST_CASE("everything again by ioctl", "[door]")
{
	const Ran ran = run({ directory() + "/" + program_invocation_short_name, "[c],[cxx]" },
			    { "MYEPOLL_DOOR=ioctl" });

	INFO(ran.out << ran.err);
	CHECK(ran.status == 0);
}
