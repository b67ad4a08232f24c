// SPDX-License-Identifier: MIT
#include "doctor_report.hpp"

#include <fmt/core.h>
#include <nlohmann/json.hpp>

namespace {

constexpr std::size_t width = 80;
constexpr std::size_t indent = 11;

const char *level_name(tool::severity level)
{
	switch (level) {
	case tool::severity::fault:
		return "fault";
	case tool::severity::warning:
		return "warning";
	default:
		return "advice";
	}
}

/* @text behind @head, in lines of a terminal's width; what begins with a space is shown as it is. */
std::string paragraph(const std::string &head, const std::string &text)
{
	std::string out = fmt::format("{:<{}}", head, indent), word;
	std::size_t column = indent;

	if (text.starts_with(' '))
		return out + text.substr(1) + "\n";
	for (std::size_t at = 0; at < text.size();) {
		const std::size_t end = std::min(text.find(' ', at), text.size());

		word = text.substr(at, end - at);
		at = end + 1;
		if (column > indent && column + 1 + word.size() > width) {
			out += "\n" + std::string(indent, ' ');
			column = indent;
		} else if (column > indent) {
			out += ' ';
			column++;
		}
		out += word;
		column += word.size();
	}
	return out + "\n";
}

std::string owner(const tool::finding &f)
{
	std::string text = f.command.empty() ? fmt::format("process {}", f.pid) :
					       fmt::format("{} ({})", f.command, f.pid);

	if (f.epfd >= 0)
		text += fmt::format(", epoll fd {}", f.epfd);
	if (f.instance)
		text += fmt::format(", instance {}", f.instance);
	return text;
}

/* The kernel's epoll, where nothing can be seen but what /proc has */
std::vector<std::string> about_foreign(const tool::examination &e)
{
	std::vector<std::string> lines;
	std::size_t shown = 0;

	for (const auto &f : e.foreign) {
		if (++shown > 3) {
			lines.push_back(fmt::format("and {} more", e.foreign.size() - 3));
			break;
		}
		lines.push_back(fmt::format("{} ({}), epoll fd {}, {} watch{}", f.command, f.pid, f.fd, f.watches,
					    f.watches == 1 ? "" : "es"));
	}
	return lines;
}

constexpr char how_to_trace[] =
	"The kernel's own epoll cannot be traced, so these were only looked at for ghosts. To have them "
	"examined, start the program on myepoll: \"myepoll doctor -- COMMAND\", or \"myepoll run -- COMMAND\" "
	"and then \"myepoll doctor -p PID\".";

} // namespace

std::string tool::report_text(const examination &e)
{
	std::string out = fmt::format("{}: {:.1f} s, {} events of {} instance{}: {} waits, {} deliveries, {} changes\n",
				      e.subject, e.seconds, e.totals.events, e.totals.instances,
				      e.totals.instances == 1 ? "" : "s", e.totals.waits, e.totals.deliveries,
				      e.totals.changes);
	std::size_t n = 0;

	if (e.status)
		out += e.status.value() > 128 ?
			       fmt::format("The command was ended by signal {}.\n", *e.status - 128) :
			       fmt::format("The command ended with status {}.\n", *e.status);
	if (e.totals.lost) {
		out += paragraph("lost", fmt::format("{} events, since they came faster than they could be read. What is "
						     "not concluded without them: ",
						     e.totals.lost));
		for (const complaint &c : complaints())
			if (c.needs_all)
				out += paragraph("", c.text);
	}
	if (!e.foreign.empty()) {
		out += "\n";
		for (const std::string &line : about_foreign(e))
			out += paragraph(n++ ? "" : "not traced", line);
		out += paragraph("", how_to_trace);
		n = 0;
	}
	for (const finding &f : e.findings) {
		out += fmt::format("\n{}. {}: {}\n", ++n, level_name(f.level), f.title);
		out += paragraph("   who", owner(f));
		for (std::size_t i = 0; i < f.evidence.size(); i++)
			out += paragraph(i ? "" : "   seen", f.evidence[i]);
		out += paragraph("   costs", f.cost);
		out += paragraph("   do", f.advice);
	}
	if (e.findings.empty()) {
		out += e.totals.events || e.foreign.empty() ? "\nNothing found. Looked for:\n" :
							     "\nNo ghosts found. Not looked for:\n";
		for (const complaint &c : complaints())
			if ((e.totals.events || e.foreign.empty() || std::string(c.id) != "ghost") &&
			    !(e.totals.lost && c.needs_all))
				out += fmt::format("  - {}\n", c.text);
	}
	return out;
}

std::string tool::report_json(const examination &e)
{
	nlohmann::ordered_json all = {
		{ "subject", e.subject },
		{ "seconds", e.seconds },
		{ "events", e.totals.events },
		{ "lost", e.totals.lost },
		{ "instances", e.totals.instances },
		{ "waits", e.totals.waits },
		{ "deliveries", e.totals.deliveries },
		{ "changes", e.totals.changes },
	};

	if (e.status)
		all["status"] = *e.status;
	all["not_traced"] = nlohmann::ordered_json::array();
	for (const auto &f : e.foreign)
		all["not_traced"].push_back(
			{ { "pid", f.pid }, { "command", f.command }, { "epfd", f.fd }, { "watches", f.watches } });
	all["findings"] = nlohmann::ordered_json::array();
	for (const finding &f : e.findings) {
		nlohmann::ordered_json one = {
			{ "id", f.id },		  { "severity", level_name(f.level) }, { "title", f.title },
			{ "pid", f.pid },	  { "command", f.command },	    { "epfd", f.epfd },
			{ "instance", f.instance },
		};

		if (f.fd >= 0) {
			one["fd"] = f.fd;
			one["what"] = f.what;
		}
		one["evidence"] = f.evidence;
		one["cost"] = f.cost;
		one["advice"] = f.advice;
		all["findings"].push_back(std::move(one));
	}
	all["looked_for"] = nlohmann::ordered_json::array();
	all["withheld"] = nlohmann::ordered_json::array();
	for (const complaint &c : complaints())
		all[e.totals.lost && c.needs_all ? "withheld" : "looked_for"].push_back(
			{ { "id", c.id }, { "text", c.text } });
	/* Names of files and processes are any bytes. */
	return all.dump(2, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
}
