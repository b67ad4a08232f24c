// SPDX-License-Identifier: GPL-2.0
// Options of an instance: fair, balance, min_wait.
#include <algorithm>
#include <memory>

#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.hpp"
#include "catch.hpp"

static_assert(sizeof(myepoll_options) == 16);

namespace {

struct Listener {
	Fd fd{ must_libc(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0)) };
	sockaddr_in address{};

	explicit Listener(int backlog = 128)
	{
		socklen_t length = sizeof(address);
		address.sin_family = AF_INET;
		address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		must_libc(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof(address)));
		must_libc(getsockname(fd, reinterpret_cast<sockaddr *>(&address), &length));
		must_libc(listen(fd, backlog));
	}
	Fd connection() const
	{
		Fd client(must_libc(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0)));
		must_libc(connect(client, reinterpret_cast<const sockaddr *>(&address), sizeof(address)));
		return client;
	}
};

// What this thread does meanwhile comes before all that threads do that it wakes.
class Before {
public:
	explicit Before(std::initializer_list<pid_t> others)
	{
		cpu_set_t one;
		CPU_ZERO(&one);
		CPU_SET(0, &one);
		for (pid_t tid : others)
			must_libc(sched_setaffinity(tid, sizeof one, &one), "sched_setaffinity");
		must_libc(sched_getaffinity(0, sizeof before_, &before_));
		must_libc(sched_setaffinity(0, sizeof one, &one), "sched_setaffinity");
		set(SCHED_FIFO, 1);
	}
	Before(const Before &) = delete;
	~Before()
	{
		set(SCHED_OTHER, 0);
		sched_setaffinity(0, sizeof before_, &before_);
	}

private:
	cpu_set_t before_;

	static void set(int policy, int priority)
	{
		sched_param param{};
		param.sched_priority = priority;
		must_libc(sched_setscheduler(0, policy, &param), "sched_setscheduler");
	}
};

// Instances that watch a file, each with a thread that waits, takes what it is told of, and
// waits again
class Workers {
public:
	Workers(unsigned n, const std::function<void(Instance &)> &prepare, std::function<bool()> take)
		: take_(std::move(take))
	{
		for (unsigned i = 0; i < n; i++) {
			workers_.push_back(std::make_unique<Worker>());
			Worker &w = *workers_.back();
			prepare(w.ep);
			must(w.ep.add(end_.r, EPOLLIN, 99), "the end");
			w.thread = std::thread([this, &w] { w.tid = gettid(); work(w); });
		}
	}
	~Workers()
	{
		end_.w.reset();
		for (auto &w : workers_)
			w->thread.join();
	}
	void all_asleep() const
	{
		for (auto &w : workers_)
			if (!eventually([&] { return w->tid && sleeps_in_wait(getpid(), w->tid); }))
				throw std::runtime_error("a worker does not fall asleep");
	}
	int wakeups() const { return sum(&Worker::wakeups); }
	// How often their threads have gone to sleep: a wait that is woken in vain sleeps on
	long sleeps() const
	{
		long n = 0;
		for (auto &w : workers_) {
			const std::string status = slurp("/proc/self/task/" + std::to_string(w->tid) + "/status");
			const std::string key = "\nvoluntary_ctxt_switches:";
			n += std::stol(status.substr(status.find(key) + key.size()));
		}
		return n;
	}
	int taken() const { return sum(&Worker::taken); }
	int most() const
	{
		int n = 0;
		for (auto &w : workers_)
			n = std::max(n, w->taken.load());
		return n;
	}

private:
	struct Worker {
		Instance ep;
		std::thread thread;
		std::atomic<pid_t> tid{ 0 };
		std::atomic<int> wakeups{ 0 }, taken{ 0 };
	};
	int sum(std::atomic<int> Worker::*what) const
	{
		int n = 0;
		for (auto &w : workers_)
			n += (*w).*what;
		return n;
	}
	void work(Worker &w)
	{
		for (;;) {
			Events events = w.ep.wait(-1, 2);
			if (std::ranges::any_of(events, [](const Event &e) { return e.data == 99; }))
				return;
			w.wakeups++;
			w.taken += take_();
		}
	}
	std::function<bool()> take_;
	Ends end_ = make_pipe();
	std::vector<std::unique_ptr<Worker>> workers_;
};

