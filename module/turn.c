// SPDX-License-Identifier: GPL-2.0
/*
 * turn.c - changes to the interest list and then a wait, in one call
 *
 * The body of MYEPOLL_IOC_TURN. Changes are read, made and answered in runs: the memory of
 * the program is touched before and after the instance's mtx is held, never under it, and
 * the mtx is taken once for a run. A change that alters the graph of instances is made
 * without it, as by CTL.
 *
 * A call that changes lets go of the file that it has looked up, and may be the last to
 * hold it. fput() would close the file only when the thread returns to user space, and this
 * one may sleep first, as soon as in its next change. So the file is treated like one that
 * a scan has come to hold alone, and closed at once: "Last references" in item.c.
 *
 * What remains is in the kernel's own lookup: fdget() that meets a close of the very number
 * halfway calls fput() itself. So it is in every system call that looks up more than one.
 */
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "../uapi/myepoll.h"
#include "internal.h"

/* Changes made between two looks at the program's memory. */
#define RUN	16

/* Return: 0 or -EFAULT. */
static int read_run(struct myepoll_change *run, const struct myepoll_change __user *from,
		    unsigned int n)
{
	const struct myepoll_change *end = run + n;

	if (!user_read_access_begin(from, n * sizeof(*from)))
		return -EFAULT;
	for (; run < end; run++, from++) {
		/* Three loads: op and fd; events and a result, which is not looked at; data. */
		unsafe_get_user(*(u64 *)&run->op, (u64 __user *)&from->op, fault);
		unsafe_get_user(*(u64 *)&run->events, (u64 __user *)&from->events, fault);
		unsafe_get_user(run->data, &from->data, fault);
	}
	user_read_access_end();
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

static int write_results(struct myepoll_change __user *to,
			 const struct myepoll_change *run, unsigned int n)
{
	const struct myepoll_change *end = run + n;

	if (!user_write_access_begin(to, n * sizeof(*to)))
		return -EFAULT;
	for (; run < end; run++, to++)
		unsafe_put_user(run->result, &to->result, fault);
	user_write_access_end();
	return 0;
fault:
	user_write_access_end();
	return -EFAULT;
}

static int put_counts(struct myepoll_turn __user *to, u32 done, u32 failed)
{
	if (!user_write_access_begin(&to->done, sizeof(to->done) + sizeof(to->failed)))
		return -EFAULT;
	unsafe_put_user(done, &to->done, fault);
	unsafe_put_user(failed, &to->failed, fault);
	user_write_access_end();
	return 0;
fault:
	user_write_access_end();
	return -EFAULT;
}

/*
 * Make the changes of a turn, and count them in it.
 *
 * Return: 0, -EFAULT, or -EINTR if the thread is being killed.
 */
static noinline int make_changes(struct myep *ep, struct myepoll_turn *turn)
{
	struct myepoll_change __user *at = u64_to_user_ptr(turn->changes);
	bool stop = turn->flags & MYEPOLL_TURN_STOP;
	struct myepoll_change run[RUN] __uninitialized;

	for (;;) {
		unsigned int n = min(turn->nchanges - turn->done, RUN);
		int made;

		if (read_run(run, at, n))
			return -EFAULT;
		if (fatal_signal_pending(current) || mutex_lock_killable(&ep->mtx))
			return -EINTR;
		made = myep_change_run(ep, run, n, stop, &turn->failed);
		if (unlikely(made < 0))
			return made;
		mutex_unlock(&ep->mtx);

		if (myep_tracing())
			myep_trace_run(ep, run, made);
		turn->done += made;
		if (write_results(at, run, made))
			return -EFAULT;
		if (turn->done == turn->nchanges || (stop && turn->failed))
			return 0;
		at += made;
		cond_resched();
	}
}

/**
 * myep_turn - the body of MYEPOLL_IOC_TURN
 * @ep: the instance; the caller holds its file
 * @turn: the arguments
 * @uturn: where they came from
 *
 * Return: number of events, or an errno: see struct myepoll_turn.
 */
int myep_turn(struct myep *ep, struct myepoll_turn *turn,
	      struct myepoll_turn __user *uturn)
{
	struct epoll_event __user *events = u64_to_user_ptr(turn->events);
	s64 timeout = turn->timeout;
	int err;

	if (turn->flags & ~(MYEPOLL_TURN_SIGMASK | MYEPOLL_TURN_STOP) || turn->reserved)
		return -EINVAL;
	if (turn->maxevents) {
		err = myep_check_buffer(events, turn->maxevents);
		if (err)
			return err;
	}

	/*
	 * That all goes well is written before anything is done, since here it shows
	 * whether it can be written; and again if it has not come true.
	 */
	if (put_counts(uturn, turn->nchanges, 0))
		return -EFAULT;
	turn->done = 0;
	turn->failed = 0;
	if (turn->nchanges) {
		err = make_changes(ep, turn);
		if (unlikely(err || turn->failed)) {
			if (put_counts(uturn, turn->done, turn->failed))
				err = -EFAULT;
			if (err)
				return err;
			timeout = 0;
		}
	}

	if (!turn->maxevents)
		return 0;
	if (turn->flags & MYEPOLL_TURN_SIGMASK)
		return myep_wait_masked(ep, events, turn->maxevents, timeout,
					turn->sigmask);
	return myep_wait(ep, events, turn->maxevents, timeout);
}
