// SPDX-License-Identifier: GPL-2.0
/*
 * close_hook.c - see every file close
 *
 * epoll promises that a watch ends with the last reference to its file, and
 * __fput() tells fs/eventpoll.c alone. Here an ftrace handler at the entry of
 * __fput() calls myep_file_closing(), before the file's ->release. A module
 * without it would leave entries on wait queues that are freed.
 *
 * A kernel's compiler may have inlined __fput() into one of its three callers, and a
 * patch may lead past its entry. So test files are closed in all three ways:
 * __fput_sync() and fput() in a kernel thread while the module loads, which fails
 * where a close is not seen; and fput() in the task that loads it, whose file is
 * closed when that task returns to user space. Until then CREATE waits, and it
 * fails if that close was not seen.
 *
 * FTRACE_OPS_FL_PERMANENT keeps kernel.ftrace_enabled=0 away while this is
 * registered. No guard against recursion is asked of ftrace, which would keep
 * preemption off: the handler closes no file. It must not sleep: the trampoline
 * that called it may be freed once every task has slept (Tasks RCU). Being preempted
 * is fine, where that is configured. It takes no lock of its own.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/completion.h>
#include <linux/dcache.h>
#include <linux/delay.h>
#include <linux/file.h>
#include <linux/ftrace.h>
#include <linux/jump_label.h>
#include <linux/module.h>
#include <linux/sched.h>
#include <linux/workqueue.h>

#include "internal.h"

/* The test file by its dentry, which is its alone, and whether its close was seen. */
static struct dentry *probe_dentry;
static bool probe_seen;

/* The last test file, held until the load cannot fail any more, and its ->release. */
static struct file *last_probe;
static DECLARE_COMPLETION(last_probe_closed);

/* A test file is open, or the close of the last one was not seen. */
DEFINE_STATIC_KEY_FALSE(myep_probing);

static void notrace fput_entered(unsigned long ip, unsigned long parent_ip,
				 struct ftrace_ops *ops,
				 struct ftrace_regs *fregs)
{
	struct file *file = (struct file *)ftrace_regs_get_argument(fregs, 0);

	if (static_branch_unlikely(&myep_probing) &&
	    file->f_path.dentry == READ_ONCE(probe_dentry))
		WRITE_ONCE(probe_seen, true);

	/* Last, so that it is a jump: every close on the system pays for this. */
	myep_file_closing(file);
}

static struct ftrace_ops fput_ops = {
	.func = fput_entered,
	.flags = FTRACE_OPS_FL_PERMANENT,
};

struct probe_work {
	struct work_struct work;
	struct file *file;
};

static void probe_fput_sync(struct work_struct *work)
{
	__fput_sync(container_of(work, struct probe_work, work)->file);
}

static void probe_fput(struct work_struct *work)
{
	fput(container_of(work, struct probe_work, work)->file);
}

static void close_probe(struct file *file, work_func_t close)
{
	struct probe_work probe = { .file = file };

	INIT_WORK_ONSTACK(&probe.work, close);
	schedule_work(&probe.work);
	flush_work(&probe.work);
	destroy_work_on_stack(&probe.work);
}

static struct file * __init open_probe(const struct file_operations *fops)
{
	struct file *file = anon_inode_getfile("[myepoll-probe]", fops, NULL,
					       O_RDWR);

	if (!IS_ERR(file)) {
		probe_dentry = file->f_path.dentry;
		WRITE_ONCE(probe_seen, false);
	}
	return file;
}

static int __init close_is_seen(work_func_t close)
{
	static const struct file_operations probe_fops;
	struct file *file = open_probe(&probe_fops);
	bool seen;

	if (IS_ERR(file))
		return PTR_ERR(file);

	dget(probe_dentry);
	close_probe(file, close);
	/*
	 * fput() in a kernel thread leaves the file to a work item of the kernel's own.
	 * That is waited for, and not flush_delayed_fput() called, into which the
	 * compiler may have inlined another __fput(). A close ends with dput().
	 */
	while (d_count(probe_dentry) > 1)
		msleep(20);
	seen = READ_ONCE(probe_seen);
	dput(probe_dentry);

	if (seen)
		return 0;
	pr_err("closing a file does not pass the handler on __fput(): not loading\n");
	return -EOPNOTSUPP;
}