bool accept_one(int listener)
{
	Fd connection(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC));
	return connection >= 0;
}

} // namespace

TEST_CASE_METHOD(Beyond, "options: set, read back, and shown behind epoll's lines of fdinfo", "[beyond][options]")
{
	Fd a = event_fd();
	REQUIRE(ep.add(a, EPOLLIN) == 0);
	myepoll_options got{ 9, 9, { 9, 9 } };
	const std::string plain = fdinfo(ep.fd());

	CHECK(call(ep.fd(), MYEPOLL_IOC_GET_OPTIONS, &got) == 0);
	CHECK((got.flags == 0 && got.min_wait == 0 && got.reserved[0] == 0 && got.reserved[1] == 0));
	CHECK(set_options(ep.fd(), MYEPOLL_OPT_FAIR | MYEPOLL_OPT_BALANCE, 200) == 0);
	CHECK(call(ep.fd(), MYEPOLL_IOC_GET_OPTIONS, &got) == 0);
	CHECK((got.flags == 3 && got.min_wait == 200));
	CHECK(fdinfo(ep.fd()) == plain + "myepoll: fair:1 balance:1 min_wait:200\n");
	CHECK(set_options(ep.fd(), MYEPOLL_OPT_BALANCE) == 0);
	CHECK(fdinfo(ep.fd()) == plain + "myepoll: fair:0 balance:1 min_wait:0\n");
	CHECK(set_options(ep.fd(), 0) == 0);
	CHECK(fdinfo(ep.fd()) == plain);
}

TEST_CASE_METHOD(Beyond, "options: what does not exist is refused, and changes nothing", "[beyond][options]")
{
	struct {
		myepoll_options known;
		std::uint64_t more;
	} longer{ { MYEPOLL_OPT_FAIR, 5, {} }, 0 };
	myepoll_options got;

	CHECK(set_options(ep.fd(), 4) == -EINVAL);
	CHECK(set_options(ep.fd(), ~0u) == -EINVAL);
	CHECK(set_options(ep.fd(), 0, MYEPOLL_MAX_MIN_WAIT + 1) == -EINVAL);
	for (unsigned i : { 0, 1 }) {
		myepoll_options arg{};
		arg.reserved[i] = 1;
		CHECK(call(ep.fd(), MYEPOLL_IOC_SET_OPTIONS, &arg) == -EINVAL);
	}
	CHECK(call(ep.fd(), MYEPOLL_IOC_SET_OPTIONS, nullptr) == -EFAULT);
	CHECK(call(ep.fd(), MYEPOLL_IOC_GET_OPTIONS, nullptr) == -EFAULT);
	CHECK(call(ep.fd(), MYEPOLL_IOC_GET_OPTIONS, &got) == 0);
	CHECK((got.flags == 0 && got.min_wait == 0));

	CHECK(call(ep.fd(), sized(MYEPOLL_IOC_SET_OPTIONS, sizeof(longer)), &longer) == 0);
	longer.more = 1;
	CHECK(call(ep.fd(), sized(MYEPOLL_IOC_SET_OPTIONS, sizeof(longer)), &longer) == -E2BIG);
	CHECK(call(ep.fd(), sized(MYEPOLL_IOC_GET_OPTIONS, sizeof(longer)), &longer) == 0);
	CHECK((longer.known.flags == MYEPOLL_OPT_FAIR && longer.known.min_wait == 5 && longer.more == 0));
	CHECK(call(ep.fd(), sized(MYEPOLL_IOC_SET_OPTIONS, 8), &longer) == -EINVAL);
}

