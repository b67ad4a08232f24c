// SPDX-License-Identifier: GPL-2.0
/*
 * ready.c - how a wakeup becomes an event
 *
 * Owns the ready list: myep_wake() puts items on it, in any context and under
 * ep->wq.lock only; a scan, under ep->mtx, asks their files, delivers what they
 * answer (myep_harvest()) or only looks (myep_poll()), and retires what is done. See
 * "The ready list" in internal.h for the states, and wait.c for the thread that is
 * woken.
 */
#include <linux/sched/signal.h>
#include <linux/uaccess.h>

#include "internal.h"

/* Items polled between two sections under ep->wq.lock. */
#define BATCH		16

/*
 * Is anyone asleep in a wait? Waiters join the queue under the lock that is held
 * here, having found nothing to harvest.
 */
static bool has_waiters(struct myep *ep)
{
	lockdep_assert_held(&ep->wq.lock);
	return waitqueue_active(&ep->wq); /* ordered by ep->wq.lock */
}

/*
 * Does anyone poll the file? A poller that joins that queue looks for items
 * afterwards, under ep->wq.lock, and sees what was queued in the caller's section.
 */
static bool has_pollers(struct myep *ep)
{
	lockdep_assert_held(&ep->wq.lock);
	return waitqueue_active(&ep->poll_wait); /* ordered by ep->wq.lock */
}

/* Wake the next waiter, if there is one. */
static __always_inline void wake_waiter_locked(struct myep *ep)
{
	if (has_waiters(ep))
		wake_up_locked(&ep->wq);
}

/* Put an item that is on no list on the ready list. Under ep->wq.lock. */
static __always_inline void item_link_ready(struct myep *ep, struct myep_item *item)
{
	list_add_tail(&item->ready_link, &ep->ready);
	WRITE_ONCE(ep->pending, true);
	myep_ws_stay_awake(item);
}

/**
 * myep_queue - put an item on the ready list and wake a waiter
 * @item: not necessarily off it; the caller holds ep->wq.lock
 *
 * For ADD and MOD, which have just seen that it is ready: an item that is
 * queued already has done its waking, but MOD may have given it a wakeup source.
 *
 * Return: true if pollers of the instance have to be woken, with the lock
 * dropped: myep_wake_pollers().
 */
bool myep_queue(struct myep_item *item)
{
	struct myep *ep = item->ep;

	lockdep_assert_held(&ep->wq.lock);

	if (!list_empty(&item->ready_link)) {
		myep_ws_stay_awake(item);
		return false;
	}

	item_link_ready(ep, item);
	item->woken = true; /* for wake_for_exclusive() */
	wake_waiter_locked(ep);
	return has_pollers(ep);
}

static void wake_pollers_locked(struct myep *ep, __poll_t extra)
{
	lockdep_assert_held(&ep->poll_wait.lock);

	WRITE_ONCE(ep->waking_cpu, smp_processor_id());
	wake_up_locked_poll(&ep->poll_wait, EPOLLIN | extra);
	WRITE_ONCE(ep->waking_cpu, -1);
}

/**
 * myep_wake_pollers - wake the pollers of an instance
 * @ep: the instance; the caller holds no spinlock
 */
void myep_wake_pollers(struct myep *ep)
{
	unsigned long flags;

	spin_lock_irqsave(&ep->poll_wait.lock, flags);
	wake_pollers_locked(ep, 0);
	spin_unlock_irqrestore(&ep->poll_wait.lock, flags);
}

/*
 * The same from myep_wake(), with interrupts off and below the lock of a wait
 * queue: that of the source, and then perhaps many more. Wakeups can run in
 * circles, through io_uring or aio (instances alone form none), on one CPU or
 * on two that start at opposite ends. So this must not wait for poll_wait.lock. If
 * that is taken, an irq_work wakes the pollers. Whoever holds the lock may be waking
 * them already, but they may have looked before this event. The irq_work may run on
 * another CPU, after this function has returned.
 *
 * If it is this CPU that is waking them, the wakeup has come full circle, and
 * EPOLL_URING_WAKE tells io_uring not to feed it further. The flag is also passed on
 * where it came with the wakeup.
 */
