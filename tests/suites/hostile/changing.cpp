// SPDX-License-Identifier: GPL-2.0
// Memory that changes, or is not there yet, while a call reads or writes it. A page of
// userfaultfd stops the kernel in the middle of a call; what was watched goes, or the
// instance, or the caller's life, and then the page comes.
#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <optional>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "catch.hpp"
#include "hostile.hpp"
#include "missing_page.hpp"

namespace {

// One that is missing until the first to touch it has been kept waiting for a
// function, called in another thread
class Missing : public MissingPage {
public:
	~Missing()
	{
		if (thread_.joinable())
			thread_.join();
	}
	Address address() const { return address_of(at()); }

	// meanwhile() may take the page away; it then returns false
	void on_touch(std::function<bool()> meanwhile)
	{
		thread_ = std::thread([this, meanwhile = std::move(meanwhile)] {
			touched_ = touched_within(patience_ms);
			if (touched_ && meanwhile())
				fill();
		});
	}
	// Waits for on_touch() to be over: has the page been touched?
	bool touched()
	{
		thread_.join();
		return touched_;
	}

private:
	std::atomic<bool> touched_{ false };
	std::thread thread_;
};

// A CTL whose argument is on a page that is missing; `meanwhile` runs when the
// kernel waits for it.
int stopped_ctl(int epfd, int op, int fd, std::uint32_t events, std::uint64_t data,
		const std::function<void()> &meanwhile)
{
	Missing page;
	auto image = ctl_image(op, fd, events, data);
	std::memcpy(page.content(), image.data(), image.size());
	page.on_touch([&] {
		meanwhile();
		return true;
	});
	int r = ctl_at(epfd, op, fd, page.address());
	if (!page.touched())
		throw std::runtime_error("the argument was not read");
	return r;
}

struct Result {
	int n;
	Events events;
};

// The same for a WAIT whose buffer is missing
Result stopped_wait(int epfd, int max, const std::function<bool(Missing &)> &meanwhile)
{
	Missing page;
	page.on_touch([&] { return meanwhile(page); });
	Result result{ wait_at(epfd, page.address(), max), {} };
	if (!page.touched())
		throw std::runtime_error("the buffer was not written");
	auto *events = reinterpret_cast<epoll_event *>(page.address());
	for (int i = 0; i < result.n; i++)
		result.events.push_back({ events[i].events, events[i].data.u64 });
	return result;
}

bool is_open(int fd)
{
	return fcntl(fd, F_GETFD) >= 0;
}

} // namespace

TEST_CASE_METHOD(Books, "userfaultfd, CTL: the target is closed while its event is read: EBADF", "[changing][ctl]")
{
	for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD }) {
		Fd target = event_fd(1);
		if (op == EPOLL_CTL_MOD)
			REQUIRE(ep().add(target, EPOLLIN) == 0);
		CHECK(stopped_ctl(fd(), op, target, EPOLLIN, 1, [&] { target.reset(); }) == -EBADF);
		CHECK(changed() == "");
	}
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "userfaultfd, CTL: another file comes under the number meanwhile, and is what is meant",
		 "[changing][ctl]")
{
	Fd target = event_fd(1), other = event_fd();
	Fd regular(must_libc(open("/proc/self/exe", O_RDONLY | O_CLOEXEC)));

	CHECK(stopped_ctl(fd(), EPOLL_CTL_ADD, target, EPOLLIN, 42, [&] { dup2(other, target); }) == 0);
	put(other);
	Events events = ep().wait();
	CHECK(events.back() == Event{ EPOLLIN, 42 });
	REQUIRE(ep().del(target) == 0);

	REQUIRE(ep().add(target, EPOLLIN, 43) == 0);
	CHECK(stopped_ctl(fd(), EPOLL_CTL_MOD, target, EPOLLIN, 44, [&] { dup2(regular, target); }) == -EPERM);
	CHECK(stopped_ctl(fd(), EPOLL_CTL_MOD, other, EPOLLIN, 44, [&] { dup2(fd(), other); }) == -EINVAL);
	other.reset(); // with it goes what was added under `target`
	CHECK(stopped_ctl(fd(), EPOLL_CTL_ADD, level(), EPOLLIN, 44, [] {}) == -EEXIST);
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "userfaultfd, CTL: the watch comes or goes meanwhile: EEXIST, ENOENT", "[changing][ctl]")
{
	Fd target = event_fd();

	CHECK(stopped_ctl(fd(), EPOLL_CTL_ADD, target, EPOLLIN, 1, [&] { ep().add(target, EPOLLOUT, 2); }) == -EEXIST);
	CHECK(watches(fd()).back() == Watch{ target, EPOLLOUT | EPOLLERR | EPOLLHUP, 2 });
	CHECK(stopped_ctl(fd(), EPOLL_CTL_MOD, target, EPOLLIN, 1, [&] { ep().del(target); }) == -ENOENT);
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "userfaultfd, CTL: the instance is closed meanwhile: the call has it to its end", "[changing][ctl]")
{
	Fd target = event_fd(1);
	for (bool replaced : { false, true }) {
		int before = open_descriptors();
		Instance other;
		int number = other.fd();
		CHECK(stopped_ctl(number, EPOLL_CTL_ADD, target, EPOLLIN, 1, [&] {
			      if (replaced) // and another is found under its number
				      dup2(fd(), number);
			      else
				      other.close();
		      }) == 0);
		// It went with the call, and the watch with it
		CHECK(is_open(number) == replaced);
		CHECK(changed() == "");
		CHECK(miscounted() == "");
		other.close();
		CHECK(open_descriptors() == before);
	}
	CHECK(changed() == "");
}

