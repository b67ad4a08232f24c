// SPDX-License-Identifier: MIT
/*
 * The limits come first. Each is a count, or a rate over the whole time. None is about a
 * single slow moment: on a busy machine a sound program has many of these.
 */
#include "diagnosis.hpp"

#include "../../uapi/myepoll.h"

#include <fmt/core.h>

#include <algorithm>
#include <bit>
#include <cmath>

#include <sys/epoll.h>

namespace {

/* The tracepoint's "what" of a wake */
enum { queued, again, ignored };

/*
 * Deliveries on end of a level-triggered watch, without a sign that anything was consumed.
 * A sound program has them, too, while it works off what has gathered. That ends: a listening
 * socket holds up to 4096 connections, a TCP socket up to 6 MB, which is 6000 reads of
 * a kilobyte. A spinning loop comes to 10000 in less than a second.
 */
constexpr double spin_limit = 10000;
/* A wakeup brings more to read: 64 kB at most, as 64 reads of a kilobyte. */
constexpr double deliveries_of_a_wake = 64;
/*
 * With HUP or ERR nothing comes any more, and programs close what they are told this of when
 * they have read the rest. A buffer of the usual size (128 kB) is 128 reads.
 */
constexpr double gone_limit = 1000;

/*
 * Waits that only look, return nothing, and follow each other. asyncio and node have them
 * while something is to be called; a chain of a hundred without one event is rare, and then
 * there is work between them: see work_factor.
 */
constexpr std::uint64_t polls_on_end = 100;
constexpr std::uint64_t polls_limit = 5000;
/*
 * Who waits for a timer with a timeout rounded down has such a chain of less than a
 * millisecond at the end of each timeout, and of many waits: each takes some microseconds. An
 * asyncio task that is woken by a timer takes some few turns of the loop.
 */
constexpr std::uint64_t early_on_end = 20;
constexpr std::uint64_t early_runs_limit = 10;
constexpr std::uint64_t millisecond = 1000000;
constexpr std::uint64_t before_timer = 2 * millisecond;
/*
 * The time between two waits that only look, as a multiple of what such a wait takes inside the
 * kernel. Back to back it is the way in and out, some four times as much. An interpreter's
 * turn is 50 times as much and more. Both are medians, so being interrupted does not count.
 */
constexpr double work_factor = 16;

/* A ghost is one if it is seen so often, and for so long, and nothing was changed between. */
constexpr unsigned ghost_times = 3;
constexpr std::uint64_t ghost_time = 1000 * millisecond;

/*
 * Threads woken in vain. Below 100, a program may just have begun; and at least one for two
 * events, since some few are woken in vain by any sharing of work.
 */
constexpr std::uint64_t vain_limit = 100;
constexpr double vain_share = 0.5;
/* Deliveries of the same to two threads: as many, and a tenth of all. */
constexpr double twice_share = 0.1;

/*
 * Of workers that share a source exclusively, the share of one. Of 100 events, two workers that
 * are chosen by chance get more than 75 once in ten million times; and workers that take turns
 * now and then (nginx) stay below it.
 */
constexpr std::uint64_t uneven_events = 100;
constexpr double uneven_share = 0.75;

/* Changes that change nothing: some are made where a program begins. */
constexpr std::uint64_t same_limit = 100;
constexpr double same_share = 0.05;

/* Changes of watches that are there already. As many may be made for a thousand connections. */
constexpr std::uint64_t mods_limit = 1000;
constexpr double mods_a_wait = 2;

/*
 * Waits that were full and left something ready: most of all waits, so that it is no peak.
 * With room for 16 events, one event costs within a fifth of what it costs at best.
 */
constexpr std::uint64_t full_limit = 1000;
constexpr double full_share = 0.5;
constexpr int small_room = 16;

/* Edge-triggered, MOD to the same mask, and it is ready at once: half of the times. */
constexpr std::uint64_t left_limit = 20;
constexpr double left_share = 0.5;

/*
 * A one-shot watch that has fired is not armed again, its source has called since, and no
 * thread is at work. Whoever works on it for three seconds has a thread outside of waits.
 */
constexpr std::uint64_t unheard_time = 3000 * millisecond;

/*
 * Something is ready, and no thread waits. Two seconds are long for a loop. Whether it is the
 * loop that is slow, or the machine, its thread says: asleep in another call at both ends of
 * a second, or a second of CPU used.
 */
constexpr std::uint64_t stuck_time = 2000 * millisecond;
constexpr std::uint64_t stuck_look = 1000 * millisecond;
constexpr std::uint64_t stuck_cpu = 1000 * millisecond;

constexpr std::uint32_t always = EPOLLERR | EPOLLHUP;
constexpr std::uint32_t input_events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLRDNORM | EPOLLRDBAND;
constexpr std::uint32_t output_events = EPOLLOUT | EPOLLWRNORM | EPOLLWRBAND;

double seconds(std::uint64_t ns)
{
	return static_cast<double>(ns) / 1e9;
}

/* Counts of long runs as people write them */
std::string grouped(double n)
{
	const std::string digits = fmt::format("{:.0f}", n);
	std::string text;

	for (std::size_t i = 0; i < digits.size(); i++) {
		if (i && (digits.size() - i) % 3 == 0)
			text += ',';
		text += digits[i];
	}
	return text;
}

std::string rate(double n, double time)
{
	const double a_second = time > 0 ? n / time : n;

	return a_second < 10 ? fmt::format("{:.1f}", a_second) : grouped(a_second);
}

/* A line of the trace. Not all points: those that are quoted. */
std::string line_of(const tool::event &e, std::uint64_t start)
{
	const std::string head = fmt::format("{:12.6f}  {:<10} instance {}  fd {}  ",
					     seconds(e.time - std::min(e.time, start)), name_of(e.what),
					     e.instance, e.fd);

	switch (e.what) {
	case tool::point::wake:
		return head + fmt::format("{}  {}{}", e.events ? tool::mask_text(e.events) : "(any)",
					  e.how == queued ? "queued" :
					  e.how == again  ? "again" :
							    "ignored",
					  e.waiter ? fmt::format(", wakes thread {}", e.waiter) : "");
	case tool::point::ctl:
		return head + fmt::format("{} {} by thread {}", tool::op_text(e.op), tool::mask_text(e.events), e.tid);
	default:
		return head + fmt::format("{}  to thread {}, mask {}", tool::mask_text(e.events), e.tid,
					  tool::mask_text(e.mask));
	}
}

/* "fd 7, tcp 127.0.0.1:80 listening" */
std::string name_fd(int fd, const std::string &what)
{
	return what.empty() ? fmt::format("fd {}", fd) : fmt::format("fd {}, {}", fd, what);
}

bool is_level(std::uint32_t mask)
{
	return !(mask & (EPOLLET | EPOLLONESHOT));
}

bool is_listener(const std::string &what)
{
	return what.find("listening") != std::string::npos;
}

tool::finding about(const tool::diagnosis::instance_state &i, std::uint32_t number, const char *id,
		    tool::severity level)
{
	tool::finding f;

	f.id = id;
	f.level = level;
	f.pid = i.tgid ? i.tgid : i.pid;
	f.command = i.command;
	f.instance = number;
	f.epfd = i.epfd;
	return f;
}

void name_watch(tool::finding &f, const tool::diagnosis::instance_state &i, int fd)
{
	const auto w = i.watches.find(fd);

	f.fd = fd;
	if (w != i.watches.end())
		f.what = w->second.what;
}

} // namespace

