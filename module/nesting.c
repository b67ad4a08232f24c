// SPDX-License-Identifier: GPL-2.0
/*
 * nesting.c - instances that watch instances
 *
 * Keeps the graph of instances free of cycles and shallow, so that wakeups and
 * ->poll recurse MYEP_MAX_NESTS deep at most, and bounds how many instances one
 * wakeup can run through. Called from ADD alone.
 *
 * nest_mutex is held from the check until the new item is in the index, but not
 * while its file is polled, which may take as long as a FUSE daemon likes. Meanwhile
 * the graph below and above it can only shrink: an ADD that nests takes nest_mutex,
 * and so does any ADD to an instance that is watched, or about to be. What an ADD
 * looks at is each watch below it, and each of the same files, once. But it waits for
 * the mtx of each instance below, and so for a harvest there whose ->poll or fault
 * takes its time, as in epoll. For who has that of the instance added to, ADD has waited
 * before it takes nest_mutex; only who gets it in between is waited for.
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
 * Paths of each length that may lead from an instance that watches a file up to
 * instances that nobody watches, epoll's figures. Those of no links are free.
 */
static const int path_limits[MYEP_MAX_NESTS + 1] = { 0, 500, 100, 50, 10 };

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
 * myep_nest_end - the item is in the index, or will not be
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

/* Add the paths of @from to those of @to, where they are @longer links longer. */
static void add_paths(struct myep_paths *to, const struct myep_paths *from, int longer)
{
	int i;

	/* Of those that are too many one more is as bad as any number. */
	for (i = 1; i <= MYEP_MAX_NESTS; i++)
		to->count[i] = min(to->count[i] + from->count[i - longer],
				   path_limits[i] + 1);
}

/* The paths up from @ep; one of no links where nobody watches it. */
static const struct myep_paths *paths_above(struct myep *ep)
{
	struct file *file = READ_ONCE(ep->file);
	struct myep_watcher w = {};
	struct myep_paths paths = { .seq = nest_seq };
	bool top = true;

	lockdep_assert_held(&nest_mutex);

	if (ep->paths.seq == nest_seq)
		return &ep->paths;

	/* Most have no watchers, which needs no look into the index. */
	if (!atomic_read(&ep->watchers))
		file = NULL;
	while (file && myep_index_next_watcher(file, ep, &w)) {
		add_paths(&paths, paths_above(w.ep), 1);
		top = false;
		cond_resched();
	}
	paths.count[0] = top;
	ep->paths = paths;
	return &ep->paths;
}

/* Count the paths up from @file, no instance, and mark the items that watch it. */
static int count_paths(struct file *file)
{
	struct myep_watcher w = { .seq = nest_seq };
	struct myep_paths paths = {};
	int i;

	while (myep_index_next_watcher(file, NULL, &w)) {
		add_paths(&paths, paths_above(w.ep), 0);
		cond_resched();
	}
	for (i = 1; i <= MYEP_MAX_NESTS; i++)
		if (paths.count[i] > path_limits[i])
			return -EINVAL;
	return 0;
}

static int check_paths(struct file *file, int level)
{
	struct myep_item *item;
	struct myep_walk walk;
	struct myep *ep;
	int err = 0;

	if (!myep_is_instance(file))
		return count_paths(file);

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