TEST_CASE_METHOD(Tidy, "userfaultfd, WAIT: what was polled is delivered, though its file closes meanwhile", "[changing][wait]")
{
	for (std::uint32_t mode : { 0U, std::uint32_t(EPOLLET), std::uint32_t(EPOLLONESHOT), std::uint32_t(EPOLLWAKEUP) }) {
		Books books; // for the count alone
		Instance ep;
		Fd a = event_fd(1), b = event_fd(1), c = event_fd(1);
		REQUIRE(ep.add(a, EPOLLIN | mode, 1) == 0);
		REQUIRE(ep.add(b, EPOLLIN | mode, 2) == 0);
		REQUIRE(ep.add(c, EPOLLIN | mode, 3) == 0);
		CHECK(books.miscounted(3) == "");

		Result result = stopped_wait(ep.fd(), 8, [&](Missing &) {
			b.reset();
			return true;
		});
		CHECK(result.events == Events{ { EPOLLIN, 1 }, { EPOLLIN, 2 }, { EPOLLIN, 3 } });
		CHECK(watches(ep.fd()).size() == 2);
		CHECK(books.miscounted(2) == "");
		bool level = mode != EPOLLET && mode != EPOLLONESHOT;
		CHECK(data_of(ep.wait()) == (level ? Data{ 1, 3 } : Data{}));
		CHECK(ep.del(a) == 0);
		CHECK(ep.del(c) == 0);
		CHECK(books.miscounted() == "");
	}
}

TEST_CASE_METHOD(Tidy, "userfaultfd, WAIT: the files of all of many close meanwhile", "[changing][wait]")
{
	Books books;
	Instance ep;
	std::vector<Fd> targets(40);
	for (unsigned i = 0; i < targets.size(); i++) {
		targets[i] = event_fd(1);
		REQUIRE(ep.add(targets[i], EPOLLIN, i) == 0);
	}
	// The first sixteen have been polled by then, and no others
	Result result = stopped_wait(ep.fd(), 64, [&](Missing &) {
		targets.clear();
		return true;
	});
	CHECK(result.n == 16);
	CHECK(watches(ep.fd()).empty());
	CHECK(ep.wait().empty());
	CHECK(books.miscounted() == "");
	Fd again = event_fd(1);
	CHECK(ep.add(again, EPOLLIN, 7) == 0);
	CHECK(ep.wait() == Events{ { EPOLLIN, 7 } });
}

TEST_CASE_METHOD(Tidy, "userfaultfd, WAIT: the instance is closed meanwhile; its watches go when the call ends",
		 "[changing][wait]")
{
	Books books;
	std::optional<Instance> ep(std::in_place);
	Fd a = event_fd(1), b = event_fd(1);
	REQUIRE(ep->add(a, EPOLLIN, 1) == 0);
	REQUIRE(ep->add(b, EPOLLIN | EPOLLET, 2) == 0);
	Result result = stopped_wait(ep->fd(), 8, [&](Missing &) {
		ep.reset();
		return true;
	});
	CHECK(data_of(result.events) == Data{ 1, 2 });
	CHECK(books.miscounted() == "");
	CHECK(books.changed() == "");
}

