// SPDX-License-Identifier: GPL-2.0
/*
 * adopt.c - epoll's own system calls, of processes that carry a mark
 *
 * A process whose personality(2) has the bit MYEPOLL_PERSONALITY is adopted: its
 * epoll_create(2) makes an instance of this module, and epoll_ctl(2) and epoll_wait(2) on
 * such an instance come here. So this is a third door, for programs that know nothing of
 * the module, whatever they are written in and linked with. Calls of other processes, and
 * on other descriptors, go on into the kernel's epoll. The mark is unprivileged,
 * inherited by fork(2) and kept by execve(2).
 *
 * The way in. While adoption is on, each of epoll's system calls begins with a call of
 * a stub of ours (an ftrace direct call). The stub asks enter_*(), which answers NULL, and
 * the stub returns into the kernel's function; or the body to run in its place, and the
 * stub returns into that. The body returns to whoever made the call. It has the
 * arguments of the original, and the descriptor that enter_*() has looked up.
 *
 * The way out of the module. Nothing in here may be freed under a thread that runs it:
 *   - A thread that is in the stub or in enter_*() has not slept since it was called,
 *     at most it is preempted. Tasks RCU waits for such threads.
 *   - A body that sleeps, be it in a page fault, holds the module: ctl and wait by the
 *     instance's file, which the caller's descriptor table has if nothing else; create,
 *     and a call on a descriptor that is not open, by a reference of its own.
 *   - A body that has given that back returns without sleeping: Tasks RCU again, which
 *     is waited for at unload even if adoption was switched off long before.
 *
 * Switching off. No program may lose the instances that it has: on a kernel without the
 * stubs they are no epoll's. So from then on no instance is made here, and the entries
 * are let go when the last is freed.
 *
 * Locks: adopt_mutex guards switching on and off, and what is hooked. A call takes none.
 *
 * Other users of these entries: ftrace handlers and kprobes work beside. A BPF program
 * of type fentry, fexit or fmod_ret on one of them is a direct call as well, and a
 * livepatch changes the entry too: of these only one can be there, and who comes second
 * gets EBUSY.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": adopt: " fmt

#include <linux/auxvec.h>
#include <linux/file.h>
#include <linux/ftrace.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/rcupdate.h>
#include <linux/sched.h>
#include <linux/time64.h>
#include <linux/uaccess.h>

#include "../uapi/myepoll.h"
#include "internal.h"

static DEFINE_MUTEX(adopt_mutex);

/* Guarded by it; adopt_open is read without it by creates. */
static bool adopt_wanted;	/* what the parameter says */
static bool adopt_over = true;	/* the module does not serve yet, or no more */
static bool adopt_hooked;	/* the entries call the stubs */
static bool adopt_open;		/* ... and instances are made */
static bool adopt_used;		/* ... or have been */

/* Adopted instances, and creates under way. */
static atomic_t adopted;

static void let_go(struct work_struct *work);
static DECLARE_WORK(let_go_work, let_go);

/* One more needs the entries. */
void myep_adopt_get(void)
{
	atomic_inc(&adopted);
}

/* Any context. */
void myep_adopt_put(void)
{
	if (atomic_dec_and_test(&adopted) && !READ_ONCE(adopt_open))
		schedule_work(&let_go_work);
}

typedef long body_fn(const struct pt_regs *regs, unsigned long word);

/**
 * struct redirect - what enter_*() answers
 * @body:	to run in the place of the system call, or NULL
 * @word:	for the body: what myep_fdget() has found, to be put there
 */
struct redirect {
	body_fn *body;
	unsigned long word;
};

/* Into the kernel's own function */
#define GO_ON ((struct redirect){})

static __always_inline bool is_marked(void)
{
	return unlikely(READ_ONCE(current->personality) & MYEPOLL_PERSONALITY);
}

/*
 * Did this program gain privilege by execve(2): by a set-user-ID bit, by file
 * capabilities? The kernel says so to the program itself in its auxiliary vector
 * (AT_SECURE), which has 32-bit words where the program is 32-bit.
 */
static bool gained_privilege(void)
{
	const unsigned long *auxv = current->mm->saved_auxv;
	const u32 *auxv32 = (const u32 *)auxv;
	int i;

	if (myep_task_is_32bit()) {
		for (i = 0; i < AT_VECTOR_SIZE && auxv32[i] != AT_NULL; i += 2)
			if (auxv32[i] == AT_SECURE)
				return auxv32[i + 1];
		return false;
	}
	for (i = 0; i < AT_VECTOR_SIZE && auxv[i] != AT_NULL; i += 2)
		if (auxv[i] == AT_SECURE)
			return auxv[i + 1];
	return false;
}

/* struct args - the arguments of a system call, of which most have fewer */
struct args {
	unsigned long a, b, c, d, e, f;
};

