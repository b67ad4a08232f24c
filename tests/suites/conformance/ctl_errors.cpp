// SPDX-License-Identifier: GPL-2.0
// The order in which epoll_ctl finds fault. The steps are those of the
// contract: in a call with two faults the earlier step answers.
#include <cerrno>
#include <climits>

#include <fcntl.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "catch.hpp"
#include "support.hpp"

namespace {

constexpr int unknown_op = 99;
constexpr int any_op[] = { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, unknown_op };

int closed_fd()
{
	Fd fd = event_fd();
	return fd; // closed on return
}

Fd path_fd()
{
	return Fd(must_libc(open("/proc/self/mounts", O_PATH | O_CLOEXEC)));
}

Fd without_poll()
{
	return Fd(must_libc(open("/dev/null", O_RDWR | O_CLOEXEC)));
}

int ctl(int epfd, int op, int fd, std::uint32_t events = EPOLLIN)
{
	epoll_event e = ev(events);
	return be().ctl(epfd, op, fd, &e);
}

} // namespace

TEST_CASE_METHOD(Case, "1: an unreadable event is EFAULT before every fault but the descriptor's",
		 "[ctl]")
{
	Fd target = event_fd();
	Fd file = without_poll();
	epoll_event *bad = bad_event();

	for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD, unknown_op, 0, -1, INT_MAX }) {
		CAPTURE(op);
		CHECK(be().ctl(ep.fd(), op, target, bad) == -EFAULT);
		CHECK(be().ctl(ep.fd(), op, target, nullptr) == -EFAULT);
		CHECK(be().ctl(ep.fd(), op, -1, bad) == -EFAULT);	 // 3
		CHECK(be().ctl(ep.fd(), op, file, bad) == -EFAULT);	 // 4
		CHECK(be().ctl(ep.fd(), op, ep.fd(), bad) == -EFAULT); // 6

		// The module is found through the descriptor, so it is second there.
		CHECK(be().ctl(-1, op, target, bad) == (be().descriptor_first() ? -EBADF : -EFAULT));
		CHECK(be().ctl(target, op, target, bad) ==
		      (be().descriptor_first() ? be().not_an_instance() : -EFAULT));
	}
	REQUIRE(ep.add(target, EPOLLIN) == 0);
	CHECK(be().ctl(ep.fd(), EPOLL_CTL_ADD, target, bad) == -EFAULT); // 9
	CHECK(watches(ep.fd()).size() == 1);
}

TEST_CASE_METHOD(Case, "1: DEL never touches the event", "[ctl]")
{
	Fd target = event_fd();

	for (epoll_event *event : { static_cast<epoll_event *>(nullptr), bad_event() }) {
		REQUIRE(ep.add(target, EPOLLIN) == 0);
		CHECK(be().ctl(ep.fd(), EPOLL_CTL_DEL, target, event) == 0);
		CHECK(be().ctl(ep.fd(), EPOLL_CTL_DEL, target, event) == -ENOENT);
	}
}

TEST_CASE_METHOD(Case, "2: an instance that is not open, or O_PATH, is EBADF", "[ctl]")
{
	Fd target = event_fd();
	Fd file = without_poll();
	Fd path = path_fd();
	int closed = closed_fd();

	for (int op : any_op) {
		for (int bad : { -1, INT_MAX, closed, int(path) }) {
			CAPTURE(op, bad);
			CHECK(ctl(bad, op, target) == -EBADF);
			CHECK(ctl(bad, op, file) == -EBADF);				// 4
			CHECK(ctl(bad, op, bad) == -EBADF);				// 6
			CHECK(ctl(bad, op, target, EPOLLEXCLUSIVE | EPOLLPRI) == -EBADF); // 7
		}
	}
}

TEST_CASE_METHOD(Case, "3: a target that is not open, or O_PATH, is EBADF", "[ctl]")
{
	Fd target = event_fd();
	Fd path = path_fd();
	int closed = closed_fd();

	for (int op : any_op) {
		for (int bad : { -1, INT_MAX, closed, int(path) }) {
			CAPTURE(op, bad);
			CHECK(ctl(ep.fd(), op, bad) == -EBADF);
			CHECK(ctl(ep.fd(), op, bad, EPOLLEXCLUSIVE | EPOLLPRI) == -EBADF); // 7
			// 6: no instance
			CHECK(ctl(target, op, bad) ==
			      (be().descriptor_first() ? be().not_an_instance() : -EBADF));
		}
	}
}

