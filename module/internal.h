/* SPDX-License-Identifier: GPL-2.0 */
/*
 * myepoll - a complete epoll as a loadable module
 *
 * Overview
 * --------
 *
 * An instance, struct myep, stands behind a [myepoll] file. Each ADD makes an
 * item, struct myep_item, for one (open file description, fd number) pair, and
 * hooks it into the wait queues that the watched file names from its ->poll:
 * one struct myep_entry a queue, the first of them inside the item.
 *
 *   a wake	source's wait queue -> myep_wake() -> ep->ready -> one waiter, and
 *		the pollers (pass_on())
 *   a harvest	myep_wait() -> myep_harvest() -> item -> pinned file's ->poll ->
 *		the caller's buffer -> (level-triggered) back to the tail
 *   a close	__fput() of a watched file -> myep_file_closing() -> its items
 *		detached and gone, before the file's ->release
 *
 * The watched file is not held open, but for the moment in which it is polled. While
 * an item is in the index (index.c), its file does not get past the close hook, so its
 * memory is a file still.
 *
 * Words:
 *   waiter	a thread asleep in a wait, on ep->wq. One is woken at a time; after its
 *		scan it wakes the next, if something is left
 *   poller	whoever waits on the instance's own file, on ep->poll_wait: poll(2),
 *		another instance, the kernel's epoll, io_uring
 *   watcher	an item of another instance, whose file is this instance's
 *   scan	polling what is on the ready list: a harvest, which delivers what it
 *		finds, or the instance's own ->poll, which only looks
 *   turn	changes to the interest list and then a wait, in one call (turn.c)
 *   walk	over the items of an instance, for list.c or for a search (walk.c)
 *   search	through the graph of instances, down by walks and up by watchers
 *		(nesting.c)
 *
 *
 * Locks, outer to inner
 * ---------------------
 *
 *   ep->mtx			(per instance, sleeps; parent before child)
 *     > nest_mutex		(global, rare; nesting.c)
 *         > bucket->lock	(index.c)
 *             > the lock of a watched file's wait queue   (a child's poll_wait.lock)
 *                 > ep->wq.lock	(per instance, IRQ-safe)
 *
 *   quota_lock			(quota.c; nothing nests inside)
 *   adopt_mutex		(adopt.c; none of the others inside, nor outside)
 *
 *   ep->mtx: ctl, harvest, ->poll, LIST and fdinfo of one instance exclude each
 *     other. It is a mutex because ->poll, copy_to_user() and allocations sleep, for
 *     as long as some user likes. Several are held only along a chain parent -> child,
 *     by a ->poll; there are no cycles, and the lockdep subclass is the depth.
 *   nest_mutex: a cycle can only be seen with the whole topology in view.
 *     Two ADDs that nest A in B and B in A at once would each find nothing.
 *     Taken for an ADD that nests, or into an instance that is nested. All users share
 *     it, so its holder waits for no mtx, no ->poll and no page.
 *   bucket->lock: whoever takes an item out of the index owns its removal, so this
 *     is the lock that decides every race between DEL, close of the file and
 *     close of the instance. The close hook, which must not sleep, needs no
 *     other lock to find an item. Process context only. The item is taken off its wait
 *     queues under it, and one of them may be woken: myep_item_offer(). No wakeup takes it.
 *   ep->wq.lock: the instance lock is the lock of the queue its waiters sleep
 *     on, so that an event is queued and a waiter woken under one lock.
 *     myep_wake() runs in any context, below the source's wait queue lock.
 *   ep->poll_wait.lock is that of a watched file's wait queue like any other,
 *     taken with ep->wq.lock dropped. Below another wait queue's lock it is only
 *     tried: pass_on().
 *
 *
 * What guards each field
 * ----------------------
 *
 * struct myep
 *   wq.lock, mtx	themselves
 *   wq.head, ready, items	ep->wq.lock
 *   places		ep->wq.lock; the first for who has the mtx, the second for who has
 *			nest_mutex
 *   pending		written under ep->wq.lock, read without it
 *   rewake		queued in pass_on(), which takes a reference for it
 *   poll_wait		its own lock
 *   waking_cpu		poll_wait.lock; read without it for this CPU's own, pass_on()
 *   rewake_uring	set in pass_on(), taken by the irq_work
 *   rewoken		set in pass_on(), read when the last reference is gone
 *   file		set once; cleared by ->release under the lock of its bucket
 *   watchers		atomic; raised by myep_nest_prepare() for the time of an ADD, and
 *			under nest_mutex for an item, until it is detached
 *   nest_seq, nest_known, nest_depth, paths	nest_mutex
 *   refs		refcount: the file, each item, each search upward, a queued rewake,
 *			each close by a worker
 *   busy_poll, options, min_wait	READ_ONCE/WRITE_ONCE
 *   closing		ep->mtx
 *   adopted, quota	set once
 *   id		set once, by cmpxchg()
 *
 * struct myep_item
 *   ep, file, fd, balanced, alone	set once, before the item enters the index
 *   special	the same; MYEP_ROTATES perhaps later, by hook_onto() under ep->mtx
 *   nest_seq	nest_mutex
 *   node		bucket->lock
 *   events		written under ep->mtx; read under it, or by myep_wake() under
 *			ep->wq.lock; the barrier in mod_locked() orders the two
 *   data, disabled	ep->mtx
 *   ready_link, ep_link, busy, woken, dead	ep->wq.lock
 *   first, its list	ep->mtx for the ADD, then bucket->lock for the remover; read under
 *		ep->mtx by a scan that holds the file, so that there is no remover
 *   ws			ep->mtx for writing, RCU for myep_wake()
 *
 *
 * The ready list
 * --------------
 *
 * item->ready_link is linked on ep->ready, or on a list on the stack of a scan,
 * which holds ep->mtx, or on nothing. All links change under ep->wq.lock,
 * whichever list they are on, so an item can leave at any time. A scan holds some
 * items from the head and polls them where they are, without ep->wq.lock, while
 * arrivals are queued behind; then takes off what is done with. Level-triggered
 * items that it delivers stay linked. If the items at the head are not all that
 * it has to look at, it sets the list aside, so that ep->ready collects what
 * arrives. At the end the list is [rest][arrivals][delivered].
 *
 *   idle	ready_link empty
 *   queued	ready_link linked, !busy: by myep_wake(), ADD, MOD, or a scan
 *   busy	ready_link linked: a scan holds it. A wakeup leaves word in
 *		item->woken, and the scan queues it again instead of taking it
 *		off, so no edge is lost.
 *
 * ep->pending says that an item is queued or a scan under way, as one word: it
 * goes up with the first item queued, stays up through a scan, and goes down only
 * at the end of one that leaves nothing, all under ep->wq.lock. It may be up in
 * vain, where the last item was removed. A reader without the lock can be late,
 * but never sees "nothing" while an item moves from list to list (the false
 * negative that fs/eventpoll.c needed a seqcount for).
 *
 *
 * Removal
 * -------
 *
 *   A. DEL, and ADD undoing itself	ctl_del(), item_remove(); ep->mtx, file pinned
 *   B. close of the instance		myep_release_items(); nothing held
 *   C. close of the watched file	myep_file_closing(); must not sleep
 *
 * Whoever finds an item in the index, under bucket->lock, is its remover. In the same
 * section the remover detaches the item from its file: takes it off all wait queues,
 * after which no wakeup can reach it, and out of the count of watchers. Then the item
 * leaves the index. So an item in the index may be hooked, one outside is not.
 *
 * C takes out whatever it finds of its file, until there is nothing left. So the file
 * stays what it was, with its wait queues, for as long as one item of it is in the
 * index. This holds even if its count is 0 already and __fput() has not come yet,
 * which a thread that sleeps may put off for long: B does not wait for that.
 *
 * Outside, the remover unlinks the item from the instance's lists under ep->wq.lock,
 * marking it dead. Then it frees the item; or, if a scan has it (only C can find it so),
 * leaves the memory to the scan, which frees what comes back dead. Last it drops the
 * item's reference to the instance. It may hold ep->mtx then only if somebody holds the
 * instance's file, so that the reference is not the last. An item that C has in its
 * hands may outlive that file, which is why each item holds a reference.
 *
 * So under ep->wq.lock a scan or a walk finds, on ep->items or a ready list, only items
 * whose file is a file still: C has not finished with it, A holds it, and B comes when
 * there are no scans and walks any more. Whoever wants to call ->poll takes a reference
 * there, unless the count is 0; while that is held the item stays, but for A.
 *
 * C also starts where a scan or a walk finds that everyone else has closed the file
 * meanwhile, and its own reference is the last: "Last references" in item.c.
 *
 *
 * POLLFREE
 * --------
 *
 * A wait queue head that dies before its file (signalfd, binder) is announced
 * by a wakeup with POLLFREE, and its memory stays a wait queue head for a grace
 * period. myep_wake() then unlinks the entry and clears entry->head with release
 * order, its last touch; unhook() reads it with acquire order and finds either NULL,
 * or a head whose lock settles the race. It lives that long, since bucket->lock is held,
 * and a grace period waits for what has preemption off.
 *
 *
 * The close hook
 * --------------
 *
 * Only fs/eventpoll.c is told by __fput() that a file closes. This module
 * attaches an ftrace handler to __fput() (close_hook.c) and refuses to load
 * where that does not work. The handler must not sleep.
 *
 *
 * Adoption
 * --------
 *
 * A third way in beside the two doors of device.c, for programs that know nothing of the
 * module: epoll's own system calls of processes that carry a mark. adopt.c attaches a
 * direct call of ftrace to each, while a parameter says so. What holds the module and
 * the entries meanwhile is said there.
 *
 *
 * Beyond epoll
 * ------------
 *
 * What epoll does not have leaves the paths above as they are. For those who do not
 * use it, it costs a test where one was made already.
 *
 *   a turn	makes runs of changes under ep->mtx, with the program's memory touched
 *		before and after (turn.c). A change lets go of the file that it has looked
 *		up as a scan does, since the thread may sleep before it returns.
 *   disabled	an item that is never armed again. Its mask is private bits with
 *		EPOLLEXCLUSIVE, for which MOD looks anyway, so that MOD finds it.
 *   balanced	an item that got EPOLLEXCLUSIVE from an option of its instance, not from
 *		its program. MOD keeps the bit, and nobody is shown it.
 *   rotating	an item that goes behind the other exclusive entries of its wait queues
 *		when a scan finds an event: rotate(). Polling it is a special case
 *		(item->special), as for a nested one.
 *   gathering	a waiter that answers wakeups with 0 until it has enough of them (wait.c).
 *		Others are woken in its place, and it looks for itself when its time is
 *		up, so no event depends on it.
 *
 *
 * Tracing
 * -------
 *
 * trace.h has the tracepoints, and trace.c the functions that tell them. Nothing depends on
 * them: they read what is there, under the locks that their caller has anyway, and change
 * nothing but the number of an instance (myep_id()).
 *
 * One static key counts the tracepoints that are on. Each path asks it once, in
 * myep_tracing(), and that is one instruction while all are off. On the paths that count,
 * the answer is asked for at the beginning and the rest is compiled twice, with and
 * without telling: do_wake(), harvest(), do_wait_until(), do_ctl(). Else the
 * compiler would keep in registers what only the telling needs, and every call would
 * pay for it. The copies differ in what "traced" says and in nothing else. Both are
 * tested: suites named "traced" run with all tracepoints on.
 *
 * A call that has begun goes on as it began, when the key changes. Only a thread that
 * sleeps in a wait asks again when it wakes up, since it may have slept for hours.
 *
 *
 * Foreign epoll
 * -------------
 *
 * The kernel's epoll sees a [myepoll] file as any pollable file and checks no
 * cycle through it, and there is no moment at which this module could. So an
 * ADD of a kernel epoll file to an instance is refused (ELOOP); the other way
 * round is allowed, and no cycle of ->poll can be built. Cycles of wakeups can
 * still be built through io_uring or aio: EPOLL_URING_WAKE is passed on, and a
 * wakeup that finds the pollers of an instance being woken already, perhaps by
 * itself, does not wait but leaves them to an irq_work.
 */