static __always_inline struct args native_args(const struct pt_regs *regs)
{
	return (struct args){ regs->di, regs->si, regs->dx,
			      regs->r10, regs->r8, regs->r9 };
}

static __always_inline struct args ia32_args(const struct pt_regs *regs)
{
	return (struct args){ (u32)regs->bx, (u32)regs->cx, (u32)regs->dx,
			      (u32)regs->si, (u32)regs->di, (u32)regs->bp };
}

/* For a create the module is held, unless it is going, and the entries stay hooked. */
static notrace struct redirect to_create(body_fn *body)
{
	if (gained_privilege() || !try_module_get(THIS_MODULE))
		return GO_ON;
	myep_adopt_get();
	/* Pairs with adopt_switch(): that sees the count, or this that it is over. */
	smp_mb__after_atomic();
	if (READ_ONCE(adopt_open))
		return (struct redirect){ .body = body };
	myep_adopt_put();
	module_put(THIS_MODULE);
	return GO_ON;
}

/*
 * All other calls: one look at the descriptor, and the body gets what was found. That is
 * so for one that is not open, too: the kernel would look again, and perhaps find an
 * instance of ours by then, which it does not know.
 */
static __always_inline struct redirect to_instance(unsigned int fd, body_fn *body)
{
	unsigned long word = myep_fdget(fd);

	/* If the module is going, the kernel finds no instance of ours either. */
	if (likely(word) ? myep_is_instance(myep_fd_file(word)) :
			   try_module_get(THIS_MODULE))
		return (struct redirect){ .body = body, .word = word };
	myep_fdput(word);
	return GO_ON;
}

/* Done with what to_instance() has found. From here on the module may go: see the top. */
static __always_inline void put_found(unsigned long word)
{
	if (likely(word))
		myep_fdput(word);
	else
		module_put(THIS_MODULE);
}

/*
 * The bodies. In each, the order of checks is that of the system call in Linux 6.15. @word
 * is an instance, or 0 for a descriptor that is not open.
 */

static __always_inline long adopted_create1(unsigned long word, struct args args)
{
	unsigned int flags = args.a;
	long fd = -EINVAL;

	if (!(flags & ~EPOLL_CLOEXEC))
		fd = myep_create(flags, true);
	myep_adopt_put();
	/* From here on the module may go, but not before this thread is out of it. */
	module_put(THIS_MODULE);
	return fd;
}

static __always_inline long adopted_create(unsigned long word, struct args args)
{
	int size = args.a;

	args.a = size > 0 ? 0 : ~0UL;
	return adopted_create1(word, args);
}

static __always_inline long adopted_ctl(unsigned long word, struct args args)
{
	const void __user *uevent = (void __user *)args.d;
	__poll_t events = 0;
	int op = args.b;
	u64 data = 0;
	long ret;

	if (op != EPOLL_CTL_DEL && myep_get_event(uevent, &events, &data))
		ret = -EFAULT;
	else if (unlikely(!word))
		ret = -EBADF;
	else
		ret = myep_ctl(myep_of(myep_fd_file(word)), op, args.c, events,
			       data);
	put_found(word);
	return ret;
}

/* epoll_wait(2), and the end of the other two. */
static __always_inline long wait_for(unsigned long word, struct args args,
				     s64 timeout)
{
	struct epoll_event __user *events = (void __user *)args.b;
	long ret = -EBADF;

	if (likely(word))
		ret = myep_check_buffer(events, args.c);
	if (likely(!ret))
		ret = myep_wait(myep_of(myep_fd_file(word)), events, args.c,
				timeout);
	put_found(word);
	return ret;
}

static noinline long wait_masked(unsigned long word, struct args args,
				 s64 timeout)
{
	struct epoll_event __user *events = (void __user *)args.b;
	const u64 __user *umask = (void __user *)args.e;
	long ret;
	u64 mask;

	if (args.f != sizeof(mask))
		ret = -EINVAL;
	else if (get_user(mask, umask))
		ret = -EFAULT;
	else if (unlikely(!word))
		ret = -EBADF;
	else
		ret = myep_check_buffer(events, args.c);
	if (!ret)
		ret = myep_wait_masked(myep_of(myep_fd_file(word)), events,
				       args.c, timeout, mask);
	put_found(word);
	return ret;
}

static __always_inline s64 ms_to_ns(int ms)
{
	return (s64)ms * NSEC_PER_MSEC;
}

static __always_inline long adopted_wait(unsigned long word, struct args args)
{
	return wait_for(word, args, ms_to_ns(args.d));
}

static __always_inline long adopted_pwait(unsigned long word, struct args args)
{
	if (args.e)
		return wait_masked(word, args, ms_to_ns(args.d));
	return wait_for(word, args, ms_to_ns(args.d));
}

