// SPDX-License-Identifier: GPL-2.0
/*
 * item.c - the end of an item, and the last references to files
 *
 * An item ends by DEL (interest.c), by the close of its instance or by the close of the
 * watched file: "Removal" in internal.h. Owns the steps that the three share, and the
 * loops of the latter two.
 *
 * Owns also what becomes of a file whose last reference a scan or a walk has dropped.
 */
#include <linux/file.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "internal.h"

static void unhook(struct myep_entry *entry)
{
	/*
	 * Pairs with myep_wake(): NULL, or a head that lives for a grace period. The
	 * caller's spinlock holds that off.
	 */
	wait_queue_head_t *head = smp_load_acquire(&entry->head);

	if (head)
		remove_wait_queue(head, &entry->wait);
}

/**
 * myep_item_offer - wake the next who waits for a listening socket
 * @item: watches it with MYEPOLL_OPT_BALANCE, and will not report a connection; under
 *	ep->mtx and with the file held, or the lock of the bucket
 *
 * It may have been woken for one, in the place of others, who do not know that their program
 * has no further use for this watch, or is being killed. At worst somebody looks in vain.
 */
void myep_item_offer(struct myep_item *item)
{
	wait_queue_head_t *head;

	/* Not while the file closes: nobody else gets hold of it then. */
	if (!myep_item_is_hooked(item) || !file_count(item->file))
		return;
	rcu_read_lock();
	/* As in unhook(). */
	head = smp_load_acquire(&item->first.head);
	if (head)
		wake_up_poll(head, EPOLLIN | EPOLLRDNORM);
	rcu_read_unlock();
}

/**
 * myep_item_detach - end all that ties an item to its file
 * @item: in the index, under the lock of its bucket
 *
 * A wakeup in progress holds the lock of its queue, so none is left afterwards.
 */
void myep_item_detach(struct myep_item *item)
{
	struct myep_entry *entry;

	if (myep_item_is_hooked(item))
		unhook(&item->first);

	while (unlikely(entry = item->first.next)) {
		item->first.next = entry->next;
		unhook(entry);
		kmem_cache_free(myep_entry_cache, entry);
	}

	if (unlikely(item->special)) {
		if (myep_item_is_nested(item))
			atomic_dec(&myep_of(item->file)->watchers);
		else if (item->balanced)
			myep_item_offer(item);
	}
}

/**
 * myep_item_free - give an item's memory back
 * @item: detached and unlinked; any context that may free
 */
void myep_item_free(struct myep_item *item)
{
	if (myep_ws_has(item))
		myep_ws_defer_free(item);
	else
		kmem_cache_free(myep_item_cache, item);
}

/* myep_item_discard(), compiled once more for the closes, which are one call shorter so. */
static __always_inline void discard(struct myep_item *item)
{
	struct myep *ep = item->ep;
	bool busy;

	spin_lock_irq(&ep->wq.lock);
	list_del_init(&item->ready_link);
	list_del(&item->ep_link);
	item->dead = true;
	busy = item->busy;
	spin_unlock_irq(&ep->wq.lock);

	/* From here on a busy item is the scan's. */
	if (likely(!busy))
		myep_item_free(item);

	myep_quota_uncharge(ep->quota);
	myep_put(ep);
}

/**
 * myep_item_discard - the end of an item that is out of the index
 * @item: the item, which the caller has taken out
 *
 * Does not sleep: the close hook is one of the callers. Where ep->mtx is held,
 * somebody holds the instance's file, and the reference dropped here is not the last.
 */
void myep_item_discard(struct myep_item *item)
{
	discard(item);
}

/* The end of an item because of a close. Out of line: closes of other files come by here. */
static noinline void item_orphaned(struct myep_item *item, enum myep_removed why)
{
	if (myep_tracing())
		myep_trace_remove(item->ep, item->fd, why);
	discard(item);
}

/**
 * myep_release_items - remove what an instance still watches
 * @ep: in ->release: nobody adds any more, and only closes of watched files remove
 *
 * The lock of a bucket is not taken inside ep->wq.lock. So an item is found in the
 * instance and then, by its key, taken out of the index. One that is not there is in
 * the hands of the close hook, which has taken it out and is about to unlink it.
 */
