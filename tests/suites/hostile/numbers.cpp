// SPDX-License-Identifier: GPL-2.0
// Every number of an ioctl and an advice: those that are not calls are refused, and
// those that are take every size that the header promises, and no other.
#include <cerrno>
#include <climits>
#include <cstring>

#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include "catch.hpp"
#include "hostile.hpp"

namespace {

constexpr std::size_t most = _IOC_SIZEMASK; // bytes that a number can name

// The largest argument there can be, zero but for what is put at its start
class Argument {
public:
	Argument()
	{
		void *p = mmap(nullptr, most + 1, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must_libc(p == MAP_FAILED ? -1 : 0, "mmap");
		bytes_ = static_cast<char *>(p);
	}
	~Argument() { munmap(bytes_, most + 1); }
	Argument(const Argument &) = delete;

	template <typename T> void start_with(const T &value)
	{
		std::memset(bytes_, 0, most + 1);
		std::memcpy(bytes_, &value, sizeof value);
	}
	char &operator[](std::size_t i) { return bytes_[i]; }
	Address address() const { return address_of(bytes_); }

private:
	char *bytes_;
};

struct Numbers : Books {
	// Arguments of which each call says something that no other would: these
	// are the answers of a handler that was reached.
	static constexpr int ctl_reached = -EEXIST, wait_reached = -EFAULT;
	static constexpr int beyond_reached = -EINVAL;
	static myepoll_turn turn_argument() { return { 0, 0, 0, 0, 0, 0, ~0u, 0, 0, 0 }; }
	static myepoll_options options_argument() { return { ~0u, 0, {} }; }
	myepoll_ctl ctl_argument() const { return { EPOLL_CTL_ADD, level(), EPOLLIN, 0, 0 }; }
	static myepoll_wait wait_argument() { return { 0xffff'8000'0000'0000, 0, 0, 1, 0 }; }

	Fd device{ must_libc(open(MYEPOLL_DEVICE, O_RDWR | O_CLOEXEC), MYEPOLL_DEVICE) };
	Argument argument;
	Answers answers;

	// The same of both files, with an argument that no call before has written to
	int ask(int file, unsigned long number)
	{
		std::memset(&argument[0], 0, 64);
		return raw_ioctl(file, number, argument.address());
	}
};

// A call, but for the size of its argument
bool is_call(unsigned long number, bool of_device)
{
	unsigned long bare = sized(number, 0);
	if (bare == sized(MYEPOLL_IOC_FEATURES, 0))
		return true;
	if (of_device)
		return bare == sized(MYEPOLL_IOC_CREATE, 0);
	for (unsigned long call : { MYEPOLL_IOC_CTL, MYEPOLL_IOC_WAIT, MYEPOLL_IOC_TURN, MYEPOLL_IOC_LIST,
				    MYEPOLL_IOC_SET_OPTIONS, MYEPOLL_IOC_GET_OPTIONS, MYEPOLL_IOC_INFO })
		if (bare == sized(call, 0))
			return true;
	return false;
}

// Of <linux/eventpoll.h>, which cannot stand beside <sys/epoll.h>
constexpr unsigned long EPIOCSPARAMS = _IOC(_IOC_WRITE, 0x8A, 0x01, 8), EPIOCGPARAMS = _IOC(_IOC_READ, 0x8A, 0x02, 8);

} // namespace

TEST_CASE_METHOD(Numbers, "numbers of the module's type: 256 by 4 directions by sizes; only its calls are known",
		 "[numbers]")
{
	for (unsigned nr = 0; nr < 256; nr++)
		for (unsigned dir = 0; dir < 4; dir++)
			for (std::size_t size : { 0UL, 1UL, 7UL, 8UL, 23UL, 24UL, 31UL, 32UL, 33UL, 4096UL, most }) {
				unsigned long number = _IOC(dir, MYEPOLL_IOC_MAGIC, nr, size);
				if (!is_call(number, false))
					answers.expect(raw_ioctl(fd(), number, argument.address()), -EINVAL,
						       "instance", number);
				if (!is_call(number, true))
					answers.expect(raw_ioctl(device, number, argument.address()), -ENOTTY,
						       "device", number);
			}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "numbers of every other type: 255 by 256 by 4; what is no file's own is refused", "[numbers]")
{
	// Some numbers the kernel answers for every file, which one without ioctls
	// shows: an eventfd, and a device on the same file system.
	Fd plain = event_fd();
	Fd null(must_libc(open("/dev/null", O_RDWR | O_CLOEXEC)));
	auto refused = [&](unsigned long number) {
		int any = ask(plain, number);
		// FIOQSIZE is the kernel's own and answers ENOTTY
		answers.expect(ask(fd(), number), any == -ENOTTY && number != FIOQSIZE ? -EINVAL : any, "instance",
			       number);
		if ((number & 7) == 0) // for the time it takes
			answers.expect(ask(device, number), ask(null, number), "device", number);
	};

	for (unsigned type = 0; type < 256; type++)
		for (unsigned nr = 0; type != MYEPOLL_IOC_MAGIC && nr < 256; nr++)
			for (unsigned dir = 0; dir < 4; dir++)
				refused(_IOC(dir, type, nr, sizeof(myepoll_wait)));
	for (unsigned long number = 0; number < 0x10000; number++)
		if (_IOC_TYPE(number) != MYEPOLL_IOC_MAGIC)
			refused(number);
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "the upper half of the register does not count", "[numbers]")
{
	argument.start_with(ctl_argument());
	for (unsigned bit = 32; bit < 64; bit++)
		answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_CTL | 1UL << bit, argument.address()), ctl_reached,
			       "CTL", bit);
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
}

TEST_CASE_METHOD(Numbers, "every size of CTL and WAIT: too short EINVAL, longer with zeros as if it were not", "[growth]")
{
	argument.start_with(ctl_argument());
	for (std::size_t size = 0; size <= most; size++)
		answers.expect(raw_ioctl(fd(), sized(MYEPOLL_IOC_CTL, size), argument.address()),
			       size < sizeof(myepoll_ctl) ? -EINVAL : ctl_reached, "CTL of size", size);
	argument.start_with(wait_argument());
	for (std::size_t size = 0; size <= most; size++)
		answers.expect(raw_ioctl(fd(), sized(MYEPOLL_IOC_WAIT, size), argument.address()),
			       size < sizeof(myepoll_wait) ? -EINVAL : wait_reached, "WAIT of size", size);
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "every size of CREATE and FEATURES", "[growth]")
{
	int before = open_descriptors();

	argument.start_with(myepoll_create{ MYEPOLL_CLOEXEC, 0 });
	for (std::size_t size = 0; size <= most; size++) {
		Fd created(raw_ioctl(device, sized(MYEPOLL_IOC_CREATE, size), argument.address()));
		if (size < sizeof(myepoll_create))
			answers.expect(created, -EINVAL, "CREATE of size", size);
		else
			answers.expect(created >= 0, true, "CREATE of size", size);
	}
	for (std::size_t size = 0; size <= most; size++) {
		std::memset(&argument[0], 0x55, 16);
		for (int file : { fd(), int(device) })
			answers.expect(raw_ioctl(file, sized(MYEPOLL_IOC_FEATURES, size), argument.address()),
				       size < sizeof(std::uint64_t) ? -EINVAL : 0, "FEATURES of size", size);
		// All 8 bytes are written or none, and never more
		bool written = argument[0] != 0x55 && argument[7] != 0x55, beyond = argument[8] != 0x55;
		answers.expect(written, size >= sizeof(std::uint64_t), "FEATURES wrote, of size", size);
		answers.expect(beyond, false, "FEATURES wrote too much, of size", size);
	}
	CHECK(answers.verdict() == "");
	CHECK(open_descriptors() == before);
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "every size of TURN, LIST, INFO and the options, by the fast door of any size at all", "[growth]")
{
	// What does nothing and succeeds
	argument.start_with(myepoll_turn{});
	for (std::size_t size = 0; size <= most; size++)
		answers.expect(raw_ioctl(fd(), sized(MYEPOLL_IOC_TURN, size), argument.address()),
			       size < sizeof(myepoll_turn) ? -EINVAL : 0, "TURN of size", size);
	for (std::size_t size = 0; size <= most; size++)
		answers.expect(raw_fadvise(fd(), argument.address(), size, MYEPOLL_FAST_TURN),
			       size < sizeof(myepoll_turn) ? -EINVAL : 0, "fast TURN of size", size);
	for (unsigned bit = 14; bit < 64; bit++)
		for (std::uint64_t less : { 0, 1 })
			if ((1ull << bit) - less > most)
				answers.expect(raw_fadvise(fd(), argument.address(), (1ull << bit) - less,
							   MYEPOLL_FAST_TURN),
					       -E2BIG, "fast TURN of bits", bit);
	argument.start_with(myepoll_list{ 0, 0, sizeof(myepoll_watch) });
	const int watched = raw_ioctl(fd(), MYEPOLL_IOC_LIST, argument.address());
	CHECK(watched >= 0);
	for (std::size_t size = 0; size <= most; size++)
		answers.expect(raw_ioctl(fd(), sized(MYEPOLL_IOC_LIST, size), argument.address()),
			       size < sizeof(myepoll_list) ? -EINVAL : watched, "LIST of size", size);
	argument.start_with(myepoll_options{});
	for (std::size_t size = 0; size <= most; size++)
		for (unsigned long number : { MYEPOLL_IOC_SET_OPTIONS, MYEPOLL_IOC_GET_OPTIONS })
			answers.expect(raw_ioctl(fd(), sized(number, size), argument.address()),
				       size < sizeof(myepoll_options) ? -EINVAL : 0, "options of size", size);
	for (std::size_t size = 0; size <= most; size++)
		answers.expect(raw_ioctl(fd(), sized(MYEPOLL_IOC_INFO, size), argument.address()),
			       size < sizeof(myepoll_info) ? -EINVAL : 0, "INFO of size", size);
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "one bit anywhere in a longer argument is E2BIG", "[growth]")
{
	auto try_one = [&](int file, unsigned long number, std::size_t size, std::size_t at) {
		char bit = static_cast<char>(1 << at % 8);
		argument[at] = static_cast<char>(argument[at] | bit);
		answers.expect(raw_ioctl(file, sized(number, size), argument.address()), -E2BIG,
			       "a bit at and a size", at, size);
		argument[at] = static_cast<char>(argument[at] & ~bit);
	};
	auto try_all = [&](int file, unsigned long number, std::size_t known) {
		for (std::size_t size = known + 1; size <= known + 40; size++)
			for (std::size_t at = known; at < size; at++)
				try_one(file, number, size, at);
		for (std::size_t size : { std::size_t(4095), std::size_t(4096), std::size_t(4097), most })
			for (std::size_t at = known; at < size; at += 1 + at / 64)
				try_one(file, number, size, at);
		for (std::size_t at : { std::size_t(4095), std::size_t(4096), most - 1 })
			try_one(file, number, most, at);
	};
	argument.start_with(ctl_argument());
	try_all(fd(), MYEPOLL_IOC_CTL, sizeof(myepoll_ctl));
	argument.start_with(wait_argument());
	try_all(fd(), MYEPOLL_IOC_WAIT, sizeof(myepoll_wait));
	argument.start_with(turn_argument());
	try_all(fd(), MYEPOLL_IOC_TURN, sizeof(myepoll_turn));
	argument.start_with(myepoll_list{});
	try_all(fd(), MYEPOLL_IOC_LIST, sizeof(myepoll_list));
	argument.start_with(options_argument());
	try_all(fd(), MYEPOLL_IOC_SET_OPTIONS, sizeof(myepoll_options));
	argument.start_with(myepoll_create{});
	try_all(device, MYEPOLL_IOC_CREATE, sizeof(myepoll_create));
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "a longer argument whose tail is not there is EFAULT, at every byte", "[growth][memory]")
{
	Island island;
	auto try_all = [&](int file, unsigned long number, const auto &known, int reached) {
		for (std::size_t there = 0; there <= sizeof known + 40; there++) {
			char *at = island.end() - there;
			std::memset(island.begin(), 0, Island::page);
			std::memcpy(at, &known, std::min(there, sizeof known));
			std::size_t size = sizeof known + 40;
			answers.expect(raw_ioctl(file, sized(number, size), address_of(at)),
				       there < size ? -EFAULT : reached, "bytes there and size", there, size);
			if (there <= sizeof known)
				answers.expect(raw_ioctl(file, number, address_of(at)),
					       there < sizeof known ? -EFAULT : reached, "bytes there", there);
		}
	};
	try_all(fd(), MYEPOLL_IOC_CTL, ctl_argument(), ctl_reached);
	// EFAULT is the answer of a WAIT that was reached as well: ask otherwise
	myepoll_wait wait = wait_argument();
	wait.maxevents = 0;
	try_all(fd(), MYEPOLL_IOC_WAIT, wait, -EINVAL);
	try_all(fd(), MYEPOLL_IOC_TURN, turn_argument(), beyond_reached);
	try_all(fd(), MYEPOLL_IOC_LIST, myepoll_list{}, beyond_reached);
	try_all(fd(), MYEPOLL_IOC_SET_OPTIONS, options_argument(), beyond_reached);
	try_all(device, MYEPOLL_IOC_CREATE, myepoll_create{ 1, 0 }, -EINVAL);
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "every unknown flag and every bit of a reserved field is EINVAL", "[flags]")
{
	for (unsigned bit = 0; bit < 32; bit++) {
		std::uint32_t flag = 1U << bit;
		myepoll_create create{ flag, 0 };
		if (flag != MYEPOLL_CLOEXEC)
			answers.expect(raw_ioctl(device, MYEPOLL_IOC_CREATE, address_of(&create)), -EINVAL,
				       "CREATE flag", flag);
		create = { flag | MYEPOLL_CLOEXEC, flag };
		answers.expect(raw_ioctl(device, MYEPOLL_IOC_CREATE, address_of(&create)), -EINVAL,
			       "CREATE reserved", flag);
		for (int op : { EPOLL_CTL_ADD, EPOLL_CTL_MOD, EPOLL_CTL_DEL, 0 }) {
			myepoll_ctl ctl{ op, level(), EPOLLIN, flag, 0 };
			answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_CTL, address_of(&ctl)), -EINVAL,
				       "CTL reserved", flag);
		}
		myepoll_options options{ flag, 0, {} };
		if (flag != MYEPOLL_OPT_FAIR && flag != MYEPOLL_OPT_BALANCE)
			answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_SET_OPTIONS, address_of(&options)), -EINVAL,
				       "an option", flag);
		for (myepoll_options reserved : { myepoll_options{ 0, 0, { flag, 0 } }, { 0, 0, { 0, flag } } })
			answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_SET_OPTIONS, address_of(&reserved)), -EINVAL,
				       "options reserved", flag);
		myepoll_turn turn{};
		turn.flags = flag;
		if (flag != MYEPOLL_TURN_SIGMASK && flag != MYEPOLL_TURN_STOP)
			answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_TURN, address_of(&turn)), -EINVAL, "TURN flag",
				       flag);
		turn.flags = 0;
		turn.reserved = flag;
		answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_TURN, address_of(&turn)), -EINVAL, "TURN reserved", flag);
		if (flag == MYEPOLL_WAIT_SIGMASK)
			continue;
		for (std::uint32_t more : { 0U, unsigned(MYEPOLL_WAIT_SIGMASK) }) {
			epoll_event events[8];
			myepoll_wait wait{ address_of(events), 0, 0, 8, flag | more };
			answers.expect(raw_ioctl(fd(), MYEPOLL_IOC_WAIT, address_of(&wait)), -EINVAL,
				       "WAIT flag", flag);
		}
	}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "every bit of an event mask: stored as it is, or refused with nothing left behind", "[flags]")
{
	Fd target = event_fd();
	for (unsigned bit = 0; bit < 32; bit++) {
		std::uint32_t mask = 1U << bit;
		CAPTURE(mask);
		Instance other;
		REQUIRE(other.add(target, mask, bit) == 0);
		CHECK(watches(other.fd()) == std::vector<Watch>{ { target, mask | EPOLLERR | EPOLLHUP, bit } });
		// Beside EXCLUSIVE only some may be
		constexpr std::uint32_t beside = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP | EPOLLET |
						 EPOLLEXCLUSIVE;
		Fd fresh = event_fd();
		CHECK(other.add(fresh, mask | EPOLLEXCLUSIVE, bit) == (mask & ~beside ? -EINVAL : 0));
		CHECK(watches(other.fd()).size() == (mask & ~beside ? 1 : 2));
		CHECK(other.mod(target, mask | EPOLLEXCLUSIVE, 77) == -EINVAL);
		CHECK(miscounted(mask & ~beside ? 1 : 2) == "");
	}
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "every op that is none is EINVAL, on a file that is watched and on one that is not", "[flags]")
{
	Fd other = event_fd();
	auto op_is_refused = [&](int op) {
		for (int target : { level(), int(other) }) {
			auto image = ctl_image(op, target, EPOLLIN, 0);
			answers.expect(ctl_at(fd(), op, target, address_of(image.data())), -EINVAL, "op", op, target);
		}
	};
	auto beyond_epoll = [](int op) { return op >= MYEPOLL_CTL_SET && op <= MYEPOLL_CTL_DROP; };
	for (int op = 4; op < 2000; op++)
		if (!beyond_epoll(op))
			op_is_refused(op);
	for (unsigned bit = 2; bit < 32; bit++)
		for (int low = 0; low < 4; low++)
			if (int op = static_cast<int>(1U << bit | unsigned(low)); !beyond_epoll(op))
				op_is_refused(op);
	for (int op : { 0, -1, INT_MIN, INT_MAX })
		op_is_refused(op);
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "fadvise64: advice 0 to 5, and any but the door's three, with any offset and length", "[numbers][fast]")
{
	epoll_event room[64];
	epoll_event event = ev(EPOLLIN, 7);
	std::mt19937_64 random(chosen_seed());
	INFO("--seed=" << chosen_seed());
	auto is_door = [](std::uint32_t advice) {
		return advice >= MYEPOLL_FAST_CTL && advice <= MYEPOLL_FAST_TURN;
	};
	auto no_door = [&](std::uint32_t advice) {
		for (Address offset : { Address(0), address_of(room), address_of(&event), Address(random()) })
			for (std::uint64_t length :
			     { std::uint64_t(0), std::uint64_t(MYEPOLL_FAST_ARGS(8, 0)),
			       std::uint64_t(MYEPOLL_FAST_ARGS(level(), EPOLL_CTL_DEL)), std::uint64_t(random()) })
				answers.expect(raw_fadvise(fd(), offset, length, advice),
					       plain_fadvise(length, advice), "advice and offset", advice, offset);
	};
	for (std::uint32_t advice = 0; advice < 64; advice++)
		no_door(advice);
	for (unsigned bit = 0; bit < 32; bit++)
		for (std::uint32_t call : { MYEPOLL_FAST_CTL, MYEPOLL_FAST_WAIT, MYEPOLL_FAST_TURN })
			if (std::uint32_t advice = call ^ 1U << bit; !is_door(advice))
				no_door(advice);
	for (int i = 0; i < 2000; i++) {
		auto advice = static_cast<std::uint32_t>(random());
		if (!is_door(advice))
			no_door(advice);
	}
	CHECK(answers.verdict() == "");
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}

