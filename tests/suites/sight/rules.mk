# SPDX-License-Identifier: GPL-2.0
# What the tests of the tool's eyes run and look at; read by tests/Makefile.
#
#   activity		the tool's counting, by events that are made up
#   sight/NAME		programs that are looked at, of NAME.c

SIGHT_OUT := $(OUT)/sight
SIGHT_PROGRAMS := $(patsubst $(SUITES)sight/%.c,$(SIGHT_OUT)/%,$(wildcard $(SUITES)sight/*.c))

PROGRAMS += sight-programs activity
TOOL_OBJECTS := $(TOP)/build/userspace/tool/

sight-programs: $(SIGHT_PROGRAMS)
$(SIGHT_OUT)/%: $(SUITES)sight/%.c $(TOP)/uapi/myepoll.h
	@mkdir -p $(@D)
	$(CC) -O1 -g -Wall -Wextra -Werror -pthread -I$(TOP) -o $@ $<

# What is not named in an event that is made up is 0.
$(OBJ)/sight/activity.o: TEST_CXXFLAGS += -Wno-missing-field-initializers

$(TOOL_OBJECTS)activity.o: w-userspace ;
$(OUT)/activity: $(OBJ)/catch_main.o $(OBJ)/sight/activity.o $(TOOL_OBJECTS)activity.o
	$(CXX) $(LDFLAGS) -o $@ $^
activity: $(OUT)/activity

.PHONY: sight-programs activity
