// SPDX-License-Identifier: GPL-2.0
#include "stress.hpp"

#include <cstdlib>
#include <cstring>
#include <mutex>

#include "backend.hpp"

namespace {

double seconds = 4;

std::mutex what_lock;

} // namespace

std::chrono::milliseconds race_time()
{
	return milliseconds(static_cast<long>(seconds * 1000));
}

extern "C" int take_test_options(int *argc, char **argv);

extern "C" int take_test_options(int *argc, char **argv)
{
	const char *text = take_option(argc, argv, "--seconds");

	if (!text)
		text = std::getenv("MYEPOLL_TEST_SECONDS");
	if (text)
		seconds = std::atof(text);
	return take_backend_option(argc, argv);
}

void Race::run(int threads, Body body)
{
	for (int i = 0; i < threads; i++)
		threads_.emplace_back([this, body] {
			std::mt19937 random(seed_++);
			// Once at least, on a host that gave it no turn in time
			do {
				body(random);
				rounds_++;
			} while (!over());
		});
}

void Race::run_beside(int threads, Body body, std::function<void()> wake)
{
	if (wake)
		wake_ = std::move(wake);
	for (int i = 0; i < threads; i++) {
		beside_running_++;
		beside_.emplace_back([this, body] {
			std::mt19937 random(seed_++);
			while (!stop_)
				body(random);
			beside_running_--;
		});
	}
}

void Race::fail(const std::string &what)
{
	std::lock_guard guard(what_lock);
	if (!failed_.exchange(true))
		what_ = what;
}

std::string Race::join()
{
	for (auto &thread : threads_)
		thread.join();
	threads_.clear();
	stop_ = true;
	while (wake_ && beside_running_ > 0) {
		wake_();
		std::this_thread::sleep_for(milliseconds(1));
	}
	for (auto &thread : beside_)
		thread.join();
	beside_.clear();
	return what_;
}
