// SPDX-License-Identifier: MIT
#include "ways.hpp"

#include "../../uapi/myepoll.h"
#include "../src/sys.h"

#include <fmt/core.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>
#include <string_view>
#include <utility>
#include <vector>

#include <fcntl.h>
#include <sys/auxv.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define SYS_MODULE	"/sys/module"
#define MODULE		SYS_MODULE "/myepoll"
#define ADOPT		MODULE "/parameters/adopt"

namespace {

constexpr char library_name[] = "libmyepoll-preload.so";

bool is_there(const char *path)
{
	return !access(path, F_OK);
}

bool is_ours(int fd)
{
	__u64 features;

	return !ioctl(fd, MYEPOLL_IOC_FEATURES, &features);
}

/* Not by libc's functions: this process may have the preload library itself. */
long ask(long nr, long arg)
{
	return sys4(nr, arg, 0, 0, 0);
}

constexpr char older[] = "the module myepoll that is loaded is older than --fair, --balance and --min-wait";

/* Does the instance @fd know of options at all? */
bool has_options(int fd)
{
	struct myepoll_options got;

	return !ioctl(fd, MYEPOLL_IOC_GET_OPTIONS, &got);
}

/* Bits of the mark */
constexpr unsigned long mark_min_wait = MYEPOLL_PERSONALITY_MIN_WAIT(63, 3);
constexpr unsigned mark_units[] = { 1, 10, 100, 1000 };

/* What the mark can hold that is nearest to @us; *@bits are its bits. */
unsigned nearest_min_wait(unsigned us, unsigned long *bits)
{
	unsigned best = 0;

	*bits = 0;
	for (unsigned e = 0; e < std::size(mark_units); e++)
		for (unsigned n = 1; n <= 63; n++) {
			const unsigned one = n * mark_units[e];
			const auto distance = [us](unsigned x) { return x > us ? x - us : us - x; };

			if (!best || distance(one) < distance(best)) {
				best = one;
				*bits = MYEPOLL_PERSONALITY_MIN_WAIT(n, e);
			}
		}
	return best;
}

/* "", or why not, as far as that can be known. */
std::string adopted(const tool::instance_options &options)
{
	const long fd = ask(SYS_epoll_create1, O_CLOEXEC);
	bool ours, enough;

	if (fd < 0)
		return fmt::format("epoll_create1(2): {}", strerror(static_cast<int>(-fd)));
	ours = is_ours(static_cast<int>(fd));
	enough = !options.any() || has_options(static_cast<int>(fd));
	close(static_cast<int>(fd));
	if (ours)
		return enough ? "" : older;

	if (!is_there(SYS_MODULE))
		return "the kernel does not adopt, and there is no " SYS_MODULE " that would say why";
	if (!is_there(MODULE))
		return "the module myepoll is not loaded";
	if (!is_there(ADOPT))
		return "the module myepoll that is loaded is older than adoption";
	if (std::ifstream(ADOPT).get() == 'N')
		return "it is switched off; to switch it on: echo 1 | sudo tee " ADOPT;
	if (getauxval(AT_SECURE))
		return "this process has gained privilege by its execve(2)";
	return "it is switched on, but not for programs like this one; see the kernel's log";
}

std::string directory_of(const std::string &path)
{
	return path.substr(0, path.rfind('/'));
}

/* The directory of this program, or "". */
std::string own_directory()
{
	char path[PATH_MAX];
	const ssize_t n = readlink("/proc/self/exe", path, sizeof(path));

	if (n > 0 && static_cast<std::size_t>(n) < sizeof(path))
		return directory_of(std::string(path, static_cast<std::size_t>(n)));

	/* Without /proc: by what execve(2) was given. */
	const auto *given = reinterpret_cast<const char *>(getauxval(AT_EXECFN));

	return given && realpath(given, path) ? directory_of(path) : "";
}

/* AddressSanitizer ends a program in which its runtime is not the first library. */
bool wants_to_be_first(std::string_view library)
{
	library.remove_prefix(library.rfind('/') + 1); /* npos is -1 */
	return library.starts_with("libasan.") || library.starts_with("libclang_rt.asan");
}

} // namespace

int tool::parse_min_wait(std::string_view text)
{
	static constexpr std::pair<std::string_view, int> units[] = {
		{ "us", 1 }, { "ms", 1000 }, { "s", 1'000'000 }
	};
	int n = -1;
	const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), n);

	if (text == "0")
		return 0;
	if (error != std::errc() || n < 0 || n > MYEPOLL_MAX_MIN_WAIT || text.front() == '-')
		return -1;
	text.remove_prefix(static_cast<std::size_t>(end - text.data()));
	for (const auto &[name, us] : units)
		if (text == name)
			return n <= MYEPOLL_MAX_MIN_WAIT / us ? n * us : -1;
	return -1;
}

