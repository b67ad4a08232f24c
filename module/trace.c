// SPDX-License-Identifier: GPL-2.0
/*
 * trace.c - what is told while somebody looks
 *
 * Owns the tracepoints of trace.h, the numbers of instances, and the key that
 * myep_tracing() asks: "Tracing" in internal.h. Others call the functions here, only where
 * that says yes; wait.c tells by itself when a wait begins and ends. Takes no locks. What
 * the callers hold stands at each function.
 */
#define CREATE_TRACE_POINTS
#include "trace.h"

#include "../uapi/myepoll.h"

/* Counts the tracepoints that are on. */
DEFINE_STATIC_KEY_FALSE(myep_trace_key);

/* The first user of a tracepoint comes; under the mutex of all tracepoints. */
int myep_trace_reg(void)
{
	static_branch_inc(&myep_trace_key);
	return 0;
}

/* The last one goes. Calls may be under way, and find the tracepoint off. */
void myep_trace_unreg(void)
{
	static_branch_dec(&myep_trace_key);
}

/**
 * myep_id - the number of an instance
 * @ep: the instance
 *
 * Any context. An instance gets its number when somebody asks for the first time, so that
 * others pay nothing. Of those who ask at once, one is the first, and all answer what that
 * one has set.
 *
 * Return: the number, never 0.
 */
u32 myep_id(struct myep *ep)
{
	static atomic_t last;
	u32 id = READ_ONCE(ep->id);

	while (unlikely(!id)) {
		u32 new = atomic_inc_return(&last); /* 0 once in 2^32 */

		id = cmpxchg(&ep->id, 0, new) ?: new;
	}
	return id;
}

/**
 * myep_first_waiter - who sleeps at the head of the queue of an instance
 * @ep: the instance; under ep->wq.lock
 *
 * Only wait.c queues there, with the thread in ->private, and the thread cannot leave
 * without the lock.
 *
 * Return: the thread's ID, or 0.
 */
int myep_first_waiter(struct myep *ep)
{
	wait_queue_entry_t *first;

	lockdep_assert_held(&ep->wq.lock);
	first = list_first_entry_or_null(&ep->wq.head, wait_queue_entry_t, entry);
	return first ? task_pid_nr(first->private) : 0;
}

/* @fd is going to be the instance's descriptor, and is not yet. */
void myep_trace_create(struct myep *ep, int fd)
{
	trace_myepoll_create(ep, fd);
}

/* In ->release, before anything is taken from the instance. */
void myep_trace_release(struct myep *ep)
{
	trace_myepoll_release(ep);
}

/**
 * myep_trace_ctl - a change has been made, or tried
 * @ep: the instance
 * @op: see myep_ctl()
 * @fd: see myep_ctl()
 * @events: see myep_ctl()
 * @data: see myep_ctl()
 * @ret: its result
 *
 * Nothing is held, so another thread's change may be told before this one, though it was
 * made after.
 */
void myep_trace_ctl(struct myep *ep, int op, int fd, __poll_t events, u64 data, int ret)
{
	trace_myepoll_ctl(ep, op, fd, events, data, ret);
	if (op == EPOLL_CTL_DEL && !ret)
		trace_myepoll_remove(ep, fd, MYEP_BY_DEL);
}

/**
 * myep_trace_run - changes of a turn have been made
 * @ep: the instance
 * @run: the changes, with their results
 * @n: how many
 */
void myep_trace_run(struct myep *ep, const struct myepoll_change *run, unsigned int n)
{
	const struct myepoll_change *end = run + n;

	for (; run < end; run++)
		myep_trace_ctl(ep, run->op, run->fd, (__force __poll_t)run->events,
			       run->data, run->result);
}

/**
 * myep_trace_wake - an item is being woken
 * @item: the item; under ep->wq.lock
 * @key: the events, or 0
 *
 * Asks what do_wake() is going to ask. Any context that may wake: RCU watches there, as
 * the scheduler's own tracepoints in a wakeup need it.
 */
void myep_trace_wake(struct myep_item *item, __poll_t key)
{
	__poll_t events = READ_ONCE(item->events);
	enum myep_woken what = MYEP_QUEUED;

	lockdep_assert_held(&item->ep->wq.lock);
	if (!(events & ~MYEP_PRIVATE_BITS) || (key && !(key & events)))
		what = MYEP_IGNORED;
	else if (!list_empty(&item->ready_link))
		what = MYEP_AGAIN;
	trace_myepoll_wake(item, key, what);
}

/**
 * myep_trace_scan - a harvest has asked the file of an item
 * @item: the item, held; under ep->mtx
 * @events: what there is, and written to the program's buffer; or 0
 * @err: negative if it could not be written
 */
void myep_trace_scan(struct myep_item *item, __poll_t events, int err)
{
	/* One that has gone with its file meanwhile is told as removed. */
	if (err < 0 || (!events && data_race(item->dead)))
		return;
	if (events)
		trace_myepoll_deliver(item, events);
	else
		trace_myepoll_not_ready(item, events);
}

/**
 * myep_trace_remove - an item has been removed, but not by DEL
 * @ep: its instance
 * @fd: its number
 * @why: by whom
 */
void myep_trace_remove(struct myep *ep, int fd, enum myep_removed why)
{
	trace_myepoll_remove(ep, fd, why);
}
