// SPDX-License-Identifier: GPL-2.0
/*
 * instance.c - one [myepoll] file, from create to its last reference
 *
 * An instance is held by its file; by each of its items, since the close hook may
 * still be busy with an item when the file is gone ("Removal" in internal.h); by a
 * search upward that stands on it (nesting.c); by a queued irq_work (pass_on()); and by
 * a worker that closes a file (item.c).
 */
#include <linux/atomic.h>
#include <linux/slab.h>

#include "internal.h"

/* Instances that are not freed yet; unloading waits for the last. */
static atomic_long_t instances;
static DECLARE_WAIT_QUEUE_HEAD(instances_gone);

/**
 * myep_alloc - a new instance, with one reference
 *
 * The caller sets its file, or drops the reference.
 *
 * Return: the instance, or NULL without memory.
 */
struct myep *myep_alloc(void)
{
	struct myep *ep;

	ep = kzalloc(sizeof(*ep), GFP_KERNEL_ACCOUNT);
	if (unlikely(!ep))
		return NULL;

	ep->quota = myep_quota_get();
	if (unlikely(!ep->quota)) {
		kfree(ep);
		return NULL;
	}

	init_waitqueue_head(&ep->wq);
	INIT_LIST_HEAD(&ep->ready);
	INIT_LIST_HEAD(&ep->items);
	mutex_init(&ep->mtx);
	init_llist_head(&ep->closing);
	init_waitqueue_head(&ep->poll_wait);
	init_irq_work(&ep->rewake, myep_rewake);
	ep->waking_cpu = -1;
	refcount_set(&ep->refs, 1);
	atomic_long_inc(&instances);
	return ep;
}

/* The last reference is gone: myep_put(). */
void myep_free(struct myep *ep)
{
	WARN_ON_ONCE(!list_empty(&ep->items));
	myep_quota_put(ep->quota);
	if (unlikely(ep->adopted))
		myep_adopt_put();
	/* irq_work touches the work once more after its handler. */
	if (unlikely(ep->rewoken))
		kfree_rcu(ep, rcu);
	else
		kfree(ep);
	if (atomic_long_dec_and_test(&instances))
		wake_up(&instances_gone);
}

/**
 * myep_release - the file of an instance closes
 * @ep: the instance
 *
 * Nobody polls the file any more: watches of it, in instances and in the kernel's
 * epoll, went with its close, and any other poller would hold a reference.
 */
void myep_release(struct myep *ep)
{
	if (myep_tracing())
		myep_trace_release(ep);
	myep_index_disown(ep);
	myep_release_items(ep);
	myep_put(ep);
}

/**
 * myep_instances_drain - wait until the last instance is freed
 *
 * At unload, when no file of ours is open. What is left is held by an item that the
 * close hook has in its hands, or by an irq_work, and so for a moment only.
 */
void myep_instances_drain(void)
{
	wait_event(instances_gone, !atomic_long_read(&instances));
}
