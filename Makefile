# SPDX-License-Identifier: Apache-2.0
# make            build/hotdrain
# make run        follow /var/log/pods, or a demonstration tree where there is none
# make test       all tests; SAN=1 with ASan and UBSan; V=1 shows every command
VERSION := 0.1.0
B       := build$(if $(SAN),/san)
Q       := $(if $(V),,@)
say      = $(if $(V),,@printf '  %-5s %s\n' '$(1)' '$(patsubst $(B)/%,%,$@)')

ARCH    := $(shell uname -m | sed 's/x86_64/x86/; s/aarch64/arm64/')
CC      ?= cc
CLANG   ?= clang
BPFTOOL ?= $(shell command -v bpftool || echo /usr/sbin/bpftool)
PKGS    := libbpf libelf zlib libcyaml libcap-ng
WARN    := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wold-style-definition \
           -Wpointer-arith -Wwrite-strings -Wformat=2 -Wundef -Wvla -Wno-unused-parameter
CFLAGS  ?= -O2 -g
comma   := ,
SANFLAGS:= $(if $(SAN),-fsanitize=address$(comma)undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer)
ALL_CFLAGS = -std=gnu11 $(WARN) $(CFLAGS) $(SANFLAGS) -D_GNU_SOURCE -DVERSION='"$(VERSION)"' \
             -Iuser -Ibpf -I$(B) -MMD -MP $(shell pkg-config --cflags $(PKGS) 2>/dev/null)
LIBS     = $(shell pkg-config --libs $(PKGS) 2>/dev/null) -pthread

SRC     := $(wildcard user/*.c user/*/*.c)
OBJ     := $(SRC:%.c=$(B)/%.o)
LIB_OBJ := $(filter-out $(B)/user/main.o,$(OBJ))
UNIT    := $(patsubst %.c,$(B)/%,$(wildcard tests/unit/*.c tests/unit/*/*.c))

all: $(B)/hotdrain

$(B)/hotdrain: $(OBJ)
	$(call say,LD)
	$(Q)$(CC) $(ALL_CFLAGS) $(LDFLAGS) -o $@ $^ $(LIBS)

$(B)/%.o: %.c | $(B)/write_count.skel.h
	$(call say,CC)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -c -o $@ $<

$(B)/write_count.bpf.o: bpf/write_count.bpf.c bpf/write_count.h vmlinux/vmlinux.h
	$(call say,BPF)
	$(Q)mkdir -p $(@D)
	$(Q)$(CLANG) -target bpf -O2 -g -Wall -Werror -mcpu=v3 -D__TARGET_ARCH_$(ARCH) -Ibpf -Ivmlinux -c -o $@.tmp $<
	$(Q)llvm-strip -g $@.tmp && mv $@.tmp $@

$(B)/write_count.skel.h: $(B)/write_count.bpf.o
	$(call say,SKEL)
	$(Q)$(BPFTOOL) gen skeleton $< name write_count_bpf > $@.tmp && mv $@.tmp $@

$(B)/tests/unit/%: tests/unit/%.c $(LIB_OBJ)
	$(call say,TEST)
	$(Q)mkdir -p $(@D)
	$(Q)$(CC) $(ALL_CFLAGS) -Itests/unit -o $@ $< $(LIB_OBJ) $(LIBS) -lcmocka

unit: $(UNIT)

clean:
	$(Q)rm -rf build

.PHONY: all unit clean
.DELETE_ON_ERROR:
-include $(OBJ:.o=.d) $(UNIT:%=%.d)