TEST_CASE_METHOD(Beyond, "fair: the thread that has slept longest is woken first", "[beyond][fair]")
{
	Fd a = event_fd();
	REQUIRE(ep.add(a, EPOLLIN | EPOLLET) == 0);
	for (bool fair : { false, true }) {
		CAPTURE(fair);
		REQUIRE(set_options(ep.fd(), fair ? MYEPOLL_OPT_FAIR : 0) == 0);
		Blocked first(ep), second(ep), third(ep, 1);
		first.asleep();
		REQUIRE(third.result() == 0); // a timeout does not disturb the order
		Blocked last(ep);
		second.asleep();
		last.asleep();
		put(a);
		REQUIRE(eventually([&] { return first.done() || second.done() || last.done(); }));
		settle();
		if (fair)
			CHECK_FALSE(last.done());
		else
			CHECK(last.done());
		put(a);
		put(a);
		eventually([&] { put(a); return first.done() && second.done() && last.done(); });
		take(a);
		ep.wait();
	}
}

TEST_CASE_METHOD(Beyond, "fair: instances take turns at a file that they watch exclusively", "[beyond][fair]")
{
	for (bool fair : { false, true }) {
		CAPTURE(fair);
		Fd a = event_fd();
		std::uint64_t n;
		Workers workers(4, [&](Instance &own) {
			must(set_options(own.fd(), fair ? MYEPOLL_OPT_FAIR : 0));
			must(own.add(a, EPOLLIN | EPOLLEXCLUSIVE, 1));
		}, [&] { return read(a, &n, sizeof(n)) == sizeof(n); });

		for (int i = 0; i < 40; i++) {
			workers.all_asleep();
			put(a);
			REQUIRE(eventually([&] { return workers.taken() == i + 1; }));
		}
		CHECK(workers.wakeups() <= 44);
		if (fair)
			CHECK(workers.most() <= 13);
		else
			CHECK(workers.most() >= 36); // as in epoll: always the same
	}
}

TEST_CASE_METHOD(Beyond, "balance: one worker is woken for a connection, each in turn", "[beyond][balance]")
{
	for (bool balance : { false, true }) {
		CAPTURE(balance);
		Listener listener;
		std::vector<Fd> clients;
		Workers workers(4, [&](Instance &own) {
			must(set_options(own.fd(), balance ? MYEPOLL_OPT_BALANCE : 0));
			must(own.add(listener.fd, EPOLLIN, 1));
		}, [&] { return accept_one(listener.fd); });

		workers.all_asleep();
		const long before = workers.sleeps();
		for (int i = 0; i < 40; i++) {
			workers.all_asleep();
			clients.push_back(listener.connection());
			REQUIRE(eventually([&] { return workers.taken() == i + 1; }));
			// All that were woken have looked.
			settle(5);
		}
		workers.all_asleep();
		const long sleeps = workers.sleeps() - before;
		if (balance) {
			CHECK(sleeps <= 60);
			CHECK(workers.most() <= 13);
		} else {
			CHECK(sleeps >= 100); // the herd
		}
	}
}

TEST_CASE_METHOD(Beyond, "balance: of a worker that is busy, another takes the connection", "[beyond][balance]")
{
	Listener listener;
	Instance busy;

	for (const Instance *own : { &busy, &ep }) {
		REQUIRE(set_options(own->fd(), MYEPOLL_OPT_BALANCE) == 0);
		REQUIRE(own->add(listener.fd, EPOLLIN, 1) == 0);
	}
	Blocked waiter(ep);
	waiter.asleep();
	Fd client = listener.connection(); // nobody waits on `busy`, which is first
	CHECK(waiter.result() == 1);
	CHECK(busy.wait() == Events{ { EPOLLIN, 1 } });
}

