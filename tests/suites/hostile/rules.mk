# SPDX-License-Identifier: GPL-2.0
# Hostile callers; read by tests/Makefile.

PROGRAMS += hostile

$(eval $(call program,hostile))
