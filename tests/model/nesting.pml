/* SPDX-License-Identifier: GPL-2.0 */
/*
 * nesting.pml - ADDs that change the graph of instances: "Locks, outer to inner" in
 * module/internal.h, and the head of module/nesting.c
 *
 * Stands for
 *   interest.c	ctl_add(), item_insert(), item_check_nesting(), item_start(), ctl_del()
 *   nesting.c	myep_nest_prepare(), myep_nest_begin(), depth_below(), depth_above(),
 *		myep_nest_check_paths(), myep_nest_end()
 *   ready.c	myep_poll(): which mutexes a ->poll takes on its way down
 *
 * Three instances and a file. Three threads do at once what each likes: add an instance
 * to another, add the file to an instance, or take an instance out.
 *
 * Promises
 *   - There never is a cycle, nor a chain of more than LIMIT links.
 *   - There never are more than PATHS paths of one length up from the file, while
 *     nobody has nest_mutex. Not so after a DEL, which may make two paths of different
 *     lengths equally long; epoll has that, too.
 *   - No deadlock.
 *   - At rest, the number of watchers of each instance is that of the items.
 *
 * What is left out
 *   - Depth: chains of three instances have two links, so the limit is 1, or 2 where
 *     only cycles are refused. The searches are written out two levels deep. A third
 *     would be a cycle, which they have refused before.
 *   - What a search remembers of where it was (nest_seq). It saves work only.
 *   - A search reads one item at a time, except the paths, which it counts at once: no
 *     one but a DEL changes a path of one link or more while nest_mutex is held.
 *   - The index and ep->items as lists. Their locks are short and innermost, so that
 *     each access is one step.
 *   - The ready list: any item that is there may be polled.
 *   - Threads that are killed while they wait, quotas, memory that runs out.
 *
 * Run: -DLIMIT=1
 * Run: -DLIMIT=2
 */
#ifndef LIMIT
#define LIMIT	2
#endif

#define N	3
#define TOO_DEEP	(LIMIT + 1)
#define PATHS	1
#define edge(p, c)	((p) * N + (c))

/* Instance c is an item of p: in the index, and on p's list of items. */
bool indexed[N * N], linked[N * N];
/* So for the file. */
bool file_indexed[N], file_linked[N];

byte watchers[N];
bool mtx[N], nest_mutex;
bool deleted;

inline lock(l)
{
	atomic { !l -> l = true }
}

#define E(p, c)	indexed[edge(p, c)]

/* Paths of one and of two links from the file to an instance that nobody watches. */
#define watched(i)	(E(0, i) || E(1, i) || E(2, i))
#define up1(i, p)	(file_indexed[i] && E(p, i) && !watched(p) -> 1 : 0)
#define up2(i, p, q)	(file_indexed[i] && E(p, i) && E(q, p) && !watched(q) -> 1 : 0)
#define paths1	(up1(0, 1) + up1(0, 2) + up1(1, 0) + up1(1, 2) + up1(2, 0) + up1(2, 1))
#define paths2	(up2(0, 1, 2) + up2(0, 2, 1) + up2(1, 0, 2) + up2(1, 2, 0) + \
		 up2(2, 0, 1) + up2(2, 1, 0))
#define too_many_paths	(paths1 > PATHS || paths2 > PATHS)

#define cycle	(E(0, 1) && E(1, 0) || E(0, 2) && E(2, 0) || E(1, 2) && E(2, 1) || \
		 E(0, 1) && E(1, 2) && E(2, 0) || E(0, 2) && E(2, 1) && E(1, 0))
#define chain	(E(0, 1) && E(1, 2) || E(0, 2) && E(2, 1) || E(1, 0) && E(0, 2) || \
		 E(1, 2) && E(2, 0) || E(2, 0) && E(0, 1) || E(2, 1) && E(1, 0))

inline check_graph()
{
	assert(!cycle && (LIMIT == 2 || !chain))
}

inline unlock_nest_mutex()
{
	d_step {
		assert(deleted || !too_many_paths);
		nest_mutex = false
	}
}

/* depth_below(): sets below. */
inline search_below(child, parent)
{
	g = 0;
	do
	:: g < N ->
		h = N;
		if
		:: linked[edge(child, g)] ->
			below = (below < 1 -> 1 : below);
			below = (g == parent -> TOO_DEEP : below);
			h = 0
		:: else
		fi;
		do
		:: h < N ->
			if
			:: linked[edge(g, h)] ->
				below = (below < 2 -> 2 : below);
				below = (h == parent -> TOO_DEEP : below)
			:: else
			fi;
			h++
		:: else -> break
		od;
		g++
	:: else -> break
	od;
	g = 0;
	h = 0
}

/* depth_above(): sets above. */
inline search_above(parent)
{
	g = 0;
	do
	:: g < N ->
		h = N;
		if
		:: E(g, parent) ->
			above = (above < 1 -> 1 : above);
			h = 0
		:: else
		fi;
		do
		:: h < N ->
			if
			:: E(h, g) -> above = 2
			:: else
			fi;
			h++
		:: else -> break
		od;
		g++
	:: else -> break
	od;
	g = 0;
	h = 0
}

/* check_paths(): looks for the file in the child and below it; sets refused. */
inline check_paths(child)
{
	g = 0;
	do
	:: g < N ->
		if
		:: (g == child || linked[edge(child, g)]) && file_linked[g] ->
			refused = refused || too_many_paths
		:: else
		fi;
		h = (linked[edge(child, g)] -> 0 : N);
		do
		:: h < N ->
			if
			:: linked[edge(g, h)] && file_linked[h] ->
				refused = refused || too_many_paths
			:: else
			fi;
			h++
		:: else -> break
		od;
		g++
	:: else -> break
	od;
	g = 0;
	h = 0
}

