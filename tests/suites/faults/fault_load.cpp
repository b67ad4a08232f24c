// SPDX-License-Identifier: GPL-2.0
// Every allocation of the module's load fails, one at a time: the load fails and
// leaves nothing, or succeeds. A kernel with fault injection is needed, without the
// module. --module=FILE says which.
#include <algorithm>
#include <cerrno>
#include <cstring>

#include <fcntl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "backend.hpp"
#include "catch.hpp"
#include "inject.hpp"
#include "support.hpp"

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

// What a load that failed has left, or ""
std::string left_behind()
{
	if (contains("/proc/modules", "myepoll ") || !access("/sys/module/myepoll", F_OK))
		return "the module";
	if (!access("/dev/myepoll", F_OK) || contains("/proc/misc", "myepoll"))
		return "the device";
	if (contains("/proc/slabinfo", "myep_"))
		return "a cache";
	if (contains("/sys/kernel/tracing/enabled_functions", "__fput"))
		return "the hook";
	return "";
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
