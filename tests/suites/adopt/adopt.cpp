// SPDX-License-Identifier: GPL-2.0
// Who is adopted, and who is not: the mark, the parameter, and what goes on beside them.
// That the calls of an adopted process do what epoll's do is for the other suites to
// show, by --backend=adopt.
#include "catch.hpp"
#include "missing_page.hpp"
#include "support.hpp"

#include <cstring>
#include <filesystem>
#include <fstream>
#include <tuple>

#include <fcntl.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <spawn.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/ptrace.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <sys/xattr.h>
#include <unistd.h>

#include "uapi/myepoll.h"

namespace {

const std::string parameter = "/sys/module/myepoll/parameters/adopt";
const std::string program = std::filesystem::read_symlink("/proc/self/exe");
constexpr uid_t nobody = 65534;
int switches = 12;

void adoption(bool on)
{
	spill(parameter, on ? "1" : "0");
}

// On for a case, and off after it
struct Adoption : Tidy {
	Adoption() { adoption(true); }
	~Adoption() { adoption(false); }
};

void take_mark()
{
	must_libc(personality(static_cast<unsigned>(personality(0xffffffff)) | MYEPOLL_PERSONALITY));
}

int plain_create()
{
	return static_cast<int>(must_libc(syscall(SYS_epoll_create1, EPOLL_CLOEXEC), "epoll_create1"));
}

// Whose is it?
enum Whose { theirs = 10, ours = 20, nobodys = 30 };

int whose(int fd)
{
	char link[64] = "";

	if (readlink(("/proc/self/fd/" + std::to_string(fd)).c_str(), link, sizeof link - 1) < 0)
		return nobodys;
	return !std::strcmp(link, "anon_inode:[myepoll]")   ? ours :
	       !std::strcmp(link, "anon_inode:[eventpoll]") ? theirs :
							      nobodys;
}

int whose_is_made()
{
	Fd fd(plain_create());

	return whose(fd);
}

// The same without /proc
int whose_is_made_blindly()
{
	Fd fd(plain_create());
	__u64 features;

	return ioctl(fd, MYEPOLL_IOC_FEATURES, &features) ? theirs : ours;
}

int marked(const std::function<int()> &body)
{
	return in_child([&] {
		take_mark();
		return body();
	});
}

// Run in the place of a process: this program, which answers with a Whose. (main() below)
int exec_whose(const std::string &path = program)
{
	execl(path.c_str(), path.c_str(), "--whose", nullptr);
	return 99;
}

// Does the kernel call our stubs? (ftrace's list of what is called at its entry)
bool hooked()
{
	return slurp("/sys/kernel/tracing/enabled_functions").find("__x64_sys_epoll_ctl") !=
	       std::string::npos;
}

// A wait and a change, as epoll's
int works(int ep)
{
	Fd file = event_fd(1);
	epoll_event event = { EPOLLIN, {} }, got[2];

	if (syscall(SYS_epoll_ctl, ep, EPOLL_CTL_ADD, int(file), &event) ||
	    syscall(SYS_epoll_wait, ep, got, 2, 0) != 1 ||
	    syscall(SYS_epoll_pwait, ep, got, 2, 0, nullptr, 8) != 1 ||
	    syscall(SYS_epoll_pwait2, ep, got, 2, nullptr, nullptr, 8) != 1 ||
	    syscall(SYS_epoll_ctl, ep, EPOLL_CTL_DEL, int(file), nullptr))
		return errno;
	return 0;
}

struct Tracefs {
	Tracefs()
	{
		if (access("/sys/kernel/tracing/enabled_functions", F_OK) && errno == ENOENT)
			mount("tracefs", "/sys/kernel/tracing", "tracefs", 0, nullptr);
	}
} tracefs;

} // namespace

TEST_CASE_METHOD(Tidy, "adoption is off by default, and then nothing is hooked", "[switch]")
{
	CHECK(slurp(parameter) == "N\n");
	CHECK(!hooked());
	CHECK(marked(whose_is_made) == theirs);
}