#ifndef _MYEPOLL_INTERNAL_H
#define _MYEPOLL_INTERNAL_H

#include <linux/fs.h>
#include <linux/irq_work.h>
#include <linux/jump_label.h>
#include <linux/list.h>
#include <linux/llist.h>
#include <linux/mutex.h>
#include <linux/poll.h>
#include <linux/rbtree.h>
#include <linux/refcount.h>
#include <linux/spinlock.h>
#include <linux/wait.h>

#include "compat.h"

struct myepoll_change;
struct myep_quota;
struct socket;
struct wakeup_source;

/* Instances on a chain: this one and four below it, as in epoll. */
#define MYEP_MAX_NESTS		4

/* Bits of an event mask that are not events. */
#define MYEP_PRIVATE_BITS \
	(EPOLLWAKEUP | EPOLLONESHOT | EPOLLET | EPOLLEXCLUSIVE)

/**
 * struct myep_busy_poll - parameters and state of NAPI busy polling
 * @usecs:	how long to poll before sleeping, 0: not at all
 * @napi_id:	the queue that the last event came through
 * @budget:	packets a round, 0: the default
 * @prefer:	keep the queue's interrupts off
 */
struct myep_busy_poll {
	u32 usecs;
	unsigned int napi_id;
	u16 budget;
	bool prefer;
};

