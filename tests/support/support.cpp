// SPDX-License-Identifier: GPL-2.0
#include "support.hpp"

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <exception>
#include <fstream>
#include <ostream>
#include <sstream>
#include <stdexcept>

#include <arpa/inet.h>
#include <dirent.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "catch.hpp"

int must(int r, const char *what)
{
	if (r < 0)
		throw std::runtime_error(std::string(what) + ": " + std::strerror(-r));
	return r;
}

int must_libc(long r, const char *what)
{
	if (r < 0)
		throw std::runtime_error(std::string(what) + ": " + std::strerror(errno));
	return static_cast<int>(r);
}

Fd event_fd(unsigned count)
{
	return Fd(must_libc(eventfd(count, EFD_NONBLOCK | EFD_CLOEXEC), "eventfd"));
}

void put(int eventfd, std::uint64_t n)
{
	must_libc(write(eventfd, &n, sizeof n), "write(eventfd)");
}

void take(int eventfd)
{
	std::uint64_t n;
	must_libc(read(eventfd, &n, sizeof n), "read(eventfd)");
}

Ends make_pipe()
{
	int fds[2];
	must_libc(pipe2(fds, O_NONBLOCK | O_CLOEXEC), "pipe2");
	return { Fd(fds[0]), Fd(fds[1]) };
}

Pair make_pair(int type)
{
	int fds[2];
	must_libc(socketpair(AF_UNIX, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds), "socketpair");
	return { Fd(fds[0]), Fd(fds[1]) };
}

