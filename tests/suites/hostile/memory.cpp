// SPDX-License-Identifier: GPL-2.0
// Pointers into nothing, into the kernel, to the end of a page: what cannot be read
// changes nothing, and of what cannot be written nothing is spent.
#include <cerrno>
#include <climits>
#include <cstring>

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "catch.hpp"
#include "hostile.hpp"

namespace {

constexpr int most_events = INT_MAX / static_cast<int>(sizeof(epoll_event));
constexpr Address user_end = 0x7fff'ffff'f000;

// Watches in this order: level, edge and one-shot by turns, all ready
class Row {
public:
	explicit Row(int n) : targets_(n)
	{
		static constexpr std::uint32_t modes[] = { 0, EPOLLET, EPOLLONESHOT };
		for (int i = 0; i < n; i++) {
			targets_[i] = event_fd(1);
			masks_.push_back(EPOLLIN | modes[i % 3]);
			must(ep.add(targets_[i], masks_[i], std::uint64_t(i) << 32 | 0x5a5a'0000U | unsigned(i)));
		}
	}
	int size() const { return static_cast<int>(targets_.size()); }
	Event event(int i) const { return { EPOLLIN, std::uint64_t(i) << 32 | 0x5a5a'0000U | unsigned(i) }; }
	bool is_level(int i) const { return masks_[i] == EPOLLIN; }

	// What is ready after the first k have been delivered
	Events after(int k) const
	{
		Events left;
		for (int i = k; i < size(); i++)
			left.push_back(event(i));
		for (int i = 0; i < k; i++)
			if (is_level(i))
				left.push_back(event(i));
		return left;
	}

	Instance ep;

private:
	std::vector<Fd> targets_;
	std::vector<std::uint32_t> masks_;
};

} // namespace

TEST_CASE_METHOD(Books, "ADD and MOD from nowhere are EFAULT and change nothing; DEL reads no event", "[memory][ctl]")
{
	Fd fresh = event_fd(1);
	Answers answers;
	bool fast = be().door() == Door::fast;

	for (Address address : nowhere())
		for (int target : { level(), int(fresh), -1, 9999, fd() })
			for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD, 0, 4, -1 })
				answers.expect(ctl_at(fd(), op, target, address), -EFAULT, "CTL from", address, op);
	for (Address address : nowhere()) {
		if (fast) {
			must(ep().add(fresh, EPOLLIN));
			answers.expect(ctl_at(fd(), EPOLL_CTL_DEL, fresh, address), 0, "DEL from", address);
		}
		answers.expect(ctl_at(fd(), EPOLL_CTL_DEL, fresh, address), fast ? -ENOENT : -EFAULT, "DEL from",
			       address);
	}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "an argument that crosses into a page that cannot be read: EFAULT at every byte", "[memory][ctl]")
{
	Answers answers;
	Fd fresh = event_fd();
	auto add = ctl_image(EPOLL_CTL_ADD, fresh, EPOLLIN, 7);
	auto mod = ctl_image(EPOLL_CTL_MOD, level(), EPOLLOUT, 8);

	for (auto shore : { Island::Shore::no_access, Island::Shore::hole, Island::Shore::past_the_end }) {
		Island island(shore);
		for (std::size_t there = 0; there < add.size(); there++) {
			char *at = island.end() - there;
			std::memcpy(at, add.data(), there);
			answers.expect(ctl_at(fd(), EPOLL_CTL_ADD, fresh, address_of(at)), -EFAULT, "ADD, there", there);
			std::memcpy(at, mod.data(), there);
			answers.expect(ctl_at(fd(), EPOLL_CTL_MOD, level(), address_of(at)), -EFAULT, "MOD, there",
				       there);
		}
		// and before the first page of one's own
		for (std::size_t before = 1; before < add.size() && shore != Island::Shore::past_the_end; before++)
			answers.expect(ctl_at(fd(), EPOLL_CTL_ADD, fresh, address_of(island.begin() - before)),
				       -EFAULT, "ADD, before", before);
		// The whole of it, to the last byte of the page
		std::memcpy(island.end() - add.size(), add.data(), add.size());
		answers.expect(ctl_at(fd(), EPOLL_CTL_ADD, fresh, address_of(island.end() - add.size())), 0, "ADD");
		answers.expect(ep().del(fresh), 0, "DEL");
	}
	// What need only be read may be read-only
	Island island;
	std::memcpy(island.begin(), add.data(), add.size());
	must_libc(mprotect(island.begin(), Island::page, PROT_READ));
	answers.expect(ctl_at(fd(), EPOLL_CTL_ADD, fresh, address_of(island.begin())), 0, "ADD");
	answers.expect(ep().del(fresh), 0, "DEL");
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Books, "WAIT into nowhere: EFAULT with nothing spent", "[memory][wait]")
{
	Answers answers;

	for (Address address : nowhere())
		for (int max : { 1, 2, 16, 17, 1000 })
			for (int ms : { 0, 1, -1 })
				answers.expect(wait_at(fd(), address, max, ms), -EFAULT, "WAIT into", address, max);
	// The text of this program, and what is mapped to be read
	static const epoll_event constants[64] = {};
	answers.expect(wait_at(fd(), address_of(constants), 64), -EFAULT, "WAIT into constants");
	answers.expect(wait_at(fd(), address_of(reinterpret_cast<void *>(&wait_at)), 64), -EFAULT, "WAIT into text");
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Case, "WAIT with nothing ready: where the user's half ends is EFAULT, as for epoll; the rest is not looked at",
		 "[memory][wait]")
{
	Answers answers;
	Instance theirs(native_epoll());
	Fd idle = event_fd();

	REQUIRE(ep.add(idle, EPOLLIN) == 0);
	auto addresses = nowhere();
	for (int bits : { 47, 56 }) // where it ends depends on the CPU
		for (Address below : { 0, 1, 12, 4096, 4097, 65536 })
			addresses.push_back((Address{ 1 } << bits) - below);
	for (Address address : addresses)
		for (int max : { 1, 2, 1000, most_events })
			answers.expect(wait_at(ep.fd(), address, max),
				       native_epoll().wait(theirs.fd(), reinterpret_cast<epoll_event *>(address), max, 0), "WAIT into",
				       address, unsigned(max));
	answers.expect(wait_at(ep.fd(), 0xffff'8000'0000'0000, 1), -EFAULT, "WAIT into the kernel");
	answers.expect(wait_at(ep.fd(), 0, most_events), 0, "WAIT into NULL");
	CHECK(answers.verdict() == "");
}

TEST_CASE_METHOD(Books, "WAIT with every sort of wrong count is EINVAL, wherever the buffer", "[memory][wait]")
{
	Answers answers;
	epoll_event room[8];
	auto addresses = nowhere();

	addresses.push_back(address_of(room));
	for (Address address : addresses) {
		for (int max : { 0, -1, -16, INT_MIN, INT_MIN + 1, INT_MAX, INT_MAX - 1, most_events + 1 })
			for (int ms : { 0, -1, 1 })
				answers.expect(wait_at(fd(), address, max, ms), -EINVAL, "WAIT, max", unsigned(max),
					       address);
		for (unsigned bit = 28; bit < 31; bit++) // beyond, by one bit each
			answers.expect(wait_at(fd(), address, 1 << bit), -EINVAL, "WAIT, max", 1U << bit, address);
	}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");

	// The most there can be, of which there is room for what is ready
	auto most = static_cast<std::size_t>(most_events) * sizeof(epoll_event);
	Island island;
	auto *buffer = reinterpret_cast<epoll_event *>(island.end()) - size();
	REQUIRE(address_of(buffer) + most < user_end);
	CHECK(wait_at(fd(), address_of(buffer), most_events) == static_cast<int>(size()));
	for (std::size_t i = 0; i < size(); i++)
		CHECK(Event{ buffer[i].events, buffer[i].data.u64 } == expected()[i]);
}

TEST_CASE_METHOD(Tidy, "WAIT into a page whose k-th entry is not there: k are delivered, the rest keep all", "[memory][wait][partial]")
{
	// Around the 16 that are polled together, and beyond twice as many
	for (int n : { 1, 3, 15, 16, 17, 31, 33, 40 })
		for (auto shore : shores) {
			Island island(shore);
			// All places for the end on the first rows, some on the long ones
			for (int k = 0; k <= n; k += n < 20 || k < 2 || k > n - 3 ? 1 : 5) {
				// and of the k-th entry none, one or all but one byte
				for (std::size_t more : { std::size_t(0), std::size_t(1), sizeof(epoll_event) - 1 }) {
					Row row(n);
					char *at = island.end() - sizeof(epoll_event) * unsigned(k) - more;
					CAPTURE(n, k, more, shore);
					std::memset(island.begin(), 0x55, Island::page);

					int got = wait_at(row.ep.fd(), address_of(at), n);
					if (got != (k == 0 ? -EFAULT : k)) // CHECK is slow
						FAIL("WAIT gives " << got);
					for (int i = 0; i < k; i++) {
						epoll_event event;
						std::memcpy(static_cast<void *>(&event), at + sizeof event * unsigned(i),
							    sizeof event);
						if (Event{ event.events, event.data.u64 } != row.event(i))
							FAIL("event " << i << " is not what it should be");
					}
					if (at > island.begin() && at[-1] != 0x55)
						FAIL("written before the buffer");
					Events left = row.ep.wait(0, 64);
					if (left != row.after(k))
						FAIL("after it " << Catch::Detail::stringify(left));
					if (k == n)
						break; // the k-th is not wanted
				}
			}
		}
}

TEST_CASE_METHOD(Tidy, "WAIT that faults again and again loses nothing", "[memory][wait][partial]")
{
	constexpr int n = 20;
	Island island;
	Row row(n);
	Answers answers;

	for (int i = 0; i < 500; i++)
		answers.expect(wait_at(row.ep.fd(), address_of(island.end() - unsigned(i) % 12), n), -EFAULT, "WAIT", i);
	CHECK(answers.verdict() == "");
	// One at a time, each followed by a fault
	Events got;
	for (int i = 0; i < n; i++) {
		auto *at = reinterpret_cast<epoll_event *>(island.end()) - 1;
		REQUIRE(wait_at(row.ep.fd(), address_of(at), n) == 1);
		got.push_back({ at->events, at->data.u64 });
		REQUIRE(wait_at(row.ep.fd(), address_of(bad_event()), n) == -EFAULT);
	}
	Events wanted;
	for (int i = 0; i < n; i++)
		wanted.push_back(row.event(i));
	CHECK(got == wanted);
	CHECK(row.ep.wait() == row.after(n));
}

TEST_CASE_METHOD(Books, "the ioctl's WAIT argument itself may be anywhere too", "[memory][wait]")
{
	if (be().door() != Door::ioctl) {
		// The fast door takes it in registers
		CHECK(changed() == "");
		return;
	}
	Answers answers;
	epoll_event room[8];
	myepoll_wait argument{ address_of(room), 0, 0, 8, 0 };

	for (Address address : nowhere())
		answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_WAIT, address), -EFAULT, "argument at", address);
	for (auto shore : { Island::Shore::no_access, Island::Shore::hole, Island::Shore::past_the_end }) {
		Island island(shore);
		for (std::size_t there = 0; there < sizeof argument; there++) {
			std::memcpy(island.end() - there, &argument, there);
			answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_WAIT, address_of(island.end() - there)), -EFAULT,
				       "there", there);
		}
	}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");

