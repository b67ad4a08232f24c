// SPDX-License-Identifier: GPL-2.0
// Memory that is not there yet, by userfaultfd, and calls that stand still for it
#pragma once

#include <cstdint>
#include <memory>
#include <stdexcept>

#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "support.hpp"

// A page that is not there until fill(): whoever touches it stands still.
class MissingPage {
public:
	static constexpr std::size_t size = 4096;

	MissingPage() : page_(map()), content_(map())
	{
		uffdio_api api{};
		uffdio_register area{};

		uffd_ = Fd(must_libc(syscall(SYS_userfaultfd, O_CLOEXEC | O_NONBLOCK), "userfaultfd"));
		api.api = UFFD_API;
		must_libc(ioctl(uffd_, UFFDIO_API, &api), "UFFDIO_API");
		area.range = { number(page_), size };
		area.mode = UFFDIO_REGISTER_MODE_MISSING;
		must_libc(ioctl(uffd_, UFFDIO_REGISTER, &area), "UFFDIO_REGISTER");
	}
	MissingPage(const MissingPage &) = delete;
	~MissingPage()
	{
		uffd_.reset(); // who stands still goes on
		munmap(page_, size);
		munmap(content_, size);
	}

	void *at() const { return page_; }
	// What fill() is going to fill it with; zeros otherwise
	char *content() const { return static_cast<char *>(content_); }
	bool touched_within(int ms) const
	{
		pollfd fault{ uffd_, POLLIN, 0 };
		return poll(&fault, 1, ms) == 1;
	}
	// The page is there, and who waits for it goes on.
	void fill()
	{
		uffdio_copy copy{};

		copy.dst = number(page_);
		copy.src = number(content_);
		copy.len = size;
		must_libc(ioctl(uffd_, UFFDIO_COPY, &copy), "UFFDIO_COPY");
	}
	// Who waits for it goes on, and will never find it.
	void go()
	{
		uffdio_range range{ number(page_), size };

		mmap(page_, size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
		ioctl(uffd_, UFFDIO_WAKE, &range);
	}

private:
	static std::uint64_t number(const void *p) { return reinterpret_cast<std::uintptr_t>(p); }
	static void *map()
	{
		void *p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
		must_libc(p == MAP_FAILED ? -1 : 0, "mmap");
		return p;
	}

	void *page_, *content_;
	Fd uffd_;
};

// A harvest that has polled what it found and cannot write the first event: the
// page of its buffer is missing until let_go(). It holds the instance's mutex
// meanwhile, and nothing that spins.
class StuckHarvest {
public:
	// At least one file has to be ready. Returns when the harvest is stuck.
	explicit StuckHarvest(const Instance &ep, int max = 64)
	{
		harvest_ = std::make_unique<Blocked>([this, fd = ep.fd(), max] {
			return be().wait(fd, static_cast<epoll_event *>(page_.at()), max, 0);
		});
		if (!page_.touched_within(patience_ms)) {
			let_go();
			throw std::runtime_error("the harvest did not come to its first event");
		}
	}
	StuckHarvest(const StuckHarvest &) = delete;
	~StuckHarvest()
	{
		if (harvest_)
			let_go();
	}
	Events let_go()
	{
		Events events;

		page_.fill();
		int n = harvest_->result();
		harvest_.reset();
		for (int i = 0; i < n; i++) {
			const epoll_event &e = static_cast<epoll_event *>(page_.at())[i];
			events.push_back({ e.events, e.data.u64 });
		}
		return events;
	}

private:
	MissingPage page_;
	std::unique_ptr<Blocked> harvest_;
};
