// SPDX-License-Identifier: GPL-2.0
/*
 * device.c - the doors
 *
 * /dev/myepoll, which creates instances, and two of the ways into an instance: the
 * ioctls and ->fadvise. A door takes its arguments apart, checks what the system
 * call it stands for would have checked before it had the instance, and calls
 * the one body, myep_ctl(), myep_wait() or myep_turn(). It takes no lock.
 */
#include <linux/anon_inodes.h>
#include <linux/file.h>
#include <linux/jump_label.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/uaccess.h>

#include "../uapi/myepoll.h"
#include "internal.h"

/*
 * copy_struct_from_user(), with a short way for callers that know of as many
 * members as this module. When the structure was new it had @least bytes. It cannot be
 * longer than an ioctl's number can say: who comes by the fast door, with a size of any
 * length, would have us look through terabytes for a byte that is not 0.
 */
static __always_inline int get_args(void *args, size_t known, size_t least,
				    const void __user *uargs, size_t size)
{
	const u64 __user *from = uargs;
	u64 *to = args;

	BUILD_BUG_ON(known % sizeof(*to));
	if (unlikely(size != known)) {
		if (size < least)
			return -EINVAL;
		if (size > _IOC_SIZEMASK)
			return -E2BIG;
		return copy_struct_from_user(args, known, uargs, size);
	}

	if (!user_read_access_begin(from, known))
		return -EFAULT;
#pragma GCC unroll 4
	for (; to < (u64 *)(args + known); to++, from++)
		unsafe_get_user(*to, from, fault);
	user_read_access_end();
	return 0;
fault:
	user_read_access_end();
	return -EFAULT;
}

/* For both doors. Out of line, so that other calls need no room on the stack. */
static noinline int turn(struct myep *ep, void __user *arg, size_t size)
{
	struct myepoll_turn turn __uninitialized;
	int err;

	err = get_args(&turn, sizeof(turn), 56, arg, size);
	if (unlikely(err))
		return err;
	return myep_turn(ep, &turn, arg);
}

static int fast_ctl(struct myep *ep, const void __user *event, u64 args)
{
	int fd = lower_32_bits(args);
	int op = upper_32_bits(args);
	__poll_t events = 0;
	u64 data = 0;

	if (op != EPOLL_CTL_DEL && myep_get_event(event, &events, &data))
		return -EFAULT;
	return myep_ctl(ep, op, fd, events, data);
}

static int fast_wait(struct myep *ep, void __user *uevents, u64 args)
{
	struct epoll_event __user *events = uevents;
	int max = lower_32_bits(args);
	int ms = upper_32_bits(args);
	int err = myep_check_buffer(events, max);

	if (unlikely(err))
		return err;
	return myep_wait(ep, events, max, (s64)ms * NSEC_PER_MSEC);
}

/* Open, unless the module was loaded with fast_door=0. */
static DEFINE_STATIC_KEY_TRUE(fast_door_open);

/*
 * The fast door, "MYEPOLL_FAST_*" in uapi/myepoll.h: three registers. io_uring has
 * an fadvise too, which a worker makes. That is no door: a wait would keep the worker,
 * and a seccomp filter of the program would not see the call. (Each case asks
 * for itself, which costs less than one question before all.)
 *
 * All else is answered as by any other file.
 */
static int instance_fadvise(struct file *file, loff_t offset, loff_t len,
			    int advice)
{
	void __user *ptr = u64_to_user_ptr((u64)offset);

	if (static_branch_likely(&fast_door_open)) {
		if (advice == MYEPOLL_FAST_CTL) {
			if (unlikely(current->flags & PF_IO_WORKER))
				return -EINVAL;
			return fast_ctl(myep_of(file), ptr, len);
		}
		if (advice == MYEPOLL_FAST_WAIT) {
			if (unlikely(current->flags & PF_IO_WORKER))
				return -EINVAL;
			return fast_wait(myep_of(file), ptr, len);
		}
		if (advice == MYEPOLL_FAST_TURN) {
			if (unlikely(current->flags & PF_IO_WORKER))
				return -EINVAL;
			return turn(myep_of(file), ptr, len);
		}
	}
	return generic_fadvise(file, offset, len, advice);
}

