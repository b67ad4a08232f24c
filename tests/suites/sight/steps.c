// SPDX-License-Identifier: GPL-2.0
/*
 * What tests/suites/sight looks at: a program that does with an epoll what it is told.
 *
 *	steps LETTERS
 *
 *	c	epoll_create1
 *	a A	ADD the eventfd 20, level-triggered, with the token 0x20
 *	e o	MOD it: edge-triggered with 0x21; one-shot with 0x22
 *	d	DEL it
 *	w r	write to the eventfd; read it
 *	h W t	wait for up to 8 events and only look; for ever; for 1 event and 5 ms
 *	s	start a thread that writes to the eventfd when this one sleeps, and then W
 *	p q	ADD the pipe's end 22; close it
 *	x	ADD the pipe's end 24
 *	z	close the epoll
 *	n	1000 times w, h, r and h
 *	v	1000 times w, r and h
 *	N V	n, v for ever, with a little sleep between
 *	f	fork: the child goes on, and this process ends with it
 *	.	read a byte of standard input
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { EVENTFD = 20, FIRST_PIPE = 22, SECOND_PIPE = 24 };

static int ep = -1;
static pid_t sleeper;

static void check(int ok, const char *what)
{
	if (ok)
		return;
	perror(what);
	exit(1);
}

static int change(int op, int fd, unsigned int events, unsigned long long token)
{
	struct epoll_event event = { .events = events, .data.u64 = token };

	return epoll_ctl(ep, op, fd, &event);
}

static void wait_for(int maxevents, int timeout)
{
	struct epoll_event events[8];

	check(epoll_wait(ep, events, maxevents, timeout) >= 0, "epoll_wait");
}

static void add_to_eventfd(void)
{
	check(eventfd_write(EVENTFD, 1) == 0, "eventfd_write");
}

static void read_eventfd(void)
{
	eventfd_t value;

	check(eventfd_read(EVENTFD, &value) == 0, "eventfd_read");
}

static void *write_later(void *unused)
{
	char path[64], text[512], state = 0;

	snprintf(path, sizeof(path), "/proc/self/task/%d/stat", (int)sleeper);
	for (int in_a_row = 0; in_a_row < 20; in_a_row = state == 'S' ? in_a_row + 1 : 0) {
		FILE *stat = fopen(path, "re");

		check(stat && fgets(text, sizeof(text), stat), path);
		fclose(stat);
		state = strrchr(text, ')')[2];
		usleep(1000);
	}
	add_to_eventfd();
	return unused;
}

static void make_descriptors(void)
{
	int pipes[2];
	const int fd = eventfd(0, EFD_NONBLOCK);

	check(dup2(fd, EVENTFD) == EVENTFD, "eventfd");
	close(fd);
	for (int number = FIRST_PIPE; number <= SECOND_PIPE; number += 2) {
		check(pipe(pipes) == 0, "pipe");
		check(dup2(pipes[0], number) == number, "dup2");
		check(dup2(pipes[1], number + 1) == number + 1, "dup2");
		close(pipes[0]);
		close(pipes[1]);
	}
}

static void step(char letter)
{
	pthread_t thread;
	char byte;
	int status;
	pid_t pid;

	switch (letter) {
	case 'c':
		check((ep = epoll_create1(0)) >= 0, "epoll_create1");
		break;
	case 'a':
		check(change(EPOLL_CTL_ADD, EVENTFD, EPOLLIN, 0x20) == 0, "ADD");
		break;
	case 'A':
		check(change(EPOLL_CTL_ADD, EVENTFD, EPOLLIN, 0x20) < 0 && errno == EEXIST, "ADD again");
		break;
	case 'e':
		check(change(EPOLL_CTL_MOD, EVENTFD, EPOLLIN | EPOLLET, 0x21) == 0, "MOD");
		break;
	case 'o':
		check(change(EPOLL_CTL_MOD, EVENTFD, EPOLLIN | EPOLLONESHOT, 0x22) == 0, "MOD");
		break;
	case 'd':
		check(change(EPOLL_CTL_DEL, EVENTFD, 0, 0) == 0, "DEL");
		break;
	case 'w':
		add_to_eventfd();
		break;
	case 'r':
		read_eventfd();
		break;
	case 'h':
		wait_for(8, 0);
		break;
	case 'W':
		wait_for(8, -1);
		break;
	case 't':
		wait_for(1, 5);
		break;
	case 's':
		sleeper = (pid_t)syscall(SYS_gettid);
		check(pthread_create(&thread, NULL, write_later, NULL) == 0, "pthread_create");
		wait_for(8, -1);
		pthread_join(thread, NULL);
		break;
	case 'p':
		check(change(EPOLL_CTL_ADD, FIRST_PIPE, EPOLLIN, 0x22) == 0, "ADD");
		break;
	case 'q':
		close(FIRST_PIPE);
		break;
	case 'x':
		check(change(EPOLL_CTL_ADD, SECOND_PIPE, EPOLLIN | EPOLLRDHUP, 0x24) == 0, "ADD");
		break;
	case 'z':
		close(ep);
		break;
	case 'n':
		for (int i = 0; i < 1000; i++)
			for (const char *each = "whrh"; *each; each++)
				step(*each);
		break;
	case 'v':
		for (int i = 0; i < 1000; i++)
			for (const char *each = "wrh"; *each; each++)
				step(*each);
		break;
	case 'N':
	case 'V':
		for (;;) {
			for (const char *each = letter == 'N' ? "whrh" : "wrh"; *each; each++)
				step(*each);
			usleep(2000);
		}
		break;
	case 'f':
		check((pid = fork()) >= 0, "fork");
		if (pid) {
			check(waitpid(pid, &status, 0) == pid, "waitpid");
			exit(WIFEXITED(status) ? WEXITSTATUS(status) : 1);
		}
		break;
	case '.':
		check(read(0, &byte, 1) == 1, "standard input");
		break;
	default:
		fprintf(stderr, "steps: what is %c?\n", letter);
		exit(2);
	}
}

int main(int argc, char **argv)
{
	make_descriptors();
	for (const char *letter = argc > 1 ? argv[1] : ""; *letter; letter++)
		step(*letter);
	return 0;
}
