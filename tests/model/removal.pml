/* SPDX-License-Identifier: GPL-2.0 */
/*
 * removal.pml - how an item ends: "Removal" and "POLLFREE" in module/internal.h
 *
 * Stands for
 *   item.c	unhook(), myep_item_detach(), myep_item_discard(), myep_item_free(),
 *		myep_release_items(), myep_file_closing(), myep_file_dropped(),
 *		__myep_close_dropped()
 *   index.c	bucket_take(), myep_index_take(), myep_index_take_any()
 *   interest.c	ctl_del()
 *   ready.c	item_hold(), poll_held(), item_give_back(), item_retire(); of
 *		myep_wake() the item's part, and POLLFREE
 *   walk.c	myep_walk_next() and leave(), as nesting.c calls them: without the mtx
 *   instance.c	myep_put(), myep_release()
 *
 * Promises
 *   - Each item is freed once, and not touched afterwards.
 *   - After C has passed nothing touches the file, or a wait queue of it that
 *     ->release frees. A queue that was announced by POLLFREE is not touched after its
 *     grace period.
 *   - The instance is freed once, after its last item, and not touched afterwards.
 *   - B ends, and all is freed, also where the __fput() of a watched file does not come.
 *   - Nobody waits for ever.
 *
 * What is left out
 *   - ADD. It holds both files, so it is beside no B and no C of its item; the mtx
 *     keeps DEL and scans away. Items start as an ADD leaves them. So a key means one
 *     item, and an item's number stands for its key.
 *   - The order of lists; lists are sets, and a scan holds any of the ready items.
 *   - ep->wq.lock as a variable. Nothing that it guards is read without it, nothing
 *     nests inside: a section under it is one step.
 *   - All files hash to one bucket, the worst case. All items count as nested, so a
 *     detach touches the file itself.
 *   - Memory order. Steps here are in order; bucket_take()'s barrier is what makes it
 *     so for the look without the lock, and without it (MISTAKE_no_barrier) the two
 *     stores come in either order. The other look at unlocked memory, of unhook(), is
 *     at a store that comes last in myep_wake().
 *   - A grace period waits for sections with preemption off, here those of the bucket.
 *
 * Two files cost so many states that there is no walk then, and the queue of one of them
 * is not woken, and the DEL is of its item.
 *
 * Run: -DFILES=1
 * Run: -DFILES=2
 */
#ifndef FILES
#define FILES	1	/* the items' files: one for both, or one for each */
#endif

#define ITEMS	2
#define NONE	ITEMS
#define file_of(i)	((i) % FILES)

/* Items. All start hooked, linked and in the index. */
bool indexed[ITEMS], hooked[ITEMS], head[ITEMS], linked[ITEMS];
bool ready[ITEMS], busy[ITEMS], woken[ITEMS], dead[ITEMS], freed[ITEMS];

/* Files, each with one wait queue. */
byte count[FILES];
bool due[FILES];		/* the count went to 0 by fput() */
bool released[FILES];		/* ->release has run */
bool queue_lock[FILES], waking[FILES], queue_freed[FILES];
bool dies_early[FILES];		/* the queue goes by POLLFREE, not by ->release */

/* The instance: the users of its file, and one reference for that and for each item. */
byte users, refs;
bool mtx, instance_freed, b_done;

bool bucket_lock;

inline lock(l)
{
	atomic { !l -> l = true }
}

inline fput(f)
{
	atomic {
		assert(count[f] > 0 && !released[f]);
		count[f]--;
		due[f] = (count[f] == 0)
	}
}

inline put_instance()
{
	d_step {
		assert(!instance_freed && refs > 0);
		refs--;
		if
		:: refs == 0 ->
			instance_freed = true;
			assert(freed[0] && freed[1])
		:: else
		fi
	}
}

inline free(i)
{
	d_step {
		assert(!freed[i]);
		assert(!hooked[i] && !indexed[i] && !linked[i] && !ready[i]);
		freed[i] = true
	}
}

/* myep_item_detach() */
inline detach(i)
{
	assert(!freed[i]);
	had_head = head[i];
	if
	:: had_head ->
		lock(queue_lock[file_of(i)]);
		assert(!queue_freed[file_of(i)]);
		hooked[i] = false;
		atomic {
			assert(!queue_freed[file_of(i)]);
			queue_lock[file_of(i)] = false
		}
	:: else
	fi;
	/* The count of watchers is found through the file. */
	assert(!freed[i] && !released[file_of(i)])
}

/* bucket_take(), and the end of its caller's section */
inline take_and_unlock(i)
{
#if defined(MISTAKE_detach_after_erase)
	indexed[i] = false;
	detach(i);
	bucket_lock = false
#elif defined(MISTAKE_no_barrier)
	if
	:: indexed[i] = false; detach(i)
	:: detach(i); indexed[i] = false
	fi;
	bucket_lock = false
#elif defined(MISTAKE_detach_outside_the_lock)
	indexed[i] = false;
	bucket_lock = false;
	detach(i)
#else
	detach(i);
	indexed[i] = false;
	bucket_lock = false
#endif
}