	// An argument inside the buffer that it names is read before it is written over
	Island island;
	auto at = address_of(island.begin());
	argument.events = at;
	std::memcpy(island.begin(), &argument, sizeof argument);
	CHECK(raw_ioctl(fd(), MYEPOLL_IOC_WAIT, at) == static_cast<int>(size()));
	epoll_event first;
	std::memcpy(static_cast<void *>(&first), island.begin(), sizeof first);
	CHECK(Event{ first.events, first.data.u64 } == expected()[0]);
}

TEST_CASE_METHOD(Books, "CREATE and FEATURES with an argument from nowhere make nothing", "[memory]")
{
	Fd device(must_libc(open(MYEPOLL_DEVICE, O_RDWR | O_CLOEXEC), MYEPOLL_DEVICE));
	int before = open_descriptors();
	Answers answers;

	for (Address address : nowhere()) {
		answers.expect(raw_ioctl(device, MYEPOLL_IOC_CREATE, address), -EFAULT, "CREATE", address);
		answers.expect(raw_ioctl(device, MYEPOLL_IOC_FEATURES, address), -EFAULT, "FEATURES", address);
		answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_FEATURES, address), -EFAULT, "FEATURES", address);
	}
	static const std::uint64_t constant = 1;
	answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_FEATURES, address_of(&constant)), -EFAULT, "FEATURES");
	CHECK(answers.verdict() == "");
	CHECK(open_descriptors() == before);
	CHECK(changed() == "");
}
