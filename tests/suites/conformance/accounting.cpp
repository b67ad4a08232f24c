// SPDX-License-Identifier: GPL-2.0
// The quota of watches per user. [sysctl]: these change a setting of the whole
// system while they run.
#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

#include <fcntl.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

constexpr int nobody = 65534;

// Sets the limit for as long as it lives
struct Limit : Setting {
	Limit() : Setting(be().max_user_watches()) {}
};

// A child of another user, whose count starts at 0, with an instance of its own
int as_nobody(const std::function<int(const Instance &)> &body)
{
	return in_child([&] {
		if (setresuid(nobody, nobody, nobody))
			return 200;
		Instance ep;
		return body(ep);
	});
}

} // namespace

TEST_CASE_METHOD(Tidy, "quota: the default is 4% of low memory in watches", "[accounting]")
{
	std::string meminfo = slurp("/proc/meminfo"), total = "MemTotal:";
	REQUIRE(meminfo.find(total) == 0);
	double bytes = std::stod(meminfo.substr(total.size())) * 1024 * 0.04;
	double per_watch = bytes / std::stod(slurp(be().max_user_watches()));
	// An item and a wait entry, whatever their size
	CHECK(per_watch > 100);
	CHECK(per_watch < 500);
}

TEST_CASE_METHOD(Tidy, "quota: the watch beyond it is ENOSPC and leaves nothing; DEL and close give back",
		 "[accounting][sysctl]")
{
	Limit limit;
	limit.set(3);
	CHECK(as_nobody([](const Instance &ep) {
		      Fd a = event_fd(), b = event_fd(), c = event_fd(), d = event_fd(), e = event_fd();
		      for (int fd : { int(a), int(b), int(c) })
			      if (ep.add(fd, EPOLLIN))
				      return 1;
		      for (int i = 0; i < 5; i++)
			      if (ep.add(d, EPOLLIN) != -ENOSPC)
				      return 2;
		      if (watches(ep.fd()).size() != 3 || ep.del(d) != -ENOENT)
			      return 3;
		      if (ep.mod(a, EPOLLOUT)) // needs no more
			      return 4;
		      if (ep.del(b) || ep.add(d, EPOLLIN) || ep.add(e, EPOLLIN) != -ENOSPC)
			      return 5;
		      d.reset(); // the last close
		      if (ep.add(e, EPOLLIN) || ep.add(b, EPOLLIN) != -ENOSPC)
			      return 6;
		      Instance other;
		      if (other.add(b, EPOLLIN) != -ENOSPC) // per user
			      return 7;
		      return 0;
	      }) == 0);
}

TEST_CASE_METHOD(Tidy, "quota: closing an instance gives back all of its watches", "[accounting][sysctl]")
{
	Limit limit;
	limit.set(8);
	CHECK(as_nobody([](const Instance &ep) {
		      Fd targets[8];
		      for (auto &target : targets)
			      target = event_fd();
		      for (int round = 0; round < 20; round++) {
			      Instance temporary;
			      for (auto &target : targets)
				      if (temporary.add(target, EPOLLIN))
					      return 1;
			      if (ep.add(targets[0], EPOLLIN) != -ENOSPC)
				      return 2;
		      }
		      return ep.add(targets[0], EPOLLIN) ? 3 : 0;
	      }) == 0);
}

TEST_CASE_METHOD(Tidy, "quota: an ADD that fails takes no place, not even for a moment",
		 "[accounting][sysctl]")
{
	Limit limit;
	limit.set(2);
	CHECK(as_nobody([](const Instance &ep) {
		      Instance other;
		      Fd mine = event_fd(), there = event_fd();
		      if (ep.add(mine, EPOLLIN) || other.add(there, EPOLLIN))
			      return 1;
		      std::atomic<bool> end{ false };
		      std::thread failing([&] {
			      while (!end)
				      other.add(there, EPOLLIN);
		      });
		      int result = 0;
		      for (auto start = Clock::now(); !result && Clock::now() - start < milliseconds(300);)
			      if (ep.del(mine) || ep.add(mine, EPOLLIN))
				      result = 2;
		      end = true;
		      failing.join();
		      return result;
	      }) == 0);
}

TEST_CASE_METHOD(Tidy, "quota: a watch counts once however many queues it sleeps on; instances do not count",
		 "[accounting][sysctl]")
{
	Limit limit;
	limit.set(2);
	CHECK(as_nobody([](const Instance &ep) {
		      Instance more[4];
		      Pair pair = make_pair(SOCK_DGRAM); // two queues: its own and its peer's
		      if (ep.add(pair.a, EPOLLIN | EPOLLOUT) || ep.add(pair.b, EPOLLIN | EPOLLOUT))
			      return 1;
		      Fd one = event_fd();
		      return ep.add(one, EPOLLIN) == -ENOSPC ? 0 : 2;
	      }) == 0);
}

