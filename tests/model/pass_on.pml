/* SPDX-License-Identifier: GPL-2.0 */
/*
 * pass_on.pml - the pollers of an instance, woken in a circle, on two CPUs: "Foreign
 * epoll" in module/internal.h
 *
 * Stands for
 *   ready.c	pass_on(), myep_rewake(), wake_pollers_locked()
 *   instance.c	myep_put() where rewake was used
 *
 * Each instance is polled by a thread and by a ring of io_uring. The next instance
 * watches that ring: a circle of one or two. A ring that is woken completes, and so
 * wakes its own watchers, in the same call, with EPOLL_URING_WAKE. It goes on polling,
 * but not if it was woken with that flag. Events come on two CPUs, which enter a
 * circle of two at opposite ends.
 *
 * Promises
 *   - No deadlock, of a CPU with itself or with the other.
 *   - A thread that has looked before an event is woken after it.
 *   - The circle ends: a ring completes once for each event from outside, and once more
 *     for each CPU: the handler on one may take the flag that is meant for that on the
 *     other, and then wait for the lock.
 *   - An instance is not touched after it is freed, by the irq_work or by who runs it,
 *     and it is freed.
 *
 * What is left out
 *   - The ready list (ready.pml): an event is a count, and a look reads it. has_pollers()
 *     is always true.
 *   - A ring that completes later, by task work, and aio, which completes once for each
 *     request: both wake less from inside a wakeup than the ring here.
 *   - Wakeups recurse as deep as the circle is long: there the lock is held by this CPU.
 *   - irq_work: is queued once at most, runs on the CPU that has queued it with
 *     interrupts off, and may be queued again as soon as its handler starts.
 *   - Closing the instance: its items are taken off the wait queues, which waits for
 *     wakeups on their way, and then nobody wakes or polls it any more.
 *   - A grace period waits for interrupts to have been on, on both CPUs.
 *
 * Run: -DCIRCLE=1 -DEVENTS=2
 * Run: -DCIRCLE=2 -DEVENTS=1
 */
#ifndef CIRCLE
#define CIRCLE	2
#endif

#ifndef EVENTS
#define EVENTS	1	/* for each CPU */
#endif

#define CPUS	2
#define NO_CPU	CPUS
#define next(k)	(((k) + 1) % CIRCLE)
#define FROM_OUTSIDE	(CIRCLE == 1 -> CPUS * EVENTS : EVENTS)

/* The instances. */
bool poll_lock[CIRCLE];
byte waking_cpu[CIRCLE] = NO_CPU;
bool rewake_uring[CIRCLE], rewoken[CIRCLE];
byte refs[CIRCLE] = 1;		/* one for the file and the items */
bool closed[CIRCLE], to_free[CIRCLE], freed[CIRCLE];
byte on_the_way[CIRCLE];	/* wakeups by its items */

/* irq_work: queued, and on which CPU. */
bool queued[CIRCLE];
byte queued_on[CIRCLE];
bool irqs_off[CPUS];

/* The pollers. */
byte events[CIRCLE], completions[CIRCLE];
byte looked[CIRCLE];
bool poked[CIRCLE], ring_stopped[CIRCLE];

inline put(k)
{
	d_step {
		assert(!freed[k] && refs[k] > 0);
		refs[k]--;
		if
		:: refs[k] == 0 && rewoken[k] -> to_free[k] = true
		:: refs[k] == 0 && !rewoken[k] -> freed[k] = true
		:: else
		fi
	}
}

/* An item of the instance is woken; where there is none any more, nothing is. */
inline event_begins(k, wakes)
{
	atomic {
		wakes = !closed[k];
		if
		:: wakes ->
			assert(!freed[k]);
			on_the_way[k]++;
			events[k]++
		:: else
		fi
	}
}

inline event_ends(k)
{
	on_the_way[k]--
}

/* pass_on() that did not get the lock. */
inline leave_to_irq_work(k, extra)
{
	assert(!freed[k]);
#ifndef MISTAKE_rewake_dropped
#ifndef MISTAKE_uring_flag_dropped
	if
	:: extra || waking_cpu[k] == me -> rewake_uring[k] = true
	:: else
	fi;
#endif
	rewoken[k] = true;
	atomic {
#ifndef MISTAKE_rewake_holds_no_reference
		refs[k]++;
#endif
		won = !queued[k];
		if
		:: won -> queued[k] = true; queued_on[k] = me
		:: else
		fi
	}
	if
#ifndef MISTAKE_rewake_holds_no_reference
	:: !won -> put(k)
#endif
	:: else
	fi;
	won = false
#endif
}

/* Wake the thread; myep_poll() runs some time after. */
inline poke(k)
{
	poked[k] = true
}

/* Does the ring complete? */
inline ring_wakes(k, uring, does)
{
	atomic {
		does = !ring_stopped[k] && !closed[k];
		if
		:: does ->
			completions[k]++;
			assert(completions[k] <= FROM_OUTSIDE + CPUS);
			ring_stopped[k] = uring
		:: else
		fi
	}
}

