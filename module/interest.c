// SPDX-License-Identifier: GPL-2.0
/*
 * interest.c - ADD, MOD, DEL, and the life of an item
 *
 * Owns items from allocation to free, and their entries on wait queues. ctl comes
 * from the doors and runs under ep->mtx; the other two ways to lose an item,
 * close of the instance and close of the watched file, end here too. See
 * "Removal" in internal.h for how the three exclude each other.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "internal.h"

/* What an exclusive watch may ask for. */
#define EXCLUSIVE_BITS \
	(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | \
	 EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)

/* struct hook_table - the poll table of an ADD */
struct hook_table {
	poll_table pt;
	struct myep_item *item;
	bool failed;
};

/* The first entry is part of the item, and in use once a ->poll has named a queue. */
static bool is_hooked(const struct myep_item *item)
{
	return item->first.item;
}

/* Called by the file's ->poll, through poll_wait(), for each of its queues. */
static void hook_onto(struct file *file, wait_queue_head_t *head,
		      poll_table *pt)
{
	struct hook_table *table = container_of(pt, struct hook_table, pt);
	struct myep_item *item = table->item;
	struct myep_entry *entry = &item->first;

	if (unlikely(is_hooked(item))) {
		entry = kmem_cache_alloc(myep_entry_cache, GFP_KERNEL);
		if (!entry) {
			table->failed = true;
			return;
		}
		entry->next = item->first.next;
		item->first.next = entry;
	}

	entry->item = item;
	entry->head = head;
	init_waitqueue_func_entry(&entry->wait, myep_wake);
	if (item->events & EPOLLEXCLUSIVE)
		add_wait_queue_exclusive(head, &entry->wait);
	else
		add_wait_queue(head, &entry->wait);
}

static void unhook_one(struct myep_entry *entry)
{
	wait_queue_head_t *head;

	rcu_read_lock();
	/* Pairs with myep_wake(): NULL, or a head that this lock keeps alive. */
	head = smp_load_acquire(&entry->head);
	if (head)
		remove_wait_queue(head, &entry->wait);
	rcu_read_unlock();
}

/*
 * Take the item off all wait queues. A wakeup in progress holds its queue's
 * lock, so none is left when this returns.
 */
static void unhook(struct myep_item *item)
{
	struct myep_entry *entry;

	if (is_hooked(item))
		unhook_one(&item->first);

	while (unlikely(entry = item->first.next)) {
		item->first.next = entry->next;
		unhook_one(entry);
		kmem_cache_free(myep_entry_cache, entry);
	}
}

/*
 * Might ->poll take long, for want of something that user space has to do? Not that of
 * pipes and sockets, nor of the kernel's own files with an anonymous inode, which is of
 * no type. But vsock takes a lock that is held while the buffer of a send is paged in,
 * FUSE asks its daemon, and of a driver who knows.
 */
static bool poll_may_block(struct file *file)
{
	const struct inode *inode = file_inode(file);
	umode_t mode = inode->i_mode;

	if (S_ISSOCK(mode)) {
		const struct socket *sock = sock_from_file(file);

		return sock && READ_ONCE(sock->ops)->family == PF_VSOCK;
	}
	if (S_ISFIFO(mode))
		return !inode->i_pipe; /* rpc_pipefs */
	return mode & S_IFMT || file->f_op->owner;
}

static struct myep_item *item_alloc(struct myep *ep, struct file *file, int fd,
				    __poll_t events, u64 data)
{
	struct myep_item *item = kmem_cache_alloc(myep_item_cache, GFP_KERNEL);

	if (unlikely(!item))
		return NULL;

	INIT_LIST_HEAD(&item->ready_link);
	item->ep = ep;
	item->file = file;
	item->data = data;
	item->events = events;
	item->fd = fd;
	item->busy = false;
	item->woken = false;
	item->dead = false;
	item->nested = myep_is_instance(file);
	item->alone = item->nested || poll_may_block(file);
	item->nest_seq = 0;
	INIT_LIST_HEAD(&item->ep_link);
	RCU_INIT_POINTER(item->ws, NULL);
	item->first.item = NULL;
	item->first.next = NULL;
	return item;
}

/**
 * myep_item_free - give an item's memory back
 * @item: out of the index, unhooked and unlinked; any context that may free
 */
void myep_item_free(struct myep_item *item)
{
	if (myep_ws_has(item))
		myep_ws_defer_free(item);
	else
		kmem_cache_free(myep_item_cache, item);
}

/*
 * Remove an item that the caller has taken out of the index. Its file is the
 * caller's by a reference, or in __fput(). Does not sleep: the close hook is one
 * of the callers. Where ep->mtx is held, somebody holds the instance's file, and
 * the reference dropped here is not the last.
 */
