// SPDX-License-Identifier: GPL-2.0
// Watch all adopted processes: whose are the epoll instances that they have open?
//
// usage: onlooker FILE, as root, until it is killed
//
// Every 20 ms it looks at each process that has the mark. FILE gets a line when one is
// first seen, and when it is first seen with an instance of a kind:
//
//	PID PARENT process|myepoll|eventpoll COMM
//
// What does not live that long is not seen.
#include <ctype.h>
#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "uapi/myepoll.h"

enum kind { PROCESS, MYEPOLL, EVENTPOLL };
static const char *const names[] = { "process", "myepoll", "eventpoll" };

// By process id, a bit for each kind that has a line; and the time it was started, since
// ids come again.
static struct seen {
	unsigned long long start;
	unsigned char kinds;
	bool known, kernel;
} seen[1 << 22];

static FILE *out;

// What is in the file NAME of the process, as a string.
static bool slurp(int proc, const char *pid, const char *name, char *text, size_t size)
{
	char path[64];
	ssize_t len;
	int fd;

	snprintf(path, sizeof(path), "%s/%s", pid, name);
	fd = openat(proc, path, O_RDONLY | O_CLOEXEC);
	if (fd < 0)
		return false;
	len = read(fd, text, size - 1);
	close(fd);
	if (len <= 0)
		return false;
	text[len] = 0;
	return true;
}

// Most of what is in /proc, and to look at them all again takes an emulated CPU for itself.
static bool is_kernel_thread(int proc, const char *pid)
{
	const unsigned int kthread = 0x00200000; // PF_KTHREAD
	struct seen *one = &seen[atoi(pid)];
	unsigned int flags;
	char text[1024], *end;

	if (!one->known && slurp(proc, pid, "stat", text, sizeof(text))) {
		end = strrchr(text, ')');
		one->known = true;
		one->kernel = end && sscanf(end + 2, "%*c %*d %*d %*d %*d %*d %u", &flags) == 1 &&
			      flags & kthread;
	}
	return one->kernel;
}

static void tell(const char *pid, enum kind kind, const char *parent, const char *comm)
{
	struct seen *one = &seen[atoi(pid)];

	if (one->kinds & (1u << kind))
		return;
	one->kinds |= 1u << kind;
	fprintf(out, "%s %s %s %s\n", pid, parent, names[kind], comm);
}

static void look(int proc, const char *pid)
{
	char text[1024], parent[16], *end;
	const char *comm = text;
	unsigned long long start;
	struct dirent *entry;
	char path[64];
	DIR *fds;

	if (is_kernel_thread(proc, pid) ||
	    !slurp(proc, pid, "personality", text, sizeof(text)) ||
	    !(strtoul(text, NULL, 16) & MYEPOLL_PERSONALITY))
		return;
	// PID (COMM) STATE PARENT ..., of which the 22nd is the time of the start.
	if (!slurp(proc, pid, "stat", text, sizeof(text)))
		return;
	comm = strchr(text, '(');
	end = strrchr(text, ')');
	if (!comm || !end ||
	    sscanf(end + 2, "%*c %15s %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u "
		   "%*d %*d %*d %*d %*d %*d %llu", parent, &start) != 2)
		return;
	end[1] = 0;
	if (seen[atoi(pid)].start != start)
		seen[atoi(pid)] = (struct seen){ .start = start, .known = true };
	tell(pid, PROCESS, parent, comm);

	snprintf(path, sizeof(path), "/proc/%s/fd", pid);
	fds = opendir(path);
	if (!fds)
		return;
	while ((entry = readdir(fds))) {
		char target[32];
		ssize_t len = readlinkat(dirfd(fds), entry->d_name, target, sizeof(target) - 1);

		if (len < 0)
			continue;
		target[len] = 0;
		if (!strcmp(target, "anon_inode:[myepoll]"))
			tell(pid, MYEPOLL, parent, comm);
		else if (!strcmp(target, "anon_inode:[eventpoll]"))
			tell(pid, EVENTPOLL, parent, comm);
	}
	closedir(fds);
}

int main(int argc, char **argv)
{
	DIR *proc = opendir("/proc");

	out = argc == 2 ? fopen(argv[1], "we") : NULL;
	if (!proc || !out) {
		fprintf(stderr, "usage: onlooker FILE\n");
		return 2;
	}
	for (;;) {
		struct dirent *entry;

		rewinddir(proc);
		while ((entry = readdir(proc)))
			if (isdigit(entry->d_name[0]))
				look(dirfd(proc), entry->d_name);
		fflush(out);
		usleep(20000);
	}
}
