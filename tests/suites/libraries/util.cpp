// SPDX-License-Identifier: GPL-2.0
#include "util.hpp"

#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <iterator>
#include <map>
#include <ostream>
#include <stdexcept>
#include <system_error>

#include <csignal>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

#include "uapi/myepoll.h"
#include "userspace/src/sys.h"

std::ostream &operator<<(std::ostream &out, const Result &r)
{
	return out << r.value << (r.error ? std::string(" ") + strerrorname_np(r.error) : "");
}

static int must(long r)
{
	if (r < 0)
		throw std::system_error(errno, std::system_category());
	return static_cast<int>(r);
}

Fd eventfd_with(unsigned count)
{
	return Fd(must(eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC)));
}

std::pair<Fd, Fd> pipe_ends()
{
	int p[2];

	must(pipe2(p, O_CLOEXEC | O_NONBLOCK));
	return { Fd(p[0]), Fd(p[1]) };
}

Fd native_epoll()
{
	Fd fd(static_cast<int>(sys4(SYS_epoll_create1, EPOLL_CLOEXEC, 0, 0, 0)));

	if (link_of(fd) != "anon_inode:[eventpoll]")
		throw std::logic_error("not the kernel's epoll");
	return fd;
}

std::string link_of(int fd)
{
	std::error_code ec;

	return std::filesystem::read_symlink("/proc/self/fd/" + std::to_string(fd), ec).string();
}