TEST_CASE_METHOD(Adoption, "a process with the mark is adopted, another is not", "[mark]")
{
	CHECK(slurp(parameter) == "Y\n");
	CHECK(hooked());
	CHECK(marked(whose_is_made) == ours);
	CHECK(in_child(whose_is_made) == theirs);
}

TEST_CASE_METHOD(Adoption, "the mark is one of a thread, and inherited by its children", "[mark]")
{
	CHECK(marked([] { return in_child(whose_is_made); }) == ours);
	CHECK(marked([] {
		      int found = 0;
		      std::thread([&] { found = whose_is_made(); }).join();
		      return found;
	      }) == ours);
	CHECK(in_child([] {
		      std::thread(take_mark).join();
		      return whose_is_made();
	      }) == theirs);
	CHECK(marked([] { // vfork(2), and posix_spawn(3) that is made of it
		      char name[] = "whose", option[] = "--whose";
		      char *arguments[] = { name, option, nullptr };
		      pid_t pid;
		      int status;
		      if (posix_spawn(&pid, program.c_str(), nullptr, nullptr, arguments, environ) ||
			  waitpid(pid, &status, 0) != pid)
			      return 1;
		      return WEXITSTATUS(status);
	      }) == ours);
}

TEST_CASE_METHOD(Adoption, "execve(2) keeps the mark, from any thread", "[mark]")
{
	CHECK(marked([] { return exec_whose(); }) == ours);
	CHECK(marked([] {
		      std::thread([] { exec_whose(); }).join();
		      return 98;
	      }) == ours);
}

TEST_CASE_METHOD(Adoption, "an instance outlives execve(2) as epoll's does", "[mark]")
{
	CHECK(marked([] {
		      int ep = plain_create();
		      must_libc(dup2(ep, 77)); // without close-on-exec
		      execl(program.c_str(), program.c_str(), "--works", "77", nullptr);
		      return 99;
	      }) == 0);
}

TEST_CASE_METHOD(Adoption, "personality(2) with other bits takes the mark away, with it added leaves it", "[mark]")
{
	CHECK(marked([] {
		      personality(ADDR_NO_RANDOMIZE | MYEPOLL_PERSONALITY);
		      return whose_is_made();
	      }) == ours);
	CHECK(marked([] {
		      personality(PER_LINUX);
		      return whose_is_made();
	      }) == theirs);
	// Then what it has got is no epoll to the kernel's calls, but still its instance.
	CHECK(marked([] {
		      Fd ep(plain_create()), file = event_fd(1);
		      epoll_event event = { EPOLLIN, {} };
		      personality(PER_LINUX);
		      if (syscall(SYS_epoll_ctl, int(ep), EPOLL_CTL_ADD, int(file), &event) != -1 ||
			  errno != EINVAL)
			      return 1;
		      take_mark();
		      return works(ep);
	      }) == 0);
}

TEST_CASE_METHOD(Adoption, "other descriptors are the kernel's, in a process with the mark too", "[mark]")
{
	CHECK(in_child([] {
		      Fd native(plain_create());
		      take_mark();
		      Fd adopted(plain_create()), file = event_fd(1);
		      epoll_event event = { EPOLLIN, {} }, got[1];
		      if (whose(native) != theirs || whose(adopted) != ours)
			      return 1;
		      if (works(native) || works(adopted))
			      return 2;
		      if (syscall(SYS_epoll_wait, int(file), got, 1, 0) != -1 || errno != EINVAL)
			      return 3;
		      if (syscall(SYS_epoll_wait, -1, got, 1, 0) != -1 || errno != EBADF)
			      return 4;
		      // Native above adopted nests; the other way round is refused, as by any door.
		      if (syscall(SYS_epoll_ctl, int(native), EPOLL_CTL_ADD, int(adopted), &event))
			      return 5;
		      if (syscall(SYS_epoll_ctl, int(adopted), EPOLL_CTL_ADD, int(native), &event) != -1 ||
			  errno != ELOOP)
			      return 6;
		      return 0;
	      }) == 0);
}

