# SPDX-License-Identifier: GPL-2.0
# Failing allocations and exhausted limits; read by tests/Makefile.
#
#   exhaustion	limits of every sort, and waiters that are killed, stopped, frozen

PROGRAMS += exhaustion

F_OBJECTS := $(patsubst %.cpp,$(OBJ)/%.o,catch_main.cpp $(support_sources) faults/klog.cpp faults/cgroup.cpp)

exhaustion: $(OUT)/exhaustion
.PHONY: exhaustion

$(OUT)/exhaustion: $(OBJ)/faults/exhaustion.o $(F_OBJECTS)
	$(CXX) -pthread $(LDFLAGS) -o $@ $^
