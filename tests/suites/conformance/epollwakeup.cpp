// SPDX-License-Identifier: GPL-2.0
// EPOLLWAKEUP: kept and served with wakeup sources where the kernel can sleep
// and the caller may keep it awake, silently dropped elsewhere.
#include <algorithm>
#include <filesystem>
#include <fstream>

#include <linux/capability.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "catch.hpp"
#include "dying_file.hpp"
#include "support.hpp"

namespace {

const std::filesystem::path sources = "/sys/class/wakeup";

bool kernel_sleeps() // CONFIG_PM_SLEEP
{
	return std::filesystem::exists(sources);
}

std::vector<std::filesystem::path> sources_named(const std::string &name)
{
	std::vector<std::filesystem::path> found;
	if (!kernel_sleeps())
		return found;
	for (auto &entry : std::filesystem::directory_iterator(sources)) {
		std::ifstream file(entry.path() / "name");
		std::string text;
		if (std::getline(file, text) && text == name)
			found.push_back(entry.path());
	}
	return found;
}

// Active now? The file says for how many ms.
bool is_active(const std::filesystem::path &source)
{
	usleep(5000);
	return std::stol(slurp(source / "active_time_ms")) > 0;
}

bool drop_block_suspend()
{
	__user_cap_header_struct header{ _LINUX_CAPABILITY_VERSION_3, 0 };
	__user_cap_data_struct data[2];
	if (syscall(SYS_capget, &header, data))
		return false;
	data[1].effective &= ~(1U << (CAP_BLOCK_SUSPEND - 32));
	return syscall(SYS_capset, &header, data) == 0;
}

constexpr std::uint32_t wakeup_in = EPOLLIN | EPOLLWAKEUP;
constexpr std::uint32_t shown = wakeup_in | EPOLLERR | EPOLLHUP;

} // namespace

TEST_CASE_METHOD(Case, "wakeup: the flag is kept for who may use it, and shown", "[wakeup]")
{
	Fd target = event_fd();
	std::uint32_t expected = kernel_sleeps() ? shown : shown & ~EPOLLWAKEUP;

	REQUIRE(ep.add(target, wakeup_in, 1) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, expected, 1 } });
	REQUIRE(ep.mod(target, EPOLLIN, 1) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, shown & ~EPOLLWAKEUP, 1 } });
	REQUIRE(ep.mod(target, wakeup_in, 1) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, expected, 1 } });
	put(target);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Case, "wakeup: without CAP_BLOCK_SUSPEND the flag is dropped, without an error",
		 "[wakeup]")
{
	Fd target = event_fd();

	CHECK(in_child([&] {
		      if (!drop_block_suspend())
			      return 200;
		      if (ep.add(target, wakeup_in, 1))
			      return 1;
		      if (watches(ep.fd()).at(0).events != (shown & ~EPOLLWAKEUP))
			      return 2;
		      if (ep.mod(target, wakeup_in | EPOLLONESHOT, 1))
			      return 3;
		      return watches(ep.fd()).at(0).events == ((shown & ~EPOLLWAKEUP) | EPOLLONESHOT) ? 0 : 4;
	      }) == 0);
	CHECK(ep.del(target) == 0);
}

TEST_CASE_METHOD(Case, "wakeup: a source for the item, named after its file; the kernel's epoll has one for the instance besides",
		 "[wakeup]")
{
	Fd target = event_fd(), other = event_fd();
	auto of_item = sources_named("[eventfd]").size();
	auto of_instance = sources_named("eventpoll").size();
	std::size_t one = kernel_sleeps() ? 1 : 0;
	std::size_t for_instance = be().native() ? one : 0;

	REQUIRE(ep.add(target, wakeup_in, 1) == 0);
	CHECK(sources_named("[eventfd]").size() == of_item + one);
	CHECK(sources_named("eventpoll").size() == of_instance + for_instance);
	REQUIRE(ep.add(other, wakeup_in, 2) == 0);
	CHECK(sources_named("[eventfd]").size() == of_item + 2 * one);
	CHECK(sources_named("eventpoll").size() == of_instance + for_instance);
	// A removed source may go a little later.
	auto items = [&] { return sources_named("[eventfd]").size() - of_item; };
	REQUIRE(ep.mod(other, EPOLLIN, 2) == 0);
	CHECK(eventually([&] { return items() == one; }));
	REQUIRE(ep.del(target) == 0);
	CHECK(eventually([&] { return items() == 0; }));
	REQUIRE(ep.mod(other, wakeup_in, 2) == 0);
	CHECK(sources_named("[eventfd]").size() == of_item + one);
	other.reset();
	CHECK(eventually([&] { return items() == 0; }));
	ep.close();
	CHECK(eventually([&] { return sources_named("eventpoll").size() == of_instance; }));
}

TEST_CASE_METHOD(Case, "wakeup: the item's source is held from the event until it is seen not to be ready",
		 "[wakeup]")
{
	if (!kernel_sleeps()) {
		CHECK(sources_named("[eventfd]").empty());
		return;
	}
	Fd target = event_fd();
	auto before = sources_named("[eventfd]");
	REQUIRE(ep.add(target, wakeup_in, 1) == 0);
	std::filesystem::path source;
	for (auto &path : sources_named("[eventfd]"))
		if (std::find(before.begin(), before.end(), path) == before.end())
			source = path;
	REQUIRE_FALSE(source.empty());

	CHECK_FALSE(is_active(source));
	put(target);
	CHECK(is_active(source));
	CHECK(ep.count(0) == 1);
	CHECK(is_active(source)); // level-triggered: may be ready still
	take(target);
	CHECK(is_active(source));
	CHECK(ep.count(0) == 0);
	CHECK_FALSE(is_active(source));

	REQUIRE(ep.mod(target, wakeup_in | EPOLLET, 1) == 0);
	put(target);
	CHECK(is_active(source));
	CHECK(ep.count(0) == 1);
	CHECK_FALSE(is_active(source)); // an edge is done with when delivered
}

TEST_CASE_METHOD(Case, "wakeup: MOD gives a source to an item that is ready already", "[wakeup]")
{
	if (skip_unless(kernel_sleeps(), "this kernel does not sleep"))
		return;
	Fd target = event_fd(1);
	// Those of other tests may go a little later than they are removed.
	REQUIRE(eventually([] { return sources_named("[eventfd]").empty(); }));
	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	CHECK(ep.count(0) == 1);
	REQUIRE(ep.mod(target, wakeup_in, 1) == 0);
	CHECK(ep.count(0) == 1);
	auto named = sources_named("[eventfd]");
	REQUIRE(named.size() == 1);
	CHECK(std::any_of(named.begin(), named.end(), is_active));
}

TEST_CASE_METHOD(Case, "wakeup: an event of a file that is going keeps nothing awake once it was looked at",
		 "[wakeup]")
{
	if (skip_unless(kernel_sleeps(), "this kernel does not sleep"))
		return;
	Fd target = event_fd(1);
	REQUIRE(eventually([] { return sources_named("[eventfd]").empty(); }));
	REQUIRE(ep.add(target, wakeup_in, 1) == 0);
	auto named = sources_named("[eventfd]");
	REQUIRE(named.size() == 1);
	CHECK(is_active(named.front()));
	DyingFile dying(std::move(target));
	CHECK(is_active(named.front()));
	CHECK(ep.count(0) == 0);
	CHECK_FALSE(is_active(named.front()));
}