#ifdef MISTAKE_pollers_lock_taken
#define got_lock(k)	(!poll_lock[k])
#define no_lock(k)	(false)
#else
#define got_lock(k)	(!poll_lock[k])
#define no_lock(k)	(poll_lock[k])
#endif

#ifdef MISTAKE_uring_flag_dropped
#define URING_WAKE	false
#else
#define URING_WAKE	true
#endif

/* The third level: full circle. */
inline pass_on_2(k)
{
	if
	:: atomic { got_lock(k) -> assert(false) }
	:: no_lock(k) -> leave_to_irq_work(k, URING_WAKE)
	fi
}

/* The second level: the ring of an instance has completed. */
inline pass_on_1(k)
{
	if
	:: atomic { got_lock(k) -> poll_lock[k] = true };
	   assert(!freed[k]);
	   waking_cpu[k] = me;
	   poke(k);
	   ring_wakes(k, URING_WAKE, goes_on);
	   if
	   :: goes_on ->
		event_begins(next(k), goes_on);
		if
		:: goes_on ->
			pass_on_2(next(k));
			event_ends(next(k));
			goes_on = false
		:: else
		fi
	   :: else
	   fi;
	   waking_cpu[k] = NO_CPU;
	   poll_lock[k] = false
	:: no_lock(k) -> leave_to_irq_work(k, URING_WAKE)
	fi
}

/* wake_pollers_locked() */
inline wake_pollers_locked(k, uring)
{
	assert(!freed[k]);
	waking_cpu[k] = me;
	poke(k);
	ring_wakes(k, uring, wakes);
	if
	:: wakes ->
		event_begins(next(k), wakes);
		if
		:: wakes ->
			pass_on_1(next(k));
			event_ends(next(k));
			wakes = false
		:: else
		fi
	:: else
	fi;
	assert(!freed[k]);
	waking_cpu[k] = NO_CPU
}

/* The irq_work of an instance, if it is queued here. */
inline run_irq_work(k)
{
	if
	:: queued[k] && queued_on[k] == me ->
		irqs_off[me] = true;
		assert(!freed[k]);
		queued[k] = false;
		/* myep_rewake() */
		atomic { uring = rewake_uring[k]; rewake_uring[k] = false }
		atomic { !poll_lock[k] -> poll_lock[k] = true }
		wake_pollers_locked(k, uring);
		poll_lock[k] = false;
		uring = false;
#ifndef MISTAKE_rewake_holds_no_reference
		put(k);
#endif
		/* irq_work touches it once more. */
		assert(!freed[k]);
		irqs_off[me] = false
	:: !queued[k] || queued_on[k] != me
	fi
}

proctype Cpu(byte me)
{
	bool wakes, goes_on, uring, won, counts;
	byte k, n;

	k = me % CIRCLE;
	do
	:: n < EVENTS ->
		n++;
		irqs_off[me] = true;
		event_begins(k, counts);
		if
		:: counts ->
			if
			:: atomic { got_lock(k) -> poll_lock[k] = true };
			   wake_pollers_locked(k, false);
			   poll_lock[k] = false
			:: no_lock(k) -> leave_to_irq_work(k, false)
			fi;
			event_ends(k);
			counts = false
		:: else
		fi;
		irqs_off[me] = false;
		/* Now, or at a later interrupt. */
		if
		:: run_irq_work(0)
		:: true
		fi
	:: else -> break
	od;
end:	do
	:: queued[0] && queued_on[0] == me -> run_irq_work(0)
#if CIRCLE == 2
	:: queued[1] && queued_on[1] == me -> run_irq_work(1)
#endif
	od
}

/* A thread that looks, and sleeps until it is woken. */
proctype Thread(byte k)
{
end:	do
	:: atomic { poked[k] -> poked[k] = false };
	   looked[k] = events[k]
	od
}

/* The instance is closed, at any time or never. */
proctype Close(byte k)
{
	if
	:: true ->
		atomic { on_the_way[k] == 0 -> closed[k] = true }
		put(k)
	:: true
	fi
}

proctype Rcu(byte k)
{
end:	to_free[k];
#ifndef MISTAKE_no_grace_period
	!irqs_off[0];
	!irqs_off[1];
#endif
	freed[k] = true
}

init
{
	byte k;

	atomic {
		do
		:: k < CIRCLE ->
			run Thread(k);
			run Rcu(k);
			k++
		:: else -> break
		od;
		run Close(0);
		run Cpu(0);
		run Cpu(1)
	}
	timeout;
	k = 0;
	do
	:: k < CIRCLE ->
		assert(!poll_lock[k] && !queued[k]);
		assert(closed[k] || looked[k] == events[k]);
		assert(refs[k] == (closed[k] -> 0 : 1) && freed[k] == closed[k]);
		k++
	:: else -> break
	od
}
