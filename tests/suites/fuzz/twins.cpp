// SPDX-License-Identifier: GPL-2.0
#include "twins.hpp"

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>
#include <cstdlib>
#include <ctime>

#include <linux/futex.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "coverage.hpp"

namespace {

constexpr std::uint32_t log_size = 32u << 20;
constexpr std::time_t patience = 60; // seconds for one sequence, on a busy host

using Word = std::atomic<std::uint32_t>;

std::uint32_t *plain(Word &word)
{
	static_assert(sizeof(Word) == 4);
	return reinterpret_cast<std::uint32_t *>(&word);
}

void sleep_while(Word &word, std::uint32_t value, const timespec *timeout = nullptr)
{
	syscall(SYS_futex, plain(word), FUTEX_WAIT, value, timeout, nullptr, 0);
}

void wake(Word &word)
{
	syscall(SYS_futex, plain(word), FUTEX_WAKE, INT_MAX, nullptr, nullptr, 0);
}

std::time_t now()
{
	timespec ts;
	clock_gettime(CLOCK_MONOTONIC, &ts);
	return ts.tv_sec;
}

} // namespace

struct Side {
	Word go, done;	    // numbers of batches
	Word progress;	    // sequences finished in this one
	std::uint32_t from; // the first to run
	std::uint32_t places, steps;
	std::uint32_t start[Twins::most_sequences], end[Twins::most_sequences];
	std::uint32_t fresh[Twins::most_sequences];
	Log log;
	char *memory;
};

struct Shared {
	Side side[2];
	std::uint32_t n;
	std::uint32_t first[Twins::most_sequences + 1];
	Op ops[Twins::most_ops];
};

Twins::Twins(bool self) : self_(self), hostile_(map_hostile())
{
	std::size_t size = sizeof(Shared) + 2 * log_size;
	void *p = mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_NORESERVE,
		       -1, 0);
	if (p == MAP_FAILED) {
		std::perror("mmap");
		std::exit(3);
	}
	shared_ = new (p) Shared;
	coverage_ = !self && Coverage::available();
	for (unsigned which : { 0u, 1u }) {
		side(which).memory = static_cast<char *>(p) + sizeof(Shared) + which * log_size;
		spawn(which);
	}
}

Twins::~Twins()
{
	for (unsigned which : { 0u, 1u })
		retire(which);
	munmap(shared_, sizeof(Shared) + 2 * log_size);
}

Side &Twins::side(unsigned which) const
{
	return shared_->side[which];
}

std::uint32_t Twins::places() const
{
	return side(1).places;
}

std::uint32_t Twins::steps() const
{
	return side(1).steps;
}

void Twins::spawn(unsigned which)
{
	std::fflush(nullptr);
	pid_[which] = fork();
	if (pid_[which] < 0) {
		std::perror("fork");
		std::exit(3);
	}
	if (pid_[which] == 0) {
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		worker(which);
	}
}

