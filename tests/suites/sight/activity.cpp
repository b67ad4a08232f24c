// SPDX-License-Identifier: GPL-2.0
/*
 * What the tool counts (userspace/tool/activity.hpp), by events that are made up.
 */
#include "catch.hpp"

#include "userspace/tool/activity.hpp"

#include <cerrno>

using tool::activity, tool::event, tool::histogram, tool::point;

namespace {

constexpr pid_t process = 100;

struct made {
	activity what;
	std::uint64_t time = 1000;

	activity::meaning add(event e, std::uint64_t after = 10)
	{
		e.time = time += after;
		e.instance = e.instance ? e.instance : 1;
		if (e.what != point::wake)
			e.tgid = e.tgid ? e.tgid : process;
		return what.add(e);
	}
	activity::meaning wake(int fd, int how = 0) { return add({ .what = point::wake, .fd = fd, .how = how }); }
	activity::meaning deliver(int fd, std::uint64_t after = 10)
	{
		return add({ .what = point::deliver, .fd = fd }, after);
	}
	activity::meaning not_ready(int fd) { return add({ .what = point::not_ready, .fd = fd }); }
	void remove(int fd) { add({ .what = point::remove, .fd = fd }); }
	const tool::counts &now() { return what.instances().at(1).now; }
};

} // namespace

TEST_CASE("activity: a delivery has the time since the first wakeup")
{
	made m;

	m.wake(5);
	m.wake(5, 1);
	CHECK(m.deliver(5, 300).since_wakeup == 310u);
	/* It stays, and is delivered again without one. */
	CHECK_FALSE(m.deliver(5).since_wakeup);
	m.wake(5, 1);
	CHECK(m.deliver(5, 70).since_wakeup == 70u);
	CHECK(m.now().wakeups == 3);
	CHECK(m.now().latency.count() == 2);
}

TEST_CASE("activity: a wakeup is in vain if the next scan finds nothing")
{
	made m;

	m.wake(5);
	CHECK_FALSE(m.deliver(5).in_vain);
	CHECK_FALSE(m.not_ready(5).in_vain); /* the end of a level-triggered series */
	m.wake(5);
	m.wake(5, 1);
	CHECK(m.not_ready(5).in_vain);
	CHECK_FALSE(m.not_ready(5).in_vain);
	CHECK(m.now().in_vain == 1);
}

TEST_CASE("activity: what the mask does not ask for is no wakeup")
{
	made m;

	m.wake(5, 2);
	CHECK(m.now().wakeups == 0);
	CHECK_FALSE(m.not_ready(5).in_vain);
	m.wake(5, 2);
	CHECK_FALSE(m.deliver(5).since_wakeup);
}

TEST_CASE("activity: watches are told apart")
{
	made m;

	m.wake(5);
	CHECK_FALSE(m.deliver(6).since_wakeup);
	CHECK(m.deliver(5).since_wakeup);
	m.wake(5);
	CHECK_FALSE(m.add({ .what = point::deliver, .instance = 2, .fd = 5 }).since_wakeup);
	CHECK(m.deliver(5).since_wakeup);
}

TEST_CASE("activity: a watch that is removed takes its wakeup along")
{
	made m;

	m.wake(5);
	m.remove(5);
	CHECK_FALSE(m.deliver(5).since_wakeup);
}

TEST_CASE("activity: waits, events and changes")
{
	made m;

	for (const int ret : { 3, 0, 1, -EINTR }) {
		m.add({ .what = point::wait_enter });
		m.add({ .what = point::wait_exit, .ret = ret });
	}
	m.add({ .what = point::ctl });
	m.add({ .what = point::ctl, .ret = -EEXIST });
	CHECK(m.now().waits == 4);
	CHECK(m.now().events == 4);
	CHECK(m.now().empty == 2);
	CHECK(m.now().changes == 2);
	m.what.begin_interval();
	CHECK(m.now().waits == 0);
	CHECK(m.now().changes == 0);
}

TEST_CASE("activity: an interval's end does not forget a wakeup")
{
	made m;

	m.wake(5);
	m.what.begin_interval();
	CHECK(m.deliver(5).since_wakeup == 10u);
}

TEST_CASE("activity: who calls")
{
	made m;

	m.wake(5);
	CHECK(m.what.instances().at(1).user == 0);
	m.add({ .what = point::wait_enter });
	CHECK(m.what.instances().at(1).user == process);
	CHECK_FALSE(m.what.instances().at(1).shared);
	m.add({ .what = point::wait_enter, .tgid = 200 });
	CHECK(m.what.instances().at(1).user == 200);
	CHECK(m.what.instances().at(1).shared);
}

TEST_CASE("activity: after a loss no wakeup is believed")
{
	made m;

	m.wake(5);
	m.what.lost();
	CHECK_FALSE(m.deliver(5).since_wakeup);
	m.wake(5);
	m.what.lost();
	CHECK_FALSE(m.not_ready(5).in_vain);
	m.wake(5);
	m.what.lost();
	m.wake(5);
	CHECK(m.deliver(5).since_wakeup == 10u);
}

TEST_CASE("activity: what is gone is forgotten")
{
	made m;

	for (std::uint32_t i = 1; i <= 100000; i++) {
		m.add({ .what = point::create, .instance = i });
		for (int fd = 0; fd < 3; fd++) {
			m.add({ .what = point::wake, .instance = i, .fd = fd });
			m.add({ .what = point::deliver, .instance = i, .fd = fd });
		}
		m.add({ .what = point::wake, .instance = i, .fd = 7 });
		m.add({ .what = point::release, .instance = i });
		m.add({ .what = point::remove, .instance = i, .fd = 7 });
		if (i % 1000)
			continue;
		CHECK(m.what.instances().size() == 1000);
		m.what.begin_interval();
		CHECK(m.what.instances().empty());
	}
	/* Connections that come and go */
	for (int i = 0; i < 1000000; i++) {
		m.wake(i);
		if (i % 2)
			m.deliver(i);
		m.remove(i);
	}
	CHECK(m.what.watches() == 0);
	/* The end of which was lost */
	m.what.forget(m.time);
	CHECK(m.what.instances().size() == 1);
	m.what.forget(m.time + 1);
	CHECK(m.what.instances().empty());
}

TEST_CASE("activity: percentiles, to 4 percent")
{
	histogram h;

	CHECK(h.percentile(50) == 0);
	for (std::uint64_t i = 1; i <= 1000; i++)
		h.add(i * 1000);
	CHECK(h.count() == 1000);
	CHECK(h.percentile(50) == Approx(500e3).epsilon(0.04));
	CHECK(h.percentile(99) == Approx(990e3).epsilon(0.04));
	CHECK(h.percentile(100) == Approx(1000e3).epsilon(0.04));

	histogram other;

	for (int i = 0; i < 9000; i++)
		other.add(7);
	h.add(other);
	CHECK(h.percentile(50) == 7);
	CHECK(h.percentile(99.9) == Approx(990e3).epsilon(0.04));
	h.clear();
	CHECK(h.percentile(50) == 0);
	for (std::uint64_t one : { std::uint64_t(0), UINT64_MAX, std::uint64_t(1) << 63 })
		h.add(one);
	CHECK(h.percentile(1) == 0);
	CHECK(static_cast<double>(h.percentile(100)) == Approx(1.8e19).epsilon(0.04));
}
