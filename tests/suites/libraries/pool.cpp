// SPDX-License-Identifier: GPL-2.0
// The example with many threads: an owner that frees connections while workers have them.
// With DISABLE that is safe, and with a plain DEL in its place it is not.
#include "catch.hpp"
#include "example.hpp"

#include <atomic>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <string>
#include <thread>

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

using namespace std::chrono_literals;
using std::chrono::steady_clock;

namespace {

class Server : public Example {
public:
	Server(const std::string &path, const char *idle_ms) : Server(path, idle_ms, pipe_ends()) {}

	bool has_ended()
	{
		if (pid_ && waitpid(pid_, &status_, WNOHANG) == pid_)
			pid_ = 0;
		return !pid_;
	}

	struct Told {
		int status = 0;
		unsigned long served = 0, expelled = 0, busy = 0;
		std::string err;
	};
	// Ends it, if it has not ended
	Told stop()
	{
		Told told;
		char buffer[4096];
		ssize_t n;

		if (!has_ended()) {
			kill(pid_, SIGTERM);
			waitpid(pid_, &status_, 0);
			pid_ = 0;
		}
		told.status = WIFEXITED(status_) ? WEXITSTATUS(status_) : 128 + WTERMSIG(status_);
		(void)!fscanf(out_, " pool-server: %lu connections, %lu expelled (%lu of them busy)", &told.served,
			      &told.expelled, &told.busy);
		while ((n = read(err_, buffer, sizeof(buffer))) > 0)
			told.err.append(buffer, static_cast<std::size_t>(n));
		return told;
	}

private:
	Server(const std::string &path, const char *idle_ms, std::pair<Fd, Fd> err)
		: Example(path, { "0", "4", idle_ms },
			  [&] {
				  fcntl(err.second, F_SETFL, 0);
				  dup2(err.second, 2);
			  }),
		  err_(std::move(err.first))
	{
	}

	int status_ = 0;
	Fd err_;
};

// Clients that are idle for about as long as a connection may be, until `end` or the server's.
// Returns how often an answer was wrong.
int churn(Server &server, steady_clock::time_point end)
{
	std::vector<std::thread> clients;
	std::atomic<int> wrong{ 0 };
	std::atomic<bool> stop{ false };

	for (unsigned i = 0; i < 8; i++)
		clients.emplace_back([&, i] {
			unsigned random = i;

			while (!stop) {
				Fd fd = server.connect();
				char c = 'a', got = 0;

				while (fd >= 0 && !stop) {
					c = static_cast<char>('a' + (c - 'a' + 1) % 26);
					if (send(fd, &c, 1, MSG_NOSIGNAL) != 1 || read(fd, &got, 1) != 1)
						break;
					wrong += got != c;
					random = random * 1103515245 + 12345;
					std::this_thread::sleep_for(std::chrono::microseconds(random >> 16 & 4095));
				}
				if (fd < 0)
					std::this_thread::sleep_for(1ms);
			}
		});
	while (steady_clock::now() < end && !server.has_ended())
		std::this_thread::sleep_for(10ms);
	stop = true;
	for (auto &client : clients)
		client.join();
	return wrong;
}

} // namespace

TEST_CASE("pool-server: serves, and expels who is idle", "[pool]")
{
	Server server(directory() + "/../userspace/examples/pool-server", "300");
	Fd busy = server.connect(), idle = server.connect();
	char c = 'x';

	REQUIRE(busy >= 0);
	REQUIRE(idle >= 0);
	for (int i = 0; i < 20; i++) {
		REQUIRE(write(busy, &c, 1) == 1);
		REQUIRE(read(busy, &c, 1) == 1);
		std::this_thread::sleep_for(50ms);
	}
	CHECK(read(idle, &c, 1) == 0);
	const auto told = server.stop();
	CHECK(told.status == 0);
	CHECK(told.err == "");
	CHECK(told.served == 2);
	CHECK(told.expelled == 1);
}

TEST_CASE("pool-server: connections are freed while workers have them, and no one uses them after that",
	  "[pool][disable]")
{
	Server::Told told;

	/* Until it has come to what is to be shown */
	for (int i = 0; i < 10 && !told.status && told.busy < 20; i++) {
		Server server(directory() + "/pool-server-asan", "2");

		CHECK(churn(server, steady_clock::now() + 2s) == 0);
		const auto more = server.stop();
		told.status |= more.status;
		told.err += more.err;
		told.expelled += more.expelled;
		told.busy += more.busy;
	}
	CHECK(told.status == 0);
	CHECK(told.err == "");
	CHECK(told.expelled > told.busy);
	CHECK(told.busy >= 20);
}

TEST_CASE("pool-server: with DEL in the place of DISABLE they are used after they were freed", "[pool][disable]")
{
	Server server(directory() + "/pool-server-del-asan", "2");

	churn(server, steady_clock::now() + 90s);
	CHECK(server.has_ended());
	const auto told = server.stop();
	INFO(told.err);
	CHECK(told.status != 0);
	CHECK(told.err.find("heap-use-after-free") != std::string::npos);
}
