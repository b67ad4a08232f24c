// SPDX-License-Identifier: GPL-2.0
// Tracepoints tell what happens: each of them, each field, in order; and nothing else
// depends on whether they are on.
#include "trace.hpp"

#include <atomic>
#include <cstdlib>
#include <cstring>
#include <set>

#include <csignal>
#include <linux/perf_event.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "beyond/calls.hpp"
#include "catch.hpp"

namespace {

int switches = 10;

constexpr uid_t nobody = 65534;

std::string number(long n)
{
	return std::to_string(n);
}

// A case with an instance that was made before anybody looked, and a trace
struct Traced : Case {
	Trace trace;
	const std::string instance = " instance=" + number(number_of(ep.fd()));
	const std::string me = instance + " tgid=" + number(getpid());

	Traced() { trace.of(ep); }
	Lines told() const { return trace.of(ep); }

	std::string ctl(const std::string &op, int fd, const std::string &events, int data, int ret = 0) const
	{
		return "ctl:" + me + " " + op + " fd=" + number(fd) + " events=" + events + " data=" + hex(data) +
		       " ret=" + number(ret);
	}
	std::string wake(int fd, int data, const std::string &key, const std::string &what, pid_t waiter = 0) const
	{
		return "wake:" + instance + " fd=" + number(fd) + " data=" + hex(data) + " key=" + key + " " +
		       what + " waiter=" + number(waiter);
	}
	std::string deliver(int fd, int data, const std::string &events, const std::string &mask) const
	{
		return "deliver:" + me + " fd=" + number(fd) + " data=" + hex(data) + " events=" + events +
		       " mask=" + mask;
	}
	std::string not_ready(int fd, int data, const std::string &mask) const
	{
		return "not_ready:" + me + " fd=" + number(fd) + " data=" + hex(data) + " events= mask=" + mask;
	}
	std::string enter(int max, long timeout) const
	{
		return "wait_enter:" + me + " maxevents=" + number(max) + " timeout=" + number(timeout);
	}
	std::string exit(int ret) const { return "wait_exit:" + me + " ret=" + number(ret); }
	std::string remove(int fd, const std::string &by) const
	{
		return "remove:" + me + " fd=" + number(fd) + " by=" + by;
	}

	static std::string hex(int n)
	{
		char text[32];
		std::snprintf(text, sizeof text, "0x%x", static_cast<unsigned>(n));
		return text;
	}
};

// What asks for errors and hang-ups without being told to
const std::string level_mask = "IN|ERR|HUP";

// Two pages, of which the second is not there
struct HalfMapped {
	const std::size_t size = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
	char *at = static_cast<char *>(
		mmap(nullptr, 2 * size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));

	HalfMapped() { must_libc(munmap(at + size, size)); }
	~HalfMapped() { munmap(at, size); }
	HalfMapped(const HalfMapped &) = delete;
	// With room for so many
	epoll_event *events(int n) const { return reinterpret_cast<epoll_event *>(at + size) - n; }
};

int perf_open(unsigned long id, pid_t pid, int cpu)
{
	perf_event_attr attr{};

	attr.type = PERF_TYPE_TRACEPOINT;
	attr.size = sizeof attr;
	attr.config = id;
	long r = syscall(SYS_perf_event_open, &attr, pid, cpu, -1, PERF_FLAG_FD_CLOEXEC);
	return r < 0 ? -errno : static_cast<int>(r);
}

unsigned long id_of(const std::string &point)
{
	return std::stoul(slurp(tracefs + "events/myepoll/myepoll_" + point + "/id"));
}

int info_of(int fd, myepoll_info *info, std::size_t size = sizeof(myepoll_info))
{
	return call(fd, sized(MYEPOLL_IOC_INFO, size), info);
}

} // namespace

extern "C" int take_test_options(int *argc, char **argv);

extern "C" int take_test_options(int *argc, char **argv)
{
	if (const char *n = take_option(argc, argv, "--switches"))
		switches = std::atoi(n);
	return take_backend_option(argc, argv);
}

