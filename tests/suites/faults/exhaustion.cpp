// SPDX-License-Identifier: GPL-2.0
// No watches, descriptors, files or memory left; and waiters that are killed, stopped
// and frozen by the hundred. Afterwards all is given back, and who is left works.
// These change settings of the whole system while they run.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <numeric>
#include <random>

#include <fcntl.h>
#include <poll.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <x86intrin.h>

#include "catch.hpp"
#include "cgroup.hpp"
#include "klog.hpp"
#include "support.hpp"

namespace {

constexpr int nobody = 65534;


// An instance that does all its work
int works()
{
	Instance ep;
	Fd target = event_fd();
	if (ep.add(target, EPOLLIN | EPOLLET, 7))
		return 1;
	put(target);
	if (ep.wait() != Events{ { EPOLLIN, 7 } } || ep.mod(target, EPOLLIN, 8))
		return 2;
	return ep.wait() == Events{ { EPOLLIN, 8 } } && !ep.del(target) ? 0 : 3;
}

// All that a cgroup's limit is to be reached by: watches, as instances times files.
// Touches no memory of its own after the constructor.
class Crowd {
public:
	Crowd(int instances, int files) : instances_(instances, -1), files_(files)
	{
		allow_descriptors(instances + files + 100);
		for (int &fd : files_)
			fd = must_libc(fcntl(event_fd(), F_DUPFD_CLOEXEC, 0), "dup");
	}
	Crowd(const Crowd &) = delete;
	~Crowd()
	{
		shrink_to(0);
		for (int fd : files_)
			close(fd);
	}
	// Adds until it is full (0) or a call fails
	int fill()
	{
		epoll_event event = ev(EPOLLIN);
		for (; made_ < instances_.size(); made_++) {
			int ep = be().create1(EPOLL_CLOEXEC);
			if (ep < 0)
				return ep;
			instances_[made_] = ep;
			for (int fd : files_) {
				int r = be().ctl(ep, EPOLL_CTL_ADD, fd, &event);
				if (r) {
					close(ep);
					return r;
				}
				watches_++;
			}
		}
		return 0;
	}
	void shrink_to(std::size_t n)
	{
		while (made_ > n)
			close(instances_[--made_]);
	}
	std::size_t instances() const { return made_; }
	long watches() const { return watches_; }
	int instance(std::size_t i) const { return instances_[i]; }
	int file(std::size_t i) const { return files_[i]; }

private:
	std::vector<int> instances_, files_;
	std::size_t made_ = 0;
	long watches_ = 0;
};

// Blocked in a wait of `ep`; answers with 100 + the errno, or with the number of events
pid_t start_waiter(const Instance &ep, int timeout_ms = patience_ms, bool many = false)
{
	return start_child([&, timeout_ms, many] {
		int n;
		do
			n = ep.count(timeout_ms, 8);
		while (many && n >= 0);
		return n < 0 ? 100 - n : n;
	});
}

} // namespace

