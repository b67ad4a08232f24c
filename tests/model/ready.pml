/* SPDX-License-Identifier: GPL-2.0 */
/*
 * ready.pml - no event is lost: "The ready list" in module/internal.h
 *
 * Stands for
 *   ready.c	myep_wake(), item_hold(), item_give_back(), item_retire(), scan_start(),
 *		scan_end(), pass_wakeup(), harvest_one(), harvest_many(), myep_harvest(),
 *		myep_poll()
 *   wait.c	wait_until(), wait_sleep(), wake_and_unqueue(), myep_wait()
 *
 * Promises
 *   - When all has come to rest, an item with an event that nobody was given is on the
 *     ready list, pending is up, and no waiter is asleep. For an edge-triggered item
 *     an event is each readiness; for a level-triggered one, that it is ready.
 *   - A wait with timeout 0, or a look by ->poll, does not say "nothing" if an item has
 *     had its wakeup before it began to look, is ready all the while, and is not
 *     delivered to another.
 *   - Nobody waits for ever, but a waiter without a timeout where there is no event.
 *
 * What is left out
 *   - The order of lists: an item is on one of them, and any may be the first. The
 *     order decides who comes first, not who comes at all.
 *   - The batch is of one item, so that two are enough to set the list aside.
 *   - The order of waiters: any of them may be the one that is woken.
 *   - Removal (removal.pml), pollers (pass_on.pml), faults of the buffer, one-shot and
 *     exclusive watches. ADD and MOD queue an item as a wakeup does.
 *   - ep->wq.lock as a variable: a section under it is one step. pending, the state of
 *     a file, and "am I on the queue?" are read without it, in steps of their own.
 *   - Memory order: pending read late is a read at an earlier moment, before which the
 *     wakeup did not come.
 *
 * Run: -DLEVEL0=false
 * Run: -DLEVEL0=true
 */
#ifndef LEVEL0
#define LEVEL0	true
#endif

#define ITEMS	2
#define WAITERS	2
#define is_level(i)	((i) == 0 && LEVEL0)

mtype = { NOWHERE, READY, TODO, AGAIN };

/* The files: is there something to read? */
bool has_data[ITEMS];

/* The items and the instance. */
mtype list[ITEMS] = NOWHERE;
bool busy[ITEMS], woken[ITEMS];
bool pending, mtx;

/* The waiters: on ep->wq, and in state TASK_INTERRUPTIBLE. */
bool queued[WAITERS], asleep[WAITERS];

/* What the promises are about: news nobody was given; its wakeup has been; since when. */
bool news[ITEMS], told[ITEMS], since[ITEMS];

#define owed(i)		(told[i] && ((is_level(i) && has_data[i]) || news[i]))
#define any_ready	(list[0] == READY || list[1] == READY)
#define any_todo	(list[0] == TODO || list[1] == TODO)

/* wake_up_locked() with wake_and_unqueue(); in a section under ep->wq.lock. */
inline wake_waiter()
{
	do
	:: queued[0] && asleep[0] -> queued[0] = false; asleep[0] = false; break
	:: queued[1] && asleep[1] -> queued[1] = false; asleep[1] = false; break
#ifdef MISTAKE_the_awake_count
	:: queued[0] && !asleep[0] -> break
	:: queued[1] && !asleep[1] -> break
#else
	/* Awake already, by its timer: leaves the queue, and the next one is woken. */
	:: queued[0] && !asleep[0] -> queued[0] = false
	:: queued[1] && !asleep[1] -> queued[1] = false
#endif
	:: !queued[0] && !queued[1] -> break
	od
}

inline link_ready(i)
{
	list[i] = READY;
	pending = true
}

inline take_mtx()
{
	atomic { !mtx -> mtx = true }
}

inline scan_start()
{
	since[0] = owed(0);
	since[1] = owed(1);
#ifdef MISTAKE_flag_dips
	pending = false;
#endif
}

/* The end of the section, but for the mtx. */
inline scan_end()
{
	if
	:: list[0] == TODO || list[0] == AGAIN -> list[0] = READY
	:: else
	fi;
	if
	:: list[1] == TODO || list[1] == AGAIN -> list[1] = READY
	:: else
	fi;
	pending = any_ready;
	if
#ifndef MISTAKE_no_turn_passed_on
	:: pending -> wake_waiter()
#endif
	:: else
	fi;
	/* Nothing, where something was owed from the start? */
	assert(n > 0 || (!since[0] && !since[1]));
	since[0] = false;
	since[1] = false;
	i = 0;
	revents = false
}

inline hold(i)
{
	busy[i] = true
}

inline give_back(i)
{
	busy[i] = false;
	woken[i] = false
}

inline retire(i)
{
	if
#ifndef MISTAKE_edge_lost_in_scan
	:: woken[i] -> list[i] = READY
#endif
	:: else -> list[i] = NOWHERE
	fi
}

/* ->poll for a harvest: what it finds is delivered. */
inline poll_and_deliver(i)
{
	atomic {
		revents = has_data[i];
		if
		:: revents ->
			news[i] = false;
			got[i] = true;
			n++;
			if
			:: !is_level(i) -> told[i] = false; since[i] = false
			:: else
			fi
		:: else
		fi
	}
}

inline set_aside()
{
	if
	:: list[0] == READY -> list[0] = TODO
	:: else
	fi;
	if
	:: list[1] == READY -> list[1] = TODO
	:: else
	fi;
#ifdef MISTAKE_flag_follows_the_list
	pending = false;
#endif
}

