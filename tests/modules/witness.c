// SPDX-License-Identifier: GPL-2.0
/*
 * witness.c - /dev/witness, a file that is woken by hand, and that sees what only the
 * kernel can: with which hint a thread is woken, the slack of a sleep, busy polling
 *
 * For the tests of myepoll. One process at a time; what it asks for is in witness.h.
 */
#include <linux/anon_inodes.h>
#include <linux/fcntl.h>
#include <linux/file.h>
#include <linux/fs.h>
#include <linux/kprobes.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/net.h>
#include <linux/poll.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/slab.h>
#include <linux/wait.h>
#include <net/sock.h>

#include "witness.h"

/* POLLFREE, under which an entry leaves a queue that is about to go */
#define FREED	((__force __poll_t)0x4000)

struct queue {
	wait_queue_head_t head;
	struct rcu_head rcu;
};

static struct {
	atomic_t open;
	pid_t tgid;
	__poll_t ready;
	struct queue *queue;	/* NULL after POLLFREE */
	struct mutex lock;	/* one waker at a time */
	struct task_struct *waker;
	bool sync;
	int woken;
	unsigned long slack;
	atomic_t busy;
	bool stall;
} w = { .lock = __MUTEX_INITIALIZER(w.lock) };

/* int default_wake_function(wait, mode, flags, key), flags in kernel/sched/sched.h */
static int waking(struct kprobe *p, struct pt_regs *regs)
{
	if (current == READ_ONCE(w.waker) && !in_interrupt() &&
	    !!(int)regs_get_kernel_argument(regs, 2) == w.sync)
		w.woken++;
	return 0;
}

/*
 * int schedule_hrtimeout_range(expires, slack, mode). Waits have a deadline; who reads
 * /proc/PID/syscall may come by too, for a moment (wait_task_inactive()).
 */
static int sleeping(struct kprobe *p, struct pt_regs *regs)
{
	if (current->tgid == READ_ONCE(w.tgid) && regs_get_kernel_argument(regs, 0) &&
	    regs_get_kernel_argument(regs, 2) == HRTIMER_MODE_ABS)
		WRITE_ONCE(w.slack, regs_get_kernel_argument(regs, 1));
	return 0;
}

/* void napi_busy_loop(id, ...) */
static int polling(struct kprobe *p, struct pt_regs *regs)
{
	if (current->tgid == READ_ONCE(w.tgid) &&
	    (unsigned int)regs_get_kernel_argument(regs, 0) == WITNESS_NAPI_ID)
		atomic_inc(&w.busy);
	return 0;
}

static struct kprobe probes[] = {
	{ .symbol_name = "default_wake_function", .pre_handler = waking },
	{ .symbol_name = "schedule_hrtimeout_range", .pre_handler = sleeping },
	{ .symbol_name = "napi_busy_loop", .pre_handler = polling },
};

static long wake(__poll_t key, bool sync)
{
	long woken;

	mutex_lock(&w.lock);
	if (!w.queue) {
		mutex_unlock(&w.lock);
		return -ENXIO;
	}
	w.woken = 0;
	w.sync = sync;
	WRITE_ONCE(w.waker, current);
	if (sync)
		__wake_up_sync_key(&w.queue->head, TASK_NORMAL, poll_to_key(key));
	else
		__wake_up(&w.queue->head, TASK_NORMAL, 1, poll_to_key(key));
	WRITE_ONCE(w.waker, NULL);
	woken = w.woken;
	mutex_unlock(&w.lock);
	return woken;
}

static long free_queue(void)
{
	struct queue *queue;

	mutex_lock(&w.lock);
	queue = w.queue;
	w.queue = NULL;
	mutex_unlock(&w.lock);
	if (!queue)
		return -ENXIO;
	__wake_up(&queue->head, TASK_NORMAL, 0, poll_to_key(EPOLLHUP | FREED));
	kfree_rcu(queue, rcu);
	return 0;
}

