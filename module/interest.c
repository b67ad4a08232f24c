// SPDX-License-Identifier: GPL-2.0
/*
 * interest.c - the interest list: ADD, MOD, DEL, SET, DISABLE
 *
 * Makes items and hooks them into the wait queues of their files. Called from the
 * doors, and runs under ep->mtx; or called by a turn, which holds that for a run of
 * changes. How an item goes is in item.c, and "Removal" in internal.h says how the ways to
 * lose one exclude each other. All waits for a mutex end when the thread is killed.
 */
#include <linux/file.h>
#include <linux/net.h>
#include <linux/slab.h>

#include "../uapi/myepoll.h"
#include "internal.h"

/* What an exclusive watch may ask for. */
#define EXCLUSIVE_BITS \
	(EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | \
	 EPOLLWAKEUP | EPOLLET | EPOLLEXCLUSIVE)

/* What a change may leave to be done when spinlocks are dropped */
#define WAKE_POLLERS	1

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
	if (item->events & EPOLLEXCLUSIVE) {
		if (READ_ONCE(item->ep->options) & MYEP_OPT_FAIR)
			WRITE_ONCE(item->special, item->special | MYEP_ROTATES);
		add_wait_queue_exclusive(head, &entry->wait);
	} else {
		add_wait_queue(head, &entry->wait);
	}
}

/*
 * Might ->poll wait for user space? That of pipes and most sockets does not, nor that of
 * the kernel's own files without a name, such as eventfd, which are known by their file
 * system. That of vsock takes a lock that is held while the buffer of a send is paged
 * in. FUSE asks its daemon, and a dma-buf takes the lock of its device. Of drivers
 * nothing is known.
 *
 * Here, where it is known for a socket, it gets what MYEPOLL_OPT_BALANCE asks for.
 */
static __always_inline bool poll_may_block(struct myep_item *item, struct file *file)
{
	const struct inode *inode = file_inode(file);
	const struct socket *sock;

	switch (inode->i_sb->s_magic) {
	case SOCKFS_MAGIC:
		sock = sock_from_file(file);
		if (unlikely(READ_ONCE(item->ep->options) & MYEP_OPT_BALANCE))
			myep_balance(item, sock);
		return !sock || READ_ONCE(sock->ops)->family == PF_VSOCK;
	case ANON_INODE_FS_MAGIC:
	case PID_FS_MAGIC:
		return file->f_op->owner;
	}
	/* A pipe, or a FIFO in any file system. That of rpc_pipefs is neither. */
	return !(S_ISFIFO(inode->i_mode) && inode->i_pipe);
}