static void item_remove(struct myep_item *item)
{
	struct myep *ep = item->ep;
	bool busy;

	unhook(item);

	if (unlikely(item->nested))
		atomic_dec(&myep_of(item->file)->watchers);

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

/*
 * A new item, in the index. Under ep->mtx, and nest_mutex if @nest. The caller holds
 * @file.
 */
static struct myep_item *item_insert(struct myep *ep, struct file *file, int fd,
				     __poll_t events, u64 data, bool nest)
{
	struct myep_item *item = item_alloc(ep, file, fd, events, data);
	int err;

	/* That it is there already is the first thing to say. */
	if (unlikely(!item))
		return ERR_PTR(myep_index_find(file, ep, fd) ? -EEXIST : -ENOMEM);
	if (unlikely(!myep_index_add(item))) {
		kmem_cache_free(myep_item_cache, item);
		return ERR_PTR(-EEXIST);
	}
	/* Charged last: a failed ADD must not take another's place, be it for a moment. */
	if (unlikely(!myep_quota_charge(ep->quota))) {
		kmem_cache_free(myep_item_cache, myep_index_take(file, ep, fd));
		return ERR_PTR(-ENOSPC);
	}
	refcount_inc(&ep->refs);
	if (unlikely(item->nested))
		atomic_inc(&myep_of(file)->watchers);

	if (unlikely(nest)) {
		err = myep_nest_check_paths(file);
		if (err) {
			item_remove(myep_index_take(file, ep, fd));
			return ERR_PTR(err);
		}
	}
	return item;
}

/*
 * Hook a new item into the wait queues of its file, and queue it if it is ready. What
 * can reject it comes before the first wakeup can reach it, but for memory that runs
 * out among its entries. Under ep->mtx. The caller holds @file.
 */
static int item_start(struct myep *ep, struct myep_item *item, struct file *file)
{
	struct hook_table table = { .item = item };
	bool pollers = false;
	__poll_t revents;
	int err;

	if (item->events & EPOLLWAKEUP) {
		err = myep_ws_create(item);
		if (err)
			goto err_remove;
	}

	init_poll_funcptr(&table.pt, hook_onto);
	revents = myep_item_poll(item, file, &table.pt, 1);
	if (unlikely(table.failed)) {
		err = -ENOMEM;
		goto err_remove;
	}

	spin_lock_irq(&ep->wq.lock);
	list_add_tail(&item->ep_link, &ep->items);
	myep_busy_note(item);
	if (revents)
		pollers = myep_queue(item);
	spin_unlock_irq(&ep->wq.lock);

	if (pollers)
		myep_wake_pollers(ep);
	return 0;

err_remove:
	item_remove(myep_index_take(file, ep, item->fd));
	return err;
}

/* Out of line, so that only an ADD pays for a table on the stack. */
static noinline int ctl_add(struct myep *ep, struct file *file, int fd,
			    __poll_t events, u64 data)
{
	struct myep *child = myep_is_instance(file) ? myep_of(file) : NULL;
	struct myep_item *item;
	bool nest = false;
	int err;

	if (unlikely(myep_is_foreign_epoll(file)))
		return -ELOOP;

	events |= EPOLLERR | EPOLLHUP;
again:
	if (unlikely(nest)) {
		err = myep_nest_begin(ep, child);
		if (err)
			return err;
	}
	mutex_lock(&ep->mtx);
	/*
	 * What changes the graph needs nest_mutex, which comes first. But who has
	 * held this mtx till now, in a ->poll or a fault, may have taken its time: that
	 * was waited for without nest_mutex, so that nobody else had to.
	 *
	 * An instance becomes nested under its mtx (myep_nest_begin()), so an ADD
	 * that sees it unwatched here can finish before it is watched.
	 */
	if (unlikely((child || atomic_read(&ep->watchers)) && !nest)) {
		mutex_unlock(&ep->mtx);
		nest = true;
		goto again;
	}
	item = item_insert(ep, file, fd, events, data, nest);
	if (unlikely(nest))
		myep_nest_end(child);
	err = IS_ERR(item) ? PTR_ERR(item) : item_start(ep, item, file);
	mutex_unlock(&ep->mtx);
	return err;
}

static int ctl_mod(struct myep *ep, struct file *file, int fd,
		   __poll_t events, u64 data)
{
	struct myep_item *item;
	bool pollers = false;
	poll_table pt;
	int err = 0;

	mutex_lock(&ep->mtx);
	item = myep_index_find(file, ep, fd);
	if (!item) {
		err = -ENOENT;
		goto out;
	}
	if (item->events & EPOLLEXCLUSIVE) {
		err = -EINVAL;
		goto out;
	}

	WRITE_ONCE(item->events, events | EPOLLERR | EPOLLHUP);
	item->data = data;
	/*
	 * The mask before the poll. A source sets its state before it calls
	 * myep_wake(), which starts with a lock: either that finds the new mask,
	 * or the poll below finds the state.
	 */
	smp_mb();

	if (unlikely(item->events & EPOLLWAKEUP)) {
		/* As in epoll, without memory the watch works, but keeps nothing awake. */
		if (!myep_ws_has(item))
			myep_ws_create(item);
	} else if (myep_ws_has(item)) {
		myep_ws_destroy(item);
	}

	init_poll_funcptr(&pt, NULL);
	if (myep_item_poll(item, file, &pt, 1)) {
		spin_lock_irq(&ep->wq.lock);
		pollers = myep_queue(item);
		spin_unlock_irq(&ep->wq.lock);
	}
out:
	mutex_unlock(&ep->mtx);
	if (pollers)
		myep_wake_pollers(ep);
	return err;
}

static int ctl_del(struct myep *ep, struct file *file, int fd)
{
	struct myep_item *item;

	mutex_lock(&ep->mtx);
	item = myep_index_take(file, ep, fd);
	if (item)
		item_remove(item);
	mutex_unlock(&ep->mtx);
	return item ? 0 : -ENOENT;
}

/* As in epoll, EPOLLEXCLUSIVE is for ADD alone, and not to watch an instance. */
static bool exclusive_ok(int op, const struct file *file, __poll_t events)
{
	if (op == EPOLL_CTL_MOD)
		return false;
	if (op != EPOLL_CTL_ADD)
		return true;
	return !(events & ~EXCLUSIVE_BITS) && !myep_is_instance(file) &&
	       !myep_is_foreign_epoll(file);
}

/**
 * myep_ctl - the body of epoll_ctl(2)
 * @ep: the instance; the caller holds its file
 * @op: EPOLL_CTL_*
 * @fd: the file to watch, in the caller's table
 * @events: mask
 * @data: the caller's own
 *
 * The order of checks is epoll's, and part of the contract.
 *
 * Return: 0, or
 * * -EBADF	@fd is not open
 * * -EPERM	its file cannot be polled
 * * -EINVAL	it is @ep itself; a bad @op; a wrong use of EPOLLEXCLUSIVE; too
 *		many wakeup paths
 * * -ELOOP	a cycle, too deep a nesting, or a kernel epoll file
 * * -EEXIST, -ENOENT	as they say
 * * -ENOSPC	the user's max_user_watches
 * * -ENOMEM
 */
int myep_ctl(struct myep *ep, int op, int fd, __poll_t events, u64 data)
{
	struct fd target = fdget(fd);
	struct file *file = fd_file(target);
	int err;

	if (!file)
		return -EBADF;

	err = -EPERM;
	if (!file_can_poll(file))
		goto out;

	err = -EINVAL;
	if (file == ep->file)
		goto out;

	if (op != EPOLL_CTL_DEL) {
		if (unlikely(events & EPOLLWAKEUP))
			events = myep_ws_allowed(events);
		if (unlikely(events & EPOLLEXCLUSIVE) &&
		    !exclusive_ok(op, file, events))
			goto out;
	}

	switch (op) {
	case EPOLL_CTL_ADD:
		err = ctl_add(ep, file, fd, events, data);
		break;
	case EPOLL_CTL_MOD:
		err = ctl_mod(ep, file, fd, events, data);
		break;
	case EPOLL_CTL_DEL:
		err = ctl_del(ep, file, fd);
		break;
	}
out:
	fdput(target);
	return err;
}

/**
 * myep_release_items - remove what an instance still watches
 * @ep: in ->release: nobody adds any more, and only closes of watched files remove
 *
 * The index decides who removes an item and its lock is not taken inside
 * ep->wq.lock, so an item is found in the instance and then, by its key, taken out
 * of the index. One whose file is closing is left to that.
 */
void myep_release_items(struct myep *ep)
{
	struct myep_item *item;
	LIST_HEAD(left);

	/* Nobody adds any more: what is empty stays so, lock or no lock. */
	if (list_empty(&ep->items))
		return;

	for (;;) {
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

		item = myep_index_take_live(file, ep, fd);
		if (item) {
			item_remove(item);
			fput(file);
		}
		cond_resched();
	}
}

/**
 * myep_file_closing - the last reference to a file is gone
 * @file: any file of the system, in __fput() before its ->release, or on the way
 *        there where its last reference was one of ours
 *
 * Must not sleep (close_hook.c). Nothing can be put off, since ->release frees
 * the wait queues, but other threads get their turn between two items, unless
 * another tracer has ftrace keep preemption off.
 */
void myep_file_closing(struct file *file)
{
	struct myep_item *item;

	while (unlikely(item = myep_index_take_any(file))) {
		item_remove(item);
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
 * A scan or a walk may find that everyone else has closed the file meanwhile. Its
 * watches go at once, before its number is used anew. Then fput() closes it when this
 * thread returns to user space, as in epoll: whoever has seen the thread's call end
 * finds the file closed. But a thread that sleeps first, perhaps for good, would keep
 * the peer of a socket waiting for its end: in its place a worker closes the file. So
 * it does after a poll of the instance, whose caller may sleep for all one can tell.
 *
 * A close can take long (SO_LINGER), and all users share the workers, so each user
 * has a few at most. Beyond these, and without memory, it is fput() after all.
 */

/**
 * __myep_file_put - a walk has dropped the last reference
 * @file: the file; the walk's caller is about to return to user space, unless it is an
 *        ADD that has to wait for another mutex first, as in epoll
 */
void __myep_file_put(struct file *file)
{
	/* The count is 0, as in __fput(): no scan or walk gets hold of it now. */
	myep_file_closing(file);
	myep_file_rearm(file);
	fput(file);
}

/**
 * myep_scan_dropped - a scan has dropped the last reference
 * @ep: the instance; its mtx is held until myep_close_dropped()
 * @file: the file
 */
void myep_scan_dropped(struct myep *ep, struct file *file)
{
	lockdep_assert_held(&ep->mtx);
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
	myep_put(put->ep);
	kfree(put);
}

/* Return: false if there is no worker to be had. */
static bool close_by_worker(struct myep *ep, struct file *file)
{
	struct last_put *put = kmalloc(sizeof(*put), GFP_KERNEL);

	if (!put || !myep_quota_get_worker(ep->quota)) {
		kfree(put);
		return false;
	}

	/* Unloading waits for the instance, and so for the worker. */
	refcount_inc(&ep->refs);
	INIT_WORK(&put->work, last_put_work);
	put->file = file;
	put->ep = ep;
	queue_work(myep_workqueue, &put->work);
	return true;
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

/**
 * myep_walk_start - walk the items of an instance
 * @walk: on the stack, until myep_walk_end()
 * @ep: the instance; the caller holds its mtx all along
 *
 * The walk keeps its place by an entry of its own in the list, which only it can
 * meet: whoever else reads the list holds ep->mtx, or is ->release, which no walk
 * overlaps.
 */
void myep_walk_start(struct myep_walk *walk, struct myep *ep)
{
	lockdep_assert_held(&ep->mtx);

	walk->ep = ep;
	walk->item = NULL;
	spin_lock_irq(&ep->wq.lock);
	list_add(&walk->place, &ep->items);
	spin_unlock_irq(&ep->wq.lock);
}

/*
 * Let go of ep->wq.lock for a moment, each time 64 entries have been passed over:
 * there can be any number of files on their way out, and interrupts are off. The
 * caller holds ep->mtx too, and reads its lists anew.
 */
static void walk_cond_resched(struct myep *ep, unsigned int *passed)
{
	if (++*passed % 64)
		return;
	spin_unlock_irq(&ep->wq.lock);
	cond_resched();
	spin_lock_irq(&ep->wq.lock);
}

/**
 * myep_walk_next - the next item
 * @walk: the walk
 *
 * Return: the item, which stays until the next step, as does its file; or NULL
 * at the end. An item whose file is closing is passed over.
 */
struct myep_item *myep_walk_next(struct myep_walk *walk)
{
	struct myep *ep = walk->ep;
	struct myep_item *item;
	unsigned int passed = 0;

	lockdep_assert_held(&ep->mtx);

	if (walk->item)
		myep_file_put(walk->item->file);
	walk->item = NULL;

	spin_lock_irq(&ep->wq.lock);
	while (!list_is_last(&walk->place, &ep->items)) {
		item = list_entry(walk->place.next, struct myep_item, ep_link);
		list_move(&walk->place, &item->ep_link);
		if (myep_file_tryget(item->file)) {
			walk->item = item;
			break;
		}
		walk_cond_resched(ep, &passed);
	}
	spin_unlock_irq(&ep->wq.lock);
	return walk->item;
}

/* The end, before or after the last item. */
void myep_walk_end(struct myep_walk *walk)
{
	struct myep *ep = walk->ep;

	spin_lock_irq(&ep->wq.lock);
	list_del(&walk->place);
	spin_unlock_irq(&ep->wq.lock);

	if (walk->item)
		myep_file_put(walk->item->file);
}
