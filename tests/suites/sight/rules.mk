# SPDX-License-Identifier: GPL-2.0
# What the tests of the tool look at; read by tests/Makefile.

SIGHT_OUT := $(OUT)/sight

PROGRAMS += sight-programs

sight-programs: $(SIGHT_OUT)/ls-cases
.PHONY: sight-programs

$(SIGHT_OUT)/ls-cases: $(SUITES)sight/ls-cases.c $(TOP)/uapi/myepoll.h
	@mkdir -p $(@D)
	$(CC) -O1 -g -Wall -Wextra -Werror -I$(TOP) -o $@ $<
