// SPDX-License-Identifier: GPL-2.0
/*
 * busy_poll.c - poll the network queue before sleeping
 *
 * Set up by an instance's own parameters (EPIOCSPARAMS). Where those are 0
 * nothing is polled: net.core.busy_poll, which epoll also obeys, is not exported
 * to modules. Parameters and the queue's id are read and written without a lock.
 */
#include <linux/capability.h>
#include <linux/netdevice.h>
#include <linux/sched/signal.h>
#include <linux/uaccess.h>
#include <net/busy_poll.h>
#include <net/sock.h>

#include "internal.h"

static int params_set(struct myep_busy_poll *bp, const void __user *arg)
{
	struct epoll_params p;

	if (copy_from_user(&p, arg, sizeof(p)))
		return -EFAULT;
	if (p.__pad || p.busy_poll_usecs > S32_MAX || p.prefer_busy_poll > 1)
		return -EINVAL;
	if (p.busy_poll_budget > NAPI_POLL_WEIGHT && !capable(CAP_NET_ADMIN))
		return -EPERM;

	WRITE_ONCE(bp->usecs, p.busy_poll_usecs);
	WRITE_ONCE(bp->budget, p.busy_poll_budget);
	WRITE_ONCE(bp->prefer, p.prefer_busy_poll);
	return 0;
}

static int params_get(const struct myep_busy_poll *bp, void __user *arg)
{
	struct epoll_params p = {
		.busy_poll_usecs = READ_ONCE(bp->usecs),
		.busy_poll_budget = READ_ONCE(bp->budget),
		.prefer_busy_poll = READ_ONCE(bp->prefer),
	};

	return copy_to_user(arg, &p, sizeof(p)) ? -EFAULT : 0;
}

/* EPIOCSPARAMS and EPIOCGPARAMS, see ioctl_eventpoll(2). */
long myep_busy_poll_ioctl(struct myep *ep, unsigned int cmd, void __user *arg)
{
	if (cmd == EPIOCSPARAMS)
		return params_set(&ep->busy_poll, arg);
	return params_get(&ep->busy_poll, arg);
}

/* Remember the queue that @item's socket is fed by. Under ep->wq.lock. */
void __myep_busy_note(struct myep_item *item)
{
	struct socket *sock = sock_from_file(item->file);
	struct sock *sk = sock ? READ_ONCE(sock->sk) : NULL;
	unsigned int id;

	if (!sk)
		return;

	id = READ_ONCE(sk->sk_napi_id);
	if (id >= MIN_NAPI_ID)
		WRITE_ONCE(item->ep->busy_poll.napi_id, id);
}

static bool busy_loop_end(void *arg, unsigned long start)
{
	struct myep *ep = arg;

	return READ_ONCE(ep->pending) || signal_pending(current) ||
	       time_after(busy_loop_current_time(),
			  start + READ_ONCE(ep->busy_poll.usecs));
}

/**
 * __myep_busy_loop - poll the queue of the last event, where set up
 * @ep: the instance, nothing of it locked
 *
 * Return: true if something became ready.
 */
bool __myep_busy_loop(struct myep *ep)
{
	struct myep_busy_poll *bp = &ep->busy_poll;
	unsigned int id = READ_ONCE(bp->napi_id);
	u16 budget = READ_ONCE(bp->budget);

	if (id < MIN_NAPI_ID)
		return false;

	napi_busy_loop(id, busy_loop_end, ep, READ_ONCE(bp->prefer),
		       budget ?: BUSY_POLL_BUDGET);
	if (READ_ONCE(ep->pending))
		return true;

	/* In vain: not again before the next event from a queue. */
	WRITE_ONCE(bp->napi_id, 0);
	return false;
}
