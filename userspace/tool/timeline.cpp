// SPDX-License-Identifier: MIT
#include "timeline.hpp"

#include "instances.hpp"
#include "proc.hpp"

#include "../../uapi/myepoll.h"

#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <cstring>
#include <iterator>
#include <string_view>
#include <utility>

#include <sys/epoll.h>

namespace {

using tool::event, tool::point;

constexpr std::uint32_t et = 1u << 31, oneshot = 1u << 30;

constexpr std::string_view removed_by[] = { "DEL", "DROP", "closed", "instance closed" };
constexpr std::string_view woken[] = { "queued", "already queued", "not asked for" };

/* "EEXIST", of -EEXIST */
std::string error_name(int ret)
{
	const char *name = strerrorname_np(-ret);

	return name ? name : std::to_string(ret);
}

template <std::size_t n>
std::string_view one_of(const std::string_view (&names)[n], int i)
{
	return i >= 0 && static_cast<std::size_t>(i) < n ? names[i] : "?";
}

/* Without the mask of those that do not look at it */
bool has_mask(int op)
{
	return op == EPOLL_CTL_ADD || op == EPOLL_CTL_MOD || op == MYEPOLL_CTL_SET;
}

bool has_fd(int op)
{
	return op != MYEPOLL_CTL_DROP;
}

bool has_data(int op)
{
	return has_mask(op) || op == MYEPOLL_CTL_DROP;
}

bool stays(const event &e)
{
	return !(e.mask & (et | oneshot));
}

void tell(std::back_insert_iterator<std::string> out, const event &e, const tool::activity::meaning &meaning)
{
	switch (e.what) {
	case point::create:
		fmt::format_to(out, "create{}", e.adopted ? ", adopted" : "");
		break;
	case point::release:
		fmt::format_to(out, "closed: the instance is gone");
		break;
	case point::ctl:
		fmt::format_to(out, "{}", tool::op_text(e.op));
		if (has_fd(e.op))
			fmt::format_to(out, " fd {}", e.fd);
		if (has_mask(e.op))
			fmt::format_to(out, " {}", tool::mask_text(e.events));
		if (has_data(e.op))
			fmt::format_to(out, " token 0x{:x}", e.data);
		if (e.ret < 0)
			fmt::format_to(out, " fails: {}", error_name(e.ret));
		break;
	case point::wake:
		fmt::format_to(out, "wake fd {} {}, {}", e.fd,
			       e.events ? tool::mask_text(e.events) : "(it does not say why)", one_of(woken, e.how));
		if (e.waiter && e.how != 2)
			fmt::format_to(out, ", wakes thread {}", e.waiter);
		break;
	case point::deliver:
		fmt::format_to(out, "deliver fd {} {}{}", e.fd, tool::mask_text(e.events),
			       stays(e) ? ", stays" : e.mask & oneshot ? ", disabled" : "");
		if (meaning.since_wakeup)
			fmt::format_to(out, ", {} after the wakeup", tool::time_text(*meaning.since_wakeup));
		break;
	case point::not_ready:
		fmt::format_to(out, "not ready fd {}{}", e.fd, meaning.in_vain ? ", woken in vain" : "");
		break;
	case point::wait_enter:
		fmt::format_to(out, "wait, up to {} event{}, {}", e.maxevents, e.maxevents == 1 ? "" : "s",
			       e.timeout < 0 ? "for ever" : e.timeout ? tool::time_text(static_cast<std::uint64_t>(e.timeout)) :
									"only looks");
		break;
	case point::wait_exit:
		fmt::format_to(out, "wait returns {}", e.ret < 0 ? error_name(e.ret) : std::to_string(e.ret));
		break;
	case point::remove:
		fmt::format_to(out, "{}: fd {} removed", one_of(removed_by, e.how), e.fd);
		break;
	}
}

/* Names are the kernel's bytes, and JSON is UTF-8. */
void append(std::string &out, const nlohmann::ordered_json &object)
{
	out += object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
	out += '\n';
}

} // namespace

