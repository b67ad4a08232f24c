/* SPDX-License-Identifier: GPL-2.0 */
/*
 * compat.h - the one file that knows kernel versions
 *
 * The rest of the module is written for the newest interface; what an older
 * kernel lacks is added here under the newer name.
 */
#ifndef _MYEPOLL_COMPAT_H
#define _MYEPOLL_COMPAT_H

/* Up to 6.1 <linux/eventpoll.h> uses these two without including them. */
#include <linux/capability.h>
#include <linux/fs.h>
#include <linux/eventpoll.h>
#include <linux/file.h>
#include <linux/ftrace.h>
#include <linux/magic.h>
#include <linux/uaccess.h>
#include <linux/version.h>

#include <asm/asm-offsets.h>
#include <asm/frame.h>
#include <asm/ibt.h>
#include <asm/linkage.h>
#include <asm/nospec-branch.h>

#if LINUX_VERSION_CODE < KERNEL_VERSION(6, 1, 0) || \
	LINUX_VERSION_CODE >= KERNEL_VERSION(6, 13, 0)
#error "myepoll supports Linux 6.1 to 6.12"
#endif

/*
 * The close hook takes wait queue locks, which sleep on PREEMPT_RT, and must not
 * sleep.
 */
#ifdef CONFIG_PREEMPT_RT
#error "myepoll does not support PREEMPT_RT kernels"
#endif

/* How to read an argument from ftrace's registers is known here for x86-64 alone. */
#ifndef CONFIG_X86_64
#error "myepoll supports x86-64"
#endif

#ifndef CONFIG_DYNAMIC_FTRACE_WITH_ARGS
#error "myepoll needs CONFIG_DYNAMIC_FTRACE_WITH_ARGS to see files close"
#endif

/* The file system of pidfds: 6.9. Before, their inode was the anonymous one. */
#ifndef PID_FS_MAGIC
#define PID_FS_MAGIC	0x50494446
#endif

/* fd_file(): 6.12 */
#ifndef fd_file
#define fd_file(f)	((f).file)
#endif

/* ftrace_regs_get_argument(): 6.2; before, on x86, the registers are there to be read. */
#ifndef ftrace_regs_get_argument
#define ftrace_regs_get_argument(fregs, n) \
	regs_get_kernel_argument(&(fregs)->regs, n)
#endif

/* The busy-poll parameters of <linux/eventpoll.h>: 6.9 */
#ifndef EPIOCSPARAMS
struct epoll_params {
	__u32 busy_poll_usecs;
	__u16 busy_poll_budget;
	__u8 prefer_busy_poll;
	__u8 __pad;
};

#define EPIOCSPARAMS	_IOW(0x8A, 0x01, struct epoll_params)
#define EPIOCGPARAMS	_IOR(0x8A, 0x02, struct epoll_params)
#endif

/**
 * myep_access_ok - access_ok() for a size that is known to be below 2 GB
 * @ptr: an address of user space, perhaps
 * @size: a size
 *
 * On x86, where that is one comparison for a constant size (6.4): one for the beginning
 * and one for the end, instead of one and a look whether their sum has wrapped.
 */
static inline bool myep_access_ok(const void __user *ptr, size_t size)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	return access_ok(ptr, 0) && access_ok(ptr + size, 0);
#else
	return access_ok(ptr, size);
#endif
}

/**
 * myep_file_tryget - take a reference unless the last one is gone
 * @file: memory known to be a file still
 *
 * file_ref_get() from 6.13 on.
 */
static inline bool myep_file_tryget(struct file *file)
{
	return atomic_long_inc_not_zero(&file->f_count);
}

/**
 * myep_file_drop - drop a reference, but do not close
 * @file: the caller holds a reference
 *
 * Return: true if it was the last. Nobody can get a reference any more, and the
 * caller has to close the file: myep_file_rearm(), and fput().
 */
static inline bool myep_file_drop(struct file *file)
{
	return atomic_long_dec_and_test(&file->f_count);
}

/**
 * myep_file_rearm - back to one reference, for fput() to drop
 * @file: what myep_file_drop() said true of
 */
static inline void myep_file_rearm(struct file *file)
{
	atomic_long_set(&file->f_count, 1);
}

/**
 * myep_fdget - fdget(), as one word
 * @fd: a file descriptor
 *
 * Return: for myep_fd_file() and myep_fdput(); struct fd is one word since 6.12 only.
 */
static inline unsigned long myep_fdget(unsigned int fd)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 12, 0)
	return fdget(fd).word;
#else
	return __fdget(fd);
#endif
}

static inline struct file *myep_fd_file(unsigned long word)
{
	return (struct file *)(word & ~3UL);
}

static inline void myep_fdput(unsigned long word)
{
	if (word & FDPUT_FPUT)
		fput(myep_fd_file(word));
}

/* Is the current program a 32-bit one, or x32? Not: is this system call. */
static inline bool myep_task_is_32bit(void)
{
	return test_thread_flag(TIF_ADDR32);
}

/* register_ftrace_direct() of struct ftrace_ops: 6.4; before, with _multi in its name. */
static inline int myep_register_direct(struct ftrace_ops *ops, unsigned long addr)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	return register_ftrace_direct(ops, addr);
#else
	return register_ftrace_direct_multi(ops, addr);
#endif
}

static inline int myep_unregister_direct(struct ftrace_ops *ops, unsigned long addr)
{
#if LINUX_VERSION_CODE >= KERNEL_VERSION(6, 4, 0)
	return unregister_ftrace_direct(ops, addr, false);
#else
	return unregister_ftrace_direct_multi(ops, addr);
#endif
}

/* The account of calls that fentry needs not: 6.2 */
#ifndef CALL_DEPTH_ACCOUNT
#define CALL_DEPTH_ACCOUNT	""
#endif

/*
 * A stub for an ftrace direct call, see adopt.c: calls @enter with the arguments of the
 * traced function, of which there is one; then returns into that function, or into the
 * one that @enter has returned, with the second word of its answer as the second argument.
 */
#define MYEP_ENTRY_STUB(stub, enter)			\
void stub(void);					\
asm(							\
	"	.pushsection .text, \"ax\", @progbits\n"	\
	"	.p2align 4\n"				\
	"	.globl " #stub "\n"			\
	"	.type " #stub ", @function\n"		\
	#stub ":\n"					\
	ASM_ENDBR					\
	FRAME_BEGIN					\
	CALL_DEPTH_ACCOUNT				\
	"	pushq %rdi\n"				\
	"	call " #enter "\n"			\
	"	popq %rdi\n"				\
	FRAME_END					\
	"	testq %rax, %rax\n"			\
	"	jnz 1f\n"				\
	ASM_RET						\
	"1:	movq %rax, (%rsp)\n"			\
	"	movq %rdx, %rsi\n"			\
	ASM_RET						\
	"	.size " #stub ", . - " #stub "\n"	\
	"	.popsection\n")

#endif /* _MYEPOLL_COMPAT_H */
