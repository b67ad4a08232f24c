# SPDX-License-Identifier: GPL-2.0
# What operations cost; read by tests/Makefile. Static: its guest has no libraries.

PROGRAMS += bench

bench: $(OUT)/bench
.PHONY: bench

$(OBJ)/bench/bench.o: TEST_CXXFLAGS += -O2
$(OUT)/bench: $(OBJ)/bench/bench.o
	$(CXX) -static -pthread $(LDFLAGS) -o $@ $^ -luring
