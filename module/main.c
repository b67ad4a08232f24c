// SPDX-License-Identifier: GPL-2.0
/*
 * main.c - in at load, out at unload
 *
 * Owns the slab caches and the order of things: what a call needs is there
 * before the device that lets calls in, and goes after it. No locks.
 */
#include <linux/init.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/workqueue.h>

#include "internal.h"

bool myep_fast_door __ro_after_init = true;
module_param_named(fast_door, myep_fast_door, bool, 0444);
MODULE_PARM_DESC(fast_door, "Serve ctl and wait through fadvise64(2) too (default: 1)");

/* For closes, which may take long (item.c). What must not wait for them is not here. */
struct workqueue_struct *myep_workqueue __ro_after_init;

struct kmem_cache *myep_item_cache __ro_after_init;
struct kmem_cache *myep_entry_cache __ro_after_init;

static int __init myep_caches_init(void)
{
	/* 24 to a page. Aligned to cache lines a watch would take more than epoll's. */
	myep_item_cache = KMEM_CACHE(myep_item, SLAB_ACCOUNT);
	if (!myep_item_cache)
		return -ENOMEM;

	myep_entry_cache = KMEM_CACHE(myep_entry, SLAB_ACCOUNT);
	if (!myep_entry_cache) {
		kmem_cache_destroy(myep_item_cache);
		return -ENOMEM;
	}
	return 0;
}

static void myep_caches_exit(void)
{
	kmem_cache_destroy(myep_entry_cache);
	kmem_cache_destroy(myep_item_cache);
}

static int __init myep_init(void)
{
	int err;

	err = myep_caches_init();
	if (err)
		return err;

	myep_quota_init();

	myep_workqueue = alloc_workqueue("myepoll", WQ_UNBOUND, 0);
	if (!myep_workqueue) {
		err = -ENOMEM;
		goto err_caches;
	}

	err = myep_index_init();
	if (err)
		goto err_workqueue;

	err = myep_close_hook_init();
	if (err)
		goto err_index;

	err = myep_device_init();
	if (err)
		goto err_hook;

	myep_close_hook_go();
	myep_adopt_init();
	return 0;

err_hook:
	myep_close_hook_exit();
err_index:
	myep_index_exit();
err_workqueue:
	destroy_workqueue(myep_workqueue);
err_caches:
	myep_caches_exit();
	return err;
}

/*
 * No file of ours is open any more, and no worker closes a file, since each holds the
 * module. But the close hook may still be busy with the last items, so it goes after
 * the last instance.
 */
static void __exit myep_exit(void)
{
	myep_device_exit();
	myep_instances_drain();
	myep_adopt_exit();
	myep_ws_exit();
	myep_quota_exit();
	myep_close_hook_exit();
	destroy_workqueue(myep_workqueue);
	myep_index_exit();
	myep_caches_exit();
}

fs_initcall(myep_init);
module_exit(myep_exit);

MODULE_DESCRIPTION("epoll as a loadable module");
MODULE_VERSION(MYEPOLL_VERSION);
MODULE_AUTHOR("The myepoll maintainers");
MODULE_LICENSE("GPL");