/* myep_item_discard() */
inline discard(i)
{
	d_step {
		assert(!freed[i] && !instance_freed);
		ready[i] = false;
		linked[i] = false;
		dead[i] = true;
		was_busy = busy[i]
	}
#ifdef MISTAKE_busy_is_freed
	was_busy = false;
#endif
#ifdef MISTAKE_put_before_free
	put_instance();
#endif
	if
	:: !was_busy -> free(i)
	:: else
	fi;
#ifndef MISTAKE_put_before_free
	put_instance();
#endif
	was_busy = false
}

/* myep_file_closing() */
inline file_closing(f)
{
	do
	:: atomic {
		/* The look without the lock. */
		if
		:: !indexed[0] && !indexed[1] -> break
		:: else
		fi
	   }
	   lock(bucket_lock);
	   if
	   :: file_of(0) == f && indexed[0] -> x = 0
	   :: else ->
		if
		:: file_of(1) == f && indexed[1] -> x = 1
		:: else -> x = NONE
		fi
	   fi;
	   if
	   :: x == NONE ->
		bucket_lock = false;
		break
	   :: else ->
		take_and_unlock(x);
		discard(x)
	   fi
	od;
	x = 0
}

/* poll_held() and leave() */
inline drop(f)
{
	atomic {
		assert(!released[f] && count[f] > 0);
		count[f]--;
		last = (count[f] == 0)
	}
	if
	:: last ->
		file_closing(f);
		closing[f] = true
	:: else
	fi;
	last = false
}

/* __myep_close_dropped() */
inline close_dropped()
{
	f = 0;
	do
	:: f < FILES ->
		if
		:: closing[f] ->
			count[f] = 1;
			closing[f] = false;
			fput(f)
		:: else
		fi;
		f++
	:: else -> break
	od;
	f = 0
}

/* A: DEL of an item, by a thread that has found its file in the table. */
proctype Del()
{
	bool had_head, was_busy;
	byte x;

#if FILES == 1
	if
	:: x = 0
	:: x = 1
	fi;
#else
	x = 1;
#endif
	atomic {
		if
		:: count[file_of(x)] > 0 -> count[file_of(x)]++
		:: else -> goto out
		fi
	}
	lock(mtx);
	lock(bucket_lock);
	if
	:: indexed[x] ->
		take_and_unlock(x);
		discard(x)
	:: else ->
		bucket_lock = false
	fi;
	mtx = false;
	fput(file_of(x));
out:
	users--
}

/* B: myep_release() */
proctype Release()
{
	bool had_head, was_busy, found, seen[ITEMS];
	byte x;

	users == 0;
	do
	:: d_step {
		assert(!instance_freed);
		if
		:: linked[0] && !seen[0] -> x = 0; seen[0] = true
		:: else ->
			if
			:: linked[1] && !seen[1] -> x = 1; seen[1] = true
			:: else -> x = NONE
			fi
		fi
	   }
	   if
	   :: x == NONE -> break
	   :: else
	   fi;
#ifdef MISTAKE_b_leaves_it_to_c
	   if
	   :: count[file_of(x)] == 0 -> !linked[x]; goto next
	   :: else
	   fi;
#endif
#ifdef MISTAKE_found_without_the_lock
	   found = indexed[x];
	   lock(bucket_lock);
#else
	   lock(bucket_lock);
	   found = indexed[x];
#endif
	   if
	   :: found ->
		take_and_unlock(x);
		discard(x)
	   :: else ->
		bucket_lock = false
#ifdef MISTAKE_b_does_not_ask
		; discard(x)
#endif
	   fi;
	   found = false;
#ifdef MISTAKE_b_leaves_it_to_c
next:	   skip
#endif
	od;
	put_instance();
	b_done = true
}

/* C: the thread that sees the count go to 0 calls __fput(), some time or never. */
proctype Fput(byte f)
{
	bool had_head, was_busy;
	byte x;

	due[f];
	if
	:: true -> goto asleep
	:: true
	fi;
	file_closing(f);
	/* ->release. A source does not let its queue go while it wakes it. */
	atomic {
		!waking[f];
		assert(count[f] == 0 && !released[f]);
		released[f] = true;
		if
		:: !dies_early[f] ->
			assert(!queue_lock[f]);
			x = 0;
			do
			:: x < ITEMS ->
				assert(!(hooked[x] && file_of(x) == f));
				x++
			:: else -> break
			od;
			queue_freed[f] = true
		:: else
		fi
	}
asleep:
	skip
}

