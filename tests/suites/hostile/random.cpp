// SPDX-License-Identifier: GPL-2.0
// Random hostile calls to an instance and to one of the kernel's epoll, over the same
// files and the same memory: every answer, every byte of every buffer and, in the end,
// every book must be the same. --seed=N replays, --seconds=S bounds.
#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstring>
#include <sstream>
#include <tuple>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "catch.hpp"
#include "hostile.hpp"

namespace {

class Attack {
public:
	explicit Attack(unsigned seed) : random_(seed)
	{
		for (unsigned i = 0; i < files_.size(); i++)
			fresh(i);
	}

	// One random call; "" or how the two differ
	std::string step()
	{
		what_.str("");
		std::string differs = one();
		return differs.empty() ? "" : what_.str() + ": " + differs;
	}
	std::string books() const
	{
		auto sorted = [](std::vector<Watch> list, int nested) {
			for (Watch &watch : list)
				if (watch.fd == nested)
					watch.fd = -1;
			std::sort(list.begin(), list.end(), [](const Watch &l, const Watch &r) {
				return std::tie(l.fd, l.data, l.events) < std::tie(r.fd, r.data, r.events);
			});
			return list;
		};
		auto a = sorted(watches(ours_.fd()), our_inner_.fd());
		auto b = sorted(watches(theirs_.fd()), their_inner_.fd());
		return a == b ? "" : "fdinfo: " + Catch::Detail::stringify(a) + " and " + Catch::Detail::stringify(b);
	}
	int charged() const { return int(watches(ours_.fd()).size() + watches(our_inner_.fd()).size()); }

private:
	int pick(int n) { return static_cast<int>(random_() % unsigned(n)); }
	std::uint32_t word() { return static_cast<std::uint32_t>(random_()); }

	void fresh(unsigned i)
	{
		files_[i].reset();
		peers_[i].reset();
		switch (i % 4) {
		case 0:
			files_[i] = event_fd(word() % 2);
			break;
		case 1: {
			Pair pair = make_pair(SOCK_STREAM);
			files_[i] = std::move(pair.a);
			peers_[i] = std::move(pair.b);
			break;
		}
		case 2: {
			Ends pipe = make_pipe();
			files_[i] = std::move(pipe.r);
			peers_[i] = std::move(pipe.w);
			break;
		}
		case 3: // cannot be polled, cannot be used, or is no descriptor
			if (i % 8 == 3)
				files_[i] = Fd(open("/proc/self/exe", i % 16 == 3 ? O_RDONLY : O_PATH));
			break;
		}
	}

	// Of the island's page or its shores
	Address near()
	{
		Island &island = islands_[pick(3)];
		switch (pick(4)) {
		case 0:
			return address_of(island.begin()) + unsigned(pick(4096));
		case 1:
			return address_of(island.end()) - unsigned(pick(400));
		case 2:
			return address_of(island.end()) + unsigned(pick(4096));
		}
		return address_of(island.begin()) - unsigned(pick(40));
	}
	Address anywhere()
	{
		static const std::vector<Address> none = nowhere();
		if (pick(3))
			return near();
		Address address = none[unsigned(pick(int(none.size())))];
		return pick(2) ? address : address ^ Address{ 1 } << pick(12);
	}
	bool readable(Address address, std::size_t n) const
	{
		for (const Island &island : islands_) {
			bool second = &island == &islands_[2]; // its shore can be read
			if (address >= address_of(island.begin()) &&
			    address <= address_of(island.end()) + (second ? Island::page : 0) - n)
				return true;
		}
		return false;
	}
	bool writable(Address address, std::size_t n) const
	{
		for (const Island &island : islands_)
			if (address >= address_of(island.begin()) && address <= address_of(island.end()) - n)
				return true;
		return false;
	}

	std::uint32_t mask()
	{
		constexpr std::uint32_t bits[] = { EPOLLIN, EPOLLIN,  EPOLLOUT,	    EPOLLRDHUP,	    EPOLLPRI,
						   EPOLLET, EPOLLERR, EPOLLONESHOT, EPOLLEXCLUSIVE, EPOLLWAKEUP };
		std::uint32_t events = 0;
		for (int n = pick(4); n >= 0; n--)
			events |= bits[pick(std::size(bits))];
		return pick(20) ? events : word();
	}
	int op() { return pick(12) ? EPOLL_CTL_ADD + pick(3) : int(pick(2) ? word() : word() % 8); }