/**
 * struct myep - an instance
 * @wq:		threads in a wait; its lock is the instance lock
 * @ready:	items with news
 * @pending:	false: nothing is ready and no scan is under way
 * @rewake_uring: @rewake has to pass EPOLL_URING_WAKE
 * @rewoken:	@rewake was used
 * @busy_poll:	NAPI busy polling
 * @items:	all items
 * @places:	where walks stand, on @items: by enum myep_walker
 * @mtx:	excludes ctl, harvest, ->poll, LIST and fdinfo
 * @closing:	files to be closed at the end of a scan
 * @poll_wait:	the pollers of @file
 * @rewake:	wakes @poll_wait where a wakeup could not
 * @waking_cpu:	the CPU that is waking @poll_wait, or -1
 * @min_wait:	how long a wait gathers events, us
 * @watchers:	items of other instances that watch @file
 * @refs:	references: see "What guards each field"
 * @paths:	paths up the graph of instances, to those that nobody watches: how many,
 *		by their number of links
 * @adopted:	made by a system call of epoll's (adopt.c)
 * @options:	MYEP_OPT_*
 * @nest_seq:	the last search that came by
 * @id:		its number, or 0 while nobody has asked for it: myep_id()
 * @nest_known:	what that search has found out: enum nest_known
 * @nest_depth:	... links below or above
 * @rcu:	frees it where @rewake was used
 * @file:	the [myepoll] file, NULL once it is closed
 * @quota:	the creator's count of watches
 */