static __always_inline long adopted_pwait2(unsigned long word, struct args args)
{
	const struct __kernel_timespec __user *uts = (void __user *)args.d;
	s64 timeout = -1;
	long err = 0;

	if (uts) {
		struct timespec64 ts;

		if (get_timespec64(&ts, uts))
			err = -EFAULT;
		else if (!timespec64_valid(&ts))
			err = -EINVAL;
		else
			timeout = timespec64_to_ns(&ts);
	}
	if (err) {
		put_found(word);
		return err;
	}
	if (args.e)
		return wait_masked(word, args, timeout);
	return wait_for(word, args, timeout);
}

/* The bodies as the stub calls them, by how the arguments come. */
#define DEFINE_BODIES(call)							\
static long native_##call(const struct pt_regs *regs, unsigned long word)	\
{										\
	return adopted_##call(word, native_args(regs));				\
}										\
										\
static long __maybe_unused							\
ia32_##call(const struct pt_regs *regs, unsigned long word)			\
{										\
	return adopted_##call(word, ia32_args(regs));				\
}

DEFINE_BODIES(create)
DEFINE_BODIES(create1)
DEFINE_BODIES(ctl)
DEFINE_BODIES(wait)
DEFINE_BODIES(pwait)
DEFINE_BODIES(pwait2)

/*
 * What the stubs ask. Which of the calls it is, its number says: tracers and filters that
 * change it have done so by now.
 */

static noinline notrace struct redirect redirect_native(const struct pt_regs *regs)
{
	/* x32 has a bit of its own, and otherwise the same numbers. */
	switch ((int)regs->orig_ax & ~__X32_SYSCALL_BIT) {
	case __NR_epoll_wait:
		return to_instance(regs->di, native_wait);
	case __NR_epoll_ctl:
		return to_instance(regs->di, native_ctl);
	case __NR_epoll_pwait:
		return to_instance(regs->di, native_pwait);
	case __NR_epoll_pwait2:
		return to_instance(regs->di, native_pwait2);
	case __NR_epoll_create1:
		return to_create(native_create1);
	case __NR_epoll_create:
		return to_create(native_create);
	}
	return GO_ON;
}

static __used notrace struct redirect enter_native(const struct pt_regs *regs)
{
	return is_marked() ? redirect_native(regs) : GO_ON;
}

MYEP_ENTRY_STUB(myep_stub_native, enter_native);

#ifdef CONFIG_IA32_EMULATION
static noinline notrace struct redirect redirect_ia32(const struct pt_regs *regs)
{
	switch ((int)regs->orig_ax) {
	case __NR_ia32_epoll_wait:
		return to_instance(regs->bx, ia32_wait);
	case __NR_ia32_epoll_ctl:
		return to_instance(regs->bx, ia32_ctl);
	case __NR_ia32_epoll_pwait:
		return to_instance(regs->bx, ia32_pwait);
	case __NR_ia32_epoll_pwait2:
		return to_instance(regs->bx, ia32_pwait2);
	case __NR_ia32_epoll_create1:
		return to_create(ia32_create1);
	case __NR_ia32_epoll_create:
		return to_create(ia32_create);
	}
	return GO_ON;
}

static __used notrace struct redirect enter_ia32(const struct pt_regs *regs)
{
	return is_marked() ? redirect_ia32(regs) : GO_ON;
}

MYEP_ENTRY_STUB(myep_stub_ia32, enter_ia32);
#endif

/* struct entry - one system call of one kind of callers */
struct entry {
	const char *symbol;
	struct ftrace_ops ops;
	bool hooked;		/* adopt_mutex */
};

/* struct kind - the entries of one kind, all of which are hooked or none */
struct kind {
	const char *name;
	void (*stub)(void);
	struct entry entries[6];
};

static struct kind kinds[] = {
	{
		.name = "64-bit",
		.stub = myep_stub_native,
		.entries = {
			{ "__x64_sys_epoll_ctl" },
			{ "__x64_sys_epoll_wait" },
			{ "__x64_sys_epoll_pwait" },
			{ "__x64_sys_epoll_pwait2" },
			{ "__x64_sys_epoll_create" },
			{ "__x64_sys_epoll_create1" },
		},
	},
#ifdef CONFIG_IA32_EMULATION
	{
		.name = "32-bit",
		.stub = myep_stub_ia32,
		.entries = {
			{ "__ia32_sys_epoll_ctl" },
			{ "__ia32_sys_epoll_wait" },
			{ "__ia32_sys_epoll_pwait" },
			{ "__ia32_compat_sys_epoll_pwait2" },
			{ "__ia32_sys_epoll_create" },
			{ "__ia32_sys_epoll_create1" },
		},
	},
#endif
};

