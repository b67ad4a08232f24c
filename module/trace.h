/* SPDX-License-Identifier: GPL-2.0 */
/*
 * trace.h - tracepoints, of the system "myepoll"
 *
 * They are an interface, which tools read and myepoll(4) describes: names and fields
 * stay, new fields come at the end. @instance is the number that MYEPOLL_IOC_INFO tells
 * too. @tgid is the process that makes the call, which for a close may be any. A wakeup
 * comes from anywhere, so it says who is woken instead. @data is the watch's token.
 *
 * Who tells them, and what they cost while they are off: "Tracing" in internal.h.
 */
#undef TRACE_SYSTEM
#define TRACE_SYSTEM myepoll

#if !defined(_MYEPOLL_TRACE_H) || defined(TRACE_HEADER_MULTI_READ)
#define _MYEPOLL_TRACE_H

#include <linux/sched.h>
#include <linux/tracepoint.h>

#include "internal.h"

/* By numbers: who reads the file "format" does not know our names for them. */
#define myep_show_events(events)			\
	__print_flags(events, "|",			\
		{ 0x1,		"IN" },			\
		{ 0x2,		"PRI" },		\
		{ 0x4,		"OUT" },		\
		{ 0x8,		"ERR" },		\
		{ 0x10,		"HUP" },		\
		{ 0x20,		"NVAL" },		\
		{ 0x40,		"RDNORM" },		\
		{ 0x80,		"RDBAND" },		\
		{ 0x100,	"WRNORM" },		\
		{ 0x200,	"WRBAND" },		\
		{ 0x400,	"MSG" },		\
		{ 0x2000,	"RDHUP" },		\
		{ 0x4000,	"FREE" },		\
		{ 0x8000000,	"URING_WAKE" },		\
		{ 0x10000000,	"EXCLUSIVE" },		\
		{ 0x20000000,	"WAKEUP" },		\
		{ 0x40000000,	"ONESHOT" },		\
		{ 0x80000000,	"ET" })

#define myep_show_op(op)				\
	__print_symbolic(op,				\
		{ 1,	"ADD" },			\
		{ 2,	"DEL" },			\
		{ 3,	"MOD" },			\
		{ 16,	"SET" },			\
		{ 17,	"DISABLE" },			\
		{ 18,	"DROP" })

/* A new instance, before anyone can use its descriptor. */
TRACE_EVENT_FN(myepoll_create,

	TP_PROTO(struct myep *ep, int fd),

	TP_ARGS(ep, fd),

	TP_STRUCT__entry(
		__field(u32,	instance)
		__field(int,	tgid)
		__field(int,	fd)
		__field(bool,	adopted)
	),

	TP_fast_assign(
		__entry->instance = myep_id(ep);
		__entry->tgid = task_tgid_nr(current);
		__entry->fd = fd;
		__entry->adopted = ep->adopted;
	),

	TP_printk("instance=%u tgid=%d fd=%d adopted=%d", __entry->instance,
		  __entry->tgid, __entry->fd, __entry->adopted),

	myep_trace_reg, myep_trace_unreg
);

/* Its last descriptor is closed. The watches that are left go next. */
TRACE_EVENT_FN(myepoll_release,

	TP_PROTO(struct myep *ep),

	TP_ARGS(ep),

	TP_STRUCT__entry(
		__field(u32,	instance)
		__field(int,	tgid)
	),

	TP_fast_assign(
		__entry->instance = myep_id(ep);
		__entry->tgid = task_tgid_nr(current);
	),

	TP_printk("instance=%u tgid=%d", __entry->instance, __entry->tgid),

	myep_trace_reg, myep_trace_unreg
);

/* A change, by CTL or in a turn, with its result. */
TRACE_EVENT_FN(myepoll_ctl,

	TP_PROTO(struct myep *ep, int op, int fd, __poll_t events, u64 data, int ret),

	TP_ARGS(ep, op, fd, events, data, ret),

	TP_STRUCT__entry(
		__field(u32,	instance)
		__field(int,	tgid)
		__field(u64,	data)
		__field(int,	op)
		__field(int,	fd)
		__field(u32,	events)
		__field(int,	ret)
	),

	TP_fast_assign(
		__entry->instance = myep_id(ep);
		__entry->tgid = task_tgid_nr(current);
		__entry->data = data;
		__entry->op = op;
		__entry->fd = fd;
		__entry->events = (__force u32)events;
		__entry->ret = ret;
	),

	TP_printk("instance=%u tgid=%d %s fd=%d events=%s data=0x%llx ret=%d",
		  __entry->instance, __entry->tgid, myep_show_op(__entry->op),
		  __entry->fd, myep_show_events(__entry->events), __entry->data,
		  __entry->ret),

	myep_trace_reg, myep_trace_unreg
);

/*
 * The source of a watch wakes it, with the events of @key, or 0 where it does not say.
 * @waiter is the thread at the head of those that sleep in a wait, 0 if there is none. It
 * is woken, unless the wakeup is ignored, or the thread gathers and has not enough yet.
 */