TEST_CASE_METHOD(Numbers, "EPIOCSPARAMS and EPIOCGPARAMS: their sizes are fixed, and a bad argument changes nothing",
		 "[numbers][memory]")
{
	struct {
		std::uint32_t usecs;
		std::uint16_t budget;
		std::uint8_t prefer, pad;
	} params{ 0, 0, 0, 0 }, got{};
	if (skip_unless(raw_ioctl(fd(), EPIOCGPARAMS, address_of(&got)) != -EOPNOTSUPP,
			"this kernel has no busy polling"))
		return;
	for (std::size_t size = 0; size < 64; size++)
		if (size != sizeof params)
			for (unsigned long number : { EPIOCSPARAMS, EPIOCGPARAMS })
				answers.expect(raw_ioctl(fd(), sized(number, size), address_of(&params)), -EINVAL,
					       "size", size);
	params = { 5, 4, 1, 0 };
	REQUIRE(raw_ioctl(fd(), EPIOCSPARAMS, address_of(&params)) == 0);
	for (Address address : nowhere()) {
		answers.expect(raw_ioctl(fd(), EPIOCSPARAMS, address), -EFAULT, "set from", address);
		answers.expect(raw_ioctl(fd(), EPIOCGPARAMS, address), -EFAULT, "get to", address);
	}
	Island island;
	for (std::size_t there = 0; there < sizeof params; there++) {
		std::memset(island.begin(), 0, Island::page);
		answers.expect(raw_ioctl(fd(), EPIOCSPARAMS, address_of(island.end() - there)), -EFAULT, "there", there);
		answers.expect(raw_ioctl(fd(), EPIOCGPARAMS, address_of(island.end() - there)), -EFAULT, "there", there);
	}
	REQUIRE(raw_ioctl(fd(), EPIOCGPARAMS, address_of(&got)) == 0);
	CHECK(std::memcmp(&got, &params, sizeof got) == 0);
	CHECK(answers.verdict() == "");
	params = {};
	REQUIRE(raw_ioctl(fd(), EPIOCSPARAMS, address_of(&params)) == 0);
	CHECK(changed() == "");
	CHECK(miscounted() == "");
}