static __always_inline void pass_on(struct myep *ep, __poll_t extra)
{
	lockdep_assert_irqs_disabled();

	if (likely(spin_trylock(&ep->poll_wait.lock))) {
		wake_pollers_locked(ep, extra);
		spin_unlock(&ep->poll_wait.lock);
		return;
	}

	if (extra || READ_ONCE(ep->waking_cpu) == smp_processor_id())
		WRITE_ONCE(ep->rewake_uring, true);
	WRITE_ONCE(ep->rewoken, true);
	refcount_inc(&ep->refs);
	if (!irq_work_queue(&ep->rewake))
		myep_put(ep);
}

/* myep->rewake: holds a reference. */
void myep_rewake(struct irq_work *work)
{
	struct myep *ep = container_of(work, struct myep, rewake);
	__poll_t extra = xchg(&ep->rewake_uring, false) ? EPOLL_URING_WAKE : 0;

	spin_lock(&ep->poll_wait.lock);
	wake_pollers_locked(ep, extra);
	spin_unlock(&ep->poll_wait.lock);
	myep_put(ep);
}

/*
 * Does an exclusive watch take the wakeup for itself, so that the source wakes nobody
 * else? The caller has a waiter to wake. It does if @key is what the watch asks for, or
 * does not say.
 */
static bool takes_exclusively(__poll_t events, __poll_t key)
{
	if (key & POLLFREE)
		return false;

	switch (key & (EPOLLIN | EPOLLOUT)) {
	case EPOLLIN:
		return events & EPOLLIN;
	case EPOLLOUT:
		return events & EPOLLOUT;
	case 0:
		return true;
	}
	return false;
}

/*
 * Wake a waiter, of which there is one, for an exclusive watch. Those that gather may all
 * stay asleep: see gather_wake(). And a one-shot watch that was queued or held before this
 * wakeup reports one event for both.
 *
 * Return: true if one has been woken, who has something to report.
 */
static noinline bool wake_for_exclusive(struct myep_item *item, __poll_t events,
					int sync)
{
	struct myep *ep = item->ep;
	bool woken = true;

	if (sync)
		__wake_up_locked_sync_key(&ep->wq, TASK_NORMAL, &woken);
	else
		__wake_up_locked_key(&ep->wq, TASK_NORMAL, &woken);
	if (events & EPOLLONESHOT && (item->woken || item->busy))
		return false;
	return woken;
}

/* myep_wake(), compiled twice: "Tracing" in internal.h. */
static __always_inline int do_wake(wait_queue_entry_t *wait, int sync, void *key,
				   bool traced)
{
	struct myep_entry *entry = container_of(wait, struct myep_entry, wait);
	struct myep_item *item = entry->item;
	struct myep *ep = item->ep;
	__poll_t bits = key_to_poll(key);
	bool consumed = false, pollers = false;
	unsigned long flags;
	__poll_t events;

	spin_lock_irqsave(&ep->wq.lock, flags);

	if (traced)
		myep_trace_wake(item, bits);
	myep_busy_note(item);

	events = READ_ONCE(item->events);

	/* A one-shot watch that has fired asks for nothing. */
	if (!(events & ~MYEP_PRIVATE_BITS))
		goto out;
	if (bits && !(bits & events))
		goto out;

	if (list_empty(&item->ready_link))
		item_link_ready(ep, item);

	consumed = !(events & EPOLLEXCLUSIVE);
	if (has_waiters(ep)) {
		if (!consumed)
			consumed = wake_for_exclusive(item, events, sync) &&
				   takes_exclusively(events, bits);
		else if (sync)
			__wake_up_locked_sync_key(&ep->wq, TASK_NORMAL, NULL);
		else
			wake_up_locked(&ep->wq);
	}
	/* For a scan that holds it, and may have polled it before. */
	item->woken = true;
	pollers = has_pollers(ep);
out:
	spin_unlock(&ep->wq.lock);
	if (unlikely(pollers))
		pass_on(ep, bits & EPOLL_URING_WAKE);
	local_irq_restore(flags);

	if (unlikely(bits & POLLFREE)) {
		/*
		 * The queue head is about to go. unhook() may have read it
		 * already, and will find the entry unlinked.
		 */
		list_del_init(&wait->entry);
		/*
		 * Pairs with the acquire in unhook(), which then does not
		 * wait for this function: the last touch of entry and item.
		 */
		smp_store_release(&entry->head, NULL);
	}
	return consumed;
}

