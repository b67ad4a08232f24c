// SPDX-License-Identifier: GPL-2.0
// load PORT CLIENTS ROUNDS REQUEST [PID TEXT [GAP]] - what a request costs a server
//
// Opens CLIENTS connections to 127.0.0.1:PORT and ROUNDS times sends REQUEST on each of
// them, sleeps, and reads each one's answer; "\r" and "\n" in it are bytes. All answers are
// as long as the first. Real-time, so that a server on the same CPU sleeps until all is sent
// and then runs until all is answered: a wait for each round, whatever it waits by.
//
// With PID, prints "TEXT<tab>COST": the time that the process's threads ran
// (/proc/PID/task/TID/schedstat) for a request, in ns, which in a guest of
// tests/suites/bench/guest.py are instructions. Connecting and some rounds to warm up are not in it.
//
// With GAP, requests are GAP us apart, each on the next connection, and answers are read as they
// come. Prints "TEXT, WHAT<tab>FIGURE" of a request: what it costs as above, how often the
// server's threads are switched away from, and how long the answer takes, the mean and what
// 99 of 100 stay below.
#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>
#include <vector>

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
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

double switches_of(const std::string &pid)
{
	double sum = 0;

	for (const auto &task : std::filesystem::directory_iterator("/proc/" + pid + "/task")) {
		std::ifstream status(task.path() / "status");
		std::string line;

		while (std::getline(status, line))
			if (line.find("voluntary_ctxt_switches:") != std::string::npos)
				sum += std::stod(line.substr(line.find(':') + 1));
	}
	return sum;
}

std::int64_t now_ns()
{
	timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return t.tv_sec * INT64_C(1'000'000'000) + t.tv_nsec;
}

void real_time(int priority)
{
	const sched_param p{ priority };

	if (sched_setscheduler(0, SCHED_FIFO, &p))
		die("sched_setscheduler");
}

// Send `n` requests, `gap` ns apart; how long each answer took
std::vector<double> paced(const std::vector<int> &clients, const std::string &request,
			  std::size_t size, std::size_t n, std::int64_t gap)
{
	std::vector<std::int64_t> sent(clients.size());
	std::vector<double> took;
	const int ep = epoll_create1(EPOLL_CLOEXEC);

	for (std::size_t i = 0; i < clients.size(); i++) {
		epoll_event event{ EPOLLIN, {} };

		event.data.u64 = i;
		if (epoll_ctl(ep, EPOLL_CTL_ADD, clients[i], &event))
			die("epoll_ctl");
	}
	std::thread reader([&] {
		epoll_event events[64];

		real_time(2);
		while (took.size() < n) {
			const int ready = epoll_wait(ep, events, 64, 10'000);

			if (ready <= 0)
				die("no answer");
			for (int i = 0; i < ready; i++) {
				const auto client = events[i].data.u64;

				receive(clients[client], size);
				took.push_back(static_cast<double>(now_ns() - sent[client]));
			}
		}
	});
	std::int64_t at = now_ns();
	for (std::size_t i = 0; i < n; i++) {
		at += gap;
		const timespec until{ at / 1'000'000'000, at % 1'000'000'000 };

		clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, nullptr);
		sent[i % clients.size()] = now_ns();
		send_all(clients[i % clients.size()], request);
	}
	reader.join();
	close(ep);
	return took;
}

void measure_paced(const std::vector<int> &clients, const std::string &request, std::size_t size,
		   std::size_t n, std::int64_t gap, const std::string &pid, const char *text)
{
	paced(clients, request, size, clients.size() * warm_up, gap);
	const double time = time_of(pid), switches = switches_of(pid);
	auto took = paced(clients, request, size, n, gap);
	const double requests = static_cast<double>(n);

	std::printf("%s, cost\t%.1f\n", text, (time_of(pid) - time) / requests);
	std::printf("%s, switches\t%.3f\n", text, (switches_of(pid) - switches) / requests);
	std::sort(took.begin(), took.end());
	std::printf("%s, mean answer\t%.1f\n", text,
		    std::accumulate(took.begin(), took.end(), 0.0) / requests / 1000);
	std::printf("%s, 99 of 100 answers\t%.1f\n", text, took[n * 99 / 100] / 1000);
}

} // namespace

int main(int argc, char **argv)
{
	if (argc != 5 && argc != 7 && argc != 8) {
		std::fprintf(stderr, "usage: load PORT CLIENTS ROUNDS REQUEST [PID TEXT [GAP]]\n");
		return 2;
	}
	const int rounds = std::atoi(argv[3]);
	const std::string request = unescape(argv[4]), pid = argc > 5 ? argv[5] : "self";
	std::vector<int> clients;
	std::size_t size = 0;

	real_time(1);
	for (int i = 0; i < std::atoi(argv[2]); i++) {
		clients.push_back(connect_to(std::atoi(argv[1])));
		send_all(clients.back(), request);
		if (!size)
			size = receive_first(clients.back());
		else
			receive(clients.back(), size);
	}
	if (argc == 8) {
		measure_paced(clients, request, size, clients.size() * static_cast<std::size_t>(rounds),
			      std::atoi(argv[7]) * INT64_C(1000), pid, argv[6]);
		return 0;
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
