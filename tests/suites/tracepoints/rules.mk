# SPDX-License-Identifier: GPL-2.0
# "Beyond epoll" is called as in suites/beyond; read by tests/Makefile.

$(OUT)/tracepoints: $(OBJ)/beyond/calls.o
