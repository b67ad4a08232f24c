// SPDX-License-Identifier: GPL-2.0
/*
 * fput_patch.c - a kernel whose __fput() has been patched, for tests/life/tracers
 *
 * As a livepatch does, an ftrace_ops with IPMODIFY sends the callers of a function
 * elsewhere:
 *
 *   (default)	__fput() is replaced by a function that calls the old body. The
 *		entry of __fput() is still passed, and who traces it sees all.
 *   around=NAME	The function closes files by the body of __fput() and passes its
 *		entry by, as if the compiler had inlined it: who traces that entry
 *		is blind. NAME is __fput_sync; ____fput, by which a task closes files
 *		on its way to user space; or fput, but only for kernel threads and
 *		for the module's test file.
 *
 * The parameter "calls" counts.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpufeature.h>
#include <linux/delay.h>
#include <linux/fs.h>
#include <linux/ftrace.h>
#include <linux/kprobes.h>
#include <linux/module.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/string.h>
#include <linux/version.h>

/* 6.2; before, it is called so */
#ifndef ftrace_regs_set_instruction_pointer
#define ftrace_regs_set_instruction_pointer ftrace_instruction_pointer_set
#endif
#ifndef ftrace_regs_get_argument
#define ftrace_regs_get_argument(fregs, n) \
	regs_get_kernel_argument(&(fregs)->regs, n)
#endif

static char *around = "";
module_param(around, charp, 0444);

static atomic_t calls;
static int calls_get(char *buffer, const struct kernel_param *kp)
{
	return sprintf(buffer, "%d\n", atomic_read(&calls));
}
static const struct kernel_param_ops calls_ops = { .get = calls_get };
module_param_cb(calls, &calls_ops, NULL, 0444);

/* Behind the call to ftrace at the entry of __fput() and of fput(). */
static void (*fput_body)(struct file *file);
static void (*outer_body)(struct file *file);

/* Tasks with a frame of replacement() on their stack. */
static atomic_t inside;

static noinline void replacement(struct file *file)
{
	atomic_inc(&inside);
	atomic_inc(&calls);
	fput_body(file);
	atomic_dec(&inside);
}

static void notrace fput_entered(unsigned long ip, unsigned long parent_ip,
				 struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)replacement);
}

static noinline void nothing(void)
{
}

/* Both functions take the file alone, so going on in the body is a tail call. */
static void notrace fput_sync_entered(unsigned long ip, unsigned long parent_ip,
				      struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	struct file *file = (struct file *)ftrace_regs_get_argument(fregs, 0);
	bool last = atomic_long_dec_and_test(&file->f_count);

	atomic_inc(&calls);
	ftrace_regs_set_instruction_pointer(fregs, last ? (unsigned long)fput_body :
							  (unsigned long)nothing);
}

static noinline void task_fput(struct callback_head *work)
{
#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 7, 0)
	struct file *file = container_of(work, struct file, f_rcuhead);
#else
	struct file *file = container_of(work, struct file, f_task_work);
#endif

	replacement(file);
}

static void notrace task_fput_entered(unsigned long ip, unsigned long parent_ip,
				      struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)task_fput);
}

static noinline void outer_fput(struct file *file)
{
	static const char probe[] = "[myepoll-probe]";

	atomic_inc(&inside);
	if (!(current->flags & PF_KTHREAD) || !in_task() ||
	    strcmp(file->f_path.dentry->d_name.name, probe))
		outer_body(file);
	else if (atomic_long_dec_and_test(&file->f_count))
		replacement(file);
	atomic_dec(&inside);
}

static void notrace outer_fput_entered(unsigned long ip, unsigned long parent_ip,
				       struct ftrace_ops *ops, struct ftrace_regs *fregs)
{
	ftrace_regs_set_instruction_pointer(fregs, (unsigned long)outer_fput);
}

static struct ftrace_ops ops = {
	.flags = FTRACE_OPS_FL_IPMODIFY,
};

/* A kprobe that is not armed tells the address of a function. */
static unsigned long address_of(const char *name)
{
	struct kprobe probe = { .symbol_name = name, .flags = KPROBE_FLAG_DISABLED };
	unsigned long address;

	if (register_kprobe(&probe))
		return 0;
	address = (unsigned long)probe.addr;
	unregister_kprobe(&probe);
	return address;
}

static int __init fput_patch_init(void)
{
	unsigned long fput = address_of("__fput"), outer = address_of("fput");
	char *name = *around ? around : "__fput";
	int err;

	/* The body is called where it has no ENDBR. */
	if (!fput || !outer || cpu_feature_enabled(X86_FEATURE_IBT))
		return -EOPNOTSUPP;
	/* A kprobe on the entry is put on the call to ftrace, behind an ENDBR if any. */
	fput_body = (void *)(fput + MCOUNT_INSN_SIZE);
	outer_body = (void *)(outer + MCOUNT_INSN_SIZE);

	if (!strcmp(name, "__fput"))
		ops.func = fput_entered;
	else if (!strcmp(name, "__fput_sync"))
		ops.func = fput_sync_entered;
	else if (!strcmp(name, "____fput"))
		ops.func = task_fput_entered;
	else if (!strcmp(name, "fput"))
		ops.func = outer_fput_entered;
	else
		return -EINVAL;
	err = ftrace_set_filter(&ops, name, strlen(name), 1);
	if (!err)
		err = register_ftrace_function(&ops);
	if (err)
		ftrace_free_filter(&ops);
	return err;
}

static void __exit fput_patch_exit(void)
{
	unregister_ftrace_function(&ops);
	ftrace_free_filter(&ops);
	/* Those on their way in, those inside, and those on their way out. */
	synchronize_rcu_tasks();
	while (atomic_read(&inside))
		msleep(20);
	synchronize_rcu_tasks();
}

module_init(fput_patch_init);
module_exit(fput_patch_exit);

MODULE_DESCRIPTION("A patched __fput(), for the tests of myepoll");
MODULE_LICENSE("GPL");
