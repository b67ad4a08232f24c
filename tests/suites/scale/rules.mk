# SPDX-License-Identifier: GPL-2.0
# Very many watches; read by tests/Makefile.

PROGRAMS += scale

$(eval $(call program,scale))