/* myep_harvest(). The caller's variables: n, max, i, revents, aside, got[]. */
inline harvest()
{
	take_mtx();
	n = 0;
	atomic {
		scan_start();
		aside = false;
		/* harvest_one() */
		if
		:: list[0] == READY && (list[1] != READY || max == 1) -> i = 0
		:: list[1] == READY && (list[0] != READY || max == 1) -> i = 1
		:: else -> goto many
		fi;
		hold(i)
	}
	poll_and_deliver(i);
	atomic {
		if
		:: !revents || !is_level(i) -> retire(i)
		:: else
		fi;
		give_back(i);
many:
		if
		:: n > 0 || !any_ready -> goto done
		:: else
		fi
	}
again:
	/* harvest_many() */
	atomic {
		if
		:: list[0] == (aside -> TODO : READY) -> i = 0
		:: list[1] == (aside -> TODO : READY) -> i = 1
		fi;
		hold(i);
		if
		:: !aside && list[1 - i] == READY ->
			set_aside();
			aside = true
		:: else
		fi
	}
	poll_and_deliver(i);
	atomic {
		if
		:: revents && is_level(i) -> list[i] = (aside -> AGAIN : READY)
		:: else -> retire(i)
		fi;
		give_back(i);
		if
		:: aside && any_todo && n < max -> goto again
		:: else
		fi
done:
		scan_end();
		aside = false;
		mtx = false
	}
}

/* The caller reads what it was told of, or leaves it. */
inline consume(i)
{
	atomic {
		if
		:: got[i] ->
			has_data[i] = false;
			news[i] = false;
			told[i] = false;
			since[i] = false
		:: true
		fi;
		got[i] = false;
		n = 0
	}
}

/* wait_until(), of a thread with or without a timeout, which may be killed. */
proctype Waiter(byte me; bool has_timeout; bool mortal)
{
	byte n, i, max;
	bool avail, timed_out, chosen, revents, aside, killed, got[ITEMS];

	if
	:: max = 1
	:: max = 2
	fi;
	/* READ_ONCE() */
	avail = pending;
loop:
	if
	:: avail ->
		if
		:: killed ->
			/* pass_wakeup() */
#ifndef MISTAKE_the_killed_pass_no_turn
			atomic {
				if
				:: pending -> wake_waiter()
				:: else
				fi
			}
#endif
			goto out
		:: else
		fi;
		harvest();
		if
		:: n > 0 -> goto out
		:: else
		fi
	:: else
	fi;
	if
	:: timed_out || killed -> goto out
	:: else
	fi;

	/* wait_sleep() */
#ifdef MISTAKE_flag_read_before_the_lock
	chosen = pending;
	atomic {
		if
		:: chosen -> chosen = false; avail = true; goto loop
#else
	atomic {
		if
		:: pending -> avail = true; goto loop
#endif
		:: else
		fi;
		queued[me] = true;
		asleep[me] = true
	}
	/* Woken, at the timeout at once or not; or the timer; or SIGKILL. */
end:	atomic {
		if
		:: !asleep[me] ->
			if
			:: has_timeout -> timed_out = true
			:: true
			fi
		:: has_timeout -> asleep[me] = false; timed_out = true
		:: mortal -> asleep[me] = false; killed = true
		fi
	}
	/* The look without the lock finds no more than this one, under it. */
	atomic {
		chosen = !queued[me];
		queued[me] = false;
		avail = chosen || !timed_out;
#ifdef MISTAKE_timed_out_drops_wakeup
		avail = !timed_out;
#endif
		chosen = false
	}
	goto loop;
out:
	consume(0);
	consume(1)
}

/* myep_wait() with timeout 0. */
proctype Now()
{
	byte n, i, max;
	bool revents, aside, got[ITEMS];

	if
	:: max = 1
	:: max = 2
	fi;
	atomic {
		if
		:: !pending -> assert(!owed(0) && !owed(1)); goto out
		:: else
		fi
	}
	harvest();
	consume(0);
	consume(1);
out:
	skip
}

/* myep_poll() of a caller that does not wait. */
proctype Look()
{
	byte n, i;
	bool revents;

	atomic {
		if
		:: !pending -> assert(!owed(0) && !owed(1)); goto out
		:: else
		fi
	}
	take_mtx();
	atomic {
		scan_start();
		set_aside()
	}
	do
	:: atomic {
		if
		:: n == 0 && list[0] == TODO -> i = 0
		:: n == 0 && list[1] == TODO -> i = 1
		:: else -> break
		fi;
		hold(i)
	   }
	   revents = has_data[i];
	   atomic {
		if
		:: revents -> n = 1
		:: else -> retire(i)
		fi;
		give_back(i);
		revents = false
	   }
	od;
	atomic {
		scan_end();
		mtx = false
	}
out:
	skip
}

/* Data comes, then the wakeup: myep_wake(). */
proctype Source(byte i; byte times)
{
	do
	:: times > 0 ->
		atomic { has_data[i] = true; news[i] = true }
		atomic {
			if
			:: list[i] == NOWHERE -> link_ready(i)
			:: else
			fi;
			/* Of what nobody holds, item_hold() forgets it. */
			woken[i] = busy[i];
			told[i] = news[i] || has_data[i];
			wake_waiter()
		}
		times--
	:: else -> break
	od
}

init
{
	atomic {
		/* The first waits for ever, or is killed; the other has a timeout or not. */
		if
		:: run Waiter(0, false, false)
		:: run Waiter(0, false, true)
		fi;
		if
		:: run Waiter(1, false, false)
		:: run Waiter(1, true, false)
		fi;
		if
		:: run Now()
		:: run Look()
		fi;
		run Source(0, 2);
		run Source(1, 1)
	}
	/* All that is left sleeps without a timeout. */
	timeout;
	assert(!mtx && pending == any_ready);
	assert(!owed(0) || (list[0] == READY && !queued[0] && !queued[1]));
	assert(!owed(1) || (list[1] == READY && !queued[0] && !queued[1]))
}
