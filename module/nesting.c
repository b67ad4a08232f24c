// SPDX-License-Identifier: GPL-2.0
/*
 * nesting.c - instances that watch instances
 *
 * Keeps the graph of instances free of cycles and shallow, so that wakeups and
 * ->poll recurse MYEP_MAX_NESTS deep at most. It also bounds how many instances one
 * wakeup can run through. Called from ADD alone.
 *
 * A cycle can only be seen with the whole graph in view, so nest_mutex is held from
 * the check until the new item is in the index and on ep->items. Meanwhile the graph
 * below and above can only shrink: every ADD of an instance takes nest_mutex, and so
 * does every ADD to an instance that is watched.
 *
 * nest_mutex is shared by all users, so its holder waits for nobody. It takes no
 * ep->mtx: whoever holds that may stand in a page fault or a ->poll for as long as he
 * likes. A search looks at the items of other instances under ep->wq.lock instead.
 *
 * That leaves one race. An ADD to an instance that nobody watches does not take
 * nest_mutex. If the instance becomes watched at that moment, the search must not
 * miss the new item. myep_nest_prepare() sees to that.
 */
#include <linux/dcache.h>
#include <linux/file.h>
#include <linux/magic.h>

#include "internal.h"

static DEFINE_MUTEX(nest_mutex);

/*
 * The number of the search. What an instance with this nest_seq is known for is in its
 * nest_known. An item with it has had the watchers of its file counted. nest_mutex.
 */
static u64 nest_seq;

/* enum nest_known - bits of what a search has found out about an instance */
enum nest_known {
	NEST_VISITED	= 1,	/* it need not come by again; nest_depth, if it counts */
	NEST_PATHS	= 2,	/* its paths */
};

static bool is_known(const struct myep *ep, enum nest_known what)
{
	return ep->nest_seq == nest_seq && ep->nest_known & what;
}

static void set_known(struct myep *ep, enum nest_known what)
{
	if (ep->nest_seq != nest_seq) {
		ep->nest_seq = nest_seq;
		ep->nest_known = 0;
	}
	ep->nest_known |= what;
}

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
	static const struct qstr name = QSTR_INIT("[eventpoll]", 11);
	const struct dentry *dentry = file->f_path.dentry;

	return dentry->d_sb->s_magic == ANON_INODE_FS_MAGIC &&
	       dentry->d_name.len == name.len &&
	       !memcmp(dentry->d_name.name, name.name, name.len);
}

static bool is_no_instance(const struct myep_item *item)
{
	return !myep_item_is_nested(item);
}

/* Links below @ep on the longest chain, TOO_DEEP if @parent is on one. */
static int depth_below(struct myep *ep, struct myep *parent, int level)
{
	struct myep_walk walk;
	int depth = 0;

	lockdep_assert_held(&nest_mutex);

	if (ep == parent || level > MYEP_MAX_NESTS)
		return TOO_DEEP;
	if (is_known(ep, NEST_VISITED))
		return ep->nest_depth;

	myep_walk_start(&walk, ep, MYEP_WALKER_NESTING, parent);
	while (depth < TOO_DEEP && myep_walk_next(&walk, is_no_instance)) {
		depth = max(depth, 1 + depth_below(myep_of(walk.file), parent,
						   level + 1));
		cond_resched();
	}
	myep_walk_end(&walk);

	set_known(ep, NEST_VISITED);
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
	if (is_known(ep, NEST_VISITED))
		return ep->nest_depth;

	while (file && depth < TOO_DEEP &&
	       myep_index_next_watcher(file, ep, &w)) {
		depth = max(depth, 1 + depth_above(w.ep, level + 1));
		cond_resched();
	}
	if (w.ep)
		myep_put(w.ep);

	set_known(ep, NEST_VISITED);
	ep->nest_depth = min(depth, TOO_DEEP);
	return ep->nest_depth;
}

/**
 * myep_nest_prepare - announce that an instance is about to be watched
 * @child: the instance; no mtx is held
 *
 * From here on whoever adds to @child sees that it is watched, and takes nest_mutex.
 * An ADD that has seen it unwatched before holds its mtx, and is waited for here: not
 * under nest_mutex, and not under another mtx, since that could be a deadlock as long
 * as nobody has looked for a cycle.
 *
 * Return: 0, and child->watchers is raised for the caller to lower; or -EINTR.
 */
int myep_nest_prepare(struct myep *child)
{
	int err;

	atomic_inc(&child->watchers);
	err = mutex_lock_killable(&child->mtx);
	if (err)
		atomic_dec(&child->watchers);
	else
		mutex_unlock(&child->mtx);
	return err;
}

