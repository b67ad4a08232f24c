// SPDX-License-Identifier: MIT
#include "activity.hpp"

#include <bit>
#include <cmath>

namespace {

/* Of a wake, event::how */
enum { queued, again, ignored };

} // namespace

std::size_t tool::histogram::step_of(std::uint64_t ns) noexcept
{
	constexpr std::uint64_t steps_each = 1u << step_bits;

	if (ns < steps_each)
		return ns;

	const unsigned shift = static_cast<unsigned>(std::bit_width(ns)) - step_bits - 1;

	return ((shift + 1) << step_bits) + ((ns >> shift) - steps_each);
}

std::uint64_t tool::histogram::middle_of(std::size_t step) noexcept
{
	constexpr std::uint64_t steps_each = 1u << step_bits;

	if (step < steps_each)
		return step;

	const unsigned shift = static_cast<unsigned>(step >> step_bits) - 1;
	const std::uint64_t start = (steps_each + (step & (steps_each - 1))) << shift;

	return start + ((std::uint64_t(1) << shift) >> 1);
}

void tool::histogram::add(std::uint64_t ns)
{
	if (!steps_)
		steps_ = std::make_unique<steps>();
	(*steps_)[step_of(ns)]++;
	count_++;
}

void tool::histogram::add(const histogram &other)
{
	if (!other.count_)
		return;
	if (!steps_)
		steps_ = std::make_unique<steps>();
	for (std::size_t i = 0; i < steps_->size(); i++)
		(*steps_)[i] += (*other.steps_)[i];
	count_ += other.count_;
}

void tool::histogram::clear() noexcept
{
	if (count_)
		steps_->fill(0);
	count_ = 0;
}

std::uint64_t tool::histogram::percentile(double percent) const
{
	if (!count_)
		return 0;

	const auto rank = static_cast<std::uint64_t>(std::ceil(static_cast<double>(count_) * percent / 100));
	std::uint64_t seen = 0;

	for (std::size_t i = 0; i < steps_->size(); i++) {
		seen += (*steps_)[i];
		if (seen >= rank && seen)
			return middle_of(i);
	}
	return 0;
}

tool::counts &tool::counts::operator+=(const counts &other)
{
	waits += other.waits;
	empty += other.empty;
	events += other.events;
	wakeups += other.wakeups;
	in_vain += other.in_vain;
	changes += other.changes;
	latency.add(other.latency);
	return *this;
}

tool::activity::meaning tool::activity::add(const event &e)
{
	meaning result;

	/* Watches of an instance that is gone follow it, and so may calls that still run. */
	if (e.what == point::release || e.what == point::remove) {
		const auto at = instances_.find(e.instance);

		if (at == instances_.end())
			return result;
		at->second.last = e.time;
		if (e.what == point::remove) {
			at->second.watches.erase(e.fd);
		} else {
			at->second.gone = true;
			at->second.watches.clear();
		}
		return result;
	}

	instance &one = instances_[e.instance];

	one.last = e.time;
	if (e.tgid && e.tgid != one.user) {
		one.shared = one.user != 0;
		one.user = e.tgid;
	}

	switch (e.what) {
	case point::create:
		one.gone = false;
		break;
	case point::ctl:
		one.now.changes++;
		break;
	case point::wait_exit:
		one.now.waits++;
		if (e.ret > 0)
			one.now.events += static_cast<std::uint64_t>(e.ret);
		else
			one.now.empty++;
		break;
	case point::wake: {
		if (e.how == ignored)
			break;
		one.now.wakeups++;
		if (one.gone)
			break;

		instance::watch &w = one.watches[e.fd];

		if (!w.woken || w.era != era_)
			w = { e.time, era_ };
		break;
	}
	case point::deliver:
	case point::not_ready: {
		const auto at = one.watches.find(e.fd);

		if (at == one.watches.end())
			break;
		if (at->second.woken && at->second.era == era_) {
			if (e.what == point::not_ready) {
				result.in_vain = true;
				one.now.in_vain++;
			} else {
				result.since_wakeup = e.time - at->second.woken;
				one.now.latency.add(*result.since_wakeup);
			}
		}
		one.watches.erase(at);
		break;
	}
	default:
		break;
	}
	return result;
}

void tool::activity::begin_interval()
{
	for (auto at = instances_.begin(); at != instances_.end();) {
		counts &now = at->second.now;

		if (at->second.gone) {
			at = instances_.erase(at);
			continue;
		}
		now.waits = now.empty = now.events = now.wakeups = now.in_vain = now.changes = 0;
		now.latency.clear();
		at->second.shared = false;
		++at;
	}
}

void tool::activity::forget(std::uint64_t before)
{
	std::erase_if(instances_, [before](const auto &one) { return one.second.last < before; });
}

std::size_t tool::activity::watches() const noexcept
{
	std::size_t sum = 0;

	for (const auto &one : instances_)
		sum += one.second.watches.size();
	return sum;
}