TEST_CASE_METHOD(Tidy, "create and release are told, with the number that INFO tells", "[trace]")
{
	Trace trace;
	Instance ep;
	const unsigned n = number_of(ep.fd());
	const int fd = ep.fd();
	const std::string me = "instance=" + number(n) + " tgid=" + number(getpid());
	const bool adopted = be().door() == Door::adopt;

	CHECK(trace.read(n) == Lines{ "create: " + me + " fd=" + number(fd) + " adopted=" + number(adopted) });
	Fd copy = dup_of(fd);
	ep.close();
	CHECK(trace.read(n) == Lines{});
	copy.reset();
	CHECK(trace.read(n) == Lines{ "release: " + me });
}

TEST_CASE_METHOD(Tidy, "a number belongs to one instance, whoever asks", "[trace][info]")
{
	std::set<unsigned> numbers;
	std::vector<Instance> many(100);

	for (const Instance &ep : many) {
		const unsigned n = number_of(ep.fd());
		CHECK(n);
		CHECK(numbers.insert(n).second);
		CHECK(number_of(ep.fd()) == n);
		CHECK(number_of(dup_of(ep.fd())) == n);
	}
	const unsigned n = number_of(many[7].fd());
	CHECK(in_child([&] { return number_of(many[7].fd()) == n ? 0 : 1; }) == 0);
	Instance fresh; // asked first by a child
	CHECK(in_child([&] { return number_of(fresh.fd()) > n ? 0 : 1; }) == 0);
	CHECK(numbers.insert(number_of(fresh.fd()) - 1).second == false);
}

TEST_CASE_METHOD(Case, "INFO: sizes, flags and errors", "[info]")
{
	struct {
		myepoll_info info;
		unsigned char more[16];
	} longer;
	myepoll_info info;

	std::memset(&info, 0x55, sizeof info);
	REQUIRE(info_of(ep.fd(), &info) == 0);
	CHECK(info.instance == number_of(ep.fd()));
	CHECK(info.flags == (be().door() == Door::adopt ? MYEPOLL_INFO_ADOPTED : 0u));
	CHECK(info.reserved == 0);

	std::memset(&longer, 0x55, sizeof longer);
	REQUIRE(info_of(ep.fd(), &longer.info, sizeof longer) == 0);
	CHECK(longer.info.instance == info.instance);
	for (unsigned char byte : longer.more)
		CHECK(byte == 0);
	for (std::size_t size : { std::size_t{ 0 }, std::size_t{ 8 }, sizeof info - 1 })
		CHECK(info_of(ep.fd(), &info, size) == -EINVAL);

	HalfMapped page;
	char *end = page.at + page.size;
	CHECK(info_of(ep.fd(), reinterpret_cast<myepoll_info *>(end)) == -EFAULT);
	CHECK(info_of(ep.fd(), reinterpret_cast<myepoll_info *>(end - 8)) == -EFAULT);
	CHECK(info_of(ep.fd(), reinterpret_cast<myepoll_info *>(end - 16), 32) == -EFAULT);
	CHECK(info_of(ep.fd(), reinterpret_cast<myepoll_info *>(end - 16)) == 0);
	Fd other = event_fd();
	CHECK(info_of(other, &info) == -ENOTTY);
}

