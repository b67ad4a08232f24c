# SPDX-License-Identifier: GPL-2.0
# Programs for the tool to run, each linked in another way; read by tests/Makefile.

TOOL_OUT := $(OUT)/tool
TOOL_SOURCE := $(SUITES)tool/program.c
TOOL_CFLAGS := -O1 -g -Wall -Wextra -Werror

PROGRAMS += tool-programs

tool-programs: $(addprefix $(TOOL_OUT)/, \
	dynamic static static-pie musl musl-static go program32 needs-nothing-there)
$(TOOL_OUT):
	@mkdir -p $@

$(TOOL_OUT)/dynamic: TOOL_HOW := $(CC)
$(TOOL_OUT)/static: TOOL_HOW := $(CC) -static
$(TOOL_OUT)/static-pie: TOOL_HOW := $(CC) -static-pie
$(TOOL_OUT)/musl: TOOL_HOW := musl-gcc
$(TOOL_OUT)/musl-static: TOOL_HOW := musl-gcc -static
$(TOOL_OUT)/needs-nothing-there: TOOL_HOW := $(CC) -Wl,--dynamic-linker=/lib/ld-nowhere.so.2
$(addprefix $(TOOL_OUT)/,dynamic static static-pie musl musl-static needs-nothing-there): \
		$(TOOL_SOURCE) $(TOP)/uapi/myepoll.h $(SUITES)tool/rules.mk | $(TOOL_OUT)
	$(TOOL_HOW) $(TOOL_CFLAGS) -I$(TOP) -o $@ $<

# What Go's linker leaves in a program that is linked with libc too.
$(TOOL_OUT)/go: $(TOOL_OUT)/dynamic
	objcopy --add-section .note.go.buildid=$(TOOL_SOURCE) $< $@

$(TOOL_OUT)/program32: $(SUITES)tool/program32.c $(TOP)/uapi/myepoll.h | $(TOOL_OUT)
	$(CC) -m32 $(TOOL_CFLAGS) -I$(TOP) -isystem /usr/include/x86_64-linux-gnu -ffreestanding \
		-fno-stack-protector -nostdlib -static -o $@ $<

.PHONY: tool-programs