TEST_CASE_METHOD(Case, "4: a target without ->poll is EPERM, for every operation", "[ctl]")
{
	Fd regular(must_libc(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));
	Fd directory(must_libc(open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC)));
	Fd memory(must_libc(memfd_create("test", MFD_CLOEXEC)));
	Fd null = without_poll();
	Fd zero(must_libc(open("/dev/zero", O_RDWR | O_CLOEXEC)));
	Fd target = event_fd();

	for (int file : { int(regular), int(directory), int(memory), int(null), int(zero) }) {
		for (int op : any_op) {
			CAPTURE(file, op);
			CHECK(ctl(ep.fd(), op, file) == -EPERM);
			CHECK(ctl(ep.fd(), op, file, EPOLLEXCLUSIVE | EPOLLPRI) == -EPERM); // 7
			// 6: no instance, even the same file
			CHECK(ctl(target, op, file) ==
			      (be().descriptor_first() ? be().not_an_instance() : -EPERM));
			CHECK(ctl(file, op, file) ==
			      (be().descriptor_first() ? be().not_an_instance() : -EPERM));
		}
	}
}

TEST_CASE_METHOD(Case, "6: a file that is no instance is EINVAL", "[ctl]")
{
	Fd target = event_fd();
	Fd other = event_fd();

	for (int op : any_op) {
		CAPTURE(op);
		CHECK(ctl(other, op, target) == be().not_an_instance());
		CHECK(ctl(other, op, target, EPOLLEXCLUSIVE | EPOLLPRI) == be().not_an_instance());
	}
}

TEST_CASE_METHOD(Case, "6: an instance as its own target is EINVAL, also through a dup", "[ctl]")
{
	Fd again = dup_of(ep.fd());

	for (int op : any_op) {
		CAPTURE(op);
		CHECK(ctl(ep.fd(), op, ep.fd()) == -EINVAL); // and not 9: ENOENT
		CHECK(ctl(ep.fd(), op, again) == -EINVAL);
		CHECK(ctl(again, op, ep.fd()) == -EINVAL);
	}
}

TEST_CASE_METHOD(Case, "7: EPOLLEXCLUSIVE in a MOD is EINVAL, before ENOENT", "[ctl][exclusive]")
{
	Fd target = event_fd();

	CHECK(ep.mod(target, EPOLLIN | EPOLLEXCLUSIVE) == -EINVAL);
	CHECK(ep.mod(target, EPOLLIN) == -ENOENT);
	REQUIRE(ep.add(target, EPOLLIN) == 0);
	CHECK(ep.mod(target, EPOLLIN | EPOLLEXCLUSIVE) == -EINVAL);
	CHECK(ep.ctl(EPOLL_CTL_DEL, target, EPOLLIN | EPOLLEXCLUSIVE) == 0);
}

TEST_CASE_METHOD(Case, "7: EPOLLEXCLUSIVE goes with IN, OUT, ERR, HUP, WAKEUP and ET alone, before EEXIST",
		 "[ctl][exclusive]")
{
	constexpr std::uint32_t good = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP |
				       EPOLLET | EPOLLEXCLUSIVE;
	Fd target = event_fd();
	Fd there = event_fd();
	REQUIRE(ep.add(there, EPOLLIN) == 0);

	for (int bit = 0; bit < 32; bit++) {
		std::uint32_t event = 1U << bit;
		bool fine = event & good;
		CAPTURE(bit);
		CHECK(ep.add(target, EPOLLEXCLUSIVE | event) == (fine ? 0 : -EINVAL));
		CHECK(ep.del(target) == (fine ? 0 : -ENOENT));
		CHECK(ep.add(there, EPOLLEXCLUSIVE | event) == (fine ? -EEXIST : -EINVAL));
	}
	CHECK(ep.add(target, good) == 0);
}

