// SPDX-License-Identifier: MIT
#include "events.hpp"

#include "tool.hpp"
#include "tracing.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <fstream>
#include <unordered_map>

#include <unistd.h>

namespace {

constexpr char tracefs_system[] = "myepoll";

constexpr std::array<std::string_view, 9> point_names = {
	"create", "release", "ctl", "wake", "deliver", "not_ready", "wait_enter", "wait_exit", "remove",
};

/* Which field of an event a field of a tracepoint becomes */
struct destination {
	std::string_view name;
	void (*put)(tool::event &event, unsigned long long value);
};

constexpr destination destinations[] = {
	{ "common_pid", [](auto &e, auto v) { e.tid = static_cast<pid_t>(v); } },
	{ "instance", [](auto &e, auto v) { e.instance = static_cast<std::uint32_t>(v); } },
	{ "data", [](auto &e, auto v) { e.data = v; } },
	{ "tgid", [](auto &e, auto v) { e.tgid = static_cast<pid_t>(v); } },
	{ "fd", [](auto &e, auto v) { e.fd = static_cast<int>(v); } },
	{ "events", [](auto &e, auto v) { e.events = static_cast<std::uint32_t>(v); } },
	{ "key", [](auto &e, auto v) { e.events = static_cast<std::uint32_t>(v); } },
	{ "mask", [](auto &e, auto v) { e.mask = static_cast<std::uint32_t>(v); } },
	{ "op", [](auto &e, auto v) { e.op = static_cast<int>(v); } },
	{ "ret", [](auto &e, auto v) { e.ret = static_cast<int>(v); } },
	{ "what", [](auto &e, auto v) { e.how = static_cast<int>(v); } },
	{ "why", [](auto &e, auto v) { e.how = static_cast<int>(v); } },
	{ "waiter", [](auto &e, auto v) { e.waiter = static_cast<pid_t>(v); } },
	{ "maxevents", [](auto &e, auto v) { e.maxevents = static_cast<int>(v); } },
	{ "timeout", [](auto &e, auto v) { e.timeout = static_cast<std::int64_t>(v); } },
	{ "adopted", [](auto &e, auto v) { e.adopted = v; } },
};

struct known_field {
	tep_format_field *field;
	const destination *to;
};

struct known_point {
	tool::point point;
	std::vector<known_field> fields;
};

std::uint64_t now()
{
	timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return static_cast<std::uint64_t>(ts.tv_sec) * 1000000000u +
	       static_cast<std::uint64_t>(ts.tv_nsec);
}

struct tep_free_ {
	void operator()(tep_handle *tep) const noexcept { tep_free(tep); }
};

/* What is missing where the tracepoints are not to be had */
std::string trouble()
{
	const char *dir = tracing_dir();

	if (!dir || access(dir, F_OK))
		return geteuid() ? "tracefs is not mounted, or not readable: this needs root" :
				   "there is no tracefs: a kernel without tracing, or not mounted "
				   "(mount -t tracefs none /sys/kernel/tracing)";
	if (access((std::string(dir) + "/instances").c_str(), W_OK))
		return fmt::format("{} is not for this user: this needs root", dir);
	if (access((std::string(dir) + "/events/" + tracefs_system).c_str(), F_OK))
		return access("/sys/module/myepoll", F_OK) ?
			       "the module myepoll is not loaded" :
			       "the loaded module myepoll has no tracepoints: it is older than this tool";
	return "";
}

} // namespace

std::string_view tool::name_of(point p) noexcept
{
	return point_names[static_cast<std::size_t>(p)];
}

struct tool::trace_session::state {
	std::unique_ptr<tep_handle, tep_free_> tep;
	tracefs_instance *buffer = nullptr;
	std::unordered_map<int, known_point> points;	/* by the event's ID */
	std::vector<event> waiting;			/* until what may be before them is read */
	bool stopped = false;
	mutable std::unordered_map<pid_t, std::string> commands;

	~state()
	{
		if (buffer) {
			tracing_switch(buffer, tracefs_system, false);
			tracing_destroy(buffer);
		}
	}

