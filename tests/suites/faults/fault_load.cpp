// SPDX-License-Identifier: GPL-2.0
// Every allocation of the module's load fails, one at a time: the load fails and
// leaves nothing, or succeeds. The same for switching adoption on. A kernel with fault
// injection is needed, without the module. --module=FILE says which.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/personality.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend.hpp"
#include "catch.hpp"
#include "inject.hpp"
#include "support.hpp"
#include "uapi/myepoll.h"

namespace {

const char *module_file;

int load()
{
	Fd file(must_libc(open(module_file, O_RDONLY | O_CLOEXEC), module_file));
	return syscall(SYS_finit_module, int(file), "", 0) ? -errno : 0;
}

int unload()
{
	return syscall(SYS_delete_module, "myepoll", O_NONBLOCK) ? -errno : 0;
}

// Only __fput() has the hook. An empty filter, as one gets where there is no memory for
// its entry, would put it on every function of the kernel.
bool on_fput_alone()
{
	std::string functions = slurp("/sys/kernel/tracing/enabled_functions");
	return functions.rfind("__fput ", 0) == 0 && std::count(functions.begin(), functions.end(), '\n') == 1;
}

int works()
{
	return in_child([] {
		Instance ep{ Backend(Door::ioctl) };
		Fd target = event_fd(1);
		if (ep.add(target, EPOLLIN, 5) || ep.wait() != Events{ { EPOLLIN, 5 } })
			return 1;
		target.reset(); // seen by the close hook
		return ep.wait().empty() ? 0 : 2;
	});
}

bool contains(const std::string &file, const std::string &what)
{
	return slurp(file).find(what) != std::string::npos;
}

// Adoption

const std::string parameter = "/sys/module/myepoll/parameters/adopt";

int adoption(bool on)
{
	Fd fd(must_libc(open(parameter.c_str(), O_WRONLY | O_CLOEXEC), parameter.c_str()));
	return write(fd, on ? "1" : "0", 1) == 1 ? 0 : -errno;
}

// How many entries of epoll's system calls
int hooked()
{
	std::string functions = slurp("/sys/kernel/tracing/enabled_functions");
	int n = 0;

	for (std::size_t at = 0; (at = functions.find("sys_epoll_", at)) != functions.npos; at++)
		n++;
	return n;
}
constexpr int of_one_kind = 6, of_both = 12; // 64-bit and 32-bit

enum Whose { theirs, ours, broken };

int whose_is_adopted()
{
	return in_child([] {
		must_libc(personality(static_cast<unsigned>(personality(0xffffffff)) | MYEPOLL_PERSONALITY));
		Instance ep{ Backend(Door::adopt) };
		Fd target = event_fd(1);
		std::uint64_t features;
		if (ep.add(target, EPOLLIN, 5) || ep.wait() != Events{ { EPOLLIN, 5 } })
			return broken;
		return ioctl(ep.fd(), MYEPOLL_IOC_FEATURES, &features) ? theirs : ours;
	});
}

// What a load that failed has left, or ""
std::string left_behind()
{
	if (contains("/proc/modules", "myepoll ") || !access("/sys/module/myepoll", F_OK))
		return "the module";
	if (!access("/dev/myepoll", F_OK) || contains("/proc/misc", "myepoll"))
		return "the device";
	if (contains("/proc/slabinfo", "myep_"))
		return "a cache";
	if (contains("/sys/kernel/tracing/enabled_functions", "__fput") || hooked())
		return "the hook";
	return "";
}

// Each of the 64-bit entries, and of the first 32-bit one, which are hooked one after the
// other: for the rest, the same calls would go through all that is before again.
void fail_each_of_switching_on()
{
	constexpr int of_one_entry = 10;
	int failed = 0, halfway = 0;
	Injection injection(module_text());
	const auto switch_on = [&](Fault &fault) {
		int r = fault([] { return adoption(true); });
		INFO("the fault: " << fault.where());
		if (r == 0) {
			// 32-bit programs may have to do without.
			int n = hooked();
			CHECK((n == of_both || (fault.hit() && n == of_one_kind)));
			CHECK(slurp(parameter) == "Y\n");
			CHECK(whose_is_adopted() == ours);
			CHECK(adoption(false) == 0);
			halfway += n == of_one_kind;
		} else {
			CHECK(fault.hit());
			CHECK(r == -ENOMEM);
			CHECK(slurp(parameter) == "N\n");
			CHECK(whose_is_adopted() == theirs);
			failed++;
		}
		CHECK(hooked() == 0);
		return fault.hit();
	};
	unsigned n = 0;
	for (bool hit = true; hit && halfway < of_one_entry;)
		injection.once(++n, [&](Fault &fault) { hit = switch_on(fault); });
	std::printf("adopt=1: %u faults, of which %d failed it, %d for 32-bit programs\n", n, failed, halfway);
	CHECK(failed >= of_one_kind * of_one_entry);
	CHECK(halfway == of_one_entry);
	CHECK(injection.trouble() == "");
}

void fail_each_in_turn()
{
	int failed = 0, recovered = 0;
	Injection injection(function_text("do_one_initcall"));
	int hits = injection.sweep([&](Fault &fault) {
		int r = fault(load);
		INFO("the fault: " << fault.where());
		if (r == 0) {
			REQUIRE(on_fput_alone());
			CHECK(works() == 0);
			CHECK(unload() == 0);
			recovered += fault.hit();
		} else {
			CHECK(fault.hit());
			CHECK(r == -ENOMEM);
			failed++;
		}
		CHECK(left_behind() == "");
	});
	std::printf("load: %d faults, of which %d failed it\n", hits, failed);
	CHECK(hits == failed + recovered);
	CHECK(failed >= 15);
	CHECK(injection.trouble() == "");
}

} // namespace

