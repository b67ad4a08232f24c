// SPDX-License-Identifier: MIT
#include "events.hpp"

#include "tool.hpp"
#include "tracing.h"

#include "../../uapi/myepoll.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <new>
#include <queue>
#include <unordered_map>
#include <unordered_set>

#include <sys/epoll.h>
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
	{ "child_pid", [](auto &e, auto v) { e.waiter = static_cast<pid_t>(v); } },
};

struct known_field {
	unsigned offset, size;
	bool is_signed;
	const destination *to;
};

enum class kind : std::uint8_t { nothing, ours, fork, exec, gap };

struct known_point {
	kind sort = kind::nothing;
	tool::point point;
	std::vector<known_field> fields;
};

/* What a buffer has. A gap has the number of lost events in the event's data. */
struct record {
	kind sort;
	tool::event event;
};

/* The buffer of one CPU */
struct cpu_buffer {
	int cpu;
	int fd;
	std::vector<record> waiting;	/* until what may be before them is read */
	std::size_t next = 0;		/* of those */
	std::uint64_t said = 0;		/* lost, by gaps so far */
};

/* What a field holds, with its sign */
unsigned long long number_at(const char *data, const known_field &f)
{
	const auto get = [data, &f]<typename T>(T value) {
		memcpy(&value, data + f.offset, sizeof(value));
		return static_cast<unsigned long long>(value);
	};

	switch (f.size) {
	case 1:
		return get(std::uint8_t());
	case 2:
		return f.is_signed ? get(std::int16_t()) : get(std::uint16_t());
	case 4:
		return f.is_signed ? get(std::int32_t()) : get(std::uint32_t());
	default:
		return get(std::uint64_t());
	}
}

struct free_tep {
	void operator()(tep_handle *tep) const noexcept { tep_free(tep); }
};

struct free_kbuffer {
	void operator()(kbuffer *kbuf) const noexcept { kbuffer_free(kbuf); }
};

constexpr char name_prefix[] = "myepoll-";

/*
 * Takes away the buffers of processes that were killed. A buffer whose files somebody has
 * open stays there by itself.
 */
void remove_leftovers()
{
	namespace fs = std::filesystem;
	std::error_code ignored;
	const fs::path instances = fs::path(tracing_dir()) / "instances";

	for (const auto &entry : fs::directory_iterator(instances, ignored)) {
		const std::string name = entry.path().filename();
		pid_t pid = 0;

		if (name.starts_with(name_prefix) &&
		    std::from_chars(name.data() + strlen(name_prefix), name.data() + name.size(), pid).ptr ==
			    name.data() + name.size() &&
		    pid > 0 && (pid == getpid() || (kill(pid, 0) && errno == ESRCH)))
			rmdir(entry.path().c_str());
	}
}

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

std::string tool::op_text(int op)
{
	switch (op) {
	case EPOLL_CTL_ADD:
		return "ADD";
	case EPOLL_CTL_DEL:
		return "DEL";
	case EPOLL_CTL_MOD:
		return "MOD";
	case MYEPOLL_CTL_SET:
		return "SET";
	case MYEPOLL_CTL_DISABLE:
		return "DISABLE";
	case MYEPOLL_CTL_DROP:
		return "DROP";
	default:
		return fmt::format("operation {}", op);
	}
}

std::uint64_t tool::now() noexcept
{
	timespec ts;

	clock_gettime(CLOCK_MONOTONIC, &ts);
	return static_cast<std::uint64_t>(ts.tv_sec) * 1000000000u +
	       static_cast<std::uint64_t>(ts.tv_nsec);
}

struct tool::trace_session::state {
	std::unique_ptr<tep_handle, free_tep> tep;
	std::unique_ptr<kbuffer, free_kbuffer> kbuf;
	tracefs_instance *buffer = nullptr;
	std::vector<known_point> points;	/* by the event's ID */
	std::vector<cpu_buffer> cpus;
	std::vector<char> page;
	std::size_t pages;			/* of a CPU's buffer */
	std::uint64_t complete_since = 0;	/* Before, tracepoints were off, or only some on. */
	bool stopped = false;
	pid_t root = 0;				/* of follow() */
	unsigned execs = 0;			/* that are still to come */
	std::unordered_set<pid_t> family;	/* threads */
	mutable std::unordered_map<pid_t, std::string> commands;

	~state()
	{
		for (const cpu_buffer &one : cpus)
			close(one.fd);
		if (buffer) {
			tracing_switch(buffer, tracefs_system, nullptr, false);
			tracing_destroy(buffer);
		}
	}