struct myep {
	wait_queue_head_t wq;
	struct list_head ready;
	bool pending;
	bool rewake_uring;
	bool rewoken;
	struct myep_busy_poll busy_poll;
	struct list_head items;
	struct list_head places[2];
	struct mutex mtx;	/* outside wq.lock */
	struct llist_head closing;

	wait_queue_head_t poll_wait;
	struct irq_work rewake;
	s16 waking_cpu;
	u16 min_wait;
	atomic_t watchers;
	refcount_t refs;
	u16 paths[MYEP_MAX_NESTS + 1];
	bool adopted;
	u8 options;
	union {
		struct {
			u64 nest_seq;
			u32 id;
			u8 nest_known;
			u8 nest_depth;
		};
		struct rcu_head rcu;
	};
	struct file *file;
	struct myep_quota *quota;
};

/**
 * struct myep_entry - an item's entry on one wait queue
 * @wait:	the entry
 * @head:	the queue, NULL after POLLFREE
 * @item:	whose it is
 * @next:	the item's next entry
 */
struct myep_entry {
	wait_queue_entry_t wait;
	wait_queue_head_t *head;
	struct myep_item *item;
	struct myep_entry *next;
};

/**
 * struct myep_item - one watched (open file description, fd number)
 * @ready_link:	on a ready list
 * @ep:		the instance
 * @file:	the file; not a reference
 * @data:	the caller's
 * @events:	the mask
 * @fd:		the number it was added under
 * @busy:	a scan holds it
 * @woken:	there was a wakeup since it was held, or it has been queued
 * @dead:	removed; a scan that has it frees it
 * @disabled:	by MYEPOLL_CTL_DISABLE: it is not armed again
 * @balanced:	exclusive, though its program did not ask for it
 * @special:	MYEP_NESTED, MYEP_ROTATES, or 0: polling it is more than its ->poll
 * @alone:	its ->poll might take long: no other file is held meanwhile
 * @nest_seq:	the last search that counted the watchers of @file
 * @ep_link:	on @ep->items
 * @node:	in the index
 * @free_link:	removed, and waiting for myep_ws_defer_free() to be done
 * @ws:		keeps the system awake from event to harvest (EPOLLWAKEUP)
 * @first:	the first entry; the only one for most files
 */