TEST_CASE_METHOD(Beyond, "balance: a worker that gathers keeps no connection from another", "[beyond][balance][min_wait]")
{
	Listener listener;
	Instance gathers;

	REQUIRE(set_options(gathers.fd(), MYEPOLL_OPT_BALANCE, MYEPOLL_MAX_MIN_WAIT) == 0);
	REQUIRE(set_options(ep.fd(), MYEPOLL_OPT_BALANCE) == 0);
	for (int i = 0; i < 4; i++) {
		CAPTURE(i);
		for (const Instance *own : { &gathers, &ep })
			REQUIRE(own->add(listener.fd, EPOLLIN, 1) == 0);
		Blocked first(gathers, 2500), second(ep, patience_ms / 3);
		first.asleep();
		second.asleep();
		Fd client = listener.connection(); // the one that gathers is asked first
		CHECK(second.result() == 1);
		REQUIRE(accept_one(listener.fd));
		first.result();
		for (const Instance *own : { &gathers, &ep })
			REQUIRE(own->del(listener.fd) == 0);
	}
	// A buffer of one event is full with the first.
	for (const Instance *own : { &gathers, &ep })
		REQUIRE(own->add(listener.fd, EPOLLIN, 1) == 0);
	Blocked first(gathers, -1, 1), second(ep, 500);
	first.asleep();
	second.asleep();
	Fd client = listener.connection();
	CHECK(first.result() == 1);
	CHECK(second.result() == 0);
}

TEST_CASE_METHOD(Beyond, "balance: a watch that has been told and goes tells the next", "[beyond][balance]")
{
	const std::pair<const char *, std::function<void(Instance &, int)>> ways[] = {
		{ "DEL", [](Instance &own, int fd) { must(own.del(fd)); } },
		{ "MOD", [](Instance &own, int fd) { must(own.mod(fd, 0)); } },
		{ "DISABLE", [](Instance &own, int fd) { own.ctl(MYEPOLL_CTL_DISABLE, fd, 0); } },
		{ "DROP", [](Instance &own, int) { must(own.ctl(MYEPOLL_CTL_DROP, -1, 0, 1)); } },
		{ "close", [](Instance &own, int) { own.close(); } },
	};
	for (const auto &[name, leave] : ways) {
		CAPTURE(name);
		Listener listener;
		Instance first, second;
		for (const Instance *own : { &first, &second }) {
			REQUIRE(set_options(own->fd(), MYEPOLL_OPT_BALANCE) == 0);
			REQUIRE(own->add(listener.fd, EPOLLIN | EPOLLONESHOT, 1) == 0);
		}
		Blocked told(first), other(second);
		told.asleep();
		other.asleep();
		Fd client = listener.connection();
		CHECK(told.result() == 1);
		settle();
		CHECK_FALSE(other.done());
		leave(first, listener.fd);
		CHECK(other.result() == 1);
		CHECK(data_of(other.events()) == Data{ 1 });
	}
}

TEST_CASE_METHOD(Beyond, "balance: what a one-shot watch that has fired does not ask for, others hear of",
		 "[beyond][balance]")
{
	Listener listener;
	Instance other;
	for (const Instance *own : { &ep, &other }) {
		REQUIRE(set_options(own->fd(), MYEPOLL_OPT_BALANCE) == 0);
		REQUIRE(own->add(listener.fd, EPOLLIN | EPOLLONESHOT, 1) == 0);
	}
	// Of the first two waiters each is woken, but only one has something to report.
	Blocked one(ep), two(ep, 3000), its(other);
	one.asleep();
	two.asleep();
	its.asleep();
	Fd client, second;
	{
		// Else the first waiter may have its event before the second connection comes.
		const Before first({ one.tid(), two.tid(), its.tid() });
		client = listener.connection();
		second = listener.connection();
	}
	CHECK(its.result() == 1);
	CHECK(one.result() + two.result() == 1);
}

