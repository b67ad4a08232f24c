// SPDX-License-Identifier: MIT
#include "describe.hpp"

#include "instances.hpp"

#include <fmt/core.h>

#include <array>
#include <cctype>
#include <charconv>
#include <cstring>
#include <string_view>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include <arpa/inet.h>
#include <fcntl.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/vfs.h>
#include <sys/xattr.h>
#include <unistd.h>

namespace {

constexpr long mqueue_magic = 0x19800202;

template <typename T>
bool parse(std::string_view text, T &value, int base = 10)
{
	const char *end = text.data() + text.size();
	const auto parsed = std::from_chars(text.data(), end, value, base);

	return !text.empty() && parsed.ec == std::errc() && parsed.ptr == end;
}

/* The next word of @text, which gets shorter */
std::string_view word(std::string_view &text)
{
	const std::size_t begin = text.find_first_not_of(" \t");

	if (begin == std::string_view::npos)
		return text = {};
	text.remove_prefix(begin);

	const std::string_view found = text.substr(0, text.find_first_of(" \t"));

	text.remove_prefix(found.size());
	return found;
}

/* The kernel's form of a device's number */
std::uint64_t kernel_device(dev_t device)
{
	return static_cast<std::uint64_t>(major(device)) << 20 | minor(device);
}

std::uint64_t device_of(int fd)
{
	struct stat st;
	const tool::descriptor file(fd);

	return file && !fstat(file.get(), &st) ? kernel_device(st.st_dev) : ~0ull;
}

std::string duration(std::uint64_t ns)
{
	constexpr struct {
		std::uint64_t ns;
		const char *name;
	} units[] = { { 1000000000, "s" }, { 1000000, "ms" }, { 1000, "us" }, { 1, "ns" } };

	for (const auto &unit : units) {
		if (ns < unit.ns && unit.ns > 1)
			continue;

		std::string text = fmt::format("{:.3f}", static_cast<double>(ns) /
								 static_cast<double>(unit.ns));

		text.erase(text.find_last_not_of('0') + 1);
		if (text.back() == '.')
			text.pop_back();
		return text + " " + unit.name;
	}
	return {};
}

/* "(1, 500000000)" in nanoseconds */
std::uint64_t pair_of_time(std::string_view text)
{
	std::uint64_t seconds = 0, ns = 0;
	const std::size_t open = text.find('('), comma = text.find(", "), end = text.find(')');

	if (open == text.npos || comma == text.npos || end == text.npos || comma < open || end < comma)
		return 0;
	parse(text.substr(open + 1, comma - open - 1), seconds);
	parse(text.substr(comma + 2, end - comma - 2), ns);
	return seconds * 1000000000u + ns;
}

std::string signals(std::uint64_t mask)
{
	std::string text;

	for (int sig = 1; sig <= 64; sig++) {
		if (!(mask >> (sig - 1) & 1))
			continue;

		const char *name = sigabbrev_np(sig);

		text += ' ';
		if (name)
			text += name;
		else if (sig >= SIGRTMIN)
			text += sig == SIGRTMIN ? "RTMIN" : fmt::format("RTMIN+{}", sig - SIGRTMIN);
		else
			text += fmt::format("{}", sig);
	}
	return text;
}

/* What fdinfo has: "name: value", the value without spaces around it */
class facts {
public:
	facts(const tool::process &of, int fd)
	{
		of.lines(fmt::format("fdinfo/{}", fd), [this](std::string_view line) {
			const std::size_t colon = line.find(':');

			/* Each watch of an inotify has a line "inotify wd:..." */
			if (line.starts_with("inotify "))
				watches_++;
			else if (line.starts_with("fanotify ") && line.find("flags:") != line.npos)
				watches_ += line.find("mask:") != line.npos;
			else if (colon != line.npos) {
				const std::size_t begin = line.find_first_not_of(" \t", colon + 1);

				values_.emplace(line.substr(0, colon),
						begin == line.npos ? "" : line.substr(begin));
			}
			return true;
		});
	}

