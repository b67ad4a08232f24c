// SPDX-License-Identifier: MIT
/*
 * What the examples need that is not about event polling: descriptors that close themselves,
 * a listening socket, signals by a descriptor.
 */
#ifndef NET_HPP
#define NET_HPP

#include <netinet/in.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
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

} // namespace net

#endif // NET_HPP