// One that is stuck in the kernel cannot be waited for.
void Twins::retire(unsigned which)
{
	if (pid_[which] <= 0)
		return;
	kill(pid_[which], SIGKILL);
	for (int i = 0; i < 1000 && waitpid(pid_[which], nullptr, WNOHANG) == 0; i++)
		usleep(10'000);
	pid_[which] = -1;
}

void Twins::renew()
{
	for (unsigned which : { 0u, 1u }) {
		retire(which);
		spawn(which);
	}
}

void Twins::worker(unsigned which)
{
	Side &s = side(which);
	Coverage coverage;
	bool watch = coverage_ && which == 1;
	Twin twin(which == 0 || self_, hostile_, s.log);

	if (watch)
		coverage.enable();
	for (std::uint32_t seen = s.done;;) {
		while (s.go == seen)
			sleep_while(s.go, seen);
		seen = s.go;
		for (std::uint32_t i = s.from; i < shared_->n; i++) {
			s.start[i] = s.end[i] = s.log.used();
			if (watch)
				coverage.start();
			twin.run(&shared_->ops[shared_->first[i]],
				 shared_->first[i + 1] - shared_->first[i]);
			s.fresh[i] = watch ? coverage.stop() : 0;
			s.places = coverage.places();
			s.steps = coverage.steps();
			s.end[i] = s.log.used();
			s.progress = i + 1;
		}
		s.done = seen;
		wake(s.done);
	}
}

void Twins::execute(const std::vector<Sequence> &batch)
{
	hand_out(batch);
	for (unsigned which : { 0u, 1u })
		wait_for(which);
}

void Twins::hand_out(const std::vector<Sequence> &batch)
{
	std::uint32_t at = 0, n = 0;
	std::uint32_t size = static_cast<std::uint32_t>(batch.size());

	if (size > most_sequences)
		std::abort();
	for (const Sequence &sequence : batch) {
		shared_->first[n++] = at;
		if (at + sequence.size() > most_ops)
			std::abort();
		std::copy(sequence.begin(), sequence.end(), &shared_->ops[at]);
		at += static_cast<std::uint32_t>(sequence.size());
	}
	shared_->first[n] = at;
	shared_->n = n;

	for (unsigned which : { 0u, 1u }) {
		Side &s = side(which);
		end_[which].assign(size, Outcome::finished);
		s.log.init(s.memory, log_size);
		s.from = 0;
		s.progress = 0;
		s.go++;
		wake(s.go);
	}
}

// Until the batch is done; where one sequence is not, start a twin anew for the rest.
void Twins::wait_for(unsigned which)
{
	Side &s = side(which);
	std::uint32_t last = 0;

	for (std::time_t since = now(); s.done != s.go;) {
		timespec tick{ 0, 200'000'000 };
		std::uint32_t done = s.done;
		if (done != s.go)
			sleep_while(s.done, done, &tick);
		if (s.done == s.go)
			break;
		if (s.progress != last) {
			last = s.progress;
			since = now();
		}
		int status;
		bool died = waitpid(pid_[which], &status, WNOHANG) == pid_[which];
		if (died && WIFEXITED(status)) {
			std::fprintf(stderr, "fuzz: a twin could not go on\n");
			std::exit(3);
		}
		if (!died && now() - since < patience)
			continue;

		std::uint32_t stuck = s.progress;
		if (!died)
			retire(which);
		end_[which][stuck] = died ? Outcome::died : Outcome::hung;
		s.end[stuck] = s.log.used();
		s.fresh[stuck] = 0;
		s.from = last = stuck + 1;
		s.progress = stuck + 1;
		spawn(which);
		since = now();
		if (s.from == shared_->n) {
			s.done = s.go.load();
			break;
		}
	}
}

// Most are the same.
bool Twins::quick(std::uint32_t i, Twice &twice) const
{
	const Side &a = side(0), &b = side(1);
	std::uint32_t size = a.end[i] - a.start[i];

	twice.fresh = b.fresh[i];
	return !end_[0][i] && !end_[1][i] && size == b.end[i] - b.start[i] &&
	       std::memcmp(a.memory + a.start[i], b.memory + b.start[i], size) == 0;
}

void Twins::outcomes(std::uint32_t i, Twice &twice) const
{
	for (unsigned which : { 0u, 1u }) {
		const Side &s = side(which);
		Outcome &outcome = which ? twice.mine : twice.native;
		outcome.bytes.assign(s.memory + s.start[i], s.memory + s.end[i]);
		outcome.end = Outcome::End(end_[which][i]);
	}
}

std::vector<Twice> Twins::repeat(const Sequence &sequence, unsigned times)
{
	std::vector<Twice> results(times);

	execute(std::vector<Sequence>(times, sequence));
	for (std::uint32_t i = 0; i < times; i++)
		outcomes(i, results[i]);
	return results;
}