extern "C" int take_test_options(int *argc, char **argv);

extern "C" int take_test_options(int *argc, char **argv)
{
	module_file = take_option(argc, argv, "--module");
	if (!module_file)
		std::fprintf(stderr, "%s: --module=FILE\n", argv[0]);
	return module_file ? 0 : 2;
}

TEST_CASE_METHOD(Tidy, "each allocation of the module's initialisation fails", "[load]")
{
	REQUIRE(left_behind() == "");
	REQUIRE(load() == 0);
	REQUIRE(works() == 0);
	REQUIRE(unload() == 0);
	REQUIRE(left_behind() == "");
	fail_each_in_turn();
}

TEST_CASE_METHOD(Tidy, "each allocation of switching adoption on fails", "[adopt]")
{
	REQUIRE(load() == 0);
	fail_each_of_switching_on();
	CHECK(unload() == 0);
	CHECK(left_behind() == "");
}

// A larger one has a second chance, in pages that need not be contiguous: both fail.
TEST_CASE_METHOD(Tidy, "no memory for the index", "[load]")
{
	Injection injection(function_text("__kvmalloc_node_noprof"));
	for (const char *kind : { "failslab", "fail_page_alloc" }) {
		std::string dir = std::string("/sys/kernel/debug/") + kind;
		spill(dir + "/task-filter", "Y");
		spill(dir + "/times", "-1");
		spill(dir + "/probability", "100");
	}
	spill("/proc/self/make-it-fail", "1");
	int r = load();
	spill("/proc/self/make-it-fail", "0");
	for (const char *kind : { "failslab", "fail_page_alloc" }) {
		std::string dir = std::string("/sys/kernel/debug/") + kind;
		spill(dir + "/probability", "0");
		spill(dir + "/times", "1");
		spill(dir + "/task-filter", "N");
	}
	CHECK(r == -ENOMEM);
	injection.look();
	CHECK(injection.trouble() == "");
	CHECK(left_behind() == "");
	CHECK(load() == 0);
	CHECK(works() == 0);
	CHECK(unload() == 0);
	CHECK(left_behind() == "");
}

TEST_CASE_METHOD(Tidy, "every place of the table was reached", "[load][table]")
{
	// What others allocate on the way is not the same in every load: a number can stand
	// for another place than in the load before, and one be passed over.
	for (int again = 0; again < 3 && unreached(true) != ""; again++)
		fail_each_in_turn();
	CHECK(unreached(true) == "");
}