TEST_CASE_METHOD(Adoption, "of a call on another descriptor nothing is left: its file is closed with it", "[mark]")
{
	CHECK(marked([] {
		      std::thread([] { pause(); }).detach(); // so that descriptors are not borrowed
		      Fd ep(plain_create());
		      Ends pipe = make_pipe();
		      epoll_event event = { EPOLLIN, {} }, got[1];
		      for (int i = 0; i < 3; i++) {
			      if (syscall(SYS_epoll_wait, int(pipe.w), got, 1, 0) != -1 ||
				  syscall(SYS_epoll_ctl, int(pipe.w), EPOLL_CTL_ADD, int(ep), &event) != -1)
				      return 1;
		      }
		      pipe.w.reset();
		      char byte;
		      return read(pipe.r, &byte, 1) == 0 ? 0 : 2; // the end, not EAGAIN
	      }) == 0);
}

TEST_CASE_METHOD(Adoption, "a call that reads its arguments in vain keeps the module, too", "[mark]")
{
	// Such a call is the module's before it is known to be EBADF, and may sleep for a page.
	const auto module_users = [] { return std::stoi(slurp("/sys/module/myepoll/refcnt")); };
	const auto stands_still = [&](long number) {
		return marked([&] {
			MissingPage page;
			const int before = module_users();
			Blocked call([&] {
				const long r = number == SYS_epoll_ctl ?
						       syscall(number, -1, EPOLL_CTL_ADD, 0, page.at()) :
					       number == SYS_epoll_pwait ?
						       syscall(number, -1, nullptr, 1, 0, page.at(), 8) :
						       syscall(number, -1, nullptr, 1, page.at(), nullptr, 8);
				return r < 0 ? -errno : 0;
			});
			if (!page.touched_within(patience_ms))
				return 1;
			const int during = module_users();
			page.fill();
			const int result = call.result();
			if (result != -EBADF)
				return 2;
			return during == before + 1 && module_users() == before ? 0 : 3;
		});
	};

	CHECK(stands_still(SYS_epoll_ctl) == 0);
	CHECK(stands_still(SYS_epoll_pwait) == 0);
	CHECK(stands_still(SYS_epoll_pwait2) == 0);
}

TEST_CASE_METHOD(Adoption, "of an argument that is an int, only that is looked at", "[mark]")
{
	constexpr long high = 1L << 32;
	CHECK(marked([] {
		      Fd ep(plain_create()), file = event_fd(1);
		      epoll_event event = { EPOLLIN, {} }, got[1];
		      if (syscall(SYS_epoll_ctl, high | int(ep), high | EPOLL_CTL_ADD, high | int(file), &event))
			      return 1;
		      if (syscall(SYS_epoll_wait, high | int(ep), got, high | 1, high) != 1)
			      return 2;
		      // DEL reads no event
		      if (syscall(SYS_epoll_ctl, high | int(ep), high | EPOLL_CTL_DEL, high | int(file), nullptr))
			      return 3;
		      return 0;
	      }) == 0);
}

TEST_CASE_METHOD(Adoption, "further bits of the mark are the options of its instances", "[mark][options]")
{
	const auto options_are = [](unsigned long bits, unsigned flags, unsigned min_wait) {
		return marked([=] {
			must_libc(personality(MYEPOLL_PERSONALITY | bits));
			Fd ep(plain_create());
			myepoll_options got{};
			if (ioctl(ep, MYEPOLL_IOC_GET_OPTIONS, &got))
				return 1;
			// A child, and what an execve(2) keeps, as of the mark
			if (personality(0xffffffff) != static_cast<int>(MYEPOLL_PERSONALITY | bits))
				return 2;
			return got.flags != flags ? 3 : got.min_wait != min_wait ? 4 : works(ep);
		});
	};

	CHECK(options_are(0, 0, 0) == 0);
	CHECK(options_are(MYEPOLL_PERSONALITY_FAIR, MYEPOLL_OPT_FAIR, 0) == 0);
	CHECK(options_are(MYEPOLL_PERSONALITY_BALANCE, MYEPOLL_OPT_BALANCE, 0) == 0);
	for (auto [n, e, us] : { std::tuple{ 1, 0, 1 }, { 63, 0, 63 }, { 20, 1, 200 }, { 63, 2, 6300 },
				 { 63, 3, 63000 } })
		CHECK(options_are(static_cast<unsigned long>(MYEPOLL_PERSONALITY_MIN_WAIT(n, e)), 0,
				  static_cast<unsigned>(us)) == 0);
	CHECK(options_are(MYEPOLL_PERSONALITY_FAIR | MYEPOLL_PERSONALITY_BALANCE |
				  MYEPOLL_PERSONALITY_MIN_WAIT(2, 0),
			  MYEPOLL_OPT_FAIR | MYEPOLL_OPT_BALANCE, 2) == 0);
	// Without the mark itself they mean nothing.
	CHECK(in_child([] {
		      must_libc(personality(MYEPOLL_PERSONALITY_FAIR | MYEPOLL_PERSONALITY_MIN_WAIT(2, 0)));
		      return whose_is_made();
	      }) == theirs);
}