std::string tool::time_text(std::uint64_t ns)
{
	static constexpr std::pair<double, std::string_view> units[] = {
		{ 1e9, "s" }, { 1e6, "ms" }, { 1e3, "us" }
	};

	for (const auto &[unit, name] : units)
		if (static_cast<double>(ns) >= unit)
			return fmt::format("{:.4g} {}", static_cast<double>(ns) / unit, name);
	return fmt::format("{} ns", ns);
}

void tool::timeline::write(std::string &out, const event &e, const activity::meaning &meaning) const
{
	const users::user *user = users_.last(e.instance);
	const auto end = std::back_inserter(out);
	std::string who, where;

	/* A wakeup is nobody's call. */
	if (e.tgid)
		who = fmt::format("{}[{}]", printable(session_.command_of(e.tid)), e.tid);
	else if (user)
		who = printable(session_.command_of(user->pid));
	if (user && user->fd >= 0)
		where = fmt::format("epoll {} #{}", user->fd, e.instance);
	else
		where = fmt::format("epoll ? #{}", e.instance);
	fmt::format_to(end, "{:12.6f} {:<22} {:<14} ", (static_cast<double>(e.time) - static_cast<double>(start_)) / 1e9,
		       who, where);
	tell(end, e, meaning);
	out += '\n';
}

void tool::timeline::write(std::string &out, const loss &l) const
{
	fmt::format_to(std::back_inserter(out), "{:12.6f} --- {} event{} lost{} ---\n",
		       (static_cast<double>(l.time) - static_cast<double>(start_)) / 1e9, l.events,
		       l.events == 1 ? "" : "s", l.cpu < 0 ? "" : fmt::format(", on CPU {}", l.cpu));
}

void tool::timeline::write_json(std::string &out, const event &e, const activity::meaning &meaning) const
{
	const users::user *user = users_.last(e.instance);
	nlohmann::ordered_json object = { { "time", e.time }, { "event", name_of(e.what) },
					  { "cpu", e.cpu }, { "instance", e.instance } };

	object["epfd"] = user && user->fd >= 0 ? nlohmann::ordered_json(user->fd) : nlohmann::ordered_json();
	if (e.tgid) {
		object["pid"] = e.tgid;
		object["tid"] = e.tid;
		object["command"] = session_.command_of(e.tid);
	}
	switch (e.what) {
	case point::create:
		object["adopted"] = e.adopted;
		break;
	case point::release:
		break;
	case point::ctl:
		object["op"] = tool::op_text(e.op);
		if (has_fd(e.op))
			object["fd"] = e.fd;
		if (has_mask(e.op))
			object["mask"] = tool::mask_text(e.events);
		if (has_data(e.op))
			object["token"] = e.data;
		object["ret"] = e.ret;
		break;
	case point::wake:
		object["fd"] = e.fd;
		object["token"] = e.data;
		object["key"] = e.events ? tool::mask_text(e.events) : "";
		object["what"] = one_of(woken, e.how);
		object["wakes"] = e.waiter && e.how != 2 ? nlohmann::ordered_json(e.waiter) : nlohmann::ordered_json();
		break;
	case point::deliver:
	case point::not_ready:
		object["fd"] = e.fd;
		object["token"] = e.data;
		object["mask"] = tool::mask_text(e.mask);
		if (e.what == point::not_ready) {
			object["in_vain"] = meaning.in_vain;
			break;
		}
		object["events"] = tool::mask_text(e.events);
		object["stays"] = stays(e);
		object["since_wakeup"] = meaning.since_wakeup ? nlohmann::ordered_json(*meaning.since_wakeup) :
								nlohmann::ordered_json();
		break;
	case point::wait_enter:
		object["maxevents"] = e.maxevents;
		object["timeout"] = e.timeout < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(e.timeout);
		break;
	case point::wait_exit:
		object["ret"] = e.ret;
		break;
	case point::remove:
		object["fd"] = e.fd;
		object["by"] = one_of(removed_by, e.how);
		break;
	}
	append(out, object);
}

void tool::timeline::write_json(std::string &out, const loss &l) const
{
	append(out, { { "time", l.time }, { "event", "lost" }, { "cpu", l.cpu < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(l.cpu) },
		      { "lost", l.events } });
}
