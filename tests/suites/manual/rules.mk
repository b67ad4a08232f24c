# SPDX-License-Identifier: GPL-2.0
# The examples of docs/man, compiled as their readers would; read by tests/Makefile.

PROGRAMS += manual-examples

MANUAL_OUT := $(OUT)/manual
MANUAL_PAGES := $(wildcard $(TOP)/docs/man/*.[1-9])
MANUAL_EXAMPLES := $(shell sed -n 's/^\.\\" example //p' $(MANUAL_PAGES))
MANUAL_FLAGS := -O2 -Wall -Wextra -Werror -I$(TOP)/userspace/include
MANUAL_LIBS := -L$(TOP)/build/userspace -Wl,-rpath,'$$ORIGIN/../../userspace'

manual-examples: $(addprefix $(MANUAL_OUT)/,$(MANUAL_EXAMPLES) $(basename $(filter %.c %.cpp,$(MANUAL_EXAMPLES))))
.PHONY: manual-examples

# Anew as a whole: an example that is gone must not be run any more.
$(MANUAL_OUT)/extracted: $(MANUAL_PAGES) $(SUITES)manual/examples
	rm -rf $(@D)
	$(SUITES)manual/examples $(@D) $(MANUAL_PAGES)
	touch $@
$(addprefix $(MANUAL_OUT)/,$(MANUAL_EXAMPLES)): $(MANUAL_OUT)/extracted ;

$(patsubst %.c,$(MANUAL_OUT)/%,$(filter %.c,$(MANUAL_EXAMPLES))): %: %.c | w-userspace
	$(CC) $(MANUAL_FLAGS) -o $@ $< $(MANUAL_LIBS) -lmyepoll
$(patsubst %.cpp,$(MANUAL_OUT)/%,$(filter %.cpp,$(MANUAL_EXAMPLES))): %: %.cpp | w-userspace
	$(CXX) -std=c++20 $(MANUAL_FLAGS) -o $@ $< $(MANUAL_LIBS) -lmyepoll++ -lmyepoll