	std::string_view text(const char *name) const
	{
		const auto at = values_.find(name);

		return at == values_.end() ? std::string_view() : at->second;
	}
	std::uint64_t number(const char *name, int base = 10) const
	{
		std::uint64_t value = 0;

		parse(text(name), value, base);
		return value;
	}
	bool has(const char *name) const { return values_.count(name); }
	unsigned watches() const { return watches_; }

private:
	std::unordered_map<std::string, std::string> values_;
	unsigned watches_ = 0;
};

std::string end_of(const facts &info)
{
	switch (info.number("flags", 8) & O_ACCMODE) {
	case O_RDONLY:
		return "reading end";
	case O_WRONLY:
		return "writing end";
	default:
		return "both ends";
	}
}

std::string of_timer(const facts &info)
{
	const std::uint64_t interval = pair_of_time(info.text("it_interval"));
	const std::uint64_t left = pair_of_time(info.text("it_value"));
	const std::uint64_t ticks = info.number("ticks");
	std::string text = "timerfd";

	if (interval)
		text += ", every " + duration(interval);
	else if (left)
		text += ", in " + duration(left);
	else if (!ticks)
		text += ", not set";
	if (ticks)
		text += fmt::format(", {} {} not read", ticks, ticks == 1 ? "expiry" : "expiries");
	return text;
}

std::string of_pidfd(const facts &info)
{
	pid_t pid = 0;

	parse(info.text("Pid"), pid);
	if (pid < 0)
		return "pidfd, process has ended";
	if (pid == 0)
		return "pidfd, process of another namespace";
	return fmt::format("pidfd, process {} ({})", pid, tool::process(pid).command());
}

/* @name: without "anon_inode:" and brackets */
std::string of_anonymous(const tool::process &of, int fd, std::string_view name)
{
	/* An instance's fdinfo may be long, and tells nothing of it. */
	if (name == "eventpoll" || name == "myepoll")
		return fmt::format("[{}]", name);

	const facts info(of, fd);

	if (name == "eventfd" && info.has("eventfd-count"))
		return fmt::format("eventfd, count {}", info.number("eventfd-count", 16)) +
		       (info.number("eventfd-semaphore") ? ", semaphore" : "");
	if (name == "timerfd" && info.has("it_value"))
		return of_timer(info);
	if (name == "signalfd" && info.has("sigmask"))
		return "signalfd" + signals(info.number("sigmask", 16));
	if (name == "pidfd" && info.has("Pid"))
		return of_pidfd(info);
	if (name == "inotify" || name == "fanotify")
		return fmt::format("{}, {} watch{}", name, info.watches(),
				   info.watches() == 1 ? "" : "es");
	return tool::printable(name);
}

constexpr const char *tcp_states[] = {
	"", "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait", "closed",
	"close-wait", "last-ack", "listening", "closing", "syn-recv",
};

constexpr unsigned tcp_established = 1, tcp_closed = 7, tcp_listening = 10;

struct endpoint {
	std::array<unsigned char, 16> address{};
	std::uint16_t port = 0;
};

/* "0100007F:1F90", or four such words before the colon */
bool parse_endpoint(std::string_view text, endpoint &to)
{
	const std::size_t colon = text.find(':');

	if (colon != 8 && colon != 32)
		return false;
	for (std::size_t i = 0; i < colon / 8; i++) {
		std::uint32_t part;

		if (!parse(text.substr(8 * i, 8), part, 16))
			return false;
		/* Printed as a number, though it is the address' bytes */
		memcpy(to.address.data() + 4 * i, &part, 4);
	}
	return parse(text.substr(colon + 1), to.port, 16);
}

std::string endpoint_text(const endpoint &of, int family)
{
	std::array<char, INET6_ADDRSTRLEN> text;

	if (!inet_ntop(family, of.address.data(), text.data(), text.size()))
		return "?";
	return family == AF_INET6 ? fmt::format("[{}]:{}", text.data(), of.port) :
				    fmt::format("{}:{}", text.data(), of.port);
}

} // namespace

namespace tool {

/* The sockets of a network namespace, by inode. A table is read when it is first asked. */
class socket_tables {
public:
	/* "" if there is none */
	std::string find(const process &of, std::uint64_t number);

private:
	struct entry {
		const char *name;	/* "tcp" */
		int family;
		unsigned state;
		endpoint local, peer;
		std::string text;	/* of a unix socket, all */
	};