static void entry_reset(struct entry *e)
{
	ftrace_free_filter(&e->ops);
	memset(&e->ops, 0, sizeof(e->ops));
	e->hooked = false;
}

/*
 * Each entry has an ftrace_ops of its own: with several in one, a failure to hook one of
 * them would not be told.
 */
static int entry_hook(struct entry *e, void (*stub)(void))
{
	int err;

	/* Still: see entry_unhook(). */
	if (e->hooked)
		return 0;

	err = myep_trace_only(&e->ops, e->symbol);
	if (!err)
		err = myep_register_direct(&e->ops, (unsigned long)stub);
	e->hooked = !err;
	if (err)
		entry_reset(e);
	return err;
}

/*
 * After ftrace has found a fault in itself it fails, and the stub goes on being called.
 * Then the module stays, too: myep_close_hook_exit().
 */
static void entry_unhook(struct entry *e, void (*stub)(void))
{
	int err = myep_unregister_direct(&e->ops, (unsigned long)stub);

	if (err)
		pr_err("ftrace does not let go of %s (%d)\n", e->symbol, err);
	else
		entry_reset(e);
}

static void kind_unhook(struct kind *kind)
{
	int i;

	for (i = 0; i < ARRAY_SIZE(kind->entries); i++)
		if (kind->entries[i].hooked)
			entry_unhook(&kind->entries[i], kind->stub);
}

static int kind_hook(struct kind *kind)
{
	int i, err;

	for (i = 0; i < ARRAY_SIZE(kind->entries); i++) {
		err = entry_hook(&kind->entries[i], kind->stub);
		if (!err)
			continue;
		pr_warn("%s cannot be hooked (%d%s): %s programs are not adopted\n",
			kind->entries[i].symbol, err, err == -EBUSY ?
			", a BPF program or a livepatch is there" : "", kind->name);
		kind_unhook(kind);
		return err;
	}
	return 0;
}

/* Return: 0, or an errno if programs of the kernel's own kind cannot be adopted. */
static int hook_all(void)
{
	int i, err;

	lockdep_assert_held(&adopt_mutex);

	err = kind_hook(&kinds[0]);
	for (i = 1; !err && i < ARRAY_SIZE(kinds); i++)
		kind_hook(&kinds[i]);
	return err;
}

static void unhook_all(void)
{
	int i;

	lockdep_assert_held(&adopt_mutex);

	for (i = 0; i < ARRAY_SIZE(kinds); i++)
		kind_unhook(&kinds[i]);
}

/* Make it as it is wished, if it can be so now. */
static int adopt_switch(void)
{
	lockdep_assert_held(&adopt_mutex);

	if (adopt_over)
		return 0;
	if (adopt_wanted) {
		int err = adopt_hooked ? 0 : hook_all();

		adopt_used = true;
		adopt_hooked = !err;
		/* Now that all that can be done with an instance comes here. */
		WRITE_ONCE(adopt_open, !err);
		return err;
	}
	WRITE_ONCE(adopt_open, false);
	/* Pairs with to_create(). */
	smp_mb();
	if (adopt_hooked && !atomic_read(&adopted)) {
		unhook_all();
		adopt_hooked = false;
	}
	return 0;
}

static void let_go(struct work_struct *work)
{
	mutex_lock(&adopt_mutex);
	adopt_switch();
	mutex_unlock(&adopt_mutex);
}

static int adopt_set(const char *val, const struct kernel_param *kp)
{
	bool wanted;
	int err;

	err = kstrtobool(val, &wanted);
	if (err)
		return err;

	mutex_lock(&adopt_mutex);
	adopt_wanted = wanted;
	err = adopt_switch();
	if (err)
		adopt_wanted = false;
	mutex_unlock(&adopt_mutex);
	return err;
}

static const struct kernel_param_ops adopt_ops = {
	.set = adopt_set,
	.get = param_get_bool,
};

module_param_cb(adopt, &adopt_ops, &adopt_wanted, 0644);
MODULE_PARM_DESC(adopt, "Serve epoll's system calls of processes with the mark (default: 0)");

/* The end of a load that has succeeded. A wish that cannot be met does not change that. */
void __init myep_adopt_init(void)
{
	mutex_lock(&adopt_mutex);
	adopt_over = false;
	if (adopt_switch())
		adopt_wanted = false;
	mutex_unlock(&adopt_mutex);
}

/* At unload, with no instance left. The parameter's file is still there. */
void myep_adopt_exit(void)
{
	mutex_lock(&adopt_mutex);
	adopt_over = true;
	if (adopt_hooked)
		unhook_all();
	mutex_unlock(&adopt_mutex);
	flush_work(&let_go_work);

	/* For threads on their way out of here: see the top. */
	if (adopt_used)
		synchronize_rcu_tasks();
}
