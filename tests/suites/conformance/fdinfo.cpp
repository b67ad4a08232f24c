// SPDX-License-Identifier: GPL-2.0
// What /proc/PID/fdinfo shows of an instance, and kcmp.
#include <algorithm>
#include <cerrno>
#include <sstream>

#include <linux/kcmp.h>
#include <regex.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

std::vector<std::string> lines_of(const std::string &text)
{
	std::istringstream in(text);
	std::vector<std::string> lines;
	for (std::string line; std::getline(in, line);)
		lines.push_back(line);
	return lines;
}

// POSIX's: to compile std::regex takes as long as ten files like this.
bool matches(const std::string &line, const std::string &pattern)
{
	regex_t regex;
	REQUIRE(regcomp(&regex, ("^(" + pattern + ")$").c_str(), REG_EXTENDED | REG_NOSUB) == 0);
	bool found = regexec(&regex, line.c_str(), 0, nullptr, 0) == 0;
	regfree(&regex);
	return found;
}

} // namespace

TEST_CASE_METHOD(Case, "fdinfo: the general lines, then one for each watch in epoll's columns", "[fdinfo]")
{
	Fd target = event_fd();
	Ends pipe = make_pipe();

	CHECK(lines_of(fdinfo(ep.fd())).size() == 4);
	REQUIRE(ep.add(target, EPOLLIN, 0xdeadbeefcafe) == 0);
	REQUIRE(ep.add(pipe.r, EPOLLOUT | EPOLLET, 7) == 0);
	auto lines = lines_of(fdinfo(ep.fd()));
	REQUIRE(lines.size() == 6);
	CHECK(matches(lines[0], "pos:\t0"));
	CHECK(matches(lines[1], "flags:\t02000002"));
	CHECK(matches(lines[2], "mnt_id:\t[0-9]+"));
	CHECK(matches(lines[3], "ino:\t[0-9]+"));
	std::string watch("tfd: [ 0-9]{7}[0-9] events: [ 0-9a-f]{7}[0-9a-f] data: [ 0-9a-f]{15}[0-9a-f]"
			  "  pos:-?[0-9]+ ino:[0-9a-f]+ sdev:[0-9a-f]+");
	CHECK(matches(lines[4], watch));
	CHECK(matches(lines[5], watch));
}

TEST_CASE_METHOD(Case, "fdinfo: a line to the letter", "[fdinfo]")
{
	char path[] = "/tmp/myepoll-test-XXXXXX";
	must_libc(mkdtemp(path) ? 0 : -1, "mkdtemp");
	rmdir(path);
	Ends pipe = make_pipe();
	struct stat st;
	REQUIRE(fstat(pipe.r, &st) == 0);
	REQUIRE(ep.add(pipe.r, EPOLLIN, 0x1234abcd) == 0);
	char expected[128];
	// s_dev as the kernel has it: 12 bits of major, 20 of minor
	unsigned dev = static_cast<unsigned>((st.st_dev >> 8 & 0xfff) << 20 | (st.st_dev & 0xff) |
					     (st.st_dev >> 12 & 0xfff00));
	std::snprintf(expected, sizeof expected, "tfd: %8d events: %8x data: %16x  pos:0 ino:%lx sdev:%x",
		      int(pipe.r), 0x19, 0x1234abcd, st.st_ino, dev);
	CHECK(lines_of(fdinfo(ep.fd())).at(4) == expected);
}

TEST_CASE_METHOD(Case, "fdinfo: the watches of one file by number; on a [myepoll] instance by time of ADD", "[fdinfo]")
{
	Fd target = event_fd();
	std::vector<Fd> again;
	std::vector<int> shown, added;

	for (int i = 0; i < 20; i++)
		again.push_back(dup_of(target));
	for (int i : { 7, 3, 19, 0, 11, 5 }) {
		REQUIRE(ep.add(again[i], EPOLLIN, i) == 0);
		added.push_back(again[i]);
	}
	for (const Watch &watch : watches(ep.fd()))
		shown.push_back(watch.fd);
	if (be().native())
		std::sort(added.begin(), added.end());
	CHECK(shown == added);
}

TEST_CASE_METHOD(Case, "fdinfo: DEL and close take a line away, MOD changes one", "[fdinfo]")
{
	Fd a = event_fd(), b = event_fd();

	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(b, EPOLLIN, 2) == 0);
	CHECK(watches(ep.fd()).size() == 2);
	REQUIRE(ep.mod(a, EPOLLOUT | EPOLLET, 3) == 0);
	b.reset();
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { a, 0x8000001c, 3 } });
	REQUIRE(ep.del(a) == 0);
	CHECK(watches(ep.fd()).empty());
}

TEST_CASE_METHOD(Case, "fdinfo: a thousand watches", "[fdinfo]")
{
	allow_descriptors(2500);
	std::vector<Fd> targets(1000);
	for (auto &target : targets) {
		target = event_fd();
		if (ep.add(target, EPOLLIN, int(target)) != 0)
			FAIL("ADD");
	}
	auto list = watches(ep.fd());
	CHECK(list.size() == 1000);
	CHECK(std::all_of(list.begin(), list.end(), [](const Watch &w) { return w.data == std::uint64_t(w.fd); }));
}

TEST_CASE_METHOD(Case, "kcmp compares what an instance watches; on a [myepoll] one it is EINVAL", "[kcmp]")
{
	Fd target = event_fd(), other = event_fd();
	pid_t self = getpid();
	kcmp_epoll_slot slot{};
	auto compare = [&](int fd) {
		return syscall(SYS_kcmp, self, self, KCMP_EPOLL_TFD, fd, &slot) < 0 ? -errno : 0;
	};
	if (compare(target) == -ENOSYS || compare(target) == -EOPNOTSUPP)
		return; // a kernel without CONFIG_KCMP

	REQUIRE(ep.add(target, EPOLLIN) == 0);
	slot.efd = ep.fd();
	slot.tfd = target;
	CHECK(compare(target) == (be().native() ? 0 : -EINVAL));
	slot.toff = 1;
	CHECK(compare(target) == (be().native() ? -ENOENT : -EINVAL));
	slot.toff = 0;
	slot.tfd = other;
	CHECK(compare(target) == (be().native() ? -ENOENT : -EINVAL));
	slot.efd = target;
	CHECK(compare(target) == -EINVAL);
}