struct myep_item {
	struct list_head ready_link;
	struct myep *ep;
	struct file *file;
	u64 data;
	__poll_t events;
	int fd;
	bool busy;
	bool woken;
	bool dead;
	bool disabled;
	bool balanced;
	u8 special;
	bool alone;
	u64 nest_seq;
	struct list_head ep_link;
	union {
		struct rb_node node;
		struct llist_node free_link;
	};
	struct wakeup_source __rcu *ws;
	struct myep_entry first;
};

/* Bits of myep->options. The first two are MYEPOLL_OPT_*. */
#define MYEP_OPT_FAIR		0x1	/* waiters, and exclusive watches, take turns */
#define MYEP_OPT_BALANCE	0x2	/* listening sockets are watched so */
#define MYEP_OPT_MIN_WAIT	0x4	/* min_wait is not 0 */

/* The options in the mark of an adopted process; for who includes uapi/myepoll.h */
#define MYEP_MARK_OPTIONS \
	(MYEPOLL_PERSONALITY_FAIR | MYEPOLL_PERSONALITY_BALANCE | \
	 MYEPOLL_PERSONALITY_MIN_WAIT(63, 3))

/* Bits of myep_item->special */
#define MYEP_NESTED		0x1	/* the file is a [myepoll] file */
#define MYEP_ROTATES		0x2	/* goes behind others that wait for the file */

static inline bool myep_item_is_nested(const struct myep_item *item)
{
	/* An ADD may set another bit meanwhile: hook_onto(). */
	return READ_ONCE(item->special) & MYEP_NESTED;
}

/* enum myep_walker - who walks over the items of an instance */
enum myep_walker {
	MYEP_WALKER_LIST,	/* under its mtx */
	MYEP_WALKER_NESTING,	/* under nest_mutex */
};

/**
 * struct myep_walk - a walk over the items of an instance, on the stack
 * @ep:		the instance
 * @place:	its entry on @ep->items
 * @file:	the file of the item where it stands, referenced; or NULL
 * @holder:	closes files that the walk has come to hold alone
 */
struct myep_walk {
	struct myep *ep;
	struct list_head *place;
	struct file *file;
	struct myep *holder;
};

/* main.c */
extern struct workqueue_struct *myep_workqueue;
extern bool myep_fast_door;
extern struct kmem_cache *myep_item_cache;
extern struct kmem_cache *myep_entry_cache;