static __always_inline
struct myep_item *item_alloc(struct myep *ep, struct file *file, int fd,
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
	item->disabled = false;
	item->balanced = false;
	item->special = myep_is_instance(file) ? MYEP_NESTED : 0;
	item->alone = item->special || poll_may_block(item, file);
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
 * The caller holds the file, which may belong to an instance, @child.
 *
 * Return: 0; or an error, and the item is freed.
 */
static __always_inline int item_insert(struct myep *ep, struct myep_item *item,
				       struct myep *child)
{
	int err = -EEXIST;

	if (unlikely(!myep_index_add(item)))
		goto err_free;
	if (unlikely(child))
		atomic_inc(&child->watchers);
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
static __always_inline int item_start(struct myep *ep, struct myep_item *item,
				      struct file *file, bool linked)
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

/*
 * Under ep->mtx.
 *
 * Return: 0; an error; or WAKE_POLLERS, which the caller has to do with myep_wake_pollers().
 */
static __always_inline int mod_locked(struct myep *ep, struct file *file, int fd,
				      __poll_t events, u64 data)
{
	struct myep_item *item = myep_index_find(file, ep, fd);
	int ret = 0;
	poll_table pt;

	if (!item)
		return -ENOENT;
	if (item->events & EPOLLEXCLUSIVE) {
		if (item->disabled)
			return -ECANCELED;
		if (!item->balanced)
			return -EINVAL;
		events |= EPOLLEXCLUSIVE;
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
		ret = myep_queue(item) ? WAKE_POLLERS : 0;
		spin_unlock_irq(&ep->wq.lock);
	}
	return ret;
}

/*
 * The part of an ADD under ep->mtx. The file may belong to an instance, @child. It is
 * compiled into CTL's ADD as a whole, and for all others once more.
 */
static __always_inline int __add_locked(struct myep *ep, struct file *file, int fd,
					__poll_t events, u64 data, struct myep *child)
{
	struct myep_item *item;
	bool nest;
	int err;

	item = item_alloc(ep, file, fd, events | EPOLLERR | EPOLLHUP, data);
	if (unlikely(!item)) {
		/* That it is there already is the first thing to say. */
		return myep_index_find(file, ep, fd) ? -EEXIST : -ENOMEM;
	}
	/* Nobody begins to watch @ep before this ADD is over: myep_nest_prepare(). */
	nest = child || atomic_read(&ep->watchers);
	if (unlikely(nest)) {
		err = myep_nest_begin(ep, child);
		if (err) {
			kmem_cache_free(myep_item_cache, item);
			return err;
		}
	}
	err = item_insert(ep, item, child);
	if (unlikely(nest))
		err = item_check_nesting(ep, item, file, err);
	if (likely(!err))
		err = item_start(ep, item, file, nest);
	return err;
}

static noinline int add_locked(struct myep *ep, struct file *file, int fd,
			       __poll_t events, u64 data, struct myep *child)
{
	return __add_locked(ep, file, fd, events, data, child);
}

/* The part of a SET that is a MOD. Locks and result as in mod_locked(). */
static int set_locked(struct myep *ep, struct file *file, int fd,
		      __poll_t events, u64 data)
{
	/* A watch that is there cannot become exclusive, by MOD neither. */
	if (events & EPOLLEXCLUSIVE)
		return myep_index_find(file, ep, fd) ? -EINVAL : -ENOENT;
	return mod_locked(ep, file, fd, events, data);
}

/* Do what mod_locked() has left to be done. Return: 0 or an errno. */
static __always_inline int changed(struct myep *ep, int ret)
{
	if (ret != WAKE_POLLERS)
		return ret;
	myep_wake_pollers(ep);
	return 0;
}

/* ADD, or SET: MOD, if the watch is there */
static __always_inline int add_or_set(struct myep *ep, struct file *file, int fd,
				      __poll_t events, u64 data, bool set)
{
	struct myep *child = myep_is_instance(file) ? myep_of(file) : NULL;
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

	if (!set) {
		err = __add_locked(ep, file, fd, events, data, child);
	} else {
		err = set_locked(ep, file, fd, events, data);
		if (err == -ENOENT)
			err = add_locked(ep, file, fd, events, data, child);
	}
	mutex_unlock(&ep->mtx);
out:
	/* Now the item counts as a watcher, if there is one. */
	if (unlikely(child))
		atomic_dec(&child->watchers);
	return set ? changed(ep, err) : err;
}

/* Out of line, so that only an ADD pays for a table on the stack. */
static noinline int ctl_add(struct myep *ep, struct file *file, int fd,
			    __poll_t events, u64 data)
{
	return add_or_set(ep, file, fd, events, data, false);
}

static noinline int ctl_set(struct myep *ep, struct file *file, int fd,
			    __poll_t events, u64 data)
{
	return add_or_set(ep, file, fd, events, data, true);
}

static __always_inline int ctl_mod(struct myep *ep, struct file *file, int fd,
				   __poll_t events, u64 data)
{
	int ret;

	if (unlikely(mutex_lock_killable(&ep->mtx)))
		return -EINTR;
	ret = mod_locked(ep, file, fd, events, data);
	mutex_unlock(&ep->mtx);
	return changed(ep, ret);
}

static __always_inline int del_locked(struct myep *ep, struct file *file, int fd)
{
	struct myep_item *item = myep_index_take(file, ep, fd);

	if (unlikely(!item))
		return -ENOENT;
	myep_item_discard(item);
	return 0;
}

static __always_inline int ctl_del(struct myep *ep, struct file *file, int fd)
{
	int err;

	if (unlikely(mutex_lock_killable(&ep->mtx)))
		return -EINTR;
	err = del_locked(ep, file, fd);
	mutex_unlock(&ep->mtx);
	return err;
}

/*
 * A one-shot watch whose event has been delivered asks for nothing: see
 * item_mark_delivered(), also under ep->mtx. So whether somebody has the event can be
 * told from the mask.
 */
static int disable_locked(struct myep *ep, struct file *file, int fd)
{
	struct myep_item *item = myep_index_find(file, ep, fd);
	bool armed;

	if (!item)
		return -ENOENT;
	if (!(item->events & EPOLLONESHOT))
		return -EINVAL;
	if (item->disabled)
		return -EALREADY;
	armed = item->events & ~MYEP_PRIVATE_BITS;
	item->disabled = true;

	spin_lock_irq(&ep->wq.lock);
	/* MOD looks for the one bit anyway, and need not look for @disabled as well. */
	WRITE_ONCE(item->events, (item->events & MYEP_PRIVATE_BITS) | EPOLLEXCLUSIVE);
	list_del_init(&item->ready_link);
	myep_ws_relax(item);
	spin_unlock_irq(&ep->wq.lock);
	if (item->balanced)
		myep_item_offer(item);
	return armed ? 0 : -EBUSY;
}

/* As in epoll, EPOLLEXCLUSIVE is for ADD alone, and not to watch an instance. */
static bool exclusive_ok(int op, const struct file *file, __poll_t events)
{
	if (op == EPOLL_CTL_MOD)
		return false;
	if (op != EPOLL_CTL_ADD && op != MYEPOLL_CTL_SET)
		return true;
	return !(events & ~EXCLUSIVE_BITS) && !myep_is_instance(file) &&
	       !myep_is_foreign_epoll(file);
}

/* What does not depend on what is watched. @events may be changed. */
static __always_inline int check_change(struct myep *ep, int op, struct file *file,
					__poll_t *events)
{
	if (!file_can_poll(file))
		return -EPERM;
	if (file == ep->file)
		return -EINVAL;

	if (unlikely(*events & (EPOLLWAKEUP | EPOLLEXCLUSIVE)) &&
	    op != EPOLL_CTL_DEL) {
		if (*events & EPOLLWAKEUP)
			*events = myep_ws_allowed(*events);
		if (*events & EPOLLEXCLUSIVE && !exclusive_ok(op, file, *events))
			return -EINVAL;
	}
	return 0;
}

/* Operations that epoll does not have: "Beyond epoll" in uapi/myepoll.h */
static noinline int ctl_more(struct myep *ep, int op, struct file *file, int fd,
			     __poll_t events, u64 data)
{
	int err;

	/* For its program it is an epoll. */
	if (ep->adopted)
		return -EINVAL;

	switch (op) {
	case MYEPOLL_CTL_SET:
		return ctl_set(ep, file, fd, events, data);
	case MYEPOLL_CTL_DISABLE:
		if (mutex_lock_killable(&ep->mtx))
			return -EINTR;
		err = disable_locked(ep, file, fd);
		mutex_unlock(&ep->mtx);
		return err;
	}
	return -EINVAL;
}

/* @fd is not open. */
static noinline int ctl_no_file(struct myep *ep, int op, int fd, u64 data)
{
	int err;

	if (op != MYEPOLL_CTL_DROP || ep->adopted)
		return -EBADF;
	if (mutex_lock_killable(&ep->mtx))
		return -EINTR;
	err = myep_drop_locked(ep, fd, data, false);
	mutex_unlock(&ep->mtx);
	return err;
}

/* myep_ctl(), compiled twice: "Tracing" in internal.h. */
static __always_inline int do_ctl(struct myep *ep, int op, int fd, __poll_t events,
				  u64 data)
{
	struct fd target = fdget(fd);
	struct file *file = fd_file(target);
	int err;

	if (unlikely(!file))
		return ctl_no_file(ep, op, fd, data);

	err = check_change(ep, op, file, &events);
	if (err)
		goto out;
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
	default:
		err = ctl_more(ep, op, file, fd, events, data);
	}
out:
	fdput(target);
	return err;
}

static noinline int ctl_traced(struct myep *ep, int op, int fd, __poll_t events, u64 data)
{
	int err = do_ctl(ep, op, fd, events, data);

	myep_trace_ctl(ep, op, fd, events, data, err);
	return err;
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
 *
 * and of MYEPOLL_CTL_* what uapi/myepoll.h says.
 */
int myep_ctl(struct myep *ep, int op, int fd, __poll_t events, u64 data)
{
	if (myep_tracing())
		return ctl_traced(ep, op, fd, events, data);
	return do_ctl(ep, op, fd, events, data);
}

/* An ADD to a graph of instances changes that, and takes nest_mutex and more. */
static bool nests(struct myep *ep, struct file *file)
{
	return myep_is_instance(file) || atomic_read(&ep->watchers) ||
	       myep_is_foreign_epoll(file);
}

/* What change_nesting() says if the thread is killed before it has ep->mtx again. */
#define MTX_LOST	2

/* The rest of a change that nests, with no lock held meanwhile. */
static noinline int change_nesting(struct myep *ep, int op, struct file *file, int fd,
				   __poll_t events, u64 data)
{
	int err;

	mutex_unlock(&ep->mtx);
	if (op == MYEPOLL_CTL_SET)
		err = ctl_set(ep, file, fd, events, data);
	else
		err = ctl_add(ep, file, fd, events, data);
	return mutex_lock_killable(&ep->mtx) ? MTX_LOST : err;
}

/* myep_ctl() under ep->mtx, which is dropped for a while where the change nests. */
static __always_inline int change_locked(struct myep *ep, const struct myepoll_change *c,
					 struct file *file)
{
	__poll_t events = (__force __poll_t)c->events;
	int err = check_change(ep, c->op, file, &events);

	if (err)
		return err;
	switch (c->op) {
	case EPOLL_CTL_MOD:
		return changed(ep, mod_locked(ep, file, c->fd, events, c->data));
	case EPOLL_CTL_DEL:
		return del_locked(ep, file, c->fd);
	case MYEPOLL_CTL_DISABLE:
		return ep->adopted ? -EINVAL : disable_locked(ep, file, c->fd);
	case MYEPOLL_CTL_SET:
		if (unlikely(ep->adopted))
			return -EINVAL;
		err = set_locked(ep, file, c->fd, events, c->data);
		if (err != -ENOENT)
			return changed(ep, err);
		fallthrough;
	case EPOLL_CTL_ADD:
		if (unlikely(nests(ep, file)))
			return change_nesting(ep, c->op, file, c->fd, events, c->data);
		return add_locked(ep, file, c->fd, events, c->data, NULL);
	}
	return -EINVAL;
}

/**
 * myep_change_run - some changes of a turn
 * @ep: the instance; the caller holds its file and its mtx
 * @run: the changes; each gets its result
 * @n: how many
 * @stop: only up to the first that fails
 * @failed: how many have failed is added here
 *
 * Return: how many have been tried; or -EINTR if the thread is being killed and does not
 * hold the mtx any more.
 */
int myep_change_run(struct myep *ep, struct myepoll_change *run, unsigned int n,
		    bool stop, unsigned int *failed)
{
	struct myepoll_change *c = run, *end = run + n;

	lockdep_assert_held(&ep->mtx);

	while (c < end) {
		unsigned long word = myep_fdget(c->fd);
		struct file *file = myep_fd_file(word);
		int err;

		if (likely(file))
			err = change_locked(ep, c, file);
		else if (c->op == MYEPOLL_CTL_DROP && !ep->adopted)
			err = myep_drop_locked(ep, c->fd, c->data, true);
		else
			err = -EBADF;
		if (unlikely(err == MTX_LOST)) {
			if (myep_tracing())
				myep_trace_run(ep, run, c - run);
			myep_fdput(word);
			return -EINTR;
		}
		/* Not fput(): see turn.c. */
		if (unlikely(word & FDPUT_FPUT) && myep_file_drop(file)) {
			myep_file_dropped(ep, file);
			myep_close_dropped(ep, true);
		}

		c++->result = err;
		if (unlikely(err)) {
			++*failed;
			if (stop)
				break;
		}
	}
	return c - run;
}
