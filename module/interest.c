// SPDX-License-Identifier: GPL-2.0
/*
 * interest.c - the interest list: ADD, MOD, DEL
 *
 * Makes items and hooks them into the wait queues of their files. Called from the
 * doors, with the target's file held, and runs under ep->mtx. How an item goes is in
 * item.c, and "Removal" in internal.h says how the ways to lose one exclude each
 * other. All waits for a mutex end when the thread is killed.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/slab.h>

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

/* Called by the file's ->poll, through poll_wait(), for each of its queues. */
static void hook_onto(struct file *file, wait_queue_head_t *head,
		      poll_table *pt)
{
	struct hook_table *table = container_of(pt, struct hook_table, pt);
	struct myep_item *item = table->item;
	struct myep_entry *entry = &item->first;

	if (unlikely(myep_item_is_hooked(item))) {
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

/*
 * Might ->poll wait for user space? That of pipes and most sockets does not, nor that of
 * the kernel's own files without a name, such as eventfd, which are known by their file
 * system. That of vsock takes a lock that is held while the buffer of a send is paged
 * in. FUSE asks its daemon, and a dma-buf takes the lock of its device. Of drivers
 * nothing is known.
 */
static bool poll_may_block(struct file *file)
{
	const struct inode *inode = file_inode(file);
	const struct socket *sock;

	switch (inode->i_sb->s_magic) {
	case SOCKFS_MAGIC:
		sock = sock_from_file(file);
		return !sock || READ_ONCE(sock->ops)->family == PF_VSOCK;
	case ANON_INODE_FS_MAGIC:
	case PID_FS_MAGIC:
		return file->f_op->owner;
	}
	/* A pipe, or a FIFO in any file system. That of rpc_pipefs is neither. */
	return !(S_ISFIFO(inode->i_mode) && inode->i_pipe);
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

/* Undo item_insert(). Under ep->mtx; the caller holds the file. */
static void item_remove(struct myep *ep, struct myep_item *item)
{
	myep_item_discard(myep_index_take(item->file, ep, item->fd));
}

/*
 * Put a new item into the index, from which item_remove() takes it. Under ep->mtx.
 * The caller holds the file.
 *
 * Return: 0; or an error, and the item is freed.
 */
static int item_insert(struct myep *ep, struct myep_item *item)
{
	int err = -EEXIST;

	if (unlikely(!myep_index_add(item)))
		goto err_free;
	if (unlikely(item->nested))
		atomic_inc(&myep_of(item->file)->watchers);
	/* Charged last: an ADD that fails uses up no quota, not even for a moment. */
	if (unlikely(!myep_quota_charge(ep->quota))) {
		err = -ENOSPC;
		myep_index_take(item->file, ep, item->fd);
		goto err_free;
	}
	refcount_inc(&ep->refs);
	return 0;

err_free:
	kmem_cache_free(myep_item_cache, item);
	return err;
}

/* Make an item seen by fdinfo and by searches that come from above. */
static void item_link(struct myep *ep, struct myep_item *item)
{
	lockdep_assert_held(&ep->wq.lock);
	list_add_tail(&item->ep_link, &ep->items);
}

/*
 * The rest of an ADD that changes the graph of instances: under nest_mutex, which it
 * drops, so that nobody else changes it meanwhile. item_insert() has said @err.
 */
static noinline int item_check_nesting(struct myep *ep, struct myep_item *item,
				       struct file *file, int err)
{
	if (!err) {
		spin_lock_irq(&ep->wq.lock);
		item_link(ep, item);
		spin_unlock_irq(&ep->wq.lock);
		err = myep_nest_check_paths(ep, file);
		if (err)
			item_remove(ep, item);
	}
	myep_nest_end(ep);
	return err;
}

/*
 * Hook a new item into the wait queues of its file, and queue it if it is ready. All
 * that can reject the item comes before the first wakeup can reach it, except that
 * memory may run out among its entries. Under ep->mtx. The caller holds @file.
 */
static int item_start(struct myep *ep, struct myep_item *item, struct file *file,
		      bool linked)
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
	if (likely(!linked))
		item_link(ep, item);
	myep_busy_note(item);
	if (revents)
		pollers = myep_queue(item);
	spin_unlock_irq(&ep->wq.lock);

	if (pollers)
		myep_wake_pollers(ep);
	return 0;

err_remove:
	item_remove(ep, item);
	return err;
}

/* Out of line, so that only an ADD pays for a table on the stack. */
static noinline int ctl_add(struct myep *ep, struct file *file, int fd,
			    __poll_t events, u64 data)
{
	struct myep *child = myep_is_instance(file) ? myep_of(file) : NULL;
	struct myep_item *item;
	bool nest;
	int err;

	if (unlikely(myep_is_foreign_epoll(file)))
		return -ELOOP;

	if (unlikely(child)) {
		err = myep_nest_prepare(child);
		if (err)
			return err;
	}
	err = mutex_lock_killable(&ep->mtx);
	if (unlikely(err))
		goto out;

	item = item_alloc(ep, file, fd, events | EPOLLERR | EPOLLHUP, data);
	if (unlikely(!item)) {
		/* That it is there already is the first thing to say. */
		err = myep_index_find(file, ep, fd) ? -EEXIST : -ENOMEM;
		goto out_unlock;
	}
	/* Nobody begins to watch @ep before this ADD is over: myep_nest_prepare(). */
	nest = child || atomic_read(&ep->watchers);
	if (unlikely(nest)) {
		err = myep_nest_begin(ep, child);
		if (err) {
			kmem_cache_free(myep_item_cache, item);
			goto out_unlock;
		}
	}
	err = item_insert(ep, item);
	if (unlikely(nest))
		err = item_check_nesting(ep, item, file, err);
	if (likely(!err))
		err = item_start(ep, item, file, nest);
out_unlock:
	mutex_unlock(&ep->mtx);
out:
	/* Now the item counts as a watcher, if there is one. */
	if (unlikely(child))
		atomic_dec(&child->watchers);
	return err;
}

static int ctl_mod(struct myep *ep, struct file *file, int fd,
		   __poll_t events, u64 data)
{
	struct myep_item *item;
	bool pollers = false;
	poll_table pt;
	int err = 0;

	if (unlikely(mutex_lock_killable(&ep->mtx)))
		return -EINTR;
	item = myep_index_find(file, ep, fd);
	if (!item) {
		err = -ENOENT;
		goto out;
	}
	if (item->events & EPOLLEXCLUSIVE) {
		err = -EINVAL;
		goto out;
	}

	events |= EPOLLERR | EPOLLHUP;
	WRITE_ONCE(item->events, events);
	item->data = data;
	/*
	 * The mask before the poll. A source sets its state before it calls
	 * myep_wake(), which starts with a lock: either that finds the new mask,
	 * or the poll below finds the state.
	 */
	smp_mb();

	if (unlikely(events & EPOLLWAKEUP)) {
		/* As in epoll, without memory the watch works, but keeps nothing awake. */
		if (!myep_ws_has(item))
			myep_ws_create(item);
	} else if (myep_ws_has(item)) {
		myep_ws_destroy(item);
	}

	init_poll_funcptr(&pt, NULL);
	if (myep_item_poll(item, item->file, &pt, 1)) {
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

	if (unlikely(mutex_lock_killable(&ep->mtx)))
		return -EINTR;
	item = myep_index_take(file, ep, fd);
	if (likely(item))
		myep_item_discard(item);
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
 * * -EINTR	the thread is being killed
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

	if (unlikely(events & (EPOLLWAKEUP | EPOLLEXCLUSIVE)) &&
	    op != EPOLL_CTL_DEL) {
		if (events & EPOLLWAKEUP)
			events = myep_ws_allowed(events);
		if (events & EPOLLEXCLUSIVE && !exclusive_ok(op, file, events))
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