/*
 * Called when the task that loaded the module returns to user space. The handler has been
 * called before this, if at all.
 */
static int last_probe_release(struct inode *inode, struct file *file)
{
	/* The dentry's memory will be another file's. */
	WRITE_ONCE(probe_dentry, NULL);
	if (READ_ONCE(probe_seen))
		static_branch_disable(&myep_probing);
	else
		pr_err("closing a file as a task returns to user space does not pass the handler on __fput(): no instances\n");
	complete_all(&last_probe_closed);
	return 0;
}

/* Its owner stays until it is closed. */
static const struct file_operations last_probe_fops = {
	.owner		= THIS_MODULE,
	.release	= last_probe_release,
};

static int __init prove_closes_are_seen(void)
{
	int err;

	static_branch_enable(&myep_probing);
	err = close_is_seen(probe_fput_sync);
	if (!err)
		err = close_is_seen(probe_fput);
	if (!err) {
		last_probe = open_probe(&last_probe_fops);
		err = PTR_ERR_OR_ZERO(last_probe);
	}
	return err;
}

/**
 * myep_close_hook_go - close the last test file, when the load cannot fail any more
 *
 * In a kernel thread, which never returns to user space, a worker closes it soon.
 */
void __init myep_close_hook_go(void)
{
	fput(last_probe);
	last_probe = NULL;
}

/**
 * __myep_closes_are_seen - wait for the close of the last test file
 *
 * Return: 0, or -ENODEV if it was not seen, or if the task that loaded the module does
 * not return to user space.
 */
int __myep_closes_are_seen(void)
{
	long left = wait_for_completion_killable_timeout(&last_probe_closed,
							 5 * HZ);

	if (left < 0)
		return -EINTR;
	if (left && READ_ONCE(probe_seen))
		return 0;
	pr_err_once("no instances before a task that returns to user space is seen to close a file\n");
	return -ENODEV;
}

/**
 * myep_trace_only - let an ftrace handler see one function alone
 * @ops: the handler, not registered yet
 * @symbol: the function
 *
 * ftrace_set_filter() (as of 6.12) mistakes the -ENOMEM of its only entry for a number of
 * functions found, and leaves the filter empty. That would mean every function, and a
 * handler could recurse for ever. An empty filter is ftrace's one empty hash. So is the
 * notrace list, once it is emptied here, and the two can be compared.
 *
 * Return: 0 or an errno; -EINVAL if it is not there, or cannot be traced.
 */
int myep_trace_only(struct ftrace_ops *ops, const char *symbol)
{
	/* It is taken apart where it stands. */
	unsigned char name[64];
	int err, len = strscpy(name, symbol, sizeof(name));

	if (len < 0)
		return len;
	err = ftrace_set_filter(ops, name, len, 1);
	if (!err)
		err = ftrace_set_notrace(ops, NULL, 0, 1);
	if (!err && rcu_access_pointer(ops->func_hash->filter_hash) ==
		    rcu_access_pointer(ops->func_hash->notrace_hash))
		err = -ENOMEM;
	return err;
}

/*
 * After ftrace has found a fault in itself it removes no handler any more. Those that
 * are there go on being called, so the module has to stay as it is.
 */
static void unhook(void)
{
	int err = unregister_ftrace_function(&fput_ops);

	if (err) {
		pr_err("ftrace does not remove the handler on __fput() (%d): the module stays until a reboot\n",
		       err);
		for (;;)
			schedule_timeout_idle(MAX_SCHEDULE_TIMEOUT);
	}
	ftrace_free_filter(&fput_ops);
}

int __init myep_close_hook_init(void)
{
	int err;

	err = myep_trace_only(&fput_ops, "__fput");
	if (err) {
		pr_err("this kernel's __fput() cannot be traced (%d): not loading\n",
		       err);
		goto err_filter;
	}

	err = register_ftrace_function(&fput_ops);
	if (err) {
		pr_err("no handler on __fput() (%d%s): not loading\n", err,
		       err == -EBUSY ? ", kernel.ftrace_enabled is 0" : "");
		goto err_filter;
	}

	err = prove_closes_are_seen();
	if (err)
		unhook();
	return err;

err_filter:
	ftrace_free_filter(&fput_ops);
	return err;
}

void myep_close_hook_exit(void)
{
	if (last_probe)
		close_probe(last_probe, probe_fput_sync);
	unhook();
}