TEST_CASE_METHOD(Traced, "ctl: each change is told with its result", "[trace]")
{
	Fd a = event_fd();
	const int closed = dup_of(a); // closes again at once

	CHECK(ep.add(a, EPOLLIN | EPOLLET, 7) == 0);
	CHECK(ep.add(a, EPOLLIN, 8) == -EEXIST);
	CHECK(ep.mod(a, EPOLLOUT | EPOLLONESHOT | EPOLLRDHUP | EPOLLPRI, 9) == 0);
	CHECK(ep.add(closed, EPOLLIN, 10) == -EBADF);
	CHECK(ep.add(ep.fd(), EPOLLIN, 11) == -EINVAL);
	CHECK(ep.ctl(99, a, EPOLLIN, 12) == -EINVAL);
	CHECK(ep.del(a) == 0);
	CHECK(ep.del(a) == -ENOENT);
	CHECK(told() == Lines{ ctl("ADD", a, "IN|ET", 7), ctl("ADD", a, "IN", 8, -EEXIST),
			       ctl("MOD", a, "PRI|OUT|RDHUP|ONESHOT", 9),
			       ctl("ADD", closed, "IN", 10, -EBADF), ctl("ADD", ep.fd(), "IN", 11, -EINVAL),
			       ctl("0x63", a, "IN", 12, -EINVAL), ctl("DEL", a, "", 0), remove(a, "DEL"),
			       ctl("DEL", a, "", 0, -ENOENT) });
}

TEST_CASE_METHOD(Traced, "ctl: so are those that epoll does not have", "[trace]")
{
	if (skip_unless(!be().system_calls(), "only by the module's own calls"))
		return;
	Fd a = event_fd();

	CHECK(ep.ctl(MYEPOLL_CTL_SET, a, EPOLLIN, 1) == 0);
	CHECK(ep.ctl(MYEPOLL_CTL_SET, a, EPOLLIN | EPOLLONESHOT, 2) == 0);
	CHECK(ep.ctl(MYEPOLL_CTL_DISABLE, a, 0) == 0);
	CHECK(ep.ctl(MYEPOLL_CTL_DROP, -1, 0, 3) == -ENOENT);
	CHECK(ep.ctl(MYEPOLL_CTL_DROP, -1, 0, 2) == 0);
	CHECK(told() == Lines{ ctl("SET", a, "IN", 1), ctl("SET", a, "IN|ONESHOT", 2), ctl("DISABLE", a, "", 0),
			       ctl("DROP", -1, "", 3, -ENOENT), remove(a, "DROP"), ctl("DROP", -1, "", 2) });
}

TEST_CASE_METHOD(Traced, "ctl: those of a turn are told in order, also where one fails", "[trace]")
{
	std::vector<Fd> files;
	Changes changes;
	Lines expected;

	for (int i = 0; i < 20; i++) { // more than are made at once
		files.push_back(event_fd(i < 2));
		changes.push_back(change(EPOLL_CTL_ADD, files.back(), EPOLLIN, i));
		expected.push_back(ctl("ADD", files.back(), "IN", i));
	}
	CHECK(turn(ep.fd(), changes, { .timeout_ns = 12345 }).result == 2);
	expected.push_back(enter(8, 12345));
	expected.push_back(deliver(files[0], 0, "IN", level_mask));
	expected.push_back(deliver(files[1], 1, "IN", level_mask));
	expected.push_back(exit(2));
	CHECK(told() == expected);

	changes = { change(EPOLL_CTL_DEL, files[3]), change(EPOLL_CTL_DEL, files[3]),
		    change(EPOLL_CTL_MOD, files[4], EPOLLOUT, 5) };
	CHECK(turn(ep.fd(), changes, { .room = 0, .flags = MYEPOLL_TURN_STOP }).result == 0);
	CHECK(told() == Lines{ ctl("DEL", files[3], "", 0), remove(files[3], "DEL"),
			       ctl("DEL", files[3], "", 0, -ENOENT) });
}

TEST_CASE_METHOD(Traced, "wake: queued, again, ignored", "[trace]")
{
	Fd a = event_fd();

	REQUIRE(ep.add(a, EPOLLIN, 7) == 0);
	told();
	put(a);
	put(a);
	take(a);
	CHECK(told() == Lines{ wake(a, 7, "IN", "queued"), wake(a, 7, "IN", "again"), wake(a, 7, "OUT", "ignored") });
	// A wakeup in vain
	CHECK(ep.count() == 0);
	CHECK(told() == Lines{ enter(64, 0), not_ready(a, 7, level_mask), exit(0) });
	put(a);
	CHECK(told() == Lines{ wake(a, 7, "IN", "queued") });
}

