# SPDX-License-Identifier: GPL-2.0
# What the tests in tests/suites/peers run that is no package of Debian's.

PROGRAMS += peers

peers: $(addprefix $(OUT)/peers/,mark onlooker echo-glibc echo-musl epoll_wakeup_test)
peers: $(if $(shell command -v go),$(OUT)/peers/go-http)
peers: $(if $(wildcard /usr/share/cargo/registry/tokio-1*),$(OUT)/peers/tokio-echo)

peers_programs := $(SUITES)peers/programs
PEERS_CFLAGS := -std=gnu11 -O2 -Wall -Wextra -Werror

$(addprefix $(OUT)/peers/,mark onlooker): $(OUT)/peers/%: $(peers_programs)/%.c $(TOP)/uapi/myepoll.h
	@mkdir -p $(@D)
	$(CC) $(PEERS_CFLAGS) -I$(TOP) -o $@ $<

$(OUT)/peers/echo-glibc: $(peers_programs)/echo.c
	@mkdir -p $(@D)
	$(CC) $(PEERS_CFLAGS) -pthread -static -o $@ $<

$(OUT)/peers/echo-musl: $(peers_programs)/echo.c
	@mkdir -p $(@D)
	musl-gcc $(PEERS_CFLAGS) -pthread -static -o $@ $<

# A module of one file has no need of go.mod; Go keeps what it compiles, here.
$(OUT)/peers/go-http: $(peers_programs)/http.go
	@mkdir -p $(@D)
	GO111MODULE=off GOCACHE=$(OUT)/go-cache CGO_ENABLED=0 go build -trimpath -o $@ $<

# On tokio as Debian packages it, by the compiler of the same, and without the network.
crates := /usr/share/cargo/registry

$(OUT)/peers/tokio-echo: $(wildcard $(peers_programs)/tokio/Cargo.toml $(peers_programs)/tokio/src/*.rs)
	@mkdir -p $(OUT)/peers/tokio
	cp -r $(peers_programs)/tokio/. $(OUT)/peers/tokio
	cd $(OUT)/peers/tokio && CARGO_HOME=$(OUT)/cargo RUSTFLAGS='-C target-feature=+crt-static' RUSTC=/usr/bin/rustc \
		/usr/bin/cargo build --release --offline --quiet --target x86_64-unknown-linux-gnu \
		--config 'source.crates-io.replace-with="debian"' \
		--config 'source.debian.directory="$(crates)"'
	cp $(OUT)/peers/tokio/target/x86_64-unknown-linux-gnu/release/tokio-echo $@

# The kernel's own epoll selftest, for kernel-selftest: out of the source that Debian
# packages, never a copy of it in this repository.

KERNEL_SOURCE ?= /usr/src/linux-source-6.12.tar.xz

peers_src := $(OUT)/peers/kernel
selftests := tools/testing/selftests
wakeup_test := $(selftests)/filesystems/epoll/epoll_wakeup_test.c

# Changed in the copy, and checked to be changed:
# - 30 s a case is not enough in an emulated guest, and neither is the second
#   within which epoll60 wants ten threads to have run (one that missed its
#   wakeup will not run in twenty either);
# - a case's process ends by exit(), so that the preload library can say what
#   the case used.
$(peers_src)/$(wakeup_test): $(KERNEL_SOURCE) $(SUITES)peers/rules.mk
	@mkdir -p $(peers_src)
	tar -xf $< -m -C $(peers_src) --strip-components=1 --occurrence=1 \
		$(addprefix $(basename $(basename $(notdir $<)))/, \
			$(selftests)/kselftest.h $(selftests)/kselftest_harness.h $(wakeup_test))
	cd $(peers_src)/$(selftests) && \
		sed -i -e 's/^#define TEST_TIMEOUT_DEFAULT 30$$/#define TEST_TIMEOUT_DEFAULT 300/' \
			-e 's/\<_exit(t->exit_code)/exit(t->exit_code)/' kselftest_harness.h && \
		grep -q 'TEST_TIMEOUT_DEFAULT 300$$' kselftest_harness.h && \
		grep -q '[[:space:]]exit(t->exit_code)' kselftest_harness.h
	sed -i 's/msecs() < ms + 1000)/msecs() < ms + 20000)/' $@
	grep -q 'ms + 20000)' $@

# Its own choice of warnings is the kernel's, not ours
$(OUT)/peers/epoll_wakeup_test: $(peers_src)/$(wakeup_test)
	$(CC) -O2 -w -pthread -o $@ $<

.PHONY: peers