const std::vector<tool::complaint> &tool::complaints()
{
	static const std::vector<complaint> all = {
		{ "spin", "events delivered again and again, and not consumed (HUP, ERR, input, EPOLLOUT)", false },
		{ "empty-waits", "waits with timeout 0 that return nothing, in a loop", false },
		{ "early-waits", "timeouts rounded down, so that the loop spins before each timer", false },
		{ "ghost", "watches that outlived their descriptor", false },
		{ "herd", "threads and workers woken in vain for what another one takes", false },
		{ "uneven", "one worker that gets most of what several share exclusively", true },
		{ "same-change", "changes that change nothing", false },
		{ "many-changes", "more than two changes of watches for each wait", false },
		{ "small-room", "waits with room for few events, while more are ready", false },
		{ "not-drained", "edge-triggered watches whose file was not read to its end", false },
		{ "not-rearmed", "one-shot watches that fired and were not armed again", true },
		{ "stuck", "events that nobody fetches for seconds, since the loop is stuck", true },
	};

	return all;
}

void tool::diagnosis::histogram::add(std::uint64_t ns)
{
	of[ns ? static_cast<std::size_t>(std::bit_width(ns) - 1) : 0]++;
}

/* The middle of the class that has it; 0 without any. */
double tool::diagnosis::histogram::median() const
{
	std::uint64_t sum = 0, up_to = 0;

	for (const auto n : of)
		sum += n;
	if (!sum)
		return 0;
	for (std::size_t i = 0; i < of.size(); i++) {
		up_to += of[i];
		if (2 * up_to >= sum)
			return std::ldexp(1.5, static_cast<int>(i));
	}
	return 0;
}

bool tool::diagnosis::judged(const instance_state &i) const
{
	return only_.empty() || only_.contains(i.tgid) || only_.contains(i.pid);
}

tool::diagnosis::instance_state &tool::diagnosis::of(const event &e)
{
	instance_state &i = instances_[e.instance];

	/* Of a close it may be anyone. */
	if (e.tgid && (e.what == point::create || e.what == point::wait_enter ||
		       (!i.tgid && e.what != point::remove && e.what != point::release)))
		i.tgid = e.tgid;
	return i;
}

void tool::diagnosis::take(const event &e)
{
	/*
	 * A source calls all who watch it under a spinlock: on this CPU nothing else
	 * happens between.
	 */
	if (e.what != point::wake) {
		const auto open = bursts_.find(e.cpu);

		if (open != bursts_.end() && !open->second.wakes.empty())
			close_burst(open->second);
	}

	instance_state &i = of(e);

	i.events++;
	switch (e.what) {
	case point::create:
		i.epfd = e.fd;
		break;
	case point::release:
		i.watches.clear();
		i.pending = 0;
		break;
	case point::ctl:
		take_ctl(i, e);
		break;
	case point::wake:
		take_wake(i, e);
		break;
	case point::deliver:
		take_delivery(i, e);
		break;
	case point::not_ready:
		take_not_ready(i, e);
		break;
	case point::wait_enter: {
		thread_state &t = i.threads[e.tid];

		i.last_tid = e.tid;
		if (t.left && e.timeout == 0 && t.empty)
			i.outside.add(e.time - t.left);
		if (e.timeout != 0)
			end_empty(i, t, e.time);
		t.waiting = true;
		t.entered = e.time;
		t.timeout = e.timeout;
		t.maxevents = e.maxevents;
		break;
	}
	case point::wait_exit:
		take_exit(i, e);
		break;
	case point::remove: {
		const auto w = i.watches.find(e.fd);
		const auto ghost = i.ghosts.find(e.fd);

		if (w != i.watches.end()) {
			not_pending(i, w->second);
			i.watches.erase(w);
		}
		if (ghost != i.ghosts.end() && ghost->second.times < ghost_times)
			i.ghosts.erase(ghost);
		break;
	}
	}
}