TEST_CASE_METHOD(Tidy, "quota: threads that race for the last watches never get one too many, nor lose one", "[exhaustion][quota]")
{
	constexpr int limit = 12, files = 20;
	Setting setting(be().max_user_watches(), std::to_string(limit));
	CHECK(in_child([] {
		      if (setresuid(nobody, nobody, nobody))
			      return 200;
		      Instance ep;
		      std::vector<Fd> targets(files);
		      for (auto &target : targets)
			      target = event_fd();
		      std::atomic<int> there{ 0 }, most{ 0 }, refused{ 0 }, wrong{ 0 };
		      auto end = Clock::now() + milliseconds(1500);
		      std::vector<std::thread> threads;
		      for (unsigned seed = 0; seed < 3; seed++)
			      threads.emplace_back([&, seed] {
				      std::mt19937 random(seed);
				      while (Clock::now() < end) {
					      int fd = targets[random() % files];
					      int r;
					      if (random() % 2) {
						      r = ep.add(fd, EPOLLIN);
						      if (r == 0) {
							      int n = ++there, m = most;
							      while (n > m && !most.compare_exchange_weak(m, n))
								      ;
						      }
						      refused += r == -ENOSPC;
						      wrong += r && r != -ENOSPC && r != -EEXIST;
					      } else {
						      there -= 1; // counted as gone before it is
						      r = ep.del(fd);
						      if (r)
							      there += 1;
						      wrong += r && r != -ENOENT;
					      }
				      }
			      });
		      for (auto &thread : threads)
			      thread.join();
		      if (wrong || most > limit)
			      return 1;
		      if (!refused)
			      return 2;
		      if (int(watches(ep.fd()).size()) != there)
			      return 3;
		      // The count stands exactly at what is there
		      Instance other;
		      int more = 0;
		      while (more < files && other.add(targets[unsigned(more)], EPOLLIN) == 0)
			      more++;
		      return there + more == limit ? 0 : 4;
	      }) == 0);
}

TEST_CASE_METHOD(Tidy, "quota: a user among 8000 is found as fast as one alone", "[exhaustion][quota]")
{
	if (skip_unless(!be().native(), "the kernel's own counts are not what is tested"))
		return;
	constexpr unsigned users = 8'000, first_uid = 30'000;
	CHECK(in_child([] {
		      // The real user is who counts. The effective one may go on to the next.
		      auto become = [](unsigned uid) {
			      must_libc(setresuid(first_uid + uid, 0, 0), "setresuid");
		      };
		      auto cycles = [] {
			      auto least = ~0ULL;
			      for (int i = 0; i < 200; i++) {
				      auto start = __rdtsc();
				      { Instance ep; }
				      least = std::min(least, __rdtsc() - start);
			      }
			      return least;
		      };
		      std::vector<Instance> held;
		      held.reserve(users);
		      allow_descriptors(users + 100);
		      become(0);
		      const auto alone = cycles();
		      for (unsigned uid = 0; uid < users; uid++) {
			      become(uid);
			      held.emplace_back();
		      }
		      const auto among_many = cycles();
		      return among_many < 3 * alone ? 0 : 1;
	      }) == 0);
}

TEST_CASE_METHOD(Tidy, "no descriptor left: create is EMFILE, ctl and wait go on; then all is as before", "[exhaustion][descriptors]")
{
	CHECK(in_child([] {
		      Instance ep;
		      Fd a = event_fd(1), b = event_fd();
		      std::vector<Fd> all;
		      rlimit limit{ 64, 64 };
		      setrlimit(RLIMIT_NOFILE, &limit);
		      for (int fd; (fd = fcntl(a, F_DUPFD_CLOEXEC, 0)) >= 0;)
			      all.emplace_back(fd);
		      for (int i = 0; i < 2000; i++)
			      if (be().create1(i % 2 ? EPOLL_CLOEXEC : 0) != -EMFILE)
				      return 1;
		      if (ep.add(a, EPOLLIN, 1) || ep.add(b, EPOLLIN, 2) || ep.mod(b, EPOLLOUT, 3) || ep.del(a))
			      return 2;
		      if (ep.wait() != Events{ { EPOLLOUT, 3 } })
			      return 3;
		      all.clear();
		      return works();
	      }) == 0);
	CHECK(works() == 0);
}