static noinline int wake_traced(wait_queue_entry_t *wait, int sync, void *key)
{
	return do_wake(wait, sync, key, true);
}

/**
 * myep_wake - a watched file's wait queue is woken
 * @wait: an item's entry on it
 * @mode: unused
 * @sync: the waker is about to sleep: wake here, on this CPU
 * @key: the events, or 0 where the source does not say
 *
 * Called under the queue's lock, which keeps the item: unhook() waits for it.
 *
 * Return: 1 if the wakeup counts as consumed; a source that wakes exclusive
 * entries stops there. Of other entries nobody looks at it.
 */
int myep_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key)
{
	if (myep_tracing())
		return wake_traced(wait, sync, key);
	return do_wake(wait, sync, key, false);
}

/*
 * Hold an item of the ready list, to poll it: with a reference to its file, busy,
 * and still linked. Under ep->wq.lock, which has to be dropped for ->poll.
 *
 * Return: false if the file is closing. The item, which the close hook is going
 * to remove, is off the list then.
 */
static __always_inline bool item_hold(struct myep_item *item)
{
	lockdep_assert_held(&item->ep->mtx);
	lockdep_assert_held(&item->ep->wq.lock);

	/* It is linked, so this is a file still: "Removal" in internal.h. */
	if (unlikely(!myep_file_tryget(item->file))) {
		list_del_init(&item->ready_link);
		myep_ws_relax(item);
		return false;
	}
	item->busy = true;
	item->woken = false;
	return true;
}

/*
 * Give back an item that was held. Under ep->wq.lock.
 *
 * Return: false if it has been removed meanwhile, and is gone now.
 */
static bool item_give_back(struct myep_item *item)
{
	lockdep_assert_held(&item->ep->wq.lock);

	item->busy = false;
	if (likely(!item->dead))
		return true;
	myep_item_free(item);
	return false;
}

/*
 * An item given back need not be looked at again: off the list, unless a wakeup
 * has come since it was held. Under ep->wq.lock.
 */
static __always_inline void item_retire(struct myep_item *item)
{
	if (unlikely(item->woken)) {
		list_move_tail(&item->ready_link, &item->ep->ready);
		return;
	}
	list_del_init(&item->ready_link);
	myep_ws_relax(item);
}

/*
 * The event of an item given back has been delivered, so a one-shot watch asks for
 * nothing more. Under ep->wq.lock.
 *
 * Return: true if it stays on the list, since it is level-triggered.
 */
static bool item_mark_delivered(struct myep_item *item)
{
	if (likely(!(item->events & (EPOLLET | EPOLLONESHOT))))
		return true;
	if (item->events & EPOLLONESHOT)
		WRITE_ONCE(item->events, item->events & MYEP_PRIVATE_BITS);
	return false;
}

/* What is queued from here on arrives during the scan. Under ep->mtx. */
static void scan_start(struct myep *ep)
	__acquires(&ep->wq.lock)
{
	lockdep_assert_held(&ep->mtx);
	spin_lock_irq(&ep->wq.lock);
}

/*
 * The list is whole again. If something is left on it, wake the next waiter: items
 * that are level-triggered stay, and all waiters find them, one after the other.
 */
static void scan_end(struct myep *ep)
	__releases(&ep->wq.lock)
{
	bool pending = !list_empty(&ep->ready);

	WRITE_ONCE(ep->pending, pending);
	if (pending)
		wake_waiter_locked(ep);
	spin_unlock_irq(&ep->wq.lock);
}