/**
 * myep_nest_begin - before an ADD that changes the graph
 * @ep: the instance added to; its mtx is held
 * @child: the instance added, prepared; or NULL where @ep is watched and gets a file
 *	   of another kind
 *
 * Return: 0 with nest_mutex held, to be dropped by myep_nest_end(); or -ELOOP or
 * -EINTR, and it is not.
 */
int myep_nest_begin(struct myep *ep, struct myep *child)
{
	int below, above;

	lockdep_assert_held(&ep->mtx);

	if (mutex_lock_killable(&nest_mutex))
		return -EINTR;
	if (!child)
		return 0;

	nest_seq++;
	below = depth_below(child, ep, 1);
	nest_seq++;
	above = below < TOO_DEEP ? depth_above(ep, 0) : 0;

	if (below + 1 + above <= MYEP_MAX_NESTS)
		return 0;
	myep_nest_end(ep);
	return -ELOOP;
}

/**
 * myep_nest_end - the new item is in the index and on ep->items, or will not be
 * @ep: what myep_nest_begin() was given
 */
void myep_nest_end(struct myep *ep)
{
	mutex_unlock(&nest_mutex);
	/* The searches may have been the last to hold a file. The ADD may sleep yet. */
	myep_close_dropped(ep, true);
}

/* Add the paths of @from to those of @to, where they are @longer links longer. */
static void add_paths(u16 *to, const u16 *from, int longer)
{
	int i;

	/* Of those that are too many one more is as bad as any number. */
	for (i = 1; i <= MYEP_MAX_NESTS; i++)
		to[i] = min(to[i] + from[i - longer], path_limits[i] + 1);
}

/* The paths up from @ep; one of no links where nobody watches it. */
static const u16 *paths_above(struct myep *ep)
{
	u16 paths[MYEP_MAX_NESTS + 1] = { 0 };
	struct file *file = READ_ONCE(ep->file);
	struct myep_watcher w = {};
	bool top = true;

	lockdep_assert_held(&nest_mutex);

	if (is_known(ep, NEST_PATHS))
		return ep->paths;

	/* Most have no watchers, which needs no look into the index. */
	if (!atomic_read(&ep->watchers))
		file = NULL;
	while (file && myep_index_next_watcher(file, ep, &w)) {
		add_paths(paths, paths_above(w.ep), 1);
		top = false;
		cond_resched();
	}
	paths[0] = top;
	memcpy(ep->paths, paths, sizeof(paths));
	set_known(ep, NEST_PATHS);
	return ep->paths;
}

/* Count the paths up from @file, no instance, and mark the items that watch it. */
static int count_paths(struct file *file)
{
	u16 paths[MYEP_MAX_NESTS + 1] = { 0 };
	struct myep_watcher w = { .seq = nest_seq };
	int i;

	while (myep_index_next_watcher(file, NULL, &w)) {
		add_paths(paths, paths_above(w.ep), 0);
		cond_resched();
	}
	for (i = 1; i <= MYEP_MAX_NESTS; i++)
		if (paths[i] > path_limits[i])
			return -EINVAL;
	return 0;
}

/*
 * Many instances may watch the same file, or one may under many numbers. Its paths are
 * counted once: that has marked all the items that watch it.
 */
static bool is_counted(const struct myep_item *item)
{
	return !myep_item_is_nested(item) && item->nest_seq == nest_seq;
}

static int check_paths(struct file *file, struct myep *parent)
{
	struct myep_walk walk;
	struct myep *ep;
	int err = 0;

	if (!myep_is_instance(file))
		return count_paths(file);

	ep = myep_of(file);
	if (is_known(ep, NEST_VISITED))
		return 0;
	set_known(ep, NEST_VISITED);

	myep_walk_start(&walk, ep, MYEP_WALKER_NESTING, parent);
	while (!err && myep_walk_next(&walk, is_counted)) {
		err = check_paths(walk.file, parent);
		cond_resched();
	}
	myep_walk_end(&walk);
	return err;
}

/**
 * myep_nest_check_paths - would too many paths lead up from a file?
 * @ep: the instance added to; its mtx is held
 * @file: what has just been added to it, and is in the index; under nest_mutex
 *
 * Looks at @file, or, where that is an instance, at every file below it.
 *
 * Return: 0 or -EINVAL.
 */
int myep_nest_check_paths(struct myep *ep, struct file *file)
{
	lockdep_assert_held(&nest_mutex);

	nest_seq++;
	return check_paths(file, ep);
}
