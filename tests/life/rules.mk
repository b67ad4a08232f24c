# SPDX-License-Identifier: GPL-2.0
# What tests/life needs beside its scripts; read by tests/Makefile.
#
#   life-echo		the traffic that runs on the preload library
#   life-modules	module/, for each kernel of build/kernels, in a directory
#			named by its release: build/tests/life/RELEASE/fput_patch.ko

PROGRAMS += life-echo life-modules

life-echo: $(OUT)/life-echo
$(OUT)/life-echo: $(OBJ)/life/echo.o
	$(CXX) -pthread $(LDFLAGS) -o $@ $^

life_trees := $(wildcard $(TOP)/build/kernels/*/lib/modules/*/build/Module.symvers)
life_release = $(notdir $(patsubst %/build/Module.symvers,%,$(1)))

# Kbuild writes its objects beside the sources.
define life_module
$(OUT)/life/$(call life_release,$(1))/fput_patch.ko: $(HERE)life/module/fput_patch.c $(HERE)life/module/Kbuild $(1)
	@mkdir -p $$(@D)
	cp $(HERE)life/module/fput_patch.c $(HERE)life/module/Kbuild $$(@D)
	+$(MAKE) -C $(dir $(1)) M=$$(@D) W=1 modules
	@touch $$@
life-modules: $(OUT)/life/$(call life_release,$(1))/fput_patch.ko
endef
$(foreach tree,$(life_trees),$(eval $(call life_module,$(tree))))

.PHONY: life-echo life-modules
