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
#include "trace.h"

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
 * passed. If @fair, others that sleep already are woken first.
 *
 * Return: true if there may be something to harvest.
 */
static __always_inline bool wait_sleep(struct myep *ep, ktime_t *deadline, u64 slack,
				       bool *timed_out, bool fair)
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
	if (fair)
		__add_wait_queue_entry_tail_exclusive(&ep->wq, &wait);
	else
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

/*
 * Gathering: MYEPOLL_OPT_MIN_WAIT. A waiter that is not to be woken before its buffer can
 * be filled, or the time is up.
 */

/* Items that are counted, with interrupts off. */
#define MAX_COUNT	1024

/**
 * struct gatherer - a waiter that gathers
 * @wait:	its entry on ep->wq
 * @ep:		the instance
 * @last:	the last item of the ready list when it was last looked at
 * @missing:	so many more make it worth while to wake up
 */
struct gatherer {
	wait_queue_entry_t wait;
	struct myep *ep;
	struct list_head *last;
	int missing;
};

/*
 * Called for each wakeup, with what it has queued, if anything, at the end of the ready
 * list. Where the gatherer stays asleep, it answers 0, and the wakeup is the next
 * waiter's. If it is the last of them, nobody has been woken, which wake_for_exclusive()
 * wants to know. A scan of another thread may have moved items to the end, which are
 * counted twice then: this one wakes up early.
 */
static int gather_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	struct gatherer *g = container_of(wait, struct gatherer, wait);
	bool *woken = key;

	lockdep_assert_held(&g->ep->wq.lock);

	if (g->last != g->ep->ready.prev) {
		g->last = g->ep->ready.prev;
		if (--g->missing <= 0)
			return wake_and_unqueue(wait, mode, sync, NULL);
	}
	if (woken && list_is_last(&wait->entry, &g->ep->wq.head))
		*woken = false;
	return 0;
}

/* Of the ready list, but no more than @max. Under ep->wq.lock. */
static int count_ready(struct myep *ep, int max)
{
	struct list_head *at;
	int n = 0;

	list_for_each(at, &ep->ready)
		if (++n == max)
			break;
	return n;
}

/*
 * Sleep for min_wait, but not beyond @deadline (NULL: none). The slack of other sleeps may be
 * as long as min_wait itself, so here it is an eighth of that at most.
 */
static void gather(struct myep *ep, int max, const ktime_t *deadline)
{
	u64 min_wait = READ_ONCE(ep->min_wait) * (u64)NSEC_PER_USEC;
	ktime_t until = ktime_add_safe(ktime_get(), min_wait);
	struct gatherer g = { .ep = ep };

	if (deadline && ktime_before(*deadline, until))
		until = *deadline;
	max = min(max, MAX_COUNT);
	init_wait(&g.wait);
	g.wait.func = gather_wake;

	spin_lock_irq(&ep->wq.lock);
	g.last = ep->ready.prev;
	g.missing = max - count_ready(ep, max);
	if (g.missing > 0) {
		__set_current_state(TASK_INTERRUPTIBLE);
		__add_wait_queue_exclusive(&ep->wq, &g.wait);
		spin_unlock_irq(&ep->wq.lock);

		schedule_hrtimeout_range(&until, min(timer_slack(min_wait), min_wait / 8),
					 HRTIMER_MODE_ABS);
		__set_current_state(TASK_RUNNING);

		spin_lock_irq(&ep->wq.lock);
		__remove_wait_queue(&ep->wq, &g.wait);
	}
	spin_unlock_irq(&ep->wq.lock);
}

/*
 * A thread that slept already when somebody began to look has an event: tell of it. Who
 * sees the wakeup also sees what has become of it.
 */
static noinline int harvest_after_all(struct myep *ep, struct epoll_event __user *events,
				      int max, bool sleeps)
{
	int n = myep_harvest_traced(ep, events, max, sleeps);

	if (n)
		trace_myepoll_wait_exit(ep, n);
	return n;
}

/*
 * wait_until(), compiled twice: with @options and @traced only where one of them is set.
 * See "Tracing" in internal.h.
 */
static __always_inline int do_wait_until(struct myep *ep,
					 struct epoll_event __user *events, int max,
					 s64 timeout, u8 options, bool traced)
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
	if (options & MYEP_OPT_MIN_WAIT) {
		gather(ep, max, to);
		avail = READ_ONCE(ep->pending);
	}

	for (;;) {
		if (avail) {
			n = traced ? myep_harvest_traced(ep, events, max, !timed_out) :
				     myep_harvest(ep, events, max, !timed_out);
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
		avail = wait_sleep(ep, to, slack, &timed_out,
				   options & MYEP_OPT_FAIR);
		if (!traced && myep_tracing() && avail) {
			n = harvest_after_all(ep, events, max, !timed_out);
			if (n)
				return n;
			avail = false;
		}
	}
}

static noinline int wait_otherwise(struct myep *ep,
				   struct epoll_event __user *events, int max,
				   s64 timeout, u8 options, bool traced)
{
	return do_wait_until(ep, events, max, timeout, options, traced);
}

/* myep_wait() that may sleep. Out of line: timeout 0 then needs no stack frame. */
static noinline int wait_until(struct myep *ep,
			       struct epoll_event __user *events, int max,
			       s64 timeout)
{
	u8 options = READ_ONCE(ep->options);

	if (unlikely(options))
		return wait_otherwise(ep, events, max, timeout, options, false);
	return do_wait_until(ep, events, max, timeout, 0, false);
}

static noinline int wait_traced(struct myep *ep, struct epoll_event __user *events, int max,
				s64 timeout)
{
	int ret = 0;

	trace_myepoll_wait_enter(ep, max, timeout);
	if (timeout)
		ret = wait_otherwise(ep, events, max, timeout, READ_ONCE(ep->options),
				     true);
	else if (READ_ONCE(ep->pending))
		ret = myep_harvest_traced(ep, events, max, false);
	trace_myepoll_wait_exit(ep, ret);
	return ret;
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
	if (myep_tracing())
		return wait_traced(ep, events, max, timeout);
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