void myep_release_items(struct myep *ep)
{
	LIST_HEAD(left);

	/* Nobody adds any more: what is empty stays so, lock or no lock. */
	if (list_empty(&ep->items))
		return;

	for (;;) {
		struct myep_item *item;
		struct file *file;
		int fd;

		spin_lock_irq(&ep->wq.lock);
		item = list_first_entry_or_null(&ep->items, struct myep_item,
						ep_link);
		if (!item) {
			list_splice(&left, &ep->items);
			spin_unlock_irq(&ep->wq.lock);
			return;
		}
		list_move(&item->ep_link, &left);
		file = item->file;
		fd = item->fd;
		spin_unlock_irq(&ep->wq.lock);

		item = myep_index_take(file, ep, fd);
		if (item)
			item_orphaned(item, MYEP_BY_INSTANCE);
		cond_resched();
	}
}

/**
 * myep_file_closing - the last reference to a file is gone
 * @file: any file of the system, in __fput() before its ->release, or on the way
 *        there where its last reference was one of ours
 *
 * Must not sleep (close_hook.c). Nothing can be put off, since ->release frees
 * the wait queues. But other threads get their turn between two items, unless
 * another tracer has ftrace keep preemption off.
 */
void myep_file_closing(struct file *file)
{
	struct myep_item *item;

	while (unlikely(item = myep_index_take_any(file))) {
		item_orphaned(item, MYEP_BY_FILE);
		/*
		 * The trampoline stays: to Tasks RCU this is a preemption and no
		 * sleep. Without preemption there is no such difference.
		 */
		if (IS_ENABLED(CONFIG_PREEMPTION) && preemptible())
			cond_resched();
	}
}

/*
 * Last references
 *
 * A scan or a walk may find that everyone else has closed the file meanwhile. The
 * watches of the file go at once, before its number is used anew. Then it is to be
 * closed.
 *
 * fput() closes it when this thread returns to user space, as in epoll: whoever has
 * seen the thread's call end finds the file closed. But the thread may sleep first,
 * perhaps for good, and keep the peer of a socket waiting for its end. So before it
 * sleeps, or may do so in a ->poll or a page fault, a worker is given the file.
 *
 * A close can take long (SO_LINGER). So there is a limit for each user and one for all
 * together, which is less than the queue takes at once. Beyond these, and without
 * memory, it is fput() after all.
 */

/* Half of what an unbound queue runs at once, 256. */
#define MAX_CLOSES	128

static atomic_t closes;

/**
 * myep_file_dropped - a scan or a walk has dropped the last reference
 * @ep: the instance; its mtx is held until myep_close_dropped()
 * @file: the file
 */
void myep_file_dropped(struct myep *ep, struct file *file)
{
	lockdep_assert_held(&ep->mtx);

	/* The count is 0, as in __fput(): no scan or walk gets hold of it now. */
	myep_file_closing(file);
	llist_add(&file->f_llist, &ep->closing);
}

/* struct last_put - a file that a worker closes */
struct last_put {
	struct work_struct work;
	struct file *file;
	struct myep *ep;
};

static void last_put_work(struct work_struct *work)
{
	struct last_put *put = container_of(work, struct last_put, work);

	myep_file_rearm(put->file);
	__fput_sync(put->file);
	myep_quota_put_worker(put->ep->quota);
	atomic_dec(&closes);
	myep_put(put->ep);
	kfree(put);
	/* Unloading waits for the queue, and so for the return from here. */
	module_put(THIS_MODULE);
}

/* Return: false if there is no worker to be had. */
static bool close_by_worker(struct myep *ep, struct file *file)
{
	struct last_put *put = kmalloc(sizeof(*put), GFP_KERNEL);

	if (!put)
		return false;
	if (!atomic_add_unless(&closes, 1, MAX_CLOSES))
		goto err_free;
	if (!myep_quota_get_worker(ep->quota))
		goto err_uncount;

	/*
	 * Without this reference rmmod would stand still for as long as the close takes.
	 * With it, rmmod says that the module is in use. The module is not going just
	 * now, since somebody holds the instance's file.
	 */
	__module_get(THIS_MODULE);
	refcount_inc(&ep->refs);
	INIT_WORK(&put->work, last_put_work);
	put->file = file;
	put->ep = ep;
	queue_work(myep_workqueue, &put->work);
	return true;

err_uncount:
	atomic_dec(&closes);
err_free:
	kfree(put);
	return false;
}

void __myep_close_dropped(struct myep *ep, bool sleeps)
{
	struct llist_node *dropped = llist_del_all(&ep->closing);
	struct file *file, *next;

	lockdep_assert_held(&ep->mtx);
	llist_for_each_entry_safe(file, next, dropped, f_llist) {
		if (sleeps && close_by_worker(ep, file))
			continue;
		myep_file_rearm(file);
		fput(file);
	}
}
