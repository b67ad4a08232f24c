// SPDX-License-Identifier: GPL-2.0
/*
 * walk.c - over the items of an instance, one after the other
 *
 * For list.c, which holds ep->mtx, and for nesting.c, which holds nest_mutex and must
 * not wait for that mtx. Items may come and go during a walk, and each step drops
 * ep->wq.lock, so a walk marks its place by an entry of its own in ep->items. Each of
 * the two has one in the instance, which no one else takes for an item.
 */
#include "internal.h"

/* Is that no item's link, but where a walk stands? */
static bool is_place(const struct myep *ep, const struct list_head *entry)
{
	return entry >= ep->places && entry < ep->places + ARRAY_SIZE(ep->places);
}

/* Done with the file where the walk stands. */
static void leave(struct myep_walk *walk)
{
	struct file *file = walk->file;

	walk->file = NULL;
	if (file && unlikely(myep_file_drop(file)))
		myep_file_dropped(walk->holder, file);
}

/**
 * myep_walk_start - walk over the items of an instance
 * @walk: on the stack, until myep_walk_end()
 * @ep: the instance. Somebody holds its file, so that it is not released.
 * @by: whose walk it is: which lock the caller holds
 * @holder: the instance whose mtx the caller holds. It closes the files that the walk
 *	    has come to hold alone: myep_close_dropped().
 */
void myep_walk_start(struct myep_walk *walk, struct myep *ep,
		     enum myep_walker by, struct myep *holder)
{
	walk->ep = ep;
	walk->place = &ep->places[by];
	walk->holder = holder;
	walk->file = NULL;
	spin_lock_irq(&ep->wq.lock);
	list_add(walk->place, &ep->items);
	spin_unlock_irq(&ep->wq.lock);
}

/**
 * myep_walk_next - the next item
 * @walk: the walk
 * @skip: which items to pass over, called under ep->wq.lock; or NULL
 *
 * Items whose file is closing are passed over too.
 *
 * Return: the item, or NULL at the end. Its file, walk->file, stays until the next
 * step. So does the item where the caller holds the mtx of its instance; elsewhere
 * a DEL may free it at once.
 */
struct myep_item *myep_walk_next(struct myep_walk *walk,
				 bool (*skip)(const struct myep_item *item))
{
	struct myep *ep = walk->ep;
	struct myep_item *found = NULL;
	unsigned int passed = 0;

	leave(walk);

	spin_lock_irq(&ep->wq.lock);
	while (!list_is_last(walk->place, &ep->items)) {
		struct list_head *entry = walk->place->next;
		struct myep_item *item = list_entry(entry, struct myep_item, ep_link);

		list_move(walk->place, entry);
		if (!is_place(ep, entry) && !(skip && skip(item)) &&
		    myep_file_tryget(item->file)) {
			walk->file = item->file;
			found = item;
			break;
		}
		/* Any number can be passed over, and interrupts are off. */
		if (++passed % 64 == 0) {
			spin_unlock_irq(&ep->wq.lock);
			cond_resched();
			spin_lock_irq(&ep->wq.lock);
		}
	}
	spin_unlock_irq(&ep->wq.lock);
	return found;
}

/* Before a sleep: the file where the walk stands is not held any more. */
void myep_walk_rest(struct myep_walk *walk)
{
	leave(walk);
}

/* The end, before or after the last item. */
void myep_walk_end(struct myep_walk *walk)
{
	spin_lock_irq(&walk->ep->wq.lock);
	list_del(walk->place);
	spin_unlock_irq(&walk->ep->wq.lock);

	leave(walk);
}