static noinline long ioctl_features(void __user *arg, size_t size)
{
	u64 features = MYEPOLL_FEATURE_TURN | MYEPOLL_FEATURE_OPS |
		       MYEPOLL_FEATURE_OPTIONS | MYEPOLL_FEATURE_TRACE;

	if (myep_fast_door)
		features |= MYEPOLL_FEATURE_FAST_DOOR;
	if (size < sizeof(features))
		return -EINVAL;
	return put_user(features, (u64 __user *)arg);
}

static __always_inline long ioctl_ctl(struct file *file, void __user *arg,
				      size_t size)
{
	struct myepoll_ctl ctl __uninitialized;
	int err;

	err = get_args(&ctl, sizeof(ctl), 24, arg, size);
	if (err)
		return err;
	if (ctl.reserved)
		return -EINVAL;
	return myep_ctl(myep_of(file), ctl.op, ctl.fd,
			(__force __poll_t)ctl.events, ctl.data);
}

static __always_inline long ioctl_wait(struct file *file, void __user *arg,
				       size_t size)
{
	struct epoll_event __user *events;
	struct myep *ep = myep_of(file);
	struct myepoll_wait wait __uninitialized;
	int err;

	err = get_args(&wait, sizeof(wait), 32, arg, size);
	if (err)
		return err;
	if (wait.flags & ~MYEPOLL_WAIT_SIGMASK)
		return -EINVAL;

	events = u64_to_user_ptr(wait.events);
	err = myep_check_buffer(events, wait.maxevents);
	if (err)
		return err;

	if (wait.flags & MYEPOLL_WAIT_SIGMASK)
		return myep_wait_masked(ep, events, wait.maxevents,
					wait.timeout, wait.sigmask);
	return myep_wait(ep, events, wait.maxevents, wait.timeout);
}

static noinline long ioctl_list(struct file *file, void __user *arg, size_t size)
{
	struct myepoll_list list;
	int err;

	err = get_args(&list, sizeof(list), 16, arg, size);
	if (err)
		return err;
	if (list.size < sizeof(struct myepoll_watch) || list.size > PAGE_SIZE)
		return -EINVAL;
	return myep_list(myep_of(file), u64_to_user_ptr(list.watches), list.room,
			 list.size);
}

static noinline long ioctl_set_options(struct file *file, void __user *arg, size_t size)
{
	struct myepoll_options options;
	int err;

	err = get_args(&options, sizeof(options), 16, arg, size);
	if (err)
		return err;
	if (options.reserved[0] || options.reserved[1])
		return -EINVAL;
	return myep_set_options(myep_of(file), options.flags, options.min_wait);
}

/* A structure of the caller's that is longer than ours is filled up with 0. */
static __always_inline long put_args(void __user *arg, size_t size, const void *args,
				     size_t known)
{
	if (size < known)
		return -EINVAL;
	if (copy_to_user(arg, args, known) || clear_user(arg + known, size - known))
		return -EFAULT;
	return 0;
}

/* What is not known here is an option that is not set. */
static noinline long ioctl_get_options(struct file *file, void __user *arg, size_t size)
{
	struct myep *ep = myep_of(file);
	struct myepoll_options options = {
		.flags	= READ_ONCE(ep->options) & ~MYEP_OPT_MIN_WAIT,
		.min_wait = READ_ONCE(ep->min_wait),
	};

	return put_args(arg, size, &options, sizeof(options));
}

static noinline long ioctl_info(struct file *file, void __user *arg, size_t size)
{
	struct myep *ep = myep_of(file);
	struct myepoll_info info = {
		.instance = myep_id(ep),
		.flags	= ep->adopted ? MYEPOLL_INFO_ADOPTED : 0,
	};

	return put_args(arg, size, &info, sizeof(info));
}