void tool::diagnosis::not_pending(instance_state &i, watch_state &w)
{
	if (w.pending)
		i.pending--;
	w.pending = false;
}

void tool::diagnosis::close_burst(burst &b)
{
	std::vector<watch_state *> watches;

	for (const event &e : b.wakes)
		watches.push_back(&instances_[e.instance].watches[e.fd]);

	const std::string &file = watches.front()->file;

	/* Where it is not known yet that they are the same file, they are not. */
	if (!file.empty()) {
		file_state &f = files_[file];
		std::uint64_t woken = 0;

		f.what = watches.front()->what;
		for (std::size_t n = 0; n < watches.size(); n++)
			woken += watches[n]->file == file && b.wakes[n].how == queued && b.wakes[n].waiter;
		f.wakes++;
		f.woken += woken;
		if (woken > 1) {
			if (f.example.empty())
				f.example = { b.wakes.begin(), b.wakes.begin() + 2 };
			for (std::size_t n = 0; n < watches.size(); n++)
				if (watches[n]->file == file) {
					f.together.insert(b.wakes[n].instance);
					watches[n]->woken_with_others = b.wakes[n].how == queued &&
									b.wakes[n].waiter;
				}
		}
	}
	b.wakes.clear();
}

void tool::diagnosis::take_wake(instance_state &i, const event &e)
{
	burst &b = bursts_[e.cpu];
	const auto same_watch = [&e](const event &other) {
		return other.instance == e.instance && other.fd == e.fd;
	};

	if (!b.wakes.empty() && (b.key != e.events || std::any_of(b.wakes.begin(), b.wakes.end(), same_watch)))
		close_burst(b);
	b.key = e.events;
	b.wakes.push_back(e);

	watch_state &w = i.watches[e.fd];

	w.called = e;
	if (e.how == ignored) {
		/* What a one-shot watch would have been for. Not its own DISABLE. */
		if (w.fired && (e.events & input_events)) {
			if (!w.unheard++)
				w.unheard_since = e.time;
		}
		return;
	}
	if (!e.events || (e.events & ~output_events)) {
		w.input = std::max(0.0, w.input - deliveries_of_a_wake);
		w.gone = std::max(0.0, w.gone - deliveries_of_a_wake);
	}
	if (!e.events || (e.events & output_events))
		w.output = std::max(0.0, w.output - deliveries_of_a_wake);
	w.woken = true;
	w.rearmed = false;
	if (!w.pending) {
		w.pending = true;
		w.pending_since = e.time;
		i.pending++;
	}
}

void tool::diagnosis::note_spin(instance_state &i, const event &e, int sort, double deliveries,
				std::uint64_t since)
{
	auto [at, fresh] = i.spins.try_emplace({ e.fd, sort });
	spin_record &r = at->second;

	if (fresh || static_cast<double>(r.deliveries) <= deliveries)
		r = { static_cast<std::uint64_t>(deliveries), since, e.time, e };
}

void tool::diagnosis::take_delivery(instance_state &i, const event &e)
{
	watch_state &w = i.watches[e.fd];
	const bool consumed_since = w.woken;
	const auto ghost = i.ghosts.find(e.fd);

	i.deliveries++;
	i.last_harvest = e.time;
	w.deliveries++;
	not_pending(i, w);

	if (is_level(e.mask)) {
		const bool gone = e.events & always;
		const auto count = [&](bool yes, double &n, std::uint64_t &since, double limit, int sort) {
			if (!yes) {
				n = 0;
				return;
			}
			if (n++ <= 0)
				since = e.time;
			if (n >= limit)
				note_spin(i, e, sort, n, since);
		};

		count(gone, w.gone, w.input_since, gone_limit, 2);
		count(!gone && (e.events & ~output_events), w.input, w.input_since, spin_limit, 0);
		count(!gone && (e.events & output_events), w.output, w.output_since, spin_limit, 1);

		/* Who got it is still at it, and nothing is new. */
		if (w.last_tid && w.last_tid != e.tid && !consumed_since && !i.threads[w.last_tid].waiting)
			w.twice++;
	} else if (e.mask & EPOLLONESHOT) {
		w.fired = e.time;
		w.unheard = 0;
	} else if (w.rearmed && (e.events & w.delivered.events & input_events)) {
		w.left++;
	}
	if (e.mask & EPOLLEXCLUSIVE && !w.file.empty())
		files_[w.file].exclusive[e.instance]++;
	if (w.woken_with_others && !w.file.empty())
		files_[w.file].useful++;
	if (ghost != i.ghosts.end() && ghost->second.seen.data == e.data)
		ghost->second.deliveries++;
	w.woken_with_others = false;
	w.woken = false;
	w.rearmed = false;
	w.last_tid = e.tid;
	w.delivered = e;
}

