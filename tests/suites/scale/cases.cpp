// SPDX-License-Identifier: GPL-2.0
// Very many watches end at once. What takes a million steps takes its time, in
// epoll too; but not much more than there, not more than a million, and not without
// letting others run.
#include "scale.hpp"

#include <cmath>
#include <cstdio>
#include <string>

#include <fcntl.h>
#include <unistd.h>

#include "catch.hpp"

namespace {

// Descriptors below are the program's own
constexpr int first_file = 100;

std::string number(int n)
{
	return std::to_string(n);
}

const std::pair<End, const char *> all_ends[] = {
	{ End::files, "files closed" },
	{ End::instances, "instances closed" },
	{ End::exit, "exit" },
	{ End::kill, "kill -9" },
};

// One file under many numbers, in many instances
auto one_file(int copies, int instances)
{
	return [=](World &world) {
		int fd = new_eventfd(1);

		for (int i = 0; i < copies; i++)
			copy_to(fd, first_file + i);
		close(fd);
		world.files = { first_file };
		world.copies = copies;
		make_instances(world, instances, first_file + copies);
		add_all(world, EPOLLIN);
	};
}

auto many_files(int files, int instances)
{
	return [=](World &world) {
		for (int i = 0; i < files; i++) {
			int fd = new_eventfd(i % 2);

			copy_to(fd, first_file + i);
			close(fd);
			world.files.push_back(first_file + i);
		}
		make_instances(world, instances, first_file + files);
		add_all(world, EPOLLIN);
	};
}

} // namespace

TEST_CASE("one file under very many numbers, in one instance")
{
	int n = watches_wanted();

	for (auto [end, name] : all_ends)
		compare("1 file x " + number(n) + " fds: " + name, end, one_file(n, 1));
}

TEST_CASE("very many files in one instance")
{
	int n = watches_wanted() / 8;

	for (auto [end, name] : all_ends)
		compare(number(n) + " files: " + name, end, many_files(n, 1));
}

TEST_CASE("many files, all of them in many instances")
{
	int n = static_cast<int>(std::sqrt(watches_wanted()));

	for (auto [end, name] : all_ends)
		compare(number(n) + " files x " + number(n) + " instances: " + name, end, many_files(n, n));
}

TEST_CASE("others run while a file closes, however many watches it has")
{
	for (int n = watches_wanted() / 100; n <= watches_wanted(); n *= 10) {
		int copies = std::min(n, 1000);

		for (End end : { End::files, End::instances })
			compare("1 file x " + number(copies) + " fds x " + number(n / copies) + " instances: " +
					(end == End::files ? "file closed" : "instances closed"),
				end, one_file(copies, n / copies));
	}
}

TEST_CASE("a wait among very many that are ready takes what it takes among few")
{
	constexpr int rounds = 2000, room = 64;
	double ms[2][2]; // [backend][many]

	make_room();
	for (const Backend *backend : { &native_epoll(), &be() })
		for (bool many : { false, true }) {
			int n = many ? watches_wanted() : 1000;
			int status = 0;
			Ends answer = make_pipe();
			fcntl(answer.r, F_SETFL, 0);
			pid_t child = start_child([&] {
				World world;
				epoll_event events[room];
				double took;

				world.backend = backend;
				one_file(n, 1)(world);
				took = static_cast<double>(elapsed_of([&] {
					for (int i = 0; i < rounds; i++)
						must(backend->wait(world.instances[0], events, room, 0), "wait");
				}).count());
				return write(answer.w, &took, sizeof took) == sizeof took ? 0 : 1;
			});
			answer.w.reset();
			double took = 0;
			ssize_t size = read(answer.r, &took, sizeof took);
			status = child_status(child);
			REQUIRE(status == 0);
			REQUIRE(size == sizeof took);
			ms[backend != &native_epoll()][many] = took;
			std::printf("  %d waits for %d of %d ready: %s %.0f ms\n", rounds, room, n,
				    backend->name().c_str(), took);
		}
	if (be().native())
		return;
	compare_ms("waits", ms[0][1], ms[1][1]);
	CHECK(ms[1][1] <= 3 * ms[1][0] + 1000);
}

TEST_CASE("fdinfo of very many watches")
{
	double ms[2];

	make_room();
	for (const Backend *backend : { &native_epoll(), &be() }) {
		Ends answer = make_pipe();
		fcntl(answer.r, F_SETFL, 0);
		pid_t child = start_child([&] {
			World world;
			double took;
			std::string text;

			world.backend = backend;
			one_file(watches_wanted(), 1)(world);
			took = static_cast<double>(elapsed_of([&] { text = fdinfo(world.instances[0]); }).count());
			long lines = 0;
			for (std::size_t at = 0; (at = text.find("tfd:", at)) != std::string::npos; at++)
				lines++;
			if (lines != watches_wanted())
				return 2;
			return write(answer.w, &took, sizeof took) == sizeof took ? 0 : 1;
		});
		answer.w.reset();
		double took = 0;
		ssize_t size = read(answer.r, &took, sizeof took);
		REQUIRE(child_status(child) == 0);
		REQUIRE(size == sizeof took);
		ms[backend != &native_epoll()] = took;
		std::printf("  fdinfo of %d: %s %.0f ms\n", watches_wanted(), backend->name().c_str(), took);
	}
	if (!be().native())
		compare_ms("fdinfo", ms[0], ms[1]);
}
