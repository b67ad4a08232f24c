// SPDX-License-Identifier: GPL-2.0
/*
 * kill_ftrace.c - ftrace after it has found a fault in itself: it goes on calling the
 * handlers that it has, and neither takes nor removes one. For tests/life/ftrace-killed
 */
#include <linux/kprobes.h>
#include <linux/module.h>

static int __init kill_ftrace_init(void)
{
	/* A kprobe that is not armed tells the address of a function. */
	struct kprobe probe = {
		.symbol_name = "ftrace_kill",
		.flags = KPROBE_FLAG_DISABLED,
	};
	int err = register_kprobe(&probe);
	void (*kill)(void) = (void *)probe.addr;

	if (err)
		return err;
	unregister_kprobe(&probe);
	kill();
	return 0;
}

module_init(kill_ftrace_init);

MODULE_DESCRIPTION("The end of ftrace, for the tests of myepoll");
MODULE_LICENSE("GPL");