TEST_CASE_METHOD(Adoption, "operations that epoll does not have are none on an adopted instance", "[mark]")
{
	const int result = marked([] {
		Fd ep(plain_create()), file = event_fd(1), other = event_fd(1);
		Fd regular(must_libc(memfd_create("file", 0)));
		epoll_event event = { EPOLLIN | EPOLLONESHOT, {} }, got[2];
		const auto fails = [&](int op, int fd, epoll_event *e, int error) {
			return syscall(SYS_epoll_ctl, int(ep), op, fd, e) == -1 && errno == error;
		};

		event.data.u64 = 5;
		if (syscall(SYS_epoll_ctl, int(ep), EPOLL_CTL_ADD, int(file), &event))
			return 1;
		for (int op : { MYEPOLL_CTL_SET, MYEPOLL_CTL_DISABLE, MYEPOLL_CTL_DROP }) {
			// As of any operation that epoll does not know, in its order
			if (!fails(op, file, &event, EINVAL) || !fails(op, other, &event, EINVAL) ||
			    !fails(op, -1, &event, EBADF) || !fails(op, 9999, &event, EBADF) ||
			    !fails(op, regular, &event, EPERM) || !fails(op, file, nullptr, EFAULT) ||
			    !fails(op, ep, &event, EINVAL))
				return op;
		}
		// And nothing was done.
		if (syscall(SYS_epoll_wait, int(ep), got, 2, 0) != 1 || got[0].data.u64 != 5)
			return 2;
		return syscall(SYS_epoll_ctl, int(ep), EPOLL_CTL_MOD, int(file), &event) ? 3 : 0;
	});
	CHECK(result == 0);
}

TEST_CASE_METHOD(Adoption, "the doors and the system calls reach the same instance", "[mark]")
{
	CHECK(marked([] {
		      const Instance ep{ Backend(Door::fast) };
		      return works(ep.fd());
	      }) == 0);
}

TEST_CASE_METHOD(Adoption, "operations that epoll does not have are not there, in a turn neither", "[mark]")
{
	CHECK(marked([] {
		      Fd ep(plain_create()), file = event_fd(1);
		      epoll_event event = { EPOLLIN | EPOLLONESHOT, {} };
		      for (int op : { MYEPOLL_CTL_SET, MYEPOLL_CTL_DISABLE, MYEPOLL_CTL_DROP }) {
			      const bool drop = op == MYEPOLL_CTL_DROP;
			      const int fd = drop ? -1 : int(file), expected = drop ? EBADF : EINVAL;
			      myepoll_change change{ op, fd, EPOLLIN | EPOLLONESHOT, 0, 0 };
			      myepoll_turn turn{};
			      turn.changes = reinterpret_cast<std::uintptr_t>(&change);
			      turn.nchanges = 1;
			      if (syscall(SYS_epoll_ctl, int(ep), op, fd, &event) != -1 || errno != expected)
				      return op;
			      if (ioctl(ep, MYEPOLL_IOC_TURN, &turn) || change.result != -expected)
				      return 100 + op;
			      if (op == MYEPOLL_CTL_SET &&
				  syscall(SYS_epoll_ctl, int(ep), EPOLL_CTL_ADD, int(file), &event))
				      return 1;
		      }
		      return 0;
	      }) == 0);
}

