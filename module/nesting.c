// SPDX-License-Identifier: GPL-2.0
/*
 * nesting.c - instances that watch instances
 *
 * Keeps the graph of instances free of cycles and shallow, so that wakeups and
 * ->poll recurse MYEP_MAX_NESTS deep at most, and bounds how many instances one
 * wakeup can run through. Called from ADD alone.
 *
 * nest_mutex is held from the check to the end of the ADD. Meanwhile the graph
 * below and above it can only shrink: an ADD that nests takes nest_mutex, and so
 * does any ADD to an instance that is watched, or about to be.
 */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/magic.h>

#include "internal.h"

static DEFINE_MUTEX(nest_mutex);

/*
 * The number of the walk; an instance with this nest_seq has been visited, an item with
 * it has had the watchers of its file counted. nest_mutex.
 */
static u64 nest_seq;

/* More than any depth allowed: a cycle, or too deep. Sums of two do not wrap. */
#define TOO_DEEP	(MYEP_MAX_NESTS + 1)

/*
 * Paths of each length that may lead from one file up to instances that nobody
 * watches, epoll's figures. An instance that watches the file itself is free.
 */
static const int path_limits[MYEP_MAX_NESTS + 1] = { INT_MAX, 500, 100, 50, 10 };

/**
 * myep_is_foreign_epoll - is this an epoll file of the kernel's own?
 * @file: any file
 *
 * Its file_operations are not exported. An anonymous inode's name is, and is
 * given by the kernel alone.
 */
bool myep_is_foreign_epoll(const struct file *file)
{
	const struct dentry *dentry = file->f_path.dentry;

	return dentry->d_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       !strcmp(dentry->d_name.name, "[eventpoll]");
}

/*
 * Links below @ep on the longest chain, TOO_DEEP if @forbidden is on one. Each
 * mtx is held while its instance is walked, parent before child.
 */
static int depth_below(struct myep *ep, const struct myep *forbidden, int level)
{
	struct myep_item *item;
	struct myep_walk walk;
	int depth = 0;

	lockdep_assert_held(&nest_mutex);

	if (ep == forbidden || level > MYEP_MAX_NESTS)
		return TOO_DEEP;
	if (ep->nest_seq == nest_seq)
		return ep->nest_depth;

	mutex_lock_nested(&ep->mtx, level);
	myep_walk_start(&walk, ep);
	while (depth < TOO_DEEP && (item = myep_walk_next(&walk))) {
		if (item->nested)
			depth = max(depth, 1 + depth_below(myep_of(item->file),
							   forbidden,
							   level + 1));
		cond_resched();
	}
	myep_walk_end(&walk);
	mutex_unlock(&ep->mtx);

	ep->nest_seq = nest_seq;
	ep->nest_depth = min(depth, TOO_DEEP);
	return ep->nest_depth;
}

/* Links above @ep on the longest chain, at most TOO_DEEP. */
static int depth_above(struct myep *ep, int level)
{
	struct file *file = READ_ONCE(ep->file);
	struct myep_watcher w = {};
	int depth = 0;

	lockdep_assert_held(&nest_mutex);

	if (level > MYEP_MAX_NESTS)
		return TOO_DEEP;
	if (ep->nest_seq == nest_seq)
		return ep->nest_depth;

	while (file && depth < TOO_DEEP &&
	       myep_index_next_watcher(file, ep, &w)) {
		depth = max(depth, 1 + depth_above(w.ep, level + 1));
		cond_resched();
	}
	if (w.ep)
		myep_put(w.ep);

	ep->nest_seq = nest_seq;
	ep->nest_depth = min(depth, TOO_DEEP);
	return ep->nest_depth;
}

/**
 * myep_nest_begin - before an ADD that changes the graph
 * @ep: the instance added to; no mtx is held
 * @child: the instance added, or NULL where @ep is watched and gets a new leaf
 *
 * Return: 0 with nest_mutex held, to be dropped by myep_nest_end(); or -ELOOP,
 * and it is not.
 */
int myep_nest_begin(struct myep *ep, struct myep *child)
{
	int below, above;

	mutex_lock(&nest_mutex);
	if (!child)
		return 0;

	/*
	 * From here on whoever adds to @child waits for nest_mutex. An ADD that
	 * found it unwatched before holds its mtx, and the walk waits for it.
	 */
	atomic_inc(&child->watchers);

	nest_seq++;
	below = depth_below(child, ep, 1);
	nest_seq++;
	above = below < TOO_DEEP ? depth_above(ep, 0) : 0;

	if (below + 1 + above > MYEP_MAX_NESTS) {
		myep_nest_end(child);
		return -ELOOP;
	}
	return 0;
}

/**
 * myep_nest_end - after the ADD
 * @child: what myep_nest_begin() was given
 *
 * A new item counts as a watcher of its own.
 */
void myep_nest_end(struct myep *child)
{
	if (child)
		atomic_dec(&child->watchers);
	mutex_unlock(&nest_mutex);
}

/* struct paths - the paths counted from one file, by length */
struct paths {
	int count[MYEP_MAX_NESTS + 1];
};

/* One more path of @length links ends at an instance that nobody watches. */
static int count_top(struct paths *paths, int length)
{
	return ++paths->count[length] > path_limits[length] ? -EINVAL : 0;
}

/*
 * Count the paths up from @file, which belongs to @owner if that is not NULL, and mark
 * the items that watch it. A removal takes its item from the index first and counts the
 * watcher down later, so one more level may be looked at than there is.
 */
static int count_paths(struct file *file, struct myep *owner, int length,
		       struct paths *paths)
{
	struct myep_watcher w = { .seq = nest_seq };
	bool top = true;
	int err = 0;

	while (file && myep_index_next_watcher(file, owner, &w)) {
		if (length > MYEP_MAX_NESTS)
			err = -EINVAL;
		else if (atomic_read(&w.ep->watchers))
			err = count_paths(READ_ONCE(w.ep->file), w.ep,
					  length + 1, paths);
		else
			err = count_top(paths, length);
		top = false;
		if (err) {
			myep_put(w.ep);
			break;
		}
		cond_resched();
	}
	/* The watchers that the caller counted have just gone. */
	if (top && owner)
		err = count_top(paths, length - 1);
	return err;
}

static int check_paths(struct file *file, int level)
{
	struct paths paths = {};
	struct myep_item *item;
	struct myep_walk walk;
	struct myep *ep;
	int err = 0;

	if (!myep_is_instance(file))
		return count_paths(file, NULL, 0, &paths);

	ep = myep_of(file);
	if (ep->nest_seq == nest_seq)
		return 0;
	ep->nest_seq = nest_seq;

	mutex_lock_nested(&ep->mtx, level);
	myep_walk_start(&walk, ep);
	while (!err && (item = myep_walk_next(&walk))) {
		/*
		 * A file that many instances below watch, or under many numbers, is
		 * counted once: that has marked all its items, and none is added here
		 * meanwhile.
		 */
		if (item->nested || item->nest_seq != nest_seq)
			err = check_paths(item->file, level + 1);
		cond_resched();
	}
	myep_walk_end(&walk);
	mutex_unlock(&ep->mtx);
	return err;
}

/**
 * myep_nest_check_paths - would too many paths lead up from a file?
 * @file: what has just been added, and is in the index; under nest_mutex
 *
 * Looks at @file, or, where that is an instance, at every file below it.
 *
 * Return: 0 or -EINVAL.
 */
int myep_nest_check_paths(struct file *file)
{
	lockdep_assert_held(&nest_mutex);

	nest_seq++;
	return check_paths(file, 1);
}