void tool::diagnosis::take_not_ready(instance_state &i, const event &e)
{
	watch_state &w = i.watches[e.fd];

	i.last_harvest = e.time;
	not_pending(i, w);
	/* So all was consumed. */
	w.input = w.output = w.gone = 0;
	if (w.woken_with_others && !w.file.empty())
		files_[w.file].vain++;
	w.woken_with_others = false;
	w.rearmed = false;
	w.last_tid = 0;
}

void tool::diagnosis::take_ctl(instance_state &i, const event &e)
{
	i.changes++;
	if (e.ret)
		return;

	watch_state &w = i.watches[e.fd];
	const std::uint32_t mask = e.events | always;

	switch (e.op) {
	case EPOLL_CTL_ADD:
		/* A ghost may have the number, too. What is left of it is not this one's. */
		not_pending(i, w);
		w = {};
		if (const auto ghost = i.ghosts.find(e.fd);
		    ghost != i.ghosts.end() && ghost->second.times < ghost_times)
			i.ghosts.erase(ghost);
		break;
	case EPOLL_CTL_MOD:
	case MYEPOLL_CTL_SET:
		i.mods++;
		if (w.mask && *w.mask == mask && w.data == e.data) {
			if (mask & EPOLLONESHOT ? !w.fired : is_level(mask)) {
				i.same++;
				i.same_fd = e.fd;
			} else if (mask & EPOLLET && !(mask & EPOLLONESHOT)) {
				w.rearms++;
				w.rearmed = !w.woken;
			}
		}
		if (!(mask & output_events))
			w.output = 0;
		break;
	default:
		return; /* DEL: remove follows */
	}
	w.mask = mask;
	w.data = e.data;
	w.fired = 0;
	w.unheard = 0;
}

/* A chain of waits that return nothing is over. Under what name does it count? */
void tool::diagnosis::end_empty(instance_state &i, thread_state &t, std::uint64_t now)
{
	const std::uint64_t took = now - t.empty_since;

	if (t.timed_out && t.empty >= early_on_end && took <= before_timer) {
		i.early += t.empty;
		i.early_runs++;
	} else if (t.empty >= polls_on_end) {
		i.polls += t.empty;
		i.poll_time += took;
	}
	t.empty = 0;
}

void tool::diagnosis::take_exit(instance_state &i, const event &e)
{
	thread_state &t = i.threads[e.tid];

	i.waits++;
	i.last_tid = e.tid;
	/* Of a wait that began before all this, nothing is known. */
	if (t.waiting) {
		if (e.ret == 0 && t.timeout == 0) {
			if (!t.empty++)
				t.empty_since = t.entered;
			i.inside.add(e.time - t.entered);
		} else {
			if (t.timeout == 0)
				end_empty(i, t, e.time);
			t.timed_out = e.ret == 0;
		}
		if (e.ret > 0 && e.ret == t.maxevents && i.pending) {
			i.full++;
			i.full_with = e.ret;
		}
	}
	t.waiting = false;
	t.left = e.time;
}

void tool::diagnosis::gap(std::uint64_t n)
{
	lost_ += n;
	bursts_.clear();
	for (auto &[number, i] : instances_) {
		for (auto &[fd, w] : i.watches) {
			not_pending(i, w);
			w.input = w.output = w.gone = 0;
			w.woken = true;
			w.rearmed = w.woken_with_others = false;
			w.mask.reset();
			w.last_tid = 0;
			w.fired = 0;
		}
		for (auto &[tid, t] : i.threads) {
			t.waiting = t.timed_out = false;
			t.empty = 0;
			t.left = 0;
		}
	}
}

void tool::diagnosis::know(std::uint64_t time, const std::vector<instance> &all, const identity &file)
{
	for (const instance &one : all) {
		const bool ours = one.ours && one.number;
		instance_state &i = ours ? instances_[*one.number] : foreign_[{ one.pid, one.fd }];
		std::set<int> ghosts;

		if (!i.tgid)
			i.tgid = one.pid;
		i.pid = one.pid;
		i.epfd = one.fd;
		i.command = one.command;
		i.options = one.options;
		for (const watch &seen : one.watches) {
			if (seen.ghost) {
				auto [at, fresh] = i.ghosts.try_emplace(seen.fd);
				ghost_record &g = at->second;

				if (fresh || g.seen.data != seen.data || g.seen.events != seen.events)
					g = { seen, time, time, 0, 0 };
				g.last = time;
				g.times++;
				ghosts.insert(seen.fd);
				continue;
			}

			watch_state &w = i.watches[seen.fd];

			w.what = seen.what;
			w.file = file(seen.pid ? seen.pid : one.pid, seen.fd);
			if (!w.mask && !seen.fired.value_or(false) && !seen.disabled.value_or(false)) {
				w.mask = seen.events | always;
				w.data = seen.data;
			}
			if (seen.fired.value_or(false) && !w.fired)
				w.fired = time;
		}
		std::erase_if(i.ghosts, [&](const auto &g) {
			return !ghosts.contains(g.first) && g.second.times < ghost_times;
		});
	}
}

/* What has been ready for so long at @time that the loop may be stuck */
std::optional<std::pair<int, std::uint64_t>> tool::diagnosis::kept_waiting(const instance_state &i,
									   std::uint64_t time) const
{
	std::optional<std::pair<int, std::uint64_t>> longest;
	std::uint64_t left = 0;

	if (!i.pending)
		return {};
	for (const auto &[tid, t] : i.threads) {
		if (t.waiting)
			return {};
		left = std::max(left, t.left);
	}
	for (const auto &[fd, w] : i.watches) {
		/* Where somebody slept, it is up to him, and the scheduler. */
		if (!w.pending || (i.threads.empty() && w.called.waiter))
			continue;

		const std::uint64_t since = std::max(w.pending_since, left);

		if (since + stuck_time <= time && (!longest || since < longest->second))
			longest = { fd, since };
	}
	return longest;
}

