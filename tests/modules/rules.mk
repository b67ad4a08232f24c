# SPDX-License-Identifier: GPL-2.0
# Modules that the tests load, for each kernel of build/kernels, in a directory
# named by its release: build/tests/modules/RELEASE/NAME.ko. Read by tests/Makefile.

PROGRAMS += modules

modules_trees := $(wildcard $(TOP)/build/kernels/*/lib/modules/*/build/Module.symvers)
modules_release = $(notdir $(patsubst %/build/Module.symvers,%,$(1)))
modules_sources := $(wildcard $(HERE)modules/*.[ch]) $(HERE)modules/Kbuild

# Kbuild writes its objects beside the sources.
define test_modules
$(OUT)/modules/$(call modules_release,$(1))/built: $(modules_sources) $(1)
	@mkdir -p $$(@D)
	cp $(modules_sources) $$(@D)
	+$(MAKE) -C $(dir $(1)) M=$$(@D) W=1 modules
	@touch $$@
modules: $(OUT)/modules/$(call modules_release,$(1))/built
endef
$(foreach tree,$(modules_trees),$(eval $(call test_modules,$(tree))))

.PHONY: modules
