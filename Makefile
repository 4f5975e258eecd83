# SPDX-License-Identifier: Apache-2.0
# make            build/hotdrain
# make run        follow /var/log/pods, or a demonstration tree where there is none
# make test       all tests; SAN=1: with ASan and UBSan; V=1: shows every command
# make torture    the same in full counts: hours;  make soak: SOAK_SECONDS of load, an hour
# make check      static analysis;  make bench: the benchmarks;  make image-test: build and run the image
# make deps       install (Debian) or list what is needed; run and test call it
# make install    DESTDIR=, PREFIX=/usr/local
# make monitoring writer inspect down reset    containers on one log volume (deploy/compose.yaml)
VERSION := 0.1.0
B       := build$(if $(SAN),/san)
Q       := $(if $(V),,@)
say      = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(patsubst $(B)/%,%,$@)')

ARCH    := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')
CC      ?= cc
CLANG   ?= clang
BPFTOOL ?= $(shell command -v bpftool || echo /usr/sbin/bpftool)
PKGS    := libbpf libelf zlib libcyaml libcap-ng jansson ncursesw
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
           -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wno-unused-parameter
CFLAGS  ?= -O2 -g
comma   := ,
SANFLAGS:= $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
ALL_CFLAGS = -std=gnu11 $(WARN) $(CFLAGS) $(SANFLAGS) -D_GNU_SOURCE -DVERSION='"$(VERSION)"' \
             -Iuser -Ibpf -I$(B) -MMD -MP $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS     = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -pthread

PREFIX  ?= /usr/local
SYSCONF ?= /etc
UNITDIR ?= $(PREFIX)/lib/systemd/system