	std::string same(int a, int b) const
	{
		return a == b ? "" : std::to_string(a) + " and " + std::to_string(b);
	}

	std::string ctl()
	{
		int op = this->op(), ours, theirs;
		unsigned target = word() % (files_.size() + 3);

		if (target < files_.size()) {
			ours = theirs = files_[target];
		} else if (target == files_.size()) {
			ours = our_inner_.fd();
			theirs = their_inner_.fd();
		} else if (target == files_.size() + 1) {
			ours = ours_.fd();
			theirs = theirs_.fd();
		} else {
			ours = theirs = static_cast<int>(word() | 1U << 30);
		}
		Address where = pick(3) ? address_of(islands_[0].begin()) + unsigned(pick(4000)) : anywhere();
		std::uint32_t events = mask();
		std::uint64_t data = std::uint64_t(word()) << 32 | word();
		auto image = ctl_image(op, ours, events, data);
		if (writable(where, image.size()))
			std::memcpy(reinterpret_cast<void *>(where), image.data(), image.size());
		what_ << "CTL op " << op << " fd " << ours << " events 0x" << std::hex << events << " at 0x" << where
		      << std::dec;

		int a = ctl_at(ours_.fd(), op, ours, where);
		if (be().door() == Door::fast)
			return same(a, native_epoll().ctl(theirs_.fd(), op, theirs,
							  reinterpret_cast<epoll_event *>(where)));
		// The ioctl's argument is longer than an event and may be DEL's too
		if (!readable(where, sizeof(myepoll_ctl)))
			return same(a, -EFAULT);
		myepoll_ctl got;
		std::memcpy(&got, reinterpret_cast<void *>(where), sizeof got);
		if (got.reserved)
			return same(a, -EINVAL);
		if (!writable(where, sizeof got)) // and zero, as that page is
			theirs = got.fd, op = got.op;
		epoll_event event = ev(got.events, got.data);
		return same(a, native_epoll().ctl(theirs_.fd(), op, theirs, &event));
	}

	std::string wait()
	{
		constexpr int counts[] = { 1, 2, 3, 15, 16, 17, 33, 64, 0, -1, INT_MAX, INT_MIN, INT_MAX / 12 };
		int max = pick(10) ? counts[pick(std::size(counts))] : static_cast<int>(word());
		int ms = pick(30) ? 0 : 1;
		Address where = pick(3) ? near() : anywhere();
		int a, b;

		what_ << "WAIT max " << max << " at 0x" << std::hex << where << std::dec;
		paint();
		a = wait_at(ours_.fd(), where, max, ms);
		std::vector<char> ours = memory();
		paint();
		b = wait_at_native(where, max, ms);
		if (a != b)
			return same(a, b);
		// Where a fault cut an event in two, its first half may be there or not
		std::vector<char> theirs = memory();
		if (a >= 0 && ours != theirs && a != 0)
			return differing(ours, theirs, where, a);
		return "";
	}
	int wait_at_native(Address where, int max, int ms)
	{
		return native_epoll().wait(theirs_.fd(), reinterpret_cast<epoll_event *>(where), max, ms);
	}
	void paint()
	{
		for (Island &island : islands_)
			std::memset(island.begin(), 0x55, Island::page);
	}
	std::vector<char> memory()
	{
		std::vector<char> bytes;
		for (Island &island : islands_)
			bytes.insert(bytes.end(), island.begin(), island.end());
		return bytes;
	}
	// The events that count, and everything outside the buffer
	std::string differing(const std::vector<char> &ours, const std::vector<char> &theirs, Address where, int n)
	{
		for (std::size_t i = 0; i < ours.size(); i++) {
			Address at = address_of(islands_[i / Island::page].begin()) + i % Island::page;
			bool partial = at >= where + sizeof(epoll_event) * unsigned(n) &&
				       at < where + sizeof(epoll_event) * (unsigned(n) + 1);
			if (ours[i] != theirs[i] && !partial)
				return "byte " + std::to_string(at - where) + " of the buffer";
		}
		return "";
	}