TEST_CASE_METHOD(Beyond, "balance: MOD works, and the mask is the program's own", "[beyond][balance]")
{
	Listener listener;
	Pair connected = make_pair(SOCK_STREAM);

	REQUIRE(set_options(ep.fd(), MYEPOLL_OPT_BALANCE) == 0);
	REQUIRE(ep.add(listener.fd, EPOLLIN, 1) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { listener.fd, EPOLLIN | EPOLLERR | EPOLLHUP, 1 } });
	CHECK(list(ep.fd())[0].events == (EPOLLIN | EPOLLERR | EPOLLHUP));
	CHECK(ep.mod(listener.fd, 0, 2) == 0);
	Fd client = listener.connection();
	CHECK(ep.wait() == Events{});
	CHECK(ep.mod(listener.fd, EPOLLIN | EPOLLONESHOT, 3) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 3 } });
	CHECK(ep.wait() == Events{});
	CHECK(ep.mod(listener.fd, EPOLLIN | EPOLLET, 4) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 4 } });
	CHECK(ep.mod(listener.fd, EPOLLIN | EPOLLEXCLUSIVE) == -EINVAL);
	CHECK(set(listener.fd, EPOLLIN, 5) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 5 } });

	// Where nobody waits, others hear all the same: of a watch that MOD has changed, ...
	Instance other;
	REQUIRE(set_options(other.fd(), MYEPOLL_OPT_BALANCE) == 0);
	REQUIRE(ep.mod(listener.fd, EPOLLIN, 6) == 0);
	REQUIRE(accept_one(listener.fd));
	REQUIRE(other.add(listener.fd, EPOLLIN, 7) == 0);
	{
		Blocked its(other);
		its.asleep();
		Fd second = listener.connection();
		CHECK(its.result() == 1);
	}
	REQUIRE(accept_one(listener.fd));
	REQUIRE(other.del(listener.fd) == 0);

	// ... and of a one-shot one that has fired.
	Fd third = listener.connection();
	REQUIRE(ep.mod(listener.fd, EPOLLIN | EPOLLONESHOT, 6) == 0);
	REQUIRE(ep.wait().size() == 1);
	REQUIRE(accept_one(listener.fd));
	REQUIRE(other.add(listener.fd, EPOLLIN, 7) == 0);
	Blocked mine(ep, 300), its(other);
	its.asleep();
	Fd fourth = listener.connection();
	CHECK(its.result() == 1);
	CHECK(mine.result() == 0);

	// What a program has asked for itself stays as in epoll.
	REQUIRE(ep.del(listener.fd) == 0);
	REQUIRE(ep.add(listener.fd, EPOLLIN | EPOLLEXCLUSIVE, 1) == 0);
	CHECK(ep.mod(listener.fd, EPOLLIN) == -EINVAL);
}

TEST_CASE_METHOD(Beyond, "balance: only listening sockets", "[beyond][balance]")
{
	Pair pair = make_pair(SOCK_STREAM);
	Fd a = event_fd();
	Instance other;

	for (const Instance *own : { &ep, &other }) {
		REQUIRE(set_options(own->fd(), MYEPOLL_OPT_BALANCE) == 0);
		REQUIRE(own->add(pair.a, EPOLLIN, 1) == 0);
		REQUIRE(own->add(a, EPOLLIN, 2) == 0);
	}
	for (int fd : { int(pair.b), int(a) }) {
		Blocked one(ep, 3000), two(other, 3000);
		one.asleep();
		two.asleep();
		if (fd == a)
			put(a);
		else
			send_byte(fd);
		CHECK(one.result() == 1);
		CHECK(two.result() == 1);
		if (fd == a)
			take(a);
		else
			drain(pair.a);
	}
}

