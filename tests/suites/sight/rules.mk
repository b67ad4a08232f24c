# SPDX-License-Identifier: GPL-2.0
# What the tests of the tool's eyes run and look at; read by tests/Makefile.
#
#   activity		the tool's counting, by events that are made up
#   sight/NAME		programs that are looked at, of NAME.c

SIGHT_OUT := $(OUT)/sight
SIGHT_PROGRAMS := $(patsubst $(SUITES)sight/%.c,$(SIGHT_OUT)/%,$(wildcard $(SUITES)sight/*.c))

PROGRAMS += sight-programs activity

sight-programs: $(SIGHT_PROGRAMS)
$(SIGHT_OUT)/%: $(SUITES)sight/%.c $(TOP)/uapi/myepoll.h
	@mkdir -p $(@D)
	$(CC) -O1 -g -Wall -Wextra -Werror -pthread -I$(TOP) -o $@ $<

$(OBJ)/sight/activity.o: TEST_CXXFLAGS += -Wno-missing-field-initializers

# The tool's own object is without the tests' warnings as errors.
$(OBJ)/tool-activity.o: $(TOP)/userspace/tool/activity.cpp
	@mkdir -p $(@D)
	$(CXX) $(TEST_CXXFLAGS) $(CXXFLAGS) -c -o $@ $<
$(OUT)/activity: $(OBJ)/catch_main.o $(OBJ)/sight/activity.o $(OBJ)/tool-activity.o
	$(CXX) $(LDFLAGS) -o $@ $^
activity: $(OUT)/activity

.PHONY: sight-programs activity
