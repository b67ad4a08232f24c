// SPDX-License-Identifier: GPL-2.0
/*
 * wakeup_source.c - EPOLLWAKEUP: keep the system awake from event to harvest
 *
 * An item with the flag has a wakeup source, named after the file it watches. It
 * is active while the item is queued or busy. ep->mtx guards making and
 * destroying it; myep_wake() reads it under RCU.
 */
#include <linux/capability.h>
#include <linux/dcache.h>
#include <linux/device.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "internal.h"

/* Without CAP_BLOCK_SUSPEND the flag has no effect, in silence, as in epoll. */
__poll_t myep_ws_allowed(__poll_t events)
{
	if (IS_ENABLED(CONFIG_PM_SLEEP) && capable(CAP_BLOCK_SUSPEND))
		return events;
	return events & ~EPOLLWAKEUP;
}

/* Under ep->mtx, with a reference to the file. */
int myep_ws_create(struct myep_item *item)
{
	struct wakeup_source *ws;
	struct name_snapshot name;

	lockdep_assert_held(&item->ep->mtx);

	take_dentry_name_snapshot(&name, item->file->f_path.dentry);
	ws = wakeup_source_register(NULL, name.name.name);
	release_dentry_name_snapshot(&name);
	if (!ws)
		return -ENOMEM;

	rcu_assign_pointer(item->ws, ws);
	return 0;
}

/* MOD without the flag. Under ep->mtx; the item is hooked and may be woken. */
void myep_ws_destroy(struct myep_item *item)
{
	struct wakeup_source *ws =
		rcu_dereference_protected(item->ws,
					  lockdep_is_held(&item->ep->mtx));

	RCU_INIT_POINTER(item->ws, NULL);
	/* For __myep_ws_stay_awake(). */
	synchronize_rcu();
	wakeup_source_unregister(ws);
}

void __myep_ws_stay_awake(struct myep_item *item)
{
	struct wakeup_source *ws;

	rcu_read_lock();
	ws = rcu_dereference(item->ws);
	if (ws)
		__pm_stay_awake(ws);
	rcu_read_unlock();
}

void __myep_ws_relax(struct myep_item *item)
{
	struct wakeup_source *ws;

	rcu_read_lock();
	ws = rcu_dereference(item->ws);
	if (ws)
		__pm_relax(ws);
	rcu_read_unlock();
}

/*
 * Unregistering sleeps, and an item may be freed by the close hook, which must
 * not. The item is kept until then: it holds the pointer, and the list's link.
 */
static LLIST_HEAD(to_free);

static void free_deferred(struct work_struct *work)
{
	struct myep_item *item, *next;

	llist_for_each_entry_safe(item, next, llist_del_all(&to_free), free_link) {
		wakeup_source_unregister(rcu_access_pointer(item->ws));
		kmem_cache_free(myep_item_cache, item);
	}
}

static DECLARE_WORK(free_work, free_deferred);

/* Free, later, an item that has a wakeup source. Any context that may free. */
void myep_ws_defer_free(struct myep_item *item)
{
	__myep_ws_relax(item);
	if (llist_add(&item->free_link, &to_free))
		queue_work(system_unbound_wq, &free_work);
}

/* At unload, with the last instance gone. */
void myep_ws_exit(void)
{
	flush_work(&free_work);
}