	void read(const process &of, std::size_t which);
	void internet(std::string_view line, const char *name, int family);
	void local(std::string_view line);
	std::string text(const entry &of) const;

	static constexpr struct {
		const char *file, *name;
		int family;
	} tables[] = {
		{ "net/tcp", "tcp", AF_INET },	{ "net/tcp6", "tcp", AF_INET6 },
		{ "net/udp", "udp", AF_INET },	{ "net/udp6", "udp", AF_INET6 },
		/* The last: a path in it may have a line break, and look like other sockets' lines */
		{ "net/unix", "unix", AF_UNIX },
	};

	std::size_t read_ = 0; /* so many tables have been read */
	std::unordered_map<std::uint64_t, entry> entries_;
	std::unordered_set<std::uint16_t> listening_; /* ports */
};

} // namespace tool

std::string tool::socket_tables::find(const process &of, std::uint64_t number)
{
	for (;;) {
		const auto at = entries_.find(number);

		if (at != entries_.end())
			return text(at->second);
		if (read_ == std::size(tables))
			return {};
		read(of, read_++);
	}
}

void tool::socket_tables::read(const process &of, std::size_t which)
{
	const auto &table = tables[which];

	of.lines(table.file, [&](std::string_view line) {
		if (table.family == AF_UNIX)
			local(line);
		else
			internet(line, table.name, table.family);
		return true;
	});
}

/* sl local peer state queues timer retransmits uid timeout inode ... */
void tool::socket_tables::internet(std::string_view line, const char *name, int family)
{
	std::array<std::string_view, 10> words;
	entry found{ name, family, 0, {}, {}, {} };
	std::uint64_t number;

	for (auto &one : words)
		one = word(line);
	if (!parse_endpoint(words[1], found.local) || !parse_endpoint(words[2], found.peer) ||
	    !parse(words[3], found.state, 16) || !parse(words[9], number) || !number)
		return;
	if (name[0] == 't' && found.state == tcp_listening)
		listening_.insert(found.local.port);
	entries_.emplace(number, std::move(found));
}

/* Address: references protocol flags type state inode [path] */
void tool::socket_tables::local(std::string_view line)
{
	constexpr unsigned listening = 0x10000, connected = 3;
	unsigned flags, state;
	std::uint64_t number;

	word(line), word(line), word(line);

	const bool good = parse(word(line), flags, 16);

	word(line);
	if (!good || !parse(word(line), state, 16) || !parse(word(line), number))
		return;
	if (!line.empty())
		line.remove_prefix(1);

	entry found{ "unix", AF_UNIX, state, {}, {}, "unix" };

	if (!line.empty())
		found.text += " " + printable(line);
	if (flags & listening)
		found.text += " listening";
	else if (state == connected)
		found.text += " connected";
	else if (line.empty())
		found.text += ", no address";

	/* Where a path has made up a second line, neither is believed. */
	const auto [at, is_new] = entries_.emplace(number, std::move(found));

	if (!is_new && at->second.family == AF_UNIX)
		at->second.text = "unix socket";
}

std::string tool::socket_tables::text(const entry &of) const
{
	const bool tcp = of.name[0] == 't';

	if (of.family == AF_UNIX)
		return of.text;

	const std::string here = fmt::format("{} {}", of.name, endpoint_text(of.local, of.family));
	const char *state = tcp && of.state < std::size(tcp_states) ? tcp_states[of.state] : "";

	if (tcp ? of.state == tcp_listening || of.state == tcp_closed : of.state != tcp_established)
		return tcp ? here + " " + state : here;
	return fmt::format("{} {} {}{}{}", here, tcp && listening_.count(of.local.port) ? "<-" : "->",
			   endpoint_text(of.peer, of.family), tcp ? " " : "", state);
}

tool::describer::describer()
{
	int ends[2];

	sockets_ = device_of(::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0));
	anonymous_ = device_of(eventfd(0, EFD_CLOEXEC));
	if (!pipe2(ends, O_CLOEXEC)) {
		close(ends[1]);
		pipes_ = device_of(ends[0]);
	}
}

