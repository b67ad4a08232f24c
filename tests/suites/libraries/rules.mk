# SPDX-License-Identifier: GPL-2.0
# The libraries' own tests; read by tests/Makefile.
#
#   libraries		with the shared libraries; echo-server has the static ones
#   libraries-asan	libraries and tests under ASan and UBSan
#   no-exceptions	a user without exceptions, with the static libraries (for both)
#   preload-program	what the preload library is tried on (by both)
#   pool-server-asan	the example under ASan, and pool-server-del-asan with DEL in the place of
#			DISABLE, which ASan must not like (for libraries)
#   libmyepoll-preload-ubsan.so	with traps for undefined behaviour (for libraries)

PROGRAMS += libraries libraries-asan preload-program pool-servers no-exceptions

W_BUILD	:= $(TOP)/build/userspace
W_LIBS	:= $(W_BUILD)/libmyepoll++.so $(W_BUILD)/libmyepoll.so
W_FLAGS	:= -I$(TOP) -I$(TOP)/userspace/include
W_SAN	:= -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
# The check of vptrs needs free descriptors, which one test has none of.
W_SAN	+= -fno-sanitize=vptr
W_TESTS	:= $(patsubst $(SUITES)%.cpp,%,$(filter-out %/program.cpp %/without.cpp,$(wildcard $(SUITES)libraries/*.cpp)))
W_ASAN	:= $(OBJ)/libraries-asan
W_CXX	:= $(patsubst $(TOP)/userspace/src/%.cpp,$(W_ASAN)/%.o,$(wildcard $(TOP)/userspace/src/*.cpp))

W_UBSAN	:= libmyepoll-preload-ubsan.so
W_MAP	:= $(TOP)/userspace/preload/libmyepoll-preload.map

libraries libraries-asan: %: $(OUT)/% $(OUT)/preload-program pool-servers no-exceptions
no-exceptions: $(OUT)/no-exceptions
preload-program: $(OUT)/preload-program
pool-servers: $(OUT)/pool-server-asan $(OUT)/pool-server-del-asan
.PHONY: libraries libraries-asan no-exceptions preload-program pool-servers w-userspace

# What the libraries consist of is known to their own Makefile.
w-userspace:
	$(MAKE) -C $(TOP)/userspace WERROR=-Werror all examples
$(W_LIBS): w-userspace ;

$(OBJ)/libraries/%.o: TEST_CXXFLAGS += $(W_FLAGS)

# Users who do without exceptions have the forms with an error_code.
$(OBJ)/libraries/no_exceptions.o $(W_ASAN)/libraries/no_exceptions.o $(OBJ)/libraries/without.o: \
	TEST_CXXFLAGS += -fno-exceptions -fno-rtti

$(OUT)/no-exceptions: $(OBJ)/libraries/without.o $(OBJ)/libraries/no_exceptions.o $(W_LIBS)
	$(CXX) -fno-exceptions -fno-rtti $(LDFLAGS) -o $@ $(filter %.o,$^) $(W_BUILD)/libmyepoll++.a $(W_BUILD)/libmyepoll.a

$(OUT)/libraries: $(addprefix $(OBJ)/,$(addsuffix .o,catch_main $(W_TESTS))) $(W_LIBS) | $(OUT)/$(W_UBSAN)
	$(CXX) -pthread $(LDFLAGS) -Wl,-rpath,'$$ORIGIN/../userspace' -o $@ $^

# An unmodified program has no runtime for a diagnosis, so a trap it is.
$(OUT)/$(W_UBSAN): $(TOP)/userspace/preload/preload.c $(W_MAP)
	@mkdir -p $(W_ASAN)
	$(CC) -std=gnu11 -O1 -g -Wall -Wextra -Werror -fexceptions -fPIC -shared -fvisibility=hidden \
		-fsanitize=undefined -fsanitize-undefined-trap-on-error -MMD -MP -MF $(W_ASAN)/preload.d \
		-Wl,-z,defs -Wl,-soname,$(W_UBSAN) -Wl,--version-script=$(W_MAP) $(CFLAGS) -o $@ $<

$(OUT)/preload-program: $(OBJ)/libraries/program.o $(OBJ)/libraries/util.o $(OUT)/libpreload-early.so \
		| $(OUT)/libpreload-next.so $(OUT)/libpreload-sanitizer.so
	$(CXX) -pthread $(LDFLAGS) -Wl,-rpath,'$$ORIGIN' -Wl,--no-as-needed -o $@ $^

$(OUT)/libpreload-%.so: $(SUITES)libraries/%.c
	@mkdir -p $(@D)
	$(CC) -Wall -Wextra -Werror -O1 -g -fPIC -shared -Wl,-soname,$(@F) -o $@ $<

$(addprefix $(W_ASAN)/,$(filter libraries/%,$(catch_users))): private TEST_CXXFLAGS += -include $(CATCH)
$(addprefix $(W_ASAN)/,$(filter libraries/%,$(catch_users))): $(CATCH).gch/asan
$(CATCH).gch/asan: $(CATCH)
	@mkdir -p $(@D)
	$(CXX) $(TEST_CXXFLAGS) $(W_FLAGS) $(W_SAN) $(CXXFLAGS) -x c++-header -o $@ $<

$(W_ASAN)/%.o: $(SUITES)%.cpp
	@mkdir -p $(@D)
	$(CXX) $(TEST_CXXFLAGS) $(W_FLAGS) $(W_SAN) $(CXXFLAGS) -c -o $@ $<
$(W_CXX): $(W_ASAN)/%.o: $(TOP)/userspace/src/%.cpp
	@mkdir -p $(@D)
	$(CXX) $(TEST_CXXFLAGS) $(W_FLAGS) $(W_SAN) $(CXXFLAGS) -c -o $@ $<
$(W_ASAN)/myepoll.o: $(TOP)/userspace/src/myepoll.c
	@mkdir -p $(@D)
	$(CC) -std=gnu11 -O1 -g -Wall -Wextra -Werror -fexceptions -MMD -MP $(W_SAN) $(CFLAGS) -c -o $@ $<

# Catch2's part is not what is to be checked, and with checks takes a minute to compile.
$(OUT)/libraries-asan: $(OBJ)/catch_main.o $(addprefix $(W_ASAN)/,$(addsuffix .o,$(W_TESTS) myepoll)) $(W_CXX)
	$(CXX) -pthread $(W_SAN) $(LDFLAGS) -o $@ $^

$(W_ASAN)/pool-server-del.cpp: $(TOP)/userspace/examples/pool-server.cpp
	@mkdir -p $(@D)
	sed 's/shared_\.disable(/shared_.remove(/' $< >$@
	! cmp -s $< $@
$(W_ASAN)/pool-server.o: $(TOP)/userspace/examples/pool-server.cpp
$(W_ASAN)/pool-server-del.o: $(W_ASAN)/pool-server-del.cpp
# The copy's header is beside the original.
$(W_ASAN)/pool-server.o $(W_ASAN)/pool-server-del.o:
	@mkdir -p $(@D)
	$(CXX) $(TEST_CXXFLAGS) -I$(TOP)/userspace/examples $(W_FLAGS) $(W_SAN) $(CXXFLAGS) -c -o $@ $<
$(OUT)/%-asan: $(W_ASAN)/%.o $(W_CXX) $(W_ASAN)/myepoll.o
	$(CXX) -pthread $(W_SAN) $(LDFLAGS) -o $@ $^

-include $(wildcard $(W_ASAN)/*.d $(W_ASAN)/*/*.d)
