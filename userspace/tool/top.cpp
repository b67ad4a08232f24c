// SPDX-License-Identifier: MIT
/*
 * "myepoll top": what instances do, as numbers that are counted anew every while
 */
#include "activity.hpp"
#include "ending.hpp"
#include "events.hpp"
#include "output.hpp"
#include "proc.hpp"
#include "scope.hpp"
#include "subcommand.hpp"
#include "tool.hpp"

#include <CLI/App.hpp>
#include <CLI/Config.hpp>
#include <CLI/Formatter.hpp>
#include <CLI/Validators.hpp>
#include <fmt/format.h>
#include <nlohmann/json.hpp>

#include <algorithm>
#include <climits>
#include <clocale>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

/* Its macros must not reach other headers. */
#define NCURSES_NOMACROS
#include <curses.h>
#include <poll.h>
#include <sys/syscall.h>
#include <unistd.h>

namespace {

constexpr char about[] =
	"For each instance that does something: the process that called it last; its descriptor\n"
	"there and its number; waits that have returned, and events that each brought; wakeups;\n"
	"those in vain; changes; the 50th and 99th percentile from wakeup to delivery.\n";

constexpr char more[] =
	"A wakeup is in vain if the next wait that asks the watched file finds it not ready. Keys\n"
	"choose what is sorted by, as the last line of the screen says; q ends it.\n"
	"\n"
	"Exit status: 0, or\n"
	"  125   myepoll itself failed: no module, no tracefs, no right, a wrong command line\n"
	"\n"
	"Examples:\n"
	"  sudo myepoll top\n"
	"  sudo myepoll top -p \"$(pidof redis-server)\" --delay 0.5\n"
	"  sudo myepoll top --batch --count 10 >report.txt\n"
	"  sudo myepoll top --json --count 1 | jq '.total'";

constexpr std::uint64_t second = 1'000'000'000;

/* Of an interval that is over */
struct figures {
	std::uint64_t waits, empty, events, wakeups, in_vain, changes, delivered;
	std::optional<std::uint64_t> p50, p99;
};

figures figures_of(const tool::counts &c)
{
	figures f = { .waits = c.waits, .empty = c.empty, .events = c.events, .wakeups = c.wakeups,
		      .in_vain = c.in_vain, .changes = c.changes, .delivered = c.latency.count(),
		      .p50 = {}, .p99 = {} };

	if (f.delivered) {
		f.p50 = c.latency.percentile(50);
		f.p99 = c.latency.percentile(99);
	}
	return f;
}

struct row {
	std::uint32_t instance = 0;
	pid_t pid = 0;
	int fd = -1;
	bool shared = false;
	std::string command;
	figures counted = {};
};

struct table {
	double seconds;
	std::uint64_t lost;	/* events, in it */
	std::vector<row> rows;
	figures total;
};

double events_a_wait(const figures &c)
{
	return c.waits ? static_cast<double>(c.events) / static_cast<double>(c.waits) : 0;
}

/* What a table is sorted by: a key, its name, and the number */
struct order {
	char key;
	const char *name;
	double (*of)(const figures &counted);
};

constexpr order orders[] = {
	{ 'w', "waits", [](const auto &c) { return static_cast<double>(c.waits); } },
	{ 'e', "events", events_a_wait },
	{ 'k', "wakeups", [](const auto &c) { return static_cast<double>(c.wakeups); } },
	{ 'v', "in vain", [](const auto &c) { return static_cast<double>(c.in_vain); } },
	{ 'c', "changes", [](const auto &c) { return static_cast<double>(c.changes); } },
	{ '5', "p50", [](const auto &c) { return static_cast<double>(c.p50.value_or(0)); } },
	{ '9', "p99", [](const auto &c) { return static_cast<double>(c.p99.value_or(0)); } },
};

void sort(std::vector<row> &rows, const order &by)
{
	std::stable_sort(rows.begin(), rows.end(),
			 [&by](const row &a, const row &b) { return by.of(a.counted) > by.of(b.counted); });
}

/* In 6 or 7 columns */
std::string rate(std::uint64_t n, double seconds)
{
	const double r = static_cast<double>(n) / seconds;

	return r >= 1e6 ? fmt::format("{:.1f}M", r / 1e6) : r >= 99.95 || r == 0 ? fmt::format("{:.0f}", r) :
									      fmt::format("{:.1f}", r);
}

std::string duration(std::optional<std::uint64_t> time)
{
	const auto ns = static_cast<double>(time.value_or(0));

	if (!time)
		return "-";
	return ns < 1e3 ? fmt::format("{:.0f}ns", ns) : ns < 1e6 ? fmt::format("{:.3g}us", ns / 1e3) :
	       ns < 1e9 ? fmt::format("{:.3g}ms", ns / 1e6) : fmt::format("{:.3g}s", ns / 1e9);
}

constexpr std::size_t narrow = 80, of_command = 11;

std::string header(std::size_t width)
{
	const std::size_t command = of_command + std::max(width, narrow) - narrow;

	return fmt::format("{:>7} {:<8} {:<{}} {:>7} {:>5} {:>7} {:>6} {:>6} {:>7} {:>7}", "PID", "EPOLL", "COMMAND",
			   command, "WAITS/S", "EV/W", "WAKES/S", "VAIN/S", "CHG/S", "P50", "P99");
}

std::string line(const std::string &pid, const std::string &where, const std::string &command, const figures &c,
		 double seconds, std::size_t width)
{
	const std::size_t wide = of_command + std::max(width, narrow) - narrow;

	return fmt::format("{:>7} {:<8} {:<{}} {:>7} {:>5} {:>7} {:>6} {:>6} {:>7} {:>7}", pid, where,
			   tool::printable(command).substr(0, wide), wide, rate(c.waits, seconds),
			   c.waits ? fmt::format("{:.2f}", events_a_wait(c)).substr(0, 5) : "-", rate(c.wakeups, seconds),
			   rate(c.in_vain, seconds), rate(c.changes, seconds), duration(c.p50),
			   duration(c.p99));
}

std::string line(const row &r, double seconds, std::size_t width)
{
	return line(fmt::format("{}{}", r.pid, r.shared ? "+" : ""),
		    fmt::format("{}#{}", r.fd < 0 ? "?" : std::to_string(r.fd), r.instance), r.command, r.counted,
		    seconds, width);
}

std::string summary(const table &t)
{
	return fmt::format("myepoll top: {} instance{}, {:.1f} s, {} events lost", t.rows.size(),
			   t.rows.size() == 1 ? "" : "s", t.seconds, t.lost);
}

std::string total(const table &t, std::size_t width)
{
	return line("", "", "total", t.total, t.seconds, width);
}

nlohmann::ordered_json numbers(const figures &c)
{
	const auto time = [](std::optional<std::uint64_t> ns) {
		return ns ? nlohmann::ordered_json(*ns) : nlohmann::ordered_json();
	};

	return { { "waits", c.waits }, { "empty", c.empty }, { "events", c.events }, { "wakeups", c.wakeups },
		 { "in_vain", c.in_vain }, { "changes", c.changes }, { "delivered", c.delivered },
		 { "p50", time(c.p50) }, { "p99", time(c.p99) } };
}

std::string json(const table &t)
{
	nlohmann::ordered_json object = { { "seconds", t.seconds }, { "lost", t.lost }, { "total", numbers(t.total) } };
	auto &all = object["instances"] = nlohmann::ordered_json::array();

	for (const row &r : t.rows) {
		nlohmann::ordered_json one = { { "instance", r.instance }, { "pid", r.pid }, { "command", r.command } };

		one["epfd"] = r.fd < 0 ? nlohmann::ordered_json() : nlohmann::ordered_json(r.fd);
		one["shared"] = r.shared;
		one.update(numbers(r.counted));
		all.push_back(one);
	}
	return object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

/* For --batch */
std::string text(const table &t)
{
	std::string all = summary(t) + "\n" + header(narrow) + "\n";

	for (const row &r : t.rows)
		all += line(r, t.seconds, narrow) + "\n";
	return all + total(t, narrow) + "\n\n";
}

/* The terminal, while it shows the table */
class screen {
public:
	screen()
	{
		setlocale(LC_ALL, "");
		terminal_ = newterm(nullptr, stdout, stdin);
		if (!terminal_)
			throw tool::failure(tool::failed, "the terminal is of no type that is known ($TERM); "
							  "--batch prints tables");
		cbreak();
		noecho();
		curs_set(0);
		keypad(stdscr, TRUE);
	}
	screen(const screen &) = delete;
	screen &operator=(const screen &) = delete;
	~screen()
	{
		endwin();
		delscreen(terminal_);
	}

	/* The key that is pressed within so many ms, or ERR */
	static int key(int ms)
	{
		wtimeout(stdscr, ms);
		return wgetch(stdscr);
	}

	static void draw(const table &t, const order &by)
	{
		const int height = getmaxy(stdscr), width = getmaxx(stdscr);
		std::string keys = "q quit; sort by";
		int y = 0;

		for (const order &one : orders)
			keys += fmt::format(" {} {}", one.key, one.name);
		werase(stdscr);
		put(y++, summary(t) + ", by " + by.name, A_NORMAL);
		put(y++, header(static_cast<std::size_t>(width)), A_REVERSE);
		for (const row &r : t.rows) {
			if (y >= height - 2)
				break;
			put(y++, line(r, t.seconds, static_cast<std::size_t>(width)), A_NORMAL);
		}
		put(height - 2, total(t, static_cast<std::size_t>(width)), A_BOLD);
		put(height - 1, keys, A_NORMAL);
		wrefresh(stdscr);
	}

private:
	static void put(int y, const std::string &text, attr_t how)
	{
		if (y < 0 || y >= getmaxy(stdscr))
			return;
		wattr_set(stdscr, how, 0, nullptr);
		wmove(stdscr, y, 0);
		waddnstr(stdscr, text.c_str(), getmaxx(stdscr));
	}

	SCREEN *terminal_;
};

class top : public tool::subcommand {
public:
	explicit top(CLI::App &application);

	int execute() override;

private:
	table make_table(const tool::trace_session &session, const tool::users &users, double seconds,
			 std::uint64_t lost) const;

	std::optional<pid_t> pid_;
	double delay_ = 1;
	std::optional<std::uint64_t> count_;
	std::size_t buffer_ = 4096;
	bool batch_ = false, json_ = false;
	tool::activity activity_;
};

top::top(CLI::App &application)
	: subcommand(application.add_subcommand("top", "Count what instances do, live"))
{
	set_usage("[OPTIONS]", about);
	app().footer(more);
	app().add_option("-p,--pid", pid_, "Instances that this process has or calls")
		->check(CLI::Range(1, INT_MAX))->type_name("PID");
	app().add_option("--delay", delay_, "Seconds of an interval (1)")
		->check(CLI::Range(0.05, 86400.0))->type_name("N");
	app().add_option("-n,--count", count_, "End after so many intervals")
		->check(CLI::Range(std::uint64_t(1), UINT64_MAX))->type_name("COUNT");
	app().add_option("--buffer", buffer_, "Kilobytes of buffer for each CPU (4096)")
		->check(CLI::Range(8, 1 << 20))->type_name("KB");
	app().add_flag("--batch", batch_, "Print tables; needs no terminal");
	app().add_flag("--json", json_, "Print an object of JSON for each interval, with times in ns");
}

table top::make_table(const tool::trace_session &session, const tool::users &users, double seconds,
		      std::uint64_t lost) const
{
	table t = { .seconds = seconds, .lost = lost, .rows = {}, .total = {} };
	tool::counts sum;

	for (const auto &[number, one] : activity_.instances()) {
		const tool::users::user *user = users.last(number);
		row r;

		r.instance = number;
		r.pid = one.user ? one.user : user ? user->pid : 0;
		r.fd = user && user->pid == r.pid ? user->fd : -1;
		r.shared = one.shared;
		r.command = session.command_of(r.pid);
		r.counted = figures_of(one.now);
		t.rows.push_back(std::move(r));
		sum += one.now;
	}
	t.total = figures_of(sum);
	return t;
}

int top::execute()
{
	constexpr int tick = 20; /* ms */
	const bool printed = batch_ || json_;

	if (pid_)
		pid_ = tool::process_of(*pid_);

	tool::end_on_signals();

	tool::output out;
	tool::trace_session session(buffer_);

	if (!printed && !(isatty(STDOUT_FILENO) && isatty(STDIN_FILENO)))
		throw tool::failure(tool::failed, "top needs a terminal; --batch prints tables");

	tool::scope scope(session);
	const int ended = pid_ ? static_cast<int>(syscall(SYS_pidfd_open, *pid_, 0)) : -1;
	std::unique_ptr<screen> shown;
	const order *by = orders;
	std::uint64_t intervals = 0, start = tool::now(), lost_before = 0;
	bool over = false, again = false;
	table last = { .seconds = delay_, .lost = 0, .rows = {}, .total = {} };

	if (pid_)
		scope.process(*pid_);
	scope.look();
	if (!printed)
		shown = std::make_unique<screen>();

	const auto take = [&](const tool::event &e) {
		if (scope.has(e))
			activity_.add(e);
	};
	const auto gap = [&](const tool::loss &) { activity_.lost(); };

	if (shown)
		shown->draw(last, *by);
	while (!over) {
		pollfd fds[] = { { .fd = ended, .events = POLLIN, .revents = 0 },
				 { .fd = STDOUT_FILENO, .events = 0, .revents = 0 } };
		bool redraw = false;

		poll(fds, 2, again || shown ? 0 : tick);
		if (shown) {
			const int key = screen::key(again ? 0 : tick);

			redraw = key == KEY_RESIZE;
			over = key == 'q';
			for (const order &one : orders)
				if (key == one.key) {
					by = &one;
					redraw = true;
				}
		}
		over = over || tool::end_asked() || (fds[1].revents & (POLLERR | POLLHUP)) || (ended >= 0 && fds[0].revents);
		if (over)
			session.stop();
		do
			again = session.read(take, gap);
		while (over && again);

		const std::uint64_t time = tool::now();

		/* What is printed has the rest, too. */
		if (static_cast<double>(time - start) >= delay_ * static_cast<double>(second) || (over && !shown)) {
			const std::uint64_t lost = session.lost();

			last = make_table(session, scope.who(),
					  static_cast<double>(time - start) / static_cast<double>(second),
					  lost - lost_before);
			start = time;
			lost_before = lost;
			activity_.begin_interval();
			if (lost)
				activity_.forget(time - std::min(time, 60 * second));
			redraw = true;
			over = over || (count_ && ++intervals >= *count_);
		}
		if (!redraw)
			continue;
		sort(last.rows, *by);
		if (shown) {
			shown->draw(last, *by);
		} else {
			out.text() = json_ ? json(last) + "\n" : text(last);
			out.flush();
			over = over || out.closed();
		}
	}
	return 0;
}

} // namespace

std::unique_ptr<tool::subcommand> tool::make_top(CLI::App &app)
{
	return std::make_unique<top>(app);
}
