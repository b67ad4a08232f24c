// SPDX-License-Identifier: GPL-2.0
// A server and its clients, who say nothing but what comes back: ordinary epoll
// traffic, for tests/suites/life and tests/suites/soak to run on the preload library.
//
// usage: life-echo CLIENTS, until its input ends. It says "ready" when every client
// has been answered once, and "N messages" at the end.
#include <atomic>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <poll.h>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

namespace {

std::atomic<bool> stop{ false };

[[noreturn]] void die(const char *what)
{
	std::perror(what);
	std::exit(1);
}

int must(int r, const char *what)
{
	if (r < 0)
		die(what);
	return r;
}

int listen_on(sockaddr_in &address)
{
	socklen_t size = sizeof address;
	int fd = must(socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), "socket");

	address = {};
	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must(bind(fd, reinterpret_cast<sockaddr *>(&address), sizeof address), "bind");
	must(listen(fd, 128), "listen");
	must(getsockname(fd, reinterpret_cast<sockaddr *>(&address), &size), "getsockname");
	return fd;
}

void watch(int ep, int fd, std::uint32_t events)
{
	epoll_event e{};

	e.events = events;
	e.data.fd = fd;
	must(epoll_ctl(ep, EPOLL_CTL_ADD, fd, &e), "epoll_ctl");
}

// Level-triggered, and a connection is closed without a DEL
void serve(int listener)
{
	int ep = must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1");
	epoll_event events[16];
	char text[64];

	watch(ep, listener, EPOLLIN);
	while (!stop) {
		int n = must(epoll_wait(ep, events, 16, 50), "epoll_wait");

		for (int i = 0; i < n; i++) {
			int fd = events[i].data.fd;

			if (fd == listener) {
				int peer = accept4(listener, nullptr, nullptr, SOCK_NONBLOCK);
				if (peer >= 0)
					watch(ep, peer, EPOLLIN);
				continue;
			}
			ssize_t size = read(fd, text, sizeof text);
			if (size > 0)
				must(static_cast<int>(send(fd, text, static_cast<std::size_t>(size), 0)), "send");
			else if (size == 0 || errno != EAGAIN)
				close(fd);
		}
	}
	close(ep);
}

struct Client {
	int fd;
	std::uint64_t said;
};

int connect_to(const sockaddr_in &address)
{
	int fd = must(socket(AF_INET, SOCK_STREAM, 0), "socket");

	must(connect(fd, reinterpret_cast<const sockaddr *>(&address), sizeof address), "connect");
	return fd;
}

} // namespace

int main(int argc, char **argv)
{
	std::size_t count = argc > 1 ? static_cast<std::size_t>(std::atoi(argv[1])) : 8;
	sockaddr_in address;
	int listener = listen_on(address);
	std::thread server(serve, listener);
	int ep = must(epoll_create1(0), "epoll_create1");
	std::vector<Client> clients(count);
	std::uint64_t messages = 0;
	bool over = false, ready = false;

	auto say = [&](std::size_t i) {
		clients[i].said = messages++;
		must(static_cast<int>(send(clients[i].fd, &clients[i].said, sizeof clients[i].said, 0)), "send");
	};
	auto open = [&](std::size_t i) {
		epoll_event e{};

		clients[i].fd = connect_to(address);
		e.events = EPOLLIN | EPOLLET;
		e.data.u64 = i;
		must(epoll_ctl(ep, EPOLL_CTL_ADD, clients[i].fd, &e), "epoll_ctl");
		say(i);
	};
	for (std::size_t i = 0; i < count; i++)
		open(i);

	std::vector<std::uint64_t> answers(count);
	for (std::size_t answered = 0; !over || !ready;) {
		epoll_event events[16];
		int n = must(epoll_wait(ep, events, 16, 30'000), "epoll_wait");

		if (n == 0) {
			std::fprintf(stderr, "no answer in 30 s\n");
			return 1;
		}
		for (int k = 0; k < n; k++) {
			std::size_t i = events[k].data.u64;
			std::uint64_t heard;

			if (read(clients[i].fd, &heard, sizeof heard) != sizeof heard)
				die("read");
			if (heard != clients[i].said) {
				std::fprintf(stderr, "another answer than was said\n");
				return 1;
			}
			answered += answers[i]++ == 0;
			if (answers[i] % 64 == 0) {
				close(clients[i].fd);
				open(i);
			} else {
				say(i);
			}
		}
		if (!ready && answered == count) {
			ready = true;
			std::puts("ready");
			std::fflush(stdout);
		}
		pollfd in = { 0, POLLIN, 0 };
		char rest[64];
		over |= poll(&in, 1, 0) == 1 && read(0, rest, sizeof rest) <= 0;
	}
	stop = true;
	server.join();
	std::printf("%llu messages\n", static_cast<unsigned long long>(messages));
	return 0;
}