std::vector<pid_t> tool::diagnosis::suspects(std::uint64_t time) const
{
	std::set<pid_t> tids;

	for (const auto &[number, i] : instances_)
		/* The first look a second before it can count. */
		if (judged(i) && kept_waiting(i, time + stuck_look))
			tids.insert(i.last_tid ? i.last_tid : i.tgid);
	return { tids.begin(), tids.end() };
}

void tool::diagnosis::look(const thread_look &thread)
{
	auto &looks = looks_[thread.tid];

	looks.push_back(thread);
	/* The first, for the time between, and the last. */
	if (looks.size() > 16)
		looks.erase(looks.begin() + 1);
}

void tool::diagnosis::conclude_spins(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
				     std::uint64_t start) const
{
	static constexpr struct {
		const char *title, *advice;
	} sorts[] = {
		{ "input is delivered again and again, and nobody reads it",
		  "Read the descriptor until it has no more (EAGAIN), accept() if it listens; or take "
		  "it off the interest list (EPOLL_CTL_DEL) while you do not want to." },
		{ "EPOLLOUT is left on, so each wait returns at once",
		  "Ask for EPOLLOUT only after a write() that returned EAGAIN, and take it out again "
		  "(EPOLL_CTL_MOD) when all is written." },
		{ "a hang-up or error is delivered again and again, and the descriptor is kept",
		  "EPOLLHUP and EPOLLERR cannot be masked: read what is left, and close() the "
		  "descriptor, or take it off the interest list (EPOLL_CTL_DEL)." },
	};

	for (int sort = 0; sort < 3; sort++) {
		const spin_record *worst = nullptr;
		unsigned others = 0;

		for (const auto &[key, r] : i.spins)
			if (key.second == sort) {
				others++;
				if (!worst || r.deliveries > worst->deliveries)
					worst = &r;
			}
		if (!worst)
			continue;

		finding f = about(i, n, "spin", severity::fault);
		const double time = seconds(worst->until - worst->since);

		f.title = sorts[sort].title;
		name_watch(f, i, worst->last.fd);
		f.evidence.push_back(fmt::format("{}: delivered {} times in {:.1f} s, {} each time, and never "
						 "found drained between",
						 name_fd(f.fd, f.what), grouped(static_cast<double>(worst->deliveries)),
						 time, mask_text(worst->last.events)));
		if (others > 1)
			f.evidence.push_back(fmt::format("and {} more descriptors of this instance", others - 1));
		f.evidence.push_back(line_of(worst->last, start));
		f.cost = fmt::format("{} waits a second that bring nothing new: the thread never sleeps",
				     rate(static_cast<double>(worst->deliveries), time));
		f.advice = sorts[sort].advice;
		to.push_back(std::move(f));
	}
}

void tool::diagnosis::conclude_waits(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
				     double time) const
{
	const double inside = i.inside.median(), outside = i.outside.median();
	std::uint64_t polls = i.polls, poll_time = i.poll_time;

	/* One that goes on is no less of one. */
	for (const auto &[tid, t] : i.threads)
		if (t.empty >= polls_on_end && (!t.timed_out || t.left > t.empty_since + before_timer)) {
			polls += t.empty;
			poll_time += std::max(t.left, t.empty_since) - t.empty_since;
		}

	const bool works = outside > work_factor * inside;
	const std::string between = fmt::format("between two of them {:.1f} us, inside {:.1f} us (medians): "
						"nothing else is done",
						outside / 1000, inside / 1000);

	if (polls >= polls_limit && !works) {
		finding f = about(i, n, "empty-waits", severity::fault);

		f.title = "waits with timeout 0 that return nothing, in a loop";
		f.evidence.push_back(fmt::format("{} such waits in {:.1f} s, at least {} of them on end",
						 grouped(static_cast<double>(polls)), seconds(poll_time),
						 polls_on_end));
		f.evidence.push_back(between);
		f.cost = fmt::format("{} waits a second, {:.0f} % of the time a CPU is kept busy for nothing",
				     rate(static_cast<double>(polls), time),
				     std::min(100.0, 100 * seconds(poll_time) / time));
		f.advice = "Give epoll_wait() the time until the next timer, or -1 if there is none.";
		to.push_back(std::move(f));
	}
	if (i.early_runs >= early_runs_limit && !works) {
		finding f = about(i, n, "early-waits", severity::warning);

		f.title = "timeouts are rounded down, so the loop spins before each timer";
		f.evidence.push_back(fmt::format("{} times a wait ended with its timeout, and {:.0f} waits with "
						 "timeout 0 followed that returned nothing",
						 i.early_runs,
						 static_cast<double>(i.early) / static_cast<double>(i.early_runs)));
		f.evidence.push_back(between);
		f.cost = fmt::format("{} waits a second for nothing", rate(static_cast<double>(i.early), time));
		f.advice = "Round the time that is left up to the next millisecond, or use epoll_pwait2(), "
			   "which takes nanoseconds.";
		to.push_back(std::move(f));
	}
}

