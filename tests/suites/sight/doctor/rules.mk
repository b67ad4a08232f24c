# SPDX-License-Identifier: GPL-2.0
# What the doctor is tried on; read by tests/Makefile.
#
#   diagnosis		what it concludes, by events that are made up
#   sight/loops		loops with a fault each, and sound ones

PROGRAMS += diagnosis loops

DOCTOR_TOOL := $(addprefix $(TOP)/build/userspace/tool/,$(addsuffix .o,diagnosis instances describe proc events tracing))

diagnosis: $(OUT)/diagnosis
loops: $(OUT)/sight/loops
.PHONY: diagnosis loops

$(DOCTOR_TOOL): w-userspace ;
$(OUT)/diagnosis: $(OBJ)/catch_main.o $(OBJ)/sight/doctor/diagnosis.o $(DOCTOR_TOOL)
	$(CXX) -pthread $(LDFLAGS) -o $@ $^ $$(pkg-config --libs fmt libtracefs)

$(OUT)/sight/loops: $(SUITES)sight/doctor/loops.c
	@mkdir -p $(@D)
	$(CC) -O1 -g -Wall -Wextra -Werror -pthread -o $@ $<
