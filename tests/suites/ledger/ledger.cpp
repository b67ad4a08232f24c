// SPDX-License-Identifier: GPL-2.0
#include "ledger.hpp"

#include <cerrno>

#include <fcntl.h>
#include <linux/vm_sockets.h>
#include <sched.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

namespace {

constexpr char throttle_file[] = "/proc/sys/kernel/sched_rt_runtime_us";

} // namespace

void run_on(int cpu)
{
	cpu_set_t set;
	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	must_libc(sched_setaffinity(0, sizeof set, &set), "sched_setaffinity");
}

void real_time(int priority)
{
	sched_param param{};
	param.sched_priority = priority;
	must_libc(sched_setscheduler(0, SCHED_FIFO, &param), "sched_setscheduler");
}

Hog::Hog() : throttle_(throttle_file, "-1")
{
	must_libc(sched_getaffinity(0, sizeof before_, &before_));
	run_on(elsewhere);
	thread_ = std::thread([this] {
		run_on(cpu);
		real_time(priority);
		running_ = true;
		while (!stop_)
			;
	});
	while (!running_)
		std::this_thread::yield();
}

Hog::~Hog()
{
	stop_ = true;
	thread_.join();
	sched_setaffinity(0, sizeof before_, &before_);
}

std::optional<Pair> make_vsock()
{
	Fd listener(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0));
	if (listener < 0 && errno == EAFNOSUPPORT)
		return std::nullopt;
	sockaddr_vm address{};
	socklen_t length = sizeof address;
	address.svm_family = AF_VSOCK;
	address.svm_cid = VMADDR_CID_LOCAL;
	address.svm_port = VMADDR_PORT_ANY;
	must_libc(bind(listener, reinterpret_cast<sockaddr *>(&address), length), "bind");
	must_libc(listen(listener, 1), "listen");
	must_libc(getsockname(listener, reinterpret_cast<sockaddr *>(&address), &length), "getsockname");
	Fd sender(must_libc(socket(AF_VSOCK, SOCK_STREAM | SOCK_CLOEXEC, 0), "socket"));
	must_libc(connect(sender, reinterpret_cast<sockaddr *>(&address), length), "connect");
	Fd receiver(must_libc(accept4(listener, nullptr, nullptr, SOCK_CLOEXEC), "accept"));
	return Pair{ std::move(sender), std::move(receiver) };
}

pid_t start_doubtful_child(const std::function<int()> &body)
{
	return start_child([&] {
		Fd null(must_libc(open("/dev/null", O_RDWR | O_CLOEXEC), "/dev/null"));
		for (int fd = 0; fd <= 2; fd++)
			must_libc(dup2(null, fd), "dup2");
		return body();
	});
}
