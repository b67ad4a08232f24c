// SPDX-License-Identifier: GPL-2.0
/*
 * index.c - from (file, instance, fd) to the item
 *
 * One hash over all instances, by the address of the file, each bucket a tree
 * ordered by (file, instance, fd). So ctl finds its item in a step or two, the
 * close hook finds all items of a file side by side, and neither a file that is
 * watched 100,000 times nor a bucket that collects many files makes anyone walk
 * a list. The hash is sized at load and never grows: the trees take what it
 * does not spread.
 *
 * The bucket's lock decides who removes an item, and the item is detached from its
 * file under it: see "Removal" in internal.h. Called from ctl, ->release and the close
 * hook, never from a wakeup.
 */
#include <linux/hash.h>
#include <linux/mm.h>
#include <linux/slab.h>

#include "internal.h"

/* struct myep_bucket - the items of the files that hash to it */
struct myep_bucket {
	spinlock_t lock;	/* guards items, and who removes one */
	struct rb_root items;
};

static struct myep_bucket *buckets __ro_after_init;
static unsigned int bucket_bits __ro_after_init;

static struct myep_bucket *bucket_of(const struct file *file)
{
	return &buckets[hash_ptr(file, bucket_bits)];
}

static bool has_key(const struct myep_item *item, const struct file *file,
		    const struct myep *ep, int fd)
{
	return item->file == file && item->ep == ep && item->fd == fd;
}

/* The order of a tree: is this key below the item's? */
static bool key_below(const struct file *file, const struct myep *ep, int fd,
		      const struct myep_item *item)
{
	if (file != item->file)
		return (unsigned long)file < (unsigned long)item->file;
	if (ep != item->ep)
		return (unsigned long)ep < (unsigned long)item->ep;
	return fd < item->fd;
}

static __always_inline
struct myep_item *bucket_find(struct myep_bucket *b, const struct file *file,
			      const struct myep *ep, int fd)
{
	struct rb_node *node = b->items.rb_node;

	lockdep_assert_held(&b->lock);

	while (node) {
		struct myep_item *item = rb_entry(node, struct myep_item, node);

		/* Trees are small (myep_index_init()): mostly the root is it. */
		if (likely(has_key(item, file, ep, fd)))
			return item;
		node = key_below(file, ep, fd, item) ? node->rb_left :
						       node->rb_right;
	}
	return NULL;
}

/* The item of @file with the least key above (@ep, @fd). */
static struct myep_item *bucket_find_above(struct myep_bucket *b,
					   const struct file *file,
					   const struct myep *ep, int fd)
{
	struct rb_node *node = b->items.rb_node;
	struct myep_item *best = NULL;

	lockdep_assert_held(&b->lock);

	while (node) {
		struct myep_item *item = rb_entry(node, struct myep_item, node);

		if (key_below(file, ep, fd, item)) {
			best = item;
			node = node->rb_left;
		} else {
			node = node->rb_right;
		}
	}
	return best && best->file == file ? best : NULL;
}

/**
 * myep_index_add - make an item found, and its file's close hook its remover
 * @item: not in the index; the caller holds a reference to its file
 *
 * Return: false if its key is taken.
 */
bool myep_index_add(struct myep_item *item)
{
	struct myep_bucket *b = bucket_of(item->file);
	struct rb_node *parent = NULL, **link;
	bool added = false;

	spin_lock(&b->lock);
	link = &b->items.rb_node;
	while (*link) {
		const struct myep_item *there;

		parent = *link;
		there = rb_entry(parent, struct myep_item, node);
		if (has_key(there, item->file, item->ep, item->fd))
			goto out;
		link = key_below(item->file, item->ep, item->fd, there) ?
			       &parent->rb_left : &parent->rb_right;
	}
	rb_link_node(&item->node, parent, link);
	rb_insert_color(&item->node, &b->items);
	added = true;
out:
	spin_unlock(&b->lock);
	return added;
}

/**
 * myep_index_find - look an item up
 * @file: the caller holds a reference
 * @ep: the caller holds its mtx
 * @fd: the number it was added under
 *
 * Both together keep the item from being removed.
 */
struct myep_item *myep_index_find(struct file *file, struct myep *ep, int fd)
{
	struct myep_bucket *b = bucket_of(file);
	struct myep_item *item;

	lockdep_assert_held(&ep->mtx);

	spin_lock(&b->lock);
	item = bucket_find(b, file, ep, fd);
	spin_unlock(&b->lock);
	return item;
}