TEST_CASE_METHOD(Tidy, "no file left in the system: create is ENFILE, ctl and wait go on; then all is as before",
		 "[exhaustion][files]")
{
	std::string before = slurp("/proc/sys/fs/file-max");
	Ends go = make_pipe(), ready = make_pipe();
	fcntl(go.r, F_SETFL, 0);
	fcntl(ready.r, F_SETFL, 0);
	pid_t child = start_child([&] {
		if (setresuid(nobody, nobody, nobody))
			return 200;
		Instance ep;
		Fd a = event_fd(1), b = event_fd();
		char byte;
		send_byte(ready.w);
		if (read(go.r, &byte, 1) != 1)
			return 201;
		for (int i = 0; i < 2000; i++)
			if (be().create1(0) != -ENFILE)
				return 1;
		if (ep.add(a, EPOLLIN, 1) || ep.add(b, EPOLLIN, 2) || ep.mod(b, EPOLLOUT, 3) || ep.del(a))
			return 2;
		if (ep.wait() != Events{ { EPOLLOUT, 3 } })
			return 3;
		send_byte(ready.w);
		if (read(go.r, &byte, 1) != 1)
			return 202;
		return works();
	});
	char byte;
	REQUIRE(read(ready.r, &byte, 1) == 1);
	{
		// Not 1: what the limit is first compared with is a count that is some
		// dozens off, and may be 0 while files are open.
		Setting none("/proc/sys/fs/file-max", "0");
		send_byte(go.w);
		// A child that has found something wrong says no more
		ready.w.reset();
		CHECK(read(ready.r, &byte, 1) == 1);
	}
	send_byte(go.w);
	CHECK(child_status(child) == 0);
	CHECK(slurp("/proc/sys/fs/file-max") == before);
}

TEST_CASE_METHOD(Tidy, "no memory left in a cgroup, and nobody to kill: ENOMEM; what is there works, and makes room",
		 "[exhaustion][memory]")
{
	KernelLog log;
	Setting watches_allowed(be().max_user_watches(), "10000000");
	REQUIRE(eventually([] { return live_watches() == 0; }));
	Cgroup group("myepoll-full", "memory");
	group.set("memory.max", "24M");
	int status = in_child([&] {
		Crowd crowd(400, 500);
		spill("/proc/self/oom_score_adj", "-1000");
		if (mlockall(MCL_CURRENT | MCL_FUTURE))
			return 200;
		epoll_event event = ev(EPOLLOUT, 5), got[4] = {};
		group.join();
		for (int round = 0; round < 3; round++) {
			if (crowd.fill() != -ENOMEM)
				return 1;
			if (crowd.instances() < 20)
				return 2;
			// Nothing that needs no memory minds
			int ep = crowd.instance(3);
			if (be().ctl(ep, EPOLL_CTL_MOD, crowd.file(7), &event))
				return 3;
			if (be().wait(ep, got, 4, 0) != 1 || got[0].data.u64 != 5)
				return 4;
			if (be().ctl(ep, EPOLL_CTL_ADD, crowd.file(7), &event) != -EEXIST)
				return 5;
			if (be().ctl(ep, EPOLL_CTL_DEL, crowd.file(7), &event))
				return 6;
			crowd.shrink_to(crowd.instances() / 2);
			if (be().ctl(ep, EPOLL_CTL_ADD, crowd.file(7), &event))
				return 7;
		}
		return 0;
	});
	CHECK(status == 0);
	CHECK(group.get("memory.events", "oom_kill") == 0);
	CHECK(group.get("memory.events", "max") > 0);
	CHECK(eventually([] { return live_watches() == 0; }));
	CHECK(works() == 0);
	log.news();
	CHECK(log.complaint() == "");
}

TEST_CASE_METHOD(Tidy, "a process that adds until it is killed for its cgroup's memory: everything comes back",
		 "[exhaustion][memory][kill]")
{
	KernelLog log;
	Setting watches_allowed(be().max_user_watches(), "10000000");
	REQUIRE(eventually([] { return live_watches() == 0; }));
	Cgroup group("myepoll-killed", "memory");
	group.set("memory.max", "24M");
	for (int round = 0; round < 2; round++) {
		int status = in_child([&] {
			Crowd crowd(400, 500);
			group.join();
			return crowd.fill() ? 1 : 2;
		});
		CHECK(status == 256 + SIGKILL);
		CHECK(eventually([] { return live_watches() == 0; }));
	}
	CHECK(group.get("memory.events", "oom_kill") >= 2);
	CHECK(works() == 0);
	log.news();
	CHECK(log.complaint() == "");
}

