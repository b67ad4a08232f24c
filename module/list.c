// SPDX-License-Identifier: GPL-2.0
/*
 * list.c - the interest list as a whole: fdinfo, LIST, DROP
 *
 * Walks over all items of an instance under its mtx, with the file of one item held at
 * a time (walk.c). Files that a walk has come to hold alone are closed at its end, and
 * before it may wait for a page.
 */
#include <linux/file.h>
#include <linux/seq_file.h>
#include <linux/uaccess.h>

#include "../uapi/myepoll.h"
#include "internal.h"

/* The mask as its program knows it. */
static __poll_t shown_events(const struct myep_item *item)
{
	return item->balanced || item->disabled ?
		item->events & ~EPOLLEXCLUSIVE : item->events;
}

/**
 * myep_show_fdinfo - /proc/PID/fdinfo/FD, in the columns of epoll
 * @m: where to
 * @file: the [myepoll] file
 *
 * Options, where there are any, have a line behind.
 */
void myep_show_fdinfo(struct seq_file *m, struct file *file)
{
	struct myep *ep = myep_of(file);
	struct myep_item *item;
	struct myep_walk walk;
	u8 options;

	if (mutex_lock_killable(&ep->mtx))
		return;
	myep_walk_start(&walk, ep, MYEP_WALKER_LIST, ep);
	while ((item = myep_walk_next(&walk, NULL))) {
		const struct inode *inode = file_inode(walk.file);

		seq_printf(m, "tfd: %8d events: %8x data: %16llx  pos:%lli ino:%llx sdev:%x\n",
			   item->fd, shown_events(item),
			   (unsigned long long)item->data,
			   (long long)walk.file->f_pos,
			   (unsigned long long)inode->i_ino,
			   inode->i_sb->s_dev);
		if (seq_has_overflowed(m))
			break;
	}
	myep_walk_end(&walk);
	myep_close_dropped(ep, false);
	mutex_unlock(&ep->mtx);

	options = READ_ONCE(ep->options);
	if (options)
		seq_printf(m, "myepoll: fair:%d balance:%d min_wait:%u\n",
			   !!(options & MYEP_OPT_FAIR),
			   !!(options & MYEP_OPT_BALANCE),
			   READ_ONCE(ep->min_wait));
}

/*
 * Does the watch's number mean its file, in the table of the caller? What is there may
 * be closed meanwhile, and LIST may sleep, so the reference is dropped as by a walk.
 */
static bool is_open(const struct myep_item *item, const struct file *file)
{
	unsigned long word = myep_fdget(item->fd);
	struct file *there = myep_fd_file(word);

	if (word & FDPUT_FPUT && myep_file_drop(there))
		myep_file_dropped(item->ep, there);
	return there == file;
}

static void watch_of(struct myep_item *item, const struct file *file,
		     struct myepoll_watch *watch)
{
	struct myep *ep = item->ep;
	u32 state = 0;

	if (is_open(item, file))
		state |= MYEPOLL_WATCH_OPEN;
	if (item->disabled)
		state |= MYEPOLL_WATCH_DISABLED;
	else if (!(item->events & ~MYEP_PRIVATE_BITS))
		state |= MYEPOLL_WATCH_FIRED;
	spin_lock_irq(&ep->wq.lock);
	if (!list_empty(&item->ready_link))
		state |= MYEPOLL_WATCH_READY;
	spin_unlock_irq(&ep->wq.lock);

	*watch = (struct myepoll_watch) {
		.data	= item->data,
		.fd	= item->fd,
		.events	= (__force u32)shown_events(item),
		.state	= state,
	};
}

/* Entries that are written at once. */
#define LIST_RUN	16

/**
 * myep_list - the body of MYEPOLL_IOC_LIST
 * @ep: the instance; the caller holds its file
 * @watches: where to write
 * @room: for so many
 * @size: from one entry to the next, at least that of ours
 *
 * Return: how many watches there are; -EFAULT; or -EINTR if the thread is being killed.
 */
long myep_list(struct myep *ep, u8 __user *watches, u32 room, size_t size)
{
	struct myepoll_watch run[LIST_RUN];
	struct myep_item *item;
	struct myep_walk walk;
	unsigned int total = 0, held = 0, i;
	long err = 0;

	if (mutex_lock_killable(&ep->mtx))
		return -EINTR;
	myep_walk_start(&walk, ep, MYEP_WALKER_LIST, ep);
	do {
		item = myep_walk_next(&walk, NULL);
		if (item && total < INT_MAX && total++ < room)
			watch_of(item, walk.file, &run[held++]);
		/* Those that there is no room for take time too. */
		if (fatal_signal_pending(current))
			err = -EINTR;
		cond_resched();
		if (held < LIST_RUN && (item || !held))
			continue;

		myep_walk_rest(&walk);
		myep_close_dropped(ep, true);
		for (i = 0; i < held && !err; i++, watches += size)
			if (copy_to_user(watches, &run[i], sizeof(run[i])) ||
			    clear_user(watches + sizeof(run[i]), size - sizeof(run[i])))
				err = -EFAULT;
		held = 0;
	} while (item && !err);
	myep_walk_end(&walk);
	myep_close_dropped(ep, false);
	mutex_unlock(&ep->mtx);
	return err ?: total;
}

/**
 * myep_drop_locked - the body of MYEPOLL_CTL_DROP
 * @ep: the instance; the caller holds its file and its mtx
 * @fd: what stands in the place of a descriptor, where none is meant
 * @data: the token of watches to be removed
 * @sleeps: the thread may sleep before it returns to user space
 *
 * Return: 0; -EINVAL if @fd is not -1; -ENOENT if there is none; or -EINTR if the thread
 * is being killed.
 */
int myep_drop_locked(struct myep *ep, int fd, u64 data, bool sleeps)
{
	struct myep_item *item;
	struct myep_walk walk;
	int err = -ENOENT;

	lockdep_assert_held(&ep->mtx);

	if (fd != -1)
		return -EINVAL;
	myep_walk_start(&walk, ep, MYEP_WALKER_LIST, ep);
	while ((item = myep_walk_next(&walk, NULL))) {
		if (item->data == data) {
			/* Removal A, in internal.h: the walk holds the file. */
			if (myep_tracing())
				myep_trace_remove(ep, item->fd, MYEP_BY_DROP);
			item = myep_index_take(walk.file, ep, item->fd);
			myep_item_discard(item);
			err = 0;
		}
		if (fatal_signal_pending(current)) {
			err = -EINTR;
			break;
		}
		cond_resched();
	}
	myep_walk_end(&walk);
	myep_close_dropped(ep, sleeps);
	return err;
}