	// A number near a call's, with an argument from nowhere
	std::string number()
	{
		constexpr unsigned long calls[] = { MYEPOLL_IOC_CTL, MYEPOLL_IOC_WAIT, MYEPOLL_IOC_FEATURES,
						    MYEPOLL_IOC_TURN, MYEPOLL_IOC_LIST,
						    MYEPOLL_IOC_SET_OPTIONS, MYEPOLL_IOC_GET_OPTIONS,
						    MYEPOLL_IOC_INFO, MYEPOLL_IOC_CREATE };
		unsigned long number = calls[pick(std::size(calls))];
		for (int n = pick(3); n >= 0; n--)
			number ^= 1UL << pick(32);
		if (_IOC_TYPE(number) != MYEPOLL_IOC_MAGIC)
			return "";
		unsigned long bare = sized(number, 0);
		std::size_t least = SIZE_MAX;
		for (unsigned long call : calls)
			if (call != MYEPOLL_IOC_CREATE && bare == sized(call, 0))
				least = _IOC_SIZE(call);
		int wanted = _IOC_SIZE(number) >= least ? -EFAULT : -EINVAL;
		Address where = nowhere()[unsigned(pick(18))];

		what_ << "ioctl 0x" << std::hex << number << " at 0x" << where << std::dec;
		int got = raw_ioctl(ours_.fd(), number, where);
		// A tail may lie in memory that is somebody's
		if (got == -E2BIG && wanted == -EFAULT && _IOC_SIZE(number) > least)
			return "";
		return same(got, wanted);
	}

	std::string advice()
	{
		std::uint32_t advice = pick(2) ? word() % 8 : word();
		if (advice == MYEPOLL_FAST_CTL || advice == MYEPOLL_FAST_WAIT)
			return "";
		what_ << "advice 0x" << std::hex << advice << std::dec;
		std::uint64_t length = random_();
		return same(raw_fadvise(ours_.fd(), anywhere(), length, advice), plain_fadvise(length, advice));
	}

	// Both doors on what is no instance
	std::string foreign()
	{
		unsigned i = word() % files_.size();
		what_ << "file " << i;
		Address where = anywhere();
		if (ctl_at(files_[i], op(), files_[i], where) >= 0 || wait_at(files_[i], where, 1 + pick(20), -1) >= 0)
			return "an instance of what is none";
		return "";
	}

	std::string one()
	{
		unsigned i = word() % files_.size();
		switch (pick(16)) {
		case 0:
		case 1:
		case 2:
		case 3:
		case 4:
			return ctl();
		case 5:
		case 6:
		case 7:
			return wait();
		case 8:
			return number();
		case 9:
			return advice();
		case 10:
			return foreign();
		case 11:
		case 12: // something happens
			if (i % 4 == 0)
				put(files_[i]);
			else if (peers_[i] >= 0)
				send_byte(peers_[i]);
			break;
		case 13:
			if (i % 4 != 3)
				drain(files_[i]);
			break;
		case 14:
			if (pick(4) == 0)
				fresh(i);
			break;
		case 15: { // in and out of the nested pair
			std::uint32_t events = EPOLLIN | (pick(2) ? EPOLLET : 0U);
			int op = EPOLL_CTL_ADD + pick(3);
			return same(our_inner_.ctl(op, files_[i], events, i), their_inner_.ctl(op, files_[i], events, i));
		}
		}
		return "";
	}

	std::mt19937_64 random_;
	std::ostringstream what_;
	Instance ours_{ be() }, our_inner_{ be() };
	Instance theirs_{ native_epoll() }, their_inner_{ native_epoll() };
	std::array<Fd, 32> files_, peers_;
	std::array<Island, 3> islands_{ Island(Island::Shore::no_access), Island(Island::Shore::hole),
					Island(Island::Shore::read_only) };
};

} // namespace

TEST_CASE_METHOD(Tidy, "random hostile calls are answered as epoll answers them", "[random]")
{
	auto end = Clock::now() + random_time();
	unsigned seed = chosen_seed();
	long steps = 0;
	int rounds = 0;

	std::printf("random: --seed=%u\n", seed);
	std::fflush(stdout);
	allow_descriptors(1024);
	do {
		Books books;
		Attack attack(seed);
		for (int step = 0; step < 500; step++, steps++) {
			std::string differs = attack.step();
			if (differs.empty() && step % 50 == 49)
				differs = attack.books();
			if (!differs.empty())
				FAIL("--seed=" << seed << ", step " << step << ": " << differs);
		}
		INFO("--seed=" << seed);
		REQUIRE(attack.books() == "");
		REQUIRE(books.miscounted(attack.charged()) == "");
		REQUIRE(books.changed() == "");
		seed++;
		rounds++;
	} while (Clock::now() < end);
	std::printf("random: %ld calls, seeds from %u on, %d of them\n", steps, chosen_seed(), rounds);
	CHECK(steps > 0);
}
