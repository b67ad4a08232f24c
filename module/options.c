// SPDX-License-Identifier: GPL-2.0
/*
 * options.c - what an instance does otherwise than epoll, because it was asked to
 *
 * Options are words of the instance that are read where they matter: by an ADD, and by
 * a wait that is going to sleep. No lock: whoever sets one while others wait or add gets
 * the old or the new one for these.
 */
#include <linux/net.h>
#include <linux/sched.h>
#include <net/sock.h>
#include <net/tcp_states.h>

#include "../uapi/myepoll.h"
#include "internal.h"

/**
 * myep_set_options - the body of MYEPOLL_IOC_SET_OPTIONS
 * @ep: the instance; the caller holds its file
 * @flags: MYEPOLL_OPT_*
 * @min_wait: microseconds
 *
 * Return: 0, or -EINVAL.
 */
long myep_set_options(struct myep *ep, u32 flags, u32 min_wait)
{
	BUILD_BUG_ON(MYEP_OPT_FAIR != MYEPOLL_OPT_FAIR);
	BUILD_BUG_ON(MYEP_OPT_BALANCE != MYEPOLL_OPT_BALANCE);

	if (flags & ~(MYEPOLL_OPT_FAIR | MYEPOLL_OPT_BALANCE) ||
	    min_wait > MYEPOLL_MAX_MIN_WAIT)
		return -EINVAL;
	WRITE_ONCE(ep->min_wait, min_wait);
	WRITE_ONCE(ep->options, flags | (min_wait ? MYEP_OPT_MIN_WAIT : 0));
	return 0;
}

/**
 * myep_options_from_mark - the options that an adopted process has in its mark
 * @ep: an instance that it is making
 * @mark: its personality
 */
void myep_options_from_mark(struct myep *ep, unsigned int mark)
{
	static const u32 unit[] = { 1, 10, 100, 1000 };
	u32 flags = 0;

	if (mark & MYEPOLL_PERSONALITY_FAIR)
		flags |= MYEPOLL_OPT_FAIR;
	if (mark & MYEPOLL_PERSONALITY_BALANCE)
		flags |= MYEPOLL_OPT_BALANCE;
	myep_set_options(ep, flags, (mark >> 8 & 63) * unit[mark >> 14 & 3]);
}

/**
 * myep_balance - an ADD of a socket in an instance with MYEPOLL_OPT_BALANCE
 * @item: new, not seen by anyone yet
 * @sock: the socket of its file, or NULL
 */
void myep_balance(struct myep_item *item, const struct socket *sock)
{
	/* TCP, Unix domain and vsock sockets have this state in common. */
	if (!sock || !sock->sk || READ_ONCE(sock->sk->sk_state) != TCP_LISTEN)
		return;
	item->special |= MYEP_ROTATES;
	if (!(item->events & EPOLLEXCLUSIVE)) {
		item->events |= EPOLLEXCLUSIVE;
		item->balanced = true;
	}
}
