// SPDX-License-Identifier: GPL-2.0
/*
 * wait.c - sleeping until there is something to harvest
 *
 * The body of epoll_wait(2), epoll_pwait(2) and epoll_pwait2(2): deadlines,
 * timer slack, signals, and the queue of waiters, under ep->wq.lock. Called
 * from the doors with nothing held.
 */
#include <linux/hrtimer.h>
#include <linux/sched/rt.h>
#include <linux/sched/signal.h>
#include <linux/signal.h>

#include "internal.h"

/*
 * As in select(2) and epoll_wait(2): a sleep may end 0.1% late (0.5% if niced),
 * 100 ms at most.
 */
static u64 timer_slack(s64 timeout)
{
	u64 slack = current->timer_slack_ns;
	int divisor = task_nice(current) > 0 ? 200 : 1000;

	/* Real-time threads have none. */
	if (!slack || rt_task(current))
		return 0;

	return max(slack, min_t(u64, timeout / divisor, 100 * NSEC_PER_MSEC));
}

/*
 * Leave the queue with the wakeup, even if the thread was awake already. So the next
 * wakeup goes to the next waiter, and many threads that are being killed are not
 * walked over again and again.
 */
static int wake_and_unqueue(wait_queue_entry_t *wait, unsigned int mode, int sync,
			    void *key)
{
	int ret = default_wake_function(wait, mode, sync, key);

	/* Pairs with list_empty_careful() in wait_sleep(). */
	list_del_init_careful(&wait->entry);
	return ret;
}

/*
 * Sleep until woken, a signal, or @deadline (NULL: none); set @timed_out if that has
 * passed.
 *
 * Return: true if there may be something to harvest.
 */
static bool wait_sleep(struct myep *ep, ktime_t *deadline, u64 slack,
		       bool *timed_out)
{
	wait_queue_entry_t wait;
	bool woken;

	init_wait(&wait);
	wait.func = wake_and_unqueue;

	/*
	 * Under the lock that wakers hold: either they see the waiter or this
	 * sees what they have queued.
	 */
	spin_lock_irq(&ep->wq.lock);
	if (ep->pending) {
		spin_unlock_irq(&ep->wq.lock);
		return true;
	}
	__set_current_state(TASK_INTERRUPTIBLE);
	/* At the head: the last to sleep is the first to wake. */
	__add_wait_queue_exclusive(&ep->wq, &wait);
	spin_unlock_irq(&ep->wq.lock);

	*timed_out = !schedule_hrtimeout_range(deadline, slack, HRTIMER_MODE_ABS);
	__set_current_state(TASK_RUNNING);

	/*
	 * Off the queue means that a waker has chosen this thread, even if its
	 * time was up by then. Nobody else was woken for that event, so it has to be
	 * harvested here.
	 */
	if (list_empty_careful(&wait.entry))
		return true;

	spin_lock_irq(&ep->wq.lock);
	woken = list_empty(&wait.entry);
	__remove_wait_queue(&ep->wq, &wait);
	spin_unlock_irq(&ep->wq.lock);
	return woken || !*timed_out;
}

/* myep_wait() that may sleep. Out of line: timeout 0 then needs no stack frame. */
static noinline int wait_until(struct myep *ep,
			       struct epoll_event __user *events, int max,
			       s64 timeout)
{
	ktime_t deadline, *to = NULL;
	bool avail = READ_ONCE(ep->pending);
	bool timed_out = false;
	u64 slack = 0;
	int n;

	if (timeout > 0) {
		/* Before the first harvest: what that takes counts. */
		deadline = ktime_add_safe(ktime_get(), timeout);
		slack = timer_slack(timeout);
		to = &deadline;
	}

	for (;;) {
		if (avail) {
			n = myep_harvest(ep, events, max, !timed_out);
			if (n)
				return n;
		}
		if (timed_out)
			return 0;
		avail = myep_busy_loop(ep);
		if (avail)
			continue;
		if (signal_pending(current))
			return -EINTR;
		avail = wait_sleep(ep, to, slack, &timed_out);
	}
}

/**
 * myep_wait - the body of epoll_wait(2)
 * @ep: the instance; the caller holds its file
 * @events: the caller's buffer, checked with access_ok()
 * @max: its length, checked
 * @timeout: nanoseconds from now; 0 does not wait; negative waits forever
 *
 * Return: number of events, 0 at the timeout, -EFAULT or -EINTR. A signal ends
 * the call only if there is nothing to return and it would have slept.
 */
int myep_wait(struct myep *ep, struct epoll_event __user *events, int max,
	      s64 timeout)
{
	if (timeout)
		return wait_until(ep, events, max, timeout);
	if (!READ_ONCE(ep->pending))
		return 0;
	return myep_harvest(ep, events, max, false);
}

/**
 * myep_wait_masked - myep_wait() with other signals blocked
 * @ep: see myep_wait()
 * @events: see myep_wait()
 * @max: see myep_wait()
 * @timeout: see myep_wait()
 * @mask: signals to block during the wait, bit n-1 for signal n
 *
 * As epoll_pwait(2): where a signal ends the wait, it is delivered under @mask,
 * and the old mask comes back with the return from its handler.
 */
int myep_wait_masked(struct myep *ep, struct epoll_event __user *events,
		     int max, s64 timeout, u64 mask)
{
	sigset_t set;
	int ret;

	/* What set_user_sigmask() and its counterpart do; they are not exported. */
	siginitset(&set, mask);
	sigdelsetmask(&set, sigmask(SIGKILL) | sigmask(SIGSTOP));

	current->saved_sigmask = current->blocked;
	set_restore_sigmask();
	sigprocmask(SIG_SETMASK, &set, NULL);

	ret = myep_wait(ep, events, max, timeout);

	if (ret != -EINTR && test_and_clear_restore_sigmask())
		sigprocmask(SIG_SETMASK, &current->saved_sigmask, NULL);
	return ret;
}