TEST_CASE_METHOD(Case, "7: EPOLLEXCLUSIVE on an instance is EINVAL, before ELOOP and EEXIST",
		 "[ctl][exclusive][nesting]")
{
	Instance inner, outer;

	CHECK(ep.add(inner.fd(), EPOLLIN | EPOLLEXCLUSIVE) == -EINVAL);
	REQUIRE(outer.add(ep.fd(), EPOLLIN) == 0);
	CHECK(ep.add(outer.fd(), EPOLLIN | EPOLLEXCLUSIVE) == -EINVAL); // 8: a cycle
	CHECK(outer.add(ep.fd(), EPOLLIN | EPOLLEXCLUSIVE) == -EINVAL); // 9
}

TEST_CASE_METHOD(Case, "8: ELOOP is for ADD alone: MOD and DEL of what would be a cycle are ENOENT",
		 "[ctl][nesting]")
{
	Instance outer;

	REQUIRE(outer.add(ep.fd(), EPOLLIN) == 0);
	CHECK(ep.add(outer.fd(), EPOLLIN) == -ELOOP);
	CHECK(ep.mod(outer.fd(), EPOLLIN) == -ENOENT);
	CHECK(ep.del(outer.fd()) == -ENOENT);
	CHECK(ep.ctl(unknown_op, outer.fd(), EPOLLIN) == -EINVAL);
	CHECK(watches(ep.fd()).empty());
}

TEST_CASE_METHOD(Case, "9: EEXIST, ENOENT; an unknown operation is EINVAL, last", "[ctl]")
{
	Fd target = event_fd();

	CHECK(ep.mod(target, EPOLLIN) == -ENOENT);
	CHECK(ep.del(target) == -ENOENT);
	for (int op : { unknown_op, 0, 4, -1, INT_MIN, INT_MAX }) {
		CAPTURE(op);
		CHECK(ctl(ep.fd(), op, target) == -EINVAL);
	}
	CHECK(ep.add(target, EPOLLIN) == 0);
	CHECK(ep.add(target, EPOLLIN) == -EEXIST);
	for (int op : { unknown_op, 0, 4, -1, INT_MIN, INT_MAX }) {
		CAPTURE(op);
		CHECK(ctl(ep.fd(), op, target) == -EINVAL);
	}
	CHECK(ep.mod(target, EPOLLOUT) == 0);
	CHECK(ep.del(target) == 0);
	CHECK(ep.del(target) == -ENOENT);
}

TEST_CASE_METHOD(Case, "9: MOD of a watch added with EPOLLEXCLUSIVE is EINVAL; DEL works",
		 "[ctl][exclusive]")
{
	Fd target = event_fd();

	REQUIRE(ep.add(target, EPOLLIN | EPOLLEXCLUSIVE) == 0);
	CHECK(ep.mod(target, EPOLLIN) == -EINVAL);
	CHECK(ep.mod(target, 0) == -EINVAL);
	CHECK(ep.add(target, EPOLLIN) == -EEXIST);
	CHECK(ep.del(target) == 0);
	CHECK(ep.mod(target, EPOLLIN) == -ENOENT);
}

TEST_CASE_METHOD(Case, "the target is looked up in the caller's descriptor table", "[ctl]")
{
	Fd here = event_fd();
	int number = here;

	REQUIRE(ep.add(number, EPOLLIN, 1) == 0);
	CHECK(in_child([&] {
		      here.reset();
		      if (ep.mod(number, EPOLLIN, 2) != -EBADF)
			      return 1;
		      Fd other = event_fd();
		      if (other != number)
			      return 2;
		      if (ep.mod(number, EPOLLIN, 2) != -ENOENT)
			      return 3;
		      return ep.add(number, EPOLLIN, 2) ? 4 : 0;
	      }) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { number, EPOLLIN | EPOLLERR | EPOLLHUP, 1 } });
}

TEST_CASE_METHOD(Case, "ERR and HUP are always watched: a mask of 0 is legal and shown as 0x18",
		 "[ctl][fdinfo]")
{
	Pair pair = make_pair(SOCK_STREAM);

	REQUIRE(ep.add(pair.a, 0, 7) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { pair.a, 0x18, 7 } });
	send_byte(pair.b);
	CHECK(ep.wait() == Events{});
	pair.b.reset();
	CHECK(ep.wait() == Events{ { EPOLLHUP, 7 } });
	CHECK(ep.mod(pair.a, 0, 8) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { pair.a, 0x18, 8 } });
	CHECK(ep.wait() == Events{ { EPOLLHUP, 8 } });
}

