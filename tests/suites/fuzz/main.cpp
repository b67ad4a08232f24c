// SPDX-License-Identifier: GPL-2.0
// Differential fuzzer: random programs on the kernel's epoll and on myepoll, in
// two processes with the same descriptors. What they observe must be the same.
#include <algorithm>
#include <chrono>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <iostream>
#include <map>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <vector>

#include <sys/resource.h>
#include <unistd.h>

#include <CLI/CLI.hpp>

#include "backend.hpp"
#include "compare.hpp"
#include "generate.hpp"
#include "shrink.hpp"
#include "tally.hpp"
#include "twins.hpp"

namespace {

const char about[] =
	"Runs the cases kept in tests/suites/fuzz/cases, then random sequences until there were N\n"
	"operations or N seconds are over. Ends after some different failures, each made as short as\n"
	"it gets.\n"
	"\n"
	"DOOR is ioctl, fast or mixed, which take turns; adopt, epoll's own system calls where\n"
	"the module adopts; or all, which is any of these three in each operation.";

const char *const door_names[] = { "ioctl", "fast", "mixed", "adopt", "all" }; // as Doors

constexpr unsigned batch_size = 64;
// Runs that make a difference worth a closer look, and those that confirm it:
// where epoll differs from itself, many, for it may do so in many places.
constexpr unsigned sure = 12, certain = 96;

struct Options {
	std::uint64_t seed = 0, ops = 0, seconds = 0;
	std::int64_t sequence = -1;
	unsigned failures = 3;
	std::optional<Doors> door; // or the module's own in turn
	bool verbose = false;
	bool self = false;
	std::string cases;
	std::vector<std::string> replay;
};

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start)
{
	return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string read_file(const std::string &path)
{
	std::ifstream in(path);
	std::ostringstream text;
	if (!in)
		throw std::runtime_error("cannot read " + path);
	text << in.rdbuf();
	return text.str();
}

class Session {
public:
	explicit Session(const Options &options)
		: options_(options), twins_(options.self), random_(~options.seed)
	{
	}

	bool replay(const std::string &path)
	{
		Sequence sequence = from_text(read_file(path));
		if (options_.door == Doors::adopt) {
			// What epoll does not have an adopted instance does not have.
			std::erase_if(sequence, [](const Op &op) {
				std::uint32_t what = op.code == Code::ctl ? op.a[arg::ctl_op] :
						     op.code == Code::change ? op.a[arg::change_op] :
									       +is::add;
				return what == is::drop || what == is::disable;
			});
			for (Op &op : sequence)
				if (std::uint32_t *door = door_in(op))
					*door = is::adopt;
		}
		std::optional<Difference> difference;
		Verdict verdict = judge(twins_, sequence, sure, &difference);
		const char *said = verdict == Verdict::differs ? "differs"
				   : verdict == Verdict::wavers
					   ? "the same, though epoll differs from itself"
					   : "the same";
		std::printf("%s: %zu operations, %s\n", path.c_str(), sequence.size(), said);
		if (verdict == Verdict::differs) {
			say_not_ok(path, "differs");
			print_case(sequence, difference);
			failed_++;
		} else {
			passed_++;
			if (options_.verbose)
				print_run(sequence);
		}
		return verdict != Verdict::differs;
	}

	void run()
	{
		if (twins_.has_coverage())
			std::printf("coverage: the module is compiled with KCOV\n");
		start_ = last_ = Clock::now();
		if (options_.sequence >= 0) {
			std::vector<Sequence> one{ generate(options_.seed,
							    std::uint64_t(options_.sequence),
							    doors(std::uint64_t(options_.sequence))) };
			if (options_.verbose)
				print_run(one[0]);
			fuzz(one, std::uint64_t(options_.sequence));
		} else {
			while (!over())
				batch();
		}
		progress();
		failures_ ? failed_++ : passed_++;
	}

	int verdict()
	{
		for (unsigned i = 0; i < rule_count(); i++)
			if (tally_.by_rule[i])
				std::printf("explained: %-16s %llu\n", rule(i).name,
					    static_cast<unsigned long long>(tally_.by_rule[i]));
		if (unconfirmed_)
			std::printf("not confirmed: %llu sequences, in %llu of which epoll differed from "
				    "itself\n",
				    static_cast<unsigned long long>(unconfirmed_),
				    static_cast<unsigned long long>(wavering_));
		if (sequences_)
			std::printf("%llu operations, %llu sequences, seed %llu, %llu divergences (%llu "
				    "explained)\n",
				    static_cast<unsigned long long>(operations_),
				    static_cast<unsigned long long>(sequences_),
				    static_cast<unsigned long long>(options_.seed),
				    static_cast<unsigned long long>(tally_.sum() + failures_),
				    static_cast<unsigned long long>(tally_.sum()));
		say_tally(passed_, failed_, 0);
		return failed_ ? 1 : 0;
	}

private:
	const Options &options_;
	Twins twins_;
	Random random_;
	Clock::time_point start_, last_;
	Tally tally_;
	std::uint64_t operations_ = 0, sequences_ = 0, next_ = 0, unconfirmed_ = 0, wavering_ = 0;
	unsigned failures_ = 0, passed_ = 0, failed_ = 0;
	std::vector<Sequence> corpus_;

	// The doors take turns, mixed most often.
	Doors doors(std::uint64_t n) const
	{
		if (options_.door)
			return *options_.door;
		return n % 4 == 0 ? Doors::ioctl : n % 4 == 1 ? Doors::fast : Doors::mixed;
	}

	bool over() const
	{
		if (failures_ >= options_.failures)
			return true;
		if (options_.ops && operations_ >= options_.ops)
			return true;
		return options_.seconds && seconds_since(start_) >= double(options_.seconds);
	}

	void batch()
	{
		std::vector<Sequence> batch;
		std::uint64_t first = next_;
		for (unsigned i = 0; i < batch_size; i++) {
			std::uint64_t n = next_++;
			if (!corpus_.empty() && random_.one_in(2))
				batch.push_back(mutate(pick(), pick(), random_, doors(n)));
			else
				batch.push_back(generate(options_.seed, n, doors(n)));
		}
		fuzz(batch, first);
		if (seconds_since(last_) >= 10)
			progress();
	}

	const Sequence &pick()
	{
		return corpus_[random_.below(static_cast<std::uint32_t>(corpus_.size()))];
	}

	void fuzz(const std::vector<Sequence> &batch, std::uint64_t first)
	{
		struct Suspect {
			std::uint32_t i;
			std::uint64_t after;
			Difference difference;
		};
		std::vector<Suspect> suspects;
		twins_.run(batch, [&](std::uint32_t i, const Twice &twice) {
			operations_ += batch[i].size();
			sequences_++;
			if (twice.fresh)
				corpus_.push_back(batch[i]);
			if (twice.native.end || twice.mine.end)
				tell_unfinished(batch[i], twice, first + i);
			if (auto difference = compare(batch[i], twice.native, twice.mine, &tally_))
				suspects.push_back({ i, operations_, *difference });
		});
		for (const Suspect &s : suspects)
			if (failures_ < options_.failures)
				suspect(batch[s.i], first + s.i, s.after, s.difference);
	}

	// That both hung or died is the same. That myepoll's twin alone did is a failure even
	// if it does not happen again: a wakeup that is lost now and then looks like that.
	void tell_unfinished(const Sequence &sequence, const Twice &twice, std::uint64_t n)
	{
		static const char *const text[] = { "finished", "hung", "died" };
		std::printf("epoll %s, myepoll %s: --seed=%llu --sequence=%llu%s\n", text[twice.native.end],
			    text[twice.mine.end], static_cast<unsigned long long>(options_.seed),
			    static_cast<unsigned long long>(n), corpus_.empty() ? "" : " (a mutant, perhaps)");
		for (const Outcome *outcome : { &twice.native, &twice.mine }) {
			std::uint32_t next = 0;
			for (Cursor c = cursor(outcome->bytes); c.record(); c.next())
				next = c.record()->op + 1;
			if (outcome->end)
				std::printf("%s %s in operation %u: %s\n",
					    outcome == &twice.native ? "epoll" : "myepoll",
					    text[outcome->end], next,
					    next < sequence.size() ? to_text(sequence[next]).c_str() :
								     "the end");
		}
		if (twice.mine.end && !twice.native.end) {
			say_not_ok(name(n), "myepoll's twin alone did not finish");
			failures_++;
		}
	}

	std::string name(std::uint64_t n) const
	{
		return "--seed=" + std::to_string(options_.seed) + " --sequence=" + std::to_string(n);
	}

	void suspect(const Sequence &sequence, std::uint64_t n, std::uint64_t after, const Difference &seen)
	{
		Verdict verdict = judge(twins_, sequence, sure);
		if (verdict == Verdict::differs) {
			twins_.renew();
			verdict = judge(twins_, sequence, certain);
		}
		if (verdict != Verdict::differs) {
			unconfirmed_++;
			wavering_ += verdict == Verdict::wavers;
			if (options_.verbose) {
				std::printf("not confirmed%s: --seed=%llu --sequence=%llu, operation %u: %s\n",
					    verdict == Verdict::wavers ? ", epoll differs from itself" : "",
					    static_cast<unsigned long long>(options_.seed),
					    static_cast<unsigned long long>(n), seen.op,
					    seen.op < sequence.size() ? to_text(sequence[seen.op]).c_str() :
									"the end");
				comment("epoll:   " + seen.native);
				comment("myepoll: " + seen.mine);
			}
			return;
		}

		say_not_ok(name(n), "differs, after " + std::to_string(after) + " operations");
		std::fflush(stdout);
		Sequence least = shrink(twins_, sequence);
		std::optional<Difference> difference;
		// If the short one does not hold, the long one did.
		if (judge(twins_, least, sure, &difference) != Verdict::differs) {
			least = sequence;
			judge(twins_, least, sure, &difference);
		}
		failures_++;
		print_case(least, difference);
		if (corpus_.empty() && sequence == generate(options_.seed, n, doors(n)))
			std::printf("again: scripts/vm --kernel %s -- build/tests/fuzz --seed=%llu "
				    "--sequence=%llu%s\n",
				    guest().c_str(), static_cast<unsigned long long>(options_.seed),
				    static_cast<unsigned long long>(n), door_option().c_str());
		std::fflush(stdout);
	}

	// As scripts/vm calls the kernel, if tests/suites/fuzz/run has said so; and how it adopts
	std::string guest() const
	{
		const char *name = std::getenv("MYEPOLL_KERNEL");
		Version v = running_kernel();
		std::string kernel = name ? name : std::to_string(v.major) + "." + std::to_string(v.minor);
		return kernel + (options_.door >= Doors::adopt ? " --module-args adopt=1" : "");
	}

	std::string door_option() const
	{
		return options_.door ? std::string(" --door=") + door_names[unsigned(*options_.door)] : "";
	}

	// The marks are for tests/suites/fuzz/run, which makes a file of what is between.
	void print_case(const Sequence &sequence, const std::optional<Difference> &difference)
	{
		std::printf("--- case\n");
		for (std::uint32_t i = 0; i < sequence.size(); i++) {
			std::printf("%s\n", to_text(sequence[i]).c_str());
			if (difference && difference->op == i) {
				comment("epoll:   " + difference->native);
				comment("myepoll: " + difference->mine);
			}
		}
		std::printf("--- end\n");
	}

	static void comment(const std::string &text)
	{
		std::istringstream lines(text);
		for (std::string line; std::getline(lines, line);)
			std::printf("# %s\n", line.c_str());
	}

	void print_run(const Sequence &sequence)
	{
		Twice run = twins_.repeat(sequence, 1)[0];
		for (const Outcome *outcome : { &run.native, &run.mine }) {
			std::printf("--- on %s\n", outcome == &run.native ? "epoll" : "myepoll");
			for (Cursor c = cursor(outcome->bytes); c.record(); c.next()) {
				const Op &op = sequence[c.record()->op];
				std::printf("%4u %s: %s\n", c.record()->op, to_text(op).c_str(),
					    to_text(op, *c.record()).c_str());
			}
		}
	}

	void progress()
	{
		double elapsed = seconds_since(start_);
		last_ = Clock::now();
		std::printf("%4.0f s: %llu operations, %llu sequences, %.0f operations/s, %llu "
			    "explained, %llu not confirmed",
			    elapsed, static_cast<unsigned long long>(operations_),
			    static_cast<unsigned long long>(sequences_),
			    double(operations_) / std::max(elapsed, 0.001),
			    static_cast<unsigned long long>(tally_.sum()),
			    static_cast<unsigned long long>(unconfirmed_));
		if (twins_.has_coverage())
			std::printf(", %u places, %u steps, corpus %zu", twins_.places(), twins_.steps(),
				    corpus_.size());
		std::printf("\n");
		std::fflush(stdout);
	}
};

// tests/suites/fuzz/cases of the checkout that this program was built in
std::string default_cases()
{
	char path[PATH_MAX];
	ssize_t n = readlink("/proc/self/exe", path, sizeof path - 1);
	if (n < 0)
		return {};
	std::filesystem::path exe(std::string(path, static_cast<std::size_t>(n)));
	return exe.parent_path().parent_path().parent_path() / "tests/suites/fuzz/cases";
}

void add_options(CLI::App &app, Options &options)
{
	std::map<std::string, Doors> doors;

	for (unsigned i = 0; i < std::size(door_names); i++)
		doors.emplace(door_names[i], Doors(i));
	options.cases = default_cases();
	app.add_option("--seed", options.seed, "of the random sequences (default: by the clock)");
	app.add_option("--ops", options.ops, "operations");
	app.add_option("--seconds", options.seconds, "time (default: 60, without --ops)");
	app.add_option("--door", options.door, "one of the ways into the module")
		->type_name("DOOR")
		->transform(CLI::CheckedTransformer(doors).description(""));
	app.add_option("--sequence", options.sequence, "that sequence of the seed only");
	app.add_option("--failures", options.failures, "how many end it (default: 3)");
	app.add_option("--cases", options.cases, "where the cases are")->type_name("DIR");
	app.add_option("--replay", options.replay, "these cases, and nothing else")->type_name("FILE");
	app.add_flag("--verbose", options.verbose, "tell more");
	app.add_flag("--self", options.self,
		     "compare the kernel's epoll with itself: a difference is this program's");
}

void complete(Options &options)
{
	if (!options.ops && !options.seconds)
		options.seconds = 60;
	if (!options.seed)
		options.seed = static_cast<std::uint64_t>(
				       std::chrono::system_clock::now().time_since_epoch().count()) %
			       1'000'000;
}

} // namespace

int main(int argc, char **argv)
try {
	CLI::App app(about);
	Options options;
	add_options(app, options);
	try {
		app.parse(argc, argv);
	} catch (const CLI::ParseError &e) {
		return app.exit(e) ? 2 : 0;
	}
	complete(options);
	std::setvbuf(stdout, nullptr, _IOLBF, 0);

	Session session(options);
	if (!options.replay.empty()) {
		for (const std::string &path : options.replay)
			session.replay(path);
		return session.verdict();
	}

	std::vector<std::string> cases;
	if (options.sequence < 0 && std::filesystem::is_directory(options.cases))
		for (const auto &entry : std::filesystem::directory_iterator(options.cases))
			if (entry.path().extension() == ".case")
				cases.push_back(entry.path());
	std::sort(cases.begin(), cases.end());
	for (const std::string &path : cases)
		session.replay(path);
	session.run();
	return session.verdict();
} catch (const std::exception &e) {
	std::fprintf(stderr, "fuzz: %s\n", e.what());
	return 2;
}