/* Any item of an instance; N: none is polled. */
inline pick(ep, item)
{
	atomic {
		if
		:: linked[edge(ep, 0)] -> item = 0
		:: linked[edge(ep, 1)] -> item = 1
		:: linked[edge(ep, 2)] -> item = 2
		:: item = N
		fi
	}
}

/* myep_poll() of an instance, under the mtx of its parent. */
inline poll(child)
{
	lock(mtx[child]);
	pick(child, g);
	if
	:: g < N ->
		lock(mtx[g]);
		pick(g, h);
		if
		:: h < N ->
			lock(mtx[h]);
			mtx[h] = false
		:: else
		fi;
		mtx[g] = false
	:: else
	fi;
	mtx[child] = false;
	g = 0;
	h = 0
}

/* In the index no more, off the list, and no watcher. */
inline remove(p, c)
{
	d_step {
		indexed[edge(p, c)] = false;
		watchers[c]--
	}
	linked[edge(p, c)] = false
}

/* myep_nest_prepare() */
inline prepare(c)
{
#ifndef MISTAKE_raised_after_the_wait
	watchers[c]++;
#endif
#ifndef MISTAKE_no_barrier
	lock(mtx[c]);
	mtx[c] = false;
#endif
#ifdef MISTAKE_raised_after_the_wait
	watchers[c]++;
#endif
	skip
}

/* ctl_add() of instance c to p. */
inline add_instance()
{
#ifdef MISTAKE_prepared_under_the_mtx
	lock(mtx[p]);
	prepare(c);
#else
	prepare(c);
	lock(mtx[p]);
#endif
	if
	:: indexed[edge(p, c)] -> goto unlock	/* EEXIST, in effect */
	:: else
	fi;
#ifdef MISTAKE_polled_before_the_check
	poll(c);
#endif
#ifndef MISTAKE_no_global_mutex
	lock(nest_mutex);
#endif
	search_below(c, p);
#ifndef MISTAKE_depth_below_only
	search_above(p);
#endif
#ifdef MISTAKE_dropped_before_the_insert
	unlock_nest_mutex();
#endif
	refused = (below + 1 + above > LIMIT);
	below = 0;
	above = 0;
	if
	:: !refused ->
		d_step {
			indexed[edge(p, c)] = true;
			watchers[c]++;
			check_graph()
		}
#ifndef MISTAKE_linked_after_the_mutex
		linked[edge(p, c)] = true;
#endif
		check_paths(c);
		if
		:: refused -> remove(p, c)
		:: else
		fi
	:: else
	fi;
#ifndef MISTAKE_dropped_before_the_insert
	unlock_nest_mutex();
#endif
	if
	:: !refused ->
#ifdef MISTAKE_linked_after_the_mutex
		linked[edge(p, c)] = true;
#endif
#ifndef MISTAKE_polled_before_the_check
		poll(c)
#endif
	:: else
	fi;
	refused = false;
unlock:
	mtx[p] = false;
	watchers[c]--
}

/* ctl_add() of the file to p. */
inline add_file()
{
#ifdef MISTAKE_looked_before_the_mtx
	nest = watchers[p] > 0;
	lock(mtx[p]);
#else
	lock(mtx[p]);
	nest = watchers[p] > 0;
#endif
	if
	:: file_indexed[p]	/* EEXIST */
	:: !file_indexed[p] && nest ->
		lock(nest_mutex);
		file_indexed[p] = true;
		file_linked[p] = true;
		if
		:: too_many_paths ->
			file_indexed[p] = false;
			file_linked[p] = false
		:: else
		fi;
		unlock_nest_mutex()
	:: !file_indexed[p] && !nest ->
		file_indexed[p] = true;
		/* ->poll of the file, for as long as it likes */
		file_linked[p] = true
	fi;
	nest = false;
	mtx[p] = false
}

/* ctl_del() */
inline del_instance()
{
	lock(mtx[p]);
	if
	:: indexed[edge(p, c)] ->
		deleted = true;
		remove(p, c)
	:: else
	fi;
	mtx[p] = false
}

proctype Thread()
{
	bool refused, nest;
	byte p, c, g, h, below, above;

	atomic {
		if
		:: p = 0; c = 1
		:: p = 0; c = 2
		:: p = 1; c = 0
		:: p = 1; c = 2
		:: p = 2; c = 0
		:: p = 2; c = 1
		fi
	}
	if
	:: true -> add_instance()
	:: c == (p + 1) % N -> add_file()
	:: true -> del_instance()
	fi
}

init
{
	atomic {
		/* The file is in the first already, and that in the second; or nothing is. */
		if
		:: file_indexed[0] = true;
		   file_linked[0] = true;
		   indexed[edge(1, 0)] = true;
		   linked[edge(1, 0)] = true;
		   watchers[0] = 1
		:: true
		fi;
		run Thread();
		run Thread();
		run Thread()
	}
	timeout;
	assert(!mtx[0] && !mtx[1] && !mtx[2] && !nest_mutex);
	assert(watchers[0] == E(1, 0) + E(2, 0));
	assert(watchers[1] == E(0, 1) + E(2, 1));
	assert(watchers[2] == E(0, 2) + E(1, 2));
	assert(deleted || !too_many_paths)
}
