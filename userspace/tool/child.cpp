// SPDX-License-Identifier: MIT
#include "child.hpp"

#include "ending.hpp"
#include "tool.hpp"

#include <cerrno>
#include <csignal>
#include <cstring>
#include <vector>

#include <fcntl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

[[noreturn]] void be_command(int gate, char **command)
{
	char byte;

	/* The end of the file, without a byte: the parent is gone. */
	if (read(gate, &byte, 1) != 1)
		_exit(tool::failed);
	close(gate);
	signal(SIGINT, SIG_DFL);

	std::vector<char *> words;

	for (const char *word : { "myepoll", "run", "--quiet", "--" })
		words.push_back(const_cast<char *>(word));
	for (; *command; command++)
		words.push_back(*command);
	words.push_back(nullptr);
	execv("/proc/self/exe", words.data());
	tool::say("/proc/self/exe: {}", strerror(errno));
	_exit(tool::failed);
}

} // namespace

tool::child::child(char **command)
{
	int gate[2];

	if (!command || !*command)
		throw failure(failed, "there is no command");
	if (pipe2(gate, O_CLOEXEC))
		throw failure(failed, fmt::format("pipe: {}", strerror(errno)));
	pid_ = fork();
	if (pid_ == 0) {
		close(gate[1]);
		be_command(gate[0], command);
	}

	const int error = errno;

	close(gate[0]);
	gate_ = gate[1];
	if (pid_ < 0) {
		close(gate_);
		throw failure(failed, fmt::format("fork: {}", strerror(error)));
	}
	/* Close-on-exec by itself. Not reaped before wait(), so the number is the child's. */
	pidfd_ = static_cast<int>(syscall(SYS_pidfd_open, pid_, 0));
}

tool::child::~child()
{
	if (gate_ >= 0)
		close(gate_);
	if (status_ < 0) {
		kill(pid_, SIGTERM);
		wait();
	}
	if (pidfd_ >= 0)
		close(pidfd_);
}

void tool::child::go()
{
	const no_sigpipe guard;
	const ssize_t written = write(gate_, "", 1);

	close(gate_);
	gate_ = -1;
	if (written != 1)
		throw failure(failed, "the command's process is gone");
}

int tool::child::wait()
{
	int status;

	if (status_ >= 0)
		return status_;
	while (waitpid(pid_, &status, 0) < 0)
		if (errno != EINTR)
			return status_ = failed;
	return status_ = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}
