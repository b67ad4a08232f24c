// SPDX-License-Identifier: MIT
#include "proc.hpp"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <climits>
#include <cstdint>
#include <cstring>
#include <memory>

#include <dirent.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

struct close_dir {
	void operator()(DIR *dir) const noexcept { closedir(dir); }
};

/* The names of a directory that are numbers, sorted */
std::vector<int> numbers_in(int fd, int &error)
{
	const std::unique_ptr<DIR, close_dir> dir(fdopendir(fd));
	std::vector<int> found;

	error = dir ? 0 : errno;
	if (!dir) {
		close(fd);
		return found;
	}
	errno = 0;
	while (const dirent *entry = readdir(dir.get())) {
		const char *end = entry->d_name + strlen(entry->d_name);
		int number;
		const auto parsed = std::from_chars(entry->d_name, end, number);

		if (parsed.ec == std::errc() && parsed.ptr == end)
			found.push_back(number);
		errno = 0;
	}
	error = errno;
	std::sort(found.begin(), found.end());
	return found;
}

/*
 * The length of the UTF-8 sequence at the start of @text, and its code point; 0 if it is
 * none.
 */
std::size_t sequence(std::string_view text, std::uint32_t &code)
{
	const auto first = static_cast<unsigned char>(text[0]);
	const std::size_t length = first < 0x80 ? 1 : first < 0xc2 ? 0 : first < 0xe0 ? 2 :
				   first < 0xf0 ? 3 : first < 0xf5 ? 4 : 0;
	constexpr std::uint32_t least[] = { 0, 0, 0x80, 0x800, 0x10000 };

	if (!length || length > text.size())
		return 0;
	code = length == 1 ? first : first & (0x7fu >> length);
	for (std::size_t i = 1; i < length; i++) {
		const auto byte = static_cast<unsigned char>(text[i]);

		if ((byte & 0xc0) != 0x80)
			return 0;
		code = code << 6 | (byte & 0x3f);
	}
	if (code < least[length] || code > 0x10ffff || (code >= 0xd800 && code < 0xe000))
		return 0;
	return length;
}

/* Does it move the cursor, turn the direction of writing, or end a line? */
bool is_obeyed(std::uint32_t code)
{
	return code < 0x20 || (code >= 0x7f && code < 0xa0) || code == 0x200e || code == 0x200f ||
	       (code >= 0x2028 && code <= 0x202e) || (code >= 0x2066 && code <= 0x2069);
}

} // namespace

tool::descriptor &tool::descriptor::operator=(descriptor &&other) noexcept
{
	std::swap(fd_, other.fd_);
	return *this;
}

tool::descriptor::~descriptor()
{
	if (fd_ >= 0)
		close(fd_);
}

tool::process::process(pid_t pid)
	: pid_(pid),
	  dir_(::open(fmt::format("/proc/{}", pid).c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC))
{
}

bool tool::process::there() const
{
	struct stat st;

	return dir_ && !fstatat(dir_.get(), "stat", &st, 0);
}

std::string tool::process::command() const
{
	std::string name;

	/* The name itself may have a line break. */
	lines("comm", [&name](std::string_view line) {
		if (!name.empty())
			name += '\n';
		name += line;
		return true;
	});
	return printable(name);
}

std::vector<int> tool::process::descriptors(int &error) const
{
	const int fd = dir_ ? openat(dir_.get(), "fd", O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;

	if (fd >= 0)
		return numbers_in(fd, error);
	error = dir_ ? errno : ESRCH;
	return {};
}

std::string tool::process::link(const std::string &name) const
{
	std::array<char, PATH_MAX> target;
	const ssize_t n = dir_ ? readlinkat(dir_.get(), name.c_str(), target.data(), target.size()) : -1;

	return n < 0 ? std::string() : std::string(target.data(), static_cast<std::size_t>(n));
}

tool::descriptor tool::process::open(const std::string &name, int flags) const
{
	return descriptor(dir_ ? openat(dir_.get(), name.c_str(), flags | O_CLOEXEC) : -1);
}

int tool::process::lines(const std::string &name,
			 const std::function<bool(std::string_view)> &take) const
{
	constexpr std::size_t step = 65536;
	const descriptor file = open(name, O_RDONLY);
	std::vector<char> buffer(step);
	std::size_t held = 0;

	if (!file)
		return dir_ ? errno : ESRCH;
	for (;;) {
		const ssize_t n = read(file.get(), buffer.data() + held, buffer.size() - held);
		const char *line = buffer.data();

		if (n < 0) {
			if (errno == EINTR)
				continue;
			return errno;
		}

		const char *end = line + held + n;

		while (line < end) {
			const auto *mark = static_cast<const char *>(
				memchr(line, '\n', static_cast<std::size_t>(end - line)));

			/* The last line may have no end. */
			if (!mark && n)
				break;
			if (!mark)
				mark = end;
			if (!take({ line, static_cast<std::size_t>(mark - line) }))
				return 0;
			line = mark + (mark < end);
		}
		if (!n)
			return 0;
		held = static_cast<std::size_t>(end - line);
		memmove(buffer.data(), line, held);
		if (held == buffer.size())
			buffer.resize(2 * buffer.size());
	}
}

std::vector<pid_t> tool::all_processes()
{
	const int fd = open("/proc", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int error;

	return fd < 0 ? std::vector<pid_t>() : numbers_in(fd, error);
}

std::string tool::printable(std::string_view text)
{
	std::string out;

	while (!text.empty()) {
		std::uint32_t code = 0;
		std::size_t n = sequence(text, code);

		if (n && !is_obeyed(code)) {
			if (code == '\\')
				out += '\\';
			out += text.substr(0, n);
		} else if (n == 1 && code == '\n') {
			out += "\\n";
		} else if (n == 1 && code == '\t') {
			out += "\\t";
		} else {
			n = n ? n : 1;
			for (const char c : text.substr(0, n))
				out += fmt::format("\\x{:02x}", static_cast<unsigned char>(c));
		}
		text.remove_prefix(n);
	}
	return out;
}