TEST_CASE_METHOD(Tidy, "100,000 watches and 200 waiters killed for memory: everything comes back",
		 "[exhaustion][memory][kill]")
{
	KernelLog log;
	constexpr long many = 100'000;
	Setting watches_allowed(be().max_user_watches(), "10000000");
	REQUIRE(eventually([] { return live_watches() == 0; }));
	Cgroup group("myepoll-many", "memory");
	Ends ready = make_pipe();
	pid_t child = start_child([&] {
		Crowd crowd(200, 500);
		group.join();
		if (crowd.fill() || crowd.watches() != many)
			return 1;
		std::vector<std::thread> waiters;
		std::atomic<int> started{ 0 };
		for (unsigned i = 0; i < 200; i++)
			waiters.emplace_back([&, i] {
				epoll_event events[4];
				started++;
				be().wait(crowd.instance(i), events, 4, -1);
			});
		while (started < 200)
			std::this_thread::yield();
		send_byte(ready.w);
		pause();
		return 2;
	});
	char byte;
	REQUIRE(eventually([&] { return read(ready.r, &byte, 1) == 1; }, 4 * patience_ms));
	CHECK(live_watches() == many);
	group.set("memory.max", "1M");
	CHECK(child_status(child) == 256 + SIGKILL);
	CHECK(group.get("memory.events", "oom_kill") >= 1);
	CHECK(eventually([] { return live_watches() == 0; }));
	CHECK(works() == 0);
	log.news();
	CHECK(log.complaint() == "");
}