/* device.c */
bool myep_is_instance(const struct file *file);
long myep_create(unsigned int flags, bool adopted);
int __init myep_device_init(void);
void myep_device_exit(void);

static inline struct myep *myep_of(const struct file *file)
{
	return file->private_data;
}

/* trace.c */
DECLARE_STATIC_KEY_FALSE(myep_trace_key);

/* Is a tracepoint on, whichever it is? See "Tracing" above. */
static __always_inline bool myep_tracing(void)
{
	return static_branch_unlikely(&myep_trace_key);
}

/* enum myep_woken - what became of a wakeup */
enum myep_woken {
	MYEP_QUEUED,		/* the item is on the ready list now */
	MYEP_AGAIN,		/* it was there already */
	MYEP_IGNORED,		/* its mask does not ask for these events */
};

/* enum myep_removed - who removed an item */
enum myep_removed {
	MYEP_BY_DEL,		/* EPOLL_CTL_DEL */
	MYEP_BY_DROP,		/* MYEPOLL_CTL_DROP */
	MYEP_BY_FILE,		/* the watched file was closed */
	MYEP_BY_INSTANCE,	/* the instance was closed */
};

u32 myep_id(struct myep *ep);
int myep_first_waiter(struct myep *ep);
int myep_trace_reg(void);
void myep_trace_unreg(void);
void myep_trace_create(struct myep *ep, int fd);
void myep_trace_release(struct myep *ep);
void myep_trace_ctl(struct myep *ep, int op, int fd, __poll_t events, u64 data, int ret);
void myep_trace_run(struct myep *ep, const struct myepoll_change *run, unsigned int n);
void myep_trace_wake(struct myep_item *item, __poll_t key);
void myep_trace_scan(struct myep_item *item, __poll_t events, int err);
void myep_trace_remove(struct myep *ep, int fd, enum myep_removed why);

/* instance.c */
struct myep *myep_alloc(void);
void myep_free(struct myep *ep);
void myep_release(struct myep *ep);
void myep_instances_drain(void);

/**
 * myep_put - drop a reference
 * @ep: the instance. No lock of it is held, or the reference is not the last.
 *
 * Any context.
 */
static inline void myep_put(struct myep *ep)
{
	if (unlikely(refcount_dec_and_test(&ep->refs)))
		myep_free(ep);
}

/* interest.c */
int myep_ctl(struct myep *ep, int op, int fd, __poll_t events, u64 data);
int myep_change_run(struct myep *ep, struct myepoll_change *run, unsigned int n,
		    bool stop, unsigned int *failed);

/* list.c */
int myep_drop_locked(struct myep *ep, int fd, u64 data, bool sleeps);
long myep_list(struct myep *ep, u8 __user *watches, u32 room, size_t size);
void myep_show_fdinfo(struct seq_file *m, struct file *file);

/* options.c */
void myep_options_from_mark(struct myep *ep, unsigned int mark);
long myep_set_options(struct myep *ep, u32 flags, u32 min_wait);
void myep_balance(struct myep_item *item, const struct socket *sock);

/* turn.c */
struct myepoll_turn;
int myep_turn(struct myep *ep, struct myepoll_turn *turn,
	      struct myepoll_turn __user *uturn);

/* item.c */
void myep_item_offer(struct myep_item *item);
void myep_item_detach(struct myep_item *item);
void myep_item_discard(struct myep_item *item);
void myep_item_free(struct myep_item *item);
void myep_release_items(struct myep *ep);
void myep_file_closing(struct file *file);
void myep_file_dropped(struct myep *ep, struct file *file);
void __myep_close_dropped(struct myep *ep, bool sleeps);

/* The first entry is part of the item, and in use once a ->poll has named a queue. */
static inline bool myep_item_is_hooked(const struct myep_item *item)
{
	return item->first.item;
}

/**
 * myep_close_dropped - close the files that a scan or a walk has come to hold alone
 * @ep: the instance; its mtx is held
 * @sleeps: the thread may sleep before it returns to user space
 */
