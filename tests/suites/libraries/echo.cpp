// SPDX-License-Identifier: GPL-2.0
// The example servers of one thread, as their users would meet them
#include "catch.hpp"
#include "example.hpp"

#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <ctime>
#include <fstream>
#include <numeric>
#include <string>
#include <thread>

#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

struct Way {
	const char *program;
	std::vector<std::string> arguments;
	unsigned own_watches;     // beside those of clients
	bool counts_refused; // clients
};

// With changes at once; with them by turns; in another loop; and of coroutines
const std::vector<Way> ways = { { "echo-server", { "0" }, 2, false },
				{ "echo-server", { "--turn", "0" }, 2, false },
				{ "asio-echo-server", { "0" }, 1, false },
				{ "coro-echo-server", { "0" }, 2, true } };

std::ostream &operator<<(std::ostream &out, const Way &way)
{
	return out << way.program << ' ' << way.arguments.front();
}

class Server : public Example {
public:
	explicit Server(const Way &way, rlim_t descriptors = 0)
		: Example(directory() + "/../userspace/examples/" + way.program, way.arguments,
			  [descriptors] {
				  const rlimit limit = { descriptors, descriptors };

				  if (descriptors)
					  setrlimit(RLIMIT_NOFILE, &limit);
			  })
	{
	}

	Fd connect() const
	{
		Fd fd = Example::connect();

		REQUIRE(fd >= 0);
		return fd;
	}

	double cpu_seconds() const
	{
		clockid_t clock;
		timespec t{};

		REQUIRE(clock_getcpuclockid(pid_, &clock) == 0);
		REQUIRE(clock_gettime(clock, &t) == 0);
		return double(t.tv_sec) + double(t.tv_nsec) / 1e9;
	}

	// Ends it; the number of connections that it says it served
	unsigned long stop()
	{
		unsigned long served = 0;
		int status = -1;

		kill(pid_, SIGTERM);
		CHECK(fscanf(out_, " %*[^:]: %lu connections", &served) == 1);
		waitpid(pid_, &status, 0);
		pid_ = 0;
		CHECK(status == 0);
		return served;
	}
};

std::string receive_all(int fd)
{
	std::string all;
	char buffer[65536];
	ssize_t n;

	while ((n = read(fd, buffer, sizeof(buffer))) > 0)
		all.append(buffer, static_cast<std::size_t>(n));
	CHECK(n == 0);
	return all;
}

} // namespace

TEST_CASE("echo-server: a burst of clients", "[echo]")
{
	const Way way = GENERATE(from_range(ways));
	CAPTURE(way);
	Server server(way);
	std::vector<Fd> clients;

	for (int i = 0; i < 200; i++)
		clients.push_back(server.connect());
	for (std::size_t i = 0; i < clients.size(); i++) {
		const std::string line = "hello " + std::to_string(i);

		REQUIRE(write(clients[i], line.data(), line.size()) == ssize_t(line.size()));
	}
	for (std::size_t i = 0; i < clients.size(); i++) {
		shutdown(clients[i], SHUT_WR);
		CHECK(receive_all(clients[i]) == "hello " + std::to_string(i));
	}
	CHECK(server.stop() == 200);
}

TEST_CASE("echo-server: more than the sockets hold, to the last byte", "[echo]")
{
	const Way way = GENERATE(from_range(ways));
	CAPTURE(way);
	Server server(way);
	Fd client = server.connect(), idle = server.connect();
	std::string sent(16 << 20, 0);

	std::iota(sent.begin(), sent.end(), 0);
	for (std::size_t i = 0; i < sent.size(); i += 4096)
		memcpy(&sent[i], &i, sizeof(i));
	std::thread writer([&] {
		for (std::size_t done = 0; done < sent.size();) {
			const ssize_t n = send(client, &sent[done], sent.size() - done, MSG_NOSIGNAL);

			if (n <= 0)
				break;
			done += static_cast<std::size_t>(n);
		}
		shutdown(client, SHUT_WR);
	});
	/* Let everything on the way fill up before any of it is taken. */
	std::this_thread::sleep_for(std::chrono::milliseconds(200));
	const bool same = receive_all(client) == sent;
	writer.join();
	CHECK(same);
	CHECK(server.stop() == 2);
}

TEST_CASE("echo-server: clients that reset", "[echo]")
{
	const Way way = GENERATE(from_range(ways));
	CAPTURE(way);
	Server server(way);

	for (int i = 0; i < 20; i++) {
		Fd client = server.connect();
		const linger now = { 1, 0 };

		setsockopt(client, SOL_SOCKET, SO_LINGER, &now, sizeof(now));
		CHECK(write(client, "x", 1) == 1);
	}
	Fd client = server.connect();
	CHECK(write(client, "y", 1) == 1);
	shutdown(client, SHUT_WR);
	CHECK(receive_all(client) == "y");
	CHECK(server.stop() >= 1);
}

TEST_CASE("echo-server: out of descriptors, clients wait and the processor rests", "[echo]")
{
	const Way way = GENERATE(from_range(ways));
	CAPTURE(way);
	Server server(way, 16);
	std::vector<Fd> clients;

	for (int i = 0; i < 40; i++) {
		clients.push_back(server.connect());
		REQUIRE(write(clients.back(), "z", 1) == 1);
	}
	std::this_thread::sleep_for(std::chrono::milliseconds(100));
	const double before = server.cpu_seconds();
	std::this_thread::sleep_for(std::chrono::seconds(1));
	CHECK(server.cpu_seconds() - before < 0.25);
	for (auto &client : clients) {
		shutdown(client, SHUT_WR);
		CHECK(receive_all(client) == "z");
		client = Fd();
	}
	CHECK(server.stop() == 40);
}

namespace {

class WatchLimit {
public:
	explicit WatchLimit(const std::string &limit)
	{
		REQUIRE(std::getline(std::ifstream(path), old_));
		REQUIRE(std::ofstream(path) << limit << std::flush);
	}
	~WatchLimit() { std::ofstream(path) << old_; }

private:
	static constexpr char path[] = "/sys/module/myepoll/parameters/max_user_watches";
	std::string old_;
};

bool served(int fd)
{
	char c = 'w';

	return send(fd, &c, 1, MSG_NOSIGNAL) == 1 && read(fd, &c, 1) == 1;
}

} // namespace

TEST_CASE("echo-server: out of watches, a client is turned away and the others are served", "[echo]")
{
	const Way way = GENERATE(from_range(ways));
	CAPTURE(way);
	Server server(way);
	std::vector<Fd> clients;
	unsigned long n = 0;

	{
		const WatchLimit limit("6");

		for (int i = 0; i < 10; i++)
			clients.push_back(server.connect());
		for (const auto &client : clients)
			n += served(client);
		CHECK(n == 6 - way.own_watches);
	}
	CHECK(served(server.connect()));
	CHECK(served(clients.front()));
	CHECK(server.stop() == (way.counts_refused ? clients.size() : n) + 1);
}