TEST_CASE_METHOD(Adoption, "a program that gains privilege by execve(2) is not adopted", "[privilege]")
{
	const std::string copy = "/tmp/adopt-setuid";
	std::filesystem::copy_file(program, copy, std::filesystem::copy_options::overwrite_existing);
	const auto run_as_nobody = [&] {
		return in_child([&] {
			must_libc(setresgid(nobody, nobody, nobody));
			must_libc(setresuid(nobody, nobody, nobody));
			take_mark();
			return exec_whose(copy);
		});
	};

	must_libc(chmod(copy.c_str(), 0755));
	CHECK(run_as_nobody() == ours);
	must_libc(chmod(copy.c_str(), 04755)); // of root
	CHECK(run_as_nobody() == theirs);
	must_libc(chmod(copy.c_str(), 02755));
	CHECK(run_as_nobody() == theirs);
	must_libc(chmod(copy.c_str(), 0755));
	CHECK(run_as_nobody() == ours);
	// File capabilities: cap_net_raw, permitted and effective (linux/capability.h)
	const std::uint32_t capability[] = { 0x02000001, 1U << 13, 0, 0, 0 };
	if (setxattr(copy.c_str(), "security.capability", capability, sizeof capability, 0) == 0)
		CHECK(run_as_nobody() == theirs);
	else
		skip_unless(false, "/tmp has no file capabilities");
	std::filesystem::remove(copy);
}

TEST_CASE_METHOD(Adoption, "a 32-bit program is adopted, and not if it gains privilege", "[mark][privilege]")
{
	const std::string copy = "/tmp/adopt-whose32";
	const auto run = [&](bool mark) {
		return in_child([&] {
			must_libc(setresgid(nobody, nobody, nobody));
			must_libc(setresuid(nobody, nobody, nobody));
			if (mark)
				take_mark();
			execl(copy.c_str(), copy.c_str(), nullptr);
			return errno == ENOEXEC ? 98 : 99;
		});
	};

	std::filesystem::copy_file(std::filesystem::path(program).parent_path() / "whose32", copy,
				   std::filesystem::copy_options::overwrite_existing);
	must_libc(chmod(copy.c_str(), 0755));
	if (skip_unless(run(false) != 98, "the kernel runs no 32-bit programs"))
		return;
	CHECK(run(false) == theirs);
	CHECK(run(true) == ours);
	must_libc(chmod(copy.c_str(), 04755));
	CHECK(run(true) == theirs);
	std::filesystem::remove(copy);
}

TEST_CASE_METHOD(Adoption, "root's programs, and those that give privilege up, are adopted", "[privilege]")
{
	CHECK(marked([] { return exec_whose(); }) == ours);
	CHECK(marked([] {
		      must_libc(setresuid(nobody, nobody, nobody));
		      return whose_is_made();
	      }) == ours);
}

TEST_CASE_METHOD(Adoption, "in another user, mount and PID namespace, and without a device or /proc", "[namespaces]")
{
	if (skip_unless(!access("/proc/self/ns/user", F_OK), "no user namespaces in this kernel"))
		return;
	const std::string root = "/tmp/adopt-root";
	std::filesystem::create_directories(root);
	CHECK(marked([&] {
		      must_libc(setresuid(nobody, nobody, nobody));
		      if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID))
			      return 1;
		      if (chroot(root.c_str())) // empty
			      return 2;
		      must_libc(chdir("/"));
		      Fd fd(plain_create());
		      if (int error = works(fd))
			      return error;
		      return in_child(whose_is_made_blindly);
	      }) == ours);
	std::filesystem::remove(root);
}