namespace {

// A socket whose close lasts until its peer goes: it waits for data to be sent.
class Lingering {
public:
	Lingering() : pair_(make_tcp())
	{
		char much[4096] = {};
		linger for_ever{ 1, 10'000 };
		// Hundreds of them stay below the memory that TCP may have, beyond which it gives them up.
		const int size = 4096;
		for (int option : { SO_SNDBUF, SO_RCVBUF })
			for (int end : { int(pair_.a), int(pair_.b) })
				must_libc(setsockopt(end, SOL_SOCKET, option, &size, sizeof size), "a small buffer");
		while (write(pair_.a, much, sizeof much) > 0)
			;
		must_libc(setsockopt(pair_.a, SOL_SOCKET, SO_LINGER, &for_ever, sizeof for_ever), "SO_LINGER");
	}
	Fd &end() { return pair_.a; }
	void let_go() { pair_.b.reset(); }

private:
	Pair pair_;
};

// Has an ADD find, after its search, that it is the last to hold a lingering socket:
// the socket is watched under so many numbers that the search takes a while, and closed
// meanwhile by another CPU.
enum class Closed { by_worker, by_the_add, by_its_owner };

Closed drop_during_search(Lingering &socket, std::mt19937 &random)
{
	constexpr int numbers = 250, base = 200;
	Instance below, above;
	for (int i = 0; i < numbers; i++)
		must_libc(dup2(socket.end(), base + i), "dup2");
	for (int i = 0; i < numbers; i++)
		must(below.add(base + i, EPOLLIN));
	must_libc(syscall(SYS_close_range, base, base + numbers - 1, 0), "close_range");

	// How long such an ADD takes here and now, in cycles: within that comes the close.
	auto duration = ~0ULL;
	for (int i = 0; i < 2; i++) {
		Instance other;
		auto start = __rdtsc();
		must(link(other, below));
		duration = std::min(duration, __rdtsc() - start);
	}
	const auto delay = std::uniform_int_distribution(0ULL, duration)(random);
	std::atomic<int> ready{ 0 };
	auto together = [&] {
		for (ready++; ready < 2;)
			;
	};
	Blocked adder([&] {
		together();
		return link(above, below);
	});
	Blocked owner([&] {
		together();
		for (auto start = __rdtsc(); __rdtsc() - start < delay;)
			;
		socket.end().reset();
		return 0;
	});
	bool owner_done = owner.done_within(20), adder_done = adder.done_within(20);
	if (!owner_done || !adder_done)
		socket.let_go();
	must(adder.result());
	return !owner_done ? Closed::by_its_owner : !adder_done ? Closed::by_the_add : Closed::by_worker;
}

long module_references()
{
	return std::stol(slurp("/sys/module/myepoll/refcnt"));
}

std::size_t wakeup_sources()
{
	using std::filesystem::directory_iterator;
	return std::distance(directory_iterator("/sys/class/wakeup"), directory_iterator());
}

} // namespace

TEST_CASE_METHOD(Tidy, "workers that close lingering sockets: 32 users do not take all of them",
		 "[exhaustion][workers]")
{
	if (skip_unless(!be().native(), "epoll closes in the thread that drops the last reference"))
		return;
	constexpr int users = 32, for_each = 9, first_uid = 20'000;
	const long before = module_references();
	std::vector<pid_t> children;
	Ends answers = make_pipe(), end = make_pipe();
	int workers = 0;
	// On a busy host the threads that have to meet seldom do.
	const auto deadline = Clock::now() + std::chrono::seconds(100);
	for (int user = 0; user < users && (user < 2 || Clock::now() < deadline); user++) {
		children.push_back(start_child([&] {
			allow_descriptors(1000);
			must_libc(setresuid(first_uid + user, first_uid + user, first_uid + user), "setresuid");
			end.w.reset();
			std::mt19937 random(user);
			std::vector<Lingering> held;
			unsigned char by_worker = 0;
			const auto own_deadline = Clock::now() + milliseconds(patience_ms / 2);
			for (int refused = 0; Clock::now() < own_deadline && by_worker < for_each && refused < 2;) {
				held.emplace_back();
				switch (drop_during_search(held.back(), random)) {
				case Closed::by_worker:
					by_worker++;
					continue;
				case Closed::by_the_add:
					refused++;
					break;
				case Closed::by_its_owner:
					break;
				}
				held.pop_back();
			}
			must_libc(write(answers.w, &by_worker, 1), "write");
			pollfd until_end{ end.r, POLLIN, 0 };
			return poll(&until_end, 1, -1) == 1 ? 0 : 1;
		}));
		pollfd answer{ answers.r, POLLIN, 0 };
		must(poll(&answer, 1, patience_ms) == 1 ? 0 : -ETIME, "a user's answer");
		unsigned char n;
		must_libc(read(answers.r, &n, 1), "read");
		workers += n;
	}
	CAPTURE(workers);
	skip_unless(workers > 0, "the host is too busy for a close within a search");
	CHECK(workers <= 128);
	if (std::filesystem::exists("/sys/class/wakeup")) {
		Instance ep;
		Fd file = event_fd();
		auto sources = wakeup_sources();
		REQUIRE(ep.add(file, EPOLLIN | EPOLLWAKEUP, 1) == 0);
		CHECK(wakeup_sources() == sources + 1);
		REQUIRE(ep.del(file) == 0);
		CHECK(eventually([&] { return wakeup_sources() == sources; }, patience_ms / 3));
	}
	CHECK(works() == 0);
	end.w.reset();
	for (pid_t child : children)
		CHECK(child_status(child) == 0);
	CHECK(eventually([&] { return module_references() == before; }));
}

TEST_CASE_METHOD(Tidy, "kill -9 of hundreds of waiters under a storm of writes: who is left gets every event", "[waiters][kill]")
{
	constexpr int waiters = 120, files = 8;
	Instance ep, exclusive;
	std::vector<Fd> targets(files);
	constexpr std::uint32_t modes[] = { 0, EPOLLET };
	for (unsigned i = 0; i < files; i++) {
		targets[i] = event_fd();
		REQUIRE(ep.add(targets[i], EPOLLIN | modes[i % 2], i) == 0);
		REQUIRE(exclusive.add(targets[i], EPOLLIN | EPOLLET | EPOLLEXCLUSIVE, i) == 0);
	}
	std::atomic<bool> stop{ false };
	std::atomic<long> writes{ 0 };
	auto storm = [&](unsigned seed) {
		std::mt19937 random(seed);
		while (!stop) {
			unsigned i = static_cast<unsigned>(random()) % files;
			put(targets[i]);
			if (random() % 2) {
				std::uint64_t n;
				if (read(targets[i], &n, sizeof n) < 0 && errno != EAGAIN)
					return;
			}
			writes++;
			if (random() % 16 == 0) // or nobody else gets a turn
				std::this_thread::sleep_for(milliseconds(1));
		}
	};
	std::vector<pid_t> children;
	for (int i = 0; i < waiters; i++)
		children.push_back(start_waiter(i % 2 ? ep : exclusive, i % 3 ? patience_ms : 1, true));
	std::thread a(storm, 1), b(storm, 2);

	std::mt19937 random(3);
	std::shuffle(children.begin(), children.end(), random);
	for (unsigned i = 0; i < children.size(); i++) {
		// A write or more for each, on whatever host
		eventually([&] { return writes > long(i) + 1; });
		kill(children[i], SIGKILL);
		if (i % 20 == 19)
			settle(10);
	}
	for (pid_t child : children)
		CHECK(child_status(child) == 256 + SIGKILL);
	stop = true;
	a.join();
	b.join();
	CHECK(writes > waiters);

	// A waiter that comes after them all, and one event at a time
	for (const Instance *instance : { &ep, &exclusive }) {
		for (auto &target : targets)
			drain(target);
		instance->wait();
		for (unsigned i = 0; i < files; i++) {
			Blocked waiter(*instance);
			waiter.asleep();
			put(targets[i]);
			CHECK(waiter.done_within(patience_ms));
			CHECK(waiter.result() == 1);
			CHECK(data_of(waiter.events()) == Data{ i });
			drain(targets[i]);
		}
	}
}

TEST_CASE_METHOD(Tidy, "kill -9 of a process of hundreds of waiting threads, while others wait beside them", "[waiters][kill]")
{
	Instance ep;
	Fd target = event_fd(), other = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(other, EPOLLIN, 2) == 0);
	Blocked beside(ep);
	beside.asleep();
	Ends ready = make_pipe();
	pid_t child = start_child([&] {
		std::vector<std::thread> threads;
		std::atomic<int> started{ 0 };
		for (int i = 0; i < 300; i++)
			threads.emplace_back([&] {
				started++;
				ep.count(-1);
			});
		while (started < 300)
			std::this_thread::yield();
		send_byte(ready.w);
		pause();
		return 1;
	});
	char byte;
	REQUIRE(eventually([&] { return read(ready.r, &byte, 1) == 1; }));
	kill(child, SIGKILL);
	put(target); // while they die: whoever of them is woken passes it on
	CHECK(child_status(child) == 256 + SIGKILL);
	// The one event went to a thread that lived then, or comes to the one that lives
	if (!beside.done_within(200)) {
		put(target);
		CHECK(beside.done_within(patience_ms));
	}
	CHECK(beside.result() == 1);
	put(other);
	CHECK(data_of(ep.wait(patience_ms)) == Data{ 2 });
	CHECK(works() == 0);
}

