// SPDX-License-Identifier: GPL-2.0
// A sequence of operations as data: what the generator makes, the twins execute,
// the shrinker cuts and a case file holds.
//
// Operations name slots. Slot N is the file descriptor slot_base + N, whatever
// was opened there, so that a sequence means the same after some of it has been
// taken out. Slots from `slots` on are numbers where nothing can be open.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <sys/epoll.h>

enum class Code : std::uint8_t {
	// what makes descriptors
	create, foreign, eventfd, pipe, fifo, pair, tcp, listener, connect, accept, udp, pty,
	timerfd, signalfd, pidfd, inotify, plain,
	dup, close,
	// what is compared
	ctl, wait, change, turn, poll, fdinfo, params, misc,
	// what makes things happen
	write, read, fill, drain, shutdown, oob, timer, raise, touch,
	fork, kill, reap, send, recv, waiter, interrupt,
	count
};

constexpr unsigned slots = 24;
constexpr unsigned odd_slots = 4; // -1, closed, AT_FDCWD, INT_MAX
constexpr int slot_base = 10;
constexpr unsigned max_args = 7;
constexpr unsigned max_changes = 40; // of a turn; further ones are forgotten

// The bits that an ADD with EPOLLEXCLUSIVE takes
constexpr std::uint32_t exclusive_bits = EPOLLIN | EPOLLOUT | EPOLLERR | EPOLLHUP | EPOLLWAKEUP |
					 EPOLLET | EPOLLEXCLUSIVE;

struct Op {
	Code code;
	std::uint32_t a[max_args];
	bool operator==(const Op &) const = default;
};

using Sequence = std::vector<Op>;

// The arguments by name; the names of the text form, see op.cpp
namespace arg {
enum { slot = 0 };
enum create { create_slot, create_flags, create_door };
enum ctl { ctl_ep, ctl_op, ctl_fd, ctl_events, ctl_data, ctl_ptr, ctl_door };
// Changes are collected, and made by the next turn.
enum change { change_op, change_fd, change_events, change_data };
enum turn { turn_ep, turn_max, turn_timeout, turn_stop, turn_mask, turn_door };
enum wait { wait_ep, wait_form, wait_max, wait_timeout, wait_buf, wait_mask, wait_door };
enum waiter { waiter_n, waiter_ep, waiter_max, waiter_door };
enum fork { fork_close, fork_act, fork_ep, fork_fd, fork_events, fork_stay, fork_door };
}

namespace is {
// The last two epoll does not have: beyond.cpp has something stand in for them.
enum op : std::uint32_t { add, mod, del, zero, four, minus, set, drop, disable, ops, usual_ops = drop };
enum ptr : std::uint32_t { ptr_ok, ptr_null, ptr_none, ptr_straddle, ptr_kernel, ptr_readonly, ptrs };
enum form : std::uint32_t { plain, pwait, pwait2, forms };
enum timeout : std::uint32_t { now, ms, forever, least, most, timeouts };
enum buf : std::uint32_t { buf_ok, buf_null, buf_none, buf_readonly, buf_kernel, buf_unaligned, buf_half, buf_room0, bufs = buf_room0 + 8 };
// The last two make a turn of a call: of one change behind some that fail, or of a wait
enum door : std::uint32_t { ioctl, fast, adopt, turn, fast_turn, doors };
enum act : std::uint32_t { nothing, act_add, act_mod, act_del, act_write, act_read, act_wait, acts };
enum pair : std::uint32_t { stream, dgram, seqpacket };
enum fifo : std::uint32_t { rdwr, rdonly, wronly };
enum plain : std::uint32_t { file, dir, null, memfd, opath, mounts, device, plains };
enum timer : std::uint32_t { disarm, past, far };
enum misc : std::uint32_t {
	lseek, getfl, setfl, getfd, fstat, ftruncate, mmap, unknown_ioctl, fionbio, fsync, pread, fallocate,
	 pipe_size, lowat, linger, getdents, miscs
};
}

// The argument that says by which door an operation goes to an instance of myepoll, where
// it has one. To create, "fast" is as "ioctl".
std::uint32_t *door_in(Op &op);

// The number of an operation of ctl
int operation(std::uint32_t op);

// The number behind a slot
int fd_of(std::uint32_t slot);

// One operation a line: "ctl ep=0 op=add fd=5 events=in|et data=7 ptr=ok door=fast"
std::string to_text(const Op &op);
std::string to_text(const Sequence &sequence);
// Throws std::runtime_error with what is wrong. # starts a comment.
Sequence from_text(const std::string &text);

std::string errno_text(int result);
std::string events_text(std::uint32_t events);

// Ways to make an argument simpler, most drastic first: for the shrinker
std::vector<Op> simpler(const Op &op);