tool::describer::~describer() = default;

tool::socket_tables &tool::describer::tables_of(const process &of)
{
	const std::string space = of.link("ns/net");
	auto &tables = tables_[space.empty() ? fmt::format("of {}", of.pid()) : space];

	if (!tables)
		tables = std::make_unique<socket_tables>();
	return *tables;
}

std::string tool::describer::socket(const process &of, std::uint64_t number, int fd)
{
	std::string text = tables_of(of).find(of, number);
	std::array<char, 64> protocol;

	if (!text.empty() || fd < 0)
		return text.empty() ? "socket" : text;

	/* In no table: not bound yet, of another protocol, or made in another namespace. */
	const std::string path = fmt::format("/proc/{}/fd/{}", of.pid(), fd);
	const ssize_t n = getxattr(path.c_str(), "system.sockprotoname", protocol.data(),
				   protocol.size());

	if (n <= 0)
		return "socket";
	text.assign(protocol.data(), strnlen(protocol.data(), static_cast<std::size_t>(n)));
	if (text.ends_with("v6"))
		text.resize(text.size() - 2);
	for (char &c : text)
		c = static_cast<char>(tolower(static_cast<unsigned char>(c)));
	return printable(text) + (text == "tcp" || text == "udp" ? ", no address" : " socket");
}

std::optional<tool::target> tool::describer::look(const process &of, int fd)
{
	const std::string name = fmt::format("fd/{}", fd);
	std::string link = of.link(name);
	std::string_view rest = link;
	std::uint64_t number;
	struct stat st;

	if (link.empty())
		return {};

	const auto is = [&rest](std::string_view prefix) {
		if (!rest.starts_with(prefix))
			return false;
		rest.remove_prefix(prefix.size());
		if (rest.starts_with('[') && rest.ends_with(']'))
			rest = rest.substr(1, rest.size() - 2);
		return true;
	};

	if (is("socket:") && parse(rest, number))
		return target{ kind::socket, { number, sockets_ }, socket(of, number, fd), false };
	if (is("pipe:") && parse(rest, number))
		return target{ kind::pipe, { number, pipes_ }, "pipe, " + end_of(facts(of, fd)), false };

	/* Follows the link without opening the file. */
	if (stat(fmt::format("/proc/{}/fd/{}", of.pid(), fd).c_str(), &st))
		return {};

	const inode where{ st.st_ino, kernel_device(st.st_dev) };

	if (is("anon_inode:"))
		return target{ kind::anonymous, where, of_anonymous(of, fd, rest),
			       rest == "eventpoll" || rest == "myepoll" };

	const facts info(of, fd);
	target found{ kind::other, { info.number("ino"), where.device }, printable(link), false };
	struct statfs fs;

	if (!info.has("ino"))
		found.inode.number = where.number;
	if (S_ISFIFO(st.st_mode))
		found.what += ", " + end_of(info);
	else if (S_ISREG(st.st_mode) &&
		 !statfs(fmt::format("/proc/{}/fd/{}", of.pid(), fd).c_str(), &fs) &&
		 fs.f_type == mqueue_magic)
		found.what = "mqueue " + found.what;
	return found;
}

std::string tool::describer::without_descriptor(const process &of, const inode &which)
{
	if (which.device == sockets_)
		return socket(of, which.number, -1);
	if (which.device == pipes_)
		return "pipe";
	if (which.device == anonymous_)
		return "anonymous file";
	return fmt::format("file with the inode {}", which.number);
}

bool tool::describer::may_be(const target &now, const inode &then) const
{
	const auto is_pseudo = [this](std::uint64_t device) {
		return device == sockets_ || device == pipes_ || device == anonymous_;
	};

	if (now.inode.number != then.number)
		return false;
	/* Overlays and btrfs tell stat(2) another device than the one of the inode. */
	return now.inode.device == then.device ||
	       (!is_pseudo(now.inode.device) && !is_pseudo(then.device));
}

std::string tool::describe(pid_t pid, int fd)
{
	const auto found = describer().look(process(pid), fd);

	return found ? found->what : "closed";
}
