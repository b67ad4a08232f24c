// SPDX-License-Identifier: GPL-2.0
// main() of every test program.
//
// A program with options of its own defines take_test_options(): it is called
// with the command line before Catch2 sees it, removes what it took, and
// returns 0, or an exit status with which the program ends there.
#if !__has_include(<catch2/catch_all.hpp>)
#define CATCH_CONFIG_RUNNER
#endif
#include "catch.hpp"

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

extern "C" __attribute__((weak)) int take_test_options(int *argc, char **argv);

namespace {

#if __has_include(<catch2/catch_all.hpp>)
using ListenerBase = Catch::EventListenerBase;
#else
using ListenerBase = Catch::TestEventListenerBase;
#endif

unsigned long skipped, passed;
std::vector<std::string> failed;

#if __has_include(<catch2/catch_all.hpp>)
const std::string &name_of(const Catch::TestCaseStats &stats)
{
	return stats.testInfo->name;
}
#else
const std::string &name_of(const Catch::TestCaseStats &stats)
{
	return stats.testInfo.name;
}
#endif

// Catch2 2.x knows no skipped cases, so the verdict, in the last line, is ours. The
// names before it are for whoever sees no more of the output than its end.
struct Verdict : ListenerBase {
	using ListenerBase::ListenerBase;
	// Who finds a guest that stands still sees in its log which case it was.
	void testCaseStarting(const Catch::TestCaseInfo &info) override
	{
		const char *log = std::getenv("MYEPOLL_TEST_LOG");
		if (std::FILE *f = log ? std::fopen(log, "we") : nullptr) {
			std::fprintf(f, "test: %s\n", info.name.c_str());
			std::fclose(f);
		}
	}
	void testCaseEnded(const Catch::TestCaseStats &stats) override
	{
		if (stats.totals.testCases.failed)
			failed.push_back(name_of(stats));
	}
	void testRunEnded(const Catch::TestRunStats &stats) override
	{
		passed = stats.totals.testCases.passed - skipped;
		std::atexit([] {
			for (const std::string &name : failed)
				std::printf("failed: %s\n", name.c_str());
			std::printf("%lu passed, %zu failed, %lu skipped\n", passed, failed.size(),
				    skipped);
		});
	}
};
CATCH_REGISTER_LISTENER(Verdict)

} // namespace

bool skip_unless(bool possible, const std::string &why)
{
	if (possible)
		return false;
	std::printf("skipped: %s: %s\n", Catch::getResultCapture().getCurrentTestName().c_str(),
		    why.c_str());
	skipped++;
	SUCCEED(why);
	return true;
}

int main(int argc, char **argv)
{
	if (take_test_options) {
		int status = take_test_options(&argc, argv);
		if (status)
			return status;
	}
	return Catch::Session().run(argc, argv);
}
