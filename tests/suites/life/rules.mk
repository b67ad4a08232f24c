# SPDX-License-Identifier: GPL-2.0
# What tests/suites/life needs beside its scripts, the traffic that runs on the preload
# library; read by tests/Makefile.

PROGRAMS += life-echo

life-echo: $(OUT)/life-echo
$(OUT)/life-echo: $(OBJ)/life/echo.o
	$(CXX) -pthread $(LDFLAGS) -o $@ $^

.PHONY: life-echo