/* A thread that was woken to harvest will not. */
static void pass_wakeup(struct myep *ep)
{
	spin_lock_irq(&ep->wq.lock);
	if (ep->pending)
		wake_waiter_locked(ep);
	spin_unlock_irq(&ep->wq.lock);
}

/* Poll an item that is held, and drop the reference. Under ep->mtx. */
static __always_inline __poll_t poll_held(struct myep_item *item, poll_table *pt,
					  int depth)
{
	struct file *file = item->file;
	__poll_t revents = myep_item_poll(item, file, pt, depth);

	if (likely(!myep_file_drop(file)))
		return revents;
	/* It was the last. The item goes, but being busy its memory does not yet. */
	myep_file_dropped(item->ep, file);
	return 0;
}

/*
 * A thread that is being killed has not waited for the mtx of an instance here or
 * below, so what it has found out may be wrong. It must not take an event with it. For
 * a scan @watcher is not ready, and is queued again as after a wakeup. An ADD or MOD,
 * of which it is not busy, queues it as ready. So whoever scans next finds out.
 */
static noinline __poll_t poll_killed(struct myep_item *watcher)
{
	if (!watcher || !watcher->busy)
		return EPOLLIN | EPOLLRDNORM;

	spin_lock_irq(&watcher->ep->wq.lock);
	watcher->woken = true;
	spin_unlock_irq(&watcher->ep->wq.lock);
	return 0;
}

/**
 * myep_poll - ->poll of a [myepoll] file
 * @file: the file
 * @pt: where to hook the caller, or NULL
 * @depth: lockdep subclass for its mtx
 * @watcher: the item that asks, of an instance whose mtx is held; or NULL
 *
 * Readable if an item is, and nothing else ever. Items that turn out not to be
 * ready leave the list.
 */
__poll_t myep_poll(struct file *file, poll_table *pt, int depth,
		   struct myep_item *watcher)
{
	struct myep *ep = myep_of(file);
	struct myep_item *item;
	__poll_t revents = 0;
	LIST_HEAD(todo);
	poll_table none;

	poll_wait(file, &ep->poll_wait, pt);

	/*
	 * A caller that has just joined poll_wait must not trust the flag:
	 * myep_wake() may have looked at poll_wait just before, and its store be
	 * on the way. The lock orders the two.
	 */
	if (poll_does_not_wait(pt) && !READ_ONCE(ep->pending))
		return 0;

	init_poll_funcptr(&none, NULL);

	if (unlikely(mutex_lock_killable_nested(&ep->mtx, depth)))
		return poll_killed(watcher);
	scan_start(ep);
	list_splice_init(&ep->ready, &todo);
	while (!revents && !list_empty(&todo)) {
		item = list_first_entry(&todo, struct myep_item, ready_link);
		if (unlikely(!item_hold(item))) {
			spin_unlock_irq(&ep->wq.lock);
			cond_resched();
			spin_lock_irq(&ep->wq.lock);
			continue;
		}
		spin_unlock_irq(&ep->wq.lock);
		revents = poll_held(item, &none, depth + 1);
		spin_lock_irq(&ep->wq.lock);

		if (unlikely(!item_give_back(item))) {
			revents = 0;
			/*
			 * This may have been the last to hold the file. The next
			 * ->poll may block, and the caller may sleep: the poll
			 * table does not say whether it will.
			 */
			spin_unlock_irq(&ep->wq.lock);
			myep_close_dropped(ep, true);
			spin_lock_irq(&ep->wq.lock);
		} else if (!revents) {
			item_retire(item);
		}
	}
	list_splice(&todo, &ep->ready);
	scan_end(ep);
	mutex_unlock(&ep->mtx);

	if (revents)
		return EPOLLIN | EPOLLRDNORM;
	return unlikely(fatal_signal_pending(current)) ? poll_killed(watcher) : 0;
}