	void learn(const char *system, const std::string &name, kind sort, point p = {})
	{
		tep_event *format = tep_find_event_by_name(tep.get(), system, name.c_str());

		if (!format)
			throw failure(failed, fmt::format("the loaded module has no tracepoint {}", name));

		const auto id = static_cast<std::size_t>(format->id);

		if (id >= points.size())
			points.resize(id + 1);
		points[id].sort = sort;
		points[id].point = p;
		for (const destination &to : destinations)
			if (auto *field = tep_find_any_field(format, std::string(to.name).c_str()))
				points[id].fields.push_back({ static_cast<unsigned>(field->offset),
							      static_cast<unsigned>(field->size),
							      (field->flags & TEP_FIELD_IS_SIGNED) != 0, &to });
	}

	/* Reads the page that begins with @data into @into. */
	void parse(cpu_buffer &into)
	{
		unsigned long long time;
		const char *data;

		if (kbuffer_load_subbuffer(kbuf.get(), page.data()))
			return;

		const int missed = kbuffer_missed_events(kbuf.get());

		data = static_cast<const char *>(kbuffer_read_event(kbuf.get(), &time));
		if (missed && data)
			note_gap(into, missed, time);
		for (; data; data = static_cast<const char *>(kbuffer_next_event(kbuf.get(), &time))) {
			std::uint16_t id; /* common_type */

			memcpy(&id, data, sizeof(id));
			if (id >= points.size() || points[id].sort == kind::nothing)
				continue;

			record &r = into.waiting.emplace_back();

			r.sort = points[id].sort;
			r.event.time = time;
			r.event.cpu = into.cpu;
			r.event.what = points[id].point;
			for (const known_field &f : points[id].fields)
				f.to->put(r.event, number_at(data, f));
		}
	}

	/* A page says how many are lost before it, unless it is too full for that. */
	void note_gap(cpu_buffer &into, int missed, std::uint64_t time)
	{
		const std::uint64_t all = lost(into.cpu);
		const std::uint64_t unsaid = all > into.said ? all - into.said : 0;
		record r = {};

		r.sort = kind::gap;
		r.event.time = time;
		r.event.cpu = into.cpu;
		r.event.data = missed > 0 ? std::min<std::uint64_t>(unsaid, static_cast<unsigned>(missed)) : unsaid;
		into.said += r.event.data;
		if (r.event.data)
			into.waiting.push_back(r);
	}

	std::uint64_t lost(int cpu) const
	{
		std::uint64_t sum = 0;
		char *text = tracing_read(buffer, fmt::format("per_cpu/cpu{}/stats", cpu).c_str());

		if (!text)
			return 0;
		for (const char *what : { "\noverrun: ", "\ncommit overrun: ", "\ndropped events: " })
			if (const char *at = strstr(text, what))
				sum += strtoull(at + strlen(what), nullptr, 10);
		free(text);
		return sum;
	}

	/* Who has been started, or is another program now */
	void note_process(const record &r)
	{
		const pid_t pid = r.sort == kind::fork ? r.event.waiter : r.event.tid;

		commands.erase(pid);
		if (!root)
			return;
		if (r.sort == kind::exec && pid == root && execs > 0 && --execs == 0)
			family.insert(pid);
		if (r.sort == kind::fork) {
			if (family.contains(r.event.tid))
				family.insert(pid);
			else
				family.erase(pid);
		}
	}
};

tool::trace_session::trace_session(std::size_t kilobytes) : state_(std::make_unique<state>())
{
	state &s = *state_;
	const std::string missing = trouble();
	const char *const systems[] = { tracefs_system, "sched", nullptr };

	if (!missing.empty())
		throw failure(failed, missing);
	s.tep.reset(tracing_formats(systems));
	if (!s.tep)
		throw failure(failed, "the tracepoints' formats cannot be read: this needs root");
	for (std::size_t i = 0; i < point_names.size(); i++)
		s.learn(tracefs_system, "myepoll_" + std::string(point_names[i]), kind::ours,
			static_cast<point>(i));
	s.learn("sched", "sched_process_fork", kind::fork);
	s.learn("sched", "sched_process_exec", kind::exec);
	s.kbuf.reset(kbuffer_alloc(KBUFFER_LSIZE_SAME_AS_HOST, KBUFFER_ENDIAN_SAME_AS_HOST));
	if (!s.kbuf)
		throw std::bad_alloc();
	s.page.resize(static_cast<std::size_t>(sysconf(_SC_PAGESIZE)));
	s.pages = std::max<std::size_t>(kilobytes * 1024 / s.page.size(), 2);

	remove_leftovers();
	s.buffer = tracing_create(fmt::format("{}{}", name_prefix, getpid()).c_str());
	if (!s.buffer)
		throw failure(failed, fmt::format("no buffer in tracefs: {}", strerror(errno)));
	/* The clock of who measures latencies, and the same on all CPUs. */
	if (tracing_write(s.buffer, "trace_clock", "mono") < 0)
		throw failure(failed, fmt::format("trace_clock: {}", strerror(errno)));
	if (tracing_write(s.buffer, "buffer_size_kb", std::to_string(kilobytes).c_str()) < 0)
		throw failure(failed, fmt::format("a buffer of {} kB a CPU: {}", kilobytes, strerror(errno)));
	for (int cpu = 0; cpu < sysconf(_SC_NPROCESSORS_CONF); cpu++) {
		const int fd = tracing_open(s.buffer, fmt::format("per_cpu/cpu{}/trace_pipe_raw", cpu).c_str());

		if (fd >= 0)
			s.cpus.push_back({ .cpu = cpu, .fd = fd, .waiting = {} });
	}
	if (s.cpus.empty())
		throw failure(failed, fmt::format("the buffer in tracefs cannot be read: {}", strerror(errno)));
	for (const char *one : { "sched_process_fork", "sched_process_exec" })
		if (tracing_switch(s.buffer, "sched", one, true))
			throw failure(failed, fmt::format("{} cannot be switched on: {}", one, strerror(errno)));
	if (tracing_switch(s.buffer, tracefs_system, nullptr, true))
		throw failure(failed, fmt::format("the tracepoints cannot be switched on: {}", strerror(errno)));
	s.complete_since = now();
}

