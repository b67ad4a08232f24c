// SPDX-License-Identifier: MIT
#include "listing.hpp"

#include "tool.hpp"

#include <nlohmann/json.hpp>

#include <algorithm>

#include <sys/epoll.h>

namespace {

using nlohmann::ordered_json;

/* "1 watch", "2 watches" */
std::string count(std::size_t n, const char *word, const char *ending = "s")
{
	return fmt::format("{} {}{}", n, word, n == 1 ? "" : ending);
}

/* Each watch has ERR and HUP, so they tell nothing. */
std::string shown_mask(std::uint32_t events)
{
	constexpr std::uint32_t always = EPOLLERR | EPOLLHUP;

	return tool::mask_text(events & ~always ? events & ~always : events);
}

std::string state_of(const tool::watch &w)
{
	std::string text;

	for (const auto &[is, name] : { std::pair(w.ghost, "ghost"), { w.disabled.value_or(false), "disabled" },
					{ w.fired.value_or(false), "fired" }, { w.ready.value_or(false), "ready" } })
		if (is)
			text += fmt::format("{}{}", text.empty() ? "" : ",", name);
	/* What has fired is not ready. */
	if (text.empty())
		text = w.ready ? "-" : "?";
	return text;
}

std::string headline(const tool::instance &one)
{
	std::string text = fmt::format("{}[{}] descriptor {}: ", one.command, one.pid, one.fd);

	if (!one.ours)
		text += "[eventpoll]";
	else if (one.number)
		text += fmt::format("[myepoll] {}", *one.number);
	else
		text += "[myepoll], number not known";
	if (one.adopted.value_or(false))
		text += ", adopted";
	if (!one.options.empty())
		text += ", " + one.options;
	return text + ", " + count(one.watches.size(), "watch", "es");
}

void print_watches(tool::output &out, const std::vector<tool::watch> &all, pid_t of, bool colours)
{
	struct row {
		const tool::watch *watch;
		std::string mask, state;
	};
	constexpr std::string_view fd_title = "FD", mask_title = "MASK", state_title = "STATE";
	std::vector<row> rows;
	std::size_t fd_width = fd_title.size();
	std::size_t mask_width = mask_title.size(), state_width = state_title.size();

	rows.reserve(all.size());
	for (const tool::watch &w : all) {
		rows.push_back({ &w, shown_mask(w.events), state_of(w) });
		fd_width = std::max(fd_width, fmt::formatted_size("{}", w.fd));
		mask_width = std::max(mask_width, rows.back().mask.size());
		state_width = std::max(state_width, rows.back().state.size());
	}
	/* A number that is watched again has its ghost above it. */
	std::stable_sort(rows.begin(), rows.end(), [](const row &a, const row &b) {
		if (a.watch->fd != b.watch->fd)
			return a.watch->fd < b.watch->fd;
		return a.watch->ghost > b.watch->ghost;
	});

	out.print("  {:>{}}  {:<{}}  {:<{}}  WHAT\n", fd_title, fd_width, mask_title, mask_width,
		  state_title, state_width);
	for (const row &r : rows) {
		const char *colour = !colours ? "" : r.watch->ghost ? "\x1b[31m" :
				     r.watch->ready.value_or(false) ? "\x1b[32m" : "";

		out.print("  {:>{}}  {:<{}}  {}{:<{}}{}  {}", r.watch->fd, fd_width, r.mask, mask_width,
			  colour, r.state, state_width, *colour ? "\x1b[0m" : "", r.watch->what);
		if (r.watch->pid && r.watch->pid != of)
			out.print(" (of process {})", r.watch->pid);
		out.print("\n");
	}
}

std::string not_looked_at(const tool::unseen &hidden)
{
	return fmt::format("{} of other users not looked at: that takes root",
			   count(hidden.processes, "process", "es"));
}

std::string not_asked(const tool::unseen &hidden)
{
	return fmt::format("the state of {} not known: that takes the right to trace the process",
			   count(hidden.instances, "instance"));
}

template <typename T>
ordered_json or_null(const std::optional<T> &value)
{
	return value ? ordered_json(*value) : ordered_json();
}

/* "fair min_wait:200" */
ordered_json options_of(const std::string &text)
{
	const std::size_t at = text.find("min_wait:");

	return { { "fair", text.find("fair") != text.npos },
		 { "balance", text.find("balance") != text.npos },
		 { "min_wait", at == text.npos ? 0 : std::stoul(text.substr(at + 9)) } };
}

/* All but its watches, which may be many */
ordered_json object_of(const tool::instance &one)
{
	ordered_json object = {
		{ "pid", one.pid },
		{ "command", one.command },
		{ "fd", one.fd },
		{ "kind", one.ours ? "myepoll" : "eventpoll" },
		{ "number", or_null(one.number) },
		{ "adopted", or_null(one.adopted) },
		{ "options", options_of(one.options) },
		{ "also", ordered_json::array() },
	};

	for (const tool::holder &h : one.also)
		object["also"].push_back({ { "pid", h.pid }, { "fd", h.fd } });
	return object;
}

ordered_json object_of(const tool::watch &w)
{
	return {
		{ "fd", w.fd },
		{ "events", w.events },
		{ "mask", tool::mask_text(w.events) },
		{ "data", fmt::format("{:#x}", w.data) },
		{ "what", w.what },
		{ "pid", w.pid ? ordered_json(w.pid) : ordered_json() },
		{ "ghost", w.ghost },
		{ "ready", or_null(w.ready) },
		{ "fired", or_null(w.fired) },
		{ "disabled", or_null(w.disabled) },
	};
}

} // namespace

void tool::print_list(output &out, const std::vector<instance> &all, const unseen &hidden, std::optional<pid_t> of,
		      bool colours)
{
	bool of_kernel = false;

	for (const instance &one : all) {
		out.print("{}{}\n", &one == all.data() ? "" : "\n", headline(one));
		for (const holder &h : one.also)
			if (h.pid == one.pid)
				out.print("  also descriptor {}\n", h.fd);
			else
				out.print("  also process {}, descriptor {}\n", h.pid, h.fd);
		if (!one.watches.empty())
			print_watches(out, one.watches, one.pid, colours);
		of_kernel |= !one.ours && !one.watches.empty();
	}

	if (all.empty())
		out.print("no epoll instance{}\n", of ? fmt::format(" in process {}", *of) : "");
	else if (of_kernel || hidden.instances || hidden.processes)
		out.print("\n");
	if (of_kernel)
		out.print("?: the kernel's epoll does not tell what is ready\n");
	if (hidden.instances)
		out.print("?: {}\n", not_asked(hidden));
	if (hidden.processes)
		out.print("{}\n", not_looked_at(hidden));
}

void tool::print_json(output &out, const std::vector<instance> &all, const unseen &hidden)
{
	out.print("[");
	for (const instance &one : all) {
		std::string head = object_of(one).dump();

		head.pop_back();
		out.print("{}\n{},\"watches\":[", &one == all.data() ? "" : ",", head);
		for (const watch &w : one.watches)
			out.print("{}\n  {}", &w == one.watches.data() ? "" : ",", object_of(w).dump());
		out.print("]}}");
	}
	out.print("\n]\n");
	if (hidden.instances)
		say("{}", not_asked(hidden));
	if (hidden.processes)
		say("{}", not_looked_at(hidden));
}