/*
 * An item that has an event goes behind the other exclusive entries of each queue that it
 * is hooked into, so that they are woken before it is again. Not in myep_wake(): whoever
 * wakes all entries of a queue would meet it once more at the end, for ever. Under
 * ep->mtx, the file held, so that there is no remover.
 */
static void rotate(struct myep_item *item)
{
	struct myep_entry *entry;

	if (!myep_item_is_hooked(item))
		return;
	for (entry = &item->first; entry; entry = entry->next) {
		wait_queue_head_t *head;

		rcu_read_lock();
		/* As in unhook(): NULL, or a head that lives for a grace period. */
		head = smp_load_acquire(&entry->head);
		if (head) {
			spin_lock_irq(&head->lock);
			/* Not if POLLFREE has just unlinked it. */
			if (!list_empty(&entry->wait.entry))
				list_move_tail(&entry->wait.entry, &head->head);
			spin_unlock_irq(&head->lock);
		}
		rcu_read_unlock();
	}
}

/**
 * myep_poll_rotating - ask the file of an item that goes behind others
 * @item: see myep_item_poll()
 * @file: see myep_item_poll()
 * @pt: see myep_item_poll()
 *
 * Return: what ->poll returns.
 */
__poll_t myep_poll_rotating(struct myep_item *item, struct file *file,
			    poll_table *pt)
{
	__poll_t revents = file->f_op->poll(file, pt);

	if (!(revents & item->events)) {
		/* There are connections, which this watch does not ask for any more. */
		if (item->balanced && revents & EPOLLIN)
			myep_item_offer(item);
	} else if (item->busy) {
		/* Only for a scan: who does an ADD or a MOD takes no event. */
		rotate(item);
	}
	return revents;
}

/**
 * struct batch - items polled together, delivered together
 * @n:		how many
 * @ready:	how many of them have events
 * @stop:	the first item with an event that could not be written; or @n
 * @item:	the items
 * @revents:	what their files answered
 */
struct batch {
	int n;
	int ready;
	int stop;
	struct myep_item *item[BATCH];
	__poll_t revents[BATCH];
};

/*
 * Hold the first items of @list, up to @max. Under ep->wq.lock.
 *
 * Return: true if there are no more.
 */
static __always_inline bool batch_hold(struct batch *b, struct list_head *list, int max)
{
	int want = min(max, BATCH);
	struct list_head *last = list;
	int closing = 0;
	int n = 0;

	while (n < want && !list_is_last(last, list)) {
		struct myep_item *item = list_entry(last->next,
						    struct myep_item,
						    ready_link);

		/*
		 * What may block is a batch of its own, so that it keeps no other
		 * file open. If files wait to be closed, the batch stays empty, and
		 * put_and_close() closes them first. Instances are alone for another
		 * reason too: a poll changes the order of their list, and must come
		 * after the delivery of all that is before them.
		 */
		if (unlikely(item->alone)) {
			if (n || !llist_empty(&item->ep->closing))
				break;
			want = 1;
		}
		if (unlikely(!item_hold(item))) {
			if (++closing == BATCH)
				break;
			continue;
		}
		b->item[n++] = item;
		last = &item->ready_link;
	}
	b->n = n;
	return list_is_last(last, list);
}

/* Under ep->mtx alone. */
static __always_inline void batch_poll(struct batch *b)
{
	poll_table pt;
	int ready = 0;
	int i;

	init_poll_funcptr(&pt, NULL);
	for (i = 0; i < b->n; i++) {
		b->revents[i] = poll_held(b->item[i], &pt, 1);
		ready += !!b->revents[i];
	}
	b->ready = ready;
}

/*
 * Write the events to the caller's buffer, and set b->stop. Under ep->mtx.
 *
 * Return: how many were written.
 */
static __always_inline int batch_put(struct batch *b,
				     struct epoll_event __user *events)
{
	struct epoll_event __user *event = events;
	/* Not by index: UBSAN's check of its bounds would be a call, not allowed below. */
	struct myep_item *const *item = b->item;
	const __poll_t *revents = b->revents;
	const __poll_t *end = revents + b->n;