std::vector<std::string> open_files()
{
	std::vector<std::string> files;

	for (int fd = 0; fd < 1024; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			files.push_back(std::to_string(fd) + " " + link_of(fd));
	return files;
}

static int status_of(pid_t pid)
{
	int status;

	while (waitpid(pid, &status, 0) < 0)
		if (errno != EINTR)
			throw std::system_error(errno, std::system_category());
	return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

int in_child(const std::function<int()> &body)
{
	const pid_t pid = must(fork());

	if (!pid)
		_exit(body());
	return status_of(pid);
}

Ran run(const std::vector<std::string> &argv, const std::vector<std::string> &environment,
	const std::function<void()> &before)
{
	auto [out, out_w] = pipe_ends();
	auto [err, err_w] = pipe_ends();
	std::vector<char *> args, env;

	for (const auto &s : argv)
		args.push_back(const_cast<char *>(s.c_str()));
	args.push_back(nullptr);
	for (char **e = environ; *e; e++)
		if (strncmp(*e, "MYEPOLL_", 8) && strncmp(*e, "LD_PRELOAD=", 11))
			env.push_back(*e);
	for (const auto &s : environment)
		env.push_back(const_cast<char *>(s.c_str()));
	env.push_back(nullptr);

	const pid_t pid = must(fork());

	if (!pid) {
		/* Blocking ends for a program that expects an ordinary stdout */
		fcntl(out_w, F_SETFL, 0);
		fcntl(err_w, F_SETFL, 0);
		dup2(out_w, 1);
		dup2(err_w, 2);
		if (before)
			before();
		execve(args[0], args.data(), env.data());
		dprintf(2, "%s: %s\n", args[0], strerror(errno));
		_exit(127);
	}
	out_w = Fd();
	err_w = Fd();

	Ran ran{};
	std::string *texts[] = { &ran.out, &ran.err };
	pollfd fds[] = { { out, POLLIN, 0 }, { err, POLLIN, 0 } };

	while (fds[0].fd >= 0 || fds[1].fd >= 0) {
		poll(fds, 2, -1);
		for (int i = 0; i < 2; i++) {
			char buffer[4096];
			ssize_t n;

			if (fds[i].fd < 0 || !fds[i].revents)
				continue;
			n = read(fds[i].fd, buffer, sizeof(buffer));
			if (n > 0)
				texts[i]->append(buffer, static_cast<std::size_t>(n));
			else if (n == 0 || errno != EAGAIN)
				fds[i].fd = -1;
		}
	}
	ran.status = status_of(pid);
	return ran;
}

static std::string self()
{
	return std::filesystem::read_symlink("/proc/self/exe").string();
}

std::string directory()
{
	return std::filesystem::path(self()).parent_path().string();
}

static std::map<std::string, Child> &children()
{
	static std::map<std::string, Child> all;

	return all;
}

AddChild::AddChild(const char *name, Child child)
{
	children().emplace(name, child);
}

Ran again(const std::string &child, const std::vector<std::string> &arguments,
	  const std::vector<std::string> &environment, const std::function<void()> &before)
{
	std::vector<std::string> argv = { self(), "--child", child };

	argv.insert(argv.end(), arguments.begin(), arguments.end());
	return run(argv, environment, before);
}

/* See tests/fixtures/catch_main.cpp. */
extern "C" int take_test_options(int *argc, char **argv)
{
	if (*argc < 3 || strcmp(argv[1], "--child"))
		return 0;
	exit(children().at(argv[2])({ argv + 3, argv + *argc }));
}

static void install(sock_filter *code, std::size_t n)
{
	sock_fprog program = { static_cast<unsigned short>(n), code };

	EXPECT(!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
	EXPECT(!prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program, 0, 0));
}

#define LOAD(field) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, field))
#define SKIP_UNLESS(value, n) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(value), 0, n)
#define ANSWER(error) BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | static_cast<unsigned>(error))
#define ALLOW BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW)

void forbid(int nr, int error)
{
	sock_filter code[] = { LOAD(nr), SKIP_UNLESS(nr, 1), ANSWER(error), ALLOW };

	install(code, std::size(code));
}

void forbid_ioctl(int fd, unsigned long cmd, int error)
{
	sock_filter code[] = { LOAD(nr),      SKIP_UNLESS(SYS_ioctl, 5),
			       LOAD(args[0]), SKIP_UNLESS(fd, 3), /* the lower half */
			       LOAD(args[1]), SKIP_UNLESS(cmd, 1),
			       ANSWER(error), ALLOW };

	install(code, std::size(code));
}

void forbid_ioctl_everywhere(unsigned long cmd, int error)
{
	sock_filter code[] = { LOAD(nr), SKIP_UNLESS(SYS_ioctl, 3), LOAD(args[1]), SKIP_UNLESS(cmd, 1),
			       ANSWER(error), ALLOW };

	install(code, std::size(code));
}

void older_module()
{
	struct sigaction action = {};
	sock_filter code[] = {
		LOAD(nr), SKIP_UNLESS(SYS_fadvise64, 3), LOAD(args[3]),
		SKIP_UNLESS(MYEPOLL_FAST_TURN, 1), ANSWER(EINVAL),
		LOAD(nr), SKIP_UNLESS(SYS_ioctl, 11), LOAD(args[1]),
		SKIP_UNLESS(MYEPOLL_IOC_TURN, 1), ANSWER(EINVAL),
		SKIP_UNLESS(MYEPOLL_IOC_LIST, 1), ANSWER(EINVAL),
		SKIP_UNLESS(MYEPOLL_IOC_SET_OPTIONS, 1), ANSWER(EINVAL),
		SKIP_UNLESS(MYEPOLL_IOC_GET_OPTIONS, 1), ANSWER(EINVAL),
		SKIP_UNLESS(MYEPOLL_IOC_FEATURES, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_TRAP),
		ALLOW,
	};

	action.sa_flags = SA_SIGINFO;
	action.sa_sigaction = [](int, siginfo_t *, void *context) {
		auto &regs = static_cast<ucontext_t *>(context)->uc_mcontext.gregs;
		const std::uint64_t features = MYEPOLL_FEATURE_FAST_DOOR;

		memcpy(reinterpret_cast<void *>(regs[REG_RDX]), &features, sizeof(features));
		regs[REG_RAX] = 0;
	};
	EXPECT(!sigaction(SIGSYS, &action, nullptr));
	install(code, std::size(code));
}