TEST_CASE_METHOD(Traced, "wake: a one-shot watch that has fired asks for nothing", "[trace]")
{
	Fd a = event_fd(1);

	REQUIRE(ep.add(a, EPOLLIN | EPOLLONESHOT, 7) == 0);
	CHECK(ep.count() == 1);
	put(a);
	CHECK(ep.count() == 0);
	CHECK(told() == Lines{ ctl("ADD", a, "IN|ONESHOT", 7), enter(64, 0),
			       deliver(a, 7, "IN", level_mask + "|ONESHOT"), exit(1), wake(a, 7, "IN", "ignored"),
			       enter(64, 0), exit(0) });
}

TEST_CASE_METHOD(Traced, "wake: a source that does not say for what", "[trace]")
{
	sigset_t signals;

	sigemptyset(&signals);
	sigaddset(&signals, SIGUSR2);
	must_libc(sigprocmask(SIG_BLOCK, &signals, nullptr));
	Fd a(must_libc(signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC)));
	REQUIRE(ep.add(a, EPOLLIN, 7) == 0);
	told();
	std::raise(SIGUSR2);
	CHECK(told() == Lines{ wake(a, 7, "", "queued") });
	signalfd_siginfo info;
	CHECK(read(a, &info, sizeof info) == sizeof info);
	must_libc(sigprocmask(SIG_UNBLOCK, &signals, nullptr));
}

TEST_CASE_METHOD(Traced, "wake: the waiter is the thread asleep, of this instance alone", "[trace]")
{
	Fd a = event_fd(), b = event_fd();
	Instance other;

	REQUIRE(ep.add(a, EPOLLIN | EPOLLET, 7) == 0);
	REQUIRE(other.add(b, EPOLLIN, 8) == 0);
	Blocked elsewhere(other);
	elsewhere.asleep();
	told();
	put(a);
	CHECK(told() == Lines{ wake(a, 7, "IN", "queued") });
	CHECK(ep.count() == 1);

	Blocked first(ep);
	first.asleep();
	Blocked second(ep);
	second.asleep();
	told();
	put(a); // the last to sleep is the first to wake
	CHECK(second.result() == 1);
	CHECK(trace.with_threads(number_of(ep.fd())) ==
	      Lines{ number(getpid()) + " " + wake(a, 7, "IN", "queued", second.tid()),
		     number(second.tid()) + " " + deliver(a, 7, "IN", level_mask + "|ET"),
		     number(second.tid()) + " " + exit(1) });
	take(a);
	CHECK(told() == Lines{ wake(a, 7, "OUT", "ignored", first.tid()) });
	put(a);
	CHECK(first.result() == 1);
	put(b);
	CHECK(elsewhere.result() == 1);
}

