// SPDX-License-Identifier: GPL-2.0
// Random arguments of what epoll does not have: TURN, LIST and the options, by both doors. Each
// answer is one that the header names, and the instance works as before. --seed=N, --seconds=S.
#include <algorithm>
#include <cstring>

#include <sys/ioctl.h>

#include "catch.hpp"
#include "hostile.hpp"

TEST_CASE_METHOD(Books, "random arguments of TURN, LIST and the options do no harm", "[random][beyond]")
{
	std::mt19937_64 random(chosen_seed());
	INFO("--seed=" << chosen_seed());
	auto pick = [&](unsigned n) { return static_cast<unsigned>(random() % n); };
	Island none, read_only(Island::Shore::read_only);
	const std::vector<Address> bad = nowhere();
	std::vector<char> room(1 << 16), listed(1 << 17);
	Fd other = event_fd(1);
	// A change that is read from anywhere may be one of any descriptor.
	Instance own;
	auto pointer = [&](std::size_t shift) -> Address {
		switch (pick(8)) {
		case 0:
			return bad[pick(static_cast<unsigned>(bad.size()))];
		case 1:
			return address_of(none.end() - pick(200));
		case 2:
			return address_of(read_only.end() - pick(200));
		default:
			return address_of(room.data() + shift);
		}
	};
	auto number = [&]() -> std::uint32_t {
		switch (pick(8)) {
		case 0:
			return static_cast<std::uint32_t>(random());
		case 1:
			return 1u << pick(32);
		default:
			return pick(24);
		}
	};
	auto fill_changes = [&] {
		static const int ops[] = { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, MYEPOLL_CTL_SET,
					   MYEPOLL_CTL_DISABLE, MYEPOLL_CTL_DROP, 0, -1 };
		const int files[] = { other, fd(), -1, 9999 };
		auto *changes = reinterpret_cast<myepoll_change *>(room.data());
		for (unsigned i = 0; i < 32; i++)
			changes[i] = { ops[pick(8)], files[pick(4)], static_cast<std::uint32_t>(random()) & ~EPOLLWAKEUP,
				       12345, 1'000'000 + pick(3) };
	};
	Answers answers;
	const auto end = Clock::now() + random_time();

	while (Clock::now() < end) {
		union {
			myepoll_turn turn;
			myepoll_list list;
			myepoll_options options;
			char bytes[128];
		} argument;
		unsigned long call;
		int r;

		std::memset(&argument, 0, sizeof(argument));
		switch (pick(4)) {
		case 0:
			call = MYEPOLL_IOC_LIST;
			// In memory of its own, so that no change is made of what it writes
			argument.list = { pick(4) ? address_of(listed.data()) : pointer(0), number(),
					  pick(2) ? 24 : number() };
			if (argument.list.watches != address_of(listed.data()))
				argument.list.room %= 2;
			break;
		case 1:
			call = pick(2) ? MYEPOLL_IOC_SET_OPTIONS : MYEPOLL_IOC_GET_OPTIONS;
			argument.options = { pick(4), number(), { pick(8) ? 0 : number(), 0 } };
			break;
		default:
			call = MYEPOLL_IOC_TURN;
			fill_changes();
			// Not so many that it takes long, and no sleep
			argument.turn = { pointer(0), pointer(8192), 0, random(), number() % 64,
					  static_cast<int>(number()), pick(8) ? pick(4) : number(),
					  pick(8) ? 0 : number(), 0, 0 };
		}
		if (!pick(16)) // not in an address, which might then be one of ours
			argument.bytes[16 + pick(112)] ^= static_cast<char>(1 << pick(8));
		if (call == MYEPOLL_IOC_TURN) {
			argument.turn.timeout = 0;
			argument.turn.nchanges %= 33; // so many there are
		}
		const std::size_t known = _IOC_SIZE(call), size = pick(4) ? known : pick(129);
		const bool fast = call == MYEPOLL_IOC_TURN && pick(2);
		Address at = pick(8) ? address_of(&argument) : pointer(16384);
		// What has been written to memory of ours might be a turn that waits for ever.
		if (call == MYEPOLL_IOC_TURN && at != address_of(&argument))
			at = bad[pick(static_cast<unsigned>(bad.size()))];
		if (fast)
			r = raw_fadvise(own.fd(), at, pick(8) ? size : random(), MYEPOLL_FAST_TURN);
		else
			r = raw_ioctl(own.fd(), sized(call, size), at);
		const int allowed[] = { -EINVAL, -EFAULT, -E2BIG };
		if (r < 0 && std::ranges::find(allowed, r) == std::end(allowed))
			answers.expect(r, 0, "an answer to", call, size);
		else
			answers.expect(0, 0, "");
		if (r >= 0 && call == MYEPOLL_IOC_TURN && at == address_of(&argument) && size >= known)
			answers.expect(argument.turn.failed <= argument.turn.done &&
					       argument.turn.done <= argument.turn.nchanges,
				       true, "counts of a turn", argument.turn.done, argument.turn.failed);
	}
	myepoll_options off{};
	CHECK(raw_ioctl(own.fd(), MYEPOLL_IOC_SET_OPTIONS, address_of(&off)) == 0);
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted(static_cast<int>(watches(own.fd()).size())) == "");
}