/*
 * An ioctl's number has the size of its structure in it, which differs where the caller
 * knows another version. So a number is looked for twice, and the list of calls inlined
 * twice: first as a whole, where the size is a constant for the handler, which is
 * inlined too; then without its size.
 */
enum match { WHOLE = -1, ANY_SIZE = ~IOCSIZE_MASK };

static __always_inline bool is_call(unsigned int cmd, unsigned int call,
				    enum match match)
{
	return !((cmd ^ call) & match);
}

static long instance_ioctl_any_size(struct file *file, unsigned int cmd,
				    void __user *arg);

static __always_inline long instance_call(struct file *file, unsigned int cmd,
					  void __user *arg, enum match match)
{
	if (is_call(cmd, MYEPOLL_IOC_WAIT, match))
		return ioctl_wait(file, arg, _IOC_SIZE(cmd));
	if (is_call(cmd, MYEPOLL_IOC_CTL, match))
		return ioctl_ctl(file, arg, _IOC_SIZE(cmd));
	if (match == WHOLE)
		return instance_ioctl_any_size(file, cmd, arg);

	/*
	 * What is rare is here only. So is a turn: beside the two above, its arguments, which
	 * are in other registers, would cost each of them an instruction.
	 */
	if (is_call(cmd, MYEPOLL_IOC_TURN, match))
		return turn(myep_of(file), arg, _IOC_SIZE(cmd));
	if (is_call(cmd, MYEPOLL_IOC_FEATURES, match))
		return ioctl_features(arg, _IOC_SIZE(cmd));
	if (is_call(cmd, MYEPOLL_IOC_LIST, match))
		return ioctl_list(file, arg, _IOC_SIZE(cmd));
	if (is_call(cmd, MYEPOLL_IOC_SET_OPTIONS, match))
		return ioctl_set_options(file, arg, _IOC_SIZE(cmd));
	if (is_call(cmd, MYEPOLL_IOC_GET_OPTIONS, match))
		return ioctl_get_options(file, arg, _IOC_SIZE(cmd));
	if (is_call(cmd, MYEPOLL_IOC_INFO, match))
		return ioctl_info(file, arg, _IOC_SIZE(cmd));
	if (cmd == EPIOCSPARAMS || cmd == EPIOCGPARAMS)
		return myep_busy_poll_ioctl(myep_of(file), cmd, arg);
	/* As epoll answers since 6.9. */
	return -EINVAL;
}

static noinline long instance_ioctl_any_size(struct file *file, unsigned int cmd,
					     void __user *arg)
{
	return instance_call(file, cmd, arg, ANY_SIZE);
}

static long instance_ioctl(struct file *file, unsigned int cmd,
			   unsigned long arg)
{
	return instance_call(file, cmd, (void __user *)arg, WHOLE);
}

static __poll_t instance_poll(struct file *file, poll_table *pt)
{
	return myep_poll(file, pt, 0, NULL);
}

static int instance_release(struct inode *inode, struct file *file)
{
	myep_release(myep_of(file));
	return 0;
}

static const struct file_operations instance_fops = {
	.owner		= THIS_MODULE,
	.fadvise	= instance_fadvise,
	.unlocked_ioctl	= instance_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.poll		= instance_poll,
	.release	= instance_release,
	.llseek		= noop_llseek,
	.show_fdinfo	= myep_show_fdinfo,
};

/**
 * myep_is_instance - is this a [myepoll] file?
 * @file: any file
 */
bool myep_is_instance(const struct file *file)
{
	return file->f_op == &instance_fops;
}

/**
 * myep_create - the body of epoll_create1(2)
 * @flags: 0 or EPOLL_CLOEXEC
 * @adopted: it is that system call
 *
 * The order of failures is that of the system call.
 *
 * Return: a new file descriptor; or -ENOMEM, -EMFILE, -ENFILE, or what
 * myep_closes_are_seen() says.
 */