static inline void myep_close_dropped(struct myep *ep, bool sleeps)
{
	if (unlikely(!llist_empty(&ep->closing)))
		__myep_close_dropped(ep, sleeps);
}

/* walk.c */
void myep_walk_start(struct myep_walk *walk, struct myep *ep,
		     enum myep_walker by, struct myep *holder);
struct myep_item *myep_walk_next(struct myep_walk *walk,
				 bool (*skip)(const struct myep_item *item));
void myep_walk_rest(struct myep_walk *walk);
void myep_walk_end(struct myep_walk *walk);

/**
 * struct myep_watcher - where a search upward stands among the watchers of a file
 * @ep:		the instance found last, referenced; NULL at the start
 * @fd:		the number it watches the file under
 * @seq:	the number of the search, left in each item that it comes by; or 0
 */
struct myep_watcher {
	struct myep *ep;
	int fd;
	u64 seq;
};

/* index.c */
int __init myep_index_init(void);
void myep_index_exit(void);
bool myep_index_add(struct myep_item *item);
struct myep_item *myep_index_find(struct file *file, struct myep *ep, int fd);
struct myep_item *myep_index_take(struct file *file, struct myep *ep, int fd);
struct myep_item *myep_index_take_any(struct file *file);
bool myep_index_next_watcher(struct file *file, const struct myep *owner,
			     struct myep_watcher *w);
void myep_index_disown(struct myep *ep);

/* ready.c */
int myep_wake(wait_queue_entry_t *wait, unsigned int mode, int sync, void *key);
void myep_rewake(struct irq_work *work);
bool myep_queue(struct myep_item *item);
void myep_wake_pollers(struct myep *ep);
__poll_t myep_poll(struct file *file, poll_table *pt, int depth,
		   struct myep_item *watcher);
__poll_t myep_poll_rotating(struct myep_item *item, struct file *file,
			    poll_table *pt);
int myep_harvest(struct myep *ep, struct epoll_event __user *events, int max,
		 bool sleeps);
int myep_harvest_traced(struct myep *ep, struct epoll_event __user *events, int max,
			bool sleeps);

/**
 * myep_item_poll - ask the file of an item
 * @item: the item; ep->mtx is held
 * @file: its file, referenced
 * @pt: a poll table, that of an ADD or one that hooks nothing
 * @depth: lockdep subclass for the mtx of @file, where it is an instance
 *
 * Return: the events that are there and asked for.
 */
static inline __poll_t myep_item_poll(struct myep_item *item,
				      struct file *file, poll_table *pt,
				      int depth)
{
	__poll_t revents;

	pt->_key = item->events;
	if (unlikely(item->special)) {
		/* Read again: if the compiler kept it in a register, every poll would pay. */
		barrier();
		revents = item->special & MYEP_NESTED ?
				  myep_poll(file, pt, depth, item) :
				  myep_poll_rotating(item, file, pt);
	} else { /* vfs_poll(), but for a check that ADD has made */
		revents = file->f_op->poll(file, pt);
	}
	return revents & item->events;
}

/* wait.c */
int myep_wait(struct myep *ep, struct epoll_event __user *events, int max,
	      s64 timeout);
int myep_wait_masked(struct myep *ep, struct epoll_event __user *events,
		     int max, s64 timeout, u64 mask);

#define MYEP_MAX_EVENTS	(INT_MAX / (int)sizeof(struct epoll_event))

/* The checks of epoll_wait(2), in the order of Linux 6.15. Return: 0 or an errno. */
static __always_inline int myep_check_buffer(struct epoll_event __user *events,
					     int max)
{
	if (unlikely(max <= 0 || max > MYEP_MAX_EVENTS))
		return -EINVAL;
	if (unlikely(!myep_access_ok(events, max * sizeof(*events))))
		return -EFAULT;
	return 0;
}

/*
 * Read an event of the caller's: two loads, where copy_from_user() would be three calls.
 * Return: 0 or -EFAULT.
 */