TEST_CASE_METHOD(Tidy, "quota: ENOSPC comes after EEXIST, ENOENT, EINVAL and ELOOP", "[accounting][sysctl]")
{
	Limit limit;
	limit.set(3);
	CHECK(as_nobody([](const Instance &ep) {
		      Fd a = event_fd(), b = event_fd(), c = event_fd();
		      Instance outer;
		      if (outer.add(ep.fd(), EPOLLIN) || ep.add(a, EPOLLIN) || ep.add(b, EPOLLIN))
			      return 1;
		      if (ep.add(c, EPOLLIN) != -ENOSPC)
			      return 2;
		      if (ep.add(a, EPOLLIN) != -EEXIST)
			      return 3;
		      if (ep.mod(c, EPOLLIN) != -ENOENT || ep.ctl(99, c, EPOLLIN) != -EINVAL)
			      return 4;
		      if (ep.add(outer.fd(), EPOLLIN) != -ELOOP)
			      return 5;
		      if (ep.add(c, EPOLLIN | EPOLLEXCLUSIVE | EPOLLPRI) != -EINVAL)
			      return 6;
		      return 0;
	      }) == 0);
}

TEST_CASE_METHOD(Tidy, "quota: a limit of 0 allows no watch at all", "[accounting][sysctl]")
{
	Limit limit;
	limit.set(0);
	CHECK(as_nobody([](const Instance &ep) {
		      Fd target = event_fd();
		      return ep.add(target, EPOLLIN) == -ENOSPC ? 0 : 1;
	      }) == 0);
}

TEST_CASE_METHOD(Tidy, "quota: the limit is no more than the largest signed number, and nothing but a number",
		 "[accounting][sysctl]")
{
	Limit limit;
	auto written = [](const char *text) {
		Fd file(must_libc(open(be().max_user_watches().c_str(), O_WRONLY | O_CLOEXEC)));
		return write(file, text, std::strlen(text)) < 0 ? -errno : 0;
	};

	limit.set(1000);
	for (const char *wrong : { "9223372036854775808", "18446744073709551615", "-1", "ten" }) {
		CAPTURE(wrong);
		CHECK(written(wrong) == -EINVAL);
		CHECK(std::stol(slurp(be().max_user_watches())) == 1000);
	}
	CHECK(written("9223372036854775807") == 0);
	CHECK(as_nobody([](const Instance &ep) {
		      Fd target = event_fd();
		      return ep.add(target, EPOLLIN) ? 1 : 0;
	      }) == 0);
}

TEST_CASE_METHOD(Case, "quota: a refused path takes no quota", "[accounting][sysctl]")
{
	allow_descriptors(2500);
	Limit limit;
	limit.set(2 + 501);
	CHECK(as_nobody([](const Instance &middle) {
		      Fd leaf = event_fd(), other = event_fd();
		      std::vector<Instance> tops(501);
		      for (auto &top : tops)
			      if (top.add(middle.fd(), EPOLLIN))
				      return 1;
		      for (int i = 0; i < 10; i++)
			      if (middle.add(leaf, EPOLLIN) != -EINVAL)
				      return 2;
		      Instance free;
		      if (free.add(leaf, EPOLLIN) || free.add(other, EPOLLIN))
			      return 3;
		      Fd third = event_fd();
		      return free.add(third, EPOLLIN) == -ENOSPC ? 0 : 4;
	      }) == 0);
}

TEST_CASE_METHOD(Tidy, "quota: a watch is counted for who made the instance, not for who adds",
		 "[accounting][sysctl]")
{
	Limit limit;
	limit.set(2);
	CHECK(in_child([&] {
		      constexpr int maker = nobody, adder = nobody - 1;
		      Fd a = event_fd(), b = event_fd(), c = event_fd();
		      if (setresuid(maker, maker, 0))
			      return 200;
		      Instance theirs;
		      // The real user is who counts, not the effective one.
		      if (setresuid(0, 0, 0) || setresuid(adder, maker, 0))
			      return 201;
		      Instance own;
		      if (theirs.add(a, EPOLLIN) || theirs.add(b, EPOLLIN) || theirs.add(c, EPOLLIN) != -ENOSPC)
			      return 1;
		      if (own.add(a, EPOLLIN) || own.add(b, EPOLLIN) || own.add(c, EPOLLIN) != -ENOSPC)
			      return 2;
		      theirs.close();
		      return own.add(c, EPOLLIN) == -ENOSPC ? 0 : 3;
	      }) == 0);
}
