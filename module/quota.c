// SPDX-License-Identifier: GPL-2.0
/*
 * quota.c - how many watches a user may have
 *
 * As in epoll, an item counts for the user who created the instance, whoever
 * adds it, and the limit is one figure for all users. The kernel's own counter
 * is not used: a user's watches here would take from those in epoll.
 *
 * quota_lock guards the tree of users and their references; counting is atomic.
 * It is taken with interrupts off, since an instance may be freed by an irq_work.
 */
#include <linux/cred.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/rbtree.h>
#include <linux/slab.h>

#include "internal.h"

/**
 * struct myep_quota - one user's watches
 * @watches:	how many there are
 * @workers:	how many are closing files
 * @uid:	whose
 * @refs:	instances of the user; quota_lock
 * @node:	in quotas; quota_lock
 */
struct myep_quota {
	atomic_long_t watches;
	atomic_t workers;
	kuid_t uid;
	unsigned int refs;
	struct rb_node node;
};

/* For each user; MAX_CLOSES in item.c is for all. */
#define MAX_WORKERS	16

static DEFINE_SPINLOCK(quota_lock);

/* By uid. A tree, since one who has a range of uids may make an instance for each. */
static struct rb_root quotas = RB_ROOT;

/*
 * The user whose last instance went last, still in quotas, or NULL: to create and
 * close one instance after the other allocates nothing here. quota_lock.
 */
static struct myep_quota *idle;

/* Until myep_quota_init(): not given as a parameter. */
static unsigned long max_user_watches = ULONG_MAX;

static int max_user_watches_set(const char *val, const struct kernel_param *kp)
{
	unsigned long max;
	int err = kstrtoul(val, 0, &max);

	if (err)
		return err;
	if (max > LONG_MAX)
		return -EINVAL;
	WRITE_ONCE(*(unsigned long *)kp->arg, max);
	return 0;
}

static const struct kernel_param_ops max_user_watches_ops = {
	.set = max_user_watches_set,
	.get = param_get_ulong,
};

module_param_cb(max_user_watches, &max_user_watches_ops,
		&max_user_watches, 0644);
MODULE_PARM_DESC(max_user_watches, "Watches per user (default: 4% of low memory)");

/* What 4% of low memory hold. */
unsigned long myep_quota_default(void)
{
	struct sysinfo si;

	si_meminfo(&si);
	return ((si.totalram - si.totalhigh) / 25 << PAGE_SHIFT) /
	       sizeof(struct myep_item);
}

void __init myep_quota_init(void)
{
	if (max_user_watches == ULONG_MAX)
		max_user_watches = myep_quota_default();
}

/* The user's count; @fresh, put into the tree, where there is none; or NULL. */
static struct myep_quota *find_quota(kuid_t uid, struct myep_quota *fresh)
{
	struct rb_node **link = &quotas.rb_node, *parent = NULL;

	lockdep_assert_held(&quota_lock);

	while (*link) {
		struct myep_quota *quota =
			rb_entry(*link, struct myep_quota, node);

		if (uid_eq(quota->uid, uid))
			return quota;
		parent = *link;
		link = uid_lt(uid, quota->uid) ? &parent->rb_left :
						 &parent->rb_right;
	}
	if (fresh) {
		rb_link_node(&fresh->node, parent, link);
		rb_insert_color(&fresh->node, &quotas);
	}
	return fresh;
}

/**
 * myep_quota_get - the caller's count
 *
 * Return: a reference, or NULL without memory.
 */
struct myep_quota *myep_quota_get(void)
{
	kuid_t uid = current_uid();
	struct myep_quota *quota, *fresh = NULL;

	for (;;) {
		spin_lock_irq(&quota_lock);
		quota = find_quota(uid, fresh);
		if (quota) {
			quota->refs++;
			if (quota == idle)
				idle = NULL;
		}
		spin_unlock_irq(&quota_lock);

		if (quota) {
			if (unlikely(fresh && fresh != quota))
				kfree(fresh);
			return quota;
		}

		fresh = kzalloc(sizeof(*fresh), GFP_KERNEL_ACCOUNT);
		if (!fresh)
			return NULL;
		fresh->uid = uid;
	}
}

void myep_quota_put(struct myep_quota *quota)
{
	struct myep_quota *old = NULL;
	unsigned long flags;

	spin_lock_irqsave(&quota_lock, flags);
	if (!--quota->refs) {
		old = idle;
		idle = quota;
		if (old)
			rb_erase(&old->node, &quotas);
	}
	spin_unlock_irqrestore(&quota_lock, flags);

	kfree(old);
}

/* With the last instance gone. */
void myep_quota_exit(void)
{
	kfree(idle);
}

/* Count one watch. Return: false if the user has no more. */
bool myep_quota_charge(struct myep_quota *quota)
{
	long max = READ_ONCE(max_user_watches);
	long n = atomic_long_read(&quota->watches);

	do {
		if (unlikely(n >= max))
			return false;
	} while (!atomic_long_try_cmpxchg(&quota->watches, &n, n + 1));
	return true;
}

void myep_quota_uncharge(struct myep_quota *quota)
{
	atomic_long_dec(&quota->watches);
}

/* A worker to close a file. Return: false if the user keeps enough of them busy. */
bool myep_quota_get_worker(struct myep_quota *quota)
{
	return atomic_add_unless(&quota->workers, 1, MAX_WORKERS);
}

void myep_quota_put_worker(struct myep_quota *quota)
{
	atomic_dec(&quota->workers);
}
