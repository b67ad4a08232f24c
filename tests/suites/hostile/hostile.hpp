// SPDX-License-Identifier: GPL-2.0
// What hostile callers are written with: calls through the chosen door that take
// any number for an address, memory of which part is not there, and an instance
// whose books must be the same after every refusal.
#pragma once

#include <cerrno>
#include <cstdint>
#include <random>
#include <string>
#include <vector>

#include <fcntl.h>

#include "uapi/myepoll.h"
#include "support.hpp"

using Address = std::uint64_t;

inline Address address_of(const void *p)
{
	return reinterpret_cast<std::uintptr_t>(p);
}

// Options: --seed=N, --seconds=S
unsigned chosen_seed();
milliseconds random_time();

int raw_ioctl(int fd, unsigned long number, Address argument);
int raw_fadvise(int fd, Address offset, std::uint64_t length, std::uint32_t advice);
// What it answers on an epoll file
constexpr int plain_fadvise(std::uint64_t length, std::uint32_t advice)
{
	return advice <= POSIX_FADV_NOREUSE && std::int64_t(length) >= 0 ? 0 : -EINVAL;
}

// The number of `number`'s call with an argument of another size
constexpr unsigned long sized(unsigned long number, std::size_t size)
{
	return (number & ~(static_cast<unsigned long>(_IOC_SIZEMASK) << _IOC_SIZESHIFT)) |
	       static_cast<unsigned long>(size) << _IOC_SIZESHIFT;
}

// CTL through the chosen door, with what it reads from memory at `where`: the
// event (fast) or the whole argument (ioctl), for which ctl_image() is meant.
int ctl_at(int epfd, int op, int fd, Address where);
std::vector<char> ctl_image(int op, int fd, std::uint32_t events, std::uint64_t data);
// WAIT through the chosen door into a buffer anywhere
int wait_at(int epfd, Address where, int max, int ms = 0);

// Addresses that are nobody's memory
std::vector<Address> nowhere();

// One page that can be used between two that cannot
class Island {
public:
	static constexpr std::size_t page = 4096;
	enum class Shore {
		no_access,	// PROT_NONE
		hole,		// not mapped
		read_only,
		past_the_end,	// of the mapped file
	};
	explicit Island(Shore shore = Shore::no_access);
	~Island();
	Island(const Island &) = delete;

	char *begin() const { return base_ + page; }
	char *end() const { return base_ + 2 * page; }

private:
	char *base_;
};
std::ostream &operator<<(std::ostream &, Island::Shore);
constexpr Island::Shore shores[] = { Island::Shore::no_access, Island::Shore::hole,
				     Island::Shore::read_only, Island::Shore::past_the_end };

// Many answers, without the price of a Catch2 assertion each
class Answers {
public:
	void expect(int got, int wanted, const char *what, Address a = 0, Address b = 0);
	void wrong(const std::string &text);
	// Has nothing been asked, or answered wrongly?
	std::string verdict() const;

private:
	long asked_ = 0, wrong_ = 0;
	std::string text_;
};

// An instance with a watch of every sort, most of them ready
class Books : public Tidy {
public:
	Books();

	int fd() const { return ep_.fd(); }
	const Instance &ep() const { return ep_; }
	int level() const { return level_; }	// a watched file, and its watch's data
	static constexpr std::uint64_t level_data = 1;
	std::size_t size() const { return expected_.size(); } // events of a wait

	// What differs from the beginning: in fdinfo, or in what a wait delivers.
	// Edge and one-shot watches are armed again.
	std::string changed() const;
	// Does the user's count stand at this instance's watches and `more`?
	std::string miscounted(int more = 0) const;
	// Of the events, in order
	const Events &expected() const { return expected_; }

private:
	void rearm() const;

	Instance ep_, inner_;
	Fd level_, idle_, alone_, edge_, once_, spent_, leaf_;
	Pair pair_;
	Events expected_;
	std::string fdinfo_;
	int charged_ = 0;
};