TEST_CASE_METHOD(Tidy, "SIGSTOP and SIGCONT end a wait with EINTR; what came meanwhile is there for the next", "[waiters][stop]")
{
	for (bool event : { false, true })
		for (int timeout : { patience_ms, -1 }) {
			CAPTURE(event, timeout);
			Instance ep;
			Fd target = event_fd();
			REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
			pid_t child = start_waiter(ep, timeout);
			until_asleep_in_wait(child);
			kill(child, SIGSTOP);
			int status;
			REQUIRE(waitpid(child, &status, WUNTRACED) == child);
			REQUIRE(WIFSTOPPED(status));
			if (event)
				put(target);
			kill(child, SIGCONT);
			CHECK(child_status(child) == 100 + EINTR);
			CHECK(ep.wait() == (event ? Events{ { EPOLLIN, 1 } } : Events{}));
		}
}

TEST_CASE_METHOD(Tidy, "hundreds of waiters stopped and continued: each ends with EINTR or its event, and none is lost",
		 "[waiters][stop]")
{
	constexpr int waiters = 100;
	Instance ep;
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	std::vector<pid_t> children;
	for (int i = 0; i < waiters; i++)
		children.push_back(start_waiter(ep, -1));
	for (pid_t child : children)
		until_asleep_in_wait(child);
	for (int i = 0; i < waiters; i++) {
		kill(children[unsigned(i)], SIGSTOP);
		if (i % 10 == 0)
			put(target);
	}
	for (pid_t child : children)
		kill(child, SIGCONT);
	int woken = 0, interrupted = 0;
	for (pid_t child : children) {
		int status = child_status(child);
		woken += status == 1;
		interrupted += status == 100 + EINTR;
	}
	CHECK(woken + interrupted == waiters);
	CHECK(interrupted > 0);
	// Edges add up where nobody fetches them, but the last is somebody's
	CHECK(woken + int(ep.wait().size()) >= 1);
	put(target);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Tidy, "waiters frozen by their cgroup, woken, and thawed", "[waiters][freeze]")
{
	constexpr int waiters = 20;
	Cgroup group("myepoll-frozen");
	Instance ep;
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	std::vector<pid_t> children;
	for (int i = 0; i < waiters; i++) {
		children.push_back(start_waiter(ep, -1));
		group.take(children.back());
	}
	for (pid_t child : children)
		until_asleep_in_wait(child);
	group.set("cgroup.freeze", "1");
	REQUIRE(eventually([&] { return group.get("cgroup.events", "frozen") == 1; }));
	put(target);
	settle();
	for (pid_t child : children)
		CHECK(waitpid(child, nullptr, WNOHANG) == 0);
	group.set("cgroup.freeze", "0");
	int woken = 0, interrupted = 0;
	for (pid_t child : children) {
		int status = child_status(child);
		woken += status == 1;
		interrupted += status == 100 + EINTR;
	}
	// Freezing ends a wait as a signal does, and the event is for whoever comes
	CHECK(interrupted == waiters);
	CHECK(woken == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Tidy, "waiters frozen as for suspend, and thawed", "[waiters][freeze][suspend]")
{
	if (skip_unless(access("/sys/power/pm_test", W_OK) == 0, "this kernel cannot try its freezer"))
		return;
	constexpr int waiters = 20;
	Instance ep;
	Fd target = event_fd();
	REQUIRE(ep.add(target, EPOLLIN | EPOLLET, 1) == 0);
	std::vector<pid_t> children;
	for (int i = 0; i < waiters; i++)
		children.push_back(start_waiter(ep, i % 2 ? -1 : 2 * patience_ms));
	for (pid_t child : children)
		until_asleep_in_wait(child);
	Setting soon("/sys/module/suspend/parameters/pm_test_delay", "1");
	spill("/sys/power/pm_test", "freezer");
	spill("/sys/power/state", "freeze");
	spill("/sys/power/pm_test", "none");
	int woken = 0, interrupted = 0;
	put(target);
	for (pid_t child : children) {
		int status = child_status(child);
		woken += status == 1;
		interrupted += status == 100 + EINTR;
	}
	CHECK(interrupted == waiters);
	CHECK(woken == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
}