	b->stop = b->ready ? 0 : b->n;
	if (!b->ready ||
	    !user_write_access_begin(events, b->ready * sizeof(*events)))
		return 0;

	for (; revents < end; revents++, item++) {
		if (!*revents)
			continue;
		unsafe_put_user(*revents, &event->events, fault);
		unsafe_put_user((*item)->data, &event->data, fault);
		event++;
	}
fault:
	user_write_access_end();
	b->stop = revents - b->revents;
	return event - events;
}

/* Tell of all that the scan is done with. Under ep->mtx alone. */
static noinline void trace_batch(const struct batch *b)
{
	int i;

	for (i = 0; i < b->stop; i++)
		myep_trace_scan(b->item[i], b->revents[i], 0);
}

/*
 * batch_put() where files wait to be closed, which must not wait for a page of the
 * buffer. If one is missing, the files are closed before it is brought in.
 */
static noinline int put_and_close(struct myep *ep, struct batch *b,
				  struct epoll_event __user *events)
{
	int n;

	pagefault_disable();
	n = batch_put(b, events);
	pagefault_enable();
	if (b->n && b->stop == b->n)
		return n;
	myep_close_dropped(ep, true);
	return batch_put(b, events);
}

/*
 * Give the batch back. What is done with leaves the list. Where the buffer faulted, the
 * rest keeps its place, even what is not ready: epoll's order of events is such that an
 * item keeps its place until a scan has come so far. Under ep->wq.lock.
 *
 * Return: the last of those that were delivered and stay, at the head of the list,
 * for the caller to move to the end; or NULL.
 */
static __always_inline struct list_head *batch_give_back(struct batch *b)
{
	struct list_head *staying = NULL;
	int i;

	for (i = 0; i < b->stop; i++) {
		struct myep_item *item = b->item[i];

		if (!item_give_back(item))
			continue;
		if (b->revents[i] && item_mark_delivered(item))
			staying = &item->ready_link;
		else
			item_retire(item);
	}
	for (; unlikely(i < b->n); i++)
		item_give_back(b->item[i]);
	return staying;
}

/* Move the head of @from, up to @last, to the end of @to. */
static __always_inline void move_head(struct list_head *from, struct list_head *last,
				      struct list_head *to)
{
	LIST_HEAD(head);

	list_cut_position(&head, from, last);
	list_splice_tail(&head, to);
}

/*
 * Deliver all that is ready, up to @max. One batch can stay on the list meanwhile:
 * what arrives comes behind it. For more the list is set aside, so that each item
 * is looked at once. Under ep->mtx and ep->wq.lock, which it drops for a while.
 *
 * Return: see myep_harvest().
 */
static __always_inline int do_harvest_many(struct myep *ep,
					   struct epoll_event __user *events, int max,
					   bool traced)
	__must_hold(&ep->wq.lock)
{
	struct list_head *from = &ep->ready, *to = &ep->ready;
	struct batch batch __uninitialized;
	LIST_HEAD(todo);
	LIST_HEAD(again);
	int done = 0;

	do {
		bool all = batch_hold(&batch, from, max - done);
		struct list_head *staying;

		if (unlikely(!all && from != &todo)) {
			list_splice_init(&ep->ready, &todo);
			from = &todo;
			to = &again;
		}

		spin_unlock_irq(&ep->wq.lock);
		batch_poll(&batch);
		if (likely(llist_empty(&ep->closing)))
			done += batch_put(&batch, events + done);
		else
			done += put_and_close(ep, &batch, events + done);
		if (traced)
			trace_batch(&batch);
		spin_lock_irq(&ep->wq.lock);

		staying = batch_give_back(&batch);
		if (staying && !list_is_last(staying, to))
			move_head(from, staying, to);
	} while (from == &todo && !list_empty(&todo) && done < max &&
		 batch.stop == batch.n);

	if (from == &todo) {
		list_splice_tail(&again, &ep->ready);
		list_splice(&todo, &ep->ready);
	}
	if (!done && batch.stop < batch.n)
		return -EFAULT;
	return done;
}

