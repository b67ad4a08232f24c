# SPDX-License-Identifier: GPL-2.0
# What operations cost; read by tests/Makefile. Static: its guest has no libraries.

PROGRAMS += bench

bench: $(OUT)/bench
.PHONY: bench

$(OBJ)/bench/bench.o: TEST_CXXFLAGS += -O2
$(OUT)/bench: $(OBJ)/bench/bench.o
	$(CXX) -static -pthread $(LDFLAGS) -o $@ $^ -luring

PROGRAMS += bench-threads

bench-threads: $(OUT)/bench-threads
.PHONY: bench-threads

$(OBJ)/bench/threads.o: TEST_CXXFLAGS += -O2
$(OUT)/bench-threads: $(OBJ)/bench/threads.o
	$(CXX) -pthread $(LDFLAGS) -o $@ $^

# For tests/suites/bench/programs.py: a client, and the echo server on the kernel's epoll.
PROGRAMS += load echo-on-epoll

load: $(OUT)/load
echo-on-epoll: $(OUT)/echo-on-epoll
.PHONY: load echo-on-epoll

$(OUT)/load: $(OBJ)/bench/load.o
	$(CXX) -static $(LDFLAGS) -o $@ $^

$(OBJ)/bench/on_epoll.o: $(SUITES)bench/on_epoll.c
	@mkdir -p $(@D)
	$(CC) -O2 -g -Wall -Wextra -Werror -MMD -MP -I$(TOP) -c -o $@ $<

USERSPACE := $(TOP)/build/userspace
$(OUT)/echo-on-epoll: $(USERSPACE)/examples/echo-server.o $(USERSPACE)/libmyepoll++.a $(OBJ)/bench/on_epoll.o
	$(CXX) $(LDFLAGS) -o $@ $^

# By the names of libc's functions, which the preload library takes.
PROGRAMS += calls

calls: $(OUT)/calls
.PHONY: calls

$(OBJ)/bench/calls.o: TEST_CXXFLAGS += -O2
$(OUT)/calls: $(OBJ)/bench/calls.o
	$(CXX) -pthread $(LDFLAGS) -o $@ $^

# For tests/suites/bench/shares
PROGRAMS += prefork

prefork: $(OUT)/prefork
.PHONY: prefork

$(OUT)/prefork: $(SUITES)bench/prefork.c
	$(CC) -O2 -Wall -Wextra -Werror -o $@ $<