static __always_inline int myep_get_event(const struct epoll_event __user *event,
					  __poll_t *events, u64 *data)
{
	if (!user_read_access_begin(event, sizeof(*event)))
		return -EFAULT;
	unsafe_get_user(*events, &event->events, fault);
	unsafe_get_user(*data, &event->data, fault);
	user_read_access_end();
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

/* adopt.c */
void myep_adopt_get(void);
void myep_adopt_put(void);
void __init myep_adopt_init(void);
void myep_adopt_exit(void);

/* nesting.c */
int myep_nest_prepare(struct myep *child);
int myep_nest_begin(struct myep *ep, struct myep *child);
void myep_nest_end(struct myep *ep);
int myep_nest_check_paths(struct myep *ep, struct file *file);
bool myep_is_foreign_epoll(const struct file *file);

/* close_hook.c */
int __init myep_close_hook_init(void);
void __init myep_close_hook_go(void);
void myep_close_hook_exit(void);
int __myep_closes_are_seen(void);
int myep_trace_only(struct ftrace_ops *ops, const char *symbol);

DECLARE_STATIC_KEY_FALSE(myep_probing);

/* Before an instance is made. Return: 0 or an errno. */
static inline int myep_closes_are_seen(void)
{
	return static_branch_unlikely(&myep_probing) ? __myep_closes_are_seen() : 0;
}

/* quota.c */
void __init myep_quota_init(void);
void myep_quota_exit(void);
struct myep_quota *myep_quota_get(void);
void myep_quota_put(struct myep_quota *quota);
bool myep_quota_charge(struct myep_quota *quota);
void myep_quota_uncharge(struct myep_quota *quota);
bool myep_quota_get_worker(struct myep_quota *quota);
void myep_quota_put_worker(struct myep_quota *quota);
unsigned long myep_quota_default(void);

/* wakeup_source.c */
__poll_t myep_ws_allowed(__poll_t events);
int myep_ws_create(struct myep_item *item);
void myep_ws_destroy(struct myep_item *item);
void __myep_ws_stay_awake(struct myep_item *item);
void __myep_ws_relax(struct myep_item *item);
void myep_ws_defer_free(struct myep_item *item);
void myep_ws_exit(void);

static inline bool myep_ws_has(const struct myep_item *item)
{
	return unlikely(rcu_access_pointer(item->ws));
}

/* The item has just been queued. Any context. */
static inline void myep_ws_stay_awake(struct myep_item *item)
{
	if (myep_ws_has(item))
		__myep_ws_stay_awake(item);
}

/* The item has been looked at and is not queued. */
static inline void myep_ws_relax(struct myep_item *item)
{
	if (myep_ws_has(item))
		__myep_ws_relax(item);
}

/* busy_poll.c */
#ifdef CONFIG_NET_RX_BUSY_POLL
long myep_busy_poll_ioctl(struct myep *ep, unsigned int cmd, void __user *arg);
bool __myep_busy_loop(struct myep *ep);
void __myep_busy_note(struct myep_item *item);

/* An event has come: remember which queue to poll. Under ep->wq.lock. */
static inline void myep_busy_note(struct myep_item *item)
{
	if (unlikely(READ_ONCE(item->ep->busy_poll.usecs)))
		__myep_busy_note(item);
}

/* Before a sleep: poll the queue. Return: true if something became ready. */
static inline bool myep_busy_loop(struct myep *ep)
{
	return unlikely(READ_ONCE(ep->busy_poll.usecs)) && __myep_busy_loop(ep);
}
#else
static inline long myep_busy_poll_ioctl(struct myep *ep, unsigned int cmd,
					void __user *arg)
{
	return -EOPNOTSUPP;
}

static inline bool myep_busy_loop(struct myep *ep)
{
	return false;
}

static inline void myep_busy_note(struct myep_item *item)
{
}
#endif

#endif /* _MYEPOLL_INTERNAL_H */