TEST_CASE_METHOD(Adoption, "a seccomp filter sees epoll's own numbers", "[seccomp]")
{
	const auto with_filter = [](long number) {
		return marked([=] {
			sock_filter code[] = {
				BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(seccomp_data, nr)),
				BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, static_cast<unsigned>(number), 0, 1),
				BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | ENOTNAM),
				BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
			};
			sock_fprog filter{ 4, code };
			int ep = plain_create();
			must_libc(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0));
			must_libc(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter));
			return works(ep);
		});
	};

	CHECK(with_filter(SYS_epoll_ctl) == ENOTNAM);
	CHECK(with_filter(SYS_epoll_wait) == ENOTNAM);
	CHECK(with_filter(SYS_epoll_pwait2) == ENOTNAM);
	CHECK(with_filter(SYS_fadvise64) == 0);
	CHECK(with_filter(SYS_ioctl) == 0);
}

TEST_CASE_METHOD(Adoption, "a tracer sees epoll's own calls and results", "[ptrace]")
{
	const pid_t pid = start_child([] {
		take_mark();
		must_libc(ptrace(PTRACE_TRACEME, 0, 0, 0));
		raise(SIGSTOP);
		return works(plain_create());
	});
	std::vector<std::pair<long, long>> seen;
	int status;

	must_libc(waitpid(pid, &status, 0));
	must_libc(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACESYSGOOD));
	for (;;) {
		must_libc(ptrace(PTRACE_SYSCALL, pid, 0, 0));
		must_libc(waitpid(pid, &status, 0));
		if (!WIFSTOPPED(status))
			break;
		__ptrace_syscall_info info;
		must_libc(ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof info, &info));
		if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
			seen.emplace_back(info.entry.nr, -1);
		else if (info.op == PTRACE_SYSCALL_INFO_EXIT && !seen.empty())
			seen.back().second = info.exit.rval;
	}
	CHECK(WEXITSTATUS(status) == 0);
	const auto was_seen = [&](long number, long result) {
		return std::find(seen.begin(), seen.end(), std::pair(number, result)) != seen.end();
	};
	CHECK(was_seen(SYS_epoll_ctl, 0));
	CHECK(was_seen(SYS_epoll_wait, 1));
	CHECK(was_seen(SYS_epoll_pwait2, 1));
	CHECK(!was_seen(SYS_fadvise64, 0));
}

TEST_CASE_METHOD(Tidy, "switched off, no instance is made, and those that are there go on; then nothing is hooked",
		 "[switch]")
{
	Ends told = make_pipe(), answers = make_pipe();
	adoption(true);
	const pid_t pid = start_child([&] {
		take_mark();
		Fd ep(plain_create()), file = event_fd();
		epoll_event event = { EPOLLIN, {} };
		must_libc(syscall(SYS_epoll_ctl, int(ep), EPOLL_CTL_ADD, int(file), &event));
		Blocked waiter([&] {
			epoll_event got[1];
			return static_cast<int>(syscall(SYS_epoll_wait, int(ep), got, 1, patience_ms));
		});
		waiter.asleep();
		const auto answer = [&](int n) {
			must_libc(write(answers.w, &n, sizeof n));
			pollfd next{ told.r, POLLIN, 0 };
			must_libc(poll(&next, 1, patience_ms));
			drain(told.r);
		};
		answer(whose(ep));
		// Off now, with a thread asleep in a wait
		answer(whose_is_made());
		answer(works(ep));
		put(file);
		answer(waiter.result());
		return 0;
	});
	const auto answer = [&] {
		pollfd there{ answers.r, POLLIN, 0 };
		int n = -1;
		must(poll(&there, 1, patience_ms) == 1 ? 0 : -ETIME, "an answer");
		must_libc(read(answers.r, &n, sizeof n));
		return n;
	};
	CHECK(answer() == ours);
	adoption(false);
	CHECK(slurp(parameter) == "N\n");
	CHECK(hooked());
	send_byte(told.w);
	CHECK(answer() == theirs);
	send_byte(told.w);
	CHECK(answer() == 0);
	send_byte(told.w);
	CHECK(answer() == 1);
	send_byte(told.w);
	CHECK(child_status(pid) == 0);
	CHECK(eventually([] { return !hooked(); }));
}

TEST_CASE_METHOD(Tidy, "switched on and off and on while an instance is there", "[switch]")
{
	adoption(true);
	CHECK(marked([] {
		      Fd ep(plain_create());
		      adoption(false);
		      if (whose_is_made() != theirs)
			      return 1;
		      adoption(true);
		      if (whose_is_made() != ours)
			      return 2;
		      return works(ep);
	      }) == 0);
	adoption(false);
	CHECK(eventually([] { return !hooked(); }));
}

