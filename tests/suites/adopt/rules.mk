# SPDX-License-Identifier: GPL-2.0
# A 32-bit program for tests/suites/adopt; read by tests/Makefile.

PROGRAMS += whose32

whose32: $(OUT)/whose32
.PHONY: whose32

$(OUT)/whose32: $(SUITES)adopt/whose32.c
	$(CC) -m32 -I/usr/include/$(shell $(CC) -dumpmachine) -O1 -Wall -Wextra -Werror -ffreestanding -fno-stack-protector -fno-pic -nostdlib -static -o $@ $<