std::string tool::take_mark(const instance_options &options)
{
	unsigned long min_wait = 0;

	if (options.min_wait) {
		const unsigned nearest = nearest_min_wait(options.min_wait, &min_wait);

		if (nearest != options.min_wait)
			return fmt::format("the mark cannot hold a min-wait of {}us, but 1 to 63 times 1, 10, 100 "
					   "or 1000us; the nearest is {}us", options.min_wait, nearest);
	}

	const long before = ask(SYS_personality, 0xffffffff);
	/* What a "myepoll run" around this one has asked for stays, but for another time. */
	const auto mark = static_cast<long>(
		(static_cast<unsigned long>(before) & ~(min_wait ? mark_min_wait : 0)) | min_wait |
		MYEPOLL_PERSONALITY | (options.fair ? MYEPOLL_PERSONALITY_FAIR : 0UL) |
		(options.balance ? MYEPOLL_PERSONALITY_BALANCE : 0UL));
	const long r = before < 0 ? before : ask(SYS_personality, mark);

	/* As the seccomp filters of many containers do */
	if (r < 0)
		return fmt::format("personality(2) refuses the mark: {}",
				   strerror(static_cast<int>(-r)));

	std::string trouble = adopted(options);

	if (!trouble.empty())
		ask(SYS_personality, before);
	return trouble;
}

/* Asked by a 32-bit call, which may be the end of a process: so it is a child's. */
bool tool::adopts_32bit()
{
#ifdef __x86_64__
	constexpr int nr_epoll_create1 = 329; /* of <asm/unistd_32.h> */
	const pid_t pid = fork();
	int status = -1;

	if (pid == 0) {
		int fd;

		__asm__ volatile("int $0x80" : "=a"(fd) : "a"(nr_epoll_create1), "b"(0) : "memory");
		_exit(fd >= 0 && is_ours(fd) ? 0 : 1);
	}
	return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
#else
	return false;
#endif
}

std::string tool::find_library()
{
	for (const std::string &directory : { own_directory(), std::string(MYEPOLL_LIBDIR) }) {
		std::string path = directory + "/" + library_name;

		if (!directory.empty() && is_there(path.c_str()))
			return path;
	}
	return "";
}

std::string tool::try_preload(const std::string &library, const instance_options &options)
{
	if (library.empty())
		return fmt::format("there is no {} beside this program, nor in {}", library_name,
				   MYEPOLL_LIBDIR);
	if (access(library.c_str(), R_OK))
		return fmt::format("{}: {}", library, strerror(errno));
	if (library.find_first_of(" :") != std::string::npos)
		return fmt::format("LD_PRELOAD cannot have a path with a space or a colon: {}",
				   library);

	const int device = open(MYEPOLL_DEVICE, O_RDWR | O_CLOEXEC);

	if (device < 0)
		return fmt::format("{}: {}{}", MYEPOLL_DEVICE, strerror(errno),
				   errno == ENOENT ? " (is the module loaded?)" : "");

	const bool ours = is_ours(device);
	std::string trouble = ours ? "" : MYEPOLL_DEVICE " is something else";

	if (ours && options.any()) {
		const struct myepoll_create create = { .flags = MYEPOLL_CLOEXEC, .reserved = 0 };
		const int fd = ioctl(device, MYEPOLL_IOC_CREATE, &create);

		if (fd < 0)
			trouble = fmt::format("{}: {}", MYEPOLL_DEVICE, strerror(errno));
		else if (!has_options(fd))
			trouble = older;
		if (fd >= 0)
			close(fd);
	}
	close(device);
	return trouble;
}

std::string tool::with_library(const char *before, const std::string &library)
{
	const std::string_view all = before ? before : "";
	std::vector<std::string_view> libraries;
	std::string result;

	for (std::size_t i = 0, end; i < all.size(); i = end + 1) {
		end = std::min(all.find_first_of(" :", i), all.size());
		if (end > i)
			libraries.push_back(all.substr(i, end - i));
	}

	auto place = libraries.begin();

	while (place != libraries.end() && wants_to_be_first(*place))
		++place;
	for (const std::string_view one : libraries)
		if (one == library)
			return std::string(all);
	libraries.insert(place, library);
	for (const std::string_view one : libraries)
		result.append(result.empty() ? "" : ":").append(one);
	return result;
}