void tool::diagnosis::conclude_changes(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
				       double time) const
{
	const double waits = static_cast<double>(i.waits), mods = static_cast<double>(i.mods);
	const double same = static_cast<double>(i.same);

	if (i.same >= same_limit && same > same_share * (waits + static_cast<double>(i.changes))) {
		finding f = about(i, n, "same-change", severity::advice);

		f.title = "changes that change nothing";
		name_watch(f, i, i.same_fd);
		f.evidence.push_back(fmt::format("{} of {} changes by MOD were to the mask and token that the "
						 "watch had; the last on {}",
						 grouped(same), grouped(mods), name_fd(f.fd, f.what)));
		f.cost = fmt::format("{} system calls a second for nothing", rate(same, time));
		f.advice = "Remember the mask of each descriptor, and call epoll_ctl(EPOLL_CTL_MOD) only "
			   "when it differs.";
		to.push_back(std::move(f));
	}
	if (i.mods >= mods_limit && i.waits && mods > mods_a_wait * waits) {
		finding f = about(i, n, "many-changes", severity::advice);
		const double each = mods / waits;
		/*
		 * docs/performance.md, Linux 6.12, "turn: arm N, wait for N", by the fast door
		 * and in one call: 1270 and 1187 instructions for one, 52444 and 28596 for 64. So
		 * a change costs 812 by itself and 372 less in a turn; a wait 460, a turn 290 more.
		 */
		const double saves = 100 * (372 * each - 290) / (812 * each + 460);

		f.title = fmt::format("{:.1f} changes of watches for each wait", each);
		f.evidence.push_back(fmt::format("{} changes by MOD, and {} waits, which brought {} events",
						 grouped(mods), grouped(waits),
						 grouped(static_cast<double>(i.deliveries))));
		f.cost = fmt::format("{} system calls a second for changes alone", rate(mods, time));
		f.advice = fmt::format("Collect the changes, and make them with the wait in one call, TURN "
				       "(myepoll_turn(3)). It would save about {:.0f} % of the instructions of "
				       "these calls: an estimate from the counts above and the measured rows "
				       "\"turn: arm N, wait for N\" of docs/performance.md, Linux 6.12.",
				       saves);
		to.push_back(std::move(f));
	}
	if (i.full >= full_limit && i.full_with < small_room && i.threads.size() == 1 &&
	    static_cast<double>(i.full) > full_share * waits) {
		finding f = about(i, n, "small-room", severity::advice);
		/* docs/performance.md, Linux 6.12, fast door: "wait, N ready, eventfd", by event */
		static constexpr std::pair<int, int> costs[] = { { 1, 555 }, { 2, 410 }, { 4, 252 }, { 8, 173 } };
		int now = costs[0].second;

		for (const auto &[room, cost] : costs)
			if (i.full_with >= room)
				now = cost;
		f.title = fmt::format("waits with room for {} event{}, while more are ready", i.full_with,
				      i.full_with == 1 ? "" : "s");
		f.evidence.push_back(fmt::format("{} of {} waits were full and left something ready",
						 grouped(static_cast<double>(i.full)), grouped(waits)));
		f.cost = fmt::format("{} waits a second more than are needed; an event costs about {} instructions "
				     "instead of 113 (docs/performance.md, Linux 6.12, \"wait, N ready, eventfd\")",
				     rate(static_cast<double>(i.full), time), now);
		f.advice = "Give epoll_wait() an array of 64 events, and their number as maxevents.";
		to.push_back(std::move(f));
	}
}