TEST_CASE_METHOD(Books, "userfaultfd, WAIT: CTL from another thread waits for the page, and then does its work",
		 "[changing][wait][ctl]")
{
	for (int op : { EPOLL_CTL_DEL, EPOLL_CTL_MOD, EPOLL_CTL_ADD }) {
		CAPTURE(op);
		Instance ep;
		Fd a = event_fd(1), b = event_fd(1);
		REQUIRE(ep.add(a, EPOLLIN, 1) == 0);
		std::optional<Blocked> ctl;
		std::atomic<bool> early{ false };
		Result result = stopped_wait(ep.fd(), 8, [&](Missing &) {
			ctl.emplace([&] { return ep.ctl(op, op == EPOLL_CTL_ADD ? b : a, EPOLLOUT, 2); });
			settle();
			early = ctl->done();
			return true;
		});
		CHECK(ctl->result() == 0);
		CHECK_FALSE(early);
		CHECK(result.events == Events{ { EPOLLIN, 1 } });
		Events left;
		if (op == EPOLL_CTL_ADD)
			left = { { EPOLLIN, 1 }, { EPOLLOUT, 2 } };
		else if (op == EPOLL_CTL_MOD)
			left = { { EPOLLOUT, 2 } };
		CHECK(ep.wait() == left);
	}
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Tidy, "userfaultfd, WAIT: what wakes meanwhile is neither lost nor delivered twice", "[changing][wait]")
{
	Instance ep;
	Fd level = event_fd(1), edge = event_fd(1), once = event_fd(1), late = event_fd();
	REQUIRE(ep.add(level, EPOLLIN, 1) == 0);
	REQUIRE(ep.add(edge, EPOLLIN | EPOLLET, 2) == 0);
	REQUIRE(ep.add(once, EPOLLIN | EPOLLONESHOT, 3) == 0);
	REQUIRE(ep.add(late, EPOLLIN | EPOLLET, 4) == 0);
	Result result = stopped_wait(ep.fd(), 8, [&](Missing &) {
		for (int fd : { int(level), int(edge), int(once), int(late) })
			put(fd);
		return true;
	});
	CHECK(data_of(result.events) == Data{ 1, 2, 3 });
	// The second edge of 2 and the first of 4 in one order or another, 1 for its
	// level; 3 is spent
	Data then = data_of(ep.wait());
	std::sort(then.begin(), then.end());
	CHECK(then == Data{ 1, 2, 4 });
	CHECK(data_of(ep.wait()) == Data{ 1 });
}

