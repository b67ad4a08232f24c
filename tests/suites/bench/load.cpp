// SPDX-License-Identifier: GPL-2.0
// load PORT CLIENTS ROUNDS REQUEST [PID TEXT] - what a request costs a server
//
// Opens CLIENTS connections to 127.0.0.1:PORT and ROUNDS times sends REQUEST on each of
// them, sleeps, and reads each one's answer; "\r" and "\n" in it are bytes. All answers are
// as long as the first. Real-time, so that a server on the same CPU sleeps until all is sent
// and then runs until all is answered: a wait for each round, whatever it waits by.
//
// With PID, prints "TEXT<tab>COST": the time that the process's threads ran
// (/proc/PID/task/TID/schedstat) for a request, in ns, which in a guest of
// tests/suites/bench/guest.py are instructions. Connecting and some rounds to warm up are not in it.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

namespace {

constexpr int warm_up = 20;
constexpr unsigned patience_us = 100; // for an answer

[[noreturn]] void die(const char *what)
{
	std::fprintf(stderr, "load: %s: %s\n", what, std::strerror(errno));
	std::exit(1);
}

std::string unescape(const std::string &text)
{
	std::string out;

	for (std::size_t i = 0; i < text.size(); i++) {
		if (text[i] == '\\' && i + 1 < text.size()) {
			i++;
			out += text[i] == 'r' ? '\r' : text[i] == 'n' ? '\n' : text[i];
		} else {
			out += text[i];
		}
	}
	return out;
}

int connect_to(int port)
{
	sockaddr_in to{};
	const int yes = 1;
	int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);

	to.sin_family = AF_INET;
	to.sin_port = htons(static_cast<std::uint16_t>(port));
	to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (fd < 0 || connect(fd, reinterpret_cast<sockaddr *>(&to), sizeof to) ||
	    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes))
		die("connect");
	return fd;
}

void send_all(int fd, const std::string &request)
{
	if (write(fd, request.data(), request.size()) != static_cast<ssize_t>(request.size()))
		die("write");
}

void receive(int fd, std::size_t size)
{
	char buffer[4096];

	while (size) {
		ssize_t n = read(fd, buffer, std::min(size, sizeof buffer));

		if (n <= 0)
			die("read");
		size -= static_cast<std::size_t>(n);
	}
}

// Until nothing comes for a while
std::size_t receive_first(int fd)
{
	const timeval quiet{ 0, 200'000 }, none{ 0, 0 };
	char buffer[4096];
	std::size_t size = 0;
	ssize_t n;

	do {
		n = read(fd, buffer, sizeof buffer);
		size += n > 0 ? static_cast<std::size_t>(n) : 0;
		setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &quiet, sizeof quiet);
	} while (n > 0);
	if (!size || n == 0 || errno != EAGAIN)
		die("the first answer");
	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &none, sizeof none);
	return size;
}

// Asleep again after its last answer: a thread's time is counted when it stops running.
double time_of(const std::string &pid)
{
	double sum = 0, ns = 0;

	usleep(20'000);
	for (const auto &task : std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
		if (!(std::ifstream(task.path() / "schedstat") >> ns))
			die("schedstat");
		sum += ns;
	}
	return sum;
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 5 && argc != 7) {
		std::fprintf(stderr, "usage: load PORT CLIENTS ROUNDS REQUEST [PID TEXT]\n");
		return 2;
	}
	const int rounds = std::atoi(argv[3]);
	const std::string request = unescape(argv[4]), pid = argc == 7 ? argv[5] : "self";
	const sched_param real_time{ 1 };
	std::vector<int> clients;
	std::size_t size = 0;

	if (sched_setscheduler(0, SCHED_FIFO, &real_time))
		die("sched_setscheduler");
	for (int i = 0; i < std::atoi(argv[2]); i++) {
		clients.push_back(connect_to(std::atoi(argv[1])));
		send_all(clients.back(), request);
		if (!size)
			size = receive_first(clients.back());
		else
			receive(clients.back(), size);
	}
	double start = 0;
	for (int i = -warm_up; i < rounds; i++) {
		if (i == 0)
			start = time_of(pid);
		for (int fd : clients)
			send_all(fd, request);
		usleep(patience_us * static_cast<unsigned>(clients.size() + 1));
		for (int fd : clients)
			receive(fd, size);
	}
	if (argc == 7)
		std::printf("%s\t%.1f\n", argv[6],
			    (time_of(pid) - start) / rounds / static_cast<double>(clients.size()));
	return 0;
}