TEST_CASE_METHOD(Traced, "deliver: a level-triggered watch until there is nothing, others once", "[trace]")
{
	Fd level = event_fd(1), edge = event_fd(1), once = event_fd(1);

	REQUIRE(ep.add(level, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(edge, EPOLLIN | EPOLLET, 2) == 0);
	REQUIRE(ep.add(once, EPOLLIN | EPOLLONESHOT, 3) == 0);
	told();
	CHECK(data_of(ep.wait()) == Data{ 1, 2, 3 });
	CHECK(told() == Lines{ enter(64, 0), deliver(level, 1, "IN", level_mask),
			       deliver(edge, 2, "IN", level_mask + "|ET"),
			       deliver(once, 3, "IN", level_mask + "|ONESHOT"), exit(3) });
	CHECK(data_of(ep.wait()) == Data{ 1 });
	CHECK(told() == Lines{ enter(64, 0), deliver(level, 1, "IN", level_mask), exit(1) });
	take(level);
	CHECK(ep.count() == 0);
	CHECK(ep.count() == 0);
	CHECK(told() == Lines{ wake(level, 1, "OUT", "ignored"), enter(64, 0), not_ready(level, 1, level_mask),
			       exit(0), enter(64, 0), exit(0) });
}

TEST_CASE_METHOD(Traced, "deliver: so many as there is room for, and in the order of the events", "[trace]")
{
	std::vector<Fd> files;

	for (int i = 0; i < 40; i++) { // more than two batches
		files.push_back(event_fd(i % 4 != 3));
		REQUIRE(ep.add(files.back(), EPOLLIN, i) == 0);
	}
	for (int max : { 1, 3, 16, 17, 64 }) {
		CAPTURE(max);
		told();
		const Events events = ep.wait(0, max);
		Lines expected{ enter(max, 0) };
		for (const Event &event : events)
			expected.push_back(deliver(files[event.data], static_cast<int>(event.data), "IN", level_mask));
		expected.push_back(exit(static_cast<int>(events.size())));
		CHECK(told() == expected);
		CHECK(events.size() == std::min<std::size_t>(max, 30));
	}
}

TEST_CASE_METHOD(Traced, "deliver: only what is in the buffer", "[trace]")
{
	Fd a = event_fd(1), b = event_fd(1);
	HalfMapped page;

	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	told();
	CHECK(be().wait(ep.fd(), page.events(0), 1, 0) == -EFAULT);
	CHECK(told() == Lines{ enter(1, 0), exit(-EFAULT) });
	REQUIRE(ep.add(b, EPOLLIN, 2) == 0);
	told();
	CHECK(be().wait(ep.fd(), page.events(0), 8, 0) == -EFAULT);
	CHECK(told() == Lines{ enter(8, 0), exit(-EFAULT) });
	CHECK(be().wait(ep.fd(), page.events(1), 8, 0) == 1);
	CHECK(told() == Lines{ enter(8, 0), deliver(a, 1, "IN", level_mask), exit(1) });
	// And the other one has kept its place.
	CHECK(data_of(ep.wait()) == Data{ 2, 1 });
}

TEST_CASE_METHOD(Traced, "wait: timeouts in nanoseconds, and how it ends", "[trace]")
{
	CHECK(ep.count(3, 5) == 0);
	CHECK(told() == Lines{ enter(5, 3'000'000), exit(0) });
	const timespec short_time{ 0, 54321 };
	epoll_event event;
	CHECK(be().pwait2(ep.fd(), &event, 1, &short_time) == 0);
	CHECK(told() == Lines{ enter(1, 54321), exit(0) });

	// No wait at all
	CHECK(be().wait(ep.fd(), &event, 0, 0) == -EINVAL);
	CHECK(told() == Lines{});

	struct sigaction action{}, before;
	action.sa_handler = [](int) {};
	must_libc(sigaction(SIGUSR1, &action, &before));
	Blocked waiter(ep, -1);
	waiter.asleep();
	const Lines begun = told();
	REQUIRE(begun.size() == 1);
	CHECK(begun[0].rfind("wait_enter:" + me + " maxevents=8 timeout=-", 0) == 0);
	pthread_kill(waiter.thread(), SIGUSR1);
	CHECK(waiter.result() == -EINTR);
	must_libc(sigaction(SIGUSR1, &before, nullptr));
	CHECK(told() == Lines{ exit(-EINTR) });
}

TEST_CASE_METHOD(Traced, "remove: by the close of the file, and of the instance", "[trace]")
{
	Fd a = event_fd(1), b = event_fd(), c = event_fd();
	const int fa = a, fb = b, fc = c;

	for (int fd : { fa, fb, fc })
		REQUIRE(ep.add(fd, EPOLLIN, fd) == 0);
	told();
	Fd copy = dup_of(a);
	a.reset();
	CHECK(told() == Lines{});
	copy.reset();
	CHECK(told() == Lines{ remove(fa, "close") });
	const unsigned n = number_of(ep.fd());
	ep.close();
	CHECK(trace.read(n) == Lines{ "release:" + me, remove(fb, "release"), remove(fc, "release") });
}

TEST_CASE_METHOD(Traced, "nested instances tell under their own numbers", "[trace][nesting]")
{
	Instance inner;
	Fd a = event_fd();
	const std::string inside = "instance=" + number(number_of(inner.fd()));

	REQUIRE(inner.add(a, EPOLLIN, 1) == 0);
	REQUIRE(link(ep, inner) == 0);
	trace.read();
	put(a);
	CHECK(trace.read() == Lines{ "wake: " + inside + " fd=" + number(a) + " data=0x1 key=IN queued waiter=0",
				     wake(inner.fd(), inner.fd(), "IN", "queued") });
	CHECK(ep.count() == 1);
	CHECK(told() == Lines{ enter(64, 0), deliver(inner.fd(), inner.fd(), "IN", level_mask), exit(1) });
	const int fd = inner.fd();
	inner.close();
	CHECK(trace.read() == Lines{ remove(fd, "close"), "release: " + inside + " tgid=" + number(getpid()),
				     "remove: " + inside + " tgid=" + number(getpid()) + " fd=" + number(a) +
					     " by=release" });
}

TEST_CASE_METHOD(Case, "a thread that slept already tells what it finds", "[trace]")
{
	Fd a = event_fd();

	REQUIRE(ep.add(a, EPOLLIN | EPOLLET, 7) == 0);
	Blocked waiter(ep);
	waiter.asleep();
	Trace trace;
	put(a);
	REQUIRE(waiter.result() == 1);
	const std::string instance = "instance=" + number(number_of(ep.fd()));
	const std::string me = instance + " tgid=" + number(getpid());
	// Times of two CPUs may be the same, so the wakeup may come anywhere among them.
	Lines lines = trace.of(ep);
	CHECK(std::erase(lines, "wake: " + instance + " fd=" + number(a) + " data=0x7 key=IN queued waiter=" +
					number(waiter.tid())) == 1);
	CHECK(lines == Lines{ "deliver: " + me + " fd=" + number(a) + " data=0x7 events=IN mask=IN|ERR|HUP|ET",
			      "wait_exit: " + me + " ret=1" });
}

TEST_CASE_METHOD(Traced, "one tracepoint alone, and a filter by the instance", "[trace]")
{
	trace.on(false);
	Fd a = event_fd();
	Instance other;

	REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
	CHECK(trace.read() == Lines{});
	trace.write("events/myepoll/myepoll_wake/enable", "1");
	put(a);
	CHECK(ep.count() == 1);
	CHECK(trace.read() == Lines{ wake(a, 1, "IN", "queued") });

	trace.write("events/myepoll/filter", "instance == " + number(number_of(ep.fd())));
	trace.on(true);
	REQUIRE(other.add(a, EPOLLIN, 2) == 0);
	CHECK(other.count() == 1);
	CHECK(ep.count() == 1);
	CHECK(trace.read() == Lines{ enter(64, 0), deliver(a, 1, "IN", level_mask), exit(1) });
}

TEST_CASE("the fields are those of the manual, with their types", "[trace]")
{
	const struct {
		std::string point;
		std::vector<std::string> fields;
	} points[] = {
		{ "create", { "u32 instance", "int tgid", "int fd", "bool adopted" } },
		{ "release", { "u32 instance", "int tgid" } },
		{ "ctl", { "u32 instance", "int tgid", "u64 data", "int op", "int fd", "u32 events", "int ret" } },
		{ "wake", { "u32 instance", "int fd", "u64 data", "u32 key", "int what", "int waiter" } },
		{ "deliver", { "u32 instance", "int tgid", "u64 data", "int fd", "u32 events", "u32 mask" } },
		{ "not_ready", { "u32 instance", "int tgid", "u64 data", "int fd", "u32 events", "u32 mask" } },
		{ "wait_enter", { "u32 instance", "int tgid", "s64 timeout", "int maxevents" } },
		{ "wait_exit", { "u32 instance", "int tgid", "int ret" } },
		{ "remove", { "u32 instance", "int tgid", "int fd", "int why" } },
	};

	for (const auto &[point, fields] : points) {
		CAPTURE(point);
		const std::string format = slurp(tracefs + "events/myepoll/myepoll_" + point + "/format");
		std::vector<std::string> found;
		for (std::size_t at = 0; (at = format.find("\tfield:", at)) != std::string::npos;) {
			at += std::strlen("\tfield:");
			const std::string field = format.substr(at, format.find(';', at) - at);
			if (field.find(" common_") == std::string::npos)
				found.push_back(field);
		}
		CHECK(found == fields);
	}
}

TEST_CASE_METHOD(Traced, "programs find the same while tracepoints go on and off", "[trace][switched]")
{
	trace.on(false);
	std::atomic<bool> over{ false };
	std::atomic<long> rounds{ 0 }, failed{ 0 };
	std::vector<std::thread> threads;
	Fd there = event_fd(), back = event_fd();
	Instance answers;

	// Each event is waited for; the one that is lost ends the round.
	REQUIRE(ep.add(there, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(answers.add(back, EPOLLIN | EPOLLONESHOT, 2) == 0);
	threads.emplace_back([&] {
		while (!over) {
			put(there);
			if (answers.count(patience_ms) != 1) {
				failed++;
				break;
			}
			take(back);
			failed += answers.mod(back, EPOLLIN | EPOLLONESHOT, 2) != 0;
			rounds++;
		}
		over = true;
		put(there);
	});
	threads.emplace_back([&] {
		for (;;) {
			if (ep.count(patience_ms) != 1)
				failed++;
			if (over)
				break;
			take(there);
			put(back);
		}
	});
	// And calls of the other kinds, alone on their instance
	threads.emplace_back([&] {
		while (!over) {
			Instance own;
			std::vector<Fd> files;
			for (int i = 0; i < 20; i++) {
				files.push_back(event_fd(1));
				failed += own.add(files.back(), EPOLLIN | (i % 2 ? +EPOLLET : 0), i) != 0;
			}
			failed += own.count() != 20;
			failed += own.count() != 10;
			for (int i = 0; i < 20; i += 2)
				take(files[i]);
			failed += own.count() != 0;
			failed += own.del(files[0]) != 0;
			files[1].reset();
			put(files[2]);
			put(files[3]);
			failed += own.count() != 2;
		}
	});
	for (int i = 0; i < switches; i++) {
		trace.on(true);
		const long before = rounds;
		CHECK(eventually([&] { return rounds > before + 2 || failed; }));
		trace.on(false);
	}
	over = true;
	put(there);
	put(back);
	for (std::thread &thread : threads)
		thread.join();
	CHECK(failed == 0);
	CHECK(rounds > switches);
}

TEST_CASE_METHOD(Case, "perf counts them, and holds the module meanwhile", "[trace]")
{
	const std::string refcnt = "/sys/module/myepoll/refcnt";
	const long before = std::stol(slurp(refcnt));
	Fd a = event_fd();
	std::uint64_t count = 0;

	{
		Fd perf(must(perf_open(id_of("ctl"), 0, -1), "perf_event_open"));
		CHECK(std::stol(slurp(refcnt)) > before);
		CHECK(ep.add(a, EPOLLIN) == 0);
		CHECK(ep.mod(a, EPOLLIN) == 0);
		CHECK(ep.del(a) == 0);
		CHECK(read(perf, &count, sizeof count) == sizeof count);
		CHECK(count == 3);
	}
	CHECK(eventually([&] { return std::stol(slurp(refcnt)) == before; }));
}

TEST_CASE_METHOD(Case, "a user who is not root sees the numbers of his own instances, and no tracepoint", "[trace]")
{
	const unsigned long id = id_of("wake");
	const unsigned n = number_of(ep.fd());

	CHECK(in_child([&] {
		      if (setgid(nobody) || setuid(nobody))
			      return 1;
		      if (access((tracefs + "events/myepoll").c_str(), F_OK) == 0)
			      return 2;
		      if (perf_open(id, -1, 0) >= 0)
			      return 3;
		      return number_of(ep.fd()) == n ? 0 : 4;
	      }) == 0);
}