TEST_CASE_METHOD(Tidy, "switched again and again under processes with the mark and without: no call fails", "[switch]")
{
	// To hook and unhook all entries takes seconds in a guest; --switches=200 is for
	// make test-long.
	struct Counts {
		std::atomic<int> adopted, not_adopted; // instances of those with the mark
	};
	Counts *const made = static_cast<Counts *>(
		mmap(nullptr, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0));
	Ends end = make_pipe();
	std::vector<pid_t> children;
	for (int mark : { 0, 1, 1 })
		children.push_back(start_child([&, mark] {
			end.w.reset();
			if (mark)
				take_mark();
			pollfd until_end{ end.r, POLLIN, 0 };
			while (!poll(&until_end, 1, 0)) {
				Fd ep(plain_create());
				if (int error = works(ep))
					return error;
				if (mark)
					(whose(ep) == ours ? made->adopted : made->not_adopted)++;
				if (!mark && whose(ep) != theirs)
					return 200;
				if (works(ep))
					return 201;
			}
			return 0;
		}));
	end.r.reset();
	for (int i = 0; i < switches; i++) {
		adoption(i % 2 == 0);
		// Sometimes long enough for many calls, and always where the entries are hooked anew
		if (i % 4 == 0 || i % 10 == 0)
			REQUIRE(eventually([&, before = made->adopted.load()] { return made->adopted > before; }));
		// An "on" that follows at once mostly finds the entries as they were. They are let go
		// with the last adopted instance, and the calls of all are the kernel's then.
		if (i % 10 == 9) {
			REQUIRE(eventually([] { return !hooked(); }));
			REQUIRE(eventually([&, before = made->not_adopted.load()] {
				return made->not_adopted > before;
			}));
			REQUIRE(!hooked());
		}
	}
	end.w.reset();
	for (pid_t child : children)
		CHECK(child_status(child) == 0);
	CHECK(eventually([] { return !hooked(); }));
	munmap(made, 4096);
}

TEST_CASE_METHOD(Adoption, "only root may switch", "[switch]")
{
	CHECK(in_child([] {
		      must_libc(setresuid(nobody, nobody, nobody));
		      Fd fd(open(parameter.c_str(), O_WRONLY | O_CLOEXEC));
		      return fd >= 0 ? 1 : errno == EACCES ? 0 : errno;
	      }) == 0);
	CHECK(slurp(parameter) == "Y\n");
	Fd fd(must_libc(open(parameter.c_str(), O_WRONLY | O_CLOEXEC)));
	CHECK((write(fd, "maybe", 5) == -1 && errno == EINVAL));
	CHECK(slurp(parameter) == "Y\n");
}

TEST_CASE_METHOD(Adoption, "an adopted process counts for the module's quota", "[quota]")
{
	Setting setting("/sys/module/myepoll/parameters/max_user_watches", "3");
	CHECK(marked([] {
		      must_libc(setresuid(nobody, nobody, nobody));
		      Fd ep(plain_create()), files[4];
		      epoll_event event = { EPOLLIN, {} };
		      int n = 0;
		      for (auto &file : files) {
			      file = event_fd();
			      if (syscall(SYS_epoll_ctl, int(ep), EPOLL_CTL_ADD, int(file), &event))
				      break;
			      n++;
		      }
		      return errno == ENOSPC ? n : 100;
	      }) == 3);
}

extern "C" int take_test_options(int *argc, char **argv)
{
	if (*argc == 2 && !std::strcmp(argv[1], "--whose"))
		std::exit(whose_is_made());
	if (*argc == 3 && !std::strcmp(argv[1], "--works"))
		std::exit(works(std::atoi(argv[2])));
	if (const char *n = take_option(argc, argv, "--switches"))
		switches = std::atoi(n);
	take_option(argc, argv, "--backend"); // as all programs of tests/tools/plant have it
	return 0;
}