SRC     := $(wildcard user/*.c user/*/*.c)
OBJ     := $(SRC:%.c=$(B)/%.o)
LIB_OBJ := $(filter-out $(B)/user/main.o,$(OBJ))
UNIT    := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*.c tests/unit/*/*.c))

HELPERS := $(patsubst %.c,$(B)/%,$(wildcard tests/e2e/*.c tests/bench/*.c))
FAULT   := $(patsubst %.c,$(B)/%,$(wildcard tests/fault/test_*.c))
FUZZ    := $(patsubst %.c,$(B)/%,$(wildcard tests/fuzz/fuzz_*.c))
TORTURE  = $(sort $(wildcard tests/torture/test_*)) $(FAULT)
SUITES   = $(UNIT) $(FUZZ) $(sort $(wildcard tests/lint/test_* tests/deploy/test_* tests/e2e/test_*)) \
           $(TORTURE) $(sort $(wildcard tests/vm/test_*))
CHECKS   = $(sort $(wildcard tests/lint/test_* tests/lint/check_*))
COMPOSE  = $$(docker compose version >/dev/null 2>&1 && echo docker compose || echo docker-compose) -f deploy/compose.yaml

all: $(B)/hotdrain
	@:

$(B)/hotdrain: $(OBJ)
	$(call say,LD)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/%.o: %.c | $(B)/write_count.skel.h $(B)/warm_reads.skel.h
	$(call say,CC)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/user/serve/page.o: user/serve/page.html

$(B)/write_count.bpf.o: bpf/write_slot.bpf.h bpf/write_count.h
$(B)/warm_reads.bpf.o: bpf/warm_reads.h

$(B)/%.bpf.o: bpf/%.bpf.c vmlinux/vmlinux.h
	$(call say,BPF)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -O2 -g -Wall -Werror -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Ibpf -Ivmlinux -c -o $@.tmp $<
	$(Q)llvm-strip -g $@.tmp && mv $@.tmp $@

$(B)/%.skel.h: $(B)/%.bpf.o
	$(call say,SKEL)
	$(Q)$(BPFTOOL) gen skeleton $< name $*_bpf > $@.tmp && mv $@.tmp $@

$(B)/tests/unit/%: tests/unit/%.c $(LIB_OBJ)
	$(call say,TEST)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/unit -o $@ $< $(LIB_OBJ) $(LIBS) -lcmocka

$(B)/tests/e2e/%: tests/e2e/%.c
	$(call say,TEST)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -fsanitize%,$(ALL_CFLAGS)) -static -o $@ $<

$(B)/tests/bench/%: tests/bench/%.c $(LIB_OBJ)
	$(call say,BENCH)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $< $(LIB_OBJ) $(LIBS)

# Not instrumented: they must be faster than what they measure.
$(addprefix $(B)/tests/bench/,copy gen_cri judge load): $(B)/tests/bench/%: tests/bench/%.c
	$(call say,BENCH)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(filter-out -fsanitize%,$(ALL_CFLAGS)) -o $@ $< -lz -lm

$(B)/tests/fuzz/%: tests/fuzz/%.c tests/fuzz/driver.c $(LIB_OBJ)
	$(call say,FUZZ)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/fuzz -o $@ $< tests/fuzz/driver.c $(LIB_OBJ) $(LIBS)

$(B)/tests/fault/%: tests/fault/%.c $(LIB_OBJ)
	$(call say,FAULT)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -o $@ $< $(LIB_OBJ) $(LIBS)

tests: $(UNIT) $(HELPERS) $(FUZZ) $(FAULT)

# Prerequisites are installed before make looks at what they build, hence the second make.
deps:
	$(Q)deploy/deps build

run:
	$(Q)deploy/deps build
	$(Q)$(MAKE) --no-print-directory all
	$(Q)exec tests/demo/run $(B)/hotdrain

test:
	$(Q)deploy/deps test
	$(Q)$(MAKE) --no-print-directory all tests
	$(Q)B=$(B) SAN=$(SAN) tests/run $(SUITES)

# The counts in full: hours. make test has a short form of each.
torture:
	$(Q)deploy/deps test
	$(Q)$(MAKE) --no-print-directory all tests
	$(Q)TORTURE=1 TEST_TIMEOUT=7200 B=$(B) SAN=$(SAN) tests/run $(TORTURE)

# SOAK_SECONDS (3600) of files, rotations and restarts: memory, descriptors and watches stay flat.
soak:
	$(Q)deploy/deps test
	$(Q)$(MAKE) --no-print-directory all tests
	$(Q)TEST_TIMEOUT=7200 B=$(B) tests/run tests/torture/soak.py

check:
	$(Q)deploy/deps test
	$(Q)$(MAKE) --no-print-directory all
	$(Q)B=$(B) tests/run $(CHECKS)

# About 35 minutes; BENCH_QUICK=1: one short run of each load.
bench:
	$(Q)deploy/deps bench
	$(Q)$(MAKE) --no-print-directory all $(patsubst %.c,$(B)/%,$(wildcard tests/bench/*.c))
	$(Q)B=$(B) tests/bench/run

# Builds the image with podman from this machine's Debian mirror and runs it: minutes, root.
image-test:
	$(Q)deploy/deps test
	$(Q)B=$(B) tests/run tests/deploy/test_image.sh

install: all
	install -D -m 755 $(B)/hotdrain $(DESTDIR)$(PREFIX)/bin/hotdrain
	install -d $(DESTDIR)$(UNITDIR)
	sed 's|/usr/bin/hotdrain|$(PREFIX)/bin/hotdrain|' deploy/hotdrain.service > $(DESTDIR)$(UNITDIR)/hotdrain.service
	test -e $(DESTDIR)$(SYSCONF)/hotdrain/config.yaml || \
		install -D -m 644 deploy/config.yaml $(DESTDIR)$(SYSCONF)/hotdrain/config.yaml

monitoring:
	$(COMPOSE) up -d --build monitoring
	$(COMPOSE) logs --follow monitoring
writer:
	$(COMPOSE) up -d --build writer
inspect:
	$(COMPOSE) run --rm inspect
down:
	$(COMPOSE) down --remove-orphans
reset:
	$(COMPOSE) down --remove-orphans --volumes --rmi local

clean:
	$(Q)rm -rf build

.PHONY: all tests clean deps run test torture soak check bench image-test install monitoring writer inspect down reset
.DELETE_ON_ERROR:
.SECONDARY:
-include $(OBJ:.o=.d) $(UNIT:%=%.d) $(HELPERS:%=%.d) $(FUZZ:%=%.d) $(FAULT:%=%.d)