void tool::diagnosis::conclude_watches(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
				       std::uint64_t start, std::uint64_t end) const
{
	const double time = seconds(end - start);
	const watch_state *left = nullptr, *twice = nullptr, *unheard = nullptr;
	int left_fd = -1, twice_fd = -1, unheard_fd = -1, unheards = 0;
	bool idle = !i.threads.empty();

	for (const auto &[tid, t] : i.threads)
		idle = idle && t.waiting;
	for (const auto &[fd, w] : i.watches) {
		if (w.left >= left_limit &&
		    static_cast<double>(w.left) >= left_share * static_cast<double>(w.rearms) &&
		    (!left || w.left > left->left))
			left = &w, left_fd = fd;
		if (w.twice >= vain_limit &&
		    static_cast<double>(w.twice) >= twice_share * static_cast<double>(w.deliveries) &&
		    (!twice || w.twice > twice->twice))
			twice = &w, twice_fd = fd;
		if (idle && w.fired && w.unheard && w.fired + unheard_time <= end &&
		    w.unheard_since + unheard_time / 3 <= end) {
			unheards++;
			if (!unheard || w.fired < unheard->fired)
				unheard = &w, unheard_fd = fd;
		}
	}
	if (left) {
		finding f = about(i, n, "not-drained", severity::warning);

		f.title = "an edge-triggered descriptor is not read to its end";
		name_watch(f, i, left_fd);
		f.evidence.push_back(fmt::format("{}: {} of {} times that MOD armed it anew with the same mask, it was "
						 "ready at once, without a wakeup: something had been left",
						 name_fd(f.fd, f.what), left->left, left->rearms));
		f.evidence.push_back(line_of(left->delivered, start));
		f.cost = fmt::format("{} changes and waits a second; and where the MOD is forgotten, what was left "
				     "lies there until more comes",
				     rate(static_cast<double>(left->left), time));
		f.advice = "Call read() or recv() until it returns EAGAIN; or watch it without EPOLLET.";
		to.push_back(std::move(f));
	}
	if (twice) {
		finding f = about(i, n, "herd", severity::warning);

		f.title = "threads that wait on one instance get the same event";
		name_watch(f, i, twice_fd);
		f.evidence.push_back(fmt::format("{}: {} of {} deliveries were of what another thread had got and was "
						 "still at",
						 name_fd(f.fd, f.what), grouped(static_cast<double>(twice->twice)),
						 grouped(static_cast<double>(twice->deliveries))));
		f.evidence.push_back(line_of(twice->delivered, start));
		f.cost = fmt::format("{} threads a second woken in vain",
				     rate(static_cast<double>(twice->twice), time));
		f.advice = "Watch it with EPOLLONESHOT, and arm it by EPOLL_CTL_MOD when the thread is done; or "
			   "with EPOLLET.";
		to.push_back(std::move(f));
	}
	if (unheard && !lost_) {
		finding f = about(i, n, "not-rearmed", severity::warning);

		f.title = "a one-shot watch has fired, and was not armed again";
		name_watch(f, i, unheard_fd);
		f.evidence.push_back(fmt::format("{}: it fired {:.1f} s before the end; its source has called {} time{} "
						 "since, and nobody was told. All threads of the loop are asleep in "
						 "their wait",
						 name_fd(f.fd, f.what), seconds(end - unheard->fired),
						 unheard->unheard, unheard->unheard == 1 ? "" : "s"));
		if (unheards > 1)
			f.evidence.push_back(fmt::format("and {} more descriptors of this instance", unheards - 1));
		if (unheard->delivered.time)
			f.evidence.push_back(line_of(unheard->delivered, start));
		f.evidence.push_back(line_of(unheard->called, start));
		f.cost = "who is on its other end waits for an answer that does not come";
		f.advice = "After the event of a watch with EPOLLONESHOT is handled, on each path also in case of "
			   "an error, arm it by EPOLL_CTL_MOD, or close the descriptor.";
		to.push_back(std::move(f));
	}
}

void tool::diagnosis::conclude_stuck(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
				     std::uint64_t start, std::uint64_t end) const
{
	const auto kept = kept_waiting(i, end);
	const pid_t tid = i.last_tid ? i.last_tid : i.tgid;
	const auto looks = looks_.find(tid);

	if (!kept || lost_ || looks == looks_.end())
		return;

	const thread_look *first = nullptr;
	const thread_look &last = looks->second.back();
	bool asleep = true;

	for (const thread_look &look : looks->second) {
		if (look.time < kept->second)
			continue;
		if (!first)
			first = &look;
		asleep = asleep && (look.state == 'S' || look.state == 'D');
	}
	if (!first || last.time < first->time + stuck_look || (!asleep && last.cpu < first->cpu + stuck_cpu))
		return;

	finding f = about(i, n, "stuck", severity::fault);
	const watch_state &w = i.watches.at(kept->first);

	f.title = asleep ? "the loop is stuck: its thread sleeps in another call, while events are ready" :
			   "the loop is stuck: its thread computes, while events are ready";
	name_watch(f, i, kept->first);
	f.evidence.push_back(fmt::format("{}: ready since {:.1f} s, and no thread of the loop has waited for it",
					 name_fd(f.fd, f.what), seconds(end - kept->second)));
	f.evidence.push_back(line_of(w.called, start));
	f.evidence.push_back(fmt::format("thread {}{}: {}{}", tid,
					 last.command.empty() ? "" : fmt::format(" ({})", last.command),
					 asleep ? "asleep" :
						  fmt::format("{:.1f} s of CPU used in {:.1f} s",
							      seconds(last.cpu - first->cpu),
							      seconds(last.time - first->time)),
					 last.call.empty() ? "" : ", in " + last.call));
	for (const std::string &line : last.stack)
		f.evidence.push_back("    " + line);
	f.cost = fmt::format("whatever {} descriptor{} of this loop brought waits for {:.1f} s, and longer", i.pending,
			     i.pending == 1 ? "" : "s", seconds(end - kept->second));
	f.advice = asleep ? "Do not call in the loop's thread what can block: make the descriptor O_NONBLOCK, or give "
			    "the work to another thread." :
			    "Give long work to another thread, or cut it into parts and wait between them.";
	to.push_back(std::move(f));
}

void tool::diagnosis::conclude_ghosts(std::vector<finding> &to, std::uint32_t n, const instance_state &i,
				      double time) const
{
	const ghost_record *worst = nullptr;
	unsigned all = 0;

	for (const auto &[fd, g] : i.ghosts) {
		if (g.times < ghost_times || g.last < g.first + ghost_time)
			continue;
		all++;
		if (!worst || g.deliveries > worst->deliveries)
			worst = &g;
	}
	if (!worst)
		return;

	finding f = about(i, n, "ghost", worst->deliveries ? severity::fault : severity::warning);

	f.title = "a watch has outlived its descriptor";
	f.fd = worst->seen.fd;
	f.what = worst->seen.what;
	f.evidence.push_back(fmt::format("fd {} ({}): it is closed, or another file by now, and still watched for {} "
					 "with the token {:#x}; seen for {:.1f} s",
					 f.fd, f.what.empty() ? "not known" : f.what, mask_text(worst->seen.events),
					 worst->seen.data, seconds(worst->last - worst->first)));
	if (worst->deliveries)
		f.evidence.push_back(fmt::format("{} events were delivered for it",
						 grouped(static_cast<double>(worst->deliveries))));
	if (all > 1)
		f.evidence.push_back(fmt::format("and {} more of them in this instance", all - 1));
	f.cost = worst->deliveries ?
			 fmt::format("{} events a second for a descriptor that the program has closed",
				     rate(static_cast<double>(worst->deliveries), time)) :
			 "memory, and events with an old token once the file has something to say";
	f.advice = "The file is open elsewhere, after dup() or in a child process. Call epoll_ctl(EPOLL_CTL_DEL) "
		   "before close(). DROP (myepoll_ctl(3)) removes a ghost by its token.";
	to.push_back(std::move(f));
}