TRACE_EVENT_FN(myepoll_wake,

	TP_PROTO(struct myep_item *item, __poll_t key, enum myep_woken what),

	TP_ARGS(item, key, what),

	TP_STRUCT__entry(
		__field(u32,	instance)
		__field(int,	fd)
		__field(u64,	data)
		__field(u32,	key)
		__field(int,	what)
		__field(int,	waiter)
	),

	TP_fast_assign(
		__entry->instance = myep_id(item->ep);
		__entry->fd = item->fd;
		/* MOD may be setting it, in one store. */
		__entry->data = data_race(item->data);
		__entry->key = (__force u32)key;
		__entry->what = what;
		__entry->waiter = myep_first_waiter(item->ep);
	),

	TP_printk("instance=%u fd=%d data=0x%llx key=%s %s waiter=%d",
		  __entry->instance, __entry->fd, __entry->data,
		  myep_show_events(__entry->key),
		  __print_symbolic(__entry->what,
				   { 0, "queued" },
				   { 1, "again" },
				   { 2, "ignored" }),
		  __entry->waiter),

	myep_trace_reg, myep_trace_unreg
);

DECLARE_EVENT_CLASS(myepoll_scan,

	TP_PROTO(struct myep_item *item, __poll_t events),

	TP_ARGS(item, events),

	TP_STRUCT__entry(
		__field(u32,	instance)
		__field(int,	tgid)
		__field(u64,	data)
		__field(int,	fd)
		__field(u32,	events)
		__field(u32,	mask)
	),

	TP_fast_assign(
		__entry->instance = myep_id(item->ep);
		__entry->tgid = task_tgid_nr(current);
		__entry->data = item->data;
		__entry->fd = item->fd;
		__entry->events = (__force u32)events;
		__entry->mask = (__force u32)item->events;
	),

	TP_printk("instance=%u tgid=%d fd=%d data=0x%llx events=%s mask=%s",
		  __entry->instance, __entry->tgid, __entry->fd, __entry->data,
		  myep_show_events(__entry->events), myep_show_events(__entry->mask))
);

/*
 * An event is in the program's buffer. The watch stays on the ready list if its mask
 * has neither ET nor ONESHOT.
 */
DEFINE_EVENT_FN(myepoll_scan, myepoll_deliver,
	TP_PROTO(struct myep_item *item, __poll_t events),
	TP_ARGS(item, events),
	myep_trace_reg, myep_trace_unreg
);

/*
 * A wait has asked the file of a watch that was on the ready list, and there is no event
 * (any more). This is how a level-triggered watch leaves the list after its last event. If
 * the watch was woken since it was last asked, the wakeup was in vain.
 */
DEFINE_EVENT_FN(myepoll_scan, myepoll_not_ready,
	TP_PROTO(struct myep_item *item, __poll_t events),
	TP_ARGS(item, events),
	myep_trace_reg, myep_trace_unreg
);

/* @timeout in ns; 0 only looks, negative waits for ever. */
TRACE_EVENT_FN(myepoll_wait_enter,

	TP_PROTO(struct myep *ep, int maxevents, s64 timeout),

	TP_ARGS(ep, maxevents, timeout),

	TP_STRUCT__entry(
		__field(u32,	instance)
		__field(int,	tgid)
		__field(s64,	timeout)
		__field(int,	maxevents)
	),

	TP_fast_assign(
		__entry->instance = myep_id(ep);
		__entry->tgid = task_tgid_nr(current);
		__entry->timeout = timeout;
		__entry->maxevents = maxevents;
	),

	TP_printk("instance=%u tgid=%d maxevents=%d timeout=%lld",
		  __entry->instance, __entry->tgid, __entry->maxevents,
		  __entry->timeout),

	myep_trace_reg, myep_trace_unreg
);

/* The number of events, or an errno. */
TRACE_EVENT_FN(myepoll_wait_exit,

	TP_PROTO(struct myep *ep, int ret),

	TP_ARGS(ep, ret),

	TP_STRUCT__entry(
		__field(u32,	instance)
		__field(int,	tgid)
		__field(int,	ret)
	),

	TP_fast_assign(
		__entry->instance = myep_id(ep);
		__entry->tgid = task_tgid_nr(current);
		__entry->ret = ret;
	),

	TP_printk("instance=%u tgid=%d ret=%d", __entry->instance, __entry->tgid,
		  __entry->ret),

	myep_trace_reg, myep_trace_unreg
);

/* A watch goes. By a close it is told just before, by DEL after. */
TRACE_EVENT_FN(myepoll_remove,

	TP_PROTO(struct myep *ep, int fd, enum myep_removed why),

	TP_ARGS(ep, fd, why),

	TP_STRUCT__entry(
		__field(u32,	instance)
		__field(int,	tgid)
		__field(int,	fd)
		__field(int,	why)
	),

	TP_fast_assign(
		__entry->instance = myep_id(ep);
		__entry->tgid = task_tgid_nr(current);
		__entry->fd = fd;
		__entry->why = why;
	),

	TP_printk("instance=%u tgid=%d fd=%d by=%s", __entry->instance,
		  __entry->tgid, __entry->fd,
		  __print_symbolic(__entry->why,
				   { 0, "DEL" },
				   { 1, "DROP" },
				   { 2, "close" },
				   { 3, "release" })),

	myep_trace_reg, myep_trace_unreg
);

#endif /* _MYEPOLL_TRACE_H */

/* This has to be outside. */
#undef TRACE_INCLUDE_PATH
#define TRACE_INCLUDE_PATH .
#undef TRACE_INCLUDE_FILE
#define TRACE_INCLUDE_FILE trace
#include <trace/define_trace.h>