TEST_CASE_METHOD(Case, "bits without a meaning are kept and shown", "[ctl][fdinfo]")
{
	Fd target = event_fd(1);
	constexpr std::uint32_t odd = EPOLLIN | 0x20 | 1U << 16 | 1U << 27;

	REQUIRE(ep.add(target, odd, ~0ULL) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, odd | 0x18, ~0ULL } });
	CHECK(ep.wait() == Events{ { EPOLLIN, ~0ULL } });
	CHECK(ep.mod(target, odd & ~EPOLLIN, 1) == 0);
	CHECK(watches(ep.fd()) == std::vector<Watch>{ { target, (odd & ~EPOLLIN) | 0x18, 1 } });
}

TEST_CASE_METHOD(Case, "MOD replaces events and data together", "[ctl]")
{
	Pair pair = make_pair(SOCK_STREAM);

	REQUIRE(ep.add(pair.a, EPOLLIN, 1) == 0);
	CHECK(ep.wait() == Events{});
	CHECK(ep.mod(pair.a, EPOLLOUT, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLOUT, 2 } });
	CHECK(ep.mod(pair.a, EPOLLIN | EPOLLOUT, 3) == 0);
	send_byte(pair.b);
	CHECK(ep.wait() == Events{ { EPOLLIN | EPOLLOUT, 3 } });
}

TEST_CASE_METHOD(Case, "MOD to a mask that does not match any more drops what is queued", "[ctl]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	CHECK(ep.mod(target, 0, 2) == 0);
	CHECK(ep.wait() == Events{});
	CHECK(ep.mod(target, EPOLLIN, 3) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 3 } });
}

TEST_CASE_METHOD(Case, "a watch added for nothing reports what a MOD asks for later", "[ctl]")
{
	Fd target = event_fd();

	REQUIRE(ep.add(target, 0, 1) == 0);
	REQUIRE(ep.mod(target, EPOLLIN, 2) == 0);
	Blocked waiter(ep);
	waiter.asleep();
	put(target);
	CHECK(waiter.result() == 1);
	CHECK(waiter.events() == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Case, "a queued item that is deleted is not reported, and can be added again", "[ctl]")
{
	Fd target = event_fd(1);

	REQUIRE(ep.add(target, EPOLLIN, 1) == 0);
	CHECK(ep.del(target) == 0);
	CHECK(ep.wait() == Events{});
	put(target);
	CHECK(ep.wait() == Events{});
	CHECK(ep.add(target, EPOLLIN, 2) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 2 } });
}

TEST_CASE_METHOD(Case, "one item holds all wait queues that its file names", "[ctl]")
{
	// A pipe open for reading and writing sleeps on two queues.
	char path[] = "/tmp/myepoll-test-XXXXXX";
	must_libc(mkdtemp(path) ? 0 : -1, "mkdtemp");
	std::string fifo = std::string(path) + "/fifo";
	must_libc(mkfifo(fifo.c_str(), 0600), "mkfifo");
	Fd both(must_libc(open(fifo.c_str(), O_RDWR | O_NONBLOCK | O_CLOEXEC)));
	unlink(fifo.c_str());
	rmdir(path);

	while (write(both, "0123456789abcdef", 16) > 0)
		;
	REQUIRE(ep.add(both, EPOLLIN | EPOLLOUT | EPOLLET, 1) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 1 } });
	{
		Blocked waiter(ep);
		waiter.asleep();
		drain(both); // the writers' queue
		CHECK(waiter.result() == 1);
		CHECK((waiter.events().at(0).events & EPOLLOUT) != 0); // read in several steps
	}
	while (!ep.wait().empty())
		;
	{
		Blocked waiter(ep);
		waiter.asleep();
		send_byte(both); // the readers' queue
		CHECK(waiter.result() == 1);
		CHECK(waiter.events() == Events{ { EPOLLIN | EPOLLOUT, 1 } });
	}
	// And it leaves all of them.
	while (write(both, "0123456789abcdef", 16) > 0)
		;
	REQUIRE(ep.del(both) == 0);
	drain(both);
	send_byte(both);
	CHECK(ep.wait().empty());
}
