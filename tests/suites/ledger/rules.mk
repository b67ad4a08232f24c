# SPDX-License-Identifier: GPL-2.0
# Read by tests/Makefile. Options and races are those of the stress suite.

PROGRAMS += ledger

$(eval $(call program,ledger,-luring))
$(OUT)/ledger: $(OBJ)/stress/stress.o