long myep_create(unsigned int flags, bool adopted)
{
	struct file *file;
	struct myep *ep;
	int fd, err;

	err = myep_closes_are_seen();
	if (unlikely(err))
		return err;

	ep = myep_alloc();
	if (unlikely(!ep))
		return -ENOMEM;
	if (adopted) {
		unsigned int mark = READ_ONCE(current->personality);

		ep->adopted = true;
		if (unlikely(mark & MYEP_MARK_OPTIONS))
			myep_options_from_mark(ep, mark);
		myep_adopt_get();
	}

	fd = get_unused_fd_flags(O_RDWR | flags);
	if (fd < 0) {
		err = fd;
		goto err_put;
	}

	file = anon_inode_getfile("[myepoll]", &instance_fops, ep,
				  O_RDWR | flags);
	if (IS_ERR(file)) {
		err = PTR_ERR(file);
		goto err_fd;
	}
	ep->file = file;
	/* Before the descriptor works, so that a close by another thread comes behind. */
	if (myep_tracing())
		myep_trace_create(ep, fd);
	fd_install(fd, ep->file);
	return fd;

err_fd:
	put_unused_fd(fd);
err_put:
	myep_put(ep);
	return err;
}

static __always_inline long ioctl_create(void __user *arg, size_t size)
{
	struct myepoll_create create;
	int err;

	err = get_args(&create, sizeof(create), 8, arg, size);
	if (err)
		return err;
	if (create.flags & ~MYEPOLL_CLOEXEC || create.reserved)
		return -EINVAL;
	return myep_create(create.flags, false);
}

static long device_ioctl_any_size(unsigned int cmd, void __user *arg);

static __always_inline long device_call(unsigned int cmd, void __user *arg,
					enum match match)
{
	if (is_call(cmd, MYEPOLL_IOC_CREATE, match))
		return ioctl_create(arg, _IOC_SIZE(cmd));
	if (is_call(cmd, MYEPOLL_IOC_FEATURES, match))
		return ioctl_features(arg, _IOC_SIZE(cmd));

	if (match == WHOLE)
		return device_ioctl_any_size(cmd, arg);
	return -ENOTTY;
}

static noinline long device_ioctl_any_size(unsigned int cmd, void __user *arg)
{
	return device_call(cmd, arg, ANY_SIZE);
}

static long device_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	return device_call(cmd, (void __user *)arg, WHOLE);
}

static const struct file_operations device_fops = {
	.owner		= THIS_MODULE,
	.unlocked_ioctl	= device_ioctl,
	.compat_ioctl	= compat_ptr_ioctl,
	.llseek		= noop_llseek,
};

/* epoll needs no privilege, so the device takes none. */
static struct miscdevice device = {
	.minor	= MISC_DYNAMIC_MINOR,
	.name	= "myepoll",
	.fops	= &device_fops,
	.mode	= 0666,
};

int __init myep_device_init(void)
{
	BUILD_BUG_ON(sizeof(struct myepoll_event) != sizeof(struct epoll_event));
	BUILD_BUG_ON(offsetof(struct myepoll_event, data) !=
		     offsetof(struct epoll_event, data));
	BUILD_BUG_ON(MYEPOLL_CLOEXEC != EPOLL_CLOEXEC);
	BUILD_BUG_ON(sizeof(struct myepoll_create) != 8);
	BUILD_BUG_ON(sizeof(struct myepoll_ctl) != 24);
	BUILD_BUG_ON(sizeof(struct myepoll_wait) != 32);
	BUILD_BUG_ON(sizeof(struct myepoll_change) != 24);
	BUILD_BUG_ON(sizeof(struct myepoll_turn) != 56);
	BUILD_BUG_ON(sizeof(struct myepoll_watch) != 24);
	BUILD_BUG_ON(sizeof(struct myepoll_list) != 16);
	BUILD_BUG_ON(sizeof(struct myepoll_options) != 16);
	BUILD_BUG_ON(sizeof(struct myepoll_info) != 16);

	if (!myep_fast_door)
		static_branch_disable(&fast_door_open);
	return misc_register(&device);
}

void myep_device_exit(void)
{
	misc_deregister(&device);
}