static long seem_received(int fd)
{
	struct file *file = fget(fd);
	struct socket *sock;
	long err = -ENOTSOCK;

	if (!file)
		return -EBADF;
	sock = sock_from_file(file);
	if (sock && sock->sk) {
		WRITE_ONCE(sock->sk->sk_napi_id, WITNESS_NAPI_ID);
		atomic_set(&w.busy, 0);
		err = 0;
	}
	fput(file);
	return err;
}

static DECLARE_WAIT_QUEUE_HEAD(stalled);

static __poll_t anon_poll(struct file *file, poll_table *pt)
{
	wait_event(stalled, !READ_ONCE(w.stall));
	return EPOLLOUT;
}

static const struct file_operations anon_fops = {
	.owner	= THIS_MODULE,
	.poll	= anon_poll,
};

static long witness_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	switch (cmd) {
	case WITNESS_READY:
		WRITE_ONCE(w.ready, (__force __poll_t)arg);
		return 0;
	case WITNESS_WAKE:
	case WITNESS_WAKE_SYNC:
		return wake((__force __poll_t)arg, cmd == WITNESS_WAKE_SYNC);
	case WITNESS_POLLFREE:
		return free_queue();
	case WITNESS_NAPI:
		return seem_received(arg);
	case WITNESS_BUSY:
		return atomic_read(&w.busy);
	case WITNESS_SLACK:
		return READ_ONCE(w.slack);
	case WITNESS_ANON:
		return anon_inode_getfd("[witness]", &anon_fops, NULL, O_RDWR | O_CLOEXEC);
	case WITNESS_STALL:
		WRITE_ONCE(w.stall, arg);
		wake_up_all(&stalled);
		return 0;
	}
	return -ENOTTY;
}

static __poll_t witness_poll(struct file *file, poll_table *pt)
{
	struct queue *queue = READ_ONCE(w.queue);

	/* The tests do not add a file while its queue dies. */
	if (queue)
		poll_wait(file, &queue->head, pt);
	return READ_ONCE(w.ready);
}

static int witness_open(struct inode *inode, struct file *file)
{
	struct queue *queue;

	if (atomic_xchg(&w.open, 1))
		return -EBUSY;
	queue = kzalloc(sizeof(*queue), GFP_KERNEL);
	if (!queue) {
		atomic_set(&w.open, 0);
		return -ENOMEM;
	}
	init_waitqueue_head(&queue->head);
	w.queue = queue;
	w.ready = 0;
	w.slack = 0;
	atomic_set(&w.busy, 0);
	WRITE_ONCE(w.tgid, current->tgid);
	return 0;
}

static int witness_release(struct inode *inode, struct file *file)
{
	kfree(w.queue);
	WRITE_ONCE(w.tgid, 0);
	atomic_set(&w.open, 0);
	return 0;
}

static const struct file_operations witness_fops = {
	.owner		= THIS_MODULE,
	.open		= witness_open,
	.release	= witness_release,
	.poll		= witness_poll,
	.unlocked_ioctl	= witness_ioctl,
};

static struct miscdevice witness_device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "witness",
	.fops	= &witness_fops,
};

static int __init witness_init(void)
{
	int i, err = 0;

	for (i = 0; i < ARRAY_SIZE(probes); i++) {
		err = register_kprobe(&probes[i]);
		if (err) {
			pr_err("no probe on %s: %d\n", probes[i].symbol_name, err);
			goto undo;
		}
	}
	err = misc_register(&witness_device);
undo:
	if (err)
		while (i--)
			unregister_kprobe(&probes[i]);
	return err;
}

static void __exit witness_exit(void)
{
	int i;

	misc_deregister(&witness_device);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		unregister_kprobe(&probes[i]);
	rcu_barrier();
}

module_init(witness_init);
module_exit(witness_exit);

MODULE_DESCRIPTION("A file that is woken by hand, for the tests of myepoll");
MODULE_LICENSE("GPL");
