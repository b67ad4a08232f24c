// SPDX-License-Identifier: GPL-2.0
/*
 * What tests/suites/tool runs: it says what it was given, and whose epoll it is on.
 *
 *	program epoll		[myepoll] or [eventpoll]
 *	program args ARG...	the arguments, argv[0] too
 *	program env		the environment
 *	program self		its process, the personality, descriptors and signals
 *	program options		the line in fdinfo about its options
 *	program forbid CALL COMMAND...	executes that without the right to a system call,
 *				personality or epoll_create1; or without "options", as on a module
 *				that has none
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/personality.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef __GLIBC__
#include <linux/filter.h>
#include <linux/seccomp.h>
#include "uapi/myepoll.h"
#endif

static int say_epoll(void)
{
	int fd = epoll_create1(EPOLL_CLOEXEC);
	char path[64], link[64] = "";

	snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
	if (fd < 0 || readlink(path, link, sizeof(link) - 1) < 0) {
		perror("program");
		return 1;
	}
	puts(strchr(link, '['));
	return 0;
}

static int say_options(void)
{
	char path[64], line[256];
	FILE *info;

	snprintf(path, sizeof(path), "/proc/self/fdinfo/%d", epoll_create1(EPOLL_CLOEXEC));
	info = fopen(path, "r");
	while (info && fgets(line, sizeof(line), info))
		if (!strncmp(line, "myepoll:", 8))
			fputs(line, stdout);
	return !info;
}

static int say_self(void)
{
	sigset_t mask;

	printf("pid %d personality %08x fds", (int)getpid(), (unsigned)personality(0xffffffff));
	for (int fd = 0; fd < 64; fd++)
		if (fcntl(fd, F_GETFD) >= 0)
			printf(" %d", fd);
	printf(" ignored");
	sigprocmask(SIG_BLOCK, NULL, &mask);
	for (int i = 1; i < 32; i++) {
		struct sigaction old;

		if (!sigaction(i, NULL, &old) && old.sa_handler == SIG_IGN)
			printf(" %d", i);
	}
	printf(" blocked");
	for (int i = 1; i < 32; i++)
		if (sigismember(&mask, i) == 1)
			printf(" %d", i);
	puts("");
	return 0;
}

static int forbid(const char *call, char **command)
{
	const unsigned int nr = strcmp(call, "personality") ? SYS_epoll_create1 : SYS_personality;
#ifdef __GLIBC__
	struct sock_filter code[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, nr, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EPERM),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_filter no_options[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[1])),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MYEPOLL_IOC_GET_OPTIONS, 0, 1),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | EINVAL),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog filter = { sizeof(code) / sizeof(*code), code };

	if (!strcmp(call, "options"))
		filter.filter = no_options;
	if (!prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) &&
	    !prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter, 0, 0))
		execvp(command[0], command);
#else
	(void)nr, (void)command; /* musl's compiler does not find the kernel's headers */
#endif
	perror("program");
	return 1;
}

int main(int argc, char **argv)
{
	extern char **environ;
	const char *what = argc > 1 ? argv[1] : "";

	if (!strcmp(what, "epoll"))
		return say_epoll();
	if (!strcmp(what, "options"))
		return say_options();
	if (!strcmp(what, "self"))
		return say_self();
	if (!strcmp(what, "forbid") && argc > 3)
		return forbid(argv[2], argv + 3);
	if (!strcmp(what, "args"))
		for (int i = 0; i < argc; i++)
			printf("<%s>", argv[i]);
	if (!strcmp(what, "env"))
		for (char **e = environ; *e; e++)
			puts(*e);
	return 0;
}