/* A harvest or the instance's ->poll, of a batch of items. */
proctype Scan()
{
	bool had_head, was_busy, last, held[ITEMS], closing[FILES];
	byte x, i, f;

	lock(mtx);
	atomic {
		assert(!instance_freed);
		do
		:: i < ITEMS ->
			if
			:: !ready[i]
			:: ready[i] ->
				assert(!freed[i] && !released[file_of(i)]);
#ifdef MISTAKE_poll_without_reference
				held[i] = true; busy[i] = true; woken[i] = false
#else
				if
				:: count[file_of(i)] > 0 ->
					count[file_of(i)]++;
					held[i] = true;
					busy[i] = true;
					woken[i] = false
				:: else -> ready[i] = false
				fi
#endif
			:: ready[i]	/* beyond this batch */
			fi;
			i++
		:: else -> i = 0; break
		od
	}
	do
	:: i < ITEMS ->
		if
		:: held[i] ->
			/* ->poll */
			assert(!freed[i] && !released[file_of(i)]);
#ifndef MISTAKE_poll_without_reference
			drop(file_of(i))
#endif
		:: else
		fi;
		i++
	:: else -> i = 0; break
	od;
	atomic {
		assert(!instance_freed);
		do
		:: i < ITEMS ->
			if
			:: held[i] ->
				assert(!freed[i]);
				busy[i] = false;
				held[i] = false;
				if
#ifdef MISTAKE_dead_is_left
				:: dead[i]
#else
				:: dead[i] -> free(i)
#endif
				:: !dead[i] && !woken[i] -> ready[i] = false
				:: !dead[i]	/* woken, or level-triggered */
				fi
			:: else
			fi;
			i++
		:: else -> i = 0; break
		od
	}
	close_dropped();
	mtx = false;
	users--
}

/* A search of another instance's ADD comes by: no mtx of this one, any item. */
proctype Walk()
{
	bool had_head, was_busy, last, closing[FILES];
	byte x, i, f;

	atomic {
		assert(!instance_freed);
		if
		:: linked[0] -> i = 0
		:: linked[1] -> i = 1
		:: else -> goto out
		fi;
		assert(!freed[i] && !released[file_of(i)]);
		if
		:: count[file_of(i)] > 0 -> count[file_of(i)]++
		:: else -> goto out
		fi
	}
	assert(!released[file_of(i)]);
	drop(file_of(i));
	i = 0;
	close_dropped();
out:
	users--
}

/* myep_wake() for each entry of a queue; its source has locked it. */
inline wake(f, pollfree)
{
	do
	:: i < ITEMS ->
		if
		:: file_of(i) == f && hooked[i] ->
			d_step {
				assert(!freed[i] && !instance_freed);
				ready[i] = true;
				woken[i] = true
			}
			if
			:: pollfree ->
#if defined(MISTAKE_pollfree_clears_first)
				atomic { assert(!freed[i]); head[i] = false }
				atomic { assert(!freed[i]); hooked[i] = false }
#elif !defined(MISTAKE_no_pollfree)
				atomic { assert(!freed[i]); hooked[i] = false }
				atomic { assert(!freed[i]); head[i] = false }
#endif
				skip
			:: else
			fi
		:: else
		fi;
		i++
	:: else -> i = 0; break
	od
}

/* What is behind a file: wakes its queue or not, and may take it away. */
proctype Source(byte f)
{
	byte i;

	if
	:: atomic {
		!queue_freed[f] && !queue_lock[f] ->
		queue_lock[f] = true;
		waking[f] = true
	   }
	   wake(f, false);
	   atomic {
		queue_lock[f] = false;
		waking[f] = false
	   }
	:: skip
	fi;
	if
	:: dies_early[f] ->
		lock(queue_lock[f]);
		wake(f, true);
		queue_lock[f] = false;
		/* A grace period, then the memory goes. */
#ifndef MISTAKE_no_grace_period
		!bucket_lock;
#endif
		queue_freed[f] = true
	:: else
	fi
}

/* Whoever has a file open closes it. */
proctype Owner(byte f)
{
	fput(f)
}

init
{
	byte i;

	atomic {
		do
		:: i < ITEMS ->
			indexed[i] = true;
			hooked[i] = true;
			head[i] = true;
			linked[i] = true;
			ready[i] = true;
			i++
		:: else -> i = 0; break
		od;
		do
		:: i < FILES ->
			count[i] = 1;
			run Owner(i);
			run Fput(i);
			i++
		:: else -> i = 0; break
		od;
		users = (FILES == 1 -> 3 : 2);
		if
		:: dies_early[0] = true
		:: true
		fi;
		run Source(0);
		refs = 1 + ITEMS;
#ifdef MISTAKE_item_holds_no_instance
		refs = 1;
#endif
		run Del();
		run Scan();
#if FILES == 1
		run Walk();
#endif
		run Release()
	}
	/* Nobody goes any further. */
	timeout;
	assert(b_done && instance_freed);
	assert(freed[0] && freed[1])
}