static noinline int harvest_many(struct myep *ep, struct epoll_event __user *events,
				 int max)
	__must_hold(&ep->wq.lock)
{
	return do_harvest_many(ep, events, max, false);
}

static noinline int harvest_many_traced(struct myep *ep,
					struct epoll_event __user *events, int max)
	__must_hold(&ep->wq.lock)
{
	return do_harvest_many(ep, events, max, true);
}

static __always_inline int put_event(struct epoll_event __user *event, __poll_t revents,
				     u64 data)
{
	if (!user_write_access_begin(event, sizeof(*event)))
		return -EFAULT;
	unsafe_put_user(revents, &event->events, fault);
	unsafe_put_user(data, &event->data, fault);
	user_write_access_end();
	return 0;
fault:
	user_write_access_end();
	return -EFAULT;
}

/*
 * Deliver the first item, which is all there is or all that is asked for. Nothing
 * else is looked at, so the list need not be set aside: what arrives meanwhile
 * comes behind the item, which then goes to the tail if it stays. Locks and result
 * as in harvest_many().
 */
static __always_inline int harvest_one(struct myep *ep,
				       struct epoll_event __user *event, bool traced)
	__must_hold(&ep->wq.lock)
{
	struct myep_item *item = list_first_entry(&ep->ready,
						  struct myep_item, ready_link);
	__poll_t revents;
	poll_table pt;
	int n = 0;

	if (unlikely(!item_hold(item)))
		return 0;
	spin_unlock_irq(&ep->wq.lock);

	init_poll_funcptr(&pt, NULL);
	revents = poll_held(item, &pt, 1);
	if (likely(revents))
		n = put_event(event, revents, item->data) ? -EFAULT : 1;
	if (traced)
		myep_trace_scan(item, revents, n);

	spin_lock_irq(&ep->wq.lock);
	if (unlikely(!item_give_back(item) || n < 0))
		return n;
	if (!n || !item_mark_delivered(item))
		item_retire(item);
	else if (!list_is_last(&item->ready_link, &ep->ready))
		list_move_tail(&item->ready_link, &ep->ready);
	return n;
}

/* myep_harvest(), compiled twice: "Tracing" in internal.h. */
static __always_inline int harvest(struct myep *ep, struct epoll_event __user *events,
				   int max, bool sleeps, bool traced)
{
	int n = 0;

	/* Busy descriptors must not keep a killed thread here. */
	if (unlikely(fatal_signal_pending(current))) {
		pass_wakeup(ep);
		return -EINTR;
	}

	mutex_lock(&ep->mtx);
	scan_start(ep);
	if (list_is_singular(&ep->ready) ||
	    (max == 1 && !list_empty(&ep->ready)))
		n = harvest_one(ep, events, traced);
	if (!n && !list_empty(&ep->ready))
		n = traced ? harvest_many_traced(ep, events, max) :
			     harvest_many(ep, events, max);
	scan_end(ep);
	myep_close_dropped(ep, sleeps && !n);
	mutex_unlock(&ep->mtx);
	return n;
}

/**
 * myep_harvest - deliver what is ready
 * @ep: the instance
 * @events: the caller's buffer, of @max events
 * @max: 1 and more
 * @sleeps: without events the thread is going to sleep
 *
 * Each item is delivered once at most, in the order of readiness.
 *
 * Return: how many, which may be 0 since readiness can pass; -EFAULT if the
 * buffer faulted at the first; -EINTR if the thread is being killed.
 */
int myep_harvest(struct myep *ep, struct epoll_event __user *events, int max,
		 bool sleeps)
{
	return harvest(ep, events, max, sleeps, false);
}

/* The same, and tell what it finds. */
int myep_harvest_traced(struct myep *ep, struct epoll_event __user *events, int max,
			bool sleeps)
{
	return harvest(ep, events, max, sleeps, true);
}