TEST_CASE_METHOD(Books, "userfaultfd, WAIT: the page goes for good: EFAULT, and nothing is spent", "[changing][wait]")
{
	Result result = stopped_wait(fd(), 64, [](Missing &page) {
		page.go();
		return false;
	});
	CHECK(result.n == -EFAULT);
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "userfaultfd, WAIT: the page goes, and a file: the others are not spent", "[changing][wait]")
{
	Instance ep;
	Fd a = event_fd(1), b = event_fd(1), c = event_fd(1);
	REQUIRE(ep.add(a, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(b, EPOLLIN | EPOLLET, 2) == 0);
	REQUIRE(ep.add(c, EPOLLIN | EPOLLONESHOT, 3) == 0);
	Result result = stopped_wait(ep.fd(), 64, [&](Missing &page) {
		a.reset();
		page.go();
		return false;
	});
	CHECK(result.n == -EFAULT);
	CHECK(data_of(ep.wait()) == Data{ 2, 3 });
	CHECK(ep.wait().empty());
	CHECK(miscounted(2) == "");
}

TEST_CASE_METHOD(Books, "userfaultfd: who is killed in a WAIT that faults spends nothing", "[changing][wait][kill]")
{
	Fd edge = event_fd(1), once = event_fd(1);
	Instance ep;
	REQUIRE(ep.add(edge, EPOLLIN | EPOLLET, 1) == 0);
	REQUIRE(ep.add(once, EPOLLIN | EPOLLONESHOT, 2) == 0);
	Ends told = make_pipe();
	pid_t child = start_child([&] {
		Missing page;
		page.on_touch([&] {
			send_byte(told.w);
			pause(); // forever
			return false;
		});
		return wait_at(ep.fd(), page.address(), 8);
	});
	char byte;
	REQUIRE(eventually([&] { return read(told.r, &byte, 1) == 1; }));
	kill(child, SIGKILL);
	CHECK(child_status(child) == 256 + SIGKILL);
	CHECK(data_of(ep.wait()) == Data{ 1, 2 });
	CHECK(ep.wait().empty());
	CHECK(ep.mod(once, EPOLLIN, 2) == 0);
	CHECK(data_of(ep.wait()) == Data{ 2 });
	CHECK(changed() == "");
	CHECK(miscounted(2) == "");
}

TEST_CASE_METHOD(Books, "userfaultfd: who is killed in a CTL that faults has added nothing", "[changing][ctl][kill]")
{
	Fd target = event_fd(1);
	Ends told = make_pipe();
	pid_t child = start_child([&] {
		return stopped_ctl(fd(), EPOLL_CTL_ADD, target, EPOLLIN, 1, [&] {
			send_byte(told.w);
			pause();
		});
	});
	char byte;
	REQUIRE(eventually([&] { return read(told.r, &byte, 1) == 1; }));
	kill(child, SIGKILL);
	CHECK(child_status(child) == 256 + SIGKILL);
	CHECK(ep().del(target) == -ENOENT);
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "userfaultfd: the argument of the WAIT ioctl is read once, whatever becomes of it", "[changing][wait]")
{
	if (skip_unless(be().door() == Door::ioctl, "the other door has no such argument"))
		return;
	Missing page;
	epoll_event room[64];
	myepoll_wait argument{ address_of(room), 0, 0, 64, 0 };
	std::memcpy(page.content(), &argument, sizeof argument);
	page.on_touch([&] { return true; });
	CHECK(raw_ioctl(fd(), MYEPOLL_IOC_WAIT, page.address()) == static_cast<int>(size()));
	CHECK(page.touched());
	CHECK(Event{ room[0].events, room[0].data.u64 } == expected()[0]);
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Tidy, "memory that another thread changes during CTL: what was checked is what is stored", "[changing][race]")
{
	// Of an event that is legal and one that is not, by turns in one place, the
	// first is added or the second refused.
	constexpr std::uint32_t legal = EPOLLIN, illegal = EPOLLIN | EPOLLRDHUP | EPOLLEXCLUSIVE;
	Books books;
	Instance ep;
	Fd a = event_fd(), b = event_fd();
	auto first = ctl_image(EPOLL_CTL_ADD, a, legal, 0x1111'1111'1111'1111);
	auto second = ctl_image(EPOLL_CTL_ADD, a, illegal, 0x2222'2222'2222'2222);
	alignas(64) char argument[64];
	std::atomic<bool> stop{ false };
	int added = 0, refused = 0;
	Answers answers;

	std::memcpy(argument, first.data(), first.size());
	std::thread changer([&] {
		while (!stop)
			for (auto *image : { &second, &first }) {
				auto *to = reinterpret_cast<volatile char *>(argument);
				for (std::size_t i = 0; i < image->size(); i++)
					to[i] = (*image)[i];
			}
	});
	auto end = Clock::now() + random_time() / 4;
	while (Clock::now() < end || ((!added || !refused) && Clock::now() < end + milliseconds(patience_ms))) {
		int r = ctl_at(ep.fd(), EPOLL_CTL_ADD, a, address_of(argument));
		answers.expect(r == 0 || r == -EINVAL, true, "ADD", unsigned(r));
		auto list = watches(ep.fd());
		answers.expect(int(list.size()), r == 0, "watches after", unsigned(r));
		if (r == 0) {
			std::uint32_t stored = list.at(0).events & ~(EPOLLERR | EPOLLHUP);
			answers.expect(!(stored & EPOLLEXCLUSIVE) || !(stored & EPOLLRDHUP), true, "stored", stored);
			answers.expect(ep.del(a), 0, "DEL");
		}
		++(r == 0 ? added : refused);
	}
	stop = true;
	changer.join();
	CHECK(answers.verdict() == "");
	CHECK(added > 0);
	CHECK(refused > 0);
	CHECK(watches(ep.fd()).empty());
	CHECK(books.miscounted() == "");
	CHECK(books.changed() == "");
}

TEST_CASE_METHOD(Tidy, "memory that another thread maps and unmaps during WAIT: delivered or kept, never both nor neither",
		 "[changing][race]")
{
	Books books;
	Instance ep;
	std::vector<Fd> targets(20);
	for (unsigned i = 0; i < targets.size(); i++) {
		targets[i] = event_fd(1);
		REQUIRE(ep.add(targets[i], EPOLLIN | EPOLLONESHOT, i) == 0);
	}
	void *map = mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	REQUIRE(map != MAP_FAILED);
	auto *pages = static_cast<char *>(map);
	std::atomic<bool> stop{ false };
	std::thread changer([&] {
		while (!stop) {
			mprotect(pages + 4096, 4096, PROT_NONE);
			mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE);
		}
	});
	int whole = 0, part = 0;
	Answers answers;
	auto end = Clock::now() + random_time() / 4;
	while (Clock::now() < end || ((!whole || !part) && Clock::now() < end + milliseconds(patience_ms))) {
		// Seven fit before the page that comes and goes
		int n = wait_at(ep.fd(), address_of(pages + 4096 - 7 * sizeof(epoll_event)), 20);
		answers.expect(n >= 7 && n <= 20, true, "WAIT", unsigned(n));
		Events left = ep.wait();
		answers.expect(n + int(left.size()), 20, "delivered and kept", unsigned(n));
		for (int i = 0; i < int(left.size()); i++)
			answers.expect(left[unsigned(i)].data == unsigned(n + i), true, "kept", unsigned(i), unsigned(n));
		++(n == 20 ? whole : part);
		for (unsigned i = 0; i < targets.size(); i++)
			answers.expect(ep.mod(targets[i], EPOLLIN | EPOLLONESHOT, i), 0, "MOD", i);
	}
	stop = true;
	changer.join();
	munmap(map, 8192);
	CHECK(answers.verdict() == "");
	CHECK(whole > 0);
	CHECK(part > 0);
	CHECK(books.miscounted(20) == "");
}
