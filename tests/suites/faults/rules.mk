# SPDX-License-Identifier: GPL-2.0
# Failing allocations and exhausted limits; read by tests/Makefile.
#
#   exhaustion	limits of every sort, and waiters that are killed, stopped, frozen
#   faults	each allocation of each call fails; for a kernel with fault injection
#   fault-load	the same for the module's load, which it does itself

PROGRAMS += exhaustion faults fault-load

F_OBJECTS := $(patsubst %.cpp,$(OBJ)/%.o,catch_main.cpp $(support_sources) faults/klog.cpp faults/cgroup.cpp)

exhaustion faults fault-load: %: $(OUT)/%
.PHONY: exhaustion faults fault-load

$(OUT)/exhaustion: $(OBJ)/faults/exhaustion.o $(F_OBJECTS)
$(OUT)/faults: $(OBJ)/faults/faults.o $(OBJ)/faults/inject.o $(F_OBJECTS)
$(OUT)/fault-load: $(OBJ)/faults/fault_load.o $(OBJ)/faults/inject.o $(F_OBJECTS)
$(OUT)/exhaustion $(OUT)/faults $(OUT)/fault-load:
	$(CXX) -pthread $(LDFLAGS) -o $@ $^
