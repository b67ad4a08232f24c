# SPDX-License-Identifier: GPL-2.0
# The differential fuzzer; read by tests/Makefile.

PROGRAMS += fuzz

fuzz_objects := $(patsubst %.cpp,$(OBJ)/%.o,support/backend.cpp $(call sources,fuzz))

# Speed is how much it finds.
$(OBJ)/fuzz/%.o: TEST_CXXFLAGS += -O2

$(OUT)/fuzz: $(fuzz_objects)
	$(CXX) -pthread $(LDFLAGS) -o $@ $^
fuzz: $(OUT)/fuzz
.PHONY: fuzz
