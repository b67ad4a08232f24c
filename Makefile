# SPDX-License-Identifier: GPL-2.0
#
# What people type; "make help" lists it. All output goes to build/.
#
# KVER says for which kernel the module is built: 6.1 or 6.12 are those that
# scripts/setup keeps in build/kernels/ for the VM, kasan, lockdep and kcsan those
# that scripts/debug-kernel builds there; anything else is a release with headers
# in /lib/modules. Each has a directory of its own, to which the
# sources are copied, since Kbuild writes its objects beside them.

KVER	?= $(shell uname -r)
KERNEL	?= 6.12
VM_KERNELS := 6.1 6.12
DEBUG_KERNELS := kasan lockdep kcsan

BUILD	:= $(CURDIR)/build
MDIR	:= $(BUILD)/module/$(KVER)

release	:= $(shell cat $(BUILD)/kernels/$(KVER)/release 2>/dev/null)
KDIR	?= $(if $(release),$(BUILD)/kernels/$(KVER)/lib/modules/$(release)/build,/lib/modules/$(KVER)/build)

sources	:= Kbuild VERSION $(wildcard module/*.[ch] uapi/*.h)
copies	:= $(addprefix $(MDIR)/,$(sources))

# The long targets use the machine, unless -j says how much of it.
parallel = $(if $(filter -j%,$(MAKEFLAGS)),,-j$(shell nproc))

module: $(MDIR)/myepoll.ko

help:
	@echo 'make demo          set up, build, and show redis and a static program on myepoll in a VM'
	@echo 'make test          set up, build, and run all tests on $(VM_KERNELS)'
	@echo
	@echo 'make [module]      the module for KVER= (default: this kernel, $(shell uname -r))'
	@echo 'make userspace     the C and C++ libraries, the preload library, the tool, examples'
	@echo 'make install       both, with headers and manual, below PREFIX=$(PREFIX); make uninstall'
	@echo '                   (install-module and install-userspace for one of them)'
	@echo 'make deb           Debian packages, in build/deb'
	@echo 'make tests-build   the test programs'
	@echo 'make setup         fetch packages and the kernels for the VM'
	@echo 'make test-debug    run the tests on kernels made to catch mistakes: $(DEBUG_KERNELS)'
	@echo '                   (DEBUG=kasan for one, SUITE= for the suites of such a name)'
	@echo 'make test-long     what takes long: other tracers, 200 loads, 1,000,000 watches, more programs'
	@echo 'make test-native   the servers of make test on the kernel'\''s own epoll'
	@echo 'make test-packages build the Debian packages and try them on clean machines of Debian 12 and 13, as root'
	@echo '                   (QUICK=y: on Debian 12, without guests)'
	@echo 'make fuzz          random operations on epoll and myepoll at once, compared'
	@echo '                   (TIME=$(TIME) seconds, SEED=, KERNEL=$(KERNEL))'
	@echo 'make bench         what operations cost, in instructions, beside epoll (KERNEL= for one)'
	@echo 'make bench-native  the same in wall time, here, where the module is loaded'
	@echo 'make soak          everything together for MINUTES=$(MINUTES)'
	@echo 'make mistakes      plant mistakes in the module: the tests must notice each'
	@echo 'make model         search models of the races for a broken promise'
	@echo 'make coverage      which lines of the module the tests reach'
	@echo 'make tour          see how an epoll works: a program'\''s turn, step by step, in a VM'
	@echo 'make vm            a shell in a VM with the module loaded (KERNEL=$(KERNEL))'
	@echo 'make check         compiler warnings, sparse, checkpatch, kernel-doc, shellcheck, clang-tidy'
	@echo 'make html-man      the manual as HTML, in build/man'
	@echo 'make clean         remove what was built, but not the kernels and machines'

# --- the module

$(copies): $(MDIR)/%: %
	@mkdir -p $(@D)
	@cp -p $< $@

# Another kernel of the same series is a reason to start from scratch: the times
# of its headers are those of Debian's build, older than our objects.
release_file := $(if $(release),$(BUILD)/kernels/$(KVER)/release)

# Counted by line and by branch, for make coverage and the fuzzer.
coverage := $(if $(filter kasan,$(KVER)),GCOV_PROFILE=y KCOV_INSTRUMENT=y)

$(MDIR)/myepoll.ko: $(KDIR)/Module.symvers $(copies) $(release_file)
	$(if $(and $(release_file),$(filter $(release_file),$?)),$(MAKE) -C $(KDIR) M=$(MDIR) clean)
	$(MAKE) -C $(KDIR) M=$(MDIR) W=1 $(coverage) modules
	@touch $@

# Only when there are no headers.
/lib/modules/%/build/Module.symvers:
	@echo "There are no headers for kernel '$*'. Either install them (on Debian:"
	@echo "apt-get install linux-headers-$*), or build for the kernels of the VM:"
	@echo "'make setup', then 'make KVER=6.1' or 'make KVER=6.12'."
	@false

$(VM_KERNELS:%=module-%) $(DEBUG_KERNELS:%=module-%): module-%:
	@$(MAKE) --no-print-directory KVER=$* module

# --- install and uninstall: PREFIX=, LIBDIR=, DESTDIR=, and KVER= for the module

PREFIX	?= /usr/local
MODULES	:= $(DESTDIR)/lib/modules/$(or $(release),$(KVER))
depmod	= /sbin/depmod $(if $(DESTDIR),-b $(DESTDIR)) $(or $(release),$(KVER))

install: install-module install-userspace
uninstall: uninstall-module uninstall-userspace

# Loaded at each boot; systemd looks for both of the latter in /usr/local too.
install-module: module
	install -D -m 644 -t $(MODULES)/updates $(MDIR)/myepoll.ko
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/modules-load.d packaging/myepoll.conf
	install -D -m 644 -t $(DESTDIR)$(PREFIX)/lib/udev/rules.d packaging/60-myepoll.rules
	$(depmod)

uninstall-module:
	$(RM) $(MODULES)/updates/myepoll.ko
	$(RM) $(DESTDIR)$(PREFIX)/lib/modules-load.d/myepoll.conf
	$(RM) $(DESTDIR)$(PREFIX)/lib/udev/rules.d/60-myepoll.rules
	$(depmod)

# With its libraries, headers, manual: see there.
install-userspace uninstall-userspace: %-userspace:
	@$(MAKE) --no-print-directory -C userspace $*

# Debian packages, in build/deb
deb:
	@scripts/setup --packages
	@scripts/deb

# --- the rest

userspace:
	@$(MAKE) --no-print-directory -C userspace

tests-build: userspace
	@$(MAKE) --no-print-directory -C tests

all: $(VM_KERNELS:%=module-%) userspace tests-build

setup:
	@scripts/setup

# Quiet but for the steps; the log has the compiler's words.
built: setup
	@scripts/step build/log/build.log 'building' \
		$(MAKE) --no-print-directory $(parallel) all

demo: setup
	@scripts/step build/log/build.log 'building' \
		$(MAKE) --no-print-directory $(parallel) module-6.12 userspace demo-program
	@scripts/demo

# The one that is adopted
demo-program:
	@$(MAKE) --no-print-directory -C tests $(BUILD)/tests/peers/echo-glibc

# SEED: fuzz with it too, a while.
test: built
	@tests/run $(SEED:%=--seed %)

# The other side of the comparison, for the peers whose tests expect fixed verdicts.
test-native: built
	@tests/run --native

# The packages come first: what is not there is not built.
test-long:
	@scripts/setup --peers
	@$(MAKE) --no-print-directory built
	@tests/run --long $(SUITE:%=--suite %)

# The machines are made once, into build/machines.
test-packages: $(if $(QUICK),setup,built)
	@tests/suites/packages/run $(if $(QUICK),--quick)

# The debug kernels are built once, into build/kernels.
DEBUG ?= $(DEBUG_KERNELS)

debug-built: setup
	@scripts/debug-kernel $(DEBUG)
	@scripts/step build/log/build.log 'building' \
		$(MAKE) --no-print-directory $(parallel) $(DEBUG:%=module-%) userspace tests-build

# SUITE: only those with such a name.
test-debug: debug-built
	@tests/run $(DEBUG:%=--kernel %) $(SUITE:%=--suite %)

TIME	?= 60
MINUTES	?= 30

fuzz: setup
	@$(if $(filter $(KERNEL),$(DEBUG_KERNELS)),scripts/debug-kernel $(KERNEL))
	@scripts/step build/log/build.log 'building' \
		$(MAKE) --no-print-directory $(parallel) module-$(KERNEL) tests-build
	@tests/suites/fuzz/run --kernel $(KERNEL) --seconds $(TIME) $(SEED:%=--seed=%)

# Both kernels, unless KERNEL is given.
bench: built
	@tests/suites/bench/run $(if $(filter file,$(origin KERNEL)),,--kernel $(KERNEL))

bench-native: tests-build
	@echo 'Nanoseconds on this machine, under its load of now: they hold for it alone.'
	@build/tests/bench
	@build/tests/bench-threads
	@echo 'perf bench epoll, on epoll and through the preload library:'
	@perf bench epoll wait
	@LD_PRELOAD=$(BUILD)/userspace/libmyepoll-preload.so MYEPOLL_STRICT=1 perf bench epoll wait

soak: built
	@tests/suites/soak/run --minutes $(MINUTES) --kernel $(KERNEL)

mistakes: debug-built built
	@tests/tools/plant

coverage: DEBUG := kasan
coverage: debug-built
	@tests/tools/coverage/run

# The status of the shell, its last command's, is no error; 125 is the VM's own.
vm: setup
	@scripts/step build/log/build.log 'building' \
		$(MAKE) --no-print-directory $(parallel) module-$(KERNEL) userspace
	@scripts/vm --kernel $(KERNEL) || [ $$? -ne 125 ]

# As root in the guest, where the program is adopted.
tour: setup
	@scripts/step build/log/build.log 'building' \
		$(MAKE) --no-print-directory $(parallel) module-$(KERNEL) userspace
	@scripts/vm --kernel $(KERNEL) --module-args adopt=1 -- build/userspace/myepoll tour

check:
	@scripts/setup --check
	@scripts/check

# The manual as HTML, in build/man. Of what is not in this directory there is no page to link to.
html-man: setup
	@mkdir -p $(BUILD)/man
	@cd docs/man && for page in $$(grep -L '^\.so ' *.[1-9]); do \
		mandoc -T html -O 'toc,man=%N.%S.html;#' $$page >$(BUILD)/man/$$page.html || exit; \
	done
	@ls $(BUILD)/man/*.html

# The models are in Promela, for spin.
model: setup
	@tests/model/run

clean:
	$(RM) -r $(addprefix $(BUILD)/,bench check coverage deb fuzz log man mistakes model module packages tests userspace vm)

.PHONY: all bench bench-native built check clean coverage deb debug-built demo demo-program fuzz help html-man
.PHONY: install install-module install-userspace mistakes uninstall-module uninstall-userspace
.PHONY: model module setup soak test test-debug test-long test-native test-packages tests-build tour uninstall userspace vm $(VM_KERNELS:%=module-%) $(DEBUG_KERNELS:%=module-%)
.DELETE_ON_ERROR:
