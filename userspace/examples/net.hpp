// SPDX-License-Identifier: MIT
/*
 * What the examples need besides a loop: descriptors that close themselves, a listening
 * socket and its clients, signals by a descriptor, a main().
 */
#ifndef NET_HPP
#define NET_HPP

#include <myepoll/event.hpp>

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <exception>
#include <system_error>

namespace net {

inline int checked(int result, const char *what)
{
	if (result < 0)
		throw std::system_error(errno, std::system_category(), what);
	return result;
}

class unique_fd {
public:
	explicit unique_fd(int fd) noexcept : fd_(fd) {}
	unique_fd(const unique_fd &) = delete;
	unique_fd &operator=(const unique_fd &) = delete;
	~unique_fd()
	{
		if (fd_ >= 0)
			close(fd_);
	}
	int get() const noexcept { return fd_; }

private:
	int fd_;
};

/* A socket that listens on 127.0.0.1; port 0 leaves the choice to the kernel. */
class listener {
public:
	explicit listener(std::uint16_t port)
		: fd_(checked(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0), "socket"))
	{
		const int yes = 1;
		sockaddr_in addr{};

		addr.sin_family = AF_INET;
		addr.sin_port = htons(port);
		addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
		setsockopt(get(), SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
		checked(bind(get(), reinterpret_cast<sockaddr *>(&addr), sizeof(addr)), "bind");
		checked(listen(get(), SOMAXCONN), "listen");
	}

	int get() const noexcept { return fd_.get(); }
	std::uint16_t port() const
	{
		sockaddr_in addr{};
		socklen_t len = sizeof(addr);

		checked(getsockname(get(), reinterpret_cast<sockaddr *>(&addr), &len), "getsockname");
		return ntohs(addr.sin_port);
	}

private:
	unique_fd fd_;
};

/* The next client, or -1 with errno: EAGAIN if there is none, else what there is none of for him. */
inline int accept(const listener &from)
{
	for (;;) {
		const int fd = accept4(from.get(), nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC);
		const int yes = 1;

		if (fd >= 0)
			setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof(yes));
		/* A client that gave up in the queue is no reason to stop. */
		if (fd >= 0 || (errno != ECONNABORTED && errno != EINTR))
			return fd;
	}
}

/* A client that is sent what he sends. */
class connection {
public:
	explicit connection(int fd) noexcept : fd_(fd) {}

	int fd() const noexcept { return fd_.get(); }

	/*
	 * Echo until the socket has no more to give or takes no more. Returns what to wait for,
	 * or none: it is over. EINTR cannot be: there are no handlers.
	 */
	myepoll::interest run() noexcept
	{
		using myepoll::interest;

		for (;;) {
			if (sent_ == filled_) {
				const ssize_t n = read(fd(), buffer_.data(), buffer_.size());

				if (n <= 0)
					return n < 0 && errno == EAGAIN ? interest::in : interest::none;
				sent_ = 0;
				filled_ = static_cast<std::size_t>(n);
			}
			const ssize_t n = send(fd(), buffer_.data() + sent_, filled_ - sent_,
					       MSG_NOSIGNAL);
			if (n < 0)
				return errno == EAGAIN ? interest::out : interest::none;
			sent_ += static_cast<std::size_t>(n);
		}
	}

private:
	unique_fd fd_;
	std::array<char, 16384> buffer_;
	std::size_t filled_ = 0, sent_ = 0;
};

/* SIGTERM and SIGINT are blocked, in threads that are made later too, and read from this. */
inline int block_signals()
{
	sigset_t mask;

	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	checked(sigprocmask(SIG_BLOCK, &mask, nullptr), "sigprocmask");
	return checked(signalfd(-1, &mask, SFD_CLOEXEC | SFD_NONBLOCK), "signalfd");
}

/*
 * The rest of main(): a server on the port that argv[at] names, or on 7777. Server has a
 * constructor for that, port(), and run(), which returns the number of connections served.
 */
template <typename Server>
int serve(const char *name, const char *usage, int argc, char **argv, int at, auto... more)
{
	std::uint16_t port = 7777;

	if (argc > at) {
		const char *const end = argv[at] + std::strlen(argv[at]);
		const auto parsed = std::from_chars(argv[at], end, port);

		if (argc > at + 1 || parsed.ec != std::errc() || parsed.ptr != end) {
			std::fprintf(stderr, "usage: %s %s\n", name, usage);
			return 2;
		}
	}
	try {
		Server server(port, more...);

		std::printf("%s: port %u\n", name, server.port());
		std::fflush(stdout);
		std::printf("%s: %lu connections\n", name, server.run());
	} catch (const std::exception &e) {
		std::fprintf(stderr, "%s: %s\n", name, e.what());
		return 1;
	}
	return 0;
}

} // namespace net

#endif // NET_HPP