	void learn(point p)
	{
		const std::string name = "myepoll_" + std::string(name_of(p));
		tep_event *format = tep_find_event_by_name(tep.get(), tracefs_system, name.c_str());

		if (!format)
			throw failure(failed, fmt::format("the loaded module has no tracepoint {}", name));

		known_point &known = points[format->id];

		known.point = p;
		for (const destination &to : destinations)
			if (auto *field = tep_find_any_field(format, std::string(to.name).c_str()))
				known.fields.push_back({ field, &to });
	}

	static int take(tep_event *format, tep_record *record, int cpu, void *context)
	{
		auto *self = static_cast<state *>(context);
		const auto known = self->points.find(format->id);

		if (known == self->points.end())
			return 0;

		event e = {};

		e.time = record->ts;
		e.cpu = cpu;
		e.what = known->second.point;
		for (const known_field &f : known->second.fields) {
			unsigned long long value;

			if (tep_read_number_field(f.field, record->data, &value))
				continue;
			/* tep does not extend the sign. */
			if ((f.field->flags & TEP_FIELD_IS_SIGNED) && f.field->size == 4)
				value = static_cast<unsigned long long>(
					static_cast<long long>(static_cast<std::int32_t>(value)));
			f.to->put(e, value);
		}
		self->waiting.push_back(e);
		return 0;
	}
};

tool::trace_session::trace_session(std::size_t kilobytes) : state_(std::make_unique<state>())
{
	state &s = *state_;
	const std::string missing = trouble();

	if (!missing.empty())
		throw failure(failed, missing);
	s.tep.reset(tracing_formats(tracefs_system));
	if (!s.tep)
		throw failure(failed, "the tracepoints' formats cannot be read: this needs root");
	for (std::size_t i = 0; i < point_names.size(); i++)
		s.learn(static_cast<point>(i));

	s.buffer = tracing_create(fmt::format("myepoll-{}", getpid()).c_str());
	if (!s.buffer)
		throw failure(failed, fmt::format("no buffer in tracefs: {}", strerror(errno)));
	/* The clock of who measures latencies, and the same on all CPUs. */
	if (tracing_write(s.buffer, "trace_clock", "mono") < 0)
		throw failure(failed, fmt::format("trace_clock: {}", strerror(errno)));
	if (tracing_write(s.buffer, "buffer_size_kb", std::to_string(kilobytes).c_str()) < 0)
		throw failure(failed, fmt::format("a buffer of {} kB a CPU: {}", kilobytes, strerror(errno)));
	if (tracing_switch(s.buffer, tracefs_system, true))
		throw failure(failed, fmt::format("the tracepoints cannot be switched on: {}", strerror(errno)));
}

tool::trace_session::~trace_session() = default;

void tool::trace_session::read(const std::function<void(const event &)> &take)
{
	state &s = *state_;
	/* CPUs are read one after the other: up to here, each is complete. */
	const std::uint64_t complete = s.stopped ? UINT64_MAX : now();
	const auto later = [](const event &a, const event &b) { return a.time < b.time; };

	tracing_iterate(s.buffer, s.tep.get(), &state::take, &s);
	std::stable_sort(s.waiting.begin(), s.waiting.end(), later);

	const auto end = std::find_if(s.waiting.begin(), s.waiting.end(),
				      [complete](const event &e) { return e.time >= complete; });

	/* @take may throw. */
	const std::vector<event> ready(s.waiting.begin(), end);

	s.waiting.erase(s.waiting.begin(), end);
	for (const event &e : ready)
		take(e);
}

void tool::trace_session::stop()
{
	tracing_switch(state_->buffer, tracefs_system, false);
	state_->stopped = true;
}

std::uint64_t tool::trace_session::lost() const
{
	std::uint64_t sum = 0;
	const long cpus = sysconf(_SC_NPROCESSORS_CONF);

	for (long cpu = 0; cpu < cpus; cpu++) {
		char *text = tracing_read(state_->buffer, fmt::format("per_cpu/cpu{}/stats", cpu).c_str());

		if (!text)
			continue;
		for (const char *what : { "\noverrun: ", "\ndropped events: " })
			if (const char *at = strstr(text, what))
				sum += strtoull(at + strlen(what), nullptr, 10);
		free(text);
	}
	return sum;
}

std::string tool::trace_session::command_of(pid_t tid) const
{
	auto [at, fresh] = state_->commands.try_emplace(tid);

	if (fresh) {
		std::ifstream comm("/proc/" + std::to_string(tid) + "/comm");

		std::getline(comm, at->second);
	}
	return at->second;
}
