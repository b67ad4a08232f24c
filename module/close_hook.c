// SPDX-License-Identifier: GPL-2.0
/*
 * close_hook.c - see every file close
 *
 * epoll promises that a watch ends with the last reference to its file, and
 * __fput() tells fs/eventpoll.c alone. Here an ftrace handler at the entry of
 * __fput() calls myep_file_closing(), before the file's ->release. A module
 * without it would leave hooks on wait queues that are freed, so it does not
 * load where a test file's close is not seen.
 *
 * FTRACE_OPS_FL_PERMANENT keeps kernel.ftrace_enabled=0 away while this is
 * registered. No guard against recursion is asked of ftrace, which would keep
 * preemption off: the handler closes no file. It must not sleep, as the
 * trampoline it was called from goes when all tasks have slept (Tasks RCU);
 * being preempted is fine, where that is configured.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/ftrace.h>
#include <linux/jump_label.h>
#include <linux/workqueue.h>

#include "internal.h"

/* The test file, and whether its close was seen. */
static struct file *probe_file;
static bool probe_seen;
static DEFINE_STATIC_KEY_FALSE(probing);

static void notrace fput_entered(unsigned long ip, unsigned long parent_ip,
				 struct ftrace_ops *ops,
				 struct ftrace_regs *fregs)
{
	struct file *file = (struct file *)ftrace_regs_get_argument(fregs, 0);

	if (static_branch_unlikely(&probing) && file == probe_file)
		probe_seen = true;

	/* Last, so that it is a jump: every close on the system pays for this. */
	myep_file_closing(file);
}

static struct ftrace_ops fput_ops = {
	.func = fput_entered,
	.flags = FTRACE_OPS_FL_PERMANENT,
};

/* In a kernel thread, as a user's closes files on its way to user space. */
static void probe_close(struct work_struct *work)
{
	__fput_sync(probe_file);
}

static int __init close_is_seen(void)
{
	static const struct file_operations probe_fops;
	struct work_struct work;

	probe_file = anon_inode_getfile("[myepoll-probe]", &probe_fops, NULL,
					O_RDWR);
	if (IS_ERR(probe_file))
		return PTR_ERR(probe_file);

	static_branch_enable(&probing);
	INIT_WORK_ONSTACK(&work, probe_close);
	schedule_work(&work);
	flush_work(&work);
	destroy_work_on_stack(&work);
	static_branch_disable(&probing);

	if (probe_seen)
		return 0;
	pr_err("closing a file does not pass the handler on __fput(): not loading\n");
	return -EOPNOTSUPP;
}

/*
 * Let the handler see __fput() alone. ftrace_set_filter() (as of 6.12) mistakes the
 * -ENOMEM of its only entry for a number of functions found, and leaves the filter
 * empty. That would mean every function, and this handler would recurse for ever. To
 * empty the notrace list makes it ftrace's one empty hash, to compare with.
 */
static int __init set_filter(void)
{
	static char func[] __initdata = "__fput";
	int err;

	err = ftrace_set_filter(&fput_ops, func, sizeof(func) - 1, 1);
	if (!err)
		err = ftrace_set_notrace(&fput_ops, NULL, 0, 1);
	if (!err && rcu_access_pointer(fput_ops.func_hash->filter_hash) ==
		    rcu_access_pointer(fput_ops.func_hash->notrace_hash))
		err = -ENOMEM;
	return err;
}

int __init myep_close_hook_init(void)
{
	int err;

	err = set_filter();
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

	err = close_is_seen();
	if (err)
		goto err_ftrace;
	return 0;

err_ftrace:
	unregister_ftrace_function(&fput_ops);
err_filter:
	ftrace_free_filter(&fput_ops);
	return err;
}

void myep_close_hook_exit(void)
{
	unregister_ftrace_function(&fput_ops);
	ftrace_free_filter(&fput_ops);
}
