// SPDX-License-Identifier: GPL-2.0
#include "catch.hpp"
#include "example.hpp"

#include <csignal>

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

Example::Example(const std::string &path, const std::vector<std::string> &arguments,
		 const std::function<void()> &before)
{
	auto [r, w] = pipe_ends();
	std::vector<char *> argv{ const_cast<char *>(path.c_str()) };

	for (const std::string &argument : arguments)
		argv.push_back(const_cast<char *>(argument.c_str()));
	argv.push_back(nullptr);
	pid_ = fork();
	if (!pid_) {
		fcntl(w, F_SETFL, 0);
		dup2(w, 1);
		if (before)
			before();
		execv(path.c_str(), argv.data());
		_exit(127);
	}
	w = Fd();
	fcntl(r, F_SETFL, 0);
	out_ = fdopen(r.release(), "r");
	unsigned port = 0;
	REQUIRE(fscanf(out_, "%*[^:]: port %u", &port) == 1);
	port_ = static_cast<std::uint16_t>(port);
}

Example::~Example()
{
	if (pid_ > 0)
		kill(pid_, SIGKILL), waitpid(pid_, nullptr, 0);
	fclose(out_);
}

Fd Example::connect() const
{
	Fd fd(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
	sockaddr_in addr{};

	addr.sin_family = AF_INET;
	addr.sin_port = htons(port_);
	addr.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	return ::connect(fd, reinterpret_cast<sockaddr *>(&addr), sizeof(addr)) ? Fd() : std::move(fd);
}