Pair make_tcp()
{
	sockaddr_in address{};
	socklen_t size = sizeof address;
	Fd listener(must_libc(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
	Pair ends;

	address.sin_family = AF_INET;
	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	must_libc(bind(listener, reinterpret_cast<sockaddr *>(&address), size), "bind");
	must_libc(listen(listener, 1), "listen");
	must_libc(getsockname(listener, reinterpret_cast<sockaddr *>(&address), &size));
	ends.a = Fd(must_libc(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
	must_libc(connect(ends.a, reinterpret_cast<sockaddr *>(&address), size), "connect");
	ends.b = Fd(must_libc(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept"));
	for (int fd : { int(ends.a), int(ends.b) })
		must_libc(fcntl(fd, F_SETFL, O_NONBLOCK));
	return ends;
}

void send_byte(int fd)
{
	must_libc(write(fd, "x", 1), "write");
}

void drain(int fd)
{
	char buffer[4096];
	while (read(fd, buffer, sizeof buffer) > 0)
		;
}

Fd dup_of(int fd)
{
	return Fd(must_libc(fcntl(fd, F_DUPFD_CLOEXEC, 0), "dup"));
}

std::ostream &operator<<(std::ostream &out, const Event &e)
{
	return out << "{0x" << std::hex << e.events << ", " << std::dec << e.data << "}";
}

std::ostream &operator<<(std::ostream &out, const Watch &w)
{
	return out << "{fd " << w.fd << ", 0x" << std::hex << w.events << ", 0x" << w.data << std::dec
		   << "}";
}

Data data_of(const Events &events)
{
	Data data;
	for (const Event &e : events)
		data.push_back(e.data);
	return data;
}

static Events unpacked(const std::vector<epoll_event> &buffer, int n)
{
	Events events;
	for (int i = 0; i < n; i++)
		events.push_back({ buffer[i].events, buffer[i].data.u64 });
	return events;
}

Instance::Instance(const Backend &backend)
	: backend_(&backend), fd_(must(backend.create1(EPOLL_CLOEXEC), "create1"))
{
}

int Instance::ctl(int op, int fd, std::uint32_t events, std::uint64_t data) const
{
	epoll_event e = ev(events, data);
	return backend_->ctl(fd_, op, fd, &e);
}

Events Instance::wait(int timeout_ms, int max) const
{
	std::vector<epoll_event> buffer(max);
	int n = must(backend_->wait(fd_, buffer.data(), max, timeout_ms), "wait");
	return unpacked(buffer, n);
}

int Instance::count(int timeout_ms, int max) const
{
	std::vector<epoll_event> buffer(max);
	return backend_->wait(fd_, buffer.data(), max, timeout_ms);
}

Blocked::Blocked(const Instance &instance, int timeout_ms, int max) : buffer_(max)
{
	int fd = instance.fd();
	start([this, fd, timeout_ms, max] {
		int n = be().wait(fd, buffer_.data(), max, timeout_ms);
		events_ = unpacked(buffer_, n);
		return n;
	});
}

Blocked::Blocked(std::function<int()> call)
{
	start(std::move(call));
}

void Blocked::start(std::function<int()> call)
{
	thread_ = std::thread([this, call = std::move(call)] {
		tid_ = gettid();
		result_ = call();
		done_ = true;
	});
	while (!tid_)
		std::this_thread::yield();
}

Blocked::~Blocked()
{
	if (thread_.joinable())
		thread_.join();
}

void Blocked::asleep() const
{
	while (!sleeps_in_wait(getpid(), tid_)) {
		if (done_)
			throw std::runtime_error("the wait returned instead of sleeping");
		std::this_thread::sleep_for(milliseconds(1));
	}
}

bool Blocked::done_within(int ms) const
{
	return eventually([this] { return done(); }, ms);
}

int Blocked::result()
{
	if (thread_.joinable())
		thread_.join();
	return result_;
}

bool sleeps_in_wait(pid_t pid, pid_t tid)
{
	static const long waits[] = { SYS_epoll_wait, SYS_epoll_pwait, SYS_epoll_pwait2, SYS_epoll_ctl,
				      SYS_ioctl,      SYS_fadvise64,   SYS_poll,	 SYS_ppoll,
				      SYS_select,     SYS_pselect6,    SYS_read };
	std::ifstream file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(tid) + "/syscall");
	long number;

	if (!(file >> number)) // "running", or gone
		return false;
	for (long wait : waits)
		if (number == wait)
			return true;
	return false;
}

void until_asleep_in_wait(pid_t pid)
{
	if (!eventually([pid] { return sleeps_in_wait(pid, pid); }))
		throw std::runtime_error("the child does not sleep in a wait");
}

bool eventually(const std::function<bool()> &condition, int ms)
{
	auto end = Clock::now() + milliseconds(ms);
	for (;;) {
		if (condition())
			return true;
		if (Clock::now() > end)
			return false;
		std::this_thread::sleep_for(milliseconds(1));
	}
}

void settle(int ms)
{
	std::this_thread::sleep_for(milliseconds(ms));
}

int returned(std::initializer_list<const Blocked *> threads, int expected)
{
	auto count = [&] {
		int n = 0;
		for (const Blocked *thread : threads)
			n += thread->done();
		return n;
	};
	eventually([&] { return count() >= expected; });
	settle();
	return count();
}

pid_t start_child(const std::function<int()> &body)
{
	std::fflush(nullptr);
	pid_t pid = must_libc(fork(), "fork");
	if (pid == 0) {
		int status = 255;
		try {
			status = body();
		} catch (const std::exception &e) {
			std::fprintf(stderr, "in a child: %s\n", e.what());
		}
		_exit(status);
	}
	return pid;
}

int child_status(pid_t pid)
{
	int status;
	must_libc(TEMP_FAILURE_RETRY(waitpid(pid, &status, 0)), "waitpid");
	return WIFSIGNALED(status) ? 256 + WTERMSIG(status) : WEXITSTATUS(status);
}

int in_child(const std::function<int()> &body)
{
	return child_status(start_child(body));
}

milliseconds elapsed_of(const std::function<void()> &call)
{
	auto start = Clock::now();
	call();
	return std::chrono::duration_cast<milliseconds>(Clock::now() - start);
}

int open_descriptors()
{
	int n = 0;
	DIR *dir = opendir("/proc/self/fd");
	while (readdir(dir))
		n++;
	closedir(dir);
	return n;
}

std::string slurp(const std::string &path)
{
	std::ifstream file(path);
	if (!file)
		throw std::runtime_error("cannot read " + path);
	std::ostringstream text;
	text << file.rdbuf();
	return text.str();
}

void spill(const std::string &path, const std::string &text)
{
	std::ofstream file(path);
	file << text << std::flush;
	if (!file)
		throw std::runtime_error("cannot write " + path);
}

std::string fdinfo(int fd)
{
	return slurp("/proc/self/fdinfo/" + std::to_string(fd));
}

std::vector<Watch> watches(int epfd)
{
	std::istringstream lines(fdinfo(epfd));
	std::vector<Watch> list;
	std::string line;

	while (std::getline(lines, line)) {
		Watch w{};
		unsigned long long data;
		if (std::sscanf(line.c_str(), "tfd: %d events: %x data: %llx", &w.fd, &w.events, &data) == 3) {
			w.data = data;
			list.push_back(w);
		}
	}
	return list;
}

void allow_descriptors(int n)
{
	rlimit limit;
	must_libc(getrlimit(RLIMIT_NOFILE, &limit));
	if (limit.rlim_cur >= rlim_t(n))
		return;
	limit.rlim_cur = n;
	if (limit.rlim_max < rlim_t(n))
		limit.rlim_max = n;
	must_libc(setrlimit(RLIMIT_NOFILE, &limit), "setrlimit(RLIMIT_NOFILE)");
}

Tidy::Tidy() : before_(open_descriptors())
{
}

Tidy::~Tidy()
{
	int after = open_descriptors();
	if (!std::uncaught_exceptions())
		CHECK(after == before_);
}