tool::trace_session::~trace_session() = default;

bool tool::trace_session::read(const std::function<void(const event &)> &take,
			       const std::function<void(const loss &)> &lost)
{
	/* An event has its time before it can be read; for so long at most, in ns. */
	constexpr std::uint64_t under_way = 1'000'000;
	state &s = *state_;
	std::uint64_t complete = s.stopped ? UINT64_MAX : now() - under_way;
	bool more = false;

	/* CPUs are read one after the other. Up to @complete, each is complete. */
	for (cpu_buffer &one : s.cpus) {
		std::size_t n = 0;

		one.waiting.erase(one.waiting.begin(), one.waiting.begin() + static_cast<std::ptrdiff_t>(one.next));
		one.next = 0;
		while (n < s.pages && ::read(one.fd, s.page.data(), s.page.size()) > 0) {
			s.parse(one);
			n++;
		}
		if (n == s.pages) {
			more = true;
			if (!one.waiting.empty())
				complete = std::min(complete, one.waiting.back().event.time);
		}
	}

	using place = std::pair<std::uint64_t, cpu_buffer *>;
	std::priority_queue<place, std::vector<place>, std::greater<>> first;
	const auto enter = [&first, complete](cpu_buffer &one) {
		if (one.next < one.waiting.size() && one.waiting[one.next].event.time < complete)
			first.emplace(one.waiting[one.next].event.time, &one);
	};

	for (cpu_buffer &one : s.cpus)
		enter(one);
	while (!first.empty()) {
		cpu_buffer &one = *first.top().second;
		const record &r = one.waiting[one.next++];	/* @take may throw. */

		first.pop();
		if (r.sort == kind::ours) {
			if (r.event.time >= s.complete_since)
				take(r.event);
		} else if (r.sort != kind::gap) {
			s.note_process(r);
		} else if (lost) {
			lost({ r.event.time, r.event.cpu, r.event.data });
		}
		enter(one);
	}
	return more;
}

void tool::trace_session::follow(pid_t pid, unsigned execs)
{
	state &s = *state_;

	s.root = pid;
	s.execs = execs;
	if (!execs)
		s.family.insert(pid);
}

bool tool::trace_session::followed(pid_t tgid) const
{
	return state_->family.contains(tgid);
}

void tool::trace_session::stop()
{
	tracing_switch(state_->buffer, tracefs_system, nullptr, false);
	state_->stopped = true;
}

std::uint64_t tool::trace_session::lost() const
{
	std::uint64_t sum = 0;

	for (const cpu_buffer &one : state_->cpus)
		sum += state_->lost(one.cpu);
	return sum;
}

std::string tool::trace_session::command_of(pid_t tid) const
{
	auto &commands = state_->commands;

	if (commands.size() > 10000)
		commands.clear();

	auto [at, fresh] = commands.try_emplace(tid);

	if (!fresh)
		return at->second;

	std::ifstream comm("/proc/" + std::to_string(tid) + "/comm");

	if (std::getline(comm, at->second))
		return at->second;

	/* It has ended. The kernel keeps names of threads that were traced, a line each: PID NAME */
	if (char *text = tracing_read(nullptr, "saved_cmdlines")) {
		const std::string all = std::string("\n") + text;
		const std::string start = fmt::format("\n{} ", tid);
		const std::size_t found = all.find(start);

		if (found != std::string::npos) {
			const std::size_t name = found + start.size();

			at->second = all.substr(name, all.find('\n', name) - name);
		}
		free(text);
	}
	return at->second;
}