/*
 * Take an item out. While it is in, its file does not get past the close hook, and what
 * it is hooked to lives. So it is detached first.
 */
static __always_inline void bucket_take(struct myep_bucket *b, struct myep_item *item)
{
	lockdep_assert_held(&b->lock);

	myep_item_detach(item);
	/* Pairs with the look without the lock in myep_index_take_any(). */
	smp_wmb();
	rb_erase(&item->node, &b->items);
}

/**
 * myep_index_take - take an item out, to remove it
 * @file: may be gone, and its memory another file
 * @ep: the caller holds its mtx, or it is being released
 * @fd: the number it was added under
 *
 * Return: the item, detached from its file and the caller's to discard; or NULL.
 */
struct myep_item *myep_index_take(struct file *file, struct myep *ep, int fd)
{
	struct myep_bucket *b = bucket_of(file);
	struct myep_item *item;

	spin_lock(&b->lock);
	item = bucket_find(b, file, ep, fd);
	if (item)
		bucket_take(b, item);
	spin_unlock(&b->lock);
	return item;
}

/**
 * myep_index_take_any - take out one item of a file that closes
 * @file: its reference count is 0
 *
 * Return: as myep_index_take().
 */
struct myep_item *myep_index_take_any(struct file *file)
{
	struct myep_bucket *b = bucket_of(file);
	struct myep_item *item;

	/*
	 * Every close on the system comes by here, so an empty bucket is seen without
	 * the lock. An item that was added is not missed: ADD held a reference, and the
	 * count has gone to 0 since, with a full barrier. An item that has been taken
	 * out is detached by now: bucket_take() orders its two stores, and the acquire
	 * here orders the look before what the caller does to the file.
	 */
	if (likely(!READ_ONCE(b->items.rb_node))) {
		smp_acquire__after_ctrl_dep();
		return NULL;
	}

	spin_lock(&b->lock);
	item = bucket_find_above(b, file, NULL, 0);
	if (item)
		bucket_take(b, item);
	spin_unlock(&b->lock);
	return item;
}

/**
 * myep_index_next_watcher - the next instance that watches a file
 * @file: the file; the caller holds a reference to it or to @owner
 * @owner: the instance that @file belongs to, or NULL
 * @w: where the search stands; moved on, its old reference dropped
 *
 * An item in the index holds its instance, so one found here can be referenced.
 * The search needs no lock between its steps: it goes on from a key, which need
 * not be there any more.
 *
 * Return: false at the end, with no reference left in @w.
 */
bool myep_index_next_watcher(struct file *file, const struct myep *owner,
			     struct myep_watcher *w)
{
	struct myep_bucket *b = bucket_of(file);
	struct myep *prev = w->ep;
	struct myep_item *item;

	spin_lock(&b->lock);
	/* @owner's file may be closed and @file be another's by now. */
	if (owner && owner->file != file)
		item = NULL;
	else
		item = bucket_find_above(b, file, prev, w->fd);
	if (item) {
		refcount_inc(&item->ep->refs);
		item->nest_seq = w->seq;
		w->ep = item->ep;
		w->fd = item->fd;
	} else {
		w->ep = NULL;
	}
	spin_unlock(&b->lock);

	if (prev)
		myep_put(prev);
	return item;
}

/**
 * myep_index_disown - an instance's file closes
 * @ep: the instance, in ->release
 *
 * Nobody looks for watchers of @ep's file after this, when its memory may be
 * another file.
 */
void myep_index_disown(struct myep *ep)
{
	struct myep_bucket *b = bucket_of(ep->file);

	spin_lock(&b->lock);
	WRITE_ONCE(ep->file, NULL);
	spin_unlock(&b->lock);
}

/*
 * One user who has as many watches as the default quota allows makes for trees of
 * some 8 to 16 items.
 */
int __init myep_index_init(void)
{
	unsigned long n = clamp(myep_quota_default() / 8, 1UL << 10, 1UL << 20);
	unsigned long i;

	bucket_bits = ilog2(n);
	n = 1UL << bucket_bits;
	buckets = kvmalloc_array(n, sizeof(*buckets), GFP_KERNEL);
	if (!buckets)
		return -ENOMEM;

	for (i = 0; i < n; i++) {
		spin_lock_init(&buckets[i].lock);
		buckets[i].items = RB_ROOT;
	}
	return 0;
}

void myep_index_exit(void)
{
	kvfree(buckets);
}