void tool::diagnosis::conclude_files(std::vector<finding> &to, std::uint64_t start, std::uint64_t end) const
{
	const double time = seconds(end - start);

	for (const auto &[file, state] : files_) {
		std::vector<std::uint32_t> workers;
		bool turns = false;
		int fd = -1;

		for (const auto &[number, i] : instances_)
			for (const auto &[at, w] : i.watches)
				if (w.file == file && judged(i)) {
					workers.push_back(number);
					fd = at;
					turns = turns || i.options.find("fair") != std::string::npos ||
						i.options.find("balance") != std::string::npos;
					break;
				}
		if (workers.size() < 2)
			continue;

		const instance_state &first = instances_.at(workers.front());
		/* A connection calls once, and is for one. */
		const bool listener = is_listener(state.what);
		const std::uint64_t vain = listener ? state.woken - std::min(state.woken, state.wakes) : state.vain;
		const std::uint64_t good = listener ? state.wakes : state.useful;

		if (state.together.size() > 1 && vain >= vain_limit &&
		    static_cast<double>(vain) >= vain_share * static_cast<double>(good)) {
			finding f = about(first, 0, "herd", severity::warning);

			f.title = "workers are woken in vain for what another one takes";
			f.fd = fd;
			f.what = state.what;
			f.evidence.push_back(fmt::format("{}, watched by {} instances: {} calls woke {} threads, {} more "
							 "than had something to do",
							 name_fd(fd, state.what), workers.size(),
							 grouped(static_cast<double>(state.wakes)),
							 grouped(static_cast<double>(state.woken)),
							 grouped(static_cast<double>(vain))));
			for (const event &e : state.example)
				f.evidence.push_back(line_of(e, start));
			f.cost = fmt::format("{} threads a second woken in vain", rate(static_cast<double>(vain), time));
			f.advice = listener ? "Add the listening socket with EPOLLEXCLUSIVE; or start the program by "
					      "\"myepoll run --balance\", which wakes one worker for a connection, each "
					      "in turn." :
					      "Add it with EPOLLEXCLUSIVE, so that one of them is woken.";
			to.push_back(std::move(f));
		}

		std::uint64_t sum = 0, most = 0;
		std::uint32_t busiest = 0;

		for (const auto &[number, n] : state.exclusive) {
			sum += n;
			if (n > most)
				most = n, busiest = number;
		}
		if (!turns && !lost_ && sum >= uneven_events &&
		    static_cast<double>(most) > uneven_share * static_cast<double>(sum)) {
			const instance_state &i = instances_.at(busiest);
			finding f = about(i, busiest, "uneven", severity::advice);

			f.title = "one worker gets most of what several share";
			f.fd = fd;
			f.what = state.what;
			f.evidence.push_back(fmt::format("{}, watched exclusively by {} instances: {} of {} events went "
							 "to this one",
							 name_fd(fd, state.what), workers.size(),
							 grouped(static_cast<double>(most)),
							 grouped(static_cast<double>(sum))));
			f.cost = fmt::format("{:.0f} % of the events for one of {} workers; {:.0f} % would be even",
					     100 * static_cast<double>(most) / static_cast<double>(sum), workers.size(),
					     100.0 / static_cast<double>(workers.size()));
			f.advice = "Epoll wakes the same worker first each time. Start the program by \"myepoll run "
				   "--balance\", or set MYEPOLL_OPT_BALANCE, and each has its turn.";
			to.push_back(std::move(f));
		}
	}
}

std::vector<tool::finding> tool::diagnosis::conclude(std::uint64_t start, std::uint64_t end) const
{
	const double time = std::max(seconds(end - std::min(start, end)), 0.001);
	std::vector<finding> all;

	for (const auto &[number, i] : instances_) {
		if (!judged(i))
			continue;
		conclude_spins(all, number, i, start);
		conclude_waits(all, number, i, time);
		conclude_changes(all, number, i, time);
		conclude_watches(all, number, i, start, end);
		conclude_stuck(all, number, i, start, end);
		conclude_ghosts(all, number, i, time);
	}
	for (const auto &[key, i] : foreign_)
		if (judged(i))
			conclude_ghosts(all, 0, i, time);
	conclude_files(all, start, end);

	std::stable_sort(all.begin(), all.end(),
			 [](const finding &a, const finding &b) { return a.level > b.level; });
	return all;
}

tool::diagnosis::totals tool::diagnosis::sum() const
{
	totals t = { .lost = lost_ };

	for (const auto &[number, i] : instances_) {
		if (!judged(i))
			continue;
		t.events += i.events;
		t.waits += i.waits;
		t.deliveries += i.deliveries;
		t.changes += i.changes;
		t.instances += i.waits || i.changes || i.deliveries;
	}
	return t;
}