TEST_CASE_METHOD(Beyond, "min_wait: a wait gathers for so long", "[beyond][min_wait]")
{
	Fd a = event_fd(1), b = event_fd();
	REQUIRE(set_options(ep.fd(), 0, 50'000) == 0);
	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(b, EPOLLIN, 2) == 0);

	CHECK(elapsed_of([&] { CHECK(ep.wait(-1).size() == 1); }) >= milliseconds(50));
	CHECK(elapsed_of([&] { CHECK(ep.wait(0).size() == 1); }) < milliseconds(50));
	CHECK(elapsed_of([&] { CHECK(ep.wait(20).size() == 1); }) < milliseconds(50));

	Blocked waiter(ep);
	waiter.asleep();
	put(b);
	CHECK(waiter.result() == 2);
	CHECK(data_of(waiter.events()) == Data{ 1, 2 });
}

TEST_CASE_METHOD(Beyond, "min_wait: not longer, if there are as many events as the buffer takes",
		 "[beyond][min_wait]")
{
	std::vector<Fd> files;
	REQUIRE(set_options(ep.fd(), 0, MYEPOLL_MAX_MIN_WAIT) == 0);
	for (unsigned i = 0; i < 8; i++) {
		files.push_back(event_fd(i < 4));
		REQUIRE(ep.add(files.back(), EPOLLIN, i) == 0);
	}
	// The guest may be slow, so the best of some tries counts.
	auto best = [](const std::function<void()> &body) {
		auto least = milliseconds(patience_ms);
		for (int i = 0; i < 5; i++)
			least = std::min(least, elapsed_of(body));
		return least;
	};
	CHECK(best([&] { CHECK(ep.wait(-1, 4).size() == 4); }) < milliseconds(60));
	CHECK(best([&] { CHECK(ep.wait(-1, 1).size() == 1); }) < milliseconds(60));
	CHECK(elapsed_of([&] { CHECK(ep.wait(-1, 5).size() == 4); }) >= milliseconds(65));

	CHECK(best([&] {
		      std::uint64_t n;
		      for (unsigned i = 4; i < 8; i++)
			      (void)!read(files[i], &n, sizeof(n));
		      ep.wait(0);
		      const auto start = Clock::now();
		      Blocked waiter(ep, patience_ms, 6);
		      waiter.asleep();
		      put(files[4]);
		      put(files[4]); // once more is no other event
		      settle(5);
		      put(files[5]);
		      const int all = waiter.result();
		      if (Clock::now() - start < milliseconds(60))
			      CHECK(all == 6);
	      }) < milliseconds(60));
}

TEST_CASE_METHOD(Beyond, "min_wait: after that, the first event ends the wait", "[beyond][min_wait]")
{
	Fd a = event_fd();
	REQUIRE(set_options(ep.fd(), 0, 1000) == 0);
	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	CHECK(elapsed_of([&] { CHECK(ep.wait(20).empty()); }) >= milliseconds(20));
	Blocked waiter(ep);
	waiter.asleep();
	settle();
	put(a);
	CHECK(waiter.result() == 1);
}

TEST_CASE_METHOD(Beyond, "min_wait: who gathers leaves the wakeup to the next", "[beyond][min_wait]")
{
	Fd a = event_fd();
	REQUIRE(ep.add(a, EPOLLIN | EPOLLET, 1) == 0);
	// A slow guest may find the second no longer gathering, and woken first.
	bool left = false;
	for (int i = 0; i < 10 && !left; i++) {
		REQUIRE(set_options(ep.fd(), 0) == 0);
		Blocked sleeps(ep, 1000);
		sleeps.asleep();
		REQUIRE(set_options(ep.fd(), 0, MYEPOLL_MAX_MIN_WAIT) == 0);
		Blocked gathers(ep, 500);
		gathers.asleep();
		put(a);
		left = sleeps.result() == 1;
		CHECK(gathers.result() == !left);
	}
	CHECK(left);
}

TEST_CASE_METHOD(Beyond, "min_wait: many that gather lose nothing", "[beyond][min_wait]")
{
	constexpr int threads = 4, rounds = 200;
	Fd a = event_fd(), stop = event_fd();
	std::atomic<int> taken{ 0 };
	std::vector<std::thread> waiters;

	REQUIRE(set_options(ep.fd(), 0, 300) == 0);
	REQUIRE(ep.add(a, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(stop, EPOLLIN, 2) == 0);
	for (int i = 0; i < threads; i++)
		waiters.emplace_back([&] {
			for (;;)
				for (const Event &event : ep.wait(-1, 2)) {
					if (event.data == 2)
						return;
					taken++;
				}
		});
	for (int i = 0; i < rounds; i++) {
		const int before = taken;
		put(a);
		if (!eventually([&] { return taken != before; }, patience_ms / 3)) {
			FAIL_CHECK("lost in round " << i);
			break;
		}
	}
	put(stop);
	for (auto &waiter : waiters)
		waiter.join();
}
